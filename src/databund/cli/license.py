"""``databund license``: buy, look at and transfer licenses."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["buy", "list_", "show", "transfer"]

_LICENSE = "Its offer or its dataset: an id, six or more digits of it, or a name."


def buy(
    offer: Annotated[
        str, Parameter(help="Its id, six or more digits of it, or the name of a dataset with one open offer.")
    ],
    /,
    *,
    units: Annotated[int, Parameter(help="How many units; each adds one term and its uses.")] = 1,
    max_price: Annotated[
        str | None, Parameter(help="Do not buy when it costs more than this in all.", metavar="AMOUNT")
    ] = None,
    options: Options | None = None,
) -> None:
    """Buy a license with one signature.

    You sign one payment for this one order. Money and license change hands in one chain transaction, or not at all.
    """
    from databund.cli.references import dataset_of, find_offer
    from databund.cli.views import license_lines, order_lines
    from databund.core.orders import OrderState

    session = Session(options)
    with session.client(signed_in=True) as client:
        currency = client.info.currency
        most = None if max_price is None else currency.parse(max_price)
        view = find_offer(client, offer)
        name = dataset_of(client, view).dataset.name
        with client.buying(view.id, units=units, most=most) as order:
            owned = client.license(client.identity.address, view.id)
            if order.state is OrderState.PLACED:
                lines = [
                    "Ordered; the chain has not decided yet. Look again: databund order show",
                    *order_lines(order, currency),
                ]
            else:
                lines = [
                    f"Bought a license of {name} for {currency.format(order.price)}.",
                    *order_lines(order, currency),
                ]
                lines += ["", "Your license:", *license_lines(owned, name)]
            session.screen.answer({"order": order, "license": owned}, lines)
        session.screen.hint(f"Get the data: databund dataset download {name}")


def list_(*, options: Options | None = None) -> None:
    """List your licenses."""
    from databund.cli.references import dataset_of
    from databund.cli.views import license_table

    session = Session(options)
    with session.client(signed_in=True) as client:
        found = client.licenses()
        names = [dataset_of(client, client.find_offer(view.license.offer_id)).dataset.name for view in found]
        session.screen.answer(found, license_table(zip(found, names, strict=True)))


def show(
    license_: Annotated[str, Parameter(name="LICENSE", help=_LICENSE)],
    /,
    *,
    holder: Annotated[str | None, Parameter(help="Whose license; by default yours.", metavar="ADDRESS")] = None,
    options: Options | None = None,
) -> None:
    """Show what the chain says of a license."""
    from databund.cli.references import dataset_of, find_license, find_offer
    from databund.cli.views import license_lines
    from databund.core.ids import Address

    session = Session(options)
    with session.client(signed_in=holder is None) as client:
        if holder is None:
            view, offer = find_license(client, license_)
        else:
            offer = find_offer(client, license_)
            view = client.license(Address.parse(holder), offer.id)
        session.screen.answer(view, license_lines(view, dataset_of(client, offer).dataset.name))


def transfer(
    license_: Annotated[str, Parameter(name="LICENSE", help=_LICENSE)],
    to: Annotated[str, Parameter(name="ADDRESS", help="The account that receives it.")],
    /,
    *,
    units: Annotated[int, Parameter(help="How many units.")] = 1,
    options: Options | None = None,
) -> None:
    """Give units of a transferable license to another account."""
    from databund.cli.figures import fields, plural
    from databund.cli.references import find_license
    from databund.core.ids import Address

    session = Session(options)
    receiver = Address.parse(to)
    with session.client(signed_in=True) as client:
        view, offer = find_license(client, license_)
        chain_transaction = client.transfer(offer.id, receiver, units=units)
        facts = {
            "offer": str(offer.id),
            "from": str(view.license.holder),
            "to": str(receiver),
            "units": units,
            "chain transaction": chain_transaction,
        }
        lines = [f"Transferred {plural(units, 'unit')}.", *fields(facts.items())]
        session.screen.answer({name.replace(" ", "_"): value for name, value in facts.items()}, lines)
