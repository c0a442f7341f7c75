"""Anchoring: the chain names the log's tree head, a later entry names the block, and a crash in between heals."""

from contextlib import suppress
from itertools import count

import pytest

from databund.core.events import Event, EventKind
from databund.core.ids import Address
from databund.core.log_status import Anchor
from databund.errors import LogForked, Unavailable
from databund.testing.faults import Interruption
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_heads import MemoryHeads
from databund.testing.memory_ledger import Fault
from databund.tlog.merkle import leaf_hash, tree_root
from tests.unit.marketplace import OPERATOR, ORIGIN, Marketplace

HOUR_S = 3600


@pytest.fixture
def market() -> Marketplace:
    """A market whose log has entries, the first of them a period ago."""
    market = Marketplace()
    market.listed()
    market.now += HOUR_S
    return market


def anchored(market: Marketplace) -> tuple[int, bytes] | None:
    """What the chain has."""
    return market.exchange.anchored(ORIGIN, OPERATOR.address)


def newest(market: Marketplace) -> Anchor:
    """The newest anchor, which must be there."""
    anchor = market.anchoring.status().newest
    assert anchor is not None
    return anchor


def grow(market: Marketplace) -> None:
    """Make one entry that is no anchor."""
    event = Event(EventKind.WITHDRAWN, market.now, "somebody", {"offer": str(market.now), "chain_transaction": None})
    with market.database.write() as tables:
        market.auditor.append(tables, event)


def test_the_chain_and_the_log_name_each_other(market: Marketplace) -> None:
    """The chain has size and root of the log; the log's next entry names them, with the block they are in."""
    before = [event.entry() for event in market.entries()]

    assert market.anchoring.step() == 1

    root = tree_root([leaf_hash(entry) for entry in before])
    assert anchored(market) == (len(before), root)
    entry = market.entries()[-1]
    outcome = market.exchange.receipts[str(entry.about["chain_transaction"])]
    assert (entry.kind, entry.about) == (
        EventKind.ANCHORED,
        {
            "size": len(before),
            "root": root.hex(),
            "chain_transaction": outcome.hash,
            "block": outcome.block,
            "block_hash": outcome.block_hash,
        },
    )


def test_an_anchor_waits_for_its_period(market: Marketplace) -> None:
    """Within the period nothing is sent, however the log grows; when it is over the next one is."""
    market.anchoring.step()
    grow(market)
    market.now += HOUR_S - 1
    assert market.anchoring.step() == 0
    market.now += 1
    assert market.anchoring.step() == 1


def test_a_log_that_only_says_where_it_is_anchored_is_not_anchored_again(market: Marketplace) -> None:
    """The entry of an anchor is no reason for another one."""
    market.anchoring.step()
    market.now += HOUR_S
    assert market.anchoring.step() == 0
    assert market.kinds().count("checkpoint.anchored") == 1


def test_an_empty_log_is_not_anchored() -> None:
    """Where there is no checkpoint there is nothing to anchor."""
    assert Marketplace().anchoring.step() == 0


def test_the_first_anchor_waits_for_a_period_too() -> None:
    """The first period begins with the first entry."""
    market = Marketplace()
    market.listed()
    market.now += HOUR_S - 1
    assert market.anchoring.step() == 0
    market.now += 1
    assert market.anchoring.step() == 1


def test_an_anchor_that_costs_too_much_waits(market: Marketplace) -> None:
    """Above the most it may cost nothing is sent, and the status says why; when it is cheaper it is sent."""
    market.memory_relayer.gas_price = 101
    assert market.anchoring.step() == 0
    assert market.anchoring.status().deferred == "An anchor may cost 101 wei; at most 100 are allowed."
    assert anchored(market) is None
    market.memory_relayer.gas_price = 100
    assert market.anchoring.step() == 1
    assert market.anchoring.status().deferred is None


