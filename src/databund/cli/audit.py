"""``databund audit``: export the audit log, and verify it without any node."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.options import Common, Options
from databund.cli.screen import Screen
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.sdk.audit import Report

__all__ = ["export", "verify"]


def export(
    file: Annotated[Path, Parameter(help="The file to write; one of that name is replaced.")],
    /,
    *,
    options: Options | None = None,
) -> None:
    """Write the node's log and its documents into one file.

    The file is a ZIP of the log as it is served (C2SP tlog-tiles), so other tools read it too.
    """
    from databund.cli.figures import fields

    session = Session(options)
    target = file.expanduser()
    with session.client() as client, session.screen.progress() as progress:
        entries = client.export_audit(target, progress=progress)
        key = client.info.log_key
    facts = {"file": str(target), "entries": entries, "log_key": key}
    lines = [f"Exported {entries:,} entries.", *fields((("file", target), ("log key", key)))]
    session.screen.answer(facts, lines)


def verify(
    file: Annotated[Path, Parameter(help="A file that databund audit export wrote.")],
    /,
    *,
    key: Annotated[
        str | None,
        Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY"),
    ] = None,
    options: Common | None = None,
) -> None:
    """Verify an exported log; needs no node, no key of yours and no network.

    Checked are the signed checkpoint, every entry against its root, the order of events, the signature and terms of
    every offer, and every decision, by deciding it again. Without --key the key in the file itself is used: that
    proves the file whole, but not whose log it is.
    """
    from databund.sdk import audit

    screen = Screen(json=options is not None and options.json)
    with screen.progress() as progress:
        report = audit.verify(file.expanduser(), key=key, progress=progress)
    document = {
        "origin": report.origin,
        "entries": report.size,
        "root": report.root,
        "key_was_given": report.trusted_key,
        "kinds": dict(report.kinds),
        "offers_verified": report.offers_verified,
        "decisions_rerun": report.decisions_rerun,
        "orders": {order: str(state) for order, state in report.orders.items()},
    }
    screen.answer(document, _lines(report))
    if not report.trusted_key:
        screen.note("The key was the file's own. To know whose log this is, give the operator's: --key VKEY")


def _lines(report: Report) -> list[str]:
    from databund.cli.figures import fields, plural

    states = Counter(str(state) for state in report.orders.values())
    trust = "given by you" if report.trusted_key else "the file's own; whose log it is was not checked"
    return [
        "Verified: nothing in this log was changed, left out or moved.",
        *fields(
            (
                ("log", report.origin),
                ("key", trust),
                ("entries", f"{report.size:,}: " + ", ".join(f"{n} {kind}" for kind, n in report.kinds.items())),
                ("root", report.root),
                ("offers", f"{plural(report.offers_verified, 'signature')} verified"),
                ("decisions", f"{report.decisions_rerun} decided again, all the same"),
                ("orders", ", ".join(f"{n} {state}" for state, n in states.items()) or "none"),
            )
        ),
    ]
