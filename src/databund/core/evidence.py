"""Evidence: what one bundle says about one trade, and how its members are named.

A bundle is an archive (`databund.core.archives`) whose members prove one order: entries of the audit log with their
proofs, the documents that they name by digest, the chain's receipt, and a signed statement over all of it. Making one
is the node's business, checking one anybody's; here is what both must agree on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import msgspec

from databund.core.chain_proofs import ReceiptProof
from databund.core.events import Event, EventKind
from databund.core.ids import Address, Commitment, Hex, OfferId, OrderId
from databund.core.offers import Offer
from databund.core.orders import OrderEvent, OrderState, apply
from databund.errors import DocumentInvalid, IdentifierInvalid, IllegalMove, ProofInvalid

__all__ = [
    "AGREEMENT",
    "CERTIFICATE",
    "CHAIN",
    "DATASET",
    "DSSE",
    "FORMAT",
    "MANIFEST",
    "OFFER",
    "POLICY",
    "PREDICATE_TYPE",
    "README",
    "README_TEXT",
    "SIGSTORE",
    "VERIFIER",
    "ChainDocument",
    "Disclosure",
    "LogPlace",
    "Manifest",
    "Rlp",
    "attachment_member",
    "buyer_of",
    "entry_member",
    "predicate",
    "proof_member",
    "receipt_member",
    "state_after",
    "subject",
]

FORMAT: Final = "databund evidence v1"
PREDICATE_TYPE: Final = "https://w3id.org/databund/evidence/v1"

README: Final = "README.txt"
AGREEMENT: Final = "agreement.json"
MANIFEST: Final = "bundle.json"
CERTIFICATE: Final = "certificate.json"
CHAIN: Final = "chain.json"
DATASET: Final = "dataset.json"
OFFER: Final = "offer.json"
POLICY: Final = "policy.json"
DSSE: Final = "statement.dsse.json"
SIGSTORE: Final = "statement.sigstore.json"
VERIFIER: Final = "verify.py"

README_TEXT: Final = b"""\
This file is the evidence of one trade: what was offered, ordered, decided, paid, delivered and certified.
Keep it as it is; the ZIP itself is part of the evidence. Nothing in it needs the software that made it.
To check it, get the log's verifier key (vkey) from a place you trust, and run, with Python 3.9 and "cryptography":
  python verify.py THIS-FILE.zip --key VKEY
The verifier in here can only be trusted as far as this file; the same text is printed by: databund audit verifier
"""

_MOVES: Final = {
    EventKind.LICENSED: OrderEvent.LICENSE,
    EventKind.REFUSED: OrderEvent.REFUSE,
    EventKind.DELIVERED: OrderEvent.DELIVER,
    EventKind.SETTLED: OrderEvent.SETTLE,
    EventKind.CERTIFIED: OrderEvent.CERTIFY,
}
_DELIVERED_ONCE: Final = (OrderState.DELIVERED, OrderState.SETTLED, OrderState.CERTIFIED)  # more are further uses
_DO_NOT_TRUST: Final = "Do not rely on this evidence; ask the operator of the exchange."


class LogPlace(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry of the log: its index and its kind."""

    index: int
    kind: EventKind


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The table of contents, ``bundle.json``.

    ``log_key`` is the log's vkey, whose name is its origin; ``statement_key`` the node's P-256 public key (DER), for
    tools that know no Ed25519. ``chain_id`` and ``exchange`` say where the order was settled.
    """

    format: str
    origin: str
    log_key: str
    statement_key: Hex
    order: OrderId
    chain_id: int
    exchange: Address
    entries: tuple[LogPlace, ...]

    def __post_init__(self) -> None:
        indexes = [place.index for place in self.entries]
        ordered = indexes == sorted(set(indexes))
        if self.format != FORMAT or not indexes or not ordered or indexes[0] < 0 or self.chain_id < 0:
            raise DocumentInvalid(f"This is no manifest of {FORMAT!r}.", fix="Use a newer databund, or verify.py.")

    @property
    def key_id(self) -> str:
        """The name of the log's key in the DSSE envelope: the vkey without the key itself."""
        return "+".join(self.log_key.split("+", 2)[:2])

    @property
    def statement_hint(self) -> str:
        """The name of the statement key in the Sigstore bundle."""
        return f"{self.origin}/statement"


