"""Faults at any call of a port: the n-th call fails, and what was left undone must heal.

Put the ports of an application behind one `Interruption`, let it do its work with ``at`` = 1, 2, 3 … until a run is
no longer interrupted; after each run make the same calls again, and look at what is there. An interruption before a
call is a request that never arrived, one after it an answer that was lost. So every point is covered at which a
process can die between two calls of its ports.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

from databund.errors import StoreUnavailable, Unavailable
from databund.ports import Database, Tables

__all__ = ["InterruptedDatabase", "Interruption", "interrupted"]

P = TypeVar("P")


class Interruption:
    """One call fails: the one numbered ``at`` (from 1), before it is made or ``after`` it. With 0 none does.

    ``where`` is the call that failed, None as long as none did.
    """

    def __init__(self, at: int, *, after: bool = False) -> None:
        self._left = at
        self._after = after
        self.where: str | None = None

    @contextmanager
    def call(self, name: str, error: type[Unavailable]) -> Iterator[None]:
        """Count one call, and fail around it when it is its turn; a refusal is an answer that can be lost too."""
        self._left -= 1
        due = self._left == 0
        if due and not self._after:
            self.where = f"before {name}"
            raise error(f"{name} was not reached.", fix="Do it again.")
        try:
            yield
        finally:
            if due:
                self.where = f"after {name}"
                raise error(f"The answer of {name} was lost.", fix="Do it again.")


def interrupted(port: P, interruption: Interruption, *, error: type[Unavailable]) -> P:
    """A port each of whose methods may be interrupted by ``error``; its properties are passed on."""
    return cast(P, _Interrupted(port, interruption, error))  # it answers to whatever the port does


class InterruptedDatabase:
    """A database that may be interrupted before a block begins, around each call inside, and after its commit."""

    def __init__(self, database: Database, interruption: Interruption) -> None:
        self._database = database
        self._interruption = interruption

    @contextmanager
    def write(self) -> Iterator[Tables]:
        """Open a database transaction that may write."""
        with self._interruption.call("write", StoreUnavailable), self._database.write() as tables:
            yield self._watched(tables)

    @contextmanager
    def read(self) -> Iterator[Tables]:
        """Open a database transaction that only reads."""
        with self._interruption.call("read", StoreUnavailable), self._database.read() as tables:
            yield self._watched(tables)

    def close(self) -> None:
        """Release every connection."""
        self._database.close()

    def _watched(self, tables: Tables) -> Tables:
        return cast(Tables, _InterruptedTables(tables, self._interruption))  # it has the ports that the tables have


class _Interrupted:
    def __init__(self, port: Any, interruption: Interruption, error: type[Unavailable]) -> None:
        self._port = port
        self._interruption = interruption
        self._error = error

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._port, name)
        return self._around(found) if inspect.ismethod(found) else found

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            with self._interruption.call(method.__qualname__, self._error):
                return method(*args, **kwargs)

        return call


class _InterruptedTables:
    def __init__(self, tables: Tables, interruption: Interruption) -> None:
        self._tables = tables
        self._interruption = interruption

    def __getattr__(self, name: str) -> Any:
        return _Interrupted(getattr(self._tables, name), self._interruption, StoreUnavailable)
