"""Evidence of one trade: what it proves, and that neither a stranger nor a lying operator gets anything else accepted.

Every refusal is asked of both verifiers: ours, and the one file that is shipped inside the bundle.
"""

from __future__ import annotations

import ast
import importlib.util
import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import pytest

from databund.app.auditing import Auditor
from databund.core import canonical, documents, evidence
from databund.core.amounts import Amount, Payment
from databund.core.archives import pack, unpack
from databund.core.attachments import Presence
from databund.core.chain_proofs import license_sold, verify_receipt
from databund.core.events import Event, EventKind
from databund.core.ids import Address, keccak256
from databund.core.offers import SignedOffer
from databund.core.orders import OrderState
from databund.core.terms import party_of
from databund.crypto.signatures import verify_ed25519
from databund.errors import CheckpointInvalid, DatabundError, FileUnusable, IntegrityFailed, ProofInvalid
from databund.ports import Tables
from databund.sdk.evidence import holds_evidence, standalone_verifier, verify, verify_bytes
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from databund.tlog.merkle import inclusion_root, leaf_hash
from databund.tlog.notes import Signature, VerifierKey, ed25519_verifier
from databund.tlog.policies import WitnessPolicy
from databund.tlog.proofs import EntryProof, verify_entry
from databund.tlog.receipts import sign_receipt
from tests.unit.marketplace import BUYER, OPERATOR, PROVIDER, STRANGER
from tests.unit.tlog_keys import Key
from tests.unit.trades import WITNESS, Trade, changed, cosigner, stated, word

Members = dict[str, bytes]


