"""Evidence: the check of one trade's bundle, without any node.

Everything that ``verify.py`` in the bundle checks is checked here too, faster, and every decision is decided again.
What is not in the file is not known: compare the block hash of the report with the chain, and get the key from a place
you trust.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from databund.core import documents, evidence, statements
from databund.core.agreements import Certificate, agreement_of
from databund.core.archives import MAX_ARCHIVE_BYTES, unpack
from databund.core.attachments import AttachmentStory, Standing
from databund.core.chain_events import LicenseSold
from databund.core.chain_proofs import license_sold, verify_receipt
from databund.core.datasets import Dataset
from databund.core.events import Event, EventKind
from databund.core.evidence import ChainDocument, Disclosure, Manifest
from databund.core.ids import Address, Commitment, OfferId
from databund.core.offers import SignedOffer
from databund.core.orders import OrderState
from databund.core.policies import Decision, Policy, reevaluate
from databund.core.terms import check_terms, party_of, terms_hash
from databund.crypto.signatures import verify_ed25519, verify_p256, verify_typed_hash
from databund.errors import DatabundError, FileUnusable, IntegrityFailed, ProofInvalid
from databund.tlog.checkpoints import OpenedCheckpoint, open_checkpoint
from databund.tlog.merkle import leaf_hash, verify_inclusion
from databund.tlog.notes import VerifierKey, ed25519_verifier
from databund.tlog.policies import WitnessPolicy
from databund.tlog.proofs import EntryProof
from databund.tlog.receipts import check_receipt

__all__ = ["ChainReport", "EvidenceReport", "holds_evidence", "standalone_verifier", "verify", "verify_bytes"]

T = TypeVar("T")
_ACCOUNT_SIGNATURE = 65  # bytes; smart accounts (ERC-1271) sign in their own forms, which only the chain can check
_DO_NOT_TRUST = "Do not rely on this evidence; ask the operator of the exchange for it again."


@dataclass(frozen=True)
class ChainReport:
    """What the chain's receipt proves, if ``block_hash`` is the hash of that block on the chain ``chain_id``."""

    chain_id: int
    exchange: Address
    block: int
    block_hash: str
    sale: LicenseSold


@dataclass
class EvidenceReport:
    """What a verified bundle proves.

    ``trusted_key`` says whether the log's key came from the caller; otherwise it is the bundle's own word.
    ``attachments`` says of each that a decision names whether it is here, withheld, or erased. ``cosignatures`` counts
    the known witnesses that saw the checkpoint.
    """

    origin: str
    size: int
    root: str
    trusted_key: bool
    order: str
    state: OrderState
    events: dict[int, Event]
    cosignatures: int = 0
    offer_verified: bool = False
    decisions_rerun: int = 0
    chain: ChainReport | None = None
    certificate: Certificate | None = None
    attachments: dict[str, Standing] = field(default_factory=dict)


def standalone_verifier() -> bytes:
    """The text of ``verify.py``: one file that checks a bundle with Python's standard library and ``cryptography``."""
    return files("databund.sdk").joinpath("standalone", "verify.py").read_bytes()


def holds_evidence(source: Path) -> bool:
    """Whether a file begins as a bundle of evidence does, rather than as an exported log."""
    try:
        with source.open("rb") as file:
            return file.read(64)[30:].startswith(evidence.README.encode())
    except OSError:
        return False


def verify(source: Path, *, key: str | None = None, policy: WitnessPolicy | None = None) -> EvidenceReport:
    """Check the bundle in a file; see `verify_bytes`. Raises `FileUnusable` when it cannot be read."""
    try:
        with source.open("rb") as file:
            data = file.read(MAX_ARCHIVE_BYTES + 1)
    except OSError as error:
        raise FileUnusable(f"{source} cannot be read.", fix="Name the file of an evidence bundle.") from error
    return verify_bytes(data, key=key, policy=policy)


