"""Sealed blobs in memory: the port `Objects` for tests. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from databund.core.ids import ContentRoot
from databund.errors import InvalidInput, NotFound

__all__ = ["MemoryObjects"]

_PIECE_BYTES = 1 << 20


class MemoryObjects:
    """The port `Objects` over a dictionary. Threads may share it."""

    def __init__(self) -> None:
        self._objects: dict[ContentRoot, bytes] = {}

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store an object from its pieces, returning its size; an existing object of that name is kept."""
        root = ContentRoot.parse(name)
        return len(self._objects.setdefault(root, b"".join(chunks)))

    def size(self, name: str) -> int:
        """Its size in bytes. Raises `NotFound`."""
        return len(self._get(name))

    def read(self, name: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Its bytes from ``start`` up to ``stop``, in pieces of at most 1 MiB. Raises `InvalidInput` below 0."""
        content = self._get(name)
        if start < 0:
            raise InvalidInput(f"An object has no byte {start}.", fix="Start at 0 or later.")
        end = len(content) if stop is None else min(stop, len(content))
        return (content[at : min(at + _PIECE_BYTES, end)] for at in range(start, end, _PIECE_BYTES))

    def path(self, name: str) -> None:
        """There is no file."""
        ContentRoot.parse(name)

    def delete(self, name: str) -> None:
        """Remove it; removing an absent one changes nothing."""
        self._objects.pop(ContentRoot.parse(name), None)

    def _get(self, name: str) -> bytes:
        root = ContentRoot.parse(name)
        try:
            return self._objects[root]
        except KeyError:
            raise NotFound(f"There is no object {root}.", fix="Upload it first.") from None
