"""Observing: what happened on the chain without this node becomes an entry, once, wherever a crash comes."""

from itertools import count

import msgspec
import pytest

from databund.core.ids import Bytes32, Hex
from databund.core.offers import SignedOffer, cancel_hash
from databund.core.orders import Order, OrderState
from databund.errors import StoreUnavailable, Unavailable
from databund.ports import Block
from databund.testing.faults import Interruption
from databund.testing.memory_exchange import Act, Cancellation, DirectSale, Sale
from databund.testing.memory_ledger import Fault, MemoryRelayer
from tests.unit.marketplace import BUYER, DEPOSIT, PRICE, PROVIDER, STRANGER, Marketplace


@pytest.fixture
def market() -> Marketplace:
    """A market with an offer, and a buyer with money; what the chain has of it is read."""
    market = Marketplace()
    market.listed()
    market.credit()
    market.observing.step()
    return market


def include(market: Marketplace, act: Act) -> str:
    """Somebody else's chain transaction; its hash."""
    name = "0x" + f"{len(market.exchange.receipts):064x}"
    signer = BUYER.address if isinstance(act, DirectSale) else STRANGER.address
    market.exchange.include(act, signer=signer, transaction_hash=name)
    assert market.exchange.receipts[name].succeeded
    return name


def offer(market: Marketplace) -> SignedOffer:
    """The offer of the market."""
    return market.offer()


def front_run(market: Marketplace) -> tuple[Order, str]:
    """An order that is refused here, because a stranger brought its payment first."""
    purchase = market.purchase(offer(market).offer)
    market.chain.faults.append(Fault.SLOW)
    market.purchasing.buy(offer(market).offer.id, purchase)
    elsewhere = include(market, Sale(offer(market), purchase))
    market.purchasing.resume()
    (order,) = market.orders()
    assert order.state is OrderState.REFUSED
    return order, elsewhere


def test_a_trade_of_this_node_is_not_entered_again(market: Marketplace) -> None:
    """What the log has already stays as it is."""
    market.purchasing.buy(offer(market).offer.id, market.purchase(offer(market).offer))
    before = market.kinds()
    assert market.observing.step() == 0
    assert market.kinds() == before


def test_a_direct_purchase_is_entered(market: Marketplace) -> None:
    """A license bought without any node is one entry with all the chain says of it, however often it is read."""
    name = include(market, DirectSale(offer(market), 2))
    assert [market.observing.step() for _ in range(2)] == [1, 0]
    entry = market.entries()[-1]
    assert entry.kind == "license.observed"
    assert entry.about == {
        "order": None,
        "offer": str(offer(market).offer.id),
        "buyer": str(BUYER.address),
        "units": 2,
        "price": str(2 * PRICE),
        "chain_transaction": name,
        "block": market.exchange.receipts[name].block,
        "expiry": market.exchange.receipts[name].expiry,
    }


def test_a_sale_relayed_by_others_is_entered(market: Marketplace) -> None:
    """An order that this node never had is entered under its id."""
    purchase = market.purchase(offer(market).offer)
    include(market, Sale(offer(market), purchase))
    assert market.observing.step() == 1
    assert market.entries()[-1].about["order"] == str(market.exchange.events[-1].order_id)  # type: ignore[union-attr]


def test_a_payment_that_others_brought_first_licenses_the_order(market: Marketplace) -> None:
    """A refused order that the chain sold is licensed by the chain transaction that did it, delivered and certified."""
    order, elsewhere = front_run(market)
    assert market.observing.step() == 1
    (healed,) = market.orders()
    assert (healed.state, healed.chain_transaction, healed.reason) == (OrderState.LICENSED, elsewhere, None)
    assert market.entries()[-1].about["chain_transaction"] == elsewhere

    market.delivering.deliver(BUYER.address, market.request(order.offer_id))
    certificate = market.clearing.certify(BUYER.address, order.id).certificate

    assert (certificate.chain_transaction, sum(payment.amount for payment in certificate.payments)) == (
        elsewhere,
        PRICE,
    )
    assert market.clearing.certify(BUYER.address, order.id).certificate == certificate
    assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE


def test_an_order_on_its_way_is_licensed_by_another_chain_transaction(market: Marketplace) -> None:
    """A placed order that others settled is licensed; what was signed here still goes out, and changes nothing."""
    purchase = market.purchase(offer(market).offer)
    market.chain.faults.append(Fault.SLOW)
    market.purchasing.buy(offer(market).offer.id, purchase)
    include(market, Sale(offer(market), purchase))
    assert market.observing.step() == 1
    assert market.purchasing.resume() == 1
    with market.database.read() as tables:
        assert tables.outbox.pending() == []
    assert market.orders()[0].state is OrderState.LICENSED
    assert market.kinds()[-2:] == ["order.placed", "order.licensed"]


