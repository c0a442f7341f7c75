"""What every part of the conformance suite of the port `Database` stands on."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import pytest

from databund.ports import Database
from databund.testing.plain_sealer import PlainSealer

__all__ = ["THREADS", "DatabaseFixture", "at_once"]

THREADS = 16
"""How many threads work at once."""

T = TypeVar("T")


class DatabaseFixture:
    """The database under test, and its sealer."""

    @pytest.fixture
    def sealer(self) -> PlainSealer:
        """What seals the log of the database under test."""
        return PlainSealer()

    @pytest.fixture
    def database(self, sealer: PlainSealer) -> Database:
        """The database under test."""
        raise NotImplementedError("Give the fixture `database` in the subclass.")


def at_once(work: Callable[[int], T], times: int) -> list[T]:
    """Do some work many times, in `THREADS` threads; what each time gave, in order."""
    with ThreadPoolExecutor(THREADS) as threads:
        return list(threads.map(work, range(times)))
