"""Verifying a bundle offline: each check has a test in which only that check fails."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest

from databund.core import documents
from databund.core.amounts import Amount
from databund.core.datasets import Dataset
from databund.core.events import Event, EventKind
from databund.core.ids import Address, Bytes32, ContentRoot, Hex
from databund.core.manifests import Manifest, SealedFile
from databund.core.messages import OfferView
from databund.core.offers import Domain, Offer, SignedOffer
from databund.core.policies import Action, Facts, Request, evaluate, usage_policy
from databund.core.terms import party_of, target_of
from databund.crypto.identities import Identity
from databund.errors import CheckpointInvalid, DatabundError, DocumentInvalid, FileUnusable, LogForked, ProofInvalid
from databund.sdk import audit
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer
from databund.tlog.tiles import EntryBundle, TreeEdge, format_entries

OPERATOR, PROVIDER, BUYER = Identity.generate(), Identity.generate(), Identity.generate()
DOMAIN = Domain(31337, Address(bytes(20)))
KEY = VerifierKey("log.example/audit", SignatureType.ED25519, OPERATOR.log_key.public)
ORDER, CHAIN_TRANSACTION = "0x" + "11" * 32, "0x" + "22" * 32


def _dataset() -> Dataset:
    root = ContentRoot(bytes(31) + b"\x07")
    files = (SealedFile(path="a.csv", size=10, offset=0, length=66),)
    return Dataset(
        provider=PROVIDER.address,
        name="squares",
        version=1,
        title="Squares",
        description="",
        manifest=Manifest(files=files, size=66, root=root),
        created_at=1,
    )


def _offer(dataset: Dataset) -> OfferView:
    policy = usage_policy(
        "urn:databund:policy:1",
        target_of(dataset),
        assigner=party_of(PROVIDER.address, DOMAIN.chain_id),
        purposes=("research",),
    )
    offer = Offer(
        provider=PROVIDER.address,
        dataset=dataset.id,
        content_root=dataset.content_root,
        terms_hash=Bytes32(policy.digest()),
        currency=Address(bytes(20)),
        unit_price=Amount(5),
        duration_s=0,
        uses=0,
        supply=0,
        transferable=False,
        splits=(),
        valid_until=10**10,
        salt=Bytes32(bytes(32)),
    )
    signature = Hex(PROVIDER.sign_typed_hash(DOMAIN.digest(bytes(offer.id))))
    return OfferView(offer.id, SignedOffer(offer, DOMAIN, signature), dict(policy.document()), 1, None)


@dataclass
class Log:
    """A log in the making: its events and the documents beside them."""

    events: list[Event] = field(default_factory=list)
    members: dict[str, bytes] = field(default_factory=dict)
    foreign: list[bytes] = field(default_factory=list)

    def add(self, kind: EventKind, **about: documents.Json) -> None:
        """Append an event."""
        self.events.append(Event(kind, 1, str(OPERATOR.address), about))

    def write(self, path: Path, change: Callable[[dict[str, bytes]], None] = lambda _members: None) -> Path:
        """Sign the log and write the bundle; ``change`` may tamper with its members."""
        entries = [event.entry() for event in self.events] + self.foreign
        growth = TreeEdge().append(leaf_hash(entry) for entry in entries)
        checkpoint = Checkpoint(KEY.name, growth.edge.size, growth.edge.root())
        members = {
            "log.vkey": str(KEY).encode(),
            "checkpoint": sign_checkpoint(checkpoint, [ed25519_signer(KEY, OPERATOR.log_key.sign)]).to_bytes(),
            EntryBundle(0, len(entries)).path: format_entries(entries),
            **{tile.path: content for tile, content in growth.tiles.items()},
            **self.members,
        }
        change(members)
        with zipfile.ZipFile(path, "w") as bundle:
            for name, content in members.items():
                bundle.writestr(name, content)
        return path


@pytest.fixture
def log() -> Log:
    """A whole trade."""
    made, dataset = Log(), _dataset()
    offer, descriptor = _offer(dataset), documents.digest(dataset).hex()
    made.members[f"documents/dataset/{descriptor}.json"] = documents.encode(dataset)
    made.members[f"documents/offer/{offer.id}.json"] = documents.encode(offer)
    made.add(
        EventKind.REGISTERED,
        dataset=str(dataset.id),
        version=1,
        content_root=str(dataset.content_root),
        descriptor=descriptor,
    )
    made.add(
        EventKind.LISTED,
        offer=str(offer.id),
        dataset=str(dataset.id),
        terms=bytes(offer.signed.offer.terms_hash).hex(),
        chain_id=DOMAIN.chain_id,
        exchange=str(DOMAIN.exchange),
    )
    made.add(
        EventKind.ORDERED,
        order=ORDER,
        offer=str(offer.id),
        units=1,
        price="5",
        currency=str(DOMAIN.exchange),
        chain_transaction=CHAIN_TRANSACTION,
    )
    made.add(
        EventKind.LICENSED,
        order=ORDER,
        offer=str(offer.id),
        chain_transaction=CHAIN_TRANSACTION,
        block=1,
        expiry=None,
    )
    decision = evaluate(
        usage_policy(
            "urn:databund:policy:1",
            target_of(dataset),
            assigner=party_of(PROVIDER.address, DOMAIN.chain_id),
            purposes=("research",),
        ),
        Request(action=Action.REPRODUCE, target=target_of(dataset), assignee=party_of(BUYER.address, 31337)),
        Facts(purpose="research"),
    )
    made.add(
        EventKind.DECIDED, offer=str(offer.id), order=None, permitted=True, decision=decision.record(), attachment=None
    )
    made.add(
        EventKind.DELIVERED,
        delivery="0x" + "33" * 32,
        order=ORDER,
        offer=str(offer.id),
        content_root=str(dataset.content_root),
        recipient="age1",
        use=1,
    )
    return made


def _fails(path: Path, kind: type[DatabundError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        audit.verify(path, key=str(KEY))
    assert caught.value.fix


def test_a_whole_trade_verifies(log: Log, tmp_path: Path) -> None:
    """A bundle as it was made passes every check, and the report counts what was checked."""
    report = audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY))

    assert (report.size, report.offers_verified, report.decisions_rerun, report.trusted_key) == (6, 1, 1, True)
    assert report.orders == {ORDER: "delivered"}


def test_without_a_key_the_report_says_whose_word_it_is(log: Log, tmp_path: Path) -> None:
    """A key that comes from the bundle itself is not trusted, and the report says so."""
    assert not audit.verify(log.write(tmp_path / "b.zip")).trusted_key


def test_another_key_is_refused(log: Log, tmp_path: Path) -> None:
    """A bundle of another log than the one that was asked for fails."""
    other = VerifierKey(KEY.name, SignatureType.ED25519, Identity.generate().log_key.public)

    with pytest.raises(ProofInvalid, match="another key"):
        audit.verify(log.write(tmp_path / "b.zip"), key=str(other))


def test_an_unsigned_checkpoint_is_refused(log: Log, tmp_path: Path) -> None:
    """A checkpoint whose text was changed is not signed."""

    def change(members: dict[str, bytes]) -> None:
        members["checkpoint"] = members["checkpoint"].replace(b"\n6\n", b"\n5\n", 1)

    _fails(log.write(tmp_path / "b.zip", change), CheckpointInvalid, "signature")


def test_a_changed_hash_tile_is_refused(log: Log, tmp_path: Path) -> None:
    """A stored tile has to belong to its entries, also where the entries are right."""

    def change(members: dict[str, bytes]) -> None:
        members["tile/0/000.p/6"] = bytes(32) + members["tile/0/000.p/6"][32:]

    _fails(log.write(tmp_path / "b.zip", change), ProofInvalid, "does not belong")


def test_a_changed_entry_is_refused_even_with_its_tile(log: Log, tmp_path: Path) -> None:
    """Who changes an entry and rebuilds the tiles still lacks the signed root."""

    def change(members: dict[str, bytes]) -> None:
        entries = [event.entry() for event in log.events]
        entries[3] = entries[3].replace(b'"block":1', b'"block":2')
        members["tile/entries/000.p/6"] = format_entries(entries)
        tiles = TreeEdge().append(leaf_hash(entry) for entry in entries).tiles
        members.update({tile.path: content for tile, content in tiles.items()})

    _fails(log.write(tmp_path / "b.zip", change), ProofInvalid, "signed root")


@pytest.mark.parametrize("member", ["log.vkey", "checkpoint", "tile/0/000.p/6", "tile/entries/000.p/6"])
def test_a_missing_part_is_named(log: Log, tmp_path: Path, member: str) -> None:
    """A bundle without one of its parts says which."""
    _fails(log.write(tmp_path / "b.zip", lambda members: members.__delitem__(member)), ProofInvalid, member)


def test_a_missing_document_is_named(log: Log, tmp_path: Path) -> None:
    """An entry that names a document needs it."""
    name = next(name for name in log.members if "/offer/" in name)

    _fails(log.write(tmp_path / "b.zip", lambda members: members.__delitem__(name)), ProofInvalid, name)


def test_a_changed_descriptor_is_refused(log: Log, tmp_path: Path) -> None:
    """A dataset's description is the one that was registered."""

    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if "/dataset/" in name)
        members[name] = members[name].replace(b"Squares", b"Circles")

    _fails(log.write(tmp_path / "b.zip", change), ProofInvalid, "descriptor")


