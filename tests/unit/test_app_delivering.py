"""Delivering: a content key goes to a license holder whom the policy permits, once for each use."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from databund.core.ids import OfferId
from databund.core.orders import OrderState
from databund.crypto.wrapping import unwrap
from databund.errors import (
    AlreadyExists,
    ChainUnavailable,
    DocumentInvalid,
    KeyInvalid,
    LicenseExpired,
    LicenseMissing,
    PolicyDenied,
    UsesExhausted,
)
from tests.unit.marketplace import BUYER, CONTENT_KEY, NOW, OPERATOR, STRANGER, YEAR_S, Marketplace, identity

DENIED = ["decision.made"]
DELIVERED = ["decision.made", "order.delivered"]


@pytest.fixture
def market() -> Marketplace:
    """A new market."""
    return Marketplace()


def test_the_holder_gets_the_key(market: Marketplace) -> None:
    """The release opens for the holder's identity alone, and moves the order."""
    offer = market.bought().signed.offer
    delivery = market.delivering.deliver(BUYER.address, market.request(offer.id))
    assert unwrap(delivery.wrapped_key, BUYER.age_identity) == CONTENT_KEY
    with pytest.raises(KeyInvalid):
        unwrap(delivery.wrapped_key, OPERATOR.age_identity)
    (order,) = market.orders()
    assert (order.state, delivery.order_id, delivery.use) == (OrderState.DELIVERED, order.id, 1)


def test_a_delivery_leaves_two_entries(market: Marketplace) -> None:
    """The decision with its facts and the release with its recipient are logged together."""
    offer = market.bought({"purposes": ["research"]}).signed.offer
    delivery = market.delivering.deliver(BUYER.address, market.request(offer.id, purpose="research"))
    decided, delivered = market.entries()[-2:]
    assert (decided.kind, delivered.kind) == tuple(DELIVERED)
    assert (decided.about["permitted"], decided.by) == (True, str(OPERATOR.address))
    assert delivered.about["delivery"] == str(delivery.id)
    assert delivered.about["recipient"] == str(BUYER.age_recipient)
    assert (delivered.about["use"], delivered.by) == (1, str(BUYER.address))


def test_the_same_request_is_one_use(market: Marketplace) -> None:
    """Asking again with the same id gives the same bytes and costs no further use, even after the term."""
    offer = market.bought(uses=1).signed.offer
    first = market.delivering.deliver(BUYER.address, market.request(offer.id))
    market.now += 2 * YEAR_S
    assert market.delivering.deliver(BUYER.address, market.request(offer.id)) == first
    assert market.kinds().count("order.delivered") == 1


@pytest.mark.parametrize("change", ["holder", "offer", "recipient"])
def test_an_id_belongs_to_one_request(market: Marketplace, change: str) -> None:
    """A known id of another holder, another offer or another recipient is refused, and shows nothing."""
    offer = market.bought().signed.offer
    request = market.request(offer.id)
    market.delivering.deliver(BUYER.address, request)
    holder = STRANGER.address if change == "holder" else BUYER.address
    if change == "offer":
        request = msgspec.structs.replace(request, offer_id=OfferId(bytes(32)))
    if change == "recipient":
        request = msgspec.structs.replace(request, recipient=str(STRANGER.age_recipient))
    with pytest.raises(AlreadyExists, match="is another one"):
        market.delivering.deliver(holder, request)


def test_without_a_license_nothing_is_delivered(market: Marketplace) -> None:
    """Who holds no license gets nothing."""
    offer = market.listed().signed.offer
    with pytest.raises(LicenseMissing):
        market.delivering.deliver(BUYER.address, market.request(offer.id))
    with market.database.read() as tables:
        assert tables.deliveries.spent(BUYER.address, offer.id) == 0


def test_the_term_ends(market: Marketplace) -> None:
    """In the last second of the term the key is released, after it not."""
    offer = market.bought().signed.offer
    market.now = NOW + YEAR_S
    market.delivering.deliver(BUYER.address, market.request(offer.id, number=1))
    market.now += 1
    with pytest.raises(LicenseExpired, match="ended 1 s ago"):
        market.delivering.deliver(BUYER.address, market.request(offer.id, number=2))


