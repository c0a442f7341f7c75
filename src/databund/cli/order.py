"""``databund order``: follow purchases to their certificates."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["certificate", "evidence", "list_", "show"]

_ORDER = "Its id, or six or more digits of it."


def list_(*, options: Options | None = None) -> None:
    """List your orders."""
    from databund.cli.views import order_table

    session = Session(options)
    with session.client(signed_in=True) as client:
        found = client.orders(limit=200)
        session.screen.answer(found, order_table(found, client.info.currency))


def show(order: Annotated[str, Parameter(help=_ORDER)], /, *, options: Options | None = None) -> None:
    """Show where an order stands."""
    from databund.cli.references import find_order
    from databund.cli.views import order_lines

    session = Session(options)
    with session.client(signed_in=True) as client:
        found = find_order(client, order)
        session.screen.answer(found, order_lines(found, client.info.currency))


def certificate(order: Annotated[str, Parameter(help=_ORDER)], /, *, options: Options | None = None) -> None:
    """Settle and certify a delivered order, and show its certificate.

    With --json the answer is the certificate with the agreement (ODRL) that both sides can show. Asking again gives
    the same document.
    """
    from databund.cli.figures import fields, moment
    from databund.cli.references import find_order
    from databund.core import documents
    from databund.core.agreements import Certificate

    session = Session(options)
    with session.client(signed_in=True) as client:
        document = client.certificate(find_order(client, order).id)
        issued, currency = documents.load(document["certificate"], Certificate), client.info.currency
        payments = [
            ("paid" if number == 0 else "", f"{currency.format(payment.amount)} to {payment.account}")
            for number, payment in enumerate(issued.payments)
        ]
        lines = fields(
            (
                ("order", issued.order),
                ("offer", issued.offer),
                ("buyer", issued.buyer),
                ("units", issued.units),
                ("price", currency.format(issued.price)),
                *payments,
                ("license ends", moment(issued.expiry)),
                ("agreement", f"{issued.agreement} (SHA-256)"),
                ("chain transaction", f"{issued.chain_transaction} in block {issued.block} of chain {issued.chain_id}"),
            )
        )
        session.screen.answer(document, ["Certificate of the trade:", *lines])


def evidence(
    order: Annotated[str, Parameter(help=_ORDER)],
    /,
    *,
    to: Annotated[Path | None, Parameter(help="The file to write; by default evidence-<order>.zip here.")] = None,
    disclose: Annotated[
        bool, Parameter(help="Include what the log commits to about you, such as the purpose you declared.")
    ] = False,
    options: Options | None = None,
) -> None:
    """Write everything that proves a trade into one file.

    It holds the entries of the audit log with their proofs, the decisions with their facts, the offer, the chain's
    receipt, the certificate, and a verifier in one Python file. Whoever has it needs neither this node nor databund;
    databund audit verify checks it, too, and decides every decision again.
    """
    from databund.cli.figures import fields, short
    from databund.cli.references import find_order
    from databund.sdk.durable_files import replace_file, unwritable
    from databund.sdk.evidence import verify_bytes

    session = Session(options)
    with session.client(signed_in=True) as client:
        found = find_order(client, order)
        target = (to or Path(f"evidence-{short(found.id)}.zip")).expanduser()
        key = client.info.log_key
        data = client.evidence(found.id, disclose=disclose)
    report = verify_bytes(data, key=key)
    try:
        replace_file(target, data)
    except OSError as error:
        raise unwritable(target, error) from error
    facts = {"file": str(target), "order": report.order, "state": str(report.state), "bytes": len(data), "log_key": key}
    lines = ["Wrote and verified the evidence.", *fields((("file", target), ("order", report.order), ("log key", key)))]
    session.screen.answer(facts, lines)
    session.screen.hint("Anybody can check it: databund audit verify FILE --key VKEY")
