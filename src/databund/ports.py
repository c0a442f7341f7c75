"""The seams of the exchange: what the use cases need from a chain, a database and an object store.

Each port states its guarantees; every adapter passes the conformance suite of its port in `databund.testing`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

import msgspec

from databund.core.amounts import Amount, Currency, Payment
from databund.core.attachments import Attachment
from databund.core.chain_events import ChainEvent, Fate
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.ids import Address, Bytes32, Commitment, ContentRoot, DatasetId, DeliveryId, OfferId, OrderId
from databund.core.licenses import License
from databund.core.log_status import Anchor
from databund.core.offers import Domain, SignedOffer
from databund.core.orders import Order, OrderState, Purchase

__all__ = [
    "Anchors",
    "Attachments",
    "Block",
    "Call",
    "Catalog",
    "ChainEvents",
    "ChainOutcome",
    "ChainTransaction",
    "CosignedCheckpoints",
    "Cursor",
    "Database",
    "Deliveries",
    "Heads",
    "Idempotency",
    "Ledger",
    "Listing",
    "Listings",
    "Log",
    "Objects",
    "OfferState",
    "Orders",
    "Outbox",
    "Relayer",
    "Release",
    "Sealer",
    "SignIns",
    "Tables",
]


# --- the chain ---------------------------------------------------------------------------------------------------


class OfferState(msgspec.Struct, frozen=True):
    """What `Exchange` knows of an offer: whether its provider cancelled it, and how many units are sold."""

    cancelled: bool
    sold: int


class ChainTransaction(msgspec.Struct, frozen=True):
    """A signed chain transaction, stored before it is sent. ``hash`` is 0x and 64 digits; ``raw`` the signed bytes."""

    hash: str
    signer: Address
    nonce: int
    raw: bytes
    order_id: OrderId | None = None


class ChainOutcome(msgspec.Struct, frozen=True):
    """A final chain transaction: whether it succeeded, where, and what it paid to whom."""

    hash: str
    block: int
    block_hash: str
    succeeded: bool
    payments: tuple[Payment, ...] = ()
    expiry: int | None = None


class Ledger(Protocol):
    """Reads of the state that the smart contracts hold, at the newest final block.

    Every method raises `ChainUnavailable` when the node does not answer, and may then be called again.
    """

    def domain(self) -> Domain:
        """The chain and the `Exchange` that offers are signed for."""

    def currency(self) -> Currency:
        """The settlement currency of this exchange."""

    def offer_state(self, offer_id: OfferId) -> OfferState:
        """What is known of an offer; a never-sold offer is neither cancelled nor sold."""

    def license(self, holder: Address, offer_id: OfferId) -> License:
        """The holder's record; zero units when there is none."""

    def balance(self, account: Address) -> Amount:
        """What the account holds of the settlement currency."""

    def anchored(self, origin: str, sender: Address) -> tuple[int, bytes] | None:
        """The tree head (size, root) that ``sender`` left last for the log ``origin``; None when there is none."""

    def check_signature(self, account: Address, digest: Bytes32, *, signature: bytes) -> None:
        """Raise `OfferForged` unless ``account`` signed ``digest``, by ECDSA or by ERC-1271."""


class Block(msgspec.Struct, frozen=True):
    """A block of the chain; ``hash`` is 0x and 64 digits."""

    number: int
    hash: str


class ChainEvents(Protocol):
    """What the smart contracts of the exchange recorded, in final blocks only. Raises `ChainUnavailable`."""

    def newest(self) -> Block:
        """The newest final block."""

    def block(self, number: int) -> Block:
        """A final block by its number. Raises `NotFound`."""

    def between(self, first: int, last: int) -> Sequence[ChainEvent]:
        """The events of the blocks ``first`` to ``last``, both included, in the order of the chain."""

    def fate(self, chain_transaction: str) -> Fate:
        """What became of a chain transaction, by its hash."""


class Call(msgspec.Struct, frozen=True):
    """A call of a smart contract that was tried on the current state and would succeed."""

    to: Address
    data: bytes
    gas: int


