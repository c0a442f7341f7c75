"""Signed heads in memory: the port `Heads` for tests. Nothing survives the process."""

from __future__ import annotations

import threading

from databund.errors import HeadMoved

__all__ = ["MemoryHeads"]


class MemoryHeads:
    """The port `Heads` over a dictionary. Threads may share it."""

    def __init__(self) -> None:
        self._stored: dict[str, bytes] = {}
        self._guard = threading.Lock()

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log."""
        return self._stored.get(origin)

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one if ``was`` is what is stored; raises `HeadMoved` when it is not."""
        with self._guard:
            if self._stored.get(origin) != was:
                raise HeadMoved(f"The head of {origin} is another one by now.", fix="Read it again.")
            self._stored[origin] = checkpoint
