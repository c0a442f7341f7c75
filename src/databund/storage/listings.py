"""Signed offers: the port `Listings`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, func, select, update

from databund.core.ids import Address, DatasetId, OfferId
from databund.errors import AlreadyExists, NotFound
from databund.ports import Listing
from databund.storage import rows
from databund.storage.tables import listings

__all__ = ["SqlListings"]

_LISTING = select(listings.c.signed, listings.c.policy, listings.c.listed_at, listings.c.withdrawn_at)


class SqlListings:
    """Signed offers in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, listing: Listing) -> None:
        """Add an offer; adding the same one again changes nothing.

        Raises `AlreadyExists` when it is listed for another smart contract or with another text of its policy.
        """
        offer = listing.signed.offer
        added = rows.add(
            self._connection,
            listings,
            offer_id=offer.id,
            dataset_id=offer.dataset,
            provider=offer.provider,
            signed=listing.signed,
            policy=listing.policy,
            listed_at=listing.listed_at,
            withdrawn_at=listing.withdrawn_at,
        )
        if not added:
            stored = self.get(offer.id)
            if (stored.signed.domain, stored.policy) != (listing.signed.domain, listing.policy):
                raise AlreadyExists(
                    f"The offer {offer.id} is listed for another smart contract or with another policy.",
                    fix="Sign a new offer with another salt.",
                )

    def get(self, offer_id: OfferId) -> Listing:
        """Raise `NotFound` when it is not listed."""
        row = self._connection.execute(_LISTING.where(listings.c.offer_id == offer_id)).first()
        if row is None:
            raise _unlisted(offer_id)
        return Listing(*row)

    def find(self, *, dataset: DatasetId | None, provider: Address | None, limit: int) -> Sequence[Listing]:
        """Offers, newest first, withdrawn ones included."""
        query = _LISTING
        if dataset is not None:
            query = query.where(listings.c.dataset_id == dataset)
        if provider is not None:
            query = query.where(listings.c.provider == provider)
        found = self._connection.execute(query.order_by(listings.c.seq.desc()).limit(limit))
        return [Listing(*row) for row in found]

    def withdraw(self, offer_id: OfferId, at: int) -> None:
        """Mark as withdrawn; the first time stays. Raises `NotFound`."""
        done = self._connection.execute(
            update(listings)
            .where(listings.c.offer_id == offer_id)
            .values(withdrawn_at=func.coalesce(listings.c.withdrawn_at, at))
        )
        if not done.rowcount:
            raise _unlisted(offer_id)


def _unlisted(offer_id: OfferId) -> NotFound:
    return NotFound(f"The offer {offer_id} is not listed here.", fix="List the offers: databund offer list")
