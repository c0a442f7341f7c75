"""References: how a person names a dataset, an offer, a license or an order without typing 64 digits.

The first six or more digits of an id are enough while only one thing begins with them, as with commits in git;
datasets also go by their names, and an offer by the name of a dataset that has only one.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from databund.cli.figures import short
from databund.core.ids import Address, Bytes32, DatasetId, OfferId, OrderId
from databund.core.messages import DatasetView, LicenseView, OfferView
from databund.core.orders import Order
from databund.errors import IdentifierInvalid, LicenseMissing, NotFound

if TYPE_CHECKING:
    from databund.sdk.client import Client

__all__ = ["dataset_of", "find_dataset", "find_license", "find_offer", "find_order", "offers", "open_offers"]

T = TypeVar("T")
_SHORTEST = 6
_LOOKED_AT = 200
_WHOLE = re.compile(r"0x[0-9a-f]{64}")
_PREFIX = re.compile(rf"(?:0x)?([0-9a-f]{{{_SHORTEST},63}})")


def find_dataset(client: Client, text: str) -> DatasetView:
    """The dataset of an id, the beginning of one, or a name. Raises `NotFound` and `IdentifierInvalid`."""
    if _WHOLE.fullmatch(text):
        return client.dataset(DatasetId.parse(text))
    found = _datasets(client, text)
    return _only(found, text, "dataset", [_named(view) for view in found], look="databund dataset list")


def find_offer(client: Client, text: str, *, mine: bool = False) -> OfferView:
    """The offer of an id, the beginning of one, or the name of a dataset with one open offer."""
    if _WHOLE.fullmatch(text):
        return client.find_offer(OfferId.parse(text))
    own = client.identity.address if mine else None
    found = [view for view in offers(client, provider=own) if _begins(view.id, text)]
    if not found:
        for dataset in _named_so(client, text):
            found += open_offers(client, dataset.id, provider=own)
    view = _only(found, text, "offer", [_priced(client, view) for view in found], look="databund offer list")
    return client.find_offer(view.id)


def find_license(client: Client, text: str) -> tuple[LicenseView, OfferView]:
    """One's license by its offer or by its dataset; among several of a dataset, the one that can be used."""
    if _WHOLE.fullmatch(text) and (direct := _held(client, OfferId.parse(text))):
        return direct, client.find_offer(direct.license.offer_id)
    owned = [view for view in client.licenses() if view.license.units]
    pairs = [(view, client.find_offer(view.license.offer_id)) for view in owned]
    found = [pair for pair in pairs if _begins(pair[1].id, text)]
    if not found and _prefix(text):
        named = [offer for offer in offers(client) if _begins(offer.id, text)]
        found = [(view, offer) for offer in named if (view := _held(client, offer.id))]
    if not found:
        datasets = {DatasetId.parse(text)} if _WHOLE.fullmatch(text) else {view.id for view in _datasets(client, text)}
        held = [pair for pair in pairs if pair[1].signed.offer.dataset in datasets]
        found = [pair for pair in held if _usable(pair[0])] or held
    if not found:
        raise LicenseMissing(
            f"You hold no license that {text!r} names.",
            fix=f"Buy one (databund license buy {text}), or look at yours: databund license list",
        )
    return _only(found, text, "license", [_priced(client, offer) for _, offer in found], look="databund license list")


def find_order(client: Client, text: str) -> Order:
    """One's order by its id or the beginning of it."""
    if _WHOLE.fullmatch(text):
        return client.order(OrderId.parse(text))
    found = [order for order in client.orders(limit=_LOOKED_AT) if _begins(order.id, text)]
    order = _only(found, text, "order", [str(order.id) for order in found], look="databund order list")
    return client.order(order.id)


def offers(client: Client, dataset: DatasetId | None = None, *, provider: Address | None = None) -> list[OfferView]:
    """The newest offers, withdrawn and ended ones included."""
    return client.offers(dataset=dataset, provider=provider, limit=_LOOKED_AT)


def open_offers(
    client: Client, dataset: DatasetId | None = None, *, provider: Address | None = None
) -> list[OfferView]:
    """The offers that can be bought now, newest first."""
    now, listed = time.time(), offers(client, dataset, provider=provider)
    return [view for view in listed if view.withdrawn_at is None and view.signed.offer.valid_until >= now]


def dataset_of(client: Client, offer: OfferView) -> DatasetView:
    """The newest version of the dataset that an offer is for."""
    return client.dataset(offer.signed.offer.dataset)


def _datasets(client: Client, text: str) -> list[DatasetView]:
    return _named_so(client, text) or [view for view in _listed(client, text) if _begins(view.id, text)]


def _named_so(client: Client, text: str) -> list[DatasetView]:
    return [view for view in _listed(client, text) if view.dataset.name == text]


def _listed(client: Client, text: str) -> list[DatasetView]:
    newest = client.search("", limit=_LOOKED_AT)
    return newest if len(newest) < _LOOKED_AT else [*newest, *client.search(text, limit=_LOOKED_AT)]


def _held(client: Client, offer_id: OfferId) -> LicenseView | None:
    view = client.license(client.identity.address, offer_id)
    return view if view.license.units else None


def _usable(view: LicenseView) -> bool:
    owned = view.license
    return (owned.expiry is None or owned.expiry >= time.time()) and not (owned.uses and view.spent >= owned.uses)


def _prefix(text: str) -> str | None:
    match = _PREFIX.fullmatch(text.lower())
    return None if match is None else match[1]


def _begins(identifier: Bytes32, text: str) -> bool:
    digits = _prefix(text)
    return digits is not None and str(identifier).startswith("0x" + digits)


def _only(found: Sequence[T], text: str, noun: str, named: Iterable[str], *, look: str) -> T:
    if len(found) > 1:
        raise IdentifierInvalid(
            f"{text!r} is {len(found)} {noun}s: {'; '.join(named)}.", fix="Write more digits of the one you mean."
        )
    if not found:
        if text.startswith("0x") and not _prefix(text):
            raise IdentifierInvalid(
                f"{text!r} is not the beginning of an id.", fix=f"Write {_SHORTEST} or more of its digits: {look}"
            )
        how = "has an id that begins with" if _prefix(text) else "is called"
        raise NotFound(f"No {noun} {how} {text!r}.", fix=f"Look at them: {look}")
    return found[0]


def _named(view: DatasetView) -> str:
    return f"{short(view.id)} {view.dataset.name} of {short(view.dataset.provider)}"


def _priced(client: Client, view: OfferView) -> str:
    return f"{short(view.id)} for {client.info.currency.format(view.signed.offer.unit_price)}"
