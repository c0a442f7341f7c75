"""Tables: what DuckDB reads from CSV, JSON and Parquet files, so that a catalog can show columns and rows.

Only formats are recognised here; a file that is no table is simply not described.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from databund.core.datasets import Column
from databund.errors import FileUnusable

if TYPE_CHECKING:
    import duckdb

__all__ = ["describe", "first_rows"]

_READERS = {".parquet": "read_parquet", ".csv": "read_csv", ".tsv": "read_csv", ".jsonl": "read_json"}


def describe(paths: Sequence[Path]) -> tuple[tuple[Column, ...], int | None]:
    """The columns and the number of rows when all files are tables of one form; nothing and None otherwise.

    Raises `FileUnusable` for a file that has the name of a table and is none.
    """
    readers = {_READERS.get(path.suffix.lower()) for path in paths}
    if len(readers) != 1 or None in readers:
        return (), None
    (reader,) = readers
    connection = _connect()
    try:
        relation = [str(path) for path in paths]
        columns = connection.execute(f"DESCRIBE SELECT * FROM {reader}($1)", [relation]).fetchall()  # noqa: S608  # a constant
        rows = connection.execute(f"SELECT count(*) FROM {reader}($1)", [relation]).fetchone()  # noqa: S608
    except _duckdb().Error as error:
        raise FileUnusable(
            f"{paths[0].name} is not the table its name says: {str(error).splitlines()[0]}",
            fix="Correct the file, or publish it under another file name ending.",
        ) from error
    finally:
        connection.close()
    return tuple(Column(name=row[0], type=row[1]) for row in columns), None if rows is None else int(rows[0])


def first_rows(path: Path, limit: int = 5) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The column names and first rows of a table file. Raises `FileUnusable`."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise FileUnusable(f"{path.name} is not a table.", fix="Open it with the program it is made for.")
    connection = _connect()
    try:
        found = connection.execute(f"SELECT * FROM {reader}($1) LIMIT $2", [str(path), limit])  # noqa: S608
        return [column[0] for column in found.description or ()], found.fetchall()
    except _duckdb().Error as error:
        raise FileUnusable(f"{path.name} cannot be read: {error}", fix="Download it again.") from error
    finally:
        connection.close()


def _connect() -> duckdb.DuckDBPyConnection:
    settings = {
        "memory_limit": "512MB",
        "threads": 2,
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "python_enable_replacements": False,
    }
    connection: duckdb.DuckDBPyConnection = _duckdb().connect(":memory:", config=settings)
    return connection


def _duckdb() -> ModuleType:
    import duckdb

    return duckdb
