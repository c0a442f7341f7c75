"""Publishing: what is listed is the provider's, can be delivered, and is withdrawn here and on the chain."""

from typing import Any

import msgspec
import pytest

from databund.core import canonical
from databund.core.amounts import Amount
from databund.core.ids import Bytes32, ContentRoot, DatasetId, Hex, OfferId
from databund.core.offers import Domain, Split, cancel_hash
from databund.core.terms import terms_hash
from databund.crypto.content_keys import ContentKey
from databund.crypto.wrapping import wrap
from databund.errors import (
    AlreadyExists,
    ChainRejected,
    ContentMismatch,
    DatabundError,
    DocumentInvalid,
    KeyInvalid,
    NotFound,
    NotOwner,
    OfferCancelled,
    OfferExpired,
    OfferForged,
    OfferInvalid,
    SealBroken,
    WrongChain,
)
from databund.testing.memory_ledger import Fault
from tests.unit.marketplace import FEE, NOW, OPERATOR, PROVIDER, STRANGER, WRAPPED_KEY, Marketplace, dataset


@pytest.fixture
def market() -> Marketplace:
    """A market with nothing in it."""
    return Marketplace()


# Registering


def test_a_dataset_is_registered(market: Marketplace) -> None:
    """A registered version is in the catalog, and its entry carries hashes only."""
    release = market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    with market.database.read() as tables:
        assert tables.catalog.get(dataset().id) == release
    (entry,) = market.entries()
    assert entry.about["content_root"] == str(dataset().content_root)
    assert b"Readings" not in entry.entry()


def test_registering_again_changes_nothing(market: Marketplace) -> None:
    """The same version again gives the first release; the key wrapped anew is not taken for another."""
    first = market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    again = wrap(ContentKey(b"\7" * 32), [OPERATOR.age_recipient])
    assert market.publishing.register(PROVIDER.address, dataset(), wrapped_key=again) == first
    assert market.kinds() == ["dataset.registered"]


def test_versions_follow_each_other(market: Marketplace) -> None:
    """A next version is registered beside the first, which can still be repeated."""
    for version in (1, 2, 1):
        market.publishing.register(PROVIDER.address, dataset(version=version), wrapped_key=WRAPPED_KEY)
    assert market.kinds() == ["dataset.registered"] * 2


def test_no_version_is_left_out(market: Marketplace) -> None:
    """A version that leaves one out is refused, and the fix names the next."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    with pytest.raises(DocumentInvalid) as caught:
        market.publishing.register(PROVIDER.address, dataset(version=3), wrapped_key=WRAPPED_KEY)
    assert caught.value.fix == "Publish it as version 2."


def test_a_version_is_never_changed(market: Marketplace) -> None:
    """A version that is registered cannot come back with another descriptor."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    with pytest.raises(AlreadyExists) as caught:
        market.publishing.register(PROVIDER.address, dataset(title="Other"), wrapped_key=WRAPPED_KEY)
    assert caught.value.fix == "Publish it as version 2."


def test_only_the_provider_registers(market: Marketplace) -> None:
    """Nobody registers in another's name."""
    with pytest.raises(NotOwner):
        market.publishing.register(STRANGER.address, dataset(), wrapped_key=WRAPPED_KEY)


def test_a_dataset_needs_its_blob(market: Marketplace) -> None:
    """Without the sealed blob nothing is registered."""
    market.objects.delete(str(dataset().content_root))
    with pytest.raises(NotFound):
        market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    assert market.entries() == []


def test_a_blob_has_the_size_of_its_manifest(market: Marketplace) -> None:
    """A blob of another size than the manifest says is refused."""
    root = str(dataset().content_root)
    market.objects.delete(root)
    market.objects.put(root, [b"short"])
    with pytest.raises(ContentMismatch, match=r"has 5 bytes, the manifest says"):
        market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)


def test_the_content_key_is_for_this_node(market: Marketplace) -> None:
    """A key wrapped to somebody else could not be delivered, so it is refused."""
    foreign = wrap(ContentKey(b"\7" * 32), [STRANGER.age_recipient])
    with pytest.raises(KeyInvalid):
        market.publishing.register(PROVIDER.address, dataset(), wrapped_key=foreign)


def test_the_content_key_opens_the_blob(market: Marketplace) -> None:
    """The key of another blob is refused before anybody buys it."""
    other = wrap(ContentKey(b"\1" * 32), [OPERATOR.age_recipient])
    with pytest.raises(SealBroken):
        market.publishing.register(PROVIDER.address, dataset(), wrapped_key=other)


# Listing