class Rlp(Hex):
    """A part of a chain's proof, of any length: what a chain transaction may record is for its block to limit."""

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0x…`` in lower-case digits. Raises `IdentifierInvalid`."""
        try:
            value = cls.fromhex(text[2:])
        except ValueError:
            value = cls()
        if str(value) != text:
            raise IdentifierInvalid(f"{text[:80]!r} is not hexadecimal.", fix="Write 0x and pairs of digits.")
        return value


class ChainDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A `ReceiptProof` as JSON, ``chain.json``."""

    header: Rlp
    index: int
    nodes: tuple[Rlp, ...]

    @classmethod
    def of(cls, proof: ReceiptProof) -> ChainDocument:
        """The document of a proof."""
        return cls(Rlp(proof.header), proof.index, tuple(map(Rlp, proof.nodes)))

    def proof(self) -> ReceiptProof:
        """The proof of the document."""
        return ReceiptProof(self.header, self.index, self.nodes)


class Disclosure(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An attachment that was disclosed: what an entry committed to, with its salt. ``content`` is hex, too."""

    commitment: Commitment
    salt: Hex
    content: Hex


def entry_member(index: int) -> str:
    """The entry's bytes, exactly as they are in the log."""
    return f"entries/{index}.json"


def proof_member(index: int) -> str:
    """The entry's ``c2sp.org/tlog-proof@v1``."""
    return f"entries/{index}.tlog-proof"


def receipt_member(index: int) -> str:
    """The entry's COSE receipt."""
    return f"entries/{index}.receipt.cbor"


def attachment_member(commitment: Commitment) -> str:
    """A disclosed attachment."""
    return f"attachments/{bytes(commitment).hex()}.json"


def subject(order: OrderId) -> str:
    """What the COSE receipts of a bundle are about."""
    return f"urn:databund:order:{order}"


def state_after(events: Iterable[Event], order: OrderId) -> OrderState:
    """Where the order stands after these events, all of which have to be about it (or destroy a key).

    Raises `ProofInvalid` when the story cannot have happened.
    """
    state: OrderState | None = None
    for event in events:
        if event.kind is EventKind.DESTROYED:
            continue
        if event.about.get("order") != str(order):
            raise ProofInvalid(f"An entry of kind {event.kind} is not about the order {order}.", fix=_DO_NOT_TRUST)
        if event.kind in (EventKind.ORDERED, EventKind.OBSERVED):
            if state is not None:
                raise ProofInvalid(f"The order {order} was placed twice.", fix=_DO_NOT_TRUST)
            state = OrderState.PLACED if event.kind is EventKind.ORDERED else OrderState.LICENSED
        elif state is None:
            raise ProofInvalid(f"The order {order} was {event.kind} before it was placed.", fix=_DO_NOT_TRUST)
        elif event.kind in _MOVES and not (event.kind is EventKind.DELIVERED and state in _DELIVERED_ONCE):
            try:
                state = apply(state, _MOVES[event.kind])
            except IllegalMove as error:
                raise ProofInvalid(
                    f"The order {order} is {state} when the log has {event.kind}.", fix=_DO_NOT_TRUST
                ) from error
    if state is None:
        raise ProofInvalid(f"No entry says that the order {order} was placed.", fix=_DO_NOT_TRUST)
    return state


def buyer_of(events: Iterable[Event]) -> str:
    """Who bought, by the first entry of an order whose `state_after` there is."""
    first = next(event for event in events if event.kind in (EventKind.ORDERED, EventKind.OBSERVED))
    return str(first.about.get("buyer", first.by))


def predicate(manifest: Manifest, events: Mapping[int, Event], offer: Offer, *, offer_id: OfferId) -> dict[str, Any]:
    """What the statement says of the trade, in short; it follows from the members that it is about."""
    state = state_after(events.values(), manifest.order)
    return {
        "order": str(manifest.order),
        "state": str(state),
        "offer": str(offer_id),
        "dataset": str(offer.dataset),
        "provider": str(offer.provider),
        "buyer": buyer_of(events.values()),
        "steps": [{"entry": index, "kind": str(event.kind), "at": event.at} for index, event in events.items()],
        "decisions": [
            {"entry": index, "permitted": event.about["permitted"]}
            for index, event in events.items()
            if event.kind is EventKind.DECIDED
        ],
    }
