"""Payments: what each account received, from the settlement currency's Transfer events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from databund.core.amounts import Amount, Payment
from databund.core.ids import Address

__all__ = ["received"]


def received(transfers: Iterable[Mapping[str, Any] | None], *, besides: Address) -> tuple[Payment, ...]:
    """The sums by account, in the order of the first payment; ``besides`` is the exchange, which only passes money on.

    Each transfer has the fields of ``Transfer(from, to, value)``; None, an event of another kind, is skipped.
    """
    sums: dict[Address, int] = {}
    for transfer in transfers:
        if transfer is not None:
            account = Address(bytes.fromhex(transfer["to"][2:]))
            sums[account] = sums.get(account, 0) + transfer["value"]
    sums.pop(besides, None)
    return tuple(Payment(account, Amount(amount)) for account, amount in sums.items())
