"""A finished trade in memory whose block and receipt are real ones, and the evidence of it."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import rlp
from trie.hexary import HexaryTrie

from databund.app.attaching import Attaching, attach
from databund.app.evidencing import Evidencing, Signers, sealed
from databund.core import canonical, statements
from databund.core.archives import pack, unpack
from databund.core.attachments import ErasureReason
from databund.core.chain_proofs import ReceiptProof
from databund.core.events import Event, EventKind
from databund.core.evidence import DSSE, PREDICATE_TYPE, SIGSTORE
from databund.core.ids import Address, Commitment, OrderId, keccak256
from databund.core.offers import Offer
from databund.core.orders import Order
from databund.crypto.signatures import verify_ed25519
from databund.errors import DatabundError
from databund.ports import ChainOutcome
from databund.sdk.evidence import standalone_verifier
from databund.tlog.checkpoints import read_unverified, sign_checkpoint
from databund.tlog.cosignatures import cosignature_verifier
from databund.tlog.notes import Verifier, VerifierKey, ed25519_signer
from tests.unit.marketplace import BUYER, NOW, OPERATOR, Marketplace
from tests.unit.tlog_keys import Key, witness_key

SIGNERS = Signers(OPERATOR.log_key, OPERATOR.statement_key)
WITNESS: Key = witness_key("witness.example")
BLOCK_RECEIPTS = 20
INDEX = 7

_SOLD = keccak256(b"LicenseSold(bytes32,address,address,bytes32,uint64,uint256,address,uint64)")
_TRANSFER = keccak256(b"Transfer(address,address,uint256)")


def word(value: int | bytes | Address) -> bytes:
    """A value as 32 bytes."""
    return value.to_bytes(32) if isinstance(value, int) else bytes(value).rjust(32, b"\0")


@dataclass
class Block:
    """A block with other receipts around the one that matters. Its parts can be changed before it is read.

    ``others`` makes of the logs of the sale those of the whole chain transaction.
    """

    market: Marketplace
    order: Order
    outcome: ChainOutcome
    status: int = 1
    others: Callable[[list[Any]], list[Any]] = list

    def logs(self) -> list[Any]:
        """What the smart contracts of the exchange recorded: who was paid, and what was sold."""
        domain, currency = self.market.exchange.domain, self.market.exchange.currency.address
        with self.market.database.read() as tables:
            offer = tables.listings.get(self.order.offer_id).signed.offer
        paid = [
            [bytes(currency), [_TRANSFER, word(domain.exchange), word(payment.account)], word(payment.amount)]
            for payment in self.outcome.payments
        ]
        expiry = 2**64 - 1 if self.outcome.expiry is None else self.outcome.expiry
        data = (self.order.id, self.order.units, self.order.price, currency, expiry)
        topics = [_SOLD, word(offer.id), word(self.order.buyer), word(offer.provider)]
        sold = [bytes(domain.exchange), topics, b"".join(word(each) for each in data)]  # type: ignore[arg-type]
        return self.others([*paid, sold])

    def proof(self) -> ReceiptProof:
        """The proof of the receipt, by other people's RLP and trie."""
        trie = HexaryTrie({})
        for index in range(BLOCK_RECEIPTS):
            logs = self.logs() if index == INDEX else []
            status = self.status if index == INDEX else 1
            trie[rlp.encode(index)] = b"\x02" + rlp.encode([status, 21_000 * (index + 1), bytes(256), logs])
        nodes = [rlp.encode(node) for node in trie.get_proof(rlp.encode(INDEX))]
        header = [bytes(32)] * 5 + [trie.root_hash, bytes(256), 0, self.outcome.block, 10**7, 21_000, 1_800_000_000]
        header += [b"", bytes(32), bytes(8), 0]
        whole = tuple(node for at, node in enumerate(nodes) if at == 0 or len(node) >= 32)
        return ReceiptProof(rlp.encode(header), INDEX, whole)


