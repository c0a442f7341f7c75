"""Pending acts: what a client has signed or asked for, written down before it is sent.

When a client dies between asking and hearing the answer, running the same command again finds the same order or
delivery, so nobody pays or spends a use twice.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

from databund.core import documents
from databund.core.ids import Address, OfferId
from databund.core.messages import DeliveryRequest, OrderRequest
from databund.errors import DocumentInvalid, FileUnusable

__all__ = ["Pending"]

T = TypeVar("T", OrderRequest, DeliveryRequest)


class Pending:
    """One folder of requests, each a file that is there before the request and gone when its answer was heard."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def order(self, offer_id: OfferId, buyer: Address, units: int) -> Path:
        """Where the order of this offer, buyer and number of units is noted."""
        return self._folder / f"order-{buyer}-{offer_id}-{units}.json"

    def delivery(self, offer_id: OfferId, holder: Address) -> Path:
        """Where the delivery of this offer to this holder is noted."""
        return self._folder / f"delivery-{holder}-{offer_id}.json"

    def read(self, note: Path, kind: type[T]) -> T | None:
        """The noted request, or None. Raises `FileUnusable` for a file that is not one."""
        try:
            return documents.decode(note.read_bytes(), kind)
        except FileNotFoundError:
            return None
        except (OSError, DocumentInvalid) as error:
            raise FileUnusable(
                f"{note}, which notes an act that may be under way, cannot be read.",
                fix="Look whether it was done (databund order list, databund license list), then remove this file.",
            ) from error

    def write(self, note: Path, request: OrderRequest | DeliveryRequest) -> None:
        """Note a request durably."""
        note.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = note.with_suffix(".new")
        with open(temporary, "wb", opener=_private) as file:
            file.write(documents.encode(request))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(note)

    def done(self, note: Path) -> None:
        """Forget a request whose answer was heard."""
        note.unlink(missing_ok=True)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