def test_the_status_says_how_far_it_is(market: Marketplace) -> None:
    """The newest anchor is told as soon as it is stored, and whether it is on the chain."""
    assert market.anchoring.status().newest is None
    market.chain.faults.append(Fault.SLOW)
    market.anchoring.step()
    assert (newest(market).size, market.anchoring.status().on_chain) == (2, False)
    market.anchoring.step()
    assert market.anchoring.status().on_chain


@pytest.mark.parametrize("fault", [Fault.UNAVAILABLE, Fault.ANSWER_LOST, Fault.SLOW])
def test_an_anchor_survives_the_chain(market: Marketplace, fault: Fault) -> None:
    """What does not arrive, is slow or included unheard is sent again as the same bytes, and entered once."""
    market.chain.faults.append(fault)
    with suppress(Unavailable):
        market.anchoring.step()
    sent = newest(market).chain_transaction
    assert "checkpoint.anchored" not in market.kinds()
    assert market.anchoring.step() == 1
    assert market.entries()[-1].about["chain_transaction"] == sent
    assert market.anchoring.step() == 0


def test_a_lost_nonce_is_made_good_later(market: Marketplace) -> None:
    """An anchor whose nonce another took is given up without an entry, and the next period sends a new one."""
    market.chain.faults.append(Fault.NONCE_TAKEN)
    market.anchoring.step()
    assert (anchored(market), "checkpoint.anchored" in market.kinds()) == (None, False)
    market.now += HOUR_S
    assert market.anchoring.step() == 1
    assert anchored(market) == (2, bytes.fromhex(str(market.entries()[-1].about["root"])))


@pytest.mark.parametrize("after", [False, True], ids=["not reached", "answer lost"])
@pytest.mark.parametrize("resumed", [False, True], ids=["alone", "after a resumption"])
def test_an_interrupted_anchor_heals(*, after: bool, resumed: bool) -> None:
    """Wherever anchoring is interrupted, after a restart the anchor is on the chain and in the log, once."""
    for at in count(1):
        market = Marketplace()
        market.listed()
        market.now += HOUR_S
        interruption = Interruption(at, after=after)
        market.wire(interruption)
        try:
            market.anchoring.step()
        except Unavailable:
            market.wire(Interruption(0))
            if resumed:
                market.purchasing.resume()
            market.anchoring.step()
        assert market.kinds().count("checkpoint.anchored") == 1, interruption.where
        assert len([event for event in market.exchange.events if type(event).__name__ == "AnchorRecorded"]) == 1
        if interruption.where is None:
            break
    assert at > 10


def test_a_log_that_was_anchored_passes_the_check(market: Marketplace) -> None:
    """Before and after anchors, and when the log has grown since, the start goes on."""
    market.anchoring.check()
    market.anchoring.step()
    grow(market)
    market.anchoring.check()


def test_a_restored_older_database_is_refused(market: Marketplace) -> None:
    """A database from before the newest anchor is found at the start, before anything is signed."""
    market.anchoring.step()
    market.database, market.heads = MemoryDatabase(), MemoryHeads()
    market.wire(Interruption(0))
    grow(market)
    with pytest.raises(LogForked, match=r"2 entries of the log exchange\.example/audit are anchored.*this log has 1"):
        market.anchoring.check()


def test_another_history_is_refused(market: Marketplace) -> None:
    """A log of the same length with other entries is refused at the start, and when it would be anchored."""
    market.anchoring.step()
    market.database, market.heads = MemoryDatabase(), MemoryHeads()
    market.wire(Interruption(0))
    for _ in range(2):
        market.now += 1
        grow(market)
    with pytest.raises(LogForked, match="there"):
        market.anchoring.check()
    market.now += HOUR_S
    with pytest.raises(LogForked):
        market.anchoring.step()


def test_the_anchors_of_others_are_no_matter(market: Marketplace) -> None:
    """What another account says of this log's name on the chain binds nobody here."""
    market.exchange._anchors[Address(bytes(20)), ORIGIN] = (1_000, bytes(32))
    market.anchoring.check()
