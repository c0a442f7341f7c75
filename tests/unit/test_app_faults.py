"""A whole trade with a fault at every call of a port: whatever failed, doing it again ends at the same place.

The method is SQLite's: let the n-th call fail, before and after it was made, for n = 1, 2, 3 … until no call is left.
"""

from collections.abc import Callable
from contextlib import suppress
from itertools import count

import pytest

from databund.core.ids import Bytes32
from databund.core.offers import order_id
from databund.core.orders import OrderState
from databund.errors import ChainUnavailable, Unavailable
from databund.testing.faults import Interruption
from databund.testing.memory_ledger import Fault
from tests.unit.marketplace import BUYER, DEPOSIT, OPERATOR, PRICE, PROVIDER, Marketplace

TRADE = [
    "dataset.registered",
    "offer.listed",
    "order.placed",
    "order.licensed",
    "decision.made",
    "order.delivered",
    "order.settled",
    "order.certified",
    "offer.withdrawn",
]


def steps(market: Marketplace) -> list[Callable[[], object]]:
    """What people do in a whole trade: register and list, get money, buy, take, certify, withdraw."""
    offer = market.offer(market.policy(uses=1)).offer
    order = order_id(offer.id, BUYER.address, 1, Bytes32(bytes(32)))
    return [
        lambda: market.listed({"uses": 1}),
        lambda: market.credit(),
        lambda: market.purchasing.buy(offer.id, market.purchase(offer)),
        lambda: market.delivering.deliver(BUYER.address, market.request(offer.id)),
        lambda: market.clearing.certify(BUYER.address, order),
        lambda: market.publishing.withdraw(offer.id, market.withdrawal(offer.id)),
    ]


def check(market: Marketplace) -> None:
    """One payment, one license, one use, one entry for each act, and nothing on its way."""
    offer_id = market.offer(market.policy(uses=1)).offer.id
    with market.database.read() as tables:
        (order,) = tables.orders.find()
        assert tables.outbox.pending() == []
        assert tables.deliveries.spent(BUYER.address, offer_id) == 1
    assert order.state is OrderState.CERTIFIED
    assert market.kinds() == TRADE
    assert market.exchange.license(BUYER.address, offer_id).units == 1
    balances = [market.exchange.balance(account.address) for account in (BUYER, PROVIDER, OPERATOR)]
    assert balances == [DEPOSIT - PRICE, PRICE * 99 // 100, PRICE // 100]
    assert market.exchange.offer_state(offer_id).cancelled


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
@pytest.mark.parametrize("restarted", [False, True], ids=["repeated", "restarted"])
def test_a_trade_heals(*, after: bool, restarted: bool) -> None:
    """Wherever a trade is interrupted, making the same call again completes it once, with or without a restart."""
    for at in count(1):
        interruption = Interruption(at, after=after)
        market = Marketplace(interruption=interruption)
        for step in steps(market):
            try:
                step()
            except Unavailable:
                if restarted:
                    market.wire(Interruption(0))
                    market.purchasing.resume()
                step()
        try:
            check(market)
        except AssertionError as error:
            error.add_note(f"interrupted {interruption.where}, call {at}")
            raise
        if interruption.where is None:
            break
    assert at > 90


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.ANSWER_LOST, Fault.SLOW])
def test_a_purchase_survives_the_chain(fault: Fault) -> None:
    """A purchase whose chain transaction does not arrive, is slow, or is included unheard is completed once later."""
    market = Marketplace()
    offer = market.listed().signed.offer
    market.credit()
    market.chain.faults.append(fault)
    with suppress(ChainUnavailable):
        assert market.purchasing.buy(offer.id, market.purchase(offer)).state is OrderState.PLACED
    assert market.orders()[0].state is OrderState.PLACED
    assert market.purchasing.resume() == 1
    assert market.orders()[0].state is OrderState.LICENSED
    assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE
    assert market.kinds()[-2:] == ["order.placed", "order.licensed"]


def test_a_lost_nonce_refuses_the_order() -> None:
    """Where another chain transaction took the nonce, the order is refused, nothing is paid, and the next one works."""
    market = Marketplace()
    offer = market.listed().signed.offer
    market.credit()
    market.chain.faults.append(Fault.NONCE_TAKEN)
    order = market.purchasing.buy(offer.id, market.purchase(offer))
    assert (order.state, market.exchange.balance(BUYER.address)) == (OrderState.REFUSED, DEPOSIT)
    assert market.kinds()[-1] == "order.refused"
    assert market.purchasing.buy(offer.id, market.purchase(offer)) == order
    again = market.purchasing.buy(offer.id, market.purchase(offer, salt=1))
    assert (again.state, market.exchange.balance(BUYER.address)) == (OrderState.LICENSED, DEPOSIT - PRICE)


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
def test_a_resumption_heals(*, after: bool) -> None:
    """Wherever the resumption of a slow purchase is itself interrupted, the next one completes it once."""
    for at in count(1):
        market = Marketplace()
        offer = market.listed().signed.offer
        market.credit()
        market.chain.faults.append(Fault.SLOW)
        market.purchasing.buy(offer.id, market.purchase(offer))
        interruption = Interruption(at, after=after)
        market.wire(interruption)
        with suppress(Unavailable):
            market.purchasing.resume()
        market.wire(Interruption(0))
        market.purchasing.resume()
        assert [order.state for order in market.orders()] == [OrderState.LICENSED], interruption.where
        assert market.kinds() == ["dataset.registered", "offer.listed", "order.placed", "order.licensed"]
        assert market.exchange.balance(BUYER.address) == DEPOSIT - PRICE
        if interruption.where is None:
            break
    assert at > 10


def test_a_node_without_a_chain_resumes_later() -> None:
    """While the chain's node does not answer, resuming completes nothing and raises nothing."""
    market = Marketplace()
    offer = market.listed().signed.offer
    market.credit()
    market.chain.faults.append(Fault.SLOW)
    market.purchasing.buy(offer.id, market.purchase(offer))
    market.memory_relayer.online = False
    assert market.purchasing.resume() == 0
    market.memory_relayer.online = True
    assert market.purchasing.resume() == 1
