"""Events: each kind of entry is about exactly its members, and fits into the log."""

import pytest

from databund.core import canonical
from databund.core.events import MAX_ENTRY_BYTES, Event, EventKind
from databund.errors import DocumentInvalid

REASON = {"order": "1", "offer": "2", "reason": "because"}


def test_an_entry_is_canonical_and_comes_back() -> None:
    """An entry is the RFC 8785 form of its event, from which the event is read again."""
    event = Event(EventKind.REFUSED, 1, "0x1", dict(REASON))
    assert event.entry() == canonical.canonicalize(canonical.parse(event.entry()))
    assert (
        event.entry()
        == b'{"about":{"offer":"2","order":"1","reason":"because"},"at":1,"by":"0x1","kind":"order.refused"}'
    )
    assert Event.read(event.entry()) == event


@pytest.mark.parametrize("kind", EventKind)
def test_an_event_names_every_member(kind: EventKind) -> None:
    """For each kind, nothing is too little, and the sentence lists what belongs there."""
    with pytest.raises(DocumentInvalid, match=f"An entry of kind {kind} is about .*; this one is about nothing"):
        Event(kind, 1, "0x1", {})


@pytest.mark.parametrize("about", [{**REASON, "name": "Ann"}, {"order": "1", "offer": "2"}])
def test_an_event_names_no_other_member(about: dict[str, str]) -> None:
    """One member more or less is refused, so nothing slips into the log."""
    with pytest.raises(DocumentInvalid) as caught:
        Event(EventKind.REFUSED, 1, "0x1", dict(about))
    assert caught.value.fix == "Name every member, and no other."


def test_an_entry_is_bounded() -> None:
    """An entry of the largest size is taken, and one byte more is not."""
    room = MAX_ENTRY_BYTES - len(Event(EventKind.REFUSED, 1, "0x1", {**REASON, "reason": ""}).entry())
    assert len(Event(EventKind.REFUSED, 1, "0x1", {**REASON, "reason": "x" * room}).entry()) == MAX_ENTRY_BYTES
    with pytest.raises(DocumentInvalid, match="65536 bytes; the log takes 65535") as caught:
        Event(EventKind.REFUSED, 1, "0x1", {**REASON, "reason": "x" * (room + 1)}).entry()
    assert caught.value.fix == "Log a hash instead."


@pytest.mark.parametrize(
    "entry",
    [
        b"",
        b"{}",
        b'{"kind":"order.eaten","at":1,"by":"","about":{}}',
        b'{"kind":"order.refused","at":"1","by":"","about":{"order":"1","offer":"2","reason":""}}',
        b'{"kind":"order.refused","at":1,"by":"","about":{"order":"1","offer":"2","reason":""},"extra":1}',
        b'{"kind":"order.refused","at":1,"by":"","about":{"order":"1"}}',
    ],
)
def test_what_is_no_entry_is_refused(entry: bytes) -> None:
    """Bytes that are no event of a kind we know are refused."""
    with pytest.raises(DocumentInvalid):
        Event.read(entry)
