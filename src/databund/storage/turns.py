"""Turns: one writer at a time, in the order of arrival, so that none is overtaken for ever."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

from databund.errors import StoreUnavailable

__all__ = ["Turns"]


class Turns:
    """A line of threads, of which the first has the turn until it gives it on."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._line: deque[threading.Lock] = deque()
        self._taken = False

    def take(self, *, timeout_s: float, given_up: Callable[[], None]) -> None:
        """Wait for one's turn. Raises `StoreUnavailable` after ``timeout_s``.

        ``given_up`` is called when the turn came and the thread was interrupted in the same moment; it has the turn.
        """
        with self._guard:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._line.append(mine)
        try:
            if mine.acquire(timeout=timeout_s) or not self._leave(mine):
                return
        except BaseException:
            if not self._leave(mine):
                given_up()
            raise
        raise StoreUnavailable(
            f"Other writers kept the database for {timeout_s:g} s.", fix="Try again when it is less busy."
        )

    def hand_over(self) -> bool:
        """Give the turn to whoever waits; False when nobody does, and the turn is kept."""
        with self._guard:
            if not self._line:
                return False
            self._line.popleft().release()
            return True

    def end(self) -> None:
        """Give the turn to whoever waits, or to the next who comes."""
        with self._guard:
            if self._line:
                self._line.popleft().release()
            else:
                self._taken = False

    def _leave(self, mine: threading.Lock) -> bool:
        """Step out of the line; False when the turn has come already."""
        with self._guard:
            if mine not in self._line:
                return False
            self._line.remove(mine)
            return True
