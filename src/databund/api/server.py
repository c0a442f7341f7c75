"""The server: one granian process with the application, until it is told to stop."""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server
from litestar import Litestar

from databund.errors import ConfigInvalid

__all__ = ["free_port", "serve"]


def free_port(host: str, port: int) -> int:
    """``port``, or a free one for 0. Raises `ConfigInvalid` when nobody can listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ConfigInvalid(
                f"Nobody can listen on {host} port {port}: {error.strerror}.",
                fix="Choose another port with --port, or stop the program that has it.",
            ) from error
        return int(probe.getsockname()[1])


def serve(application: Litestar, *, host: str, port: int, ready: Callable[[], None]) -> None:
    """Serve until SIGINT or SIGTERM; ``ready`` is called when requests are answered."""
    asyncio.run(_serve(application, host, port, ready))


async def _serve(application: Litestar, host: str, port: int, ready: Callable[[], None]) -> None:
    server = Server(
        application, address=host, port=port, interface=Interfaces.ASGI, http=HTTPModes.auto, log_enabled=False
    )
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stop)
    serving = asyncio.ensure_future(server.serve())
    while not serving.done():
        if await loop.run_in_executor(None, _answers, host, port):
            ready()
            break
        await asyncio.sleep(0.01)
    await serving


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True
