"""Sealed blobs in a local folder.

This adapter stands on the standard library, because obstore's local store syncs nothing: after a power cut an
acknowledged object could be empty. Here an object is written beside its place, synced, linked to its name, and the
folder synced; so it is durable before it is visible, and a name is never taken twice. A partial that its process left
behind is recognised by the lock that died with the process.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from databund.core.ids import ContentRoot
from databund.errors import InvalidInput, NotFound, StoreFull, StoreUnavailable

__all__ = ["FolderObjects"]

_PIECE_BYTES = 1 << 20
_PARTIAL = ".partial"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FolderObjects:
    """The port `Objects` over files named like their objects. The folder may be shared between processes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def open(cls, folder: Path) -> FolderObjects:
        """Make the folder when it is absent, and remove what crashed writers left in it."""
        with _translated(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            for partial in folder.glob(f"*{_PARTIAL}"):
                _sweep(partial)
        return cls(folder)

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store an object from its pieces, returning its size; an existing object of that name is kept."""
        place = self._place(name)
        with contextlib.suppress(NotFound):
            return self.size(name)
        with _partial(self._folder, name) as (file, partial):
            for chunk in chunks:
                with _translated(place):
                    _write(file, chunk)
            with _translated(place):
                os.fsync(file)
                with contextlib.suppress(FileExistsError):  # Another writer was faster; its object is kept.
                    os.link(partial, place)
                _sync(self._folder)
        return self.size(name)

    def size(self, name: str) -> int:
        """Its size in bytes."""
        place = self._place(name)
        with _translated(place):
            return place.stat().st_size

    def read(self, name: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Its bytes from ``start`` up to ``stop``, in pieces of at most 1 MiB. Raises `InvalidInput` below 0."""
        size = self.size(name)
        if start < 0:
            raise InvalidInput(f"An object has no byte {start}.", fix="Start at 0 or later.")
        return _pieces(self._place(name), start, size if stop is None else min(stop, size))

    def path(self, name: str) -> str:
        """Where the object lies. Raises `NotFound`."""
        self.size(name)
        return str(self._place(name))

    def delete(self, name: str) -> None:
        """Remove it, durably; removing an absent one changes nothing."""
        place = self._place(name)
        with _translated(place):
            place.unlink(missing_ok=True)
            _sync(self._folder)

    def _place(self, name: str) -> Path:
        return self._folder / str(ContentRoot.parse(name))


def _pieces(place: Path, start: int, stop: int) -> Iterator[bytes]:
    with _translated(place), place.open("rb", buffering=0) as file:
        file.seek(start)
        for at in range(start, stop, _PIECE_BYTES):
            yield file.read(min(_PIECE_BYTES, stop - at))


@contextlib.contextmanager
def _partial(folder: Path, name: str) -> Iterator[tuple[int, Path]]:
    """A new locked file beside the objects, gone when the block ends."""
    with _translated(folder):
        file, partial = _locked(folder, name)
    try:
        yield file, partial
    finally:
        partial.unlink()
        os.close(file)


def _locked(folder: Path, name: str) -> tuple[int, Path]:
    for _ in range(3):
        file, partial = tempfile.mkstemp(_PARTIAL, f"{name}.", folder)
        fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file).st_nlink:
            return file, Path(partial)
        os.close(file)  # A sweeper came between the file and its lock.
    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))


def _sweep(partial: Path) -> None:
    """Remove a partial unless a living process writes it."""
    with contextlib.suppress(FileNotFoundError), partial.open("rb") as file, contextlib.suppress(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        partial.unlink()


def _write(file: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(file, rest) :]


def _sync(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


@contextlib.contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"There is no object {place.name} here.", fix="Check its name.") from error
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(
                f"There is no room for the object {place.name} ({error.strerror}).",
                fix="Free some disk space and try again.",
            ) from error
        raise StoreUnavailable(
            f"{place} cannot be used ({error.strerror}).", fix="Check the folder and its permissions."
        ) from error
