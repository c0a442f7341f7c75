"""The conformance suite of `ports.Ledger`, `ports.Relayer` and `ports.ChainEvents`, on every kind of node.

Subclass `LedgerSuite` and give it the fixture ``market``: a freshly deployed exchange, as a `Market`. Offers and
payments are signed with the hashes of `databund.core.offers`, so the suite also proves that the smart contracts agree.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import msgspec
import pytest

from databund.core.amounts import Amount, Payment
from databund.core.chain_events import AnchorRecorded, Fate, LicenseSold, OfferWithdrawn
from databund.core.ids import Address, Bytes32, ContentRoot, DatasetId, Hex
from databund.core.licenses import License
from databund.core.offers import Offer, SignedOffer, Split, cancel_hash, order_id, payment_digest
from databund.core.orders import Purchase
from databund.crypto.identities import Identity
from databund.errors import (
    AmountInvalid,
    ChainUnavailable,
    InsufficientFunds,
    LogForked,
    NotFound,
    OfferCancelled,
    OfferExpired,
    OfferForged,
    PaymentInvalid,
    SupplyExhausted,
    WrongChain,
)
from databund.ports import Call, ChainEvents, ChainOutcome, ChainTransaction, Ledger, OfferState, Relayer

__all__ = ["LedgerSuite", "Market"]

_UNIT = Amount(10_000_000)
_YEAR_S = 31_536_000
_NEVER = 2**40


@dataclass(frozen=True)
class Market:
    """One exchange under test. Its relayer operates it, can pay for gas, and is used by nobody else.

    ``reopened`` makes a new adapter of the same relayer, as after a crash. ``wallet_of`` deploys a smart contract whose
    ERC-1271 signatures are those of a key. ``unreachable`` are adapters of this exchange whose node does not answer.
    """

    ledger: Ledger
    relayer: Relayer
    events: ChainEvents
    reopened: Callable[[], Relayer]
    wallet_of: Callable[[Address], Address]
    unreachable: tuple[Ledger, Relayer, ChainEvents]
    provider: Identity = field(default_factory=Identity.generate)
    fee_account: Address = field(default_factory=lambda: Identity.generate().address)
    _salts: count[int] = field(default_factory=count)

    def salt(self) -> Bytes32:
        """One that was not used before."""
        return Bytes32(next(self._salts).to_bytes(32))

    def settle(self, call: Call) -> ChainOutcome:
        """Sign, send and wait."""
        return self.finish(self.relayer.sign(call, nonce=self.relayer.next_nonce()))

    def finish(self, chain_transaction: ChainTransaction) -> ChainOutcome:
        """Send and wait."""
        outcome = self.relayer.outcome(chain_transaction, timeout_s=30)
        assert outcome is not None
        return outcome

    def buyer(self, amount: int = 10 * _UNIT) -> Identity:
        """A new account with money and no gas."""
        buyer = Identity.generate()
        if amount:
            self.settle(self.relayer.prepare_issue(buyer.address, Amount(amount)))
        return buyer

    def terms(self, **changed: object) -> Offer:
        """A new offer of one year for 10.00, of which 1 % goes to the fee account."""
        offer = Offer(
            provider=self.provider.address,
            dataset=DatasetId.of(self.provider.address, "suite"),
            content_root=ContentRoot(bytes(32)),
            terms_hash=Bytes32(bytes(32)),
            currency=self.ledger.currency().address,
            unit_price=_UNIT,
            duration_s=_YEAR_S,
            uses=0,
            supply=0,
            transferable=False,
            splits=(Split(self.fee_account, 100),),
            valid_until=_NEVER,
            salt=self.salt(),
        )
        return msgspec.structs.replace(offer, **changed)

    def offer(self, **changed: object) -> SignedOffer:
        """Such an offer, signed."""
        offer, domain = self.terms(**changed), self.ledger.domain()
        signature = self.provider.sign_typed_hash(domain.digest(bytes(offer.id)))
        return SignedOffer(offer, domain, Hex(signature))

    def purchase(
        self,
        offer: SignedOffer,
        buyer: Identity,
        *,
        units: int = 1,
        validity: tuple[int, int] = (0, _NEVER),
        signer: Identity | None = None,
    ) -> Purchase:
        """What the buyer signs."""
        salt = self.salt()
        digest = payment_digest(
            self.ledger.currency(),
            self.ledger.domain(),
            order=order_id(offer.offer.id, buyer.address, units, salt),
            payer=buyer.address,
            price=Amount(offer.offer.unit_price * units),
            validity=validity,
        )
        return Purchase(
            buyer=buyer.address,
            units=units,
            salt=salt,
            valid_after=validity[0],
            valid_before=validity[1],
            signature=Hex((signer or buyer).sign_typed_hash(digest)),
        )

    def prepare(self, offer: SignedOffer, buyer: Identity, *, units: int = 1) -> Call:
        """Sign the payment and try it."""
        return self.relayer.prepare_purchase(offer, self.purchase(offer, buyer, units=units))

    def buy(self, offer: SignedOffer, buyer: Identity, *, units: int = 1) -> ChainOutcome:
        """Buy, and wait."""
        return self.settle(self.prepare(offer, buyer, units=units))

    def cancel(self, offer: SignedOffer, by: Identity) -> ChainOutcome:
        """Withdraw an offer with a signature."""
        signature = by.sign_typed_hash(offer.domain.digest(cancel_hash(offer.offer.id)))
        return self.settle(self.relayer.prepare_cancellation(offer, signature))


class LedgerSuite:
    """Subclass it, and give the fixture ``market`` (of any scope: each test makes its own offers and buyers)."""

    @pytest.fixture
    def market(self) -> Market:
        """The adapter under test."""
        raise NotImplementedError("Override this fixture.")

    # Reading

    def test_nothing_is_known_of_a_new_offer(self, market: Market) -> None:
        """An offer that was never sold is neither cancelled nor sold, and nobody holds it."""
        offer_id, holder = market.terms().id, Identity.generate().address
        assert market.ledger.offer_state(offer_id) == OfferState(cancelled=False, sold=0)
        assert market.ledger.license(holder, offer_id).units == 0

    def test_credit_is_issued_in_the_currency(self, market: Market) -> None:
        """What the relayer issues is what the account holds, and the outcome names it."""
        account = Identity.generate().address
        outcome = market.settle(market.relayer.prepare_issue(account, Amount(25)))
        assert outcome.succeeded
        assert outcome.payments == (Payment(account, Amount(25)),)
        assert market.ledger.balance(account) == 25

    # Signatures

    def test_an_account_signs(self, market: Market) -> None:
        """A signature by the account's own key is accepted."""
        offer = market.offer()
        market.ledger.check_signature(market.provider.address, offer.digest, signature=offer.signature)

    def test_a_smart_contract_signs(self, market: Market) -> None:
        """A company wallet can sign offers (ERC-1271), and they are sold; another key's signature is not its."""
        wallet = market.wallet_of(market.provider.address)
        offer = market.offer(provider=wallet)
        market.ledger.check_signature(wallet, offer.digest, signature=offer.signature)
        assert market.buy(offer, market.buyer()).succeeded
        with pytest.raises(OfferForged):
            market.ledger.check_signature(
                wallet, offer.digest, signature=Identity.generate().sign_typed_hash(offer.digest)
            )

    @pytest.mark.parametrize("length", [0, 64, 65, 66, 97])
    def test_a_strange_signature_is_refused(self, market: Market, length: int) -> None:
        """Bytes that are no signature of the account are refused, whatever their length."""
        with pytest.raises(OfferForged):
            market.ledger.check_signature(market.provider.address, Bytes32(b"\1" * 32), signature=b"\1" * length)

    # Buying

    def test_a_purchase_pays_and_licenses(self, market: Market) -> None:
        """One chain transaction moves the whole price to provider and fee account, and gives the license."""
        offer, buyer, before = market.offer(uses=5), market.buyer(), int(time.time())
        outcome = market.buy(offer, buyer, units=2)
        assert outcome.succeeded
        assert set(outcome.payments) == {
            Payment(market.provider.address, Amount(2 * _UNIT * 99 // 100)),
            Payment(market.fee_account, Amount(2 * _UNIT // 100)),
        }
        held = market.ledger.license(buyer.address, offer.offer.id)
        assert held == License(buyer.address, offer.offer.id, 2, outcome.expiry, 10)
        assert held.expiry is not None
        assert before <= held.expiry - 2 * _YEAR_S < before + 3600
        assert market.ledger.balance(buyer.address) == 8 * _UNIT

    def test_a_perpetual_license_has_no_expiry(self, market: Market) -> None:
        """A term that never ends is None, in the outcome and in the record."""
        offer, buyer = market.offer(duration_s=0), market.buyer()
        assert market.buy(offer, buyer).expiry is None
        assert market.ledger.license(buyer.address, offer.offer.id).expiry is None

    def test_a_renewal_extends_the_term(self, market: Market) -> None:
        """Buying again adds a whole term to the end of the first."""
        offer, buyer = market.offer(), market.buyer()
        first, second = market.buy(offer, buyer), market.buy(offer, buyer)
        assert first.expiry is not None
        assert second.expiry == first.expiry + _YEAR_S

    def test_a_free_offer_is_licensed(self, market: Market) -> None:
        """A price of 0 needs the buyer's consent and no money."""
        offer, buyer = market.offer(unit_price=Amount(0)), market.buyer(0)
        outcome = market.buy(offer, buyer)
        assert outcome.succeeded
        assert market.ledger.license(buyer.address, offer.offer.id).units == 1

    def test_a_limited_supply_is_counted(self, market: Market) -> None:
        """What is sold of a limited offer is known, and no more than its supply is sold."""
        offer, buyer = market.offer(supply=3), market.buyer()
        market.buy(offer, buyer, units=2)
        assert market.ledger.offer_state(offer.offer.id).sold == 2
        with pytest.raises(SupplyExhausted, match=r"1 units are left"):
            market.prepare(offer, buyer, units=2)

    # Refusals

    def test_too_little_money_is_named(self, market: Market) -> None:
        """A buyer who cannot pay is told what is there and what is needed, in the currency."""
        currency = market.ledger.currency()
        with pytest.raises(InsufficientFunds) as caught:
            market.prepare(market.offer(), market.buyer(1))
        assert currency.format(1) in caught.value.what
        assert currency.format(_UNIT) in caught.value.what

    def test_an_expired_offer_is_refused(self, market: Market) -> None:
        """An offer cannot be bought after its last second."""
        with pytest.raises(OfferExpired, match="2001-09-09 01:46:40 UTC"):
            market.prepare(market.offer(valid_until=1_000_000_000), market.buyer())

    def test_a_cancelled_offer_is_refused(self, market: Market) -> None:
        """A provider's signature withdraws the offer; it cannot be bought, nor withdrawn again."""
        offer, buyer = market.offer(), market.buyer()
        assert market.cancel(offer, market.provider).succeeded
        assert market.ledger.offer_state(offer.offer.id).cancelled
        with pytest.raises(OfferCancelled):
            market.prepare(offer, buyer)
        with pytest.raises(OfferCancelled):
            market.cancel(offer, market.provider)

    def test_only_the_provider_cancels(self, market: Market) -> None:
        """A withdrawal that somebody else signed is refused, and the offer goes on selling."""
        offer = market.offer()
        with pytest.raises(OfferForged):
            market.cancel(offer, Identity.generate())
        assert market.buy(offer, market.buyer()).succeeded

    @pytest.mark.parametrize(
        "change", [{"unit_price": Amount(1)}, {"duration_s": 2 * _YEAR_S}, {"content_root": ContentRoot(b"\2" * 32)}]
    )
    def test_a_forged_offer_is_refused(self, market: Market, change: dict[str, object]) -> None:
        """Whoever changes price, term or content of a signed offer cannot buy it."""
        offer = market.offer()
        forged = msgspec.structs.replace(offer, offer=msgspec.structs.replace(offer.offer, **change))
        with pytest.raises(OfferForged):
            market.prepare(forged, market.buyer())

    def test_a_strangers_payment_is_refused(self, market: Market) -> None:
        """Nobody buys with the money of somebody who did not sign."""
        offer, buyer = market.offer(), market.buyer()
        purchase = market.purchase(offer, buyer, signer=Identity.generate())
        with pytest.raises(PaymentInvalid):
            market.relayer.prepare_purchase(offer, purchase)

    def test_a_payment_is_bound_to_its_order(self, market: Market) -> None:
        """A payment signed for one offer does not buy another."""
        offer, other, buyer = market.offer(), market.offer(), market.buyer()
        with pytest.raises(PaymentInvalid):
            market.relayer.prepare_purchase(other, market.purchase(offer, buyer))

    @pytest.mark.parametrize("validity", [(0, 1_000_000_000), (_NEVER - 1, _NEVER)])
    def test_a_payment_is_valid_in_its_time(self, market: Market, validity: tuple[int, int]) -> None:
        """A payment that is over, or has not begun, is refused."""
        offer, buyer = market.offer(), market.buyer()
        purchase = market.purchase(offer, buyer, validity=validity)
        with pytest.raises(PaymentInvalid):
            market.relayer.prepare_purchase(offer, purchase)

    @pytest.mark.parametrize("change", [{"signature": Hex(b"\1" * 64)}, {"valid_after": -1}, {"valid_before": 2**256}])
    def test_a_malformed_payment_is_refused(self, market: Market, change: dict[str, object]) -> None:
        """A payment whose numbers or bytes cannot be right is refused as such."""
        offer = market.offer()
        purchase = msgspec.structs.replace(market.purchase(offer, market.buyer(0)), **change)
        with pytest.raises(PaymentInvalid):
            market.relayer.prepare_purchase(offer, purchase)

    @pytest.mark.parametrize("units", [-1, 0, 2**64])
    def test_impossible_units_are_refused(self, market: Market, units: int) -> None:
        """No units, fewer, or more than a license can hold are refused."""
        offer = market.offer()
        purchase = msgspec.structs.replace(market.purchase(offer, market.buyer(0)), units=units)
        with pytest.raises(AmountInvalid):
            market.relayer.prepare_purchase(offer, purchase)

    def test_offers_for_elsewhere_are_refused(self, market: Market) -> None:
        """An offer for another chain, exchange or currency is refused before anything is sent."""
        offer, stranger = market.offer(), Identity.generate().address
        domain, (_, unreachable, _) = offer.domain, market.unreachable
        purchase = market.purchase(offer, Identity.generate())
        for wrong in (
            msgspec.structs.replace(offer, domain=msgspec.structs.replace(domain, chain_id=domain.chain_id + 1)),
            msgspec.structs.replace(offer, domain=msgspec.structs.replace(domain, exchange=stranger)),
            market.offer(currency=stranger),
        ):
            with pytest.raises(WrongChain):
                unreachable.prepare_purchase(wrong, purchase)
            with pytest.raises(WrongChain):
                unreachable.prepare_cancellation(wrong, b"")

    # Anchoring

    def test_a_tree_head_is_anchored(self, market: Market) -> None:
        """What was anchored last is read back, by its sender and log; before there is nothing."""
        origin, root = f"log.example/{market.salt()}", b"\1" * 32
        assert market.ledger.anchored(origin, market.relayer.signer) is None
        call = market.relayer.prepare_anchor(origin, size=3, root=root)
        assert market.relayer.cost(call) >= 0
        assert market.settle(call).succeeded
        assert market.ledger.anchored(origin, market.relayer.signer) == (3, root)
        assert market.ledger.anchored(origin, market.provider.address) is None
        assert market.settle(market.relayer.prepare_anchor(origin, size=5, root=root)).succeeded
        assert market.ledger.anchored(origin, market.relayer.signer) == (5, root)

    @pytest.mark.parametrize(("size", "root"), [(2, b"\1"), (3, b"\2")])
    def test_an_anchored_log_neither_shrinks_nor_forks(self, market: Market, size: int, root: bytes) -> None:
        """A smaller tree, or another one of the same size, is refused before anything is sent."""
        origin = f"log.example/{market.salt()}"
        market.settle(market.relayer.prepare_anchor(origin, size=3, root=b"\1" * 32))
        with pytest.raises(LogForked):
            market.relayer.prepare_anchor(origin, size=size, root=root * 32)

    # Events

    def test_a_sale_is_an_event(self, market: Market) -> None:
        """A settled purchase is told with its order, its place, and what each account received."""
        offer, buyer = market.offer(), market.buyer()
        purchase = market.purchase(offer, buyer, units=2)
        outcome = market.settle(market.relayer.prepare_purchase(offer, purchase))
        sales = [event for event in market.events.between(outcome.block, outcome.block) if type(event) is LicenseSold]
        (sale,) = [sale for sale in sales if sale.place.chain_transaction == outcome.hash]
        assert (sale.place.block, sale.place.block_hash) == (outcome.block, outcome.block_hash)
        assert sale.order_id == order_id(offer.offer.id, buyer.address, 2, purchase.salt)
        assert (sale.offer_id, sale.buyer, sale.units) == (offer.offer.id, buyer.address, 2)
        assert (sale.price, sale.payments, sale.expiry) == (2 * _UNIT, outcome.payments, outcome.expiry)

    def test_a_perpetual_and_free_sale_is_an_event(self, market: Market) -> None:
        """A license without end has no expiry in its event, and what cost nothing paid nobody."""
        outcome = market.buy(market.offer(unit_price=Amount(0), duration_s=0), market.buyer(0))
        events = market.events.between(outcome.block, outcome.block)
        (sale,) = [event for event in events if event.place.chain_transaction == outcome.hash]
        assert isinstance(sale, LicenseSold)
        assert (sale.price, sale.payments, sale.expiry) == (0, (), None)

    def test_a_withdrawal_is_an_event(self, market: Market) -> None:
        """A withdrawn offer is told with its provider and place."""
        offer = market.offer()
        outcome = market.cancel(offer, market.provider)
        (event,) = market.events.between(outcome.block, outcome.block)
        assert event == OfferWithdrawn(event.place, offer.offer.id, market.provider.address)
        assert (event.place.chain_transaction, event.place.block_hash) == (outcome.hash, outcome.block_hash)

    def test_an_anchor_is_an_event(self, market: Market) -> None:
        """An anchored tree head is told with its sender and the hash of its log's name."""
        origin = f"log.example/{market.salt()}"
        outcome = market.settle(market.relayer.prepare_anchor(origin, size=7, root=b"\3" * 32))
        (event,) = market.events.between(outcome.block, outcome.block)
        name = hashlib.sha256(origin.encode()).digest()
        assert event == AnchorRecorded(event.place, market.relayer.signer, name, 7, b"\3" * 32)
        assert event.place.block == outcome.block

    def test_events_come_in_the_order_of_the_chain(self, market: Market) -> None:
        """A range of blocks gives each of their events once, and a part of it a part of them."""
        first, last = (market.cancel(market.offer(), market.provider).block for _ in range(2))
        events = market.events.between(first, last)
        assert [event.place.block for event in events] == sorted(event.place.block for event in events)
        assert market.events.between(first, last - 1) == events[:-1]

    def test_blocks_are_final(self, market: Market) -> None:
        """A final block has one hash; one that is not there yet, and its events, are not found."""
        outcome = market.settle(market.relayer.prepare_issue(market.provider.address, Amount(1)))
        assert market.events.block(outcome.block).hash == outcome.block_hash
        newest = market.events.newest()
        assert newest.number >= outcome.block
        for question in (market.events.block, lambda number: market.events.between(outcome.block, number)):
            with pytest.raises(NotFound):
                question(newest.number + 1_000)

    def test_the_fate_of_a_chain_transaction_is_told(self, market: Market) -> None:
        """One that succeeded, one that failed, and one that was never sent are told apart."""
        offer, buyer = market.offer(), market.buyer()
        purchase, nonce = market.purchase(offer, buyer), market.relayer.next_nonce()
        call = market.relayer.prepare_purchase(offer, purchase)
        sent = [market.relayer.sign(call, nonce=nonce + i) for i in range(3)]
        for chain_transaction in sent[:2]:
            market.finish(chain_transaction)
        fates = [market.events.fate(chain_transaction.hash) for chain_transaction in sent]
        assert fates == [Fate.SUCCEEDED, Fate.FAILED, Fate.ABSENT]
        assert market.events.fate("nonsense") is Fate.ABSENT

    # Sending

    def test_an_order_is_paid_once(self, market: Market) -> None:
        """The same signed payment cannot be prepared again once it is settled; two at once settle it once."""
        offer, buyer = market.offer(), market.buyer()
        purchase, nonce = market.purchase(offer, buyer), market.relayer.next_nonce()
        calls = [market.relayer.prepare_purchase(offer, purchase) for _ in range(2)]
        outcomes = [market.finish(market.relayer.sign(call, nonce=nonce + i)) for i, call in enumerate(calls)]
        assert [outcome.succeeded for outcome in outcomes] == [True, False]
        assert outcomes[1].payments == ()
        with pytest.raises(PaymentInvalid):
            market.relayer.prepare_purchase(offer, purchase)
        assert market.ledger.balance(buyer.address) == 9 * _UNIT

    def test_signing_sends_nothing(self, market: Market) -> None:
        """A signed chain transaction carries its order and is not on the chain until it is sent."""
        offer, nonce = market.offer(), market.relayer.next_nonce()
        purchase = market.purchase(offer, market.buyer(0))
        order = order_id(offer.offer.id, purchase.buyer, purchase.units, purchase.salt)
        call = market.relayer.prepare_issue(purchase.buyer, Amount(1))
        signed = market.relayer.sign(call, nonce=nonce, order_id=order)
        assert (signed.signer, signed.nonce, signed.order_id) == (market.relayer.signer, nonce, order)
        assert market.relayer.next_nonce() == nonce
        assert market.finish(signed).hash == signed.hash

    def test_sending_again_changes_nothing(self, market: Market) -> None:
        """After a crash the same bytes, sent by a new adapter, have the same outcome and are paid once."""
        offer, buyer = market.offer(), market.buyer()
        signed = market.relayer.sign(market.prepare(offer, buyer), nonce=market.relayer.next_nonce())
        first = market.finish(signed)
        again = market.reopened().outcome(signed, timeout_s=30)
        assert again == first
        assert market.ledger.balance(buyer.address) == 9 * _UNIT

    def test_nonces_may_arrive_in_any_order(self, market: Market) -> None:
        """Chain transactions that threads send in the wrong order all land."""
        account, nonce = Identity.generate().address, market.relayer.next_nonce()
        call = market.relayer.prepare_issue(account, Amount(1))
        signed = [market.relayer.sign(call, nonce=nonce + i) for i in range(8)]
        with ThreadPoolExecutor(len(signed)) as threads:
            outcomes = list(threads.map(market.finish, reversed(signed)))
        assert all(outcome.succeeded for outcome in outcomes)
        assert market.ledger.balance(account) == len(signed)

    def test_waiting_ends_at_the_timeout(self, market: Market) -> None:
        """Behind a nonce that never comes there is no outcome; when it comes at last, there is."""
        account, nonce = Identity.generate().address, market.relayer.next_nonce()
        call = market.relayer.prepare_issue(account, Amount(1))
        first, second = (market.relayer.sign(call, nonce=nonce + i) for i in range(2))
        assert market.relayer.outcome(second, timeout_s=0.1) is None
        assert market.finish(first).succeeded
        assert market.finish(second).succeeded

    def test_an_absent_node_is_unavailable(self, market: Market) -> None:
        """Every question to a node that does not answer raises `ChainUnavailable`, and signing goes on."""
        ledger, relayer, events = market.unreachable
        offer, account = market.offer(), market.provider.address
        call = market.relayer.prepare_issue(account, Amount(1))
        signed = market.relayer.sign(call, nonce=market.relayer.next_nonce())
        questions: list[Callable[[], object]] = [
            lambda: ledger.offer_state(offer.offer.id),
            lambda: ledger.license(account, offer.offer.id),
            lambda: ledger.balance(account),
            lambda: ledger.anchored("log.example", account),
            events.newest,
            lambda: events.block(0),
            lambda: events.between(0, 0),
            lambda: events.fate(signed.hash),
            relayer.next_nonce,
            lambda: relayer.prepare_purchase(offer, market.purchase(offer, market.provider)),
            lambda: relayer.prepare_issue(account, Amount(1)),
            lambda: relayer.prepare_anchor("log.example", size=1, root=bytes(32)),
            lambda: relayer.outcome(signed, timeout_s=0.1),
        ]
        for question in questions:
            with pytest.raises(ChainUnavailable):
                question()
