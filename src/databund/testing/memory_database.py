"""The exchange's records in memory: the port `Database` for tests. Nothing survives the process.

A write block works on a copy of the records, which takes their place when the block ends and is dropped when it
raises; so readers keep their snapshot and wait for nobody. Copying is cheap here, because records are never changed.
"""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec

from databund.core.attachments import Attachment
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.ids import Address, Commitment, ContentRoot, DatasetId, DeliveryId, OfferId, OrderId
from databund.core.log_status import Anchor
from databund.core.orders import Order, OrderState
from databund.errors import (
    AlreadyExists,
    IdempotencyMismatch,
    IllegalMove,
    LogForked,
    NotFound,
    SignInRequired,
    StoreUnavailable,
)
from databund.ports import Block, ChainOutcome, ChainTransaction, Listing, Release, Sealer

__all__ = ["MemoryDatabase", "MemoryTables"]

_PATIENCE_S = 10.0
_CJK = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3\uf900-\ufaff\U00020000-\U0003ffff"
)
_RUNS = re.compile(f"[{_CJK}]+|(?:(?![{_CJK}])[^\\W_])+")
_IS_CJK = re.compile(f"[{_CJK}]")


@dataclass
class _Records:
    releases: dict[tuple[DatasetId, int], Release] = field(default_factory=dict)
    listings: dict[OfferId, Listing] = field(default_factory=dict)
    orders: dict[OrderId, Order] = field(default_factory=dict)
    sent: dict[str, ChainTransaction] = field(default_factory=dict)
    outcomes: dict[str, ChainOutcome] = field(default_factory=dict)
    deliveries: dict[DeliveryId, Delivery] = field(default_factory=dict)
    entries: list[bytes] = field(default_factory=list)
    about_order: dict[int, OrderId] = field(default_factory=dict)
    staged: list[tuple[bytes, OrderId | None]] = field(default_factory=list)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    checkpoint: bytes | None = None
    cosigned: dict[int, bytes] = field(default_factory=dict)
    anchors: dict[str, Anchor] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    attachments: dict[Commitment, Attachment] = field(default_factory=dict)
    cursor: list[Block] = field(default_factory=list)
    challenges: dict[bytes, int] = field(default_factory=dict)
    tokens: dict[bytes, tuple[Address, int]] = field(default_factory=dict)
    answers: dict[tuple[str, str], tuple[bytes, int, bytes]] = field(default_factory=dict)

    def copy(self) -> _Records:
        members: dict[str, Any] = {name: value.copy() for name, value in vars(self).items() if name != "checkpoint"}
        return replace(self, **members)


class MemoryTables:
    """One database transaction: the port `Tables`."""

    def __init__(self, records: _Records) -> None:
        self.catalog = _Catalog(records)
        self.listings = _Listings(records)
        self.orders = _Orders(records)
        self.outbox = _Outbox(records)
        self.deliveries = _Deliveries(records)
        self.log = _Log(records)
        self.cosigned = _Cosigned(records)
        self.anchors = _Anchors(records)
        self.attachments = _Attachments(records)
        self.cursor = _Cursor(records)
        self.sign_ins = _SignIns(records)
        self.idempotency = _Idempotency(records)


class MemoryDatabase:
    """The port `Database` over dictionaries. Threads may share it; ``sealer`` may be changed between blocks."""

    def __init__(self, sealer: Sealer | None = None) -> None:
        self._records = _Records()
        self._turn = threading.Lock()
        self.sealer = sealer

    @contextmanager
    def write(self) -> Iterator[MemoryTables]:
        """Open a database transaction that may write; a block must not open another inside."""
        if not self._turn.acquire(timeout=_PATIENCE_S):
            raise StoreUnavailable(
                f"Another writer did not finish within {_PATIENCE_S:g} s.", fix="Open no write block inside another."
            )
        try:
            records = self._records.copy()
            yield MemoryTables(records)
            checkpoint = self._seal(records)
            self._records = records
            if self.sealer is not None and checkpoint is not None:
                self.sealer.publish(checkpoint, self._log)
        finally:
            self._turn.release()

    @contextmanager
    def read(self) -> Iterator[MemoryTables]:
        """Open a database transaction that only reads."""
        yield MemoryTables(self._records.copy())

    def close(self) -> None:
        """There is nothing to release."""

    def _seal(self, records: _Records) -> bytes | None:
        if not records.staged:
            return None
        if self.sealer is None:
            raise StoreUnavailable("This database was opened without the log's key.", fix="Write through a node.")
        first, staged = len(records.entries), records.staged
        records.staged = []
        checkpoint = self.sealer.seal(_Log(records), [entry for entry, _ in staged])
        records.about_order.update({first + at: order for at, (_, order) in enumerate(staged) if order is not None})
        return checkpoint

    @contextmanager
    def _log(self) -> Iterator[_Log]:
        with self.read() as tables:
            yield tables.log