def verify_bytes(data: bytes, *, key: str | None = None, policy: WitnessPolicy | None = None) -> EvidenceReport:
    """Check a bundle from end to end; nothing outside of it is asked.

    ``key`` is the log's verifier key, from a place you trust; ``policy`` names the witnesses that have to have seen the
    log. Raises the `IntegrityFailed` that says what is wrong.
    """
    members = unpack(data)
    try:
        return _Bundle(members).report(key, policy)
    except IntegrityFailed:
        raise
    except DatabundError as error:
        raise ProofInvalid(f"The evidence holds what cannot be: {error.what}", fix=_DO_NOT_TRUST) from error


class _Bundle:
    """The members of a bundle, each of which has to be read."""

    def __init__(self, members: dict[str, bytes]) -> None:
        self._members = members
        self._unread = set(members)

    def report(self, key: str | None, policy: WitnessPolicy | None) -> EvidenceReport:
        manifest = self._document(evidence.MANIFEST, Manifest)
        if key is not None and key.strip() != manifest.log_key:
            raise ProofInvalid(f"The evidence is from a log with another key, {manifest.log_key}.", fix=_DO_NOT_TRUST)
        log_key = VerifierKey.parse(manifest.log_key)
        if manifest.origin != log_key.name:
            raise _wrong("it names another log than its key")
        opened, events = self._entries(manifest, log_key, policy)
        signed = self._document(evidence.OFFER, SignedOffer)
        offer_id = signed.offer.id
        predicate = evidence.predicate(manifest, events, signed.offer, offer_id=offer_id)
        self._statement(manifest, log_key, predicate)
        report = EvidenceReport(
            origin=manifest.origin,
            size=opened.checkpoint.size,
            root=opened.checkpoint.root.hex(),
            trusted_key=key is not None,
            order=str(manifest.order),
            state=OrderState(predicate["state"]),
            events=events,
            cosignatures=len(opened.cosignatures),
        )
        terms = self._offer(report, manifest, signed, offer_id)
        self._chain(report, manifest, signed)
        self._certificate(report, manifest, signed, terms)
        self._attachments(report)
        self._unread -= {evidence.README, evidence.VERIFIER}
        if self._unread:
            raise _wrong(f"{min(self._unread)} belongs to nothing in it")
        return report

    def _read(self, name: str) -> bytes:
        self._unread.discard(name)
        try:
            return self._members[name]
        except KeyError:
            raise _wrong(f"{name} is missing") from None

    def _document(self, name: str, kind: type[T]) -> T:
        """A member that was written by `documents.encode`, which has one form of every value."""
        return documents.decode_written(self._read(name), kind)

    def _optional(self, name: str) -> bytes | None:
        return self._read(name) if name in self._members else None

    def _statement(self, manifest: Manifest, key: VerifierKey, predicate: dict[str, Any]) -> None:
        """Both signatures of the statement, which follows from the members: their digests, and what they tell."""
        ours, sigstore = self._read(evidence.DSSE), self._read(evidence.SIGSTORE)
        rest = {name: data for name, data in self._members.items() if name not in (evidence.DSSE, evidence.SIGSTORE)}
        payload = statements.statement(rest, predicate_type=evidence.PREDICATE_TYPE, predicate=predicate)

        def verify_log(message: bytes, signature: bytes) -> None:
            verify_ed25519(key.public_key, message, signature)

        try:
            statements.check_envelope(ours, payload, key_id=manifest.key_id, verify=verify_log)
        except ProofInvalid:  # it is about something else; what was signed says about what
            told = statements.open_envelope(ours, key_id=manifest.key_id, verify=verify_log)
            statements.check_subjects(told, rest, predicate_type=evidence.PREDICATE_TYPE)
            raise _wrong("the signed statement tells another story than the entries") from None
        statements.check_sigstore_bundle(
            sigstore,
            payload,
            hint=manifest.statement_hint,
            verify=lambda message, signature: verify_p256(manifest.statement_key, message, signature),
        )

    def _entries(
        self, manifest: Manifest, key: VerifierKey, policy: WitnessPolicy | None
    ) -> tuple[OpenedCheckpoint, dict[int, Event]]:
        """The checkpoint that all entries are proven under, and their events."""
        events: dict[int, Event] = {}
        opened: OpenedCheckpoint | None = None
        note = b""
        waiting: set[tuple[bytes, bytes]] = set()
        subject = evidence.subject(manifest.order)
        for place in manifest.entries:
            entry = self._read(evidence.entry_member(place.index))
            proof = EntryProof.parse(self._read(evidence.proof_member(place.index)))
            if opened is None:
                opened, note = _opened(proof.checkpoint, key, policy), proof.checkpoint
            size, root = opened.checkpoint.size, opened.checkpoint.root
            if proof.index != place.index or proof.checkpoint != note or proof.extra is not None:
                raise _wrong(f"the proof of entry {place.index} is another one")
            verify_inclusion(leaf_hash(entry), proof.hashes, index=place.index, size=size, root=root)
            receipt = self._read(evidence.receipt_member(place.index))
            at = (place.index, size)
            waiting.add(check_receipt(receipt, key=key, subject=subject, root=root, place=at, hashes=proof.hashes))
            event = events[place.index] = Event.read(entry)
            if event.kind is not place.kind:
                raise _wrong(f"entry {place.index} is not the {place.kind} that it is called")
        for message, signature in waiting:
            verify_ed25519(key.public_key, message, signature)
        if opened is None:
            raise _wrong("it has no entries")
        return opened, events

    def _offer(self, report: EvidenceReport, manifest: Manifest, signed: SignedOffer, offer_id: OfferId) -> Policy:
        """The offer is the one that was ordered, and every decision comes out again under its policy."""
        dataset = self._document(evidence.DATASET, Dataset)
        policy = check_terms(signed.offer, self._read(evidence.POLICY), dataset)
        if (signed.domain.chain_id, signed.domain.exchange) != (manifest.chain_id, manifest.exchange):
            raise _wrong("the offer is made for another exchange")
        name, buyer, permitted = str(offer_id), evidence.buyer_of(report.events.values()), False
        party = party_of(Address.parse(buyer), manifest.chain_id)
        for index, event in report.events.items():
            if event.about.get("offer", name) != name:
                raise _wrong(f"entry {index} is about another offer")
            if event.about.get("currency", str(signed.offer.currency)) != str(signed.offer.currency):
                raise _wrong(f"entry {index} names another currency than the offer")
            if event.about.get("content_root", str(signed.offer.content_root)) != str(signed.offer.content_root):
                raise _wrong(f"entry {index} delivers something else than was offered")
            if event.kind is EventKind.DECIDED:
                decision = _decide_again(event, policy)
                report.decisions_rerun += 1
                if decision.request.assignee != party:
                    raise _wrong(f"entry {index} decides about somebody else than the buyer")
                permitted = permitted or decision.permitted
            if event.kind is EventKind.DELIVERED and (event.by != buyer or not permitted):
                raise _wrong(f"entry {index} delivers to somebody else, or before any decision permits it")
        if len(signed.signature) == _ACCOUNT_SIGNATURE:
            digest = signed.domain.digest(bytes(offer_id))
            verify_typed_hash(digest, signed.signature, signer=signed.offer.provider)
            report.offer_verified = True
        return policy

    def _chain(self, report: EvidenceReport, manifest: Manifest, signed: SignedOffer) -> None:
        """The receipt records what the entries say was sold, paid and licensed."""
        document = self._document(evidence.CHAIN, ChainDocument) if evidence.CHAIN in self._members else None
        licensed = _only(report.events, EventKind.LICENSED) or _only(report.events, EventKind.OBSERVED)
        if (document is None) != (licensed is None):
            raise _wrong("the chain's receipt and the entry of the license do not come together")
        if document is None or licensed is None:
            return
        proven = verify_receipt(document.proof())
        sale = license_sold(proven, manifest.order, exchange=manifest.exchange, currency=signed.offer.currency)
        ordered = _only(report.events, EventKind.ORDERED) or licensed
        about = licensed.about
        told = (about["block"], about["expiry"], ordered.about["offer"], ordered.about["units"], ordered.about["price"])
        if told != (proven.block, sale.expiry, str(sale.offer_id), sale.units, str(int(sale.price))):
            raise _wrong("the chain's receipt is of another sale than the entries tell")
        if evidence.buyer_of(report.events.values()) != str(sale.buyer):
            raise _wrong("the chain's receipt names another buyer")
        settled = _only(report.events, EventKind.SETTLED)
        if settled is not None and (
            settled.about["payments"] != list(documents.dump(sale.payments))
            or settled.about["chain_transaction"] != about["chain_transaction"]
        ):
            raise _wrong("the chain's receipt shows other payments than the entries")
        report.chain = ChainReport(manifest.chain_id, manifest.exchange, proven.block, proven.block_hash, sale)

    def _certificate(self, report: EvidenceReport, manifest: Manifest, signed: SignedOffer, policy: Policy) -> None:
        """The certificate is the one of the entry, and says what the chain and the offer say."""
        certified = _only(report.events, EventKind.CERTIFIED)
        document, agreed = self._optional(evidence.CERTIFICATE), self._optional(evidence.AGREEMENT)
        if document is None or agreed is None or certified is None or report.chain is None:
            if document or agreed or certified:
                raise _wrong("certificate, agreement and their entry do not come together")
            return
        certificate, sale = self._document(evidence.CERTIFICATE, Certificate), report.chain.sale
        assignee = party_of(certificate.buyer, manifest.chain_id)
        if agreed != agreement_of(policy, order_id=manifest.order, assignee=assignee):
            raise _wrong("the agreement does not follow from the policy")
        licensed = _only(report.events, EventKind.LICENSED) or _only(report.events, EventKind.OBSERVED)
        expected = Certificate(
            order=manifest.order,
            offer=sale.offer_id,
            buyer=sale.buyer,
            units=sale.units,
            price=sale.price,
            currency=signed.offer.currency,
            payments=sale.payments,
            chain_id=manifest.chain_id,
            exchange=manifest.exchange,
            chain_transaction="" if licensed is None else str(licensed.about["chain_transaction"]),
            block=report.chain.block,
            block_hash=report.chain.block_hash,
            expiry=sale.expiry,
            agreement=terms_hash(agreed),
        )
        if certificate != expected:
            raise _wrong("the certificate says something else than the chain and the offer")
        told = (certified.about["certificate"], certified.about["agreement"])
        if told != (sha256(document).hexdigest(), bytes(certificate.agreement).hex()):
            raise _wrong("the certificate is not the one that the log names")
        report.certificate = certificate

    def _attachments(self, report: EvidenceReport) -> None:
        """Each attachment that an entry names is disclosed, erased or withheld."""
        story = AttachmentStory()
        for event in report.events.values():
            story.add(event)
        disclosed: dict[Commitment, tuple[bytes, bytes]] = {}
        for commitment in story.standings():
            member = evidence.attachment_member(commitment)
            if member in self._members:
                content = self._document(member, Disclosure)
                if content.commitment != commitment:
                    raise _wrong(f"the attachment {commitment} is called by another name")
                disclosed[commitment] = (content.salt, content.content)
        report.attachments = {str(name): standing for name, standing in story.standings(disclosed).items()}


def _opened(note: bytes, key: VerifierKey, policy: WitnessPolicy | None) -> OpenedCheckpoint:
    return open_checkpoint(note, origin=key.name, log=[ed25519_verifier(key, verify_ed25519)], policy=policy)


def _decide_again(event: Event, policy: Policy) -> Decision:
    decision = reevaluate(event.about["decision"], policy)
    if decision.permitted is not event.about["permitted"]:
        raise _wrong("a decision was logged as the opposite of itself")
    return decision


def _only(events: dict[int, Event], kind: EventKind) -> Event | None:
    found = [event for event in events.values() if event.kind is kind]
    if len(found) > 1:
        raise _wrong(f"it has {len(found)} entries of kind {kind}")
    return found[0] if found else None


def _wrong(why: str) -> ProofInvalid:
    return ProofInvalid(f"The evidence does not hold: {why}.", fix=_DO_NOT_TRUST)