def test_the_uses_end(market: Marketplace) -> None:
    """A license of two uses is used twice; buying again adds two."""
    offer = market.bought(uses=2).signed.offer
    uses = [market.delivering.deliver(BUYER.address, market.request(offer.id, number=n)).use for n in (1, 2)]
    assert uses == [1, 2]
    with pytest.raises(UsesExhausted):
        market.delivering.deliver(BUYER.address, market.request(offer.id, number=3))
    market.purchasing.buy(offer.id, market.purchase(offer, salt=1))
    assert market.delivering.deliver(BUYER.address, market.request(offer.id, number=3)).use == 3


def test_the_last_use_goes_to_one_request(market: Marketplace) -> None:
    """Of different requests at the same time for three uses, exactly three get one each."""
    offer = market.bought(uses=3).signed.offer

    def deliver(number: int) -> int:
        try:
            return market.delivering.deliver(BUYER.address, market.request(offer.id, number=number)).use
        except UsesExhausted:
            return 0

    with ThreadPoolExecutor(8) as threads:
        uses = list(threads.map(deliver, range(1, 25)))
    assert sorted(uses) == [0] * 21 + [1, 2, 3]
    assert [entry.about["use"] for entry in market.entries() if entry.kind == "order.delivered"] == [1, 2, 3]


def test_the_same_request_at_once_is_one_use(market: Marketplace) -> None:
    """The same request from many threads is one use, and all get the same bytes."""
    offer = market.bought(uses=2).signed.offer
    with ThreadPoolExecutor(8) as threads:
        deliver = market.delivering.deliver
        deliveries = list(threads.map(lambda _: deliver(BUYER.address, market.request(offer.id)), range(24)))
    assert len({delivery.wrapped_key for delivery in deliveries}) == 1
    with market.database.read() as tables:
        assert tables.deliveries.spent(BUYER.address, offer.id) == 1


# The policy


@pytest.mark.parametrize(
    ("conditions", "declared"),
    [
        ({"purposes": ["research"]}, {"purpose": "marketing"}),
        ({"purposes": ["research"]}, {}),
        ({"places": ["CN"]}, {"place": "DE"}),
        ({"places": ["CN"]}, {}),
        ({"uses": 0}, {}),
        ({"until": datetime.fromtimestamp(NOW, UTC)}, {}),
    ],
)
def test_a_denial_is_logged(market: Marketplace, conditions: dict[str, Any], declared: dict[str, Any]) -> None:
    """What the policy does not permit, or what nobody said, is denied; the decision is logged although it raises."""
    offer = market.bought(conditions).signed.offer
    before = market.kinds()
    with pytest.raises(PolicyDenied) as caught:
        market.delivering.deliver(BUYER.address, market.request(offer.id, **declared))
    assert market.kinds() == before + DENIED
    assert market.entries()[-1].about["permitted"] is False
    assert caught.value.what
    assert caught.value.fix


def test_a_denial_costs_nothing(market: Marketplace) -> None:
    """After a denial no use is spent, the order stays, and the same id may be asked again with other facts."""
    offer = market.bought({"purposes": ["research"]}, uses=1).signed.offer
    with pytest.raises(PolicyDenied):
        market.delivering.deliver(BUYER.address, market.request(offer.id, purpose="marketing"))
    assert market.orders()[0].state is OrderState.LICENSED
    assert market.delivering.deliver(BUYER.address, market.request(offer.id, purpose="research")).use == 1


def test_elapsed_time_counts_from_the_order(market: Marketplace) -> None:
    """A policy's duration runs from the purchase."""
    offer = market.bought({"duration": timedelta(days=1)}).signed.offer
    market.now += 86_400
    market.delivering.deliver(BUYER.address, market.request(offer.id, number=1))
    market.now += 1
    with pytest.raises(PolicyDenied):
        market.delivering.deliver(BUYER.address, market.request(offer.id, number=2))


def test_a_clock_set_back_denies_nothing(market: Marketplace) -> None:
    """Where the clock was set back after the purchase, no time has passed."""
    offer = market.bought({"duration": timedelta(days=1)}).signed.offer
    market.now -= 60
    assert market.delivering.deliver(BUYER.address, market.request(offer.id)).use == 1


def test_a_renewal_starts_the_time_anew(market: Marketplace) -> None:
    """Whoever buys again may take again, also when nothing was taken under the first order in its time."""
    offer = market.bought({"duration": timedelta(days=1)}).signed.offer
    market.now += 2 * 86_400
    market.purchasing.buy(offer.id, market.purchase(offer, salt=1, valid_before=2**40))
    for number in (1, 2):
        market.delivering.deliver(BUYER.address, market.request(offer.id, number=number))
    assert [order.state for order in market.orders()] == [OrderState.DELIVERED] * 2


