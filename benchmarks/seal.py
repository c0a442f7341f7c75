"""Sealing and opening: one thread, file to file, as publishing and downloading do it, beside a plain copy.

Each round seals a file, opens the blob and copies the file, in this order, so that whatever else the machine does falls
on all three. The files stay in the page cache: what is measured is our work, not the disk. All of it runs in a child
of its own, whose memory at its peak is compared with its memory before.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import processes
from benchmarks.files import MIB, random_file, workplace

__all__ = ["Figures", "run"]

_MIB, _ROUNDS = 1024, 5
_QUICK_MIB, _QUICK_ROUNDS = 512, 5
_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Figures:
    """Medians in GB/s (10^9 bytes of plaintext), each rate as a share of the copy's, and memory."""

    seal_gb_s: float
    open_gb_s: float
    extra_mib: float
    copy_gb_s: float
    seal_to_copy: float
    open_to_copy: float
    seal_cpu_gb_s: float
    open_cpu_gb_s: float
    mib: int
    rounds: int


def run(*, quick: bool) -> Figures:
    """Seal, open and copy."""
    mib, rounds = (_QUICK_MIB, _QUICK_ROUNDS) if quick else (_MIB, _ROUNDS)
    with workplace("seal") as folder:
        random_file(folder / "plain", mib)
        figures: Figures = processes.answer_of(processes.empty(), _measure, folder, mib, rounds, timeout_s=_TIMEOUT_S)
    return figures


def _measure(folder: Path, mib: int, rounds: int) -> Figures:
    from databund.crypto.blobs import open_blob, seal_files
    from databund.crypto.content_keys import ContentKey

    plain, blob, opened, copied = (folder / name for name in ("plain", "blob", "opened", "copied"))
    key = ContentKey.generate()

    small = folder / "small"
    small.write_bytes(bytes(MIB))
    with (folder / "warm").open("w+b") as sink:
        manifest = seal_files([("small", small)], sink, key)
    open_blob(folder / "warm", manifest, key, folder / "warm-opened")

    def seal() -> None:
        nonlocal manifest
        with blob.open("w+b") as sink:
            manifest = seal_files([("plain", plain)], sink, key)

    walls: list[tuple[float, float, float]] = []
    cpus: list[tuple[float, float, float]] = []
    with processes.peak_growth() as growth:
        for _ in range(rounds):
            acts = [seal, lambda: open_blob(blob, manifest, key, opened), lambda: shutil.copyfile(plain, copied)]
            wall, cpu = zip(*map(_timed, acts), strict=True)
            walls.append(wall)
            cpus.append(cpu)
            # What is removed is not written to the disk any more, and does not slow down the next round.
            shutil.rmtree(opened)
            blob.unlink()
            copied.unlink()
        extra = growth()
    gigabytes = mib * MIB / 1e9
    seal_s, open_s, copy_s = (median(column) for column in zip(*walls, strict=True))
    seal_cpu_s, open_cpu_s, _ = (median(column) for column in zip(*cpus, strict=True))
    return Figures(
        seal_gb_s=round(gigabytes / seal_s, 3),
        open_gb_s=round(gigabytes / open_s, 3),
        extra_mib=round(extra / MIB, 1),
        copy_gb_s=round(gigabytes / copy_s, 3),
        seal_to_copy=round(copy_s / seal_s, 3),
        open_to_copy=round(copy_s / open_s, 3),
        seal_cpu_gb_s=round(gigabytes / seal_cpu_s, 3),
        open_cpu_gb_s=round(gigabytes / open_cpu_s, 3),
        mib=mib,
        rounds=rounds,
    )


def _timed(act: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    act()
    return time.perf_counter() - wall, time.process_time() - cpu
