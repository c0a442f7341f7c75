"""Clearing: a delivered order is settled and certified once, for those it concerns."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from databund.core import canonical, documents
from databund.core.amounts import Amount, Payment
from databund.core.ids import Address, OrderId
from databund.core.orders import OrderEvent, OrderState
from databund.core.policies import PolicyType, parse_policy
from databund.core.terms import party_of, terms_hash
from databund.errors import IllegalMove, NotFound, NotOwner, StoreCorrupt
from databund.ports import ChainTransaction
from databund.testing import samples
from tests.unit.marketplace import BUYER, NOW, OPERATOR, PRICE, PROVIDER, STRANGER, YEAR_S, Marketplace


@pytest.fixture
def market() -> Marketplace:
    """A market with one delivered order."""
    market = Marketplace()
    offer = market.bought().signed.offer
    market.delivering.deliver(BUYER.address, market.request(offer.id))
    return market


def test_a_certificate_states_the_trade(market: Marketplace) -> None:
    """The certificate names the order, the whole price as it was paid out, the chain transaction and the term."""
    (order,) = market.orders()
    certificate = market.clearing.certify(BUYER.address, order.id).certificate
    receipt = market.exchange.receipts[str(order.chain_transaction)]
    assert certificate.payments == (
        Payment(OPERATOR.address, Amount(PRICE // 100)),
        Payment(PROVIDER.address, Amount(PRICE * 99 // 100)),
    )
    assert (certificate.order, certificate.price, certificate.expiry) == (order.id, PRICE, NOW + YEAR_S)
    assert (certificate.block, certificate.block_hash) == (receipt.block, receipt.block_hash)
    assert market.orders()[0].state is OrderState.CERTIFIED


def test_the_agreement_names_the_buyer(market: Marketplace) -> None:
    """The agreement is the offer's policy, assigned to the buyer, and the certificate carries its hash."""
    (order,) = market.orders()
    statement = market.clearing.certify(BUYER.address, order.id)
    agreed = parse_policy(canonical.parse(statement.agreement))
    assert agreed.type is PolicyType.AGREEMENT
    party = party_of(BUYER.address, market.exchange.domain.chain_id)
    assert {rule.assignee for rule in (*agreed.permissions, *agreed.prohibitions)} == {party}
    assert statement.certificate.agreement == terms_hash(statement.agreement)


def test_two_entries_bind_the_certificate(market: Marketplace) -> None:
    """What was paid and the digests of both documents are in the log."""
    (order,) = market.orders()
    statement = market.clearing.certify(BUYER.address, order.id)
    settled, certified = market.entries()[-2:]
    assert settled.about["payments"] == list(documents.dump(statement.certificate.payments))
    assert certified.about["certificate"] == documents.digest(statement.certificate).hex()
    assert certified.about["agreement"] == bytes(statement.certificate.agreement).hex()


@pytest.mark.parametrize("actor", [BUYER.address, PROVIDER.address, OPERATOR.address])
def test_certifying_again_gives_the_same(market: Marketplace, actor: Address) -> None:
    """Buyer, provider and operator get the same documents, and only the first leaves entries."""
    (order,) = market.orders()
    first = market.clearing.certify(BUYER.address, order.id)
    market.now += YEAR_S
    assert market.clearing.certify(actor, order.id) == first
    assert market.kinds()[-2:] == ["order.settled", "order.certified"]
    assert market.kinds().count("order.certified") == 1


def test_certifying_at_once_is_one_act(market: Marketplace) -> None:
    """Threads that certify the same order at the same time leave its entries once."""
    (order,) = market.orders()
    with ThreadPoolExecutor(8) as threads:
        statements = list(threads.map(lambda _: market.clearing.certify(BUYER.address, order.id), range(16)))
    assert all(statement == statements[0] for statement in statements)
    assert market.kinds().count("order.settled") == market.kinds().count("order.certified") == 1


def test_a_stranger_sees_no_certificate(market: Marketplace) -> None:
    """Who is no side of the trade is refused, before and after it is certified."""
    (order,) = market.orders()
    for _ in range(2):
        with pytest.raises(NotOwner):
            market.clearing.certify(STRANGER.address, order.id)
        market.clearing.certify(BUYER.address, order.id)


def test_an_unknown_order_is_not_found(market: Marketplace) -> None:
    """An order that is not there cannot be certified."""
    with pytest.raises(NotFound):
        market.clearing.certify(OPERATOR.address, OrderId(bytes(32)))


def test_an_undelivered_order_is_not_certified() -> None:
    """Before the delivery an order cannot be settled, and trying leaves nothing."""
    market = Marketplace()
    market.bought()
    (order,) = market.orders()
    before = market.kinds()
    with pytest.raises(IllegalMove):
        market.clearing.certify(BUYER.address, order.id)
    assert (market.orders(), market.kinds()) == ([order], before)


def test_a_missing_outcome_is_found(market: Marketplace) -> None:
    """A delivered order whose chain transaction has no outcome contradicts itself; nothing is certified."""
    lost: ChainTransaction = samples.chain_transaction(9)
    placed = samples.order(9, offer_id=market.offer().offer.id, buyer=BUYER.address, chain_transaction=lost.hash)
    with market.database.write() as tables:
        tables.outbox.add(lost)
        tables.orders.add(placed.moved(OrderEvent.LICENSE).moved(OrderEvent.DELIVER))
    with pytest.raises(StoreCorrupt, match="has no outcome"):
        market.clearing.certify(BUYER.address, placed.id)
