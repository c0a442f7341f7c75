"""An exchange in memory: the rules of the smart contracts, on a chain that makes one block per chain transaction.

It decides what ``contracts/src`` decides (who may sell, who pays whom, how terms grow), and refuses with the errors
that stand for their refusals. Chain transactions carry no signature here: whoever names a signer is believed. The
ports over it are in `databund.testing.memory_ledger`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from databund.core.amounts import Amount, Currency, Payment
from databund.core.ids import Address, Bytes32, Hex, OfferId, OrderId, keccak256
from databund.core.licenses import License
from databund.core.offers import (
    WHOLE_BASIS_POINTS,
    Domain,
    Offer,
    SignedOffer,
    cancel_hash,
    order_id,
    payment_digest,
    price_of,
)
from databund.core.orders import Purchase
from databund.crypto.signatures import recover_typed_hash
from databund.errors import (
    AmountInvalid,
    InsufficientFunds,
    NotOwner,
    OfferCancelled,
    OfferExpired,
    OfferForged,
    OfferInvalid,
    PaymentInvalid,
    Refused,
    SignatureInvalid,
    SupplyExhausted,
)
from databund.ports import ChainOutcome, OfferState

__all__ = ["Act", "Cancellation", "Issue", "MemoryExchange", "Sale"]

_PERPETUAL = 2**64 - 1
_AGAIN = "Sign the payment again."


class Sale(msgspec.Struct, frozen=True, tag="sale"):
    """What ``Exchange.buyWithAuthorization`` is asked."""

    offer: SignedOffer
    purchase: Purchase


class Cancellation(msgspec.Struct, frozen=True, tag="cancellation"):
    """What ``Exchange.cancelWithSignature`` is asked."""

    offer: SignedOffer
    signature: Hex


class Issue(msgspec.Struct, frozen=True, tag="issue"):
    """What ``SettlementToken.issue`` is asked."""

    account: Address
    amount: Amount


Act = Sale | Cancellation | Issue


@dataclass
class MemoryExchange:
    """The state of the smart contracts, and of the chain that holds them. Not for threads: its ports take turns.

    ``operator`` may issue credit. ``wallets`` are smart contracts with ERC-1271 signatures, and whose key speaks for
    each. ``receipts`` are the outcomes by the hash of the chain transaction, ``included`` the signers' nonces.
    """

    operator: Address
    clock: Callable[[], int]
    domain: Domain = field(default_factory=lambda: Domain(31_337, _account("exchange")))
    currency: Currency = field(default_factory=lambda: Currency(_account("currency"), "CREDIT", 6, "Test credit"))
    wallets: dict[Address, Address] = field(default_factory=dict)
    receipts: dict[str, ChainOutcome] = field(default_factory=dict)
    included: dict[Address, int] = field(default_factory=dict)
    _cancelled: set[OfferId] = field(default_factory=set)
    _sold: dict[OfferId, int] = field(default_factory=dict)
    _paid: set[tuple[Address, OrderId]] = field(default_factory=set)
    _balances: dict[Address, int] = field(default_factory=dict)
    _licenses: dict[tuple[Address, OfferId], tuple[int, int, int]] = field(default_factory=dict)

    # Reading

    def offer_state(self, offer_id: OfferId) -> OfferState:
        """Whether an offer is cancelled, and how many units of a limited supply are sold."""
        return OfferState(cancelled=offer_id in self._cancelled, sold=self._sold.get(offer_id, 0))

    def license(self, holder: Address, offer_id: OfferId) -> License:
        """The holder's record."""
        units, expiry, uses = self._licenses.get((holder, offer_id), (0, 0, 0))
        return License(holder, offer_id, units, None if expiry == _PERPETUAL else expiry, uses)

    def balance(self, account: Address) -> Amount:
        """What the account holds."""
        return Amount(self._balances.get(account, 0))

    def check_wallet(self, account: Address, digest: Bytes32, signature: bytes) -> None:
        """Raise `OfferForged` unless the smart contract ``account`` accepts the signature (ERC-1271)."""
        owner = self.wallets.get(account)
        if owner is None or _signer(digest, signature) != owner:
            raise OfferForged(f"The signature is not by {account}.", fix="Sign with its key, over exactly this.")

    # Acting

    def check(self, act: Act, *, signer: Address) -> None:
        """Raise the `Refused` or `InvalidInput` error for which the smart contracts would refuse."""
        match act:
            case Sale():
                self._check_sale(act)
            case Cancellation(offer=signed, signature=signature):
                self._check_provider(signed.offer, self.domain.digest(cancel_hash(signed.offer.id)), signature)
                self._check_not_cancelled(signed.offer.id)
            case Issue() if signer != self.operator:
                raise NotOwner(f"{signer} does not own the currency.", fix="Act with the operator's key.")

    def include(self, act: Act, *, signer: Address, transaction_hash: str) -> None:
        """Make a block of one chain transaction: the whole act happens or, when it is refused, nothing of it."""
        payments: tuple[Payment, ...] = ()
        expiry = None
        try:
            self.check(act, signer=signer)
        except (Refused, AmountInvalid, OfferInvalid, NotOwner):
            succeeded = False
        else:
            succeeded = True
            match act:
                case Sale():
                    payments, expiry = self._sell(act)
                case Cancellation():
                    self._cancelled.add(act.offer.offer.id)
                case Issue():
                    self._credit(act.account, act.amount)
                    payments = (Payment(act.account, act.amount),)
        block = len(self.receipts) + 1
        self.included[signer] = self.included.get(signer, 0) + 1
        self.receipts[transaction_hash] = ChainOutcome(
            hash=transaction_hash,
            block=block,
            block_hash="0x" + keccak256(f"{block} {transaction_hash}".encode()).hex(),
            succeeded=succeeded,
            payments=payments,
            expiry=expiry,
        )

    def _check_sale(self, sale: Sale) -> None:
        offer, purchase = sale.offer.offer, sale.purchase
        price, now = price_of(offer, purchase.units), self.clock()
        if now > offer.valid_until:
            raise OfferExpired(f"The offer {offer.id} ended at {_time(offer.valid_until)}.", fix="Buy another.")
        self._check_provider(offer, self.domain.digest(bytes(offer.id)), sale.offer.signature)
        self._check_not_cancelled(offer.id)
        left = offer.supply - self._sold.get(offer.id, 0)
        if offer.supply and purchase.units > left:
            raise SupplyExhausted(f"Of the offer {offer.id} {left} units are left.", fix="Buy no more than are left.")
        self._check_payment(offer, purchase, price, now)
        if any(split.account == self.domain.exchange for split in offer.splits):
            raise OfferInvalid("The offer pays a split to the exchange itself.", fix="Ask for another offer.")
        self._extended(offer, purchase)

    def _check_payment(self, offer: Offer, purchase: Purchase, price: Amount, now: int) -> None:
        order = order_id(offer.id, purchase.buyer, purchase.units, purchase.salt)
        validity = (purchase.valid_after, purchase.valid_before)
        if not all(0 <= time < 2**256 for time in validity):
            raise PaymentInvalid("The payment's times are out of bounds.", fix="Give Unix seconds.")
        if not purchase.valid_after < now < purchase.valid_before:
            raise PaymentInvalid(f"The payment is valid only after {validity[0]} and before {validity[1]}.", fix=_AGAIN)
        if (purchase.buyer, order) in self._paid:
            raise PaymentInvalid(f"The order {order} of {purchase.buyer} is paid already.", fix="Look at it.")
        digest = payment_digest(
            self.currency, self.domain, order=order, payer=purchase.buyer, price=price, validity=validity
        )
        if _signer(digest, purchase.signature) != purchase.buyer:
            raise PaymentInvalid("The payment is not signed by the buyer for this order.", fix=_AGAIN)
        if self.balance(purchase.buyer) < price:
            held, needed = self.currency.format(self.balance(purchase.buyer)), self.currency.format(price)
            raise InsufficientFunds(f"{purchase.buyer} holds {held}; {needed} are needed.", fix="Have it credited.")

    def _check_provider(self, offer: Offer, digest: Bytes32, signature: bytes) -> None:
        if _signer(digest, signature) != offer.provider:
            self.check_wallet(offer.provider, digest, signature)

    def _check_not_cancelled(self, offer_id: OfferId) -> None:
        if offer_id in self._cancelled:
            raise OfferCancelled(f"The offer {offer_id} was withdrawn by its provider.", fix="Buy another.")

    def _sell(self, sale: Sale) -> tuple[tuple[Payment, ...], int | None]:
        offer, purchase = sale.offer.offer, sale.purchase
        price = price_of(offer, purchase.units)
        shares = [(split.account, price * split.basis_points // WHOLE_BASIS_POINTS) for split in offer.splits]
        rest = price - sum(share for _, share in shares)
        received: dict[Address, int] = {}
        for account, share in (*shares, (offer.provider, rest)):
            if share:
                received[account] = received.get(account, 0) + share
        self._balances[purchase.buyer] = self.balance(purchase.buyer) - price
        for account, amount in received.items():
            self._credit(account, amount)
        self._paid.add((purchase.buyer, order_id(offer.id, purchase.buyer, purchase.units, purchase.salt)))
        if offer.supply:
            self._sold[offer.id] = self._sold.get(offer.id, 0) + purchase.units
        self._licenses[purchase.buyer, offer.id] = self._extended(offer, purchase)
        payments = tuple(Payment(account, Amount(amount)) for account, amount in received.items())
        return payments, self.license(purchase.buyer, offer.id).expiry

    def _extended(self, offer: Offer, purchase: Purchase) -> tuple[int, int, int]:
        """The holding after a purchase: (units, expiry, uses). The term grows from its end, or from now."""
        units, expiry, uses = self._licenses.get((purchase.buyer, offer.id), (0, 0, 0))
        end = _PERPETUAL
        if offer.duration_s:
            end = max(expiry, self.clock()) + purchase.units * offer.duration_s
            if end >= _PERPETUAL:
                raise AmountInvalid("The license would become too long.", fix="Buy fewer units.")
        return units + purchase.units, end, uses + purchase.units * offer.uses

    def _credit(self, account: Address, amount: int) -> None:
        self._balances[account] = self._balances.get(account, 0) + amount


def _account(name: str) -> Address:
    return Address(keccak256(name.encode())[:20])


def _signer(digest: Bytes32, signature: bytes) -> Address | None:
    try:
        return recover_typed_hash(digest, signature)
    except SignatureInvalid:
        return None


def _time(time_s: int) -> str:
    return datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if time_s < 2**37 else str(time_s)
