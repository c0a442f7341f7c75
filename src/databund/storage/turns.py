"""Turns: one writer at a time, in the order of arrival, so that none is overtaken for ever."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from databund.errors import StoreUnavailable

__all__ = ["Turns"]


class Turns:
    """A line of threads."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._line: deque[threading.Event] = deque()

    @contextmanager
    def turn(self, *, timeout_s: float) -> Iterator[None]:
        """Wait for one's turn and have it until the block ends. Raises `StoreUnavailable` after ``timeout_s``."""
        mine = threading.Event()
        with self._guard:
            self._line.append(mine)
            self._line[0].set()
        try:
            if not mine.wait(timeout_s):
                raise StoreUnavailable(
                    f"Other writers kept the database for {timeout_s:g} s.", fix="Try again when it is less busy."
                )
            yield
        finally:
            with self._guard:
                self._line.remove(mine)
                if self._line:
                    self._line[0].set()
