"""``databund witness``: cosign the checkpoints of logs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.serve import event_log, operator_key, stop
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.app.witnessing import Witness
    from databund.tlog.notes import VerifierKey

__all__ = ["serve", "show"]

_NAME = "The witness's name, such as example.com/witness; by default made from the key's account."


def serve(
    *,
    log: Annotated[tuple[str, ...], Parameter(help="The verifier key of a log to watch.", metavar="VKEY")] = (),
    logs: Annotated[
        Path | None, Parameter(help="A file of log lines (c2sp.org/tlog-policy) with more logs.", metavar="FILE")
    ] = None,
    name: Annotated[str | None, Parameter(help=_NAME, metavar="NAME")] = None,
    host: Annotated[
        str, Parameter(help="The address to listen on; by default 127.0.0.1.", metavar="ADDRESS")
    ] = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port to listen on; 0 takes a free one.", metavar="N")] = 8760,
    log_file: Annotated[
        Path | None, Parameter(help="Where to write events, one JSON object to a line; by default stderr.")
    ] = None,
    options: Options | None = None,
) -> None:
    """Run a witness (c2sp.org/tlog-witness) until it is told to stop.

    A log submits each new checkpoint with the proof that it continues the last one, and gets an Ed25519 and an
    ML-DSA-44 cosignature. What was cosigned last lies in the home, which a witness has for itself: whoever restores an
    older copy of it makes the witness forget. In a new home the key is made. Give the operators of the logs the keys
    that are shown, and the URL.
    """
    session = Session(options)
    os.umask(0o077)
    signal.signal(signal.SIGTERM, stop)
    with suppress(KeyboardInterrupt), event_log(log_file):
        _serve(session, log, logs, name, host, port)


def show(
    *,
    name: Annotated[str | None, Parameter(help=_NAME, metavar="NAME")] = None,
    options: Options | None = None,
) -> None:
    """Show the keys of the witness in this home.

    A log's witness policy (c2sp.org/tlog-policy) names one of them, with the URL of the witness.
    """
    from databund.bootstrap import witness_cosigners

    session = Session(options)
    keys = [cosigner.key for cosigner in witness_cosigners(session.identity, name)]
    session.screen.answer({"name": keys[0].name, "vkeys": [str(key) for key in keys]}, map(str, keys))


def _serve(session: Session, log: Sequence[str], logs: Path | None, name: str | None, host: str, port: int) -> None:
    from databund.api.server import free_port
    from databund.api.server import serve as serve_application
    from databund.api.witness import create_witness_application
    from databund.bootstrap import open_witness
    from databund.errors import ConfigInvalid

    if not 0 <= port < 65536:
        raise ConfigInvalid(f"There is no port {port}.", fix="Choose one from 0 to 65535 with --port.")
    keys = list(_keys(log, logs))
    if not keys:
        raise ConfigInvalid("The witness is given no log to watch.", fix="Name one: --log VKEY, or a file: --logs FILE")
    identity = operator_key(session)
    with open_witness(session.settings.home, identity, name=name, logs=keys) as witness:
        port = free_port(host, port)
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        serve_application(
            create_witness_application(witness),
            host=host,
            port=port,
            ready=lambda: _say_ready(session, witness, url),
        )


def _keys(log: Sequence[str], logs: Path | None) -> Iterator[VerifierKey]:
    from databund.errors import FileUnusable
    from databund.sdk.log_keys import verifier
    from databund.tlog.notes import VerifierKey
    from databund.tlog.policies import WitnessPolicy

    yield from map(VerifierKey.parse, log)
    if logs is not None:
        try:
            data = logs.expanduser().read_bytes()
        except OSError as error:
            raise FileUnusable(
                f"{logs} cannot be read: {error.strerror}.", fix="Name a file of log lines with --logs."
            ) from error
        yield from (known.key for known in WitnessPolicy.parse(data, verifier).logs)


def _say_ready(session: Session, witness: Witness, url: str) -> None:
    from databund.cli.figures import fields

    home = session.settings.home.absolute()
    keys = [str(key) for key in witness.keys]
    facts = {"url": url, "vkeys": keys, "logs": list(witness.origins), "home": str(home), "pid": os.getpid()}
    # The ML-DSA key fills a screen; `witness show` prints both.
    rows = (*(("log", origin) for origin in witness.origins), ("key", keys[0]), ("home", home))
    session.screen.answer(facts, [f"The witness {witness.keys[0].name} is ready at {url}", *fields(rows)])