def test_a_changed_offer_is_refused(log: Log, tmp_path: Path) -> None:
    """An offer's document hashes to the offer's id."""

    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if "/offer/" in name)
        members[name] = members[name].replace(b'"unit_price":"5"', b'"unit_price":"6"')

    _fails(log.write(tmp_path / "b.zip", change), ProofInvalid, "offer")


def test_an_offer_signed_by_a_stranger_is_refused(log: Log, tmp_path: Path) -> None:
    """An offer counts under its provider's signature only."""

    def change(members: dict[str, bytes]) -> None:
        name = next(name for name in members if "/offer/" in name)
        view = documents.decode(members[name], OfferView)
        signature = Hex(BUYER.sign_typed_hash(view.signed.digest))
        forged = msgspec.structs.replace(view.signed, signature=signature)
        members[name] = documents.encode(msgspec.structs.replace(view, signed=forged))

    with pytest.raises(DatabundError) as caught:
        audit.verify(log.write(tmp_path / "b.zip", change), key=str(KEY))
    assert caught.value.code == "signature.invalid"


def test_a_decision_that_does_not_follow_is_refused(log: Log, tmp_path: Path) -> None:
    """A recorded decision is decided again from its own facts."""
    record = log.events[4].about["decision"]
    assert isinstance(record, dict)
    record["facts"] = {"purpose": "marketing"}

    with pytest.raises(DatabundError) as caught:
        audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY))
    assert caught.value.code == "content.mismatch"


