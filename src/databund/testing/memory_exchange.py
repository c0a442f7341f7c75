"""An exchange in memory: the rules of the smart contracts, on a chain that makes one block per chain transaction.

It decides what ``contracts/src`` decides (who may sell, who pays whom, how terms grow), and refuses with the errors
that stand for their refusals. Chain transactions carry no signature here: whoever names a signer is believed. The
ports over it are in `databund.testing.memory_ledger`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from databund.core.amounts import Amount, Currency, Payment
from databund.core.chain_events import AnchorRecorded, ChainEvent, LicenseSold, OfferWithdrawn, Place
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
    LogForked,
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
from databund.ports import Block, ChainOutcome, OfferState

__all__ = ["Act", "Anchoring", "Cancellation", "DirectSale", "Issue", "MemoryExchange", "Sale"]

_PERPETUAL = 2**64 - 1
_AGAIN = "Sign the payment again."


class Sale(msgspec.Struct, frozen=True, tag="sale"):
    """What ``Exchange.buyWithAuthorization`` is asked."""

    offer: SignedOffer
    purchase: Purchase


class DirectSale(msgspec.Struct, frozen=True, tag="direct"):
    """What ``Exchange.buy`` is asked by the signer, who has allowed the exchange to take the price."""

    offer: SignedOffer
    units: int


class Cancellation(msgspec.Struct, frozen=True, tag="cancellation"):
    """What ``Exchange.cancelWithSignature`` is asked."""

    offer: SignedOffer
    signature: Hex


class Issue(msgspec.Struct, frozen=True, tag="issue"):
    """What ``SettlementToken.issue`` is asked."""

    account: Address
    amount: Amount


class Anchoring(msgspec.Struct, frozen=True, tag="anchoring"):
    """What ``CheckpointAnchor.anchor`` is asked by the signer."""

    origin: str
    size: int
    root: Hex


Act = Sale | DirectSale | Cancellation | Issue | Anchoring


@dataclass
class MemoryExchange:
    """The state of the smart contracts, and of the chain that holds them. Not for threads: its ports take turns.

    ``operator`` may issue credit. ``wallets`` are smart contracts with ERC-1271 signatures, and whose key speaks for
    each. ``receipts`` are the outcomes by the hash of the chain transaction, ``included`` the signers' nonces, and
    ``events`` what was recorded.
    """

    operator: Address
    clock: Callable[[], int]
    domain: Domain = field(default_factory=lambda: Domain(31_337, _account("exchange")))
    currency: Currency = field(default_factory=lambda: Currency(_account("currency"), "CREDIT", 6, "Test credit"))
    wallets: dict[Address, Address] = field(default_factory=dict)
    receipts: dict[str, ChainOutcome] = field(default_factory=dict)
    included: dict[Address, int] = field(default_factory=dict)
    events: list[ChainEvent] = field(default_factory=list)
    _anchors: dict[tuple[Address, str], tuple[int, bytes]] = field(default_factory=dict)
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

    def anchored(self, origin: str, sender: Address) -> tuple[int, bytes] | None:
        """The tree head that ``sender`` left last."""
        return self._anchors.get((sender, origin))

    def blocks(self) -> list[Block]:
        """The blocks from number 0 on, which holds nothing."""
        first = Block(0, "0x" + keccak256(b"0").hex())
        return [first, *(Block(receipt.block, receipt.block_hash) for receipt in self.receipts.values())]

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
            case DirectSale(offer=signed, units=units):
                self._check_direct(signed, units, buyer=signer)
            case Anchoring():
                self._check_anchor(act, signer)
            case Cancellation(offer=signed, signature=signature):
                self._check_provider(signed.offer, self.domain.digest(cancel_hash(signed.offer.id)), signature)
                self._check_not_cancelled(signed.offer.id)
            case Issue() if signer != self.operator:
                raise NotOwner(f"{signer} does not own the currency.", fix="Act with the operator's key.")

    def include(self, act: Act, *, signer: Address, transaction_hash: str) -> None:
        """Make a block of one chain transaction: the whole act happens or, when it is refused, nothing of it."""
        payments: tuple[Payment, ...] = ()
        expiry = None
        block = len(self.receipts) + 1
        block_hash = "0x" + keccak256(f"{block} {transaction_hash}".encode()).hex()
        place = Place(block, block_hash, transaction_hash, 0)
        try:
            self.check(act, signer=signer)
        except (Refused, AmountInvalid, OfferInvalid, NotOwner, LogForked):
            succeeded = False
        else:
            succeeded = True
            match act:
                case Sale(offer=signed, purchase=purchase):
                    offer_id = signed.offer.id
                    order = order_id(offer_id, purchase.buyer, purchase.units, purchase.salt)
                    self._paid.add((purchase.buyer, order))
                    payments, expiry = self._sell(signed.offer, purchase.buyer, purchase.units, order, place)
                case DirectSale(offer=signed, units=units):
                    payments, expiry = self._sell(signed.offer, signer, units, None, place)
                case Cancellation():
                    self._cancelled.add(act.offer.offer.id)
                    self.events.append(OfferWithdrawn(place, act.offer.offer.id, act.offer.offer.provider))
                case Anchoring(origin=origin, size=size, root=root):
                    self._anchors[signer, origin] = (size, bytes(root))
                    name = hashlib.sha256(origin.encode()).digest()
                    self.events.append(AnchorRecorded(place, signer, name, size, bytes(root)))
                case Issue():
                    self._credit(act.account, act.amount)
                    payments = (Payment(act.account, act.amount),)
        self.included[signer] = self.included.get(signer, 0) + 1
        self.receipts[transaction_hash] = ChainOutcome(
            hash=transaction_hash,
            block=place.block,
            block_hash=place.block_hash,
            succeeded=succeeded,
            payments=payments,
            expiry=expiry,
        )

    def _check_sale(self, sale: Sale) -> None:
        offer, purchase = sale.offer.offer, sale.purchase
        price = self._check_offer(sale.offer, purchase.units)
        self._check_payment(offer, purchase, price, self.clock())
        self._check_outcome(offer, purchase.buyer, purchase.units)

    def _check_direct(self, signed: SignedOffer, units: int, *, buyer: Address) -> None:
        self._check_funds(buyer, self._check_offer(signed, units))
        self._check_outcome(signed.offer, buyer, units)

    def _check_offer(self, signed: SignedOffer, units: int) -> Amount:
        offer = signed.offer
        price = price_of(offer, units)
        if self.clock() > offer.valid_until:
            raise OfferExpired(f"The offer {offer.id} ended at {_time(offer.valid_until)}.", fix="Buy another.")
        self._check_provider(offer, self.domain.digest(bytes(offer.id)), signed.signature)
        self._check_not_cancelled(offer.id)
        left = offer.supply - self._sold.get(offer.id, 0)
        if offer.supply and units > left:
            raise SupplyExhausted(f"Of the offer {offer.id} {left} units are left.", fix="Buy no more than are left.")
        return price

    def _check_outcome(self, offer: Offer, buyer: Address, units: int) -> None:
        if any(split.account == self.domain.exchange for split in offer.splits):
            raise OfferInvalid("The offer pays a split to the exchange itself.", fix="Ask for another offer.")
        self._extended(offer, buyer, units)

    def _check_anchor(self, anchoring: Anchoring, sender: Address) -> None:
        size, root = self._anchors.get((sender, anchoring.origin), (0, b""))
        if anchoring.size < size:
            raise LogForked(f"A log of {size} entries is anchored; this one has {anchoring.size}.", fix="Restore it.")
        if anchoring.size == size and root not in (b"", bytes(anchoring.root)):
            raise LogForked(f"Another root is anchored for {size} entries.", fix="Restore it.")

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
        self._check_funds(purchase.buyer, price)

    def _check_funds(self, buyer: Address, price: Amount) -> None:
        if self.balance(buyer) < price:
            held, needed = self.currency.format(self.balance(buyer)), self.currency.format(price)
            raise InsufficientFunds(f"{buyer} holds {held}; {needed} are needed.", fix="Have it credited.")

    def _check_provider(self, offer: Offer, digest: Bytes32, signature: bytes) -> None:
        if _signer(digest, signature) != offer.provider:
            self.check_wallet(offer.provider, digest, signature)

    def _check_not_cancelled(self, offer_id: OfferId) -> None:
        if offer_id in self._cancelled:
            raise OfferCancelled(f"The offer {offer_id} was withdrawn by its provider.", fix="Buy another.")

    def _sell(
        self, offer: Offer, buyer: Address, units: int, order: OrderId | None, place: Place
    ) -> tuple[tuple[Payment, ...], int | None]:
        price = price_of(offer, units)
        shares = [(split.account, price * split.basis_points // WHOLE_BASIS_POINTS) for split in offer.splits]
        rest = price - sum(share for _, share in shares)
        received: dict[Address, int] = {}
        for account, share in (*shares, (offer.provider, rest)):
            if share:
                received[account] = received.get(account, 0) + share
        self._balances[buyer] = self.balance(buyer) - price
        for account, amount in received.items():
            self._credit(account, amount)
        if offer.supply:
            self._sold[offer.id] = self._sold.get(offer.id, 0) + units
        self._licenses[buyer, offer.id] = self._extended(offer, buyer, units)
        payments = tuple(Payment(account, Amount(amount)) for account, amount in received.items())
        expiry = self.license(buyer, offer.id).expiry
        self.events.append(LicenseSold(place, order, offer.id, buyer, units, price, payments, expiry))
        return payments, expiry

    def _extended(self, offer: Offer, buyer: Address, units: int) -> tuple[int, int, int]:
        """The holding after a purchase: (units, expiry, uses). The term grows from its end, or from now."""
        held, expiry, uses = self._licenses.get((buyer, offer.id), (0, 0, 0))
        end = _PERPETUAL
        if offer.duration_s:
            end = max(expiry, self.clock()) + units * offer.duration_s
            if end >= _PERPETUAL:
                raise AmountInvalid("The license would become too long.", fix="Buy fewer units.")
        return held + units, end, uses + units * offer.uses

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
