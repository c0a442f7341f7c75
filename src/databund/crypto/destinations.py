"""Destinations: files unpacked below a folder, seen only once all of them are whole.

Files are written to a private staging folder inside the destination and renamed into place at the end. Every step of
a path is opened without following symbolic links, so nothing outside the folder is read or written. A machine that
stops halfway leaves a folder ``.databund-…`` behind, which may be deleted.
"""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, Self

from databund.crypto._files import reserve, store_fault
from databund.errors import AlreadyExists, FileUnusable

__all__ = ["Destination"]

_FOLDER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PIECE: Final = 1 << 20


class Destination:
    """A folder that files are unpacked into; a context manager, which removes the staging folder at its end.

    `check` every path, `create` and `finish` each file, then `publish` all. Each may raise `AlreadyExists` where
    something else lies, `FileUnusable` where a path leaves the folder or may not be written, `StoreFull` and
    `StoreUnavailable`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staged: list[tuple[str, str]] = []
        self._staging_name = f".databund-{secrets.token_hex(8)}"

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._root = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.mkdir(self._staging_name, 0o700, dir_fd=self._root)
                self._staging = os.open(self._staging_name, _FOLDER, dir_fd=self._root)
            except OSError:
                os.close(self._root)
                raise
        except OSError as error:
            raise store_fault(error, str(self._folder)) from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name, _ in self._staged:
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=self._staging)
        os.close(self._staging)
        os.rmdir(self._staging_name, dir_fd=self._root)
        os.close(self._root)

    def check(self, path: str, size: int) -> None:
        """Raise early when ``path`` cannot become a file of ``size`` bytes here."""
        *parents, name = path.split("/")
        try:
            with self._opened(parents, make=False) as folder:
                found = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            return
        except OSError as error:
            raise store_fault(error, str(self._folder / path)) from error
        if not stat.S_ISREG(found.st_mode) or found.st_size != size:
            raise self._different(path)

    def create(self, path: str, size: int) -> BinaryIO:
        """A new file for ``size`` bytes that will be called ``path``; `finish` it when it is filled."""
        name = str(len(self._staged))
        self._staged.append((name, path))
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            file = os.fdopen(os.open(name, flags, 0o666, dir_fd=self._staging), "wb", buffering=0)
            try:
                reserve(file.fileno(), size)
            except OSError:
                file.close()
                raise
        except OSError as error:
            raise store_fault(error, str(self._folder / path)) from error
        return file

    def finish(self, file: BinaryIO) -> None:
        """Make the bytes of a created file durable and close it."""
        try:
            with file:
                os.fsync(file.fileno())
        except OSError as error:
            raise store_fault(error, str(self._folder)) from error

    def publish(self) -> None:
        """Give every created file its name, durably. An equal file that lies there already stays."""
        folders: dict[tuple[str, ...], None] = {}
        try:
            missing = [(name, path) for name, path in self._staged if not self._lies_there(name, path)]
            for staged, path in missing:
                *parents, name = path.split("/")
                with self._opened(parents, make=True) as folder:
                    os.rename(staged, name, src_dir_fd=self._staging, dst_dir_fd=folder)
                folders.update({tuple(parents[:depth]): None for depth in range(len(parents) + 1)})
            for parts in folders:
                with self._opened(list(parts), make=False) as folder:
                    os.fsync(folder)
        except OSError as error:
            raise store_fault(error, str(self._folder)) from error

    def _lies_there(self, staged: str, path: str) -> bool:
        *parents, name = path.split("/")
        with suppress(FileNotFoundError), self._opened(parents, make=False) as folder:
            if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
                raise self._different(path)
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            old, new = os.open(name, flags, dir_fd=folder), os.open(staged, flags, dir_fd=self._staging)
            with os.fdopen(old, "rb", buffering=0) as left, os.fdopen(new, "rb", buffering=0) as right:
                if not _equal(left, right):
                    raise self._different(path)
            return True
        return False

    @contextmanager
    def _opened(self, parts: list[str], *, make: bool) -> Iterator[int]:
        """The folder ``parts`` leads to, step by step. Raises ``FileNotFoundError`` when it is not there or made."""
        folder = os.dup(self._root)
        try:
            for depth, part in enumerate(parts):
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                below = self._step(folder, parts[: depth + 1])
                os.close(folder)
                folder = below
            yield folder
        finally:
            os.close(folder)

    def _step(self, folder: int, parts: list[str]) -> int:
        try:
            return os.open(parts[-1], _FOLDER, dir_fd=folder)
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.ENOTDIR):
                raise FileUnusable(
                    f"{self._folder.joinpath(*parts)} is a symbolic link or a file, not a folder to unpack into.",
                    fix="Move it away, or choose another destination.",
                ) from None
            raise

    def _different(self, path: str) -> AlreadyExists:
        return AlreadyExists(
            f"{self._folder / path} exists already and is different; it was left as it is.",
            fix="Move it away, or choose another destination.",
        )


def _equal(left: BinaryIO, right: BinaryIO) -> bool:
    while True:
        piece = left.read(_PIECE)
        if piece != right.read(_PIECE):
            return False
        if not piece:
            return True
