"""Purchasing: one signed payment makes one order, one payment and one license."""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from databund.core.amounts import Amount
from databund.core.ids import Bytes32, Hex, OfferId
from databund.core.offers import order_id
from databund.core.orders import OrderState
from databund.errors import (
    AmountInvalid,
    ChainUnavailable,
    IdempotencyMismatch,
    InsufficientFunds,
    NotFound,
    OfferCancelled,
    OfferExpired,
    PaymentInvalid,
    PolicyDenied,
    SupplyExhausted,
)
from tests.unit.marketplace import BUYER, DEPOSIT, NOW, OPERATOR, PRICE, PROVIDER, STRANGER, YEAR_S, Marketplace

REFERENCE = Bytes32(b"\1" * 32)


@pytest.fixture
def market() -> Marketplace:
    """A market with one offer on the list, and a buyer with money."""
    market = Marketplace()
    market.listed()
    market.credit()
    return market


def test_a_purchase_is_licensed(market: Marketplace) -> None:
    """Buying gives an order that is licensed, the license on the chain, and an entry for each of the two acts."""
    offer = market.offer().offer
    order = market.purchasing.buy(offer.id, market.purchase(offer, units=2))
    assert (order.state, order.units, order.price, order.placed_at) == (OrderState.LICENSED, 2, 2 * PRICE, NOW)
    assert market.exchange.license(BUYER.address, offer.id).units == 2
    placed, licensed = market.entries()[-2:]
    assert placed.by == str(BUYER.address)
    assert placed.about["price"] == str(2 * PRICE)
    assert licensed.about["chain_transaction"] == placed.about["chain_transaction"] == order.chain_transaction
    assert licensed.about["expiry"] == NOW + 2 * YEAR_S


def test_the_same_payment_is_the_same_order(market: Marketplace) -> None:
    """Buying again with the same signed payment gives the same order and pays nothing more."""
    offer = market.offer().offer
    purchase = market.purchase(offer)
    first = market.purchasing.buy(offer.id, purchase)
    market.now += YEAR_S  # The payment and the offer have ended since; the order stays.
    assert market.purchasing.buy(offer.id, purchase) == first
    assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE
    assert market.kinds().count("order.placed") == 1


def test_the_same_payment_at_once_is_one_order(market: Marketplace) -> None:
    """Threads that bring the same payment at the same time all get the one order."""
    offer = market.offer().offer
    purchase = market.purchase(offer)
    with ThreadPoolExecutor(8) as threads:
        orders = list(threads.map(lambda _: market.purchasing.buy(offer.id, purchase), range(16)))
    assert {order.state for order in orders} <= {OrderState.LICENSED, OrderState.PLACED}
    assert len(market.orders()) == 1
    assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE
    assert market.kinds().count("order.licensed") == 1


def test_another_salt_is_another_order(market: Marketplace) -> None:
    """Two payments for the same offer are two orders, and the second extends the term."""
    offer = market.offer().offer
    for salt in (1, 2):
        market.purchasing.buy(offer.id, market.purchase(offer, salt=salt))
    assert len(market.orders()) == 2
    assert market.exchange.license(BUYER.address, offer.id).expiry == NOW + 2 * YEAR_S


def test_an_endless_term_is_recorded() -> None:
    """A term beyond what JSON can count is licensed and recorded as one without end, and a restart finds no fault."""
    market = Marketplace()
    offer = market.bought(duration_s=2**53 - 1).signed.offer
    assert market.orders()[0].state is OrderState.LICENSED
    assert market.entries()[-1].about["expiry"] is None
    market.delivering.deliver(BUYER.address, market.request(offer.id))
    assert market.clearing.certify(BUYER.address, market.orders()[0].id).certificate.expiry is None


def test_an_unlisted_offer_is_not_sold(market: Marketplace) -> None:
    """An offer that is not on the list is not found."""
    with pytest.raises(NotFound):
        market.purchasing.buy(OfferId(bytes(32)), market.purchase(market.offer().offer))


def test_a_withdrawn_offer_is_not_sold(market: Marketplace) -> None:
    """An offer that was withdrawn is refused, and the sentence says how long ago."""
    offer = market.offer().offer
    market.publishing.withdraw(offer.id, market.withdrawal(offer.id))
    market.now += 60
    with pytest.raises(OfferCancelled, match=r"withdrawn 60 s ago"):
        market.purchasing.buy(offer.id, market.purchase(offer))


def test_an_ended_offer_is_not_sold(market: Marketplace) -> None:
    """In its last second an offer is sold, after it not."""
    offer = market.offer().offer
    market.now = offer.valid_until
    market.purchasing.buy(offer.id, market.purchase(offer, valid_before=2**40))
    market.now += 1
    with pytest.raises(OfferExpired, match=r"ended 1 s ago"):
        market.purchasing.buy(offer.id, market.purchase(offer, salt=1, valid_before=2**40))


@pytest.mark.parametrize("validity", [{"valid_after": NOW}, {"valid_before": NOW}])
def test_a_payment_is_valid_between_its_times(market: Marketplace, validity: dict[str, int]) -> None:
    """Both ends of a payment's validity are excluded."""
    offer = market.offer().offer
    with pytest.raises(PaymentInvalid, match="not valid now"):
        market.purchasing.buy(offer.id, market.purchase(offer, **validity))