def test_an_order_that_was_placed_twice_is_refused(log: Log, tmp_path: Path) -> None:
    """The operator cannot log one order as two sales."""
    log.events.append(log.events[2])

    _fails(log.write(tmp_path / "b.zip"), ProofInvalid, "placed twice")


def test_a_license_before_its_order_is_refused(log: Log, tmp_path: Path) -> None:
    """Acts come in the order in which they can happen."""
    log.events[2], log.events[3] = log.events[3], log.events[2]

    _fails(log.write(tmp_path / "b.zip"), ProofInvalid, "before it was placed")


def test_settling_an_undelivered_order_is_refused(log: Log, tmp_path: Path) -> None:
    """An order's entries follow the state machine."""
    del log.events[4:]
    log.add(EventKind.SETTLED, order=ORDER, chain_transaction=CHAIN_TRANSACTION, payments=[])

    _fails(log.write(tmp_path / "b.zip"), ProofInvalid, "licensed when the log has order.settled")


@pytest.mark.parametrize("state", ["placed", "refused"])
def test_a_delivery_before_its_license_is_refused(log: Log, tmp_path: Path, state: str) -> None:
    """A delivery is a further use only of an order that was delivered, not of one that is only placed or refused."""
    del log.events[3]  # the license
    if state == "refused":
        log.events.insert(3, Event(EventKind.REFUSED, 1, "", {"order": ORDER, "offer": "", "reason": "lost"}))

    _fails(log.write(tmp_path / "b.zip"), ProofInvalid, f"{state} when the log has order.delivered")


def test_a_decision_that_was_turned_around_is_refused(log: Log, tmp_path: Path) -> None:
    """An entry that says denied of a decision that permits is not decided the same again."""
    log.events[4].about["permitted"] = False

    _fails(log.write(tmp_path / "b.zip"), ProofInvalid, "opposite")


@pytest.mark.parametrize("at", [-1, 2**53 - 1])
def test_a_time_outside_of_the_calendar_is_refused(log: Log, tmp_path: Path, at: int) -> None:
    """No clock shows such a time, and nobody could print it."""
    log.foreign.append(log.events[-1].entry().replace(b'"at":1,', b'"at":%d,' % at))

    _fails(log.write(tmp_path / "b.zip"), DocumentInvalid, "time")


def test_an_entry_that_is_no_event_is_refused(log: Log, tmp_path: Path) -> None:
    """The log holds events and nothing else."""
    log.foreign.append(b'{"about":{},"at":1,"by":"","kind":"something.else"}')

    _fails(log.write(tmp_path / "b.zip"), DocumentInvalid, "no Event")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 not a zip", b"\0" * 1000])
def test_a_file_that_is_no_bundle_is_refused(tmp_path: Path, content: bytes) -> None:
    """Any other file is refused as damaged, not with a traceback."""
    path = tmp_path / "b.zip"
    path.write_bytes(content)

    _fails(path, ProofInvalid, "damaged")