def test_an_offer_is_listed(market: Marketplace) -> None:
    """A listed offer can be found, and its entry names the terms and where it counts."""
    listing = market.listed()
    with market.database.read() as tables:
        assert tables.listings.find(dataset=dataset().id, provider=PROVIDER.address, limit=9) == [listing]
    entry = market.entries()[-1]
    assert (entry.by, entry.about["offer"]) == (str(PROVIDER.address), str(listing.signed.offer.id))
    assert entry.about["terms"] == bytes(terms_hash(listing.policy)).hex()
    assert entry.about["exchange"] == str(market.exchange.domain.exchange)


def test_listing_again_changes_nothing(market: Marketplace) -> None:
    """The same offer again, later, gives the first listing."""
    first = market.listed()
    market.now += 10
    assert market.listed() == first
    assert market.kinds().count("offer.listed") == 1


def test_an_offer_for_elsewhere_is_not_listed(market: Marketplace) -> None:
    """An offer signed for another chain or another exchange is refused."""
    market.listed()
    signed, here = market.offer(salt=Bytes32(b"\1" * 32)), market.exchange.domain
    for domain in (Domain(here.chain_id + 1, here.exchange), Domain(here.chain_id, STRANGER.address)):
        with pytest.raises(WrongChain):
            market.publishing.list_offer(msgspec.structs.replace(signed, domain=domain), market.policy())


def test_a_forged_offer_is_not_listed(market: Marketplace) -> None:
    """An offer that its provider did not sign, or that was changed after, is refused."""
    market.listed()
    signed = market.offer(salt=Bytes32(b"\1" * 32))
    cheaper = msgspec.structs.replace(signed.offer, unit_price=Amount(1))
    stranger = Hex(STRANGER.sign_typed_hash(signed.digest))
    for forged in (
        msgspec.structs.replace(signed, offer=cheaper),
        msgspec.structs.replace(signed, signature=stranger),
        msgspec.structs.replace(signed, signature=Hex(b"")),
    ):
        with pytest.raises(OfferForged):
            market.publishing.list_offer(forged, market.policy())


def test_an_ended_offer_is_not_listed(market: Marketplace) -> None:
    """An offer whose last second has passed is refused."""
    with pytest.raises(OfferExpired):
        market.listed(valid_until=NOW - 1)


def test_another_currency_is_not_listed(market: Marketplace) -> None:
    """An offer in a currency that the exchange does not clear is refused, and the fix names the one it does."""
    with pytest.raises(OfferInvalid) as caught:
        market.listed(currency=STRANGER.address)
    assert str(market.exchange.currency.address) in caught.value.fix


@pytest.mark.parametrize("splits", [(), (Split(OPERATOR.address, 99),), (Split(STRANGER.address, 100),)])
def test_a_paid_offer_carries_the_fee(market: Marketplace, splits: tuple[Split, ...]) -> None:
    """A paid offer without the exchange's own split, whole and to its account, is refused."""
    with pytest.raises(OfferInvalid) as caught:
        market.listed(splits=splits)
    assert caught.value.fix == f"Add a split of 100 basis points to {OPERATOR.address}."


def test_a_free_offer_needs_no_fee(market: Marketplace) -> None:
    """Where nothing is paid there is nothing to share; and other splits beside the fee are the provider's choice."""
    assert market.listed(splits=(), unit_price=Amount(0)).signed.offer.splits == ()
    market.listed(splits=(Split(STRANGER.address, 500), FEE))


def test_the_policy_is_the_one_signed(market: Marketplace) -> None:
    """Another policy than the offer commits to, or another writing of the same one, is refused and leaves nothing."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    policy = market.policy()
    for other in (market.policy(uses=3), b" " + policy):
        with pytest.raises(OfferInvalid):
            market.publishing.list_offer(market.offer(policy), other)
    assert market.kinds() == ["dataset.registered"]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"dataset": DatasetId(bytes(32))}, NotFound),
        ({"content_root": ContentRoot(bytes(32))}, NotFound),
        ({"content_root": dataset(version=2).content_root}, OfferInvalid),
    ],
)
def test_an_offer_is_for_a_registered_version(
    market: Marketplace, change: dict[str, Any], error: type[DatabundError]
) -> None:
    """An offer of an unknown dataset or version, or of another version than its policy's, is refused."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    market.publishing.register(PROVIDER.address, dataset(version=2), wrapped_key=WRAPPED_KEY)
    with pytest.raises(error):
        market.publishing.list_offer(market.offer(**change), market.policy())


