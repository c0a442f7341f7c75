"""What differs between database engines, as one value: how to connect, how to begin, and what their errors mean."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine, ExceptionContext, event

from databund.errors import AlreadyExists, DatabundError, InvalidInput, StoreCorrupt, StoreFull, StoreUnavailable

__all__ = [
    "ERASED",
    "PATIENCE_S",
    "DatabaseEngine",
    "broken_rule",
    "corrupt",
    "full",
    "taken",
    "translate_errors",
    "unavailable",
]

PATIENCE_S = 30
"""How long a writer waits for its turn before it gives up with `StoreUnavailable`."""

ERASED = "databund.erased"
"""Set in a writer's ``Connection.info`` when something was erased that no file of the engine may go on holding."""


@dataclass(frozen=True)
class DatabaseEngine:
    """A connected engine. ``writer`` lends one connection at a time, ``reader`` as many as are asked for.

    ``begin_write`` are the statements after which the database transaction is the only one that writes, also across
    processes; ``begin_read`` those after which it sees one snapshot.
    """

    writer: Engine
    reader: Engine
    begin_write: tuple[str, ...]
    begin_read: tuple[str, ...]


def translate_errors(engine: Engine, meaning: Callable[[BaseException], DatabundError | None]) -> None:
    """Let every error of the engine's driver surface as what it means, at the statement that met it."""

    def translate(context: ExceptionContext) -> None:
        if context.is_pre_ping:
            return  # SQLAlchemy is about to replace the connection.
        error = context.original_exception
        found = _our_own(error) or meaning(error)
        if found is not None:
            raise found from error

    event.listen(engine, "handle_error", translate)


def full(error: BaseException) -> StoreFull:
    """The disk is full."""
    return StoreFull(
        f"The database has no room left ({_first_line(error)}).", fix="Free some disk space and try again."
    )


def unavailable(error: BaseException) -> StoreUnavailable:
    """The database does not answer, or stayed locked."""
    return StoreUnavailable(
        f"The database does not answer ({_first_line(error)}).", fix="Check that it runs, then try again."
    )


def corrupt(error: BaseException) -> StoreCorrupt:
    """The database is damaged, or is none of ours."""
    return StoreCorrupt(f"The database cannot be read ({_first_line(error)}).", fix="Restore it from a backup.")


def taken(error: BaseException) -> AlreadyExists:
    """A unique key is taken, where the port names no other error."""
    return AlreadyExists(f"A record with this key exists ({_first_line(error)}).", fix="Use another key.")


def broken_rule(error: BaseException) -> InvalidInput:
    """A value is out of bounds."""
    return InvalidInput(f"The database refuses the record ({_first_line(error)}).", fix="Correct the named value.")


def _our_own(error: BaseException) -> DatabundError | None:
    """What a value says that has no stored form; SQLAlchemy would wrap it."""
    if isinstance(error, DatabundError):
        return type(error)(error.what, fix=error.fix)
    if isinstance(error, OverflowError | UnicodeError):
        return InvalidInput("A number or a text cannot be stored.", fix="Use 64-bit numbers and Unicode.")
    return None


def _first_line(error: BaseException) -> str:
    """What the driver says, without the values that some drivers add below."""
    return str(error).partition("\n")[0]
