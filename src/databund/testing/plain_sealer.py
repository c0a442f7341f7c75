"""A sealer without keys and trees, for tests of a `Database` alone: the checkpoint is the log's size in decimal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from databund.ports import Log

__all__ = ["PlainSealer"]


class PlainSealer:
    """The port `Sealer`. ``sealed`` has the number of entries of each seal, ``published`` each checkpoint, in order.

    ``refusal`` is raised by the next seal, ``trouble`` by the next publication.
    """

    def __init__(self) -> None:
        self.sealed: list[int] = []
        self.published: list[bytes] = []
        self.refusal: Exception | None = None
        self.trouble: Exception | None = None

    def seal(self, log: Log, entries: Sequence[bytes]) -> bytes:
        """Write the entries."""
        if self.refusal is not None:
            refusal, self.refusal = self.refusal, None
            raise refusal
        size = int(log.checkpoint() or b"0")
        checkpoint = b"%d" % (size + len(entries))
        log.write(size, entries, tiles={}, checkpoint=checkpoint)
        self.sealed.append(len(entries))
        return checkpoint

    def publish(self, checkpoint: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        """Keep the checkpoint, which has to be stored by now."""
        if self.trouble is not None:
            trouble, self.trouble = self.trouble, None
            raise trouble
        with read() as log:
            assert int(log.checkpoint() or b"0") >= int(checkpoint)
        self.published.append(checkpoint)
