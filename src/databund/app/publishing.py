"""Publishing: a provider registers a dataset version, lists offers of it, and withdraws them.

Registering needs the sealed blob and its content key, wrapped to this node, so that what is listed can be delivered.
Listing costs no gas: the provider's signature is the listing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from databund.app.auditing import Auditor
from databund.app.relaying import Relaying
from databund.core import documents
from databund.core.datasets import Dataset
from databund.core.events import Event, EventKind
from databund.core.ids import Address, OfferId
from databund.core.offers import Offer, SignedOffer, Split
from databund.core.terms import check_terms
from databund.crypto.content_keys import ContentKey
from databund.crypto.identities import Identity
from databund.crypto.ranges import RangeReader
from databund.crypto.wrapping import unwrap
from databund.errors import (
    AlreadyExists,
    ChainRejected,
    ContentMismatch,
    DocumentInvalid,
    NotFound,
    NotOwner,
    OfferCancelled,
    OfferInvalid,
    WrongChain,
)
from databund.ports import Catalog, ChainTransaction, Database, Ledger, Listing, Objects, Release, Tables

__all__ = ["Publishing"]

_WITHDRAW = "withdraw"


@dataclass(frozen=True)
class Publishing:
    """Registering and listing for providers. ``fee`` is the exchange's split, which every paid offer must carry."""

    database: Database
    objects: Objects
    ledger: Ledger
    relaying: Relaying
    auditor: Auditor
    identity: Identity
    clock: Callable[[], int]
    fee: Split | None

    def register(self, actor: Address, dataset: Dataset, *, wrapped_key: bytes) -> Release:
        """Register a dataset version; registering the same one again changes nothing.

        Raises `NotOwner`, `NotFound` (no such blob), `ContentMismatch` (a blob of another size), `KeyInvalid` (the
        content key is not wrapped to this node), `SealBroken` (it is the key of another blob),
        `DocumentInvalid` (a version is left out), or `AlreadyExists` (this version has other content, or another
        version has this content: an offer names its version by the content alone).
        """
        if actor != dataset.provider:
            raise NotOwner(f"{actor} cannot register a dataset of {dataset.provider}.", fix="Sign in as the provider.")
        stored = self.objects.size(str(dataset.content_root))
        if stored != dataset.manifest.size:
            raise ContentMismatch(
                f"The blob {dataset.content_root} has {stored} bytes, the manifest says {dataset.manifest.size}.",
                fix="Publish the dataset again.",
            )
        self._check_opens(dataset, unwrap(wrapped_key, self.identity.age_identity))
        release = Release(dataset=dataset, wrapped_key=wrapped_key)
        with self.database.write() as tables:
            newest = _newest_version(tables.catalog, dataset)
            if dataset.version > newest + 1:
                raise DocumentInvalid(
                    f"{dataset.name} has {newest} versions here, so the next one is not {dataset.version}.",
                    fix=f"Publish it as version {newest + 1}.",
                )
            if dataset.version <= newest:
                known = tables.catalog.get(dataset.id, version=dataset.version)
                if known.dataset == dataset:
                    return known
                raise AlreadyExists(
                    f"Version {dataset.version} of {dataset.name} is registered with other content.",
                    fix=f"Publish it as version {newest + 1}.",
                )
            _check_new_content(tables.catalog, dataset)
            tables.catalog.add(release)
            self.auditor.append(
                tables,
                self._event(
                    EventKind.REGISTERED,
                    actor,
                    dataset=str(dataset.id),
                    version=dataset.version,
                    content_root=str(dataset.content_root),
                    descriptor=documents.digest(dataset).hex(),
                ),
            )
        return release

    def list_offer(self, signed: SignedOffer, policy: bytes) -> Listing:
        """Put a signed offer on the list; listing the same one again changes nothing.

        The offer's signature is the proof of who lists it, so nobody needs to be signed in. Raises `WrongChain`,
        `OfferForged`, `OfferExpired`, `OfferCancelled`, `OfferInvalid`, `PolicyInvalid`, or `NotFound`.
        """
        offer, now = signed.offer, self.clock()
        if signed.domain != self.ledger.domain():
            raise WrongChain(
                f"The offer {offer.id} is signed for chain {signed.domain.chain_id} and exchange "
                f"{signed.domain.exchange}, not for this one.",
                fix="Create the offer at the node where it shall be listed.",
            )
        offer.check_open(now)
        self._check_money(offer)
        self.ledger.check_signature(offer.provider, signed.digest, signature=signed.signature)
        if self.ledger.offer_state(offer.id).cancelled:
            raise OfferCancelled(f"The offer {offer.id} was withdrawn on the chain.", fix="Create a new offer.")
        listing = Listing(signed=signed, policy=policy, listed_at=now)
        with self.database.write() as tables:
            known = _find_listing(tables.listings.get, offer.id)
            if known is not None:
                return known
            dataset = tables.catalog.get(offer.dataset, content_root=offer.content_root).dataset
            check_terms(offer, policy, dataset)
            tables.listings.add(listing)
            self.auditor.append(
                tables,
                self._event(
                    EventKind.LISTED,
                    offer.provider,
                    offer=str(offer.id),
                    dataset=str(offer.dataset),
                    terms=bytes(offer.terms_hash).hex(),
                    chain_id=signed.domain.chain_id,
                    exchange=str(signed.domain.exchange),
                ),
            )
        return listing

    def withdraw(self, offer_id: OfferId, signature: bytes) -> Listing:
        """Take an offer off the list and cancel it on the chain; ``signature`` is the provider's over `cancel_hash`.

        It is off the list before the chain knows. Withdrawing it again completes what was left undone, and sends anew
        what the chain refused. Raises `NotFound`, `OfferForged`, or `ChainRejected`.
        """
        with self.database.read() as tables:
            listing = tables.listings.get(offer_id)
            _, sent = _cancellation(tables, offer_id)
        if sent is None:
            listing, sent = self._cancel(listing, signature)
        outcome = None if sent is None else self.relaying.complete(sent)
        if outcome is not None and not outcome.succeeded and not self.ledger.offer_state(offer_id).cancelled:
            raise ChainRejected(
                f"The chain refused to cancel the offer {offer_id}; it is off this list, but still valid on the chain.",
                fix="Withdraw it again.",
            )
        return listing

    def _cancel(self, listing: Listing, signature: bytes) -> tuple[Listing, ChainTransaction | None]:
        """Store that it is withdrawn and the chain transaction that cancels it; None when the chain has it already."""
        offer_id = listing.signed.offer.id
        try:
            call = self.relaying.relayer.prepare_cancellation(listing.signed, signature)
        except OfferCancelled:
            call = None
        included = self.relaying.included()
        with self.database.write() as tables:
            attempt, sent = _cancellation(tables, offer_id)
            listing = tables.listings.get(offer_id)
            if sent is not None or (call is None and listing.withdrawn_at is not None):
                return listing, sent
            if call is not None:
                sent = self.relaying.store(tables, call, included=included)
                tables.idempotency.remember(
                    _WITHDRAW,
                    f"{offer_id} {attempt}",
                    request=b"",
                    status=202,
                    body=sent.hash.encode(),
                    at=self.clock(),
                )
            tables.listings.withdraw(offer_id, self.clock())
            self.auditor.append(
                tables,
                self._event(
                    EventKind.WITHDRAWN,
                    listing.signed.offer.provider,
                    offer=str(offer_id),
                    chain_transaction=None if sent is None else sent.hash,
                ),
            )
            return tables.listings.get(offer_id), sent

    def _check_opens(self, dataset: Dataset, key: ContentKey) -> None:
        """Open a first byte, so that a key of another blob is found before anybody pays. Raises `SealBroken`."""
        name, first = str(dataset.content_root), dataset.manifest.files[0]

        def fetch(offset: int, length: int) -> bytes:
            return b"".join(self.objects.read(name, start=offset, stop=offset + length))

        RangeReader(fetch, key, length=first.length).read(0, 1)

    def _check_money(self, offer: Offer) -> None:
        currency = self.ledger.currency()
        if offer.currency != currency.address:
            raise OfferInvalid(
                f"The offer {offer.id} is priced in {offer.currency}, which this exchange does not clear.",
                fix=f"Price it in {currency.symbol} ({currency.address}).",
            )
        if self.fee is not None and offer.unit_price and self.fee not in offer.splits:
            raise OfferInvalid(
                f"The offer {offer.id} lacks the exchange's split of {self.fee.basis_points} basis points.",
                fix=f"Add a split of {self.fee.basis_points} basis points to {self.fee.account}.",
            )

    def _event(self, kind: EventKind, by: Address, **about: documents.Json) -> Event:
        return Event(kind, self.clock(), str(by), about)


def _cancellation(tables: Tables, offer_id: OfferId) -> tuple[int, ChainTransaction | None]:
    """How many cancellations of the offer the chain refused, and the one after these, if it was sent."""
    attempt = 0
    while answer := tables.idempotency.answer(_WITHDRAW, f"{offer_id} {attempt}", request=b""):
        sent = tables.outbox.get(answer[1].decode())
        outcome = tables.outbox.outcome(sent.hash)
        if outcome is None or outcome.succeeded:
            return attempt, sent
        attempt += 1
    return attempt, None


def _newest_version(catalog: Catalog, dataset: Dataset) -> int:
    try:
        return catalog.get(dataset.id).dataset.version
    except NotFound:
        return 0


def _check_new_content(catalog: Catalog, dataset: Dataset) -> None:
    try:
        same = catalog.get(dataset.id, content_root=dataset.content_root).dataset
    except NotFound:
        return
    raise AlreadyExists(
        f"Version {same.version} of {dataset.name} has the content {dataset.content_root} already.",
        fix="Publish the files again; sealed anew, they are another content.",
    )


def _find_listing(get: Callable[[OfferId], Listing], offer_id: OfferId) -> Listing | None:
    try:
        return get(offer_id)
    except NotFound:
        return None
