"""Signed heads in files: the port `Heads`."""

from __future__ import annotations

import fcntl
import os
from hashlib import sha256
from pathlib import Path

from databund.errors import HeadMoved, StoreUnavailable

__all__ = ["FileHeads", "open_heads"]


class FileHeads:
    """One file for each log in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log."""
        try:
            return self._path(origin).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreUnavailable(f"The head cannot be read ({error.strerror}).", fix="Check the disk.") from error

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one, durably, if ``was`` is what is stored; raises `HeadMoved` when it is not."""
        path = self._path(origin)
        with open(self._folder / "lock", "ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self.get(origin) != was:
                raise HeadMoved(f"The head of {origin} is another one by now.", fix="Read it again.")
            temporary = path.with_suffix(".new")
            with temporary.open("wb") as file:
                file.write(checkpoint)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)

    def _path(self, origin: str) -> Path:
        return self._folder / sha256(origin.encode()).hexdigest()


def open_heads(place: str) -> FileHeads:
    """The heads in a folder."""
    return FileHeads(Path(place))