class Relayer(Protocol):
    """Chain transactions that the exchange signs and pays for.

    A call is tried first, signed under a nonce, stored by the caller, then sent; so a crash at any point can only
    lead to sending the same bytes again, which is harmless. The `prepare` methods raise the `Refused` error that the
    smart contract's refusal stands for. All but `sign` raise `ChainUnavailable` when the node does not answer.
    """

    @property
    def signer(self) -> Address:
        """The account that signs."""

    def next_nonce(self) -> int:
        """The number of chain transactions of the signer that the chain has included."""

    def prepare_purchase(self, offer: SignedOffer, purchase: Purchase) -> Call:
        """The call that settles a purchase."""

    def prepare_cancellation(self, offer: SignedOffer, signature: bytes) -> Call:
        """The call that withdraws an offer in its provider's name."""

    def prepare_issue(self, account: Address, amount: Amount) -> Call:
        """The call that credits an account with settlement currency, against a deposit outside the chain."""

    def prepare_anchor(self, origin: str, *, size: int, root: bytes) -> Call:
        """The call that leaves a tree head on the chain. Raises `LogForked` when the chain knows better."""

    def cost(self, call: Call) -> int:
        """What the call may cost at most in the chain's own coin (wei), at the fees of now."""

    def sign(self, call: Call, *, nonce: int, order_id: OrderId | None = None) -> ChainTransaction:
        """Sign without sending."""

    def outcome(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """Send (again, if need be) and wait until final; None when ``timeout_s`` ran out first.

        Raises `ChainRejected` when another chain transaction took its nonce, so that it can never be included.
        """


# --- the database ------------------------------------------------------------------------------------------------


class Release(msgspec.Struct, frozen=True):
    """A dataset version as it is stored: the descriptor, and its content key wrapped as an age file."""

    dataset: Dataset
    wrapped_key: bytes


class Listing(msgspec.Struct, frozen=True):
    """An offer on the list: signed, with its ODRL policy (RFC 8785 bytes). Times are Unix seconds."""

    signed: SignedOffer
    policy: bytes
    listed_at: int
    withdrawn_at: int | None = None


class Catalog(Protocol):
    """Dataset versions. Writes are visible to the next search (read your writes)."""

    def add(self, release: Release) -> None:
        """Add a version. Raises `AlreadyExists` when this version is there with another descriptor or key."""

    def get(
        self, dataset_id: DatasetId, *, version: int | None = None, content_root: ContentRoot | None = None
    ) -> Release:
        """A version by its number or content root, the newest when neither is named. Raises `NotFound`."""

    def search(self, text: str, *, limit: int, offset: int = 0) -> Sequence[Dataset]:
        """Newest versions whose name, title, description or keywords hold every word (also Chinese); all for ""."""


class Listings(Protocol):
    """Signed offers."""

    def add(self, listing: Listing) -> None:
        """Add an offer; adding the same one again changes nothing."""

    def get(self, offer_id: OfferId) -> Listing:
        """Raise `NotFound` when it is not listed."""

    def find(self, *, dataset: DatasetId | None, provider: Address | None, limit: int) -> Sequence[Listing]:
        """Offers, newest first, withdrawn ones included."""

    def withdraw(self, offer_id: OfferId, at: int) -> None:
        """Mark as withdrawn; the first time stays. Raises `NotFound`."""


class Orders(Protocol):
    """Purchases."""

    def add(self, order: Order) -> None:
        """Add an order. Raises `AlreadyExists` for a known id."""

    def get(self, order_id: OrderId) -> Order | None:
        """The order, or None."""

    def save(self, order: Order, *, was: OrderState) -> None:
        """Replace an order. Raises `IllegalMove` when its stored state is not ``was``."""

    def find(
        self,
        *,
        buyer: Address | None = None,
        offer_id: OfferId | None = None,
        state: OrderState | None = None,
        limit: int = 100,
    ) -> Sequence[Order]:
        """Orders, newest first."""


class Outbox(Protocol):
    """Chain transactions on their way. A nonce once given is never given again while its row is there."""

    def next_nonce(self, signer: Address, *, included: int) -> int:
        """The larger of ``included`` and one past the largest stored nonce of the signer."""

    def add(self, chain_transaction: ChainTransaction) -> None:
        """Store before sending. Raises `AlreadyExists` when the nonce is taken."""

    def get(self, transaction_hash: str) -> ChainTransaction:
        """Raise `NotFound`."""

    def pending(self) -> Sequence[ChainTransaction]:
        """Those without an outcome, in the order of their nonces."""

    def finish(self, outcome: ChainOutcome) -> None:
        """Record the outcome; recording it again changes nothing."""

    def outcome(self, transaction_hash: str) -> ChainOutcome | None:
        """The recorded outcome, or None while it is pending."""


class Deliveries(Protocol):
    """Releases of content keys."""

    def add(self, delivery: Delivery) -> None:
        """Add one. Raises `AlreadyExists` for a known id, or when the holder's use number is taken."""

    def get(self, delivery_id: DeliveryId) -> Delivery | None:
        """The delivery, or None."""

    def spent(self, holder: Address, offer_id: OfferId) -> int:
        """How many uses the holder has spent."""


class Log(Protocol):
    """The rows of the audit log. Only `app.auditing` writes them."""

    def checkpoint(self) -> bytes | None:
        """The newest signed checkpoint; None for an empty log."""

    def size(self) -> int:
        """How many sealed entries there are; those that are staged come after them."""

    def tile(self, level: int, index: int) -> bytes:
        """The hashes of a tile, 32 bytes each, as many as there are. Raises `NotFound`."""

    def entries(self, start: int, stop: int) -> Sequence[bytes]:
        """The sealed entries from ``start`` up to ``stop``, as many as there are."""

    def of_order(self, order_id: OrderId) -> Sequence[int]:
        """The indexes of the sealed entries that are about an order, in their order."""

    def append(self, entry: bytes, *, order_id: OrderId | None = None) -> int:
        """Stage an entry and return the index it will have; it is written when the database transaction is sealed."""

    def write(
        self, first: int, entries: Sequence[bytes], *, tiles: Mapping[tuple[int, int], bytes], checkpoint: bytes
    ) -> None:
        """Write entries at index ``first``, replace the changed tiles and the checkpoint.

        Raises `LogForked` when ``first`` is not the log's size.
        """


class Sealer(Protocol):
    """Who makes staged entries part of the signed log: once for a database transaction, whoever shares it."""

    def seal(self, log: Log, entries: Sequence[bytes]) -> bytes:
        """Write the staged entries, their tiles and the next signed checkpoint, which is returned.

        Called within the database transaction, as its last act. What it raises undoes the whole transaction.
        """

    def publish(self, checkpoint: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        """Called when the database transaction with this checkpoint is durable, before anybody learns of it.

        ``read`` opens the log as it is stored now.
        """


class CosignedCheckpoints(Protocol):
    """Checkpoints of this log that a quorum of witnesses cosigned."""

    def newest(self) -> bytes | None:
        """The one of the largest size, with its cosignatures; None when there is none yet."""

    def add(self, size: int, note: bytes) -> None:
        """Keep one; of the same size the last one stays, and only the newest 4,096 are kept."""

    def all(self) -> Iterator[bytes]:
        """Those that are kept, smallest first."""


class Anchors(Protocol):
    """Tree heads that were sent to the chain."""

    def add(self, anchor: Anchor) -> None:
        """Store before sending."""

    def newest(self) -> Anchor | None:
        """The one of the largest size, whatever became of it."""

    def pending(self) -> Sequence[Anchor]:
        """Those not finished, smallest first."""

    def finish(self, chain_transaction: str) -> None:
        """It is on the chain and in the log, or never will be."""


class Attachments(Protocol):
    """What is kept beside the log, erasable: see `databund.core.attachments`."""

    def add(self, attachment: Attachment) -> None:
        """Add one; adding the same one again changes nothing."""

    def get(self, commitment: Commitment) -> Attachment:
        """Raise `NotFound`. An erased one comes back with ``erased_at`` and without salt, key and content."""

    def erase(self, commitment: Commitment, at: int) -> None:
        """Forget salt, key and content for good; the first time stays. Raises `NotFound`."""


class Cursor(Protocol):
    """Up to which final block the events of the chain were read."""

    def get(self) -> Block | None:
        """The last block that was read; None before the first."""

    def set(self, block: Block) -> None:
        """Move on."""


class SignIns(Protocol):
    """Challenges that wait for a signature, and the tokens that answer them (only hashes of both are kept)."""

    def add_challenge(self, digest: bytes, *, expires_at: int) -> None:
        """Remember a challenge by its hash."""

    def take_challenge(self, digest: bytes, *, now: int) -> None:
        """Use a challenge up. Raises `SignInRequired` when it is unknown, used or past its time."""

    def add_token(self, digest: bytes, address: Address, *, expires_at: int) -> None:
        """Remember a token by its hash."""

    def holder(self, digest: bytes, *, now: int) -> Address:
        """Whose token it is. Raises `SignInRequired` when it is unknown or past its time."""


class Idempotency(Protocol):
    """Answers already given, by the asker's idempotency key."""

    def answer(self, asker: str, key: str, *, request: bytes) -> tuple[int, bytes] | None:
        """The status and body given before, or None. Raises `IdempotencyMismatch` when ``request`` (a hash) differs."""

    def remember(self, asker: str, key: str, *, request: bytes, status: int, body: bytes, at: int) -> None:
        """Keep an answer; the first one stays."""


class Tables(Protocol):
    """One database transaction: everything read and written through it commits together, or not at all."""

    @property
    def catalog(self) -> Catalog:
        """Dataset versions."""

    @property
    def listings(self) -> Listings:
        """Signed offers."""

    @property
    def orders(self) -> Orders:
        """Purchases."""

    @property
    def outbox(self) -> Outbox:
        """Chain transactions on their way."""

    @property
    def deliveries(self) -> Deliveries:
        """Releases of content keys."""

    @property
    def log(self) -> Log:
        """The audit log."""

    @property
    def cosigned(self) -> CosignedCheckpoints:
        """Checkpoints that witnesses cosigned."""

    @property
    def anchors(self) -> Anchors:
        """Tree heads that were sent to the chain."""

    @property
    def attachments(self) -> Attachments:
        """What is kept beside the log."""

    @property
    def cursor(self) -> Cursor:
        """Up to which block the chain was read."""

    @property
    def sign_ins(self) -> SignIns:
        """Challenges and tokens."""

    @property
    def idempotency(self) -> Idempotency:
        """Answers already given."""


class Database(Protocol):
    """The exchange's records.

    ``write`` serialises writers. Blocks that wait for each other share one database transaction: each is undone alone
    when it raises, staged log entries are sealed once (`Sealer`), and when a block ends its changes are durable (fsync)
    and visible. ``read`` sees one consistent snapshot and never waits for a writer.
    Raises `StoreUnavailable`, `StoreFull`, `StoreCorrupt`, `HomeTooNew`, and what the sealer raises.
    """

    def write(self) -> AbstractContextManager[Tables]:
        """Open a database transaction that may write."""

    def read(self) -> AbstractContextManager[Tables]:
        """Open a database transaction that only reads."""

    def close(self) -> None:
        """Release every connection."""


# --- signed heads ------------------------------------------------------------------------------------------------


class Heads(Protocol):
    """The newest checkpoint that was signed or cosigned for each log, apart from what a backup would bring back.

    A key that signs the checkpoints of a log compares here before it signs, so that it never signs a fork.
    Raises `StoreUnavailable`, `StoreFull`, `StoreCorrupt`.
    """

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log."""

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one, durably, if ``was`` is what is stored; raises `HeadMoved` when it is not."""

    def close(self) -> None:
        """Release whatever is open."""


# --- sealed blobs ------------------------------------------------------------------------------------------------


class Objects(Protocol):
    """Sealed blobs by name. An object is visible only when it is whole and durable; it is never changed.

    Names are content roots (0x…). Raises `NotFound`, `StoreFull`, `StoreUnavailable`.
    """

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store an object from its pieces, returning its size; an existing object of that name is kept."""

    def size(self, name: str) -> int:
        """Its size in bytes."""

    def read(self, name: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Its bytes from ``start`` up to ``stop``, in pieces of at most 1 MiB."""

    def path(self, name: str) -> str | None:
        """Where the object lies as a local file, for a kernel that can send it; None for a remote store."""

    def delete(self, name: str) -> None:
        """Remove it; removing an absent one changes nothing."""
