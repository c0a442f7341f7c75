"""``databund credit``: the money of the exchange."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

if TYPE_CHECKING:
    from databund.core.amounts import Currency
    from databund.core.messages import Account

__all__ = ["issue", "show"]


def issue(
    account: Annotated[str, Parameter(help="The address of the account.")],
    amount: Annotated[str, Parameter(help="How much, such as 100 or 12.50.")],
    /,
    *,
    reference: Annotated[
        str | None, Parameter(help="What names the deposit; the same reference is credited once.")
    ] = None,
    options: Options | None = None,
) -> None:
    """Credit an account against a deposit; only the operator of the node may.

    Give a reference, such as the number of the bank transfer: then running the command twice credits once.
    """
    from databund.core.ids import Address
    from databund.errors import AmountInvalid

    session = Session(options)
    receiver = Address.parse(account)
    with session.client(signed_in=True) as client:
        currency = client.info.currency
        credited = currency.parse(amount)
        if not credited:
            raise AmountInvalid("Nothing would be credited.", fix="Write an amount above zero.")
        holding = client.credit(receiver, credited, reference=reference)
        text = f"{currency.format(credited)} are credited; {receiver} holds {currency.format(holding.balance)}."
        session.screen.answer(_document(holding, currency), [text])


def show(
    account: Annotated[str | None, Parameter(help="An address; by default that of your key.")] = None,
    /,
    *,
    options: Options | None = None,
) -> None:
    """Show a balance; yours when no account is named."""
    from databund.core.ids import Address

    session = Session(options)
    address = session.address_of(session.settings.key) if account is None else Address.parse(account)
    with session.client() as client:
        holding, currency = client.balance(address), client.info.currency
        text = f"{address} holds {currency.format(holding.balance)}."
        session.screen.answer(_document(holding, currency), [text])


def _document(holding: Account, currency: Currency) -> dict[str, Any]:
    return {
        "address": str(holding.address),
        "balance": str(int(holding.balance)),
        "currency": currency.symbol,
        "decimals": currency.decimals,
        "formatted": currency.format(holding.balance),
    }
