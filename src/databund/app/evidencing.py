"""Evidencing: everything that proves one trade, in one file that its parties can show to anybody.

The file (`databund.core.evidence`) holds the order's entries with their proofs from the stored tiles, the documents
that they name, the chain's receipt, and a statement over all of it that the node signs. It is a function of what is
stored, so asking again gives the same bytes until the log grows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

from databund.app.attaching import Attaching
from databund.app.clearing import stated
from databund.core import documents, evidence, statements
from databund.core.archives import pack
from databund.core.chain_proofs import ReceiptProof
from databund.core.events import Event, EventKind
from databund.core.evidence import ChainDocument, Disclosure, LogPlace, Manifest
from databund.core.ids import Address, Commitment, Hex, OrderId
from databund.core.offers import SignedOffer
from databund.core.orders import Order, OrderState
from databund.crypto.signatures import Ed25519Key, P256Key
from databund.errors import NotFound, NotOwner, StoreUnavailable
from databund.ports import Database, Listing, Tables
from databund.tlog.checkpoints import Checkpoint, read_unverified
from databund.tlog.notes import VerifierKey
from databund.tlog.proofs import EntryProof
from databund.tlog.receipts import sign_receipt
from databund.tlog.tiles import Prover

__all__ = ["Evidencing", "Signers", "sealed", "signed"]

_PAGE = 1024
_DESTROYED = EventKind.DESTROYED.encode()


@dataclass(frozen=True)
class Signers:
    """The keys of a node that vouch for evidence: that of its log, and the one for tools that know no Ed25519."""

    log: Ed25519Key
    statement: P256Key


@dataclass(frozen=True, kw_only=True)
class Evidencing:
    """Evidence for the two sides of a trade and for the ``operator``.

    ``prove`` gives the proof that the receipt of a chain transaction (0x…) is in a final block, and raises `NotFound`
    where there is none; ``verifier`` is the text of the verifier that goes into every bundle.
    """

    database: Database
    attaching: Attaching
    key: VerifierKey
    signers: Signers
    operator: Address
    prove: Callable[[str], ReceiptProof]
    verifier: bytes

    def bundle(self, actor: Address, order_id: OrderId, *, disclose: bool = False) -> bytes:
        """The evidence of an order, an archive of `databund.core.archives`.

        With ``disclose`` it holds the attachments that ``actor`` may read; of others the salted hashes stay. Raises
        `NotFound`, `NotOwner`, and what ``prove`` raises.
        """
        with self.database.read() as tables:
            order = tables.orders.get(order_id)
            if order is None:
                raise NotFound(f"There is no order {order_id}.", fix="List your orders: databund order list")
            listing = tables.listings.get(order.offer_id)
            if actor not in (order.buyer, listing.signed.offer.provider, self.operator):
                raise NotOwner(f"The order {order_id} is not one of {actor}.", fix="Sign in as buyer or provider.")
            events, members = self._from_log(tables, order)
            manifest = self._manifest(order, listing, events)
            members |= _documents(tables, order, listing)
        members[evidence.MANIFEST] = documents.encode(manifest)
        members[evidence.VERIFIER] = self.verifier
        members[evidence.README] = evidence.README_TEXT
        if disclose:
            members |= self._attachments(actor, events.values())
        for event in events.values():
            if event.kind in (EventKind.LICENSED, EventKind.OBSERVED):  # at most one of them
                chain = ChainDocument.of(self.prove(str(event.about["chain_transaction"])))
                members[evidence.CHAIN] = documents.encode(chain)
        return sealed(members, signers=self.signers)

    def _manifest(self, order: Order, listing: Listing, events: Mapping[int, Event]) -> Manifest:
        return Manifest(
            format=evidence.FORMAT,
            origin=self.key.name,
            log_key=str(self.key),
            statement_key=Hex(self.signers.statement.public),
            order=order.id,
            chain_id=listing.signed.domain.chain_id,
            exchange=listing.signed.domain.exchange,
            entries=tuple(LogPlace(index, event.kind) for index, event in events.items()),
        )

    def _from_log(self, tables: Tables, order: Order) -> tuple[dict[int, Event], dict[str, bytes]]:
        """The events about the order, and the members that prove them under one checkpoint."""
        entries = {index: tables.log.entries(index, index + 1)[0] for index in tables.log.of_order(order.id)}
        entries |= _erasures(tables, {index: Event.read(entry) for index, entry in entries.items()})
        entries = dict(sorted(entries.items()))
        if not entries:
            raise NotFound(f"The log has no entry about the order {order.id}.", fix="Ask the operator.")
        note = self._checkpoint(tables, covering=max(entries))
        checkpoint = read_unverified(note)
        prover = Prover(lambda level, index, _width: tables.log.tile(level, index))
        members: dict[str, bytes] = {}
        for index, entry in entries.items():
            hashes = tuple(prover.inclusion_proof(index, checkpoint.size))
            members[evidence.entry_member(index)] = entry
            members[evidence.proof_member(index)] = EntryProof(index, hashes, note).to_bytes()
            members[evidence.receipt_member(index)] = self._receipt(order.id, index, hashes, checkpoint)
        return {index: Event.read(entry) for index, entry in entries.items()}, members

    def _checkpoint(self, tables: Tables, *, covering: int) -> bytes:
        """The newest checkpoint that witnesses cosigned, if it has the entry ``covering``; else the published one."""
        cosigned = tables.cosigned.newest()
        if cosigned is not None and read_unverified(cosigned).size > covering:
            return cosigned
        signed = self.attaching.auditor.published(tables.log)
        if signed is None or not covering < read_unverified(signed).size <= tables.log.size():
            raise StoreUnavailable(f"Entry {covering} is just being published.", fix="Ask again in a moment.")
        return signed

    def _receipt(self, order_id: OrderId, index: int, hashes: tuple[bytes, ...], checkpoint: Checkpoint) -> bytes:
        return sign_receipt(
            self.key,
            self.signers.log.sign,
            subject=evidence.subject(order_id),
            index=index,
            size=checkpoint.size,
            root=checkpoint.root,
            hashes=hashes,
        ).to_bytes()

    def _attachments(self, actor: Address, events: Iterable[Event]) -> dict[str, bytes]:
        members = {}
        for commitment in _named(events):
            with suppress(NotFound, NotOwner):  # it is erased, or about somebody else
                salt, content = self.attaching.read(actor, commitment)
                disclosed = Disclosure(commitment, Hex(salt), Hex(content))
                members[evidence.attachment_member(commitment)] = documents.encode(disclosed)
        return members


def sealed(members: Mapping[str, bytes], *, signers: Signers) -> bytes:
    """The archive of these members and of the statements over them, signed. Raises `DocumentInvalid`."""
    manifest = documents.decode(members[evidence.MANIFEST], Manifest)
    events = {place.index: Event.read(members[evidence.entry_member(place.index)]) for place in manifest.entries}
    offer = documents.decode(members[evidence.OFFER], SignedOffer).offer
    predicate = evidence.predicate(manifest, events, offer, offer_id=offer.id)
    payload = statements.statement(members, predicate_type=evidence.PREDICATE_TYPE, predicate=predicate)
    return signed(members, payload, signers=signers)


def signed(members: Mapping[str, bytes], payload: bytes, *, signers: Signers) -> bytes:
    """The archive of these members and of a statement, signed with both keys."""
    manifest = documents.decode(members[evidence.MANIFEST], Manifest)
    message = statements.pae(payload)
    ours, theirs = signers.log.sign(message), signers.statement.sign(message)
    return pack(
        {
            **members,
            evidence.DSSE: statements.envelope(payload, key_id=manifest.key_id, signature=ours),
            evidence.SIGSTORE: statements.sigstore_bundle(payload, hint=manifest.statement_hint, signature=theirs),
        }
    )


def _documents(tables: Tables, order: Order, listing: Listing) -> dict[str, bytes]:
    """What the entries name by digest: the offer with its policy and dataset, and what certifies the trade."""
    offer = listing.signed.offer
    release = tables.catalog.get(offer.dataset, content_root=offer.content_root)
    members = {
        evidence.OFFER: documents.encode(listing.signed),
        evidence.POLICY: listing.policy,
        evidence.DATASET: documents.encode(release.dataset),
    }
    if order.state is OrderState.CERTIFIED:
        statement = stated(tables, order, listing)
        members[evidence.CERTIFICATE] = documents.encode(statement.certificate)
        members[evidence.AGREEMENT] = statement.agreement
    return members


def _named(events: Iterable[Event]) -> list[Commitment]:
    """The attachments that decisions name, each once."""
    named = (event.about["attachment"] for event in events if event.kind is EventKind.DECIDED)
    return [Commitment.parse(text) for text in dict.fromkeys(named) if isinstance(text, str)]


def _erasures(tables: Tables, events: Mapping[int, Event]) -> dict[int, bytes]:
    """The entries that say when a named attachment was erased."""
    wanted = {str(each) for each in _named(events.values()) if _is_erased(tables, each)}
    wanted -= {str(event.about["attachment"]) for event in events.values() if event.kind is EventKind.DESTROYED}
    found: dict[int, bytes] = {}
    start = min(events, default=0)
    while wanted and (page := tables.log.entries(start, start + _PAGE)):
        for index, entry in enumerate(page, start):
            if _DESTROYED in entry and (event := Event.read(entry)).kind is EventKind.DESTROYED:
                name = str(event.about["attachment"])
                if name in wanted:
                    wanted.remove(name)
                    found[index] = entry
        start += len(page)
    return found


def _is_erased(tables: Tables, commitment: Commitment) -> bool:
    try:
        return tables.attachments.get(commitment).erased_at is not None
    except NotFound:
        return False
