"""Files: large ones of random bytes, in a folder that goes away."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["MIB", "random_file", "workplace"]

MIB = 2**20
_PIECE_MIB = 8


@contextmanager
def workplace(name: str) -> Iterator[Path]:
    """A folder for a benchmark, where TMPDIR says; gone at the end."""
    with tempfile.TemporaryDirectory(prefix=f"databund-{name}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def random_file(path: Path, mib: int, *, seen: Callable[[bytes], object] = len) -> None:
    """Write a file that does not compress; ``seen`` is given each piece."""
    with path.open("wb") as file:
        for _ in range(mib // _PIECE_MIB):
            piece = os.urandom(_PIECE_MIB * MIB)
            file.write(piece)
            seen(piece)
        file.flush()
        os.fsync(file.fileno())  # otherwise the kernel writes it out in the middle of a measurement
