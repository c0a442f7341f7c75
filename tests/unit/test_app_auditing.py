"""Auditing: each append leaves a tree under a signed checkpoint, and never goes on from a tree that was not signed."""

from collections.abc import Callable

import pytest

from databund.core.events import Event, EventKind
from databund.core.ids import OrderId
from databund.errors import CheckpointInvalid, DocumentInvalid, LogForked, NotFound, StoreCorrupt
from databund.ports import Tables
from databund.testing.faults import Interruption
from tests.unit.marketplace import Marketplace


@pytest.fixture
def market() -> Marketplace:
    """A new market."""
    return Marketplace()


def refusal(number: int, *, reason: str = "because") -> Event:
    """An event."""
    return Event(
        EventKind.REFUSED,
        number,
        "somebody",
        {"order": str(OrderId(number.to_bytes(32))), "offer": "", "reason": reason},
    )


def append(market: Marketplace, *events: Event) -> list[int]:
    """Append events in one database transaction."""
    with market.database.write() as tables:
        return list(market.auditor.append(tables, *events))


def test_entries_are_numbered(market: Marketplace) -> None:
    """Events are appended in order, across database transactions, and read back as they were."""
    events = [refusal(number) for number in range(5)]
    assert append(market, *events[:2]) == [0, 1]
    assert append(market, *events[2:]) == [2, 3, 4]
    assert market.entries() == events


def test_the_log_verifies_across_tiles(market: Marketplace) -> None:
    """At each size around the edges of a tile the checkpoint is signed over exactly the entries."""
    append(market, *map(refusal, range(254)))
    for number in range(254, 259):
        append(market, refusal(number))
        assert len(market.entries()) == number + 1


def test_a_raising_act_leaves_no_entry(market: Marketplace) -> None:
    """When the act's database transaction fails, its entry is gone with it, and the next takes its number."""

    def act() -> None:
        with market.database.write() as tables:
            market.auditor.append(tables, refusal(1))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        act()
    assert market.entries() == []
    assert append(market, refusal(2)) == [0]


def test_an_entry_that_is_too_large_is_refused(market: Marketplace) -> None:
    """An entry beyond the limit of an entry bundle is refused, and nothing of its act stays."""
    with pytest.raises(DocumentInvalid):
        append(market, refusal(1), refusal(2, reason="x" * 65_536))
    assert market.entries() == []


def _other_tile(tables: Tables) -> None:
    checkpoint = tables.log.checkpoint()
    assert checkpoint is not None
    tables.log.write(2, [], tiles={(0, 0): bytes(64)}, checkpoint=checkpoint)


def _cut_tile(tables: Tables) -> None:
    checkpoint = tables.log.checkpoint()
    assert checkpoint is not None
    tables.log.write(2, [], tiles={(0, 0): bytes(32)}, checkpoint=checkpoint)


def _other_checkpoint(tables: Tables) -> None:
    tables.log.write(2, [], tiles={}, checkpoint=b"nothing")


def _unsigned_entry(tables: Tables) -> None:
    checkpoint = tables.log.checkpoint()
    assert checkpoint is not None
    tables.log.write(2, [b"more"], tiles={}, checkpoint=checkpoint)


@pytest.mark.parametrize(
    ("tamper", "error"),
    [
        (_other_tile, LogForked),
        (_cut_tile, (StoreCorrupt, NotFound)),
        (_other_checkpoint, CheckpointInvalid),
        (_unsigned_entry, LogForked),
    ],
)
def test_a_changed_log_stops(
    market: Marketplace, tamper: Callable[[Tables], None], error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    """A node that starts appends nothing to a log whose tiles, entries or checkpoint are not the signed ones."""
    append(market, refusal(0), refusal(1))
    with market.database.write() as tables:
        tamper(tables)
    market.wire(Interruption(0))
    with pytest.raises(error):
        append(market, refusal(2))
    with market.database.read() as tables:
        assert refusal(2).entry() not in tables.log.entries(0, 9)
