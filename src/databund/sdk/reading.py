"""Reading: entries of a verified log, chosen by what they are about, in their order.

A reader goes through the entries themselves, from a mirror or an export, so no server can leave one out of an answer.
Ids may be shortened to six or more digits while only one id in the log begins with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from databund.core.events import Event, EventKind
from databund.errors import DocumentInvalid, IdentifierInvalid, NotFound
from databund.sdk.mirror import read_range
from databund.tlog.sources import LogSource

__all__ = ["Query", "Record", "read", "resolve"]

_PREFIX = re.compile(r"(?:0x)?([0-9a-f]{6,64})", re.ASCII)
_LENGTHS = (40, 64)  # digits of an address, and of every other id


@dataclass(frozen=True, slots=True)
class Record:
    """One entry, its index, and what it says; None for an entry that is not one of ours."""

    index: int
    entry: bytes
    event: Event | None


@dataclass(frozen=True, kw_only=True)
class Query:
    """Which entries are wanted; what is None does not matter.

    ``subject`` is an id that stands anywhere in the entry, ``by`` who acted, ``order`` the order it is about. ``since``
    (inclusive) and ``until`` (exclusive) are Unix seconds, by the clock of the node.
    """

    subject: str | None = None
    by: str | None = None
    order: str | None = None
    kind: EventKind | None = None
    since: int | None = None
    until: int | None = None

    def takes(self, event: Event | None) -> bool:
        """Whether an event is wanted, except for its ``subject``, which is looked for in the entry."""
        if event is None:
            return not (self.by or self.order or self.kind or self.since is not None or self.until is not None)
        return (
            (self.kind is None or event.kind is self.kind)
            and (self.since is None or event.at >= self.since)
            and (self.until is None or event.at < self.until)
            and (self.by is None or _same(event.by, self.by))
            and (self.order is None or _same(event.about.get("order"), self.order))
        )


def resolve(source: LogSource, size: int, query: Query, *, progress: Callable[[int, int], None] | None = None) -> Query:
    """The query with its shortened ids written out, which takes a pass over the log when there are any.

    Raises IdentifierInvalid for what is no id, or several ids begin with; NotFound for one that is not in the log.
    """
    wanted = {name: _digits(text) for name in ("subject", "by", "order") if (text := getattr(query, name)) is not None}
    short = {name: digits for name, digits in wanted.items() if len(digits) not in _LENGTHS}
    if short:
        found = _ids(source, size, short, progress)
        wanted |= {name: _only(found[name], digits) for name, digits in short.items()}
    return replace(query, subject=wanted.get("subject"), by=wanted.get("by"), order=wanted.get("order"))


def read(source: LogSource, query: Query, *, start: int, stop: int) -> Iterator[Record]:
    """The entries from index ``start`` up to ``stop`` that a resolved query wants."""
    subject = None if query.subject is None else _pattern(query.subject)
    kind = None if query.kind is None else f'"kind":"{query.kind}"'.encode()
    for index, entry in read_range(source, start, stop):
        if (kind is not None and kind not in entry) or (subject is not None and not subject.search(entry)):
            continue
        event = _event(entry)
        if query.takes(event):
            yield Record(index, entry, event)


def _event(entry: bytes) -> Event | None:
    try:
        return Event.read(entry)
    except DocumentInvalid:
        return None


def _digits(text: str) -> str:
    match = _PREFIX.fullmatch(text.strip().lower())
    if match is None:
        raise IdentifierInvalid(
            f"{text[:80]!r} is not an id, an address, or the beginning of one.", fix="Write six or more of its digits."
        )
    return match[1]


def _pattern(digits: str) -> re.Pattern[bytes]:
    """Finds every whole id that begins with these digits."""
    return re.compile(rb"(?<![0-9a-z])(?:0x)?(%s[0-9a-f]*)(?![0-9a-z])" % digits.encode(), re.IGNORECASE)


def _ids(
    source: LogSource, size: int, short: Mapping[str, str], progress: Callable[[int, int], None] | None
) -> dict[str, set[str]]:
    patterns = {name: _pattern(digits) for name, digits in short.items()}
    found: dict[str, set[str]] = {name: set() for name in short}
    for index, entry in read_range(source, 0, size):
        for name, pattern in patterns.items():
            if seen := pattern.findall(entry):
                found[name] |= {digits.decode().lower() for digits in seen if len(digits) in _LENGTHS}
        if progress is not None and index % 4096 == 0:
            progress(index, size)
    return found


def _only(found: set[str], digits: str) -> str:
    if not found:
        raise NotFound(f"No id in the log begins with {digits}.", fix="Look at the log: databund audit log")
    if len(found) > 1:
        named = ", ".join(f"0x{one[:16]}…" for one in sorted(found)[:4])
        raise IdentifierInvalid(
            f"{digits} is the beginning of {len(found)} ids: {named}", fix="Write more digits of the one you mean."
        )
    return found.pop()


def _same(value: object, digits: str) -> bool:
    return isinstance(value, str) and value.lower().removeprefix("0x") == digits
