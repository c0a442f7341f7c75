"""``databund audit verify`` for the evidence of one trade, and ``databund audit verifier``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from databund.cli.options import Common
from databund.cli.screen import Screen

if TYPE_CHECKING:
    from databund.sdk.evidence import EvidenceReport

__all__ = ["verifier", "verify_evidence"]


def verifier(*, options: Common | None = None) -> None:
    """Print the verifier of evidence: one Python file to read, keep and run without databund.

    It needs Python 3.9 and the package cryptography: python verify.py EVIDENCE.zip --key VKEY
    """
    from databund.sdk.evidence import standalone_verifier

    text = standalone_verifier().decode()
    screen = Screen(json=options is not None and options.json)
    if screen.json:
        screen.answer({"verifier": text}, ())
    else:
        screen.page(text)


def verify_evidence(screen: Screen, file: Path, *, key: str | None, policy: Path | None) -> None:
    """Verify the evidence in a file, and say what it proves and what it does not."""
    from databund.cli.logs import read_policy
    from databund.sdk.evidence import verify

    report = verify(file, key=key, policy=None if policy is None else read_policy(policy))
    screen.answer(_document(report), _lines(report))
    if not report.trusted_key:
        screen.note("The key was the file's own. To know whose log this is, give the operator's: --key VKEY")


def _document(report: EvidenceReport) -> dict[str, object]:
    chain = report.chain
    return {
        "order": report.order,
        "state": str(report.state),
        "origin": report.origin,
        "size": report.size,
        "root": report.root,
        "key_was_given": report.trusted_key,
        "cosignatures": report.cosignatures,
        "entries": {str(index): str(event.kind) for index, event in report.events.items()},
        "offer_verified": report.offer_verified,
        "decisions_rerun": report.decisions_rerun,
        "sale": None if chain is None else chain.sale,
        "block_hash": None if chain is None else chain.block_hash,
        "certificate": report.certificate,
        "attachments": {name: str(standing) for name, standing in report.attachments.items()},
    }


def _lines(report: EvidenceReport) -> Iterator[str]:
    from databund.cli.figures import fields, moment, plural

    trust = "given by you" if report.trusted_key else "the file's own; whose log it is was not checked"
    chain = report.chain
    yield "Verified: this is what the log, the chain and the documents say of this trade."
    yield from fields(
        (
            ("order", f"{report.order}: {report.state}"),
            ("log", f"{report.origin}, {report.size:,} entries"),
            ("key", trust),
            ("witnesses", f"{plural(report.cosignatures, 'cosignature')} of those you named"),
            *(
                (f"entry {index}", f"{moment(event.at)}  {event.kind} by {event.by}")
                for index, event in report.events.items()
            ),
            ("offer", "signed by its provider" if report.offer_verified else "signature for the chain to check"),
            ("decisions", f"{report.decisions_rerun} decided again, all the same"),
            *(("attachment", f"{name[:10]}: {standing}") for name, standing in report.attachments.items()),
            *(
                ("" if number else "paid", f"{payment.amount} base units to {payment.account}")
                for number, payment in enumerate(() if chain is None else chain.sale.payments)
            ),
            ("block", None if chain is None else f"{chain.block} of chain {chain.chain_id}: {chain.block_hash}"),
        )
    )
    if chain is not None:
        yield "Not in the file: whether the chain has that block. Compare its hash with a node of the chain."
