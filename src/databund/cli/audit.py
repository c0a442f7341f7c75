"""``databund audit``: export the audit log, and verify it without any node."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.audit_evidence import verify_evidence
from databund.cli.options import Common, Options
from databund.cli.screen import Screen
from databund.cli.session import Session
from databund.errors import InvalidInput

if TYPE_CHECKING:
    from databund.sdk.audit import Report

__all__ = ["export", "verify"]


def export(
    target: Annotated[
        str, Parameter(help="The file to write; one of that name is replaced. A folder is brought up to date.")
    ],
    /,
    *,
    folder: Annotated[bool, Parameter(help="Write a folder that any web server can host; also with DIR/.")] = False,
    options: Options | None = None,
) -> None:
    """Write the node's log and its documents into one file or folder.

    It holds the log as it is served (C2SP tlog-tiles), in a ZIP or unpacked, so other tools read it too. An export into
    the same folder fetches only what is new, and takes nothing over that does not hash to what was signed.
    """
    from databund.cli.figures import fields

    session = Session(options)
    place = Path(target).expanduser()
    unpacked = folder or target.endswith("/") or place.is_dir()
    with session.client() as client, session.screen.progress() as progress:
        entries = client.export_audit(place, folder=unpacked, progress=progress)
        key = client.info.log_key
    facts = {"folder" if unpacked else "file": str(place), "entries": entries, "log_key": key}
    lines = [f"Exported {entries:,} entries.", *fields(((next(iter(facts)), place), ("log key", key)))]
    session.screen.answer(facts, lines)


def verify(
    file: Annotated[Path, Parameter(help="An exported log (file or folder), or the evidence of a trade.")],
    /,
    *,
    key: Annotated[
        str | None,
        Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY"),
    ] = None,
    policy: Annotated[
        Path | None, Parameter(help="A witness policy (C2SP tlog-policy) that the checkpoint of evidence has to meet.")
    ] = None,
    options: Common | None = None,
) -> None:
    """Verify an exported log, or the evidence of a trade; needs no node, no key of yours and no network.

    Checked are the signed checkpoint, every entry against its root, the order of events, the signature and terms of
    every offer, every anchored root, and every decision, by deciding it again. Without --key the key in the file itself
    is used: that proves the file whole, but not whose log it is.
    """
    from databund.sdk import audit
    from databund.sdk.evidence import holds_evidence

    screen = Screen(json=options is not None and options.json)
    if holds_evidence(file.expanduser()):
        verify_evidence(screen, file.expanduser(), key=key, policy=policy)
        return
    if policy is not None:
        raise InvalidInput(f"{file} is an exported log.", fix="Leave --policy out, or name the evidence of a trade.")
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
        "anchored": report.anchored,
        "set_back": report.set_back,
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
                (
                    "anchors",
                    f"{plural(report.anchored, 'root')} on a chain, the log's own" if report.anchored else None,
                ),
                (
                    "clock",
                    f"{report.set_back:,} entries are dated before the one above them" if report.set_back else None,
                ),
                ("orders", ", ".join(f"{n} {state}" for state, n in states.items()) or "none"),
            )
        ),
    ]
