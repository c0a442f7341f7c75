"""Nodes: a databund node as a process of its own, to be asked over HTTP, and killed."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.processes import forked

__all__ = ["HOST", "NodeProcess", "settings_of"]

HOST = "127.0.0.1"
_START_S, _STOP_S = 60.0, 20.0


class NodeProcess:
    """A node on ``home``, operated with the key ``secret``, on one loopback port as long as this object lives."""

    def __init__(self, home: Path, secret: bytes) -> None:
        from databund.api.server import free_port

        self.home = home
        self.port = free_port(HOST, 0)
        self._secret = secret
        self._process: Any = None
        self._ready: Connection | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{HOST}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process."""
        return int(self._process.pid)

    def start(self) -> None:
        """Start it, and do not wait."""
        context = forked()
        self._ready, sender = context.Pipe(duplex=False)
        self._process = context.Process(target=_serve, args=(str(self.home), self._secret, self.port, sender))
        self._process.start()
        sender.close()

    def is_ready(self, timeout_s: float = 0.0) -> bool:
        """Whether it answers by now, or within ``timeout_s``. Raises RuntimeError when it ended by itself."""
        if self._ready is None:
            return True
        if not self._ready.poll(timeout_s):
            return False
        try:
            self._ready.recv_bytes()
        except EOFError:
            raise RuntimeError(f"The node on {self.home} ended with {self._process.exitcode}.") from None
        self._ready = None
        return True

    def run(self) -> str:
        """Start it and wait until it answers; its URL."""
        self.start()
        if not self.is_ready(_START_S):
            raise RuntimeError(f"The node on {self.home} does not answer after {_START_S:g} s.")
        return self.url

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help. Stopping a stopped node changes nothing."""
        self._end(signal.SIGTERM)

    def __enter__(self) -> NodeProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            os.kill(self._process.pid, number)
        self._process.join(_STOP_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process = None


def _serve(home: str, secret: bytes, port: int, ready: Connection) -> None:
    """What ``databund serve`` does, with a key that is handed over instead of unlocked."""
    from databund.api.application import create_application
    from databund.api.server import serve
    from databund.bootstrap import open_node
    from databund.crypto.identities import Identity

    with open_node(settings_of(Path(home)), Identity(secret)) as running:
        application = create_application(running.node, public_url=f"http://{HOST}:{port}", rpc=running.rpc)
        serve(application, host=HOST, port=port, ready=lambda: ready.send_bytes(b"ready"))


def settings_of(home: Path) -> Any:
    """Every setting at its default, but the home."""
    from databund.config import load

    return load({"home": home}, environment={"DATABUND_CONFIG": os.devnull})
