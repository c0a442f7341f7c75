"""Log files: entries of a log as CSV, Parquet or JSON Lines, written as they come, whatever their number.

A table has a column for what most readers ask for, and the entry itself last. In CSV a text that a spreadsheet would
run as a formula gets an apostrophe in front (OWASP "CSV Injection"); the other formats need none.
"""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

from databund.core.documents import Json
from databund.core.events import Event
from databund.errors import FileUnusable
from databund.sdk.durable_files import unwritable
from databund.sdk.reading import Record

__all__ = ["COLUMNS", "FORMATS", "harmless", "line", "rule_of", "write"]

COLUMNS: dict[str, str] = {
    "index": "BIGINT",
    "time": "TIMESTAMP",
    "kind": "VARCHAR",
    "by": "VARCHAR",
    "dataset": "VARCHAR",
    "offer": "VARCHAR",
    "order": "VARCHAR",
    "delivery": "VARCHAR",
    "units": "BIGINT",
    "price": "VARCHAR",
    "permitted": "BOOLEAN",
    "rule": "VARCHAR",
    "reason": "VARCHAR",
    "chain_transaction": "VARCHAR",
    "entry": "VARCHAR",
}
"""The columns of a table and their types in DuckDB; amounts go beyond 64 bits, so they stay text."""

_ABOUT = tuple(COLUMNS)[4:10]
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "|", "%")


def write(records: Iterable[Record], target: Path) -> int:
    """Write the records in the format that the file's name ends in; returns how many there were.

    The file appears only when it is whole. Raises `FileUnusable` for another ending or a place that cannot be written,
    and `StoreFull`.
    """
    writer = FORMATS.get(target.suffix.lower())
    if writer is None:
        raise FileUnusable(
            f"{target.name} names no format that can be written.", fix=f"End it in {', '.join(FORMATS)}."
        )
    temporary = target.with_name(f".{target.name}.new")
    try:
        count = writer(records, temporary)
        temporary.replace(target)
    except OSError as error:
        raise unwritable(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return count


def rule_of(decision: Json) -> str | None:
    """The rule that decided: the one that granted, or the first that denied."""
    if not isinstance(decision, dict):
        return None
    if decision.get("granted_by") is not None:
        return str(decision["granted_by"])
    return next((str(denial.get("path")) for denial in decision.get("denials") or [] if isinstance(denial, dict)), None)


def _row(record: Record) -> list[Any]:
    event = record.event
    entry = record.entry.decode(errors="replace")
    if event is None:
        return [record.index, *[None] * (len(COLUMNS) - 2), entry]
    about = event.about
    return [
        record.index,
        datetime.fromtimestamp(event.at, UTC).strftime("%Y-%m-%d %H:%M:%S"),
        str(event.kind),
        event.by,
        *(about.get(name) for name in _ABOUT),
        about.get("permitted"),
        rule_of(about.get("decision")),
        _reason(event),
        about.get("chain_transaction"),
        entry,
    ]


def _reason(event: Event) -> Json:
    decision = event.about.get("decision")
    if isinstance(decision, dict) and decision.get("sentences"):
        return " ".join(map(str, decision["sentences"]))
    return event.about.get("reason")


def _csv(records: Iterable[Record], target: Path) -> int:
    with _opened(target) as file:
        return _table(map(_row, records), file, harmless)


def _table(rows: Iterable[list[Any]], file: IO[str], cell: Callable[[Any], Any]) -> int:
    table = csv.writer(file, lineterminator="\n")
    table.writerow(COLUMNS)
    count = 0
    for count, row in enumerate(rows, start=1):  # noqa: B007  # the last one is the number of rows
        table.writerow([cell(value) for value in row])
    return count


def harmless(value: Any) -> Any:
    """A cell of a CSV file that no spreadsheet runs."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _parquet(records: Iterable[Record], target: Path) -> int:
    import duckdb

    with TemporaryDirectory(prefix=".databund-", dir=target.parent) as folder:
        rows = Path(folder) / "rows.csv"
        with _opened(rows) as file:
            count = _table(map(_row, records), file, lambda value: value)
        connection = duckdb.connect(
            ":memory:",
            config={
                "memory_limit": "512MB",
                "threads": 2,
                "temp_directory": folder,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            },
        )
        try:
            table = connection.read_csv(
                str(rows), header=True, columns=COLUMNS, quotechar='"', escapechar='"', max_line_size=2**24
            )
            table.write_parquet(str(target), compression="zstd")
        finally:
            connection.close()
    return count


def _jsonl(records: Iterable[Record], target: Path) -> int:
    count = 0
    with target.open("wb") as file:
        for count, record in enumerate(records, start=1):  # noqa: B007  # the last one is the number of records
            file.write(line(record) + b"\n")
    return count


def line(record: Record) -> bytes:
    """One line of JSON: the index, and the entry as it is in the log; of a log that is not ours, in base64."""
    if record.event is None:
        kept = {"index": record.index, "entry_base64": base64.b64encode(record.entry).decode()}
        return json.dumps(kept, separators=(",", ":")).encode()
    return b'{"index":%d,"entry":%s}' % (record.index, record.entry)


@contextmanager
def _opened(target: Path) -> Iterator[IO[str]]:
    with target.open("w", encoding="utf-8", newline="") as file:
        yield file


FORMATS: dict[str, Callable[[Iterable[Record], Path], int]] = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
"""The formats by the ending of the file's name."""
