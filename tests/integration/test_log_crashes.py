"""A log whose process is killed at any moment loses nothing that was acknowledged, and never forks.

``DATABUND_KILLS=10000`` kills as often as a release asks for.
"""

from __future__ import annotations

import os
import random
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databund.storage.heads import FileHeads
from tests.integration import log_victim
from tests.integration.log_victim import Judge, open_log

KILLS = int(os.environ.get("DATABUND_KILLS", "200"))
PER_HOME = 100
SEED = 20_261_123


class ForkServer:
    """Starts victims and kills them; the judge hears what they said."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", log_victim.__name__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        self._rest = b""

    def kill_one(self, victim: str, judge: Judge, *, acts: int, then_s: float) -> int:
        """Start a victim, kill it ``then_s`` seconds after so many acts; how many it acknowledged."""
        self._tell(victim)
        heard, due = 0, None if acts else time.monotonic() + then_s
        patience = time.monotonic() + 30
        while due is None or time.monotonic() < due:
            assert time.monotonic() < patience, "a victim hangs"
            for line in self._lines(0.0 if due is None else max(0.0, due - time.monotonic()), block=due is None):
                assert not line.startswith("end"), "a victim gave up"
                judge.hear(line)
                heard += line.startswith("a")
            if due is None and heard >= acts:
                due = time.monotonic() + then_s
        self._tell("kill")
        while True:
            for line in self._lines(30, block=False):
                if line.startswith("end"):
                    assert line == "end 9", "a victim died on its own"
                    return heard
                judge.hear(line)
                heard += line.startswith("a")

    def stop(self) -> None:
        """End the server."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._process.stdout.close()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{line}\n".encode())
        self._process.stdin.flush()

    def _lines(self, timeout_s: float, *, block: bool) -> list[str]:
        assert self._process.stdout is not None
        file = self._process.stdout.fileno()
        if not select.select([file], [], [], 30 if block else timeout_s)[0]:
            return []
        *lines, self._rest = (self._rest + os.read(file, 1 << 16)).split(b"\n")
        return [line.decode() for line in lines]


@pytest.fixture
def server() -> Iterator[ForkServer]:
    """A fork server."""
    server = ForkServer()
    yield server
    server.stop()


def _kill_often(
    server: ForkServer, kills: int, homes: Callable[[int], tuple[str, Path]], *, per_home: int = PER_HOME
) -> str:
    """Kill victims on one home after the other; the figures."""
    dice = random.Random(SEED)  # noqa: S311  # repeatable, not secret
    heard = entries = shown = 0
    for cycle in range(kills):
        if cycle % per_home == 0:
            url, folder = homes(cycle // per_home)
            judge = Judge()
        early = dice.random() < 0.35  # while it opens, and recovers what the last one left
        acts, then_s = (0, dice.uniform(0, 0.04)) if early else (dice.randrange(1, 24), dice.uniform(0, 0.004))
        heard += server.kill_one(f"{url} {folder} {SEED}-{cycle}", judge, acts=acts, then_s=then_s)
        last = cycle + 1 == kills or (cycle + 1) % per_home == 0
        if last or dice.random() < 0.5:  # else the next victim finds it as it was left
            database, _ = open_log(url, FileHeads(folder))
            judge.judge(database, FileHeads(folder))
            database.close()
        if last:
            entries += judge.edge.size
            shown += len(judge.shown)
    return f"{kills} kills, {heard} acts acknowledged, {entries} entries stored, {shown} checkpoints published"


def test_killed_signers_lose_nothing(server: ForkServer, tmp_path: Path) -> None:
    """After SIGKILL at any moment all that was acknowledged is stored, signed and published, and nothing is half."""
    started = time.monotonic()

    def home(number: int) -> tuple[str, Path]:
        folder = tmp_path / f"home{number}"
        folder.mkdir()
        return f"sqlite:///{folder}/databund.db", folder / "heads"

    print(_kill_often(server, KILLS, home), f"in {time.monotonic() - started:.1f} s")  # noqa: T201  # seen with -s


def test_killed_signers_lose_nothing_on_postgres(server: ForkServer, tmp_path: Path, fresh_postgres_url: str) -> None:
    """The same on PostgreSQL, whose server goes on with what the killed process had begun."""
    kills = max(10, KILLS // 20)
    figures = _kill_often(server, kills, lambda _: (fresh_postgres_url, tmp_path / "heads"), per_home=kills)
    print(figures)  # noqa: T201  # seen with -s
