"""An exchange in memory with all its use cases, a provider who sells one dataset, and a buyer with money."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import msgspec
from blake3 import blake3

from databund.app.anchoring import Anchoring
from databund.app.auditing import Auditor
from databund.app.clearing import Clearing
from databund.app.delivering import Delivering
from databund.app.observing import Observing
from databund.app.publishing import Publishing
from databund.app.purchasing import Purchasing
from databund.app.relaying import Relaying
from databund.app.signing_in import SigningIn
from databund.core import canonical
from databund.core.amounts import Amount
from databund.core.datasets import Dataset
from databund.core.events import Event
from databund.core.ids import Bytes32, ContentRoot, DeliveryId, Hex, OfferId
from databund.core.manifests import Manifest, SealedFile
from databund.core.messages import DeliveryRequest
from databund.core.offers import Offer, SignedOffer, Split, cancel_hash, order_id, payment_digest
from databund.core.orders import Order, Purchase
from databund.core.policies import usage_policy
from databund.core.terms import party_of, target_of, terms_hash
from databund.crypto.content_keys import ContentKey
from databund.crypto.identities import Identity
from databund.crypto.sealing import seal
from databund.crypto.signatures import verify_ed25519
from databund.crypto.wrapping import wrap
from databund.errors import ChainUnavailable, StoreUnavailable
from databund.ports import Listing
from databund.testing.faults import InterruptedDatabase, Interruption, interrupted
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_exchange import MemoryExchange
from databund.testing.memory_heads import MemoryHeads
from databund.testing.memory_ledger import MemoryChain, MemoryChainEvents, MemoryLedger, MemoryRelayer
from databund.testing.memory_objects import MemoryObjects
from databund.tlog.checkpoints import open_checkpoint
from databund.tlog.merkle import leaf_hash, tree_root
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer, ed25519_verifier

NOW = 1_800_000_000
PRICE = Amount(10_000_000)
DEPOSIT = 5 * PRICE
YEAR_S = 31_536_000
ORIGIN = "exchange.example/audit"


def identity(name: str) -> Identity:
    """A key of this name: the same in every run."""
    return Identity(hashlib.sha256(name.encode()).digest())


OPERATOR, PROVIDER, BUYER, STRANGER = map(identity, ("operator", "provider", "buyer", "stranger"))
FEE = Split(OPERATOR.address, 100)
CONTENT_KEY = ContentKey(b"\7" * 32)
WRAPPED_KEY = wrap(CONTENT_KEY, [OPERATOR.age_recipient])
TEXT = b"time,value\n0,1\n"


def sealed(version: int) -> bytes:
    """The sealed blob of a version: one file."""
    sink = io.BytesIO()
    seal(io.BytesIO(TEXT * version), sink, CONTENT_KEY)
    return sink.getvalue()


BLOBS = {version: sealed(version) for version in (1, 2, 3)}


def dataset(**changes: Any) -> Dataset:
    """Version 1 of the provider's dataset, or another."""
    version = changes.get("version", 1)
    blob = BLOBS[version]
    file = SealedFile(path="data.csv", size=len(TEXT * version), offset=0, length=len(blob))
    manifest = Manifest(files=(file,), size=len(blob), root=ContentRoot(blake3(blob).digest()))
    members: dict[str, Any] = {
        "provider": PROVIDER.address,
        "name": "readings",
        "version": version,
        "title": "Readings",
        "description": "",
        "manifest": manifest,
        "created_at": NOW,
    }
    return Dataset(**{**members, **changes})


