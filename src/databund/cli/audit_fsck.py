"""``databund audit fsck``: read a stored log again, to its first bad byte."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from heapq import merge
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.exits import Exit
from databund.cli.logs import OpenedLog, checks_of, counted, opened_log, read_policy, session_of
from databund.cli.options import Common
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.errors import LogDamaged
    from databund.tlog.fsck import Checks, Soundness

__all__ = ["fsck"]


def fsck(
    place: Annotated[
        str | None,
        Parameter(help="An exported file, a folder, or the URL of a log; by default the node of this home."),
    ] = None,
    /,
    *,
    key: Annotated[
        str | None, Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY")
    ] = None,
    policy: Annotated[
        Path | None,
        Parameter(help="A witness policy (C2SP tlog-policy); the cosignatures of its witnesses are verified."),
    ] = None,
    options: Common | None = None,
) -> int:
    """Read a stored log again, and find the first byte that is not what it was.

    Compared are every entry with its hash, every tile of every level with what lies below it, and the root with the
    signed checkpoint; for a node also its cosigned checkpoints, the heads that it sent to the chain, and the head that
    is kept apart from the database. The node may be running; nothing is written. Of a fault the resource, its path
    (C2SP tlog-tiles) and the offset in it are named.
    """
    from databund.errors import LogDamaged
    from databund.tlog.fsck import fsck as check

    session = session_of(options)
    with session.screen.progress() as progress, _opened(session, place, key, policy) as (log, checks):
        try:
            found = check(log.source, checks, progress=counted("check", progress))
        except LogDamaged as fault:
            if not session.screen.json:
                raise
            session.screen.answer(_fault(fault), ())
            return Exit.INTEGRITY_FAILED
    session.screen.answer(_document(found, log), _lines(found, log))
    return Exit.OK


@contextmanager
def _opened(
    session: Session, place: str | None, key: str | None, policy: Path | None
) -> Iterator[tuple[OpenedLog, Checks]]:
    witnesses = None if policy is None else read_policy(policy)
    if place is not None:
        with opened_log(place, key) as log:
            yield log, checks_of(log, witnesses)
        return
    from databund.bootstrap import open_log
    from databund.sdk.log_keys import verifier
    from databund.tlog.checkpoints import open_checkpoint
    from databund.tlog.fsck import KnownCheckpoint, KnownRoot
    from databund.tlog.notes import VerifierKey

    with open_log(session.settings) as home:
        vkey = home.key if key is None else VerifierKey.parse(key)
        heads = []
        if home.head is not None:
            head = open_checkpoint(home.head, origin=vkey.name, log=[verifier(vkey)]).checkpoint
            heads = [KnownRoot("the head that is kept apart", head.size, head.root)]
        anchors = [KnownRoot(f"chain transaction {hash_}", size, root) for size, root, hash_ in home.log.anchors()]
        log = OpenedLog(home.log, vkey, "the one in this home" if key is None else "given by you")
        checks = replace(
            checks_of(log, witnesses),
            checkpoints=(KnownCheckpoint("a cosigned checkpoint", note) for note in home.log.cosigned()),
            roots=merge(anchors, heads, key=lambda known: known.size),
        )
        yield log, checks


def _document(found: Soundness, log: OpenedLog) -> dict[str, Any]:
    return {
        "sound": True,
        "origin": found.origin,
        "entries": found.size,
        "root": found.root.hex(),
        "key": log.trust,
        "tiles": found.tiles,
        "partial_resources": found.partials,
        "checkpoints": found.checkpoints,
        "cosignatures": found.cosignatures,
        "known_roots": found.roots,
    }


def _lines(found: Soundness, log: OpenedLog) -> Iterator[str]:
    from databund.cli.figures import fields, plural

    yield "Sound: every entry, tile and checkpoint is what was signed."
    yield from fields(
        (
            ("log", found.origin),
            ("key", log.trust),
            ("entries", f"{found.size:,}"),
            ("root", found.root.hex()),
            ("tiles", f"{found.tiles:,} compared byte for byte"),
            (
                "checkpoints",
                f"{plural(found.checkpoints, 'checkpoint')}, {plural(found.cosignatures, 'cosignature')} verified",
            ),
            ("heads", f"{found.roots:,} kept elsewhere, all the same" if found.roots else None),
        )
    )


def _fault(fault: LogDamaged) -> dict[str, Any]:
    return {
        "sound": False,
        "fault": {
            "resource": fault.resource,
            "path": fault.path,
            "offset": fault.offset,
            "entry": fault.index,
        },
        "error": {"code": fault.code, "what": fault.what, "fix": fault.fix},
    }