class Trade:
    """An order that was bought, and what can be done with it next."""

    def __init__(self, conditions: dict[str, Any] | None = None) -> None:
        self.market = Marketplace()
        self.market.bought(conditions)
        self.order = self.market.orders()[0]
        records = self.market.database._records
        outcome = records.outcomes[self.order.chain_transaction]
        self.block = Block(self.market, self.order, outcome)
        found = "0x" + keccak256(self.block.proof().header).hex()
        records.outcomes[outcome.hash] = msgspec.structs.replace(outcome, block_hash=found)

    @property
    def id(self) -> OrderId:
        """The order's id."""
        return self.order.id

    @property
    def vkey(self) -> VerifierKey:
        """The log's key."""
        return self.market.vkey

    def market_offer(self) -> Offer:
        """The offer that was bought."""
        with self.market.database.read() as tables:
            return tables.listings.get(self.order.offer_id).signed.offer

    def delivered(self, **declared: Any) -> Trade:
        """Deliver once."""
        self.market.delivering.deliver(BUYER.address, self.market.request(self.order.offer_id, **declared))
        return self

    def certified(self) -> Trade:
        """Settle and certify."""
        self.market.clearing.certify(BUYER.address, self.id)
        return self

    def attached(self) -> Commitment:
        """Log the last decision again, with an attachment about the buyer."""
        last = next(event for event in reversed(self.market.entries()) if event.kind is EventKind.DECIDED)
        with self.market.database.write() as tables:
            commitment = attach(tables, BUYER.address, {"purpose": "for the study"}, at=NOW)
            about = {**last.about, "attachment": str(commitment)}
            self.market.auditor.append(tables, Event(EventKind.DECIDED, NOW, last.by, about))
        return commitment

    def misdecided(self) -> Trade:
        """Log the last decision as if it had been made on other facts."""
        last = next(event for event in reversed(self.market.entries()) if event.kind is EventKind.DECIDED)
        decision = {**last.about["decision"], "facts": {"purpose": "urn:example:other"}}  # type: ignore[dict-item]
        with self.market.database.write() as tables:
            self.market.auditor.append(tables, Event(last.kind, NOW, last.by, {**last.about, "decision": decision}))
        return self

    def logged(self, kind: EventKind, *, at: int = NOW, by: object = OPERATOR.address, **about: Any) -> Trade:
        """Log anything about the order, as an operator could."""
        with self.market.database.write() as tables:
            self.market.auditor.append(tables, Event(kind, at, str(by), about))
        return self

    def erased(self, commitment: Commitment) -> Trade:
        """Erase an attachment, an hour later."""
        self.market.now += 3600
        self.attaching().erase(OPERATOR.address, commitment, reason=ErasureReason.CONSENT_WITHDRAWN)
        return self

    def attaching(self) -> Attaching:
        """The use case that keeps attachments."""
        return Attaching(self.market.database, self.market.auditor, OPERATOR.address, self.market.clock)

    def cosigned(self) -> Trade:
        """Have a witness cosign the newest checkpoint."""
        with self.market.database.write() as tables:
            note = tables.log.checkpoint()
            assert note is not None
            checkpoint = read_unverified(note)
            both = [ed25519_signer(self.vkey, OPERATOR.log_key.sign), WITNESS.signer()]
            tables.cosigned.add(checkpoint.size, sign_checkpoint(checkpoint, both).to_bytes())
        return self

    def evidencing(self) -> Evidencing:
        """The use case over this market."""
        return Evidencing(
            database=self.market.database,
            attaching=self.attaching(),
            key=self.vkey,
            signers=SIGNERS,
            operator=OPERATOR.address,
            prove=lambda _hash: self.block.proof(),
            verifier=standalone_verifier(),
        )

    def bundle(self, **options: Any) -> bytes:
        """The evidence."""
        return self.evidencing().bundle(BUYER.address, self.id, **options)


def changed(bundle: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The bundle with other members, signed again by the operator: what a lying operator could make."""
    members = unpack(bundle)
    envelope: Any = canonical.parse(members.pop(DSSE))
    told: Any = canonical.parse(b64decode(envelope["payload"]))
    del members[SIGSTORE]
    change(members)
    try:
        return sealed(members, signers=SIGNERS)
    except DatabundError:  # the story cannot be told; the old one stands in the statement
        payload = statements.statement(members, predicate_type=PREDICATE_TYPE, predicate=told["predicate"])
        return stated(members, payload, key_id=envelope["signatures"][0]["keyid"])


def stated(members: dict[str, bytes], payload: bytes, *, key_id: str) -> bytes:
    """The bundle of these members with any statement, signed by the operator's keys."""
    message, hint = statements.pae(payload), key_id.split("+")[0] + "/statement"
    ours, theirs = SIGNERS.log.sign(message), SIGNERS.statement.sign(message)
    both = {
        DSSE: statements.envelope(payload, key_id=key_id, signature=ours),
        SIGSTORE: statements.sigstore_bundle(payload, hint=hint, signature=theirs),
    }
    return pack({**members, **both})


def cosigner(key: VerifierKey) -> Verifier:
    """What checks a witness's cosignatures."""
    return cosignature_verifier(key, verify_ed25519)
