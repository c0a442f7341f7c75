"""The file of a database, which must stay the file that was opened.

A backup that is restored over a live database takes the file's name, while open connections go on with the old file,
and new ones would read the new file through the old one's write-ahead log.
"""

from __future__ import annotations

import os
from pathlib import Path

from databund.errors import StoreCorrupt

__all__ = ["DatabaseFile"]


class DatabaseFile:
    """Which file had this name when the database was opened."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._identity = _identity(path)

    def check(self) -> None:
        """Raises `StoreCorrupt` when another file has the name by now, or none."""
        if _identity(self._path) != self._identity:
            raise StoreCorrupt(
                f"The database {self._path} was replaced or removed while this process had it open; nothing more is "
                "written.",
                fix="Stop every process that uses it, put the file that was there last back, with its -wal, and start.",
            )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116  # half the time of Path.stat, once for each database transaction
    except OSError:
        return None
    return found.st_dev, found.st_ino
