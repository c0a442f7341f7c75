"""Kills: the node, the client or both, at random moments of the six steps, and what must be true all the same.

A client process makes one trade after another: register, list, trade, deliver, settle and certify. In each round a
victim gets SIGKILL after a random time and is started again on the same home, the client with the command that was not
answered. Mostly the time runs from when the node answers again and is drawn from a little more than a trade takes; in
some rounds it is shorter than a start takes. After each start the log is read on and has to hold whatever was
acknowledged; at the end the books of clients, node, chain and log are compared (`benchmarks.reckoning`), and the chain
is replayed from genesis. Victims and times follow from the seed; what they hit also depends on how fast the machine is.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

import msgspec

from benchmarks.files import workplace
from benchmarks.nodes import NodeProcess, settings_of
from benchmarks.processes import forked
from benchmarks.reckoning import LogWatch, Parties, reckon
from benchmarks.trader import STEPS, Acknowledged, Fault, Trade, trade_on
from databund.bootstrap import verify_ledger
from databund.core.amounts import Amount
from databund.crypto.identities import Identity
from databund.errors import DatabundError
from databund.sdk.client import Client
from databund.sdk.connection import Connection
from databund.tlog.notes import VerifierKey

__all__ = ["SEED", "Figures", "run"]

SEED = 20260101
_ROUNDS, _TIME_S = 300, 1200.0
_QUICK_ROUNDS, _QUICK_TIME_S = 300, 22.0
_VICTIMS, _WEIGHTS = ("node", "client", "both"), (60, 25, 15)
_EARLY = 0.15  # the share of rounds that do not wait until the node answers
_CLIENT_PAUSE_S = 0.4  # how long a client that lost its node may wait before it asks again
_DEPOSIT = 10**15
_WARM_UP = 2
_PAUSE_S = 0.002
_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Figures:
    """How often what was killed, how much was acknowledged and checked, and what was wrong.

    ``unanswered_starts`` are kills of a node that had not answered since its last start; ``steps_interrupted`` counts
    the kills by the command that the client was about.
    """

    rounds: int
    violations: int
    trades: int
    acknowledged: int
    node_kills: int
    client_kills: int
    unanswered_starts: int
    steps_interrupted: dict[str, int]
    log_entries: int
    log_checks: int
    start_s: float
    trade_s: float
    seed: int
    found: tuple[str, ...]


def run(*, quick: bool) -> Figures:
    """Trade and kill."""
    rounds, time_s = (_QUICK_ROUNDS, _QUICK_TIME_S) if quick else (_ROUNDS, _TIME_S)
    with workplace("crash") as folder:
        return _Arena(folder, SEED).fight(rounds, time_s)


class _Arena:
    """A node, a client, and everything that was acknowledged between them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.seed = seed
        self.random = random.Random(seed)  # noqa: S311  # what is drawn has to be the same each time
        operator, provider, consumer = (
            Identity(hashlib.sha256(f"{seed} {name}".encode()).digest())
            for name in ("operator", "provider", "consumer")
        )
        self.parties = Parties(operator, provider, consumer, deposit=_DEPOSIT)
        self.node = NodeProcess(folder / "operator", operator.reveal())
        self.client: Any = None
        self.receiver: Pipe | None = None
        self.trade = Trade(1)
        self.acknowledged: list[Acknowledged] = []
        self.violations: dict[str, None] = {}
        self.kills = {"node": 0, "client": 0, "unanswered": 0}
        self.interrupted = dict.fromkeys(STEPS, 0)
        self.checks = 0
        self.faulted = False

    def fight(self, rounds: int, time_s: float) -> Figures:
        """Go through the rounds, let the last trade finish, and reckon."""
        try:
            start_s, trade_s = self._prepare()
            done, end = 0, time.monotonic() + time_s
            while done < rounds and time.monotonic() < end and not self.faulted:
                victim = self.random.choices(_VICTIMS, _WEIGHTS)[0]
                early = self.random.random() < _EARLY
                delay_s = self.random.uniform(0, start_s if early else trade_s + _CLIENT_PAUSE_S)
                self._round(victim, delay_s, early=early)
                done += 1
            self._finish()
        finally:
            self._end_client()
            self.node.stop()
        self._replay()
        return Figures(
            rounds=done,
            violations=len(self.violations),
            trades=len({said.trade for said in self.acknowledged if said.step == STEPS[-1]}),
            acknowledged=len(self.acknowledged),
            node_kills=self.kills["node"],
            client_kills=self.kills["client"],
            unanswered_starts=self.kills["unanswered"],
            steps_interrupted=self.interrupted,
            log_entries=len(self.watch.events),
            log_checks=self.checks,
            start_s=round(start_s, 3),
            trade_s=round(trade_s, 3),
            seed=self.seed,
            found=tuple(self.violations),
        )

    def _prepare(self) -> tuple[float, float]:
        """Make the home and give the consumer money; how long a start and a trade take without a kill."""
        url = self.node.run()
        with Client(url, home=self.folder / "credit", identity=self.parties.operator) as operator:
            operator.credit(self.parties.consumer.address, Amount(_DEPOSIT))
            self.watch = LogWatch(Connection(url), VerifierKey.parse(operator.info.log_key))
        self.node.stop()
        begun = time.monotonic()
        self.node.run()
        start_s = time.monotonic() - begun
        self._start_client()
        self._await_trades(_WARM_UP)
        begun = time.monotonic()
        self._await_trades(2 * _WARM_UP)
        return start_s, (time.monotonic() - begun) / _WARM_UP

    def _round(self, victim: str, delay_s: float, *, early: bool) -> None:
        """Let them work for ``delay_s``, kill, and start again what was killed."""
        if not early:
            self._wait(_PATIENCE_S, until=self._node_is_ready)
            if self._node_is_ready():
                self._check(self.watch.look(self.acknowledged))
                self.checks += 1
        self._wait(delay_s)
        if len(self.trade.facts) < len(STEPS):
            self.interrupted[STEPS[len(self.trade.facts)]] += 1
        if victim != "client":
            self.kills["unanswered"] += not self._node_is_ready()
            self.kills["node"] += 1
            self.node.kill()
        if victim != "node":
            self.kills["client"] += 1
            self._end_client()
            self._start_client()
        if victim != "client":
            self.node.start()

    def _wait(self, seconds: float, *, until: Callable[[], bool] = lambda: False) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not until() and not self.faulted:
            self._hear()
            time.sleep(_PAUSE_S)

    def _finish(self) -> None:
        (self.folder / "client" / "stop").touch()
        try:
            if not self.node.is_ready(_PATIENCE_S):
                self._check(["the node did not start again"])
                return
            self._wait(_PATIENCE_S, until=lambda: not self.client.is_alive())
            self._hear()
            if self.client.is_alive():
                self._check(["the last trade was not finished"])
            self._check(reckon(self.node.url, self.folder, self.parties, self.watch, acknowledged=self.acknowledged))
        except RuntimeError as error:
            self._check([str(error)])

    def _replay(self) -> None:
        try:
            verify_ledger(settings_of(self.folder / "operator"))
        except DatabundError as error:
            self._check([f"the chain does not replay: {error.code}: {error.what}"])

    def _check(self, sentences: Iterable[str]) -> None:
        self.violations.update(dict.fromkeys(sentences))

    def _node_is_ready(self) -> bool:
        try:
            return self.node.is_ready()
        except RuntimeError as error:
            self._check([str(error)])
            self.faulted = True
            return False

    # --- the client ---

    def _start_client(self) -> None:
        home = self.folder / "client"
        home.mkdir(exist_ok=True)
        context = forked()
        self.receiver, sender = context.Pipe(duplex=False)
        secrets = (self.parties.provider.reveal(), self.parties.consumer.reveal())
        self.client = context.Process(target=trade_on, args=(self.node.url, str(home), secrets, self.trade, sender))
        self.client.start()
        sender.close()

    def _end_client(self) -> None:
        """SIGKILL, and hear what it still said."""
        if self.client is not None:
            self.client.kill()
            self.client.join()
            self._hear()
            self.client = None

    def _hear(self) -> None:
        assert self.receiver is not None, "there is no client"
        with suppress(EOFError):
            while self.receiver.poll():
                said = msgspec.json.decode(self.receiver.recv_bytes(), type=Acknowledged | Fault)
                if isinstance(said, Fault):
                    self._check([f"trade {said.trade}: {said.step} was refused: {said.what}"])
                    self.faulted = True
                    return
                self.acknowledged.append(said)
                self.trade.facts[said.step] = said.facts
                if said.step == STEPS[-1]:
                    self.trade = Trade(said.trade + 1)

    def _await_trades(self, count: int) -> None:
        self._wait(_PATIENCE_S, until=lambda: self.trade.number > count)
        if self.trade.number <= count:
            raise RuntimeError(f"{count} trades take longer than {_PATIENCE_S:g} s.")