def test_a_placed_order_of_this_node_is_left_to_purchasing(market: Marketplace) -> None:
    """A sale by the chain transaction that the order names is recorded by whoever sent it."""
    market.chain.faults.append(Fault.ANSWER_LOST)
    with pytest.raises(Unavailable):
        market.purchasing.buy(offer(market).offer.id, market.purchase(offer(market).offer))
    assert market.observing.step() == 0
    assert market.purchasing.resume() == 1
    assert market.kinds().count("order.licensed") == 1


def test_a_withdrawal_on_the_chain_takes_the_offer_off_the_list(market: Marketplace) -> None:
    """An offer that its provider withdrew elsewhere is withdrawn here, and entered once."""
    signature = PROVIDER.sign_typed_hash(market.exchange.domain.digest(cancel_hash(offer(market).offer.id)))
    name = include(market, Cancellation(offer(market), Hex(signature)))
    assert [market.observing.step() for _ in range(2)] == [1, 0]
    entry = market.entries()[-1]
    assert (entry.kind, entry.by, entry.about["chain_transaction"]) == ("offer.withdrawn", str(PROVIDER.address), name)
    with market.database.read() as tables:
        assert tables.listings.get(offer(market).offer.id).withdrawn_at == market.now


def test_a_withdrawal_by_this_node_is_not_entered_again(market: Marketplace) -> None:
    """What was withdrawn here has its entry."""
    market.publishing.withdraw(offer(market).offer.id, market.withdrawal(offer(market).offer.id))
    assert market.observing.step() == 0


def test_an_offer_that_was_never_listed_is_no_matter(market: Marketplace) -> None:
    """Whoever withdraws an offer that this node does not know leaves no entry."""
    strange = market.offer(salt=Bytes32(b"\1" * 32))
    signature = PROVIDER.sign_typed_hash(market.exchange.domain.digest(cancel_hash(strange.offer.id)))
    include(market, Cancellation(strange, Hex(signature)))
    assert market.observing.step() == 0


def test_more_units_than_a_number_can_count_are_entered(market: Marketplace) -> None:
    """A sale of more units than JSON can count does not stop the reader; they are written as text."""
    include(market, DirectSale(offer(market), 1))
    market.exchange.events[-1] = msgspec.structs.replace(market.exchange.events[-1], units=2**63)  # type: ignore[call-overload]
    assert market.observing.step() == 1
    assert market.entries()[-1].about["units"] == str(2**63)


def test_after_a_reorganization_everything_is_read_again(market: Marketplace) -> None:
    """When the last block read is no longer there, earlier ones are read again, and nothing is entered twice."""
    include(market, DirectSale(offer(market), 1))
    market.observing.step()
    with market.database.write() as tables:
        tables.cursor.set(Block(1, "0x" + "00" * 32))
    include(market, DirectSale(offer(market), 1))
    assert market.observing.step() == 1
    with market.database.write() as tables:
        tables.cursor.set(Block(1_000, "0x" + "00" * 32))
    assert market.observing.step() == 0
    assert market.kinds().count("license.observed") == 2


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
def test_an_interrupted_reading_heals(*, after: bool) -> None:
    """Wherever reading is interrupted, the next step enters each thing once."""
    for at in count(1):
        market = Marketplace()
        market.listed()
        market.credit()
        front_run(market)
        include(market, DirectSale(offer(market), 1))
        interruption = Interruption(at, after=after)
        market.wire(interruption)
        try:
            market.observing.step()
        except (Unavailable, StoreUnavailable):
            market.wire(Interruption(0))
            market.observing.step()
        kinds = market.kinds()
        assert (kinds.count("order.licensed"), kinds.count("license.observed")) == (1, 1), interruption.where
        if interruption.where is None:
            break
    assert at > 8


def test_another_relayer_changes_nothing_for_the_signer(market: Marketplace) -> None:
    """After an order was healed, the next purchase of this node goes through under the next nonce."""
    front_run(market)
    market.observing.step()
    again = market.purchase(offer(market).offer, salt=1)
    assert market.purchasing.buy(offer(market).offer.id, again).state is OrderState.LICENSED
    assert MemoryRelayer(market.chain, STRANGER.address).next_nonce() == 1