@dataclass(frozen=True)
class _Catalog:
    _records: _Records

    def add(self, release: Release) -> None:
        dataset = release.dataset
        if self._records.releases.setdefault((dataset.id, dataset.version), release) != release:
            raise AlreadyExists(
                f"Version {dataset.version} of dataset {dataset.id} is registered with another description or key.",
                fix=f"Register version {dataset.version + 1}.",
            )

    def get(
        self, dataset_id: DatasetId, *, version: int | None = None, content_root: ContentRoot | None = None
    ) -> Release:
        found = [
            release
            for release in self._records.releases.values()
            if release.dataset.id == dataset_id
            and version in (None, release.dataset.version)
            and content_root in (None, release.dataset.content_root)
        ]
        if not found:
            raise NotFound(f"There is no such version of dataset {dataset_id}.", fix="Search the catalog.")
        return max(found, key=lambda release: release.dataset.version)

    def search(self, text: str, *, limit: int, offset: int = 0) -> Sequence[Dataset]:
        newest: dict[DatasetId, int] = {}
        for dataset_id, version in self._records.releases:
            newest[dataset_id] = max(version, newest.get(dataset_id, 0))
        found = [
            release.dataset
            for (dataset_id, version), release in reversed(self._records.releases.items())
            if newest[dataset_id] == version and _matches(text, release.dataset)
        ]
        return found[offset : offset + limit]


@dataclass(frozen=True)
class _Listings:
    _records: _Records

    def add(self, listing: Listing) -> None:
        offer_id = listing.signed.offer.id
        stored = self._records.listings.setdefault(offer_id, listing)
        if (stored.signed.domain, stored.policy) != (listing.signed.domain, listing.policy):
            raise AlreadyExists(
                f"The offer {offer_id} is listed for another smart contract or with another policy.",
                fix="Sign a new offer with another salt.",
            )

    def get(self, offer_id: OfferId) -> Listing:
        try:
            return self._records.listings[offer_id]
        except KeyError:
            raise NotFound(f"The offer {offer_id} is not listed.", fix="List the offers.") from None

    def find(self, *, dataset: DatasetId | None, provider: Address | None, limit: int) -> Sequence[Listing]:
        found = [
            listing
            for listing in reversed(self._records.listings.values())
            if dataset in (None, listing.signed.offer.dataset) and provider in (None, listing.signed.offer.provider)
        ]
        return found[:limit]

    def withdraw(self, offer_id: OfferId, at: int) -> None:
        listing = self.get(offer_id)
        if listing.withdrawn_at is None:
            self._records.listings[offer_id] = msgspec.structs.replace(listing, withdrawn_at=at)


@dataclass(frozen=True)
class _Orders:
    _records: _Records

    def add(self, order: Order) -> None:
        if order.id in self._records.orders:
            raise AlreadyExists(f"There is an order {order.id}.", fix="Look at it.")
        self._records.orders[order.id] = order

    def get(self, order_id: OrderId) -> Order | None:
        return self._records.orders.get(order_id)

    def save(self, order: Order, *, was: OrderState) -> None:
        stored = self.get(order.id)
        if stored is None or stored.state is not was:
            raise IllegalMove(f"The order {order.id} is not {was}.", fix="Look at it first.")
        self._records.orders[order.id] = order

    def find(
        self,
        *,
        buyer: Address | None = None,
        offer_id: OfferId | None = None,
        state: OrderState | None = None,
        limit: int = 100,
    ) -> Sequence[Order]:
        found = [
            order
            for order in reversed(self._records.orders.values())
            if buyer in (None, order.buyer) and offer_id in (None, order.offer_id) and state in (None, order.state)
        ]
        return found[:limit]


