"""Processes of their own: children that are quickly there, and what they used.

Children are forked from a server that has imported databund already (multiprocessing's fork server), so that starting
a node costs what opening its home costs. Each is ended by its own id.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

__all__ = ["answer_of", "cpu_seconds", "empty", "forked", "peak_growth", "started"]

_PRELOADED = [
    "benchmarks.nodes",
    "databund.api.application",
    "databund.api.server",
    "databund.bootstrap",
    "databund.app.node",
    "databund.chain.deployment",
    "databund.chain.embedded.machine",
    "databund.chain.embedded.methods",
    "databund.chain.embedded.provider",
    "databund.chain.embedded.rpc",
    "databund.chain.ledger",
    "databund.chain.relayer",
    "databund.sdk.client",
    "databund.storage.database",
    "databund.storage.folder",
]
_STOP_S = 20.0


def forked() -> Any:
    """Multiprocessing's context for children that have databund imported."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(_PRELOADED)
    return context


def empty() -> Any:
    """Multiprocessing's context for children that start empty."""
    return multiprocessing.get_context("spawn")


def answer_of(context: Any, work: Callable[..., Any], *arguments: object, timeout_s: float) -> Any:
    """What ``work`` returns in a child. Raises RuntimeError when the child ends without an answer."""
    receiver, sender = context.Pipe(duplex=False)
    with started(context.Process(target=_answer, args=(sender, work, arguments))):
        sender.close()
        if not receiver.poll(timeout_s):
            raise RuntimeError(f"{work.__name__} took longer than {timeout_s:g} s.")
        try:
            return receiver.recv()
        except EOFError:
            raise RuntimeError(f"{work.__name__} ended without an answer.") from None


@contextmanager
def started(process: BaseProcess) -> Iterator[BaseProcess]:
    """Start a child, and see that it is gone at the end."""
    process.start()
    try:
        yield process
    finally:
        process.join(_STOP_S / 4)
        if process.is_alive():
            process.terminate()
            process.join(_STOP_S)
        if process.is_alive():
            process.kill()
            process.join()


@contextmanager
def peak_growth() -> Iterator[Callable[[], int]]:
    """Inside, the function tells by how many bytes this process's memory has grown at its peak."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again at what is in memory now
    before = _status("VmRSS")
    yield lambda: _status("VmHWM") - before


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, user and system, in the kernel's ticks of about 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _status(name: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


def _answer(sender: Connection, work: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    sender.send(work(*arguments))
