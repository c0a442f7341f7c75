"""Properties of offers: every hash that somebody signs is the one that eth-account makes of the typed data."""

from typing import Any

import msgspec
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from databund.core import documents
from databund.core.amounts import MAX_AMOUNT, Amount, Currency
from databund.core.ids import Address, Bytes32, ContentRoot, DatasetId, Hex, OfferId
from databund.core.offers import (
    Domain,
    Offer,
    SignedOffer,
    Split,
    cancel_hash,
    order_id,
    payment_digest,
    price_of,
)

ADDRESSES = st.binary(min_size=20, max_size=20).map(Address)
HASHES = st.binary(min_size=32, max_size=32)
NUMBERS = st.integers(0, 2**53 - 1)
AMOUNTS = st.integers(0, MAX_AMOUNT).map(Amount)
DOMAINS = st.builds(Domain, st.integers(0, 2**256 - 1), ADDRESSES)
CURRENCIES = st.builds(
    Currency,
    ADDRESSES,
    symbol=st.just("X"),
    decimals=st.just(6),
    name=st.text(max_size=40),
    version=st.text(max_size=3),
)


@st.composite
def _offers(draw: st.DrawFn) -> Offer:
    uses = draw(NUMBERS)
    return Offer(
        provider=draw(ADDRESSES),
        dataset=DatasetId(draw(HASHES)),
        content_root=ContentRoot(draw(HASHES)),
        terms_hash=Bytes32(draw(HASHES)),
        currency=draw(ADDRESSES),
        unit_price=draw(AMOUNTS),
        duration_s=draw(NUMBERS),
        uses=uses,
        supply=draw(NUMBERS),
        transferable=draw(st.booleans()) and not uses,
        splits=tuple(draw(st.lists(st.builds(Split, ADDRESSES, st.integers(1, 2_000)), max_size=5))),
        valid_until=draw(NUMBERS),
        salt=Bytes32(draw(HASHES)),
    )


def _signed(document: dict[str, Any]) -> bytes:
    """What a wallet signs of an eth_signTypedData_v4 document."""
    message = encode_typed_data(full_message=document)
    return keccak(b"\x19" + message.version + message.header + message.body)


@given(_offers(), DOMAINS)
def test_an_offer_is_hashed_as_wallets_hash_it(offer: Offer, domain: Domain) -> None:
    """The id is the struct hash, and the digest the signing hash, of the document that wallets show."""
    document = offer.typed_data(domain)
    assert bytes(offer.id) == encode_typed_data(full_message=document).body
    assert bytes(SignedOffer(offer, domain, Hex(b"")).digest) == _signed(document)


@given(CURRENCIES, DOMAINS, ADDRESSES, AMOUNTS, HASHES, st.integers(1, 2**32), st.tuples(NUMBERS, NUMBERS))
def test_a_payment_is_hashed_as_wallets_hash_it(
    currency: Currency,
    domain: Domain,
    payer: Address,
    price: Amount,
    salt: bytes,
    units: int,
    validity: tuple[int, int],
) -> None:
    """The payment's digest is that of an ERC-3009 document under the currency's domain, with the order as nonce."""
    order = order_id(OfferId(salt), payer, units, Bytes32(salt))
    kinds = {"from": "address", "to": "address", "value": "uint256", "validAfter": "uint256",
             "validBefore": "uint256", "nonce": "bytes32"}  # fmt: skip
    domain_kinds = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    document = {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain_kinds.items()],
            "ReceiveWithAuthorization": [{"name": name, "type": kind} for name, kind in kinds.items()],
        },
        "primaryType": "ReceiveWithAuthorization",
        "domain": {
            "name": currency.name,
            "version": currency.version,
            "chainId": domain.chain_id,
            "verifyingContract": str(currency.address),
        },
        "message": {
            "from": str(payer),
            "to": str(domain.exchange),
            "value": int(price),
            "validAfter": validity[0],
            "validBefore": validity[1],
            "nonce": str(order),
        },
    }
    digest = payment_digest(currency, domain, order=order, payer=payer, price=price, validity=validity)
    assert bytes(digest) == _signed(document)


@given(HASHES, DOMAINS)
def test_a_withdrawal_is_hashed_as_wallets_hash_it(offer_id: bytes, domain: Domain) -> None:
    """The digest of a withdrawal is that of a Cancel document under the exchange's domain."""
    domain_kinds = {"name": "string", "version": "string", "chainId": "uint256", "verifyingContract": "address"}
    document = {
        "types": {
            "EIP712Domain": [{"name": name, "type": kind} for name, kind in domain_kinds.items()],
            "Cancel": [{"name": "offer", "type": "bytes32"}],
        },
        "primaryType": "Cancel",
        "domain": {
            "name": "databund",
            "version": "1",
            "chainId": domain.chain_id,
            "verifyingContract": str(domain.exchange),
        },
        "message": {"offer": "0x" + offer_id.hex()},
    }
    assert bytes(domain.digest(cancel_hash(OfferId(offer_id)))) == _signed(document)


@given(_offers(), st.data())
def test_every_member_counts(offer: Offer, data: st.DataObject) -> None:
    """Whichever member is changed, the id is another."""
    other = data.draw(_offers())
    for name in Offer.__struct_fields__:
        changes: dict[str, Any] = {name: getattr(other, name), "transferable": False, "uses": 0}
        if name in ("transferable", "uses"):
            changes[name] = getattr(other, name)
        base = msgspec.structs.replace(offer, transferable=False, uses=0)
        changed = msgspec.structs.replace(base, **changes)
        assert (changed.id == base.id) is (changed == base)


@given(_offers(), DOMAINS, st.binary(max_size=100))
def test_a_signed_offer_survives_its_json_form(offer: Offer, domain: Domain, signature: bytes) -> None:
    """Encoding and decoding gives an equal offer with the same id; a chain id beyond 2^53 has no JSON form."""
    domain = msgspec.structs.replace(domain, chain_id=domain.chain_id % 2**53)
    signed = SignedOffer(offer, domain, Hex(signature))
    read = documents.decode(documents.encode(signed), SignedOffer)
    assert read == signed
    assert read.digest == signed.digest


@given(_offers(), st.integers(1, 1000))
def test_the_price_is_exact(offer: Offer, units: int) -> None:
    """Units cost exactly as many prices."""
    cheap = msgspec.structs.replace(offer, unit_price=Amount(offer.unit_price // 1000))
    assert price_of(cheap, units) == cheap.unit_price * units