@dataclass(frozen=True)
class _Outbox:
    _records: _Records

    def next_nonce(self, signer: Address, *, included: int) -> int:
        return max([included, *(sent.nonce + 1 for sent in self._records.sent.values() if sent.signer == signer)])

    def add(self, chain_transaction: ChainTransaction) -> None:
        signer, nonce = chain_transaction.signer, chain_transaction.nonce
        if any((sent.signer, sent.nonce) == (signer, nonce) for sent in self._records.sent.values()):
            raise AlreadyExists(f"The nonce {nonce} of {signer} is taken.", fix="Sign under the next nonce.")
        self._records.sent[chain_transaction.hash] = chain_transaction

    def get(self, transaction_hash: str) -> ChainTransaction:
        try:
            return self._records.sent[transaction_hash]
        except KeyError:
            raise NotFound(
                f"The chain transaction {transaction_hash} was not sent from here.", fix="Check the hash."
            ) from None

    def pending(self) -> Sequence[ChainTransaction]:
        waiting = [sent for sent in self._records.sent.values() if sent.hash not in self._records.outcomes]
        return sorted(waiting, key=lambda sent: (sent.nonce, sent.signer))

    def finish(self, outcome: ChainOutcome) -> None:
        self.get(outcome.hash)
        self._records.outcomes.setdefault(outcome.hash, outcome)

    def outcome(self, transaction_hash: str) -> ChainOutcome | None:
        self.get(transaction_hash)
        return self._records.outcomes.get(transaction_hash)


@dataclass(frozen=True)
class _Deliveries:
    _records: _Records

    def add(self, delivery: Delivery) -> None:
        use = (delivery.holder, delivery.offer_id, delivery.use)
        taken = {(known.holder, known.offer_id, known.use) for known in self._records.deliveries.values()}
        if delivery.id in self._records.deliveries or use in taken:
            raise AlreadyExists(
                f"The delivery {delivery.id}, or use {delivery.use} of its license, is recorded.",
                fix="Count the uses again and deliver under the next.",
            )
        self._records.deliveries[delivery.id] = delivery

    def get(self, delivery_id: DeliveryId) -> Delivery | None:
        return self._records.deliveries.get(delivery_id)

    def spent(self, holder: Address, offer_id: OfferId) -> int:
        license_ = (holder, offer_id)
        return sum((known.holder, known.offer_id) == license_ for known in self._records.deliveries.values())


@dataclass(frozen=True)
class _Log:
    _records: _Records

    def checkpoint(self) -> bytes | None:
        return self._records.checkpoint

    def size(self) -> int:
        return len(self._records.entries)

    def tile(self, level: int, index: int) -> bytes:
        try:
            return self._records.tiles[level, index]
        except KeyError:
            raise NotFound(f"The log has no tile {index} of level {level}.", fix="Ask below the log's size.") from None

    def entries(self, start: int, stop: int) -> Sequence[bytes]:
        return self._records.entries[start:stop]

    def of_order(self, order_id: OrderId) -> Sequence[int]:
        return sorted(index for index, about in self._records.about_order.items() if about == order_id)

    def append(self, entry: bytes, *, order_id: OrderId | None = None) -> int:
        self._records.staged.append((entry, order_id))
        return len(self._records.entries) + len(self._records.staged) - 1

    def write(
        self, first: int, entries: Sequence[bytes], *, tiles: Mapping[tuple[int, int], bytes], checkpoint: bytes
    ) -> None:
        size = len(self._records.entries)
        if first != size:
            raise LogForked(
                f"The log has {size} entries, so none can be written at {first}.", fix="Stop, and verify the log."
            )
        self._records.entries.extend(entries)
        self._records.tiles.update(tiles)
        self._records.checkpoint = checkpoint


