"""What the crypto recipes need of a file system: names for its faults, space before writing, durable small files."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
from io import FileIO
from pathlib import Path
from typing import Final

from databund.errors import AlreadyExists, DatabundError, FileUnusable, StoreFull, StoreUnavailable

__all__ = ["open_regular", "reserve", "store_fault", "sync_folder", "unusable", "write_new"]

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_PLACE: Final = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ELOOP,
}
_NO_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}


def store_fault(error: OSError, name: str) -> DatabundError:
    """The databund error for a failed write to ``name``."""
    if error.errno in _FULL:
        return StoreFull(f"There is no room to write {name}: {error.strerror}.", fix="Free some space and try again.")
    if error.errno in _NO_PLACE:
        return FileUnusable(
            f"{name} cannot be written: {error.strerror}.", fix="Choose a folder that you may write to."
        )
    return StoreUnavailable(f"Writing {name} failed: {error.strerror}.", fix="Look after the disk and try again.")


def unusable(error: OSError, name: str) -> FileUnusable:
    """The databund error for a failed open or read of ``name``."""
    return FileUnusable(f"{name} cannot be read: {error.strerror}.", fix="Check the path and its permissions.")


def open_regular(path: Path) -> FileIO:
    """A regular file, open for reading and unbuffered. Raises `FileUnusable`; ``FileNotFoundError`` is its cause."""
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise unusable(error, str(path)) from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise FileUnusable(f"{path} is not a regular file.", fix="Name files, not folders or devices.")
    return os.fdopen(descriptor, "rb", buffering=0)


def reserve(descriptor: int, size: int) -> None:
    """Allocate ``size`` bytes from where a regular file stands, where the platform can: a full disk shows now.

    Raises ``OSError`` only when there is no room.
    """
    try:
        os.posix_fallocate(descriptor, os.lseek(descriptor, 0, os.SEEK_CUR), size)
    except AttributeError:
        return
    except OSError as error:
        if error.errno in _FULL:
            raise


def sync_folder(folder: int | Path) -> None:
    """Make the names in a folder durable."""
    if isinstance(folder, int):
        os.fsync(folder)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_new(path: Path, data: bytes) -> None:
    """Write a private file (0600) that is there completely and durably, or not at all.

    Raises `AlreadyExists`, and what `store_fault` gives.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _publish(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                temporary.unlink()
        sync_folder(path.parent)
    except FileExistsError:
        raise AlreadyExists(f"{path} exists already.", fix="Choose another name, or delete it first.") from None
    except OSError as error:
        raise store_fault(error, str(path)) from error


def _publish(temporary: Path, path: Path) -> None:
    """Give a finished file its name; a link, unlike a rename, never replaces what is there."""
    try:
        os.link(temporary, path, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if path.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        temporary.rename(path)