def test_a_stranger_cannot_offer_a_dataset(market: Marketplace) -> None:
    """An offer that a stranger signed for somebody's dataset is refused."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    offer = msgspec.structs.replace(market.offer().offer, provider=STRANGER.address)
    domain = market.exchange.domain
    signature = Hex(STRANGER.sign_typed_hash(domain.digest(bytes(offer.id))))
    with pytest.raises(OfferInvalid, match="provider is not the dataset's"):
        market.publishing.list_offer(
            msgspec.structs.replace(market.offer(), offer=offer, signature=signature), market.policy()
        )


# Withdrawing


def test_a_withdrawn_offer_is_cancelled(market: Marketplace) -> None:
    """Withdrawing takes the offer off the list, cancels it on the chain, and leaves one entry that names both."""
    offer_id = market.listed().signed.offer.id
    market.now += 5
    listing = market.publishing.withdraw(offer_id, market.withdrawal(offer_id))
    assert listing.withdrawn_at == NOW + 5
    assert market.exchange.offer_state(offer_id).cancelled
    entry = market.entries()[-1]
    assert entry.about == {"offer": str(offer_id), "chain_transaction": next(iter(market.exchange.receipts))}


def test_withdrawing_again_changes_nothing(market: Marketplace) -> None:
    """The second time gives the first withdrawal, and needs no chain."""
    offer_id = market.listed().signed.offer.id
    first = market.publishing.withdraw(offer_id, market.withdrawal(offer_id))
    market.now += 5
    market.memory_relayer.online = market.memory_ledger.online = False
    assert market.publishing.withdraw(offer_id, market.withdrawal(offer_id)) == first
    assert market.kinds().count("offer.withdrawn") == 1


def test_only_the_provider_withdraws(market: Marketplace) -> None:
    """Somebody else's signature, or the provider's for another offer, withdraws nothing."""
    offer_id = market.listed().signed.offer.id
    digest = market.exchange.domain.digest(cancel_hash(offer_id))
    for signature in (STRANGER.sign_typed_hash(digest), market.withdrawal(OfferId(bytes(32))), b""):
        with pytest.raises(OfferForged):
            market.publishing.withdraw(offer_id, signature)
    assert market.listed().withdrawn_at is None


def test_an_unlisted_offer_is_not_withdrawn(market: Marketplace) -> None:
    """What is not on the list is not found."""
    with pytest.raises(NotFound):
        market.publishing.withdraw(OfferId(bytes(32)), b"")


def test_a_withdrawn_offer_is_not_listed_again(market: Marketplace) -> None:
    """A cancelled offer never comes back on the list."""
    offer_id = market.listed().signed.offer.id
    market.publishing.withdraw(offer_id, market.withdrawal(offer_id))
    with pytest.raises(OfferCancelled):
        market.listed()


def test_an_offer_cancelled_on_the_chain_leaves_the_list(market: Marketplace) -> None:
    """Where the provider cancelled on the chain directly, withdrawing only takes it off the list, once."""
    signed = market.listed().signed
    call = market.memory_relayer.prepare_cancellation(signed, market.withdrawal(signed.offer.id))
    market.memory_relayer.outcome(market.memory_relayer.sign(call, nonce=0), timeout_s=0)
    for _ in range(2):
        assert market.publishing.withdraw(signed.offer.id, market.withdrawal(signed.offer.id)).withdrawn_at == NOW
    assert [entry.about["chain_transaction"] for entry in market.entries()[2:]] == [None]


def test_a_refused_withdrawal_is_sent_anew(market: Marketplace) -> None:
    """Where the chain refused the cancellation, withdrawing says so, and withdrawing again cancels it."""
    offer_id = market.listed().signed.offer.id
    market.chain.faults.append(Fault.NONCE_TAKEN)
    with pytest.raises(ChainRejected) as caught:
        market.publishing.withdraw(offer_id, market.withdrawal(offer_id))
    assert caught.value.fix == "Withdraw it again."
    assert market.publishing.withdraw(offer_id, market.withdrawal(offer_id)).withdrawn_at == NOW
    assert market.exchange.offer_state(offer_id).cancelled
    chain_transactions = [entry.about["chain_transaction"] for entry in market.entries()[2:]]
    assert len(set(chain_transactions)) == 2


def test_a_slow_withdrawal_is_off_the_list_at_once(market: Marketplace) -> None:
    """Before the chain knows of it, the offer is withdrawn here; asking again completes it."""
    offer_id = market.listed().signed.offer.id
    market.chain.faults.append(Fault.SLOW)
    assert market.publishing.withdraw(offer_id, market.withdrawal(offer_id)).withdrawn_at == NOW
    assert not market.exchange.offer_state(offer_id).cancelled
    market.publishing.withdraw(offer_id, market.withdrawal(offer_id))
    assert market.exchange.offer_state(offer_id).cancelled
    assert market.kinds().count("offer.withdrawn") == 1


def test_a_policy_is_an_offer(market: Marketplace) -> None:
    """A policy that is an ODRL Set commits nobody, and is refused."""
    market.publishing.register(PROVIDER.address, dataset(), wrapped_key=WRAPPED_KEY)
    document = canonical.parse(market.policy())
    assert isinstance(document, dict)
    policy = canonical.canonicalize({**document, "@type": "Set"})
    with pytest.raises(OfferInvalid, match="is not an ODRL Offer"):
        market.publishing.list_offer(market.offer(policy), policy)