@dataclass(frozen=True)
class _Cosigned:
    _records: _Records

    def newest(self) -> bytes | None:
        kept = self._records.cosigned
        return kept[max(kept)] if kept else None

    def add(self, size: int, note: bytes) -> None:
        kept = self._records.cosigned
        kept[size] = note
        for old in sorted(kept)[:-4096]:
            del kept[old]

    def all(self) -> Iterator[bytes]:
        yield from (note for _, note in sorted(self._records.cosigned.items()))


@dataclass(frozen=True)
class _Anchors:
    _records: _Records

    def add(self, anchor: Anchor) -> None:
        self._records.anchors[anchor.chain_transaction] = anchor

    def newest(self) -> Anchor | None:
        return max(self._records.anchors.values(), key=lambda anchor: (anchor.size, anchor.at), default=None)

    def pending(self) -> Sequence[Anchor]:
        waiting = [a for a in self._records.anchors.values() if a.chain_transaction not in self._records.finished]
        return sorted(waiting, key=lambda anchor: (anchor.size, anchor.at))

    def finish(self, chain_transaction: str) -> None:
        self._records.finished.add(chain_transaction)


@dataclass(frozen=True)
class _Attachments:
    _records: _Records

    def add(self, attachment: Attachment) -> None:
        self._records.attachments.setdefault(attachment.commitment, attachment)

    def get(self, commitment: Commitment) -> Attachment:
        try:
            return self._records.attachments[commitment]
        except KeyError:
            raise NotFound(f"There is no attachment {commitment} here.", fix="Copy it from the log entry.") from None

    def erase(self, commitment: Commitment, at: int) -> None:
        known = self.get(commitment)
        if known.erased_at is None:
            self._records.attachments[commitment] = Attachment(commitment, known.at, None, None, None, at)


@dataclass(frozen=True)
class _Cursor:
    _records: _Records

    def get(self) -> Block | None:
        return self._records.cursor[-1] if self._records.cursor else None

    def set(self, block: Block) -> None:
        self._records.cursor[:] = [block]


@dataclass(frozen=True)
class _SignIns:
    _records: _Records

    def add_challenge(self, digest: bytes, *, expires_at: int) -> None:
        self._records.challenges[digest] = expires_at

    def take_challenge(self, digest: bytes, *, now: int) -> None:
        if self._records.challenges.pop(digest, now) <= now:
            raise SignInRequired("The challenge is unknown, used, or too old.", fix="Sign in again.")

    def add_token(self, digest: bytes, address: Address, *, expires_at: int) -> None:
        self._records.tokens[digest] = (address, expires_at)

    def holder(self, digest: bytes, *, now: int) -> Address:
        address, expires_at = self._records.tokens.get(digest, (None, now))
        if address is None or expires_at <= now:
            raise SignInRequired("The sign-in is unknown or too old.", fix="Sign in again.")
        return address


@dataclass(frozen=True)
class _Idempotency:
    _records: _Records

    def answer(self, asker: str, key: str, *, request: bytes) -> tuple[int, bytes] | None:
        known = self._records.answers.get((asker, key))
        if known is None:
            return None
        asked, status, body = known
        if asked != request:
            raise IdempotencyMismatch(
                f"The idempotency key {key!r} was used for another request.", fix="Use a new key."
            )
        return status, body

    def remember(self, asker: str, key: str, *, request: bytes, status: int, body: bytes, at: int) -> None:  # noqa: ARG002  # the port's
        self._records.answers.setdefault((asker, key), (request, status, body))


def _matches(text: str, dataset: Dataset) -> bool:
    """Whether each word of ``text`` is a word of the dataset, or, where words are not spaced, a part of a run."""
    here = set(_runs("\n".join((dataset.name, dataset.title, dataset.description, *dataset.keywords))))
    return all(
        any(asked in run for run in here if _IS_CJK.match(run)) if _IS_CJK.match(asked) else asked in here
        for asked in set(_runs(text))
    )


def _runs(text: str) -> list[str]:
    return _RUNS.findall(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))