def test_a_bundle_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path is the caller's mistake, not the log's."""
    _fails(tmp_path / "absent.zip", FileUnusable, "absent")


def test_no_truncation_of_a_bundle_verifies(log: Log, tmp_path: Path) -> None:
    """Wherever the file is cut, it does not verify."""
    whole = log.write(tmp_path / "b.zip").read_bytes()
    cut = tmp_path / "cut.zip"
    for length in range(0, len(whole), 97):
        cut.write_bytes(whole[:length])
        with pytest.raises(DatabundError):
            audit.verify(cut, key=str(KEY))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(log: Log, tmp_path: Path, method: int) -> None:
    """Only what an export uses is unpacked; the dictionaries of others may ask for any amount of memory."""
    path = log.write(tmp_path / "b.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(tmp_path / "c.zip", "w", method) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))

    _fails(tmp_path / "c.zip", ProofInvalid, "packed strangely")


def test_no_flipped_byte_of_a_bundle_is_a_crash(log: Log, tmp_path: Path) -> None:
    """Whatever byte of the ZIP is another one, the bundle verifies or is refused by an error of ours."""
    whole = bytearray(log.write(tmp_path / "b.zip").read_bytes())
    directory = whole.index(b"PK\x01\x02")
    odd = tmp_path / "odd.zip"
    for place in (*range(0, 60), *range(directory, len(whole))):
        whole[place] ^= 0x81
        odd.write_bytes(whole)
        with suppress(DatabundError):
            audit.verify(odd, key=str(KEY))
        whole[place] ^= 0x81


def _anchored(log: Log, size: int, root: bytes) -> None:
    log.add(
        EventKind.ANCHORED,
        size=size,
        root="0x" + root.hex(),
        chain_transaction=CHAIN_TRANSACTION,
        block=9,
        block_hash="0x" + "44" * 32,
    )


def test_an_anchor_of_the_log_is_counted(log: Log, tmp_path: Path) -> None:
    """An anchor whose root is the tree's at its size is one that the chain can be asked for."""
    entries = [event.entry() for event in log.events[:3]]
    _anchored(log, 3, TreeEdge().append(map(leaf_hash, entries)).edge.root())

    assert audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY)).anchored == 1


@pytest.mark.parametrize("size", [0, 3, 100])
def test_an_anchor_of_another_tree_is_refused(log: Log, tmp_path: Path, size: int) -> None:
    """The operator cannot claim an anchor that this log does not have."""
    _anchored(log, size, bytes(32))

    _fails(log.write(tmp_path / "b.zip"), LogForked, "anchored")


def test_an_order_that_the_chain_had_after_all_is_licensed(log: Log, tmp_path: Path) -> None:
    """A sale that seemed refused and is found on the chain later becomes a license."""
    refused = Event(EventKind.REFUSED, 1, "", {"order": ORDER, "offer": "", "reason": "lost"})
    log.events.insert(3, refused)

    assert audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY)).orders == {ORDER: "delivered"}


def test_a_clock_that_jumped_back_is_noted(log: Log, tmp_path: Path) -> None:
    """Entries dated before the one above them are counted, and are no error."""
    log.events[2:] = [msgspec.structs.replace(event, at=0) for event in log.events[2:]]

    assert audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY)).set_back == 1


def test_a_destroyed_key_and_an_observed_license_are_events(log: Log, tmp_path: Path) -> None:
    """Kinds that belong to no order of this node are counted like any other."""
    log.add(EventKind.DESTROYED, attachment="0x" + "55" * 32, reason="consent_withdrawn")
    observed = {"units": 1, "price": "5", "chain_transaction": CHAIN_TRANSACTION, "block": 3, "expiry": None}
    log.add(EventKind.OBSERVED, order="0x" + "66" * 32, offer="0x" + "77" * 32, buyer=str(BUYER.address), **observed)

    kinds = audit.verify(log.write(tmp_path / "b.zip"), key=str(KEY)).kinds
    assert (kinds["key.destroyed"], kinds["license.observed"]) == (1, 1)


def test_a_folder_verifies_like_the_file(log: Log, tmp_path: Path) -> None:
    """Unpacked, the export is the same log, whatever else the web server's folder holds."""
    with zipfile.ZipFile(log.write(tmp_path / "b.zip")) as bundle:
        bundle.extractall(tmp_path / "public")
    (tmp_path / "public" / "index.html").write_text("hello")

    assert audit.verify(tmp_path / "public", key=str(KEY)) == audit.verify(tmp_path / "b.zip", key=str(KEY))


@pytest.mark.parametrize("member", ["log.vkey", "checkpoint", "tile/0/000.p/6", "tile/entries/000.p/6"])
def test_a_folder_without_a_part_is_refused(log: Log, tmp_path: Path, member: str) -> None:
    """What is missing in the folder is named."""
    with zipfile.ZipFile(log.write(tmp_path / "b.zip")) as bundle:
        bundle.extractall(tmp_path / "public")
    (tmp_path / "public" / member).unlink()

    _fails(tmp_path / "public", ProofInvalid, member)
