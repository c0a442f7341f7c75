"""``databund audit log``: read the audit log."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.logs import counted, instant, session_of, verified_log
from databund.cli.options import Common
from databund.cli.screen import Screen
from databund.core.events import EventKind
from databund.errors import InvalidInput

if TYPE_CHECKING:
    from databund.cli.logs import VerifiedLog
    from databund.sdk.reading import Query, Record

__all__ = ["log"]

_PAGE = 50
_TAIL = 10
_POLL_S = 2.0
_WHAT = {
    EventKind.REGISTERED: ("dataset registered", "dataset"),
    EventKind.LISTED: ("offer listed", "offer"),
    EventKind.WITHDRAWN: ("offer withdrawn", "offer"),
    EventKind.DECIDED: ("use denied", "offer"),
    EventKind.DENIED: ("delivery denied", "offer"),
    EventKind.ORDERED: ("order placed", "order"),
    EventKind.LICENSED: ("license issued", "order"),
    EventKind.REFUSED: ("order refused", "order"),
    EventKind.DELIVERED: ("data delivered", "delivery"),
    EventKind.SETTLED: ("payments recorded", "order"),
    EventKind.CERTIFIED: ("order certified", "order"),
    EventKind.OBSERVED: ("license seen on chain", "offer"),
    EventKind.ANCHORED: ("log anchored on chain", "size"),
    EventKind.DESTROYED: ("key destroyed", "attachment"),
}
"""What each kind is in plain words, and which member of it is shown. A decision's words depend on it."""


def log(
    *,
    subject: Annotated[
        str | None, Parameter(help="An id or address that stands anywhere in the entry; six digits of it are enough.")
    ] = None,
    order: Annotated[str | None, Parameter(help="The order that the entry is about.", metavar="ORDER")] = None,
    by: Annotated[str | None, Parameter(help="Who acted, by address.", metavar="ACCOUNT")] = None,
    kind: Annotated[str | None, Parameter(help="A kind of act, such as order.placed.", metavar="KIND")] = None,
    since: Annotated[str | None, Parameter(help="Not before: 2026-04-17, or 7d or 12h ago.", metavar="TIME")] = None,
    until: Annotated[str | None, Parameter(help="Before: 2026-04-18, or 1d ago.", metavar="TIME")] = None,
    limit: Annotated[
        int | None, Parameter(help=f"How many entries at most; by default {_PAGE}, and all with --export.")
    ] = None,
    after: Annotated[int | None, Parameter(help="Go on after this index.", metavar="INDEX")] = None,
    follow: Annotated[
        bool, Parameter(help="Show the newest entries, then new ones as they come, until Ctrl-C.")
    ] = False,
    export: Annotated[
        Path | None, Parameter(help="Write to a file instead: .csv, .parquet or .jsonl.", metavar="FILE")
    ] = None,
    from_: Annotated[
        str | None,
        Parameter(
            name="--from", help="An exported file, a folder or a URL instead of the node's log.", metavar="PLACE"
        ),
    ] = None,
    key: Annotated[
        str | None, Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY")
    ] = None,
    options: Common | None = None,
) -> None:
    """Read the audit log, oldest entries first.

    The log of the node is mirrored into the home and verified entry by entry, and read there: a server cannot leave
    anything out of an answer. Times are those of the node's clock. CSV is safe to open in a spreadsheet; JSON Lines
    hold each entry as it was signed.
    """
    from databund.sdk.reading import Query, resolve

    session = session_of(options)
    if follow and (export is not None or from_ is not None):
        raise InvalidInput("Only the log of a node can be followed, and only on the screen.", fix="Leave out --follow.")
    query = Query(
        subject=subject,
        by=by,
        order=order,
        kind=_kind(kind),
        since=instant(since, "--since"),
        until=instant(until, "--until"),
    )
    with ExitStack() as opened:
        with session.screen.progress() as progress:
            source = opened.enter_context(verified_log(session, from_, key, progress))
            query = resolve(source.source, source.checkpoint.size, query, progress=counted("search", progress))
        if export is not None:
            _export(session.screen, source, _read(source, query, after, limit), export.expanduser())
        elif follow:
            _follow(session.screen, source, query, after)
        else:
            _show(session.screen, source, query, after, _PAGE if limit is None else limit)


