"""``databund audit reconcile``: prove log and chain complete against each other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.exits import Exit
from databund.cli.logs import counted, session_of, verified_log
from databund.cli.options import Common

if TYPE_CHECKING:
    from databund.cli.logs import VerifiedLog
    from databund.cli.screen import Progress
    from databund.core.gaps import Gap
    from databund.core.messages import NodeInfo
    from databund.ports import ChainEvents
    from databund.sdk.reconciling import Comparison

__all__ = ["reconcile"]

_SECOND_LOOK_S = 20.0  # a node looks at the chain every 15 s


def reconcile(
    *,
    from_: Annotated[
        str | None,
        Parameter(
            name="--from",
            help="The log: an exported file, a folder, or a URL; by default that of the node.",
            metavar="PLACE",
        ),
    ] = None,
    chain: Annotated[
        str | None, Parameter(help="A JSON-RPC node of the chain; by default the node's own.", metavar="URL")
    ] = None,
    key: Annotated[
        str | None, Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY")
    ] = None,
    options: Common | None = None,
) -> int:
    """Compare the audit log with the chain, and name each gap.

    Every sale, withdrawal and anchor that the chain recorded needs its entry, and every entry that names a chain
    transaction needs what it says to be on the chain: same order, offer, units, price, payments, block and expiry. The
    log is verified first. What is newer than the last final block is pending, and no gap. A copy is compared up to the
    last block that it names. A gap that a running node closes by itself is looked at again after 20 s.
    """
    from databund.bootstrap import open_chain_events

    session = session_of(options)
    with session.client() as client:
        info, url = client.info, client.url
    with session.screen.progress() as progress, verified_log(session, from_, key or info.log_key, progress) as log:
        events = open_chain_events(chain or f"{url}/rpc", info, session.settings)
        found = _compared(log, events, info, progress)
    session.screen.answer(_document(found), _lines(found))
    return Exit.OK if found.complete else Exit.INTEGRITY_FAILED


def _compared(log: VerifiedLog, events: ChainEvents, info: NodeInfo, progress: Progress | None) -> Comparison:
    """Compare; a running node may be about to enter what just became final, so such gaps are looked at twice."""
    import msgspec

    first = _once(log, events, info, progress)
    if log.refresh is None or not any(gap.kind.may_close for gap in first.gaps):
        return first
    time.sleep(_SECOND_LOOK_S)
    second = _once(log, events, info, progress)
    known = {_name(gap) for gap in first.gaps}
    left = (gap for gap in second.gaps if not gap.kind.may_close or _name(gap) in known)
    return msgspec.structs.replace(second, gaps=tuple(left))


def _once(log: VerifiedLog, events: ChainEvents, info: NodeInfo, progress: Progress | None) -> Comparison:
    from databund.sdk.reconciling import compare

    # The chain first: what it has by now, the log has when it is read after.
    newest = events.newest()
    live = log.refresh is not None
    checkpoint = log.checkpoint if log.refresh is None else log.refresh()
    return compare(
        log.source,
        checkpoint,
        events,
        info=info,
        newest=newest,
        live=live,
        progress=counted("reconcile", progress),
    )


def _name(gap: Gap) -> tuple[object, ...]:
    return gap.kind, gap.entry, gap.chain_transaction, gap.order


def _document(found: Comparison) -> dict[str, Any]:
    from databund.core import documents

    return {"complete": found.complete, **documents.dump(found)}


def _lines(found: Comparison) -> Iterator[str]:
    from databund.cli.figures import fields, plural

    counted = found.counted
    if found.complete:
        yield "Complete: log and chain know the same sales, withdrawals and anchors."
    else:
        yield f"Not complete: {plural(len(found.gaps), 'gap')} between log and chain."
    for gap in found.gaps:
        yield f"✗ {gap.what}  [{gap.kind}]"
        yield f"  fix: {gap.fix}"
    yield from fields(
        (
            ("log", found.origin),
            ("entries", f"{found.entries:,}"),
            ("root", found.root),
            ("chain", f"{found.chain_id}, exchange {found.exchange}"),
            ("blocks", f"{found.first_block:,} to {found.last_block:,}"),
            ("last block", found.last_hash),
            ("sales", f"{counted['sales']:,}"),
            ("orders", f"{counted['orders']:,}"),
            ("settlements", f"{counted['settlements']:,}"),
            ("withdrawals", f"{counted['withdrawals']:,}"),
            ("anchors", f"{counted['anchors']:,}"),
            ("pending", f"{counted['pending']:,}"),
        )
    )
