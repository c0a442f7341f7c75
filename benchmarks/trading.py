"""Trading: what the benchmarks sell and how buyers pay, signed as the SDK signs it."""

from __future__ import annotations

import secrets
import time

from databund.core.amounts import Amount, Currency
from databund.core.ids import Address, Bytes32, ContentRoot, DatasetId, Hex, OfferId
from databund.core.offers import Domain, Offer, SignedOffer, Split, order_id, payment_digest, price_of
from databund.core.orders import Purchase
from databund.crypto.identities import Identity

__all__ = ["PRICE", "random_word", "signed_offer", "signed_purchase"]

PRICE = Amount(25_000_000)
"""25.00 of a currency with six decimals."""

_YEAR_S = 365 * 86_400


def random_word() -> bytes:
    """Thirty-two bytes as a hash or a salt has them: zero bytes would cost less gas than real ones."""
    return secrets.token_bytes(32)


def signed_offer(domain: Domain, currency: Currency, provider: Identity, *, fee: Address) -> SignedOffer:
    """An offer of one year for `PRICE`, of which ``fee`` gets one percent, for a dataset that nobody will look at."""
    offer = Offer(
        provider=provider.address,
        dataset=DatasetId(random_word()),
        content_root=ContentRoot(random_word()),
        terms_hash=Bytes32(random_word()),
        currency=currency.address,
        unit_price=PRICE,
        duration_s=_YEAR_S,
        uses=0,
        supply=0,
        transferable=False,
        splits=(Split(fee, 100),),
        valid_until=int(time.time()) + _YEAR_S,
        salt=Bytes32(random_word()),
    )
    return SignedOffer(offer, domain, Hex(provider.sign_typed_hash(domain.digest(bytes(offer.id)))))


def signed_purchase(offer: SignedOffer, currency: Currency, buyer: Identity) -> Purchase:
    """One unit, paid by an authorization that is valid for an hour."""
    salt, now = Bytes32(random_word()), int(time.time())
    validity = (now - 300, now + 3600)
    identifier: OfferId = offer.offer.id
    digest = payment_digest(
        currency,
        offer.domain,
        order=order_id(identifier, buyer.address, 1, salt),
        payer=buyer.address,
        price=price_of(offer.offer, 1),
        validity=validity,
    )
    return Purchase(
        buyer=buyer.address,
        units=1,
        salt=salt,
        valid_after=validity[0],
        valid_before=validity[1],
        signature=Hex(buyer.sign_typed_hash(digest)),
    )
