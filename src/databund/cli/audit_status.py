"""``databund audit status``: how the log of a node stands, by its own word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from databund.cli.options import Options
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.core.log_status import AnchoringStatus, CosigningStatus, LogStatus

__all__ = ["status"]


def status(*, options: Options | None = None) -> None:
    """Say how long the node's log is, which witnesses cosigned it up to where, and where it is anchored.

    This is the node's own word. What proves it are the checkpoint, its cosignatures, and the chain.
    """
    session = Session(options)
    with session.client() as client:
        found = client.log_status()
    session.screen.answer(found, _lines(found))


def _lines(found: LogStatus) -> Iterator[str]:
    from databund.cli.figures import fields

    if found.halted is not None:
        yield f"HALTED: nothing is signed any more. {found.halted}"
    pairs = [("log", found.origin), ("log key", found.log_key), ("entries", f"{found.size:,}"), ("root", found.root)]
    yield from fields((*pairs, *_cosigning(found.cosigning, found.size), *_anchoring(found.anchoring)))


def _cosigning(found: CosigningStatus | None, size: int) -> Iterator[tuple[str, str]]:
    if found is None:
        yield "witnesses", "none; the operator named no witness policy"
        return
    if found.size is None:
        yield "witnesses", "the policy has not been met yet"
    else:
        yield "witnesses", f"the policy is met for {found.size:,} of {size:,} entries, {_ago(found.at)}"
    for witness in found.witnesses:
        seen = "nothing yet" if witness.size is None else f"{witness.size:,} entries, {_ago(witness.at)}"
        yield f"  {witness.name}", seen if witness.error is None else f"{seen}; {witness.error}"


def _anchoring(found: AnchoringStatus | None) -> Iterator[tuple[str, str]]:
    if found is None:
        yield "anchor", "none; the operator turned anchoring off"
        return
    if found.newest is None:
        yield "anchor", "none yet"
    else:
        where = "on the chain" if found.on_chain else "on its way to the chain"
        yield "anchor", f"{found.newest.size:,} entries, {_ago(found.newest.at)}, {where}"
        yield "  chain transaction", found.newest.chain_transaction
    if found.deferred is not None:
        yield "  deferred", found.deferred


def _ago(at: int | None) -> str:
    from databund.cli.figures import elapsed

    return "at an unknown time" if at is None else f"{elapsed(int(time.time()) - at)} ago"
