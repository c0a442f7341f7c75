"""Evidencing: who gets the evidence of an order, and under which checkpoint it stands."""

from __future__ import annotations

import pytest

from databund.core.ids import OrderId
from databund.errors import NotFound, NotOwner
from databund.sdk.evidence import verify_bytes
from databund.tlog.policies import WitnessPolicy
from tests.unit.marketplace import BUYER, OPERATOR, PROVIDER, STRANGER
from tests.unit.trades import WITNESS, Trade, cosigner

POLICY = WitnessPolicy.parse(f"witness w {WITNESS.vkey}\nquorum w\n".encode(), cosigner)


def test_both_sides_and_the_operator_get_the_same() -> None:
    """Buyer, provider and operator get the same file."""
    trade = Trade()

    found = {trade.evidencing().bundle(each.address, trade.id) for each in (BUYER, PROVIDER, OPERATOR)}

    assert len(found) == 1


def test_strangers_get_nothing() -> None:
    """Whoever is no side of the trade is refused."""
    trade = Trade()

    with pytest.raises(NotOwner):
        trade.evidencing().bundle(STRANGER.address, trade.id)


def test_an_unknown_order_is_not_found() -> None:
    """There is no evidence of what was never ordered."""
    with pytest.raises(NotFound, match="There is no order"):
        Trade().evidencing().bundle(OPERATOR.address, OrderId(bytes(32)))


def test_a_cosigned_checkpoint_is_preferred() -> None:
    """Evidence stands under the checkpoint that witnesses saw, also when the log has grown since."""
    trade = Trade().delivered().certified().cosigned()
    trade.market.credit()

    report = verify_bytes(trade.bundle(), policy=POLICY)

    assert report.cosignatures == 1
    assert report.size == 8


def test_a_cosigned_checkpoint_that_is_too_old_is_not_used() -> None:
    """What happened after the last cosigned checkpoint stands under the newest signed one."""
    trade = Trade().cosigned().delivered()

    report = verify_bytes(trade.bundle())

    assert (report.cosignatures, report.size) == (0, 6)
    assert report.state == "delivered"


def test_a_refused_order_has_evidence() -> None:
    """An order that the chain refused is proven without a receipt."""
    trade = Trade()
    market, sent = trade.market, trade.market.chain.exchange.included[OPERATOR.address]
    purchase = market.purchase(trade.market_offer(), salt=1)
    market.chain.exchange.included[OPERATOR.address] = 0  # a node that is behind: our chain transaction waits
    placed = market.purchasing.buy(trade.order.offer_id, purchase)
    market.now = purchase.valid_before
    market.chain.exchange.included[OPERATOR.address] = sent
    market.purchasing.proceed(placed)

    report = verify_bytes(trade.evidencing().bundle(BUYER.address, placed.id))

    assert (report.state, report.chain) == ("refused", None)
