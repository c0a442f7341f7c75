"""``databund order``: follow purchases to their certificates."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["certificate", "list_", "show"]

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
