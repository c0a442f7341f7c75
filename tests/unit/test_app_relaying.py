"""Relaying: a chain transaction is stored before it is sent, under a nonce of its own, and its outcome once."""

import msgspec
import pytest

from databund.core.amounts import Amount
from databund.errors import ChainUnavailable
from databund.ports import ChainTransaction
from databund.testing.memory_ledger import Fault
from tests.unit.marketplace import BUYER, Marketplace


@pytest.fixture
def market() -> Marketplace:
    """A new market."""
    return Marketplace()


def stored(market: Marketplace) -> ChainTransaction:
    """Store the next chain transaction: one base unit for the buyer."""
    call = market.memory_relayer.prepare_issue(BUYER.address, Amount(1))
    included = market.relaying.included()
    with market.database.write() as tables:
        return market.relaying.store(tables, call, included=included)


def test_storing_sends_nothing(market: Marketplace) -> None:
    """A stored chain transaction is pending, and the chain knows nothing of it."""
    chain_transaction = stored(market)
    with market.database.read() as tables:
        assert tables.outbox.pending() == [chain_transaction]
    assert market.exchange.balance(BUYER.address) == 0


def test_each_has_its_nonce(market: Marketplace) -> None:
    """Nonces follow each other, whether or not the one before was sent."""
    nonces = [stored(market).nonce for _ in range(3)]
    assert nonces == [0, 1, 2]


def test_nonces_follow_the_chain(market: Marketplace) -> None:
    """After the key was used elsewhere, the next nonce is the chain's."""
    market.exchange.included[market.memory_relayer.signer] = 7
    assert stored(market).nonce == 7


def test_an_outcome_is_recorded_once(market: Marketplace) -> None:
    """Completing gives the outcome and records it; completing again gives the recorded one, without the chain."""
    chain_transaction = stored(market)
    outcome = market.relaying.complete(chain_transaction)
    assert outcome is not None
    assert outcome.succeeded
    market.memory_relayer.online = False
    assert market.relaying.complete(chain_transaction) == outcome
    assert market.exchange.balance(BUYER.address) == 1


def test_a_slow_one_stays_pending(market: Marketplace) -> None:
    """Without an outcome in time there is none, and it can be completed later."""
    chain_transaction = stored(market)
    market.chain.faults.append(Fault.SLOW)
    assert market.relaying.complete(chain_transaction) is None
    with market.database.read() as tables:
        assert tables.outbox.pending() == [chain_transaction]
    assert market.relaying.complete(chain_transaction) is not None


def test_a_lost_answer_is_asked_again(market: Marketplace) -> None:
    """Where it was included but the answer lost, completing again finds the outcome and pays nothing more."""
    chain_transaction = stored(market)
    market.chain.faults.append(Fault.ANSWER_LOST)
    with pytest.raises(ChainUnavailable):
        market.relaying.complete(chain_transaction)
    assert market.relaying.complete(chain_transaction) is not None
    assert market.exchange.balance(BUYER.address) == 1


def test_a_lost_nonce_is_a_failure(market: Marketplace) -> None:
    """One whose nonce another took failed, in no block, and is no longer pending."""
    chain_transaction = stored(market)
    market.chain.faults.append(Fault.NONCE_TAKEN)
    outcome = market.relaying.complete(chain_transaction)
    assert outcome is not None
    assert (outcome.succeeded, outcome.block) == (False, 0)
    with market.database.read() as tables:
        assert tables.outbox.pending() == []


def test_a_later_one_waits_for_the_earlier(market: Marketplace) -> None:
    """A chain transaction behind one that was not sent has no outcome until that one is sent."""
    first, second = stored(market), stored(market)
    assert market.relaying.complete(second) is None
    assert market.relaying.complete(first) is not None
    assert market.relaying.complete(second) is not None


@pytest.mark.parametrize(("expiry", "told"), [(2**53 - 1, 2**53 - 1), (2**53, None), (None, None)])
def test_an_endless_term_has_no_end(market: Marketplace, expiry: int | None, told: int | None) -> None:
    """A term that ends beyond the last number of JSON is told as one without end."""
    chain_transaction = stored(market)
    market.relaying.outcome(chain_transaction)
    receipts = market.exchange.receipts
    receipts[chain_transaction.hash] = msgspec.structs.replace(receipts[chain_transaction.hash], expiry=expiry)
    outcome = market.relaying.outcome(chain_transaction)
    assert outcome is not None
    assert outcome.expiry == told