@cache
def standalone() -> ModuleType:
    """The shipped file as a module."""
    place = importlib.util.find_spec("databund.sdk")
    assert place is not None
    assert place.submodule_search_locations is not None
    path = f"{place.submodule_search_locations[0]}/standalone/verify.py"
    spec = importlib.util.spec_from_file_location("standalone_verify", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def standalone_refuses(bundle: bytes, *arguments: Any) -> None:
    """The shipped file says no, by an error that its command line knows."""
    with pytest.raises((standalone().Wrong, *standalone().MALFORMED)):
        list(standalone().check(bundle, *arguments))


@cache
def trade() -> Trade:
    """A certified trade with a decision that has an attachment, under a cosigned checkpoint."""
    made = Trade({"purposes": ("research",)}).delivered(purpose="research").certified()
    made.attached()
    return made.cosigned()


@cache
def bundle() -> bytes:
    """Its evidence, with the attachment."""
    return trade().bundle(disclose=True)


def index_of(kind: str, members: Members) -> int:
    """Where the first entry of a kind is."""
    manifest = documents.decode(members[evidence.MANIFEST], evidence.Manifest)
    return next(place.index for place in manifest.entries if place.kind == kind)


def edited(members: Members, name: str, *path: str | int, to: Any) -> None:
    """Replace one value in a JSON member."""
    document: Any = canonical.parse(members[name])
    place = document
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = to
    members[name] = canonical.canonicalize(document)


# --- what it proves ---


def test_a_whole_trade_is_proven() -> None:
    """One file and the log's key prove entries, decisions, sale, payments and certificate."""
    report = verify_bytes(bundle(), key=str(trade().vkey))

    assert (report.state, report.trusted_key, report.offer_verified) == (OrderState.CERTIFIED, True, True)
    assert report.decisions_rerun == 2
    assert report.chain is not None
    assert report.certificate is not None
    assert report.chain.sale.payments == report.certificate.payments == trade().block.outcome.payments
    assert report.chain.block_hash == report.certificate.block_hash
    assert [each.presence for each in report.attachments.values()] == [Presence.PRESENT]


def test_the_shipped_file_proves_it_too() -> None:
    """The one file in the bundle tells the same story, in plain words."""
    text = "\n".join(standalone().check(bundle(), str(trade().vkey), [str(WITNESS.vkey)], 1))

    assert f"about the order {trade().id}:" in text
    assert "Seen by 1 of 1 named witnesses." in text
    assert "the order is certified" in text
    assert all(str(payment.account) in text for payment in trade().block.outcome.payments)


def test_the_bundle_carries_the_shipped_file() -> None:
    """The verifier inside is the one that the package prints."""
    assert unpack(bundle())[evidence.VERIFIER] == standalone_verifier()


def test_the_same_log_gives_the_same_bytes() -> None:
    """Asking again gives the same file, bit for bit."""
    assert trade().bundle(disclose=True) == bundle()


@pytest.mark.parametrize("state", ["placed", "licensed", "delivered"])
def test_an_unfinished_trade_is_proven_as_far_as_it_went(state: str) -> None:
    """Evidence exists from the first entry on; what did not happen yet is not in it."""
    made = Trade()
    if state == "delivered":
        made.delivered()

    report = verify_bytes(made.bundle(), key=str(made.vkey))

    assert report.state == ("licensed" if state == "placed" else state)
    assert report.certificate is None
    assert list(standalone().check(made.bundle()))


def test_evidence_is_told_from_an_exported_log(tmp_path: Path) -> None:
    """The first bytes say whether a file is evidence; what cannot be read is none."""
    ours, other = tmp_path / "evidence.zip", tmp_path / "log.zip"
    ours.write_bytes(bundle())
    other.write_bytes(pack({"checkpoint": b""}))

    assert holds_evidence(ours)
    assert not any(map(holds_evidence, (other, tmp_path, tmp_path / "none.zip")))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A file that is not there is an error of ours."""
    with pytest.raises(FileUnusable, match="cannot be read"):
        verify(tmp_path / "none.zip")


# --- attachments ---


def test_what_is_withheld_is_said() -> None:
    """Without disclosure the attachment's salted hash stands for it."""
    assert [str(each) for each in verify_bytes(trade().bundle()).attachments.values()] == ["withheld"]
    assert any(line.endswith(": withheld.") for line in standalone().check(trade().bundle()))


def test_the_other_side_gets_no_attachment() -> None:
    """What an attachment says of the buyer is disclosed to the buyer and the operator, not to the provider."""
    sides = (BUYER, OPERATOR, PROVIDER)
    bundles = [trade().evidencing().bundle(side.address, trade().id, disclose=True) for side in sides]

    found = [next(iter(verify_bytes(each).attachments.values())).presence for each in bundles]

    assert found == [Presence.PRESENT, Presence.PRESENT, Presence.WITHHELD]


def test_what_is_erased_is_said_with_the_date() -> None:
    """An erased attachment is erased on its date, not broken; the entry that says so comes along."""
    made = Trade().delivered()
    made.erased(made.attached())

    report = verify_bytes(made.bundle(disclose=True))

    assert [str(each) for each in report.attachments.values()] == ["erased on 2027-01-15 (consent_withdrawn)"]
    assert any("erased on 2027-01-15 09:00:00 UTC" in line for line in standalone().check(made.bundle()))


# --- keys and witnesses ---


def test_another_key_is_refused() -> None:
    """The bundle of one log is not believed under the key of another."""
    other = str(Key("exchange.example/audit").vkey)

    with pytest.raises(ProofInvalid, match="another key"):
        verify_bytes(bundle(), key=other)
    standalone_refuses(bundle(), other)


def test_witnesses_are_asked_for() -> None:
    """A policy that asks for a witness that did not see the log refuses; one that did is counted."""
    policies = [
        WitnessPolicy.parse(f"witness w {key.vkey}\nquorum w\n".encode(), cosigner)
        for key in (WITNESS, Key("other.example", WITNESS.vkey.signature_type))
    ]

    assert verify_bytes(bundle(), policy=policies[0]).cosignatures == 1
    with pytest.raises(CheckpointInvalid):
        verify_bytes(bundle(), policy=policies[1])
    standalone_refuses(bundle(), None, [str(Key("other.example", WITNESS.vkey.signature_type).vkey)], 1)


# --- lies: everything is signed again by the operator, so that only the named check can notice ---


def another_entry(members: Members) -> None:
    """An entry that the log does not hold."""
    edited(members, evidence.entry_member(index_of("order.placed", members)), "at", to=1)


def another_place(members: Members) -> None:
    """A proof of another entry."""
    first, second = index_of("order.placed", members), index_of("order.licensed", members)
    members[evidence.proof_member(first)] = members[evidence.proof_member(second)]


def extra_words(members: Members) -> None:
    """A proof with words of the sender."""
    name = evidence.proof_member(index_of("order.placed", members))
    members[name] = replace(EntryProof.parse(members[name]), extra=b"x").to_bytes()


def another_receipt(members: Members) -> None:
    """A COSE receipt of another entry."""
    first, second = index_of("order.placed", members), index_of("order.licensed", members)
    members[evidence.receipt_member(first)] = members[evidence.receipt_member(second)]


def forged_receipt(members: Members) -> None:
    """A COSE receipt with another signature."""
    name = evidence.receipt_member(index_of("order.placed", members))
    members[name] = members[name][:-1] + bytes([members[name][-1] ^ 1])


def missing_step(members: Members) -> None:
    """A trade without its license."""
    manifest = documents.decode(members[evidence.MANIFEST], evidence.Manifest)
    kept = tuple(place for place in manifest.entries if place.kind != "order.licensed")
    left_out = index_of("order.licensed", members)
    members[evidence.MANIFEST] = documents.encode(msgspec.structs.replace(manifest, entries=kept))
    for name in (evidence.entry_member, evidence.proof_member, evidence.receipt_member):
        del members[name(left_out)]


def another_kind(members: Members) -> None:
    """An entry that is called what it is not."""
    edited(members, evidence.MANIFEST, "entries", 2, "kind", to="delivery.denied")


def another_origin(members: Members) -> None:
    """A manifest that names another log."""
    edited(members, evidence.MANIFEST, "origin", to="other.example/audit")


def another_exchange(members: Members) -> None:
    """A manifest that names another smart contract."""
    edited(members, evidence.MANIFEST, "exchange", to=str(Address(bytes(20))))


def another_price(members: Members) -> None:
    """An offer at another price."""
    edited(members, evidence.OFFER, "offer", "unit_price", to="1")


def another_policy(members: Members) -> None:
    """A policy that the offer does not commit to."""
    edited(members, evidence.POLICY, "uid", to="urn:example:other")


def another_dataset(members: Members) -> None:
    """A dataset that the policy is not about."""
    edited(members, evidence.DATASET, "title", to="Other readings")


def another_block(members: Members) -> None:
    """A block header that leads to another hash than the certificate's."""
    made = trade().block
    real = made.outcome
    made.outcome = msgspec.structs.replace(real, block=real.block + 1)
    members[evidence.CHAIN] = documents.encode(evidence.ChainDocument.of(made.proof()))
    made.outcome = real


def another_payment(members: Members) -> None:
    """A receipt that pays somebody else."""
    made = trade().block
    real = made.outcome
    made.outcome = msgspec.structs.replace(real, payments=(Payment(STRANGER.address, Amount(1)),))
    members[evidence.CHAIN] = documents.encode(evidence.ChainDocument.of(made.proof()))
    made.outcome = real


def another_buyer(members: Members) -> None:
    """A receipt of a sale to somebody else."""
    made = trade().block
    real = made.order
    made.order = msgspec.structs.replace(real, buyer=STRANGER.address)
    members[evidence.CHAIN] = documents.encode(evidence.ChainDocument.of(made.proof()))
    made.order = real


def failed_sale(members: Members) -> None:
    """A receipt of a failure."""
    made = trade().block
    made.status = 0
    members[evidence.CHAIN] = documents.encode(evidence.ChainDocument.of(made.proof()))
    made.status = 1


def broken_trie(members: Members) -> None:
    """A receipt's proof with a changed node."""
    document = documents.decode(members[evidence.CHAIN], evidence.ChainDocument)
    last = bytearray(document.nodes[-1])
    last[-1] ^= 1
    edited(members, evidence.CHAIN, "nodes", len(document.nodes) - 1, to="0x" + last.hex())


def no_chain(members: Members) -> None:
    """No receipt at all."""
    del members[evidence.CHAIN]


def another_certificate(members: Members) -> None:
    """A certificate with another number of units."""
    edited(members, evidence.CERTIFICATE, "units", to=2)


def another_agreement(members: Members) -> None:
    """An agreement that does not follow from the policy."""
    edited(members, evidence.AGREEMENT, "uid", to="urn:example:other")


def no_certificate(members: Members) -> None:
    """A certified trade without its certificate."""
    del members[evidence.CERTIFICATE]


def another_attachment(members: Members) -> None:
    """An attachment with another content."""
    name = next(name for name in members if name.startswith("attachments/"))
    edited(members, name, "content", to="0x00")


def something_else(members: Members) -> None:
    """A member that belongs to nothing."""
    members["notes.txt"] = b"trust me"


LIES: dict[Callable[[Members], None], str] = {
    another_entry: "proof of entry 2 does not lead to the root",
    another_place: "proof of entry 2 is another one",
    extra_words: "proof of entry 2 is another one",
    another_receipt: "COSE receipt of entry 2 is not the one of its proof",
    forged_receipt: "signature is not by the Ed25519 key",
    missing_step: "is placed when the log has order.delivered",
    another_kind: "entry 4 is not the delivery.denied",
    another_origin: "names another log than its key",
    another_exchange: "made for another exchange",
    another_price: "entry 2 is about another offer",
    another_policy: "not the one the offer commits to",
    another_dataset: "about another dataset version",
    another_block: "another sale than the entries tell",
    another_payment: "other payments than the entries",
    another_buyer: "names another buyer",
    failed_sale: "does not record the sale",
    broken_trie: "node of the receipt's proof is missing or another one",
    no_chain: "do not come together",
    another_certificate: "certificate says something else",
    another_agreement: "agreement does not follow from the policy",
    no_certificate: "do not come together",
    another_attachment: "not what the entry committed to",
    something_else: "notes.txt belongs to nothing",
}


@pytest.mark.parametrize(("lie", "why"), LIES.items(), ids=[lie.__name__ for lie in LIES])
def test_a_lying_operator_is_refused(lie: Callable[[Members], None], why: str) -> None:
    """What the operator signs is not believed when the log, the chain or the documents say otherwise."""
    told = changed(bundle(), lie)

    with pytest.raises(IntegrityFailed, match=why):
        verify_bytes(told, key=str(trade().vkey))
    standalone_refuses(told, str(trade().vkey))


def test_a_decision_that_the_policy_does_not_make_is_refused() -> None:
    """A logged decision that comes out differently when it is made again is refused by us; the file says it cannot."""
    made = Trade({"purposes": ("research",)}).delivered(purpose="research").misdecided()

    with pytest.raises(DatabundError, match="recorded decision differs"):
        verify_bytes(made.bundle())
    assert list(standalone().check(made.bundle()))


def test_a_forged_offer_is_refused() -> None:
    """An offer that its provider did not sign is refused by us; the one file says it does not look."""

    def forge(members: Members) -> None:
        signature = bytearray(documents.decode(members[evidence.OFFER], SignedOffer).signature)
        signature[5] ^= 1
        edited(members, evidence.OFFER, "signature", to="0x" + signature.hex())

    with pytest.raises(IntegrityFailed):
        verify_bytes(changed(bundle(), forge))


def only_decided(members: Members) -> None:
    """A trade of which only the decision is told."""
    manifest = documents.decode(members[evidence.MANIFEST], evidence.Manifest)
    kept = tuple(place for place in manifest.entries if place.kind == "decision.made")
    for place in set(manifest.entries) - set(kept):
        for name in (evidence.entry_member, evidence.proof_member, evidence.receipt_member):
            del members[name(place.index)]
    members[evidence.MANIFEST] = documents.encode(msgspec.structs.replace(manifest, entries=kept))


def negative_index(members: Members) -> None:
    """A receipt at a place that no block has."""
    edited(members, evidence.CHAIN, "index", to=-1)


def negative_chain(members: Members) -> None:
    """A chain with a number that none has."""
    edited(members, evidence.MANIFEST, "chain_id", to=-1)
    edited(members, evidence.OFFER, "domain", "chain_id", to=-1)


def strange_curve(members: Members) -> None:
    """A statement key on a curve that nobody knows."""
    key = documents.decode(members[evidence.MANIFEST], evidence.Manifest).statement_key
    p256, other = bytes.fromhex("2a8648ce3d030107"), bytes.fromhex("2a8648ce3d03010f")
    edited(members, evidence.MANIFEST, "statement_key", to="0x" + bytes(key).replace(p256, other).hex())


def more_in_the_offer(members: Members) -> None:
    """An offer with a member that its signature does not cover."""
    edited(members, evidence.OFFER, "offer", "discount", to="all of it")


def more_in_the_receipt(members: Members) -> None:
    """A receipt with a member that the block does not cover."""
    edited(members, evidence.CHAIN, "more", to=1)


def more_in_the_manifest(members: Members) -> None:
    """A manifest with a member that we do not know."""
    members[evidence.MANIFEST] = members[evidence.MANIFEST].replace(b'{"chain_id"', b'{"a":1,"chain_id"')


def an_entry_twice(members: Members) -> None:
    """A manifest that names an entry twice."""
    entries = canonical.parse(members[evidence.MANIFEST])["entries"]  # type: ignore[call-overload, index]
    edited(members, evidence.MANIFEST, "entries", to=[*entries, entries[-1]])


def spaces(name: str) -> Callable[[Members], None]:
    """Another spelling of a document."""

    def change(members: Members) -> None:
        members[name] = members[name].replace(b"{", b"{ ", 1)

    return change


ODDITIES: dict[str, Callable[[Members], None]] = {
    each.__name__: each
    for each in (
        *(only_decided, negative_index, negative_chain, strange_curve, an_entry_twice),
        *(more_in_the_manifest, more_in_the_offer, more_in_the_receipt),
    )
} | {
    f"spaces in {name}": spaces(name) for name in unpack(bundle()) if name.endswith(".json") and name[:9] != "statement"
}


@pytest.mark.parametrize("change", ODDITIES.values(), ids=ODDITIES)
def test_what_nobody_would_write_is_refused(change: Callable[[Members], None]) -> None:
    """Odd values, unknown members and other spellings are refused by both, with an error and no traceback."""
    told = changed(bundle(), change)

    with pytest.raises(IntegrityFailed):
        verify_bytes(told, key=str(trade().vkey))
    standalone_refuses(told, str(trade().vkey))


@pytest.mark.parametrize("payload", [b'{"subject":5}', b'{"subject":[5]}', b"[]", b"{"])
def test_a_statement_of_another_form_is_refused(payload: bytes) -> None:
    """What the operator signed as the statement may be anything; it is refused as such."""
    members = unpack(bundle())
    del members[evidence.DSSE], members[evidence.SIGSTORE]
    told = stated(members, payload, key_id="+".join(str(trade().vkey).split("+", 2)[:2]))

    with pytest.raises(ProofInvalid):
        verify_bytes(told)
    standalone_refuses(told)


def refused_by_both(made: Trade, why: str) -> None:
    """Neither verifier takes the evidence of a trade of which the operator logged too much."""
    with pytest.raises(IntegrityFailed, match=why):
        verify_bytes(made.bundle())
    standalone_refuses(made.bundle())


def test_another_delivery_than_the_offer_is_refused() -> None:
    """What was delivered has to be what was offered."""
    made = Trade().delivered()
    last = made.market.entries()[-1]
    made.logged(EventKind.DELIVERED, **{**last.about, "content_root": "0x" + "77" * 32, "use": 2})

    refused_by_both(made, "delivers something else")


def test_another_currency_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """An order is placed in the currency of the offer."""

    def lying(self: Auditor, tables: Tables, *events: Event) -> Sequence[int]:
        for event in events:
            if event.kind is EventKind.ORDERED:
                event.about["currency"] = str(STRANGER.address)
        return honest(self, tables, *events)

    honest = Auditor.append
    monkeypatch.setattr(Auditor, "append", lying)

    refused_by_both(Trade(), "another currency")


def test_a_delivery_to_somebody_else_is_refused() -> None:
    """What the buyer bought is delivered to the buyer."""
    made = Trade().delivered()
    made.logged(EventKind.DELIVERED, by=STRANGER.address, **{**made.market.entries()[-1].about, "use": 2})

    refused_by_both(made, "delivers to somebody else")


def test_a_decision_about_somebody_else_is_refused() -> None:
    """What a policy permits to one party is no decision about another one's order."""
    made = Trade().delivered()
    about: Any = canonical.parse(canonical.canonicalize(dict(made.market.entries()[-2].about)))
    about["decision"]["request"]["assignee"] = party_of(STRANGER.address, made.market.exchange.domain.chain_id)
    made.logged(EventKind.DECIDED, **about)

    refused_by_both(made, "decides about somebody else")


def test_a_delivery_that_no_decision_permits_is_refused() -> None:
    """Before a key is released, the policy permits it."""
    made = Trade()
    delivered = Trade().delivered().market.entries()[-1]
    made.logged(EventKind.DELIVERED, by=BUYER.address, **{**delivered.about, "order": str(made.id)})

    refused_by_both(made, "before any decision permits")


def test_an_erasure_before_its_attachment_is_refused() -> None:
    """Nothing is erased before an entry names it."""
    made = Trade().delivered()
    early = "0x" + "99" * 32
    made.logged(EventKind.DESTROYED, attachment=early, reason="mistake")
    records = made.market.database._records
    records.about_order[len(records.entries) - 1] = made.id
    last = next(event for event in reversed(made.market.entries()) if event.kind is EventKind.DECIDED)
    made.logged(EventKind.DECIDED, **{**last.about, "attachment": early})

    refused_by_both(made, "no entry named before")


def transfer(sender: Address, recipient: Address, amount: int) -> list[Any]:
    """The log of a transfer in the currency of the trade."""
    kind = keccak256(b"Transfer(address,address,uint256)")
    currency = trade().market.exchange.currency.address
    return [bytes(currency), [kind, word(sender), word(recipient)], word(amount)]


def test_only_what_the_exchange_paid_is_of_the_sale() -> None:
    """Money that others move in the same chain transaction, or after the sale, is none that the sale paid."""
    made = Trade()
    exchange = made.market.exchange.domain.exchange
    made.block.others = lambda logs: [
        transfer(STRANGER.address, PROVIDER.address, 10**9),
        *logs,
        transfer(exchange, STRANGER.address, 10**9),
    ]

    report = verify_bytes(made.bundle())
    lines = "\n".join(standalone().check(made.bundle()))

    assert report.chain is not None
    assert report.chain.sale.payments == made.block.outcome.payments
    assert all(f"{payment.account}: {payment.amount} base" in lines for payment in made.block.outcome.payments)
    assert str(10**9) not in lines


def test_a_long_receipt_is_proven() -> None:
    """A buyer who lets the chain transaction record more than 64 KiB does not make the trade unprovable."""
    made = Trade()
    made.block.others = lambda logs: [[bytes(20), [bytes(32)], bytes(100_000)], *logs]

    assert verify_bytes(made.bundle()).chain is not None
    assert list(standalone().check(made.bundle()))


def test_a_term_that_no_entry_can_count_has_no_end() -> None:
    """A term beyond 2^53 - 1 is told as one without end, by the log and by what the chain proves."""
    made = Trade()
    made.block.outcome = msgspec.structs.replace(made.block.outcome, expiry=2**53)
    proven = verify_receipt(made.block.proof())
    domain, currency = made.market.exchange.domain, made.market.exchange.currency.address
    document = {**documents.dump(evidence.ChainDocument.of(made.block.proof()))}

    assert license_sold(proven, made.id, exchange=domain.exchange, currency=currency).expiry is None
    assert standalone().chain_says(document, bytes(made.id), str(domain.exchange), str(currency))["expiry"] is None


# --- strangers: nothing is signed again ---


@pytest.mark.parametrize("name", sorted(unpack(bundle())))
def test_a_changed_member_is_noticed(name: str) -> None:
    """Whoever changes any member, and makes the archive whole again, is noticed by both verifiers."""
    members = unpack(bundle())
    members[name] = members[name][:-2] + b" " + members[name][-2:]

    with pytest.raises(IntegrityFailed):
        verify_bytes(pack(members))
    standalone_refuses(pack(members))


@pytest.mark.parametrize("name", sorted(unpack(bundle())))
def test_a_missing_member_is_noticed(name: str) -> None:
    """Whoever takes a member out is noticed by both verifiers."""
    members = unpack(bundle())
    del members[name]

    with pytest.raises(IntegrityFailed):
        verify_bytes(pack(members))
    standalone_refuses(pack(members))


# --- sizes ---


def test_a_log_proof_stays_small() -> None:
    """At 2^20 entries, with one cosignature, a tlog-proof has at most 1,500 bytes, and a COSE receipt 900."""
    log, entry, index, size = Key("exchange.example/audit"), b"entry", 777_777, 2**20
    hashes = tuple(sha256(bytes([level])).digest() for level in range(20))
    root = inclusion_root(leaf_hash(entry), hashes, index=index, size=size)
    note = sign_checkpoint(Checkpoint(log.vkey.name, size, root), [log.signer(), WITNESS.signer()]).to_bytes()
    proof = EntryProof(index, hashes, note)
    receipt = sign_receipt(
        log.vkey, log.sign, subject=evidence.subject(trade().id), index=index, size=size, root=root, hashes=hashes
    )

    policy = WitnessPolicy.parse(f"witness w {WITNESS.vkey}\nquorum w\n".encode(), cosigner)
    verify_entry(proof, entry, origin=log.vkey.name, log=[log.verifier()], policy=policy)

    assert len(proof.to_bytes()) <= 1_500
    assert len(receipt.to_bytes()) <= 900


# --- the shipped file itself ---


def test_the_shipped_file_needs_little() -> None:
    """It is Python 3.9, imports the standard library and cryptography only, and can be read in one sitting."""
    tree = ast.parse(standalone_verifier(), feature_version=(3, 9))

    modules = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    modules |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    assert {name.partition(".")[0] for name in modules} - sys.stdlib_module_names == {"cryptography"}
    assert len(standalone_verifier().splitlines()) <= 600


def test_nothing_in_an_entry_writes_on_the_screen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An entry's own line breaks, colors and directions are not printed by the shipped file."""
    made = Trade().delivered()
    last = made.market.entries()[-2]
    made.logged(EventKind.DECIDED, by="x\n  Seen by 5 of 5 named witnesses.\x1b[2J\u202e", **last.about)
    (tmp_path / "e.zip").write_bytes(made.bundle())
    monkeypatch.setattr(sys, "argv", ["verify.py", str(tmp_path / "e.zip")])

    standalone().main()

    printed = capsys.readouterr().out
    assert "decision.made, by x?  Seen by 5 of 5 named witnesses.?[2J?" in printed
    assert "\n  Seen by 0 of 0 named witnesses.\n" in printed


def test_one_witness_under_two_names_is_one() -> None:
    """Who holds one key does not make a quorum of two by it, whatever the key is called."""
    name, _, material = str(WITNESS.vkey).split("+", 2)
    other = VerifierKey("other.example", WITNESS.vkey.signature_type, WITNESS.vkey.public_key)
    note = unpack(bundle())[evidence.proof_member(2)].partition(b"\n\n")[2]
    opened = open_checkpoint(note, origin=trade().vkey.name, log=[ed25519_verifier(trade().vkey, verify_ed25519)])
    line = next(line for line in opened.unknown if line.name == name)
    twice = note + str(Signature(other.name, other.key_id, line.value)).encode()
    keys = [standalone().read_vkey(str(key), 4) for key in (WITNESS.vkey, other)]

    assert material == str(other).split("+", 2)[2]
    assert len(standalone().open_checkpoint(twice, standalone().read_vkey(str(trade().vkey), 1), keys)[2]) == 1


def test_a_policy_that_only_mentions_the_dataset_is_refused() -> None:
    """The policy has to be about the dataset, and not only to name it somewhere."""
    told = changed(bundle(), mentioned)

    with pytest.raises(IntegrityFailed):
        verify_bytes(told)
    members = unpack(told)
    signed = canonical.parse(members[evidence.OFFER])
    manifest = canonical.parse(members[evidence.MANIFEST])
    with pytest.raises(standalone().Wrong, match="policy is for another dataset"):
        standalone().check_documents(members, manifest, {}, signed, "")


def mentioned(members: Members) -> None:
    """A policy about something else, whose name tells of the dataset, and an offer that commits to it."""
    target = canonical.parse(members[evidence.POLICY])["target"]  # type: ignore[call-overload, index]
    edited(members, evidence.POLICY, "target", to="urn:example:other")
    edited(members, evidence.POLICY, "uid", to=target)
    edited(members, evidence.OFFER, "offer", "terms_hash", to="0x" + sha256(members[evidence.POLICY]).hexdigest())


def test_many_members_do_not_hold_the_shipped_file_up() -> None:
    """A file of a hundred thousand members is refused at once, by whoever was asked first."""
    crowded = b"".join(
        struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 0, 0, 0x21, 0, 0, 0, 8, 0) + b"%08d" % number
        for number in range(100_000)
    )

    standalone_refuses(crowded)
    with pytest.raises(ProofInvalid, match="never"):
        verify_bytes(crowded)
