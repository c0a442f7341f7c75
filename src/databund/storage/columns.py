"""Column types: how identifiers, texts and documents lie in a table, the same in SQLite and PostgreSQL.

Free text lies as UTF-8 bytes: PostgreSQL refuses NUL in its text columns, and what a smart contract or a header says
may hold one. Documents are RFC 8785 bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import BigInteger, Dialect, Integer, LargeBinary
from sqlalchemy.types import TypeDecorator

from databund.core import documents
from databund.core.ids import Address, Bytes32
from databund.errors import DatabundError, StoreCorrupt

__all__ = ["Counter", "Document", "Raw", "Utf8"]

Counter = BigInteger().with_variant(Integer(), "sqlite")
"""64 bits, signed. SQLite numbers rows by itself only in a column called INTEGER."""

K = TypeVar("K", bound=Bytes32 | Address)
T = TypeVar("T")


class Raw(TypeDecorator[K]):
    """An identifier or address as its bytes."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, kind: type[K]) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: K | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002  # SQLAlchemy's
        """The bytes of an identifier."""
        return None if value is None else bytes(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> K | None:  # noqa: ARG002  # SQLAlchemy's
        """The identifier of stored bytes. Raises `StoreCorrupt`."""
        return None if value is None else _read(self.kind, value)


class Utf8(TypeDecorator[str]):
    """Free text as its UTF-8 bytes."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> bytes | None:  # noqa: ARG002  # SQLAlchemy's
        """The bytes of a text; one with lone surrogates has none, which becomes `InvalidInput`."""
        return None if value is None else value.encode()

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> str | None:  # noqa: ARG002  # SQLAlchemy's
        """The text of stored bytes."""
        return None if value is None else value.decode(errors="replace")


class Document(TypeDecorator[Any]):
    """A struct of the core as its RFC 8785 bytes."""

    impl = LargeBinary
    cache_ok = True

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind

    def process_bind_param(self, value: Any, dialect: Dialect) -> bytes | None:  # noqa: ARG002  # SQLAlchemy's
        """The document of a struct."""
        return None if value is None else documents.encode(value)

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> Any:  # noqa: ARG002  # SQLAlchemy's
        """The struct of a stored document. Raises `StoreCorrupt`."""
        return None if value is None else _read(lambda data: documents.decode(data, self.kind), value)


def _read(reader: Callable[[bytes], T], stored: bytes) -> T:
    try:
        return reader(stored)
    except DatabundError as error:
        raise StoreCorrupt(f"A stored value cannot be read: {error.what}", fix="Restore the database.") from error
