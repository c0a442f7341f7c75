"""Durable files: a folder with one writer at a time, whose files a crash leaves as they were or as they shall be."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from databund.errors import DatabundError, FileUnusable, StoreFull

__all__ = ["one_writer", "replace_file", "sync_folder", "unwritable"]

_LOCK = ".lock"
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Make the folder, and be its only writer in the block. Raises `StoreFull` and `FileUnusable`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / _LOCK).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise unwritable(folder, error) from error


def replace_file(file: Path, content: bytes) -> None:
    """Replace a file so that a crash leaves the old one or the new one, and the new one stays."""
    temporary = file.with_name(f".{file.name}.new")
    with temporary.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())
    temporary.replace(file)
    sync_folder(file.parent)


def sync_folder(folder: Path) -> None:
    """Let the names in a folder outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(place: Path, error: OSError) -> DatabundError:
    """What an error of the operating system means for who writes there."""
    if error.errno in _FULL:
        return StoreFull(f"There is no room in {place} ({error.strerror}).", fix="Free some disk space and try again.")
    return FileUnusable(f"{place} cannot be written ({error.strerror}).", fix="Check the folder and its permissions.")