@pytest.mark.parametrize("units", [-1, 0, 2**32 + 1, 2**256])
def test_impossible_units_are_refused(market: Marketplace, units: int) -> None:
    """A number of units that nobody can buy is an invalid amount, however large or small."""
    offer = market.offer().offer
    with pytest.raises(AmountInvalid):
        market.purchasing.buy(offer.id, msgspec.structs.replace(market.purchase(offer), units=units))


def test_a_refused_purchase_leaves_nothing(market: Marketplace) -> None:
    """What the chain would refuse is refused before an order, an entry or a chain transaction is made."""
    offer, before = market.offer().offer, market.kinds()
    wrong = msgspec.structs.replace(market.purchase(offer), signature=Hex(STRANGER.sign_message("hello")))
    with pytest.raises(PaymentInvalid):
        market.purchasing.buy(offer.id, wrong)
    with pytest.raises(InsufficientFunds):
        market.purchasing.buy(offer.id, market.purchase(offer, units=6))
    assert (market.orders(), market.kinds()) == ([], before)
    with market.database.read() as tables:
        assert tables.outbox.pending() == []


def test_terms_that_the_buyer_can_never_meet_are_not_sold() -> None:
    """An offer to other recipients costs the buyer nothing: it is refused before an order is made."""
    market = Marketplace()
    market.credit()
    offer = market.listed({"recipients": ["urn:example:hospital"]}).signed.offer
    with pytest.raises(PolicyDenied, match="cannot be met"):
        market.purchasing.buy(offer.id, market.purchase(offer))
    assert market.orders() == []
    assert market.exchange.balance(BUYER.address) == DEPOSIT


def test_a_payment_settled_elsewhere_is_refused(market: Marketplace) -> None:
    """A payment that somebody else brought to the chain before makes no order here."""
    signed = market.offer()
    purchase = market.purchase(signed.offer)
    call = market.memory_relayer.prepare_purchase(signed, purchase)
    market.memory_relayer.outcome(market.memory_relayer.sign(call, nonce=1), timeout_s=0)
    with pytest.raises(PaymentInvalid, match="paid already"):
        market.purchasing.buy(signed.offer.id, purchase)
    assert market.orders() == []


def test_the_last_unit_goes_to_one_order() -> None:
    """Of two orders for the last unit the second is refused; nothing is paid for it."""
    market = Marketplace()
    offer = market.bought(supply=1).signed.offer
    with pytest.raises(SupplyExhausted):
        market.purchasing.buy(offer.id, market.purchase(offer, salt=1))
    assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE


def test_a_purchase_that_fails_on_the_chain_is_refused(market: Marketplace) -> None:
    """A purchase that became impossible after it was tried is recorded as refused, with the reason."""
    signed = market.offer()
    purchase = market.purchase(signed.offer)
    market.chain.exchange.included[OPERATOR.address] = 0  # A node that is behind: our chain transaction waits.
    order = market.purchasing.buy(signed.offer.id, purchase)
    assert order.state is OrderState.PLACED
    market.now = purchase.valid_before
    market.chain.exchange.included[OPERATOR.address] = 1
    refused = market.purchasing.proceed(order)
    assert (refused.state, refused.reason) == (OrderState.REFUSED, "The chain refused the purchase; nothing was paid.")
    assert market.exchange.balance(BUYER.address) == DEPOSIT
    assert market.purchasing.buy(signed.offer.id, purchase) == refused


def test_without_a_chain_nothing_is_placed(market: Marketplace) -> None:
    """While the chain's node does not answer, buying says so and leaves nothing."""
    offer = market.offer().offer
    market.memory_relayer.online = False
    with pytest.raises(ChainUnavailable):
        market.purchasing.buy(offer.id, market.purchase(offer))
    assert market.orders() == []


def test_a_settled_order_proceeds_no_further(market: Marketplace) -> None:
    """Proceeding with an order that has its outcome gives it back, without asking the chain."""
    offer = market.offer().offer
    order = market.purchasing.buy(offer.id, market.purchase(offer))
    market.memory_relayer.online = False
    assert market.purchasing.proceed(order) == order


def test_an_order_is_named_by_what_was_signed(market: Marketplace) -> None:
    """The order's id is the nonce of the payment."""
    offer = market.offer().offer
    order = market.purchasing.buy(offer.id, market.purchase(offer, salt=7))
    assert order.id == order_id(offer.id, BUYER.address, 1, Bytes32((7).to_bytes(32)))


def test_a_deposit_is_credited_once(market: Marketplace) -> None:
    """The same reference credits once, however often and however many at once ask; another reference again."""
    before = market.exchange.balance(PROVIDER.address)
    with ThreadPoolExecutor(8) as threads:
        issue = market.purchasing.issue
        outcomes = list(threads.map(lambda _: issue(PROVIDER.address, Amount(5), reference=REFERENCE), range(16)))
    assert len({outcome.hash for outcome in outcomes if outcome}) == 1
    assert market.exchange.balance(PROVIDER.address) == before + 5
    issue(PROVIDER.address, Amount(5), reference=Bytes32(b"\2" * 32))
    assert market.exchange.balance(PROVIDER.address) == before + 10


def test_a_reference_is_for_one_deposit(market: Marketplace) -> None:
    """A reference that comes back with another amount or account is refused."""
    market.purchasing.issue(PROVIDER.address, Amount(5), reference=REFERENCE)
    for account, amount in ((PROVIDER.address, 6), (BUYER.address, 5)):
        with pytest.raises(IdempotencyMismatch):
            market.purchasing.issue(account, Amount(amount), reference=REFERENCE)
