"""Figures: how ids, times, terms, sizes and tables of them are written for people."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from shutil import get_terminal_size

__all__ = ["Heading", "elapsed", "fields", "moment", "plural", "printable", "short", "size", "table", "term"]

_SHORT_DIGITS = 8
_GAP = "  "


class Heading(str):
    """A line that stands above others."""

    __slots__ = ()


def printable(text: str) -> str:
    """The text with every control character replaced by a visible sign."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def short(identifier: object) -> str:
    """The beginning of an id or address, long enough to be typed instead of it."""
    return str(identifier)[: 2 + _SHORT_DIGITS]


def moment(time_s: int | None) -> str:
    """A Unix time as ``2026-04-17 09:30 UTC``; ``never`` for None."""
    return "never" if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M UTC")


def term(duration_s: int) -> str:
    """How long a license lasts: ``30 days``, ``perpetual`` for 0."""
    if duration_s == 0:
        return "perpetual"
    for seconds, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if duration_s % seconds == 0:
            return plural(duration_s // seconds, unit)
    return plural(duration_s, "second")


def elapsed(duration_s: int) -> str:
    """How long something is ago, in its largest unit: ``7 seconds``, ``3 hours``."""
    for unit_s, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        if duration_s >= unit_s:
            return plural(duration_s // unit_s, unit)
    return plural(max(0, duration_s), "second")


def size(count: int) -> str:
    """A number of bytes: ``812 B``, ``1.4 MB`` (decimal units)."""
    if count < 1000:
        return f"{count} B"
    value = float(count)
    for unit in ("kB", "MB", "GB", "TB"):
        value /= 1000
        if value < 999.95:
            return f"{value:.1f} {unit}"
    return f"{value / 1000:.1f} PB"


def plural(count: int, noun: str) -> str:
    """``1 file``, ``2 files``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def fields(pairs: Iterable[tuple[str, object]]) -> Iterator[str]:
    """Lines of name and value, the values below each other; a value of None is left out."""
    shown = [(name, str(value)) for name, value in pairs if value is not None]
    widest = max((len(name) for name, _ in shown), default=0)
    return (f"{_GAP}{name.ljust(widest)}{_GAP}{value}" for name, value in shown)


def table(headers: Sequence[str], rows: Iterable[Sequence[object]], *, empty: str) -> Iterator[str]:
    """A table whose last column is cut at a terminal's edge; ``empty`` instead of a table without rows."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        yield empty
        return
    widths = [max(map(_width, column)) for column in zip(headers, *cells, strict=True)]
    room = get_terminal_size().columns if sys.stdout.isatty() else None
    yield Heading(_line(headers, widths, room))
    for row in cells:
        yield _line(row, widths, room)


def _line(cells: Sequence[str], widths: Sequence[int], room: int | None) -> str:
    *first, last = cells
    line = "".join(cell + " " * (width - _width(cell)) + _GAP for cell, width in zip(first, widths, strict=False))
    if room is not None:
        last = _cut(last, max(8, room - _width(line)))
    return (line + last).rstrip()


def _cut(text: str, room: int) -> str:
    if _width(text) <= room:
        return text
    while text and _width(text) >= room:
        text = text[:-1]
    return text + "…"


def _width(text: str) -> int:
    """How many columns of a terminal a text takes: Chinese characters take two."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in ("W", "F") else 1 for c in text
    )
