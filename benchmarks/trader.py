"""The trader: a client process that goes through the six steps of one trade after another, until it is killed.

Every step is one command of a provider or a consumer. When it is answered, and only then, what was acknowledged goes
down a pipe; so whatever a reader of the pipe has was answered, and a process that is started again goes on with the
step that was not.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec

from databund.core.amounts import Amount
from databund.core.ids import DatasetId, OfferId, OrderId
from databund.crypto.identities import Identity
from databund.errors import DatabundError, Unavailable
from databund.sdk.client import Client
from databund.sdk.publication import Description, OfferTerms

__all__ = ["STEPS", "Acknowledged", "Fault", "Trade", "content", "price", "trade_on"]

STEPS = ("register", "list", "trade", "deliver", "certify")
"""The commands; settling and certifying are one."""

USES = 3
_PRICE = 1_000_000
_TRIES = 300
_PAUSE_S = 0.1


class Acknowledged(msgspec.Struct, frozen=True, tag=True):
    """A step that was answered, with what names its result."""

    trade: int
    step: str
    facts: dict[str, Any]


class Fault(msgspec.Struct, frozen=True, tag=True):
    """A step that was refused although nothing was wrong with it."""

    trade: int
    step: str
    what: str


@dataclass
class Trade:
    """How far a trade has come: the facts of each step that was acknowledged."""

    number: int
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)


def content(number: int) -> bytes:
    """The data of a trade: some rows that no other trade has."""
    seed = hashlib.sha256(str(number).encode()).hexdigest()
    return ("name,value\n" + "".join(f"{seed},{row}\n" for row in range(50))).encode()


def price(number: int) -> Amount:
    """The price of a trade: no two have the same, and no sum of a few is another's."""
    return Amount(_PRICE + number**2 + number)


def trade_on(url: str, home: str, secrets: tuple[bytes, bytes], trade: Trade, sender: Connection) -> None:
    """Finish ``trade``, then make new ones until a file named ``stop`` lies in ``home``."""
    provider, consumer = map(Identity, secrets)
    trader = _Trader(url, Path(home), provider, consumer, sender)
    while trader.finish(trade) and not (Path(home) / "stop").exists():
        trade = Trade(trade.number + 1)


class _Trader:
    def __init__(self, url: str, home: Path, provider: Identity, consumer: Identity, sender: Connection) -> None:
        self._home = home
        self._provider = Client(url, home=home / "provider", identity=provider)
        self._consumer = Client(url, home=home / "consumer", identity=consumer)
        self._sender = sender

    def finish(self, trade: Trade) -> bool:
        """Do what is left of a trade; False when a step was refused."""
        for step in STEPS[len(trade.facts) :]:

            def heard(step: str = step, **facts: Any) -> None:
                trade.facts[step] = facts
                self._say(Acknowledged(trade.number, step, facts))

            what = self._insist(getattr(self, step), trade, heard)
            if what is not None:
                self._say(Fault(trade.number, step, what))
                return False
        return True

    def register(self, trade: Trade, heard: Callable[..., None]) -> None:
        source = self._home / f"data-{trade.number}.csv"
        source.write_bytes(content(trade.number))
        view = self._provider.publish(source, Description(name=f"trade-{trade.number}", title=f"Trade {trade.number}"))
        heard(dataset=str(view.id), version=view.dataset.version, descriptor=view.descriptor)

    def list(self, trade: Trade, heard: Callable[..., None]) -> None:
        dataset = self._provider.dataset(DatasetId.parse(trade.facts["register"]["dataset"])).dataset
        terms = OfferTerms(unit_price=price(trade.number), duration_s=365 * 86_400, uses=USES, purposes=("research",))
        heard(offer=str(self._provider.offer(dataset, terms).id))

    def trade(self, trade: Trade, heard: Callable[..., None]) -> None:
        with self._consumer.buying(_offer(trade)) as order:
            heard(order=str(order.id), state=str(order.state))

    def deliver(self, trade: Trade, heard: Callable[..., None]) -> None:
        folder = self._home / f"opened-{trade.number}"
        with self._consumer.downloading(_offer(trade), folder, purpose="research") as (_, delivery):
            heard(delivery=str(delivery.id), use=delivery.use)

    def certify(self, trade: Trade, heard: Callable[..., None]) -> None:
        certificate = self._consumer.certificate(OrderId.parse(trade.facts["trade"]["order"]))["certificate"]
        heard(order=certificate["order"], agreement=certificate["agreement"])

    def _insist(self, act: Callable[..., None], trade: Trade, heard: Callable[..., None]) -> str | None:
        """Give a command again and again while the node is away; what refused it, if something did."""
        what = ""
        for _ in range(_TRIES):
            try:
                act(trade, heard)
            except Unavailable as error:
                what = f"{error.code}: {error.what}"
                time.sleep(_PAUSE_S)
            except DatabundError as error:
                return f"{error.code}: {error.what}"
            else:
                return None
        return f"not answered after {_TRIES} tries: {what}"

    def _say(self, said: Acknowledged | Fault) -> None:
        self._sender.send_bytes(msgspec.json.encode(said))


def _offer(trade: Trade) -> OfferId:
    return OfferId.parse(trade.facts["list"]["offer"])
