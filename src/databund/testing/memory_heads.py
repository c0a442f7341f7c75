"""Signed heads in memory: the port `Heads` for tests. Nothing survives the process."""

from __future__ import annotations

import threading

from databund.errors import HeadMoved, InvalidInput

__all__ = ["MemoryHeads"]


class MemoryHeads:
    """The port `Heads` over a dictionary, which a test may look at. Threads may share it."""

    def __init__(self) -> None:
        self.notes: dict[str, bytes] = {}
        self._turn = threading.Lock()

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log."""
        return self.notes.get(origin)

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one if ``was`` is what is stored. Raises `HeadMoved`; `InvalidInput` for an empty note."""
        if not checkpoint:
            raise InvalidInput("An empty checkpoint cannot be kept.", fix="Give a signed note.")
        with self._turn:
            if self.notes.get(origin) != was:
                raise HeadMoved(f"Another checkpoint of {origin} was signed meanwhile.", fix="Read the stored one.")
            self.notes[origin] = checkpoint

    def close(self) -> None:
        """There is nothing to release."""