def test_a_license_without_an_order_is_good(market: Marketplace) -> None:
    """A license that was bought on the chain directly is delivered under no order."""
    signed = market.listed().signed
    market.credit()
    call = market.memory_relayer.prepare_purchase(signed, market.purchase(signed.offer))
    market.memory_relayer.outcome(market.memory_relayer.sign(call, nonce=1), timeout_s=0)
    delivery = market.delivering.deliver(BUYER.address, market.request(signed.offer.id))
    assert delivery.order_id is None
    assert market.entries()[-1].about["order"] is None


def test_elapsed_time_is_unknown_without_an_order(market: Marketplace) -> None:
    """Where nobody knows when the license was bought, a policy that limits the time since then denies."""
    signed = market.listed({"duration": timedelta(days=1)}).signed
    market.credit()
    call = market.memory_relayer.prepare_purchase(signed, market.purchase(signed.offer))
    market.memory_relayer.outcome(market.memory_relayer.sign(call, nonce=1), timeout_s=0)
    with pytest.raises(PolicyDenied):
        market.delivering.deliver(BUYER.address, market.request(signed.offer.id))


def test_each_order_is_delivered(market: Marketplace) -> None:
    """Two purchases and two deliveries move both orders, the older first."""
    offer = market.bought().signed.offer
    market.purchasing.buy(offer.id, market.purchase(offer, salt=1))
    newer, older = market.orders()
    deliveries = [market.delivering.deliver(BUYER.address, market.request(offer.id, number=n)) for n in (1, 2, 3)]
    assert [delivery.order_id for delivery in deliveries] == [older.id, newer.id, newer.id]
    assert [order.state for order in market.orders()] == [OrderState.DELIVERED] * 2


# What cannot be done


def test_a_recipient_is_an_age_recipient(market: Marketplace) -> None:
    """A recipient that is none is refused and costs nothing."""
    offer = market.bought(uses=1).signed.offer
    before = market.kinds()
    with pytest.raises(KeyInvalid):
        market.delivering.deliver(BUYER.address, market.request(offer.id, recipient="age1nobody"))
    assert market.kinds() == before
    assert market.delivering.deliver(BUYER.address, market.request(offer.id)).use == 1


@pytest.mark.parametrize("declared", [{"purpose": "x" * 70_000}, {"purpose": ""}, {"place": "Atlantis"}])
def test_strange_declarations_are_refused(market: Marketplace, declared: dict[str, Any]) -> None:
    """A declaration that is no term, no place or far too long is refused as such, and costs nothing."""
    offer = market.bought(uses=1).signed.offer
    with pytest.raises(DocumentInvalid):
        market.delivering.deliver(BUYER.address, market.request(offer.id, **declared))
    assert market.delivering.deliver(BUYER.address, market.request(offer.id)).use == 1


def test_without_a_chain_nothing_is_delivered(market: Marketplace) -> None:
    """While the chain's node does not answer, nobody's entitlement is known, so nothing is released."""
    offer = market.bought().signed.offer
    market.memory_ledger.online = False
    with pytest.raises(ChainUnavailable):
        market.delivering.deliver(BUYER.address, market.request(offer.id))


def test_a_placed_order_is_not_delivered(market: Marketplace) -> None:
    """An order that the chain has not settled gives no license, whatever our records say."""
    offer = market.listed().signed.offer
    market.credit()
    market.exchange.included[OPERATOR.address] = 0
    market.purchasing.buy(offer.id, market.purchase(offer))
    with pytest.raises(LicenseMissing):
        market.delivering.deliver(BUYER.address, market.request(offer.id))


def test_the_use_is_the_holders(market: Marketplace) -> None:
    """Another holder's uses do not count against one's own."""
    offer = market.bought(uses=1).signed.offer
    other = identity("other buyer")
    market.delivering.deliver(BUYER.address, market.request(offer.id, number=1))
    with pytest.raises(LicenseMissing):
        market.delivering.deliver(other.address, market.request(offer.id, number=2))
    with pytest.raises(UsesExhausted):
        market.delivering.deliver(BUYER.address, market.request(offer.id, number=2))