@dataclass
class Marketplace:
    """The use cases over ports in memory. ``now`` is the clock's; each step can be done again with the same result.

    ``interruption`` is what befalls the ports; another one takes its place by `wire`.
    """

    now: int = NOW
    interruption: Interruption = field(default_factory=lambda: Interruption(0))

    def __post_init__(self) -> None:
        self.exchange = MemoryExchange(OPERATOR.address, self.clock)
        self.chain = MemoryChain(self.exchange)
        self.database = MemoryDatabase()
        self.heads = MemoryHeads()
        self.objects = MemoryObjects()
        for version, blob in BLOBS.items():
            self.objects.put(str(dataset(version=version).content_root), [blob])
        self.vkey = VerifierKey(ORIGIN, SignatureType.ED25519, OPERATOR.log_key.public)
        self._random = count()
        self.wire(self.interruption)

    def wire(self, interruption: Interruption) -> None:
        """Make the use cases anew over the same records, chain and blobs, as after a crash."""
        database = InterruptedDatabase(self.database, interruption)
        self.memory_ledger, self.memory_relayer = MemoryLedger(self.chain), MemoryRelayer(self.chain, OPERATOR.address)
        ledger = interrupted(self.memory_ledger, interruption, error=ChainUnavailable)
        relayer = interrupted(self.memory_relayer, interruption, error=ChainUnavailable)
        objects = interrupted(self.objects, interruption, error=StoreUnavailable)
        heads = interrupted(self.heads, interruption, error=StoreUnavailable)
        verifier = ed25519_verifier(self.vkey, verify_ed25519)
        self.auditor = Auditor(ORIGIN, ed25519_signer(self.vkey, OPERATOR.log_key.sign), verifier, heads)
        self.database.sealer = self.auditor
        self.relaying = Relaying(database, relayer, timeout_s=0.0)
        self.signing_in = SigningIn(database, ledger, self.clock, lambda: f"random{next(self._random):08}")
        self.publishing = Publishing(database, objects, ledger, self.relaying, self.auditor, OPERATOR, self.clock, FEE)
        self.purchasing = Purchasing(database, self.relaying, self.auditor, self.clock)
        self.delivering = Delivering(database, ledger, self.auditor, OPERATOR, self.clock)
        self.clearing = Clearing(database, self.auditor, OPERATOR.address, self.clock)
        self.chain_events = MemoryChainEvents(self.chain)
        events = interrupted(self.chain_events, interruption, error=ChainUnavailable)
        self.observing = Observing(database, events, self.auditor, OPERATOR.address, 0, self.clock)
        self.anchoring = Anchoring(
            database, self.relaying, ledger, self.auditor, ORIGIN, self.clock, period_s=3600, max_cost=100
        )

    def clock(self) -> int:
        """The time, Unix seconds."""
        return self.now

    # What people sign

    def policy(self, of: Dataset | None = None, **conditions: Any) -> bytes:
        """The ODRL offer of a dataset version, on these conditions."""
        policy = usage_policy(
            "urn:example:policy",
            target_of(of or dataset()),
            assigner=party_of(PROVIDER.address, self.exchange.domain.chain_id),
            **conditions,
        )
        return canonical.canonicalize(policy.document())

    def offer(self, policy: bytes | None = None, **changes: Any) -> SignedOffer:
        """An offer of one year for 10.00, signed by the provider."""
        offer = Offer(
            provider=PROVIDER.address,
            dataset=dataset().id,
            content_root=dataset().content_root,
            terms_hash=terms_hash(policy or self.policy()),
            currency=self.exchange.currency.address,
            unit_price=PRICE,
            duration_s=YEAR_S,
            uses=0,
            supply=0,
            transferable=False,
            splits=(FEE,),
            valid_until=NOW + YEAR_S,
            salt=Bytes32(bytes(32)),
        )
        offer = msgspec.structs.replace(offer, **changes)
        signature = PROVIDER.sign_typed_hash(self.exchange.domain.digest(bytes(offer.id)))
        return SignedOffer(offer, self.exchange.domain, Hex(signature))

    def withdrawal(self, offer_id: OfferId) -> bytes:
        """The provider's signature that withdraws an offer."""
        return PROVIDER.sign_typed_hash(self.exchange.domain.digest(cancel_hash(offer_id)))

    def purchase(self, offer: Offer, *, salt: int = 0, units: int = 1, **changes: Any) -> Purchase:
        """What the buyer signs."""
        order = order_id(offer.id, BUYER.address, units, Bytes32(salt.to_bytes(32)))
        validity = (changes.get("valid_after", 0), changes.get("valid_before", NOW + 3600))
        digest = payment_digest(
            self.exchange.currency,
            self.exchange.domain,
            order=order,
            payer=BUYER.address,
            price=Amount(offer.unit_price * units),
            validity=validity,
        )
        return Purchase(
            buyer=BUYER.address,
            units=units,
            salt=Bytes32(salt.to_bytes(32)),
            valid_after=validity[0],
            valid_before=validity[1],
            signature=Hex(BUYER.sign_typed_hash(digest)),
        )

    def request(self, offer_id: OfferId, *, number: int = 1, **declared: Any) -> DeliveryRequest:
        """What the buyer asks for; each number is another delivery."""
        members = {"recipient": str(BUYER.age_recipient), **declared}
        return DeliveryRequest(id=DeliveryId(number.to_bytes(32)), offer_id=offer_id, **members)

    # Steps

    def listed(self, conditions: dict[str, Any] | None = None, **changes: Any) -> Listing:
        """Register the dataset and list an offer of it."""
        policy = self.policy(**conditions or {})
        self.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
        return self.publishing.list_offer(self.offer(policy, **changes), policy)

    def credit(self) -> None:
        """Give the buyer money."""
        self.purchasing.issue(BUYER.address, Amount(DEPOSIT), reference=Bytes32(bytes(32)))

    def bought(self, conditions: dict[str, Any] | None = None, **changes: Any) -> Listing:
        """As `listed`, with one unit sold to the buyer."""
        listing = self.listed(conditions, **changes)
        self.credit()
        offer = listing.signed.offer
        self.purchasing.buy(offer.id, self.purchase(offer))
        return listing

    # What is there

    def orders(self) -> list[Order]:
        """The orders, newest first."""
        with self.database.read() as tables:
            return list(tables.orders.find())

    def entries(self) -> list[Event]:
        """The audit log, after checking that its checkpoint is signed over exactly these entries."""
        with self.database.read() as tables:
            note, entries = tables.log.checkpoint(), tables.log.entries(0, 10_000)
        if note is None:
            return []
        verifier = ed25519_verifier(self.vkey, verify_ed25519)
        checkpoint = open_checkpoint(note, origin=ORIGIN, log=[verifier]).checkpoint
        assert checkpoint.size == len(entries)
        assert checkpoint.root == tree_root([leaf_hash(entry) for entry in entries])
        return [Event.read(entry) for entry in entries]

    def kinds(self) -> list[str]:
        """What the entries of the verified log are about, in order."""
        return [event.kind.value for event in self.entries()]
