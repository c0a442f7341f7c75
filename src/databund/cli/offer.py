"""``databund offer``: say at which price and on which terms data is licensed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session
from databund.cli.terms import Terms

if TYPE_CHECKING:
    from databund.core.messages import OfferView
    from databund.sdk.client import Client

__all__ = ["create", "list_", "show", "withdraw"]

_OFFER = "Its id, six or more digits of it, or the name of a dataset with one open offer."


def create(
    dataset: Annotated[str, Parameter(help="Its id, six or more digits of it, or its name.")],
    /,
    *,
    terms: Terms | None = None,
    options: Options | None = None,
) -> None:
    """Offer a published dataset.

    What is not permitted stays closed: training models and passing the data on are prohibited unless you permit them.
    The offer is signed; its terms can never change, also not by you. To change them, withdraw it and make another.
    """
    from databund.cli.references import find_dataset
    from databund.cli.views import offer_lines

    session = Session(options)
    with session.client(signed_in=True) as client:
        read = (terms or Terms()).read(client.info.currency)
        view = find_dataset(client, dataset)
        offer = client.offer(view.dataset, read)
        lines = [f"Offered {view.dataset.name}:", *offer_lines(offer, client.info.currency, view.dataset.name)]
        session.screen.answer(offer, lines)


def withdraw(offer: Annotated[str, Parameter(help=_OFFER)], /, *, options: Options | None = None) -> None:
    """Take an offer off the list; licenses that were sold stay valid."""
    from databund.cli.references import find_offer

    session = Session(options)
    with session.client(signed_in=True) as client:
        view = client.withdraw(find_offer(client, offer, mine=True).id)
        session.screen.answer(view, [f"Withdrawn: {view.id}"])


def list_(
    *,
    dataset: Annotated[str | None, Parameter(help="Only those of this dataset.")] = None,
    mine: Annotated[bool, Parameter(help="Only those you made.")] = False,
    all_: Annotated[bool, Parameter(name="--all", help="Also withdrawn and ended ones.")] = False,
    options: Options | None = None,
) -> None:
    """List the offers that can be bought."""
    from databund.cli.references import find_dataset, offers, open_offers
    from databund.cli.views import offer_table

    session = Session(options)
    own = session.address_of(session.settings.key) if mine else None
    with session.client() as client:
        chosen = None if dataset is None else find_dataset(client, dataset).id
        found = (offers if all_ else open_offers)(client, chosen, provider=own)
        names = _names(client, found)
        empty = "No offers. Make one: databund offer create"
        session.screen.answer(found, offer_table(found, client.info.currency, names, empty=empty))


def show(offer: Annotated[str, Parameter(help=_OFFER)], /, *, options: Options | None = None) -> None:
    """Show an offer and its terms.

    With --json the answer holds the offer as it was signed and its policy in ODRL.
    """
    from databund.cli.references import dataset_of, find_offer
    from databund.cli.views import offer_lines

    session = Session(options)
    with session.client() as client:
        view = find_offer(client, offer)
        name = dataset_of(client, view).dataset.name
        session.screen.answer(view, offer_lines(view, client.info.currency, name))


def _names(client: Client, offers: list[OfferView]) -> dict[str, str]:
    """The names of the datasets of these offers, by id."""
    wanted = {view.signed.offer.dataset for view in offers}
    known = {view.id: view for view in client.search("", limit=200)}
    return {str(each): (known.get(each) or client.dataset(each)).dataset.name for each in wanted}