def _kind(text: str | None) -> EventKind | None:
    if text is None:
        return None
    try:
        return EventKind(text)
    except ValueError:
        raise InvalidInput(f"There is no kind {text[:40]!r}.", fix=f"Choose one: {', '.join(EventKind)}.") from None


def _read(
    log: VerifiedLog, query: Query, after: int | None, limit: int | None, *, stop: int | None = None
) -> Iterator[Record]:
    from databund.sdk.reading import read

    start = 0 if after is None else after + 1
    if start < 0 or (limit is not None and limit < 1):
        raise InvalidInput("--after and --limit count entries.", fix="Use an index, and a limit of 1 or more.")
    return islice(read(log.source, query, start=start, stop=stop or log.checkpoint.size), limit)


def _show(screen: Screen, log: VerifiedLog, query: Query, after: int | None, limit: int) -> None:
    found = list(_read(log, query, after, limit + 1))
    records = found[:limit]
    following = records[-1].index if len(found) > limit else None
    document = {
        "origin": log.checkpoint.origin,
        "size": log.checkpoint.size,
        "root": log.checkpoint.root.hex(),
        "verified": f"{log.how}; its key was {log.trust}",
        "entries": [_dumped(record) for record in records],
        "after": following,
    }
    screen.answer(document, _lines(records))
    if following is not None:
        screen.note(f"There are more: add --after {following}, or write all to a file with --export log.csv")


def _export(screen: Screen, log: VerifiedLog, records: Iterable[Record], target: Path) -> None:
    from databund.cli.figures import fields, plural
    from databund.sdk.log_files import write

    count = write(records, target)
    facts = {"file": str(target), "entries": count, "log": log.checkpoint.origin, "size": log.checkpoint.size}
    shown = fields((("file", target), ("log", log.checkpoint.origin), ("root", log.checkpoint.root.hex())))
    written = plural(count, "entry") if count == 1 else f"{count:,} entries"
    screen.answer(facts, [f"Wrote {written} of {log.checkpoint.size:,}.", *shown])


def _follow(screen: Screen, log: VerifiedLog, query: Query, after: int | None) -> None:
    """Show entries as they come, until the person at the terminal interrupts."""
    from databund.sdk.log_files import line

    shown = max(-1, log.checkpoint.size - _TAIL - 1) if after is None else after
    stop = log.checkpoint.size
    heading = True
    while True:
        records = list(_read(log, query, shown, None, stop=stop)) if stop > shown + 1 else []
        if screen.json:
            for record in records:
                screen.page(line(record).decode() + "\n")
        elif records:
            screen.answer(None, islice(_lines(records), 0 if heading else 1, None))
            heading = False
        shown = stop - 1
        time.sleep(_POLL_S)
        stop = stop if log.refresh is None else log.refresh().size


def _dumped(record: Record) -> dict[str, Any]:
    from databund.core import canonical
    from databund.sdk.log_files import line

    document = canonical.parse(line(record))
    return document if isinstance(document, dict) else {}


def _lines(records: Iterable[Record]) -> Iterator[str]:
    from databund.cli.figures import Heading

    yield Heading(_line("INDEX", "TIME (UTC)", "WHAT", "BY", "ABOUT"))
    empty = True
    for record in records:
        empty = False
        yield _told(record)
    if empty:
        yield "No entry is like that."


def _told(record: Record) -> str:
    from databund.cli.figures import short

    event = record.event
    if event is None:
        return _line(str(record.index), "", f"{len(record.entry):,} bytes", "", "not an event of ours")
    what, member = _WHAT[event.kind]
    if event.kind is EventKind.DECIDED and event.about["permitted"]:
        what = "use permitted"
    value = event.about[member]
    about = f"{value} entries" if member == "size" else f"{_noun(member)} {short(value)}"
    when = datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%d %H:%M")
    return _line(str(record.index), when, what, short(event.by), about)


def _noun(member: str) -> str:
    return "purpose" if member == "attachment" else member


def _line(index: str, when: str, what: str, by: str, about: str) -> str:
    return f"{index:>5}  {when:<16}  {what:<21}  {by:<10}  {about}".rstrip()
