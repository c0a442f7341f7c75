"""``databund serve``: run a node."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

from cyclopts import Parameter

from databund.cli.options import Options, about
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.app.node import Node
    from databund.config import Settings
    from databund.crypto.identities import Identity

__all__ = ["event_log", "operator_key", "serve", "stop"]

_EVERY_INTERFACE = ("0.0.0.0", "::")  # noqa: S104  # compared with, not bound to


def serve(
    *,
    host: Annotated[str | None, Parameter(help=about("host"), metavar="ADDRESS")] = None,
    port: Annotated[str | None, Parameter(help=about("port"), metavar="N")] = None,
    public_url: Annotated[str | None, Parameter(help=about("public_url"), metavar="URL")] = None,
    database: Annotated[str | None, Parameter(help=about("database"), metavar="URL")] = None,
    objects: Annotated[str | None, Parameter(help=about("objects"), metavar="URL")] = None,
    chain: Annotated[str | None, Parameter(help=about("chain"), metavar="URL")] = None,
    finality: Annotated[str | None, Parameter(help=about("finality"), metavar="POLICY")] = None,
    heads: Annotated[str | None, Parameter(help=about("heads"), metavar="URL")] = None,
    origin: Annotated[str | None, Parameter(help=about("origin"), metavar="NAME")] = None,
    witness_policy: Annotated[str | None, Parameter(help=about("witness_policy"), metavar="FILE")] = None,
    anchor_period: Annotated[str | None, Parameter(help=about("anchor_period"), metavar="SECONDS")] = None,
    anchor_max_cost: Annotated[str | None, Parameter(help=about("anchor_max_cost"), metavar="WEI")] = None,
    fee: Annotated[str | None, Parameter(help=about("fee"), metavar="N")] = None,
    log_file: Annotated[
        Path | None, Parameter(help="Where to write the log, one JSON object to a line; by default stderr.")
    ] = None,
    options: Options | None = None,
) -> None:
    """Run a node until it is told to stop.

    In a new home everything is made: the operator's key, an EVM chain with the exchange on it, a database and a folder
    for sealed data. The key's passphrase comes from --passphrase-file, DATABUND_PASSPHRASE, the file ``passphrase`` in
    the home, the keyring, or you. When the node answers, one message on stdout says so. Ctrl-C or SIGTERM stops it.
    """
    session = Session(
        options,
        host=host,
        port=port,
        public_url=public_url,
        database=database,
        objects=objects,
        chain=chain,
        finality=finality,
        heads=heads,
        origin=origin,
        witness_policy=witness_policy,
        anchor_period=anchor_period,
        anchor_max_cost=anchor_max_cost,
        fee=fee,
    )
    _check_public(session.settings)
    os.umask(0o077)  # whatever the node writes is its operator's alone
    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt), event_log(log_file):
        _serve(session)


def _serve(session: Session) -> None:
    from databund.api.application import create_application
    from databund.api.server import free_port
    from databund.api.server import serve as serve_application
    from databund.bootstrap import open_node
    from databund.web.pages import PAGES

    settings, identity = session.settings, operator_key(session)
    with open_node(settings, identity) as running:
        port = free_port(settings.host, settings.port)
        url = _public_url(settings, port)
        application = create_application(running.node, public_url=url, rpc=running.rpc, pages=PAGES)
        serve_application(
            application, host=settings.host, port=port, ready=lambda: _say_ready(session, running.node, url)
        )


def operator_key(session: Session) -> Identity:
    """The operator's key; made when the home has no key at all."""
    if session.keystore.list():
        return session.identity
    identity = session.new_keystore.new(session.settings.key)
    session.screen.note(f"Made the operator's key {session.settings.key!r}: {identity.address}")
    return identity


def _check_public(settings: Settings) -> None:
    """Raise `ConfigInvalid` when clients could not know how to reach the node."""
    from databund.errors import ConfigInvalid

    if settings.public_url is None and settings.host in _EVERY_INTERFACE:
        raise ConfigInvalid(
            f"{settings.host} means every interface, which is no URL that clients could name.",
            fix="Say where they reach the node: --public-url https://data.example.com",
        )


def _public_url(settings: Settings, port: int) -> str:
    if settings.public_url is not None:
        return str(settings.public_url).rstrip("/")
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http://{host}:{port}"


def _say_ready(session: Session, node: Node, url: str) -> None:
    from databund.cli.figures import fields

    info = node.info
    home = session.settings.home.absolute()
    facts = {"url": url, "operator": str(info.operator), "log_key": info.log_key, "home": str(home)}
    lines = fields((("operator", info.operator), ("log key", info.log_key), ("home", home)))
    headline = f"databund {info.version} is ready at {url}"
    session.screen.answer({**facts, "pid": os.getpid()}, [headline, *lines])


@contextmanager
def event_log(path: Path | None) -> Iterator[None]:
    """Write the node's events as lines of JSON."""
    import structlog

    from databund.errors import FileUnusable

    def configure(sink: TextIO) -> None:
        structlog.configure(
            processors=[
                structlog.contextvars.merge_contextvars,
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(file=sink),
            cache_logger_on_first_use=False,
        )

    if path is None:
        configure(sys.stderr)
        yield
        return
    try:
        file = path.expanduser().open("a", encoding="utf-8", buffering=1)
    except OSError as error:
        raise FileUnusable(
            f"{path} cannot be written: {error.strerror}.", fix="Name another file with --log-file."
        ) from error
    with file:
        configure(file)
        yield


def stop(_number: int, _frame: object) -> None:
    """End the command as Ctrl-C would; a handler of signals."""
    raise KeyboardInterrupt
