"""Reconciliation on a real node: what happened is complete, what others did on the chain is found, and gaps are named.

Gaps are planted in copies of the log's entries and of the chain's events, so that everything around them is real.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from databund.app.anchoring import Anchoring
from databund.app.observing import Observing
from databund.app.purchasing import Purchasing
from databund.app.relaying import Relaying
from databund.chain.chain_events import ChainEventReader
from databund.chain.connection import IMMEDIATE, Connection
from databund.chain.deployment import Deployment
from databund.chain.relayer import ChainRelayer, _words
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount, Payment
from databund.core.chain_events import AnchorRecorded, ChainEvent, Fate, LicenseSold, OfferWithdrawn
from databund.core.events import Event, EventKind
from databund.core.gaps import Facts, Gap, Tally
from databund.core.ids import Address, OfferId, OrderId
from databund.core.offers import SignedOffer
from databund.core.orders import OrderState
from databund.core.reconciliation import reconcile
from databund.crypto.identities import Identity
from databund.errors import PaymentInvalid
from databund.ports import Call, ChainEvents, ChainOutcome, ChainTransaction
from databund.sdk import reconciling
from databund.sdk.client import Client
from databund.sdk.log_sources import NodeResources, TiledLog
from databund.sdk.purchase import _signed
from databund.tlog.checkpoints import read_unverified
from databund.tlog.tiles import Prover
from tests.nodes import ABOUT, NodeInProcess, node_in_process, table, terms

OTHER = "0x" + "ab" * 32
STRANGE = str(Address(b"\7" * 20))


class NodeRpc(JSONBaseProvider):
    """The JSON-RPC of a node in this process."""

    def __init__(self, running: NodeInProcess) -> None:
        super().__init__()
        self._http = running.http

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request."""
        headers = {"Content-Type": "application/json"}
        answer = self._http.post("/rpc", content=self.encode_rpc_request(method, params), headers=headers)
        return self.decode_rpc_response(answer.content)


class Overtaken(ChainRelayer):
    """A relayer whose chain transactions are always overtaken by a stranger who brings the same call."""

    stranger: Sender
    call: Call

    def sign(self, call: Call, *, nonce: int, order_id: OrderId | None = None) -> ChainTransaction:
        """Remember the call for the stranger."""
        self.call = call
        return super().sign(call, nonce=nonce, order_id=order_id)

    def outcome(self, chain_transaction: ChainTransaction, *, timeout_s: float) -> ChainOutcome | None:
        """Let the stranger go first."""
        signed = self.stranger.sign(self.call.to, self.call.data, gas=self.call.gas, nonce=0)
        assert self.stranger.settle(signed, timeout_s=30) is not None
        return super().outcome(chain_transaction, timeout_s=timeout_s)


@dataclass
class World:
    """A node, its chain, and what runs in its background."""

    running: NodeInProcess
    connection: Connection
    deployment: Deployment
    events: ChainEvents
    observing: Observing
    anchoring: Anchoring

    def send(self, by: Identity, to: Address, data: bytes) -> None:
        """A chain transaction that a wallet sends itself, without the node's relayer."""
        sender = Sender(self.connection, by)
        gas = sender.try_call(to, data)
        receipt = sender.settle(
            sender.sign(to, data, gas=gas, nonce=self.connection.included(by.address)), timeout_s=30
        )
        assert receipt is not None
        assert receipt["status"] == "0x1"

    def buy_directly(self, consumer: Client, offer_id: OfferId, units: int) -> None:
        """Allow the exchange to take the price, and buy from it."""
        money, exchange = SmartContract.load("SettlementToken"), SmartContract.load("Exchange")
        signed = consumer.find_offer(offer_id).signed
        price = signed.offer.unit_price * units
        self.send(
            consumer.identity,
            self.deployment.currency.address,
            money.call("approve", self.deployment.exchange, price),
        )
        data = exchange.call("buy", _words(signed.offer), bytes(signed.signature), units)
        self.send(consumer.identity, self.deployment.exchange, data)

    def withdraw_directly(self, provider: Client, signed: SignedOffer) -> None:
        """Withdraw an offer on the chain, past the node."""
        data = SmartContract.load("Exchange").call("cancel", _words(signed.offer))
        self.send(provider.identity, self.deployment.exchange, data)

    def buy_overtaken(self, consumer: Client, offer_id: OfferId) -> OrderId:
        """Place an order whose payment a stranger brings to the chain first."""
        node = self.running.node
        relayer = Overtaken(self.connection, self.deployment, self.running.operator)
        relayer.stranger = Sender(self.connection, Identity.generate())
        purchasing = Purchasing(
            node.database, Relaying(node.database, relayer), node.clearing.auditor, node.clearing.clock
        )
        request = _signed(consumer._connection, consumer.identity, consumer.info, offer_id=offer_id, units=1, most=None)
        order = purchasing.buy(offer_id, request.purchase)
        assert order.state is OrderState.REFUSED
        return order.id

    def source(self) -> TiledLog:
        """The log as it is served."""
        return TiledLog(NodeResources(self.running.client()._connection))

    def compared(self, *, live: bool = True) -> reconciling.Comparison:
        """Log and chain, as they are now."""
        source, newest = self.source(), self.events.newest()
        note = read_unverified(source.resources.read("checkpoint/newest"))
        return reconciling.compare(source, note, self.events, info=self.running.node.info, newest=newest, live=live)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A node on which everything happened that can: here, past it, and before it."""
    folder = tmp_path_factory.mktemp("reconcile")
    with node_in_process(folder) as running:
        world = _world(running)
        _trade(world, folder)
        yield world


def _world(running: NodeInProcess) -> World:
    node, info = running.node, running.node.info
    connection = Connection.open(NodeRpc(running), finality=IMMEDIATE)
    deployment = Deployment(
        chain_id=info.domain.chain_id,
        exchange=info.domain.exchange,
        license_token=info.license_token,
        currency=info.currency,
        dataset_title=info.title,
        checkpoint_anchor=info.checkpoint_anchor,
        block=info.since_block,
    )
    deployment.check(connection)
    events, auditor, clock = ChainEventReader(connection, deployment), node.clearing.auditor, node.clearing.clock
    relaying = Relaying(node.database, ChainRelayer(connection, deployment, running.operator))
    return World(
        running,
        connection,
        deployment,
        events,
        Observing(node.database, events, auditor, running.operator.address, info.since_block, clock),
        Anchoring(node.database, relaying, node.ledger, auditor, info.origin, clock, period_s=0, max_cost=0),
    )


def _trade(world: World, folder: Path) -> None:
    running = world.running
    provider = running.client()
    dataset = provider.publish(table(folder / "data"), ABOUT).dataset
    selling, withdrawn, cancelled = (provider.offer(dataset, terms(provider)) for _ in range(3))
    whole, delivered, licensed = (running.funded() for _ in range(3))
    first = whole.buy(selling.id, units=2)
    whole.download(selling.id, folder / "whole")
    whole.certificate(first.id)
    assert world.anchoring.step() == 1
    delivered.buy(selling.id)
    delivered.download(selling.id, folder / "delivered")
    licensed.buy(selling.id)
    provider.withdraw(withdrawn.id)
    world.withdraw_directly(provider, cancelled.signed)
    world.buy_directly(running.funded(), selling.id, 3)
    unlucky = running.funded()
    order = world.buy_overtaken(unlucky, selling.id)
    assert world.observing.step() == 3
    unlucky.download(selling.id, folder / "unlucky")
    unlucky.certificate(order)
    assert world.anchoring.step() == 1
    assert world.observing.step() == 0


# What happened


def test_a_real_history_is_complete(world: World) -> None:
    """After trades, withdrawals and anchors, here and past the node, log and chain know the same."""
    found = world.compared()
    assert found.gaps == ()
    assert found.complete
    assert found.counted == {
        "entries": found.entries,
        "sales": 5,
        "withdrawals": 2,
        "anchors": 2,
        "orders": 4,
        "settlements": 2,
        "pending": 0,
        "gaps": 0,
    }
    assert found.last_hash == world.events.block(found.last_block).hash


def test_an_overtaken_order_ends_certified(world: World) -> None:
    """An order whose payment a stranger brought first is licensed by that chain transaction, and certified."""
    story = Story.of(world)
    healed = [event.about["order"] for event in story.entries if event.kind is EventKind.REFUSED]
    about_it = [event.kind.value for event in story.entries if event.about.get("order") in healed]
    steps = ["order.placed", "order.refused", "order.licensed"]
    assert [kind for kind in about_it if kind.startswith("order.")] == [
        *steps,
        "order.delivered",
        "order.settled",
        "order.certified",
    ]


def test_a_copy_is_compared_up_to_the_last_block_it_names(world: World) -> None:
    """Of a log that may be older than the chain, what is newer on the chain is pending, and no gap."""
    story = Story.of(world)
    story.entries = story.entries[: story.index(EventKind.ANCHORED) + 1]
    found, tally = story.reconciled(complete_to=None)
    assert found == []
    assert tally.pending == 7


def test_what_is_newer_than_the_chain_that_was_read_is_pending(world: World) -> None:
    """Entries that name a later block than the last one compared are no gaps."""
    story = Story.of(world)
    last = next(event.place.block for event in story.events if isinstance(event, LicenseSold))
    story.events = [event for event in story.events if event.place.block <= last]
    _, tally = story.reconciled(complete_to=last)
    assert tally.pending == 6  # with the two anchors


@pytest.mark.parametrize("fate", [Fate.ABSENT, Fate.SUCCEEDED, Fate.FAILED])
def test_a_block_that_nobody_has_is_not_newer(world: World, fate: Fate) -> None:
    """An entry cannot put its sale off by naming a block that the chain does not have."""
    story = Story.of(world)
    story.fails(story.drop_event(LicenseSold).place.chain_transaction, fate)
    story.say(EventKind.LICENSED, block=10**9)
    found, tally = story.reconciled(complete_to=story.facts.complete_to)
    assert [gap.kind.value for gap in found if gap.kind.value.startswith("license.")] != []
    assert tally.pending == 0


def test_a_block_that_is_not_final_yet_is_pending(world: World) -> None:
    """An entry whose chain transaction waits to become final is no gap."""
    story = Story.of(world)
    story.fails(story.drop_event(LicenseSold).place.chain_transaction, Fate.PENDING)
    story.say(EventKind.LICENSED, block=10**9)
    found, tally = story.reconciled(complete_to=story.facts.complete_to)
    assert (found, tally.pending) == ([], 1)


@pytest.mark.parametrize("amount", ["9" * 5000, "\u0665", "05", "+5", " 5", "1e3", ""])
def test_an_amount_of_another_form_is_paid_to_nobody(world: World, amount: str) -> None:
    """An amount that no certificate could carry is a gap, and no error of Python's."""
    story = Story.of(world)
    _payments(story, lambda payments: payments[0].update(amount=amount))
    found, _ = story.reconciled(complete_to=story.facts.complete_to)
    assert "settlement.recipient" in {gap.kind.value for gap in found}


@pytest.mark.parametrize("name", [5, [], {"a": 1}, True])
def test_a_withdrawal_by_something_strange_is_a_gap(world: World, name: object) -> None:
    """What an entry names as a chain transaction may be anything; it is looked for and not found."""
    story = Story.of(world)
    story.drop_event(OfferWithdrawn)
    story.say(EventKind.WITHDRAWN, chain_transaction=name)
    found, _ = story.reconciled(complete_to=story.facts.complete_to)
    assert "withdrawal.unfounded" in {gap.kind.value for gap in found}


# Planted gaps


@dataclass
class Story:
    """A copy of the log's entries and the chain's events, in which gaps are planted."""

    entries: list[Event]
    events: list[ChainEvent]
    facts: Facts

    @classmethod
    def of(cls, world: World) -> Story:
        """What the log and the chain of a world hold."""
        node, source = world.running.node, world.source()
        with node.database.read() as tables:
            entries = [Event.read(entry) for entry in tables.log.entries(0, 10_000)]
        newest = world.events.newest()
        facts = Facts(
            domain=node.info.domain,
            currency=node.info.currency.address,
            anchorer=node.info.operator,
            origin=node.info.origin,
            size=len(entries),
            root_at=Prover(source.tile).root,
            fate=world.events.fate,
            complete_to=newest.number,
            newest=lambda: newest.number,
        )
        return cls(entries, list(world.events.between(node.info.since_block, newest.number)), facts)

    def reconciled(self, *, complete_to: int | None) -> tuple[list[Gap], Tally]:
        """The gaps, and what was counted."""
        tally = Tally()
        facts = replace(self.facts, complete_to=complete_to)
        return list(reconcile(enumerate(self.entries), self.events, facts=facts, tally=tally)), tally

    def index(self, kind: EventKind, number: int = 0) -> int:
        """Where the log has the entry of this kind, counted from 0 or from the end."""
        return [index for index, event in enumerate(self.entries) if event.kind is kind][number]

    def drop(self, kind: EventKind, number: int = 0) -> None:
        """Take an entry out of the log."""
        del self.entries[self.index(kind, number)]

    def say(self, kind: EventKind, number: int = 0, **about: object) -> None:
        """Have an entry say something else."""
        index = self.index(kind, number)
        event = self.entries[index]
        self.entries[index] = msgspec.structs.replace(event, about={**event.about, **about})

    def drop_event(self, kind: type[ChainEvent], number: int = 0) -> ChainEvent:
        """Take an event off the chain."""
        return self.events.pop([index for index, event in enumerate(self.events) if type(event) is kind][number])

    def say_event(self, kind: type[ChainEvent], number: int = 0, **members: object) -> None:
        """Have an event of the chain say something else."""
        index = [index for index, event in enumerate(self.events) if type(event) is kind][number]
        self.events[index] = msgspec.structs.replace(self.events[index], **members)

    def sold(self, number: int = 0) -> LicenseSold:
        """A sale of the chain."""
        return [event for event in self.events if isinstance(event, LicenseSold)][number]

    def fails(self, chain_transaction: str, fate: Fate) -> None:
        """Have a chain transaction end otherwise."""
        real = self.facts.fate
        self.facts = replace(self.facts, fate=lambda name: fate if name == chain_transaction else real(name))


def _payments(story: Story, change: Callable[[list[dict[str, str]]], object]) -> None:
    about = story.entries[story.index(EventKind.SETTLED)].about
    payments = [dict(payment) for payment in about["payments"]]  # type: ignore[union-attr, arg-type]
    change(payments)
    story.say(EventKind.SETTLED, payments=payments)


def sale_without_entry(story: Story) -> None:
    """A sale on the chain that no entry knows: the order's entries are gone."""
    order = story.entries[story.index(EventKind.LICENSED, 2)].about["order"]
    story.entries = [event for event in story.entries if event.about.get("order") != order]


def direct_sale_without_entry(story: Story) -> None:
    """A direct purchase that was not observed."""
    story.drop(EventKind.OBSERVED)


def license_without_chain_transaction(story: Story) -> None:
    """A license entry whose chain transaction does not exist."""
    story.fails(story.drop_event(LicenseSold).place.chain_transaction, Fate.ABSENT)


def license_whose_chain_transaction_failed(story: Story) -> None:
    """A license entry whose chain transaction failed."""
    story.fails(story.drop_event(LicenseSold).place.chain_transaction, Fate.FAILED)


def license_whose_chain_transaction_sold_nothing(story: Story) -> None:
    """A license entry whose chain transaction did something else."""
    story.drop_event(LicenseSold)


def license_with_another_block(story: Story) -> None:
    """A license entry that names another block."""
    story.say(EventKind.LICENSED, block=1)


def license_with_another_offer(story: Story) -> None:
    """A license entry that names another offer."""
    story.say(EventKind.LICENSED, offer=OTHER)


def license_with_another_order(story: Story) -> None:
    """A license entry that names another order."""
    story.say(EventKind.LICENSED, 2, order=OTHER)


def license_with_another_expiry(story: Story) -> None:
    """A license entry that names another end."""
    story.say(EventKind.LICENSED, expiry=1)


def license_with_another_chain_transaction(story: Story) -> None:
    """A license entry that names another chain transaction."""
    story.say(EventKind.LICENSED, chain_transaction=OTHER)


def order_of_another_offer(story: Story) -> None:
    """An order entry that names another offer."""
    story.say(EventKind.ORDERED, offer=OTHER)


def order_with_other_units(story: Story) -> None:
    """An order entry of other units."""
    story.say(EventKind.ORDERED, units=7)


def order_with_another_price(story: Story) -> None:
    """An order entry with another price."""
    story.say(EventKind.ORDERED, price="1")


def order_in_another_currency(story: Story) -> None:
    """An order entry in another currency."""
    story.say(EventKind.ORDERED, currency=STRANGE)


def order_twice(story: Story) -> None:
    """An order that is placed twice."""
    story.entries.append(story.entries[story.index(EventKind.ORDERED)])


def order_without_outcome(story: Story) -> None:
    """An order without outcome, although the chain has the sale."""
    story.drop(EventKind.LICENSED, 2)


def order_refused_although_sold(story: Story) -> None:
    """An order that is refused, although the chain has the sale."""
    order = story.entries[story.index(EventKind.REFUSED)].about["order"]
    later = (EventKind.LICENSED, EventKind.DELIVERED, EventKind.SETTLED, EventKind.CERTIFIED)
    story.entries = [e for e in story.entries if e.about.get("order") != order or e.kind not in later]


def two_licenses_for_one_sale(story: Story) -> None:
    """Two license entries of one sale, the second after the trade was over."""
    story.entries.append(story.entries[story.index(EventKind.LICENSED)])


def sale_observed_and_licensed(story: Story) -> None:
    """One sale that is entered as licensed and as observed."""
    sale = story.sold(2)
    about = {
        "order": str(sale.order_id),
        "offer": str(sale.offer_id),
        "buyer": str(sale.buyer),
        "units": sale.units,
        "price": str(int(sale.price)),
        "chain_transaction": sale.place.chain_transaction,
        "block": sale.place.block,
        "expiry": sale.expiry,
    }
    story.entries.append(Event(EventKind.OBSERVED, 0, STRANGE, about))


def observed_sale_with_another_buyer(story: Story) -> None:
    """An observed sale that names another buyer."""
    story.say(EventKind.OBSERVED, buyer=STRANGE)


def settlement_with_another_amount(story: Story) -> None:
    """A settlement entry with another amount."""
    _payments(story, lambda payments: payments[0].update(amount="1"))


def settlement_with_another_recipient(story: Story) -> None:
    """A settlement entry that names another recipient."""
    _payments(story, lambda payments: payments[0].update(account=STRANGE))


def settlement_that_lacks_a_payment(story: Story) -> None:
    """A settlement entry that leaves a payment out."""
    _payments(story, lambda payments: payments.pop())


def settlement_that_lacks_a_payment_of_the_chain(story: Story) -> None:
    """A payment on the chain that the settlement entry does not have."""
    paid = (*story.sold().payments, Payment(Address(b"\7" * 20), Amount(1)))
    story.say_event(LicenseSold, payments=paid)


def settlement_of_another_chain_transaction(story: Story) -> None:
    """A settlement entry that names another chain transaction."""
    story.say(EventKind.SETTLED, chain_transaction=OTHER)


def settlement_of_what_was_never_licensed(story: Story) -> None:
    """A settlement entry of an order that nobody licensed."""
    story.say(EventKind.SETTLED, order=OTHER)


def withdrawal_without_entry(story: Story) -> None:
    """A withdrawal on the chain that the log does not know."""
    story.drop(EventKind.WITHDRAWN)


def withdrawal_without_event(story: Story) -> None:
    """A withdrawal entry that the chain does not know."""
    story.drop_event(OfferWithdrawn)


def anchor_without_event(story: Story) -> None:
    """An anchor entry that the chain does not know."""
    story.drop_event(AnchorRecorded)


def anchor_without_entry(story: Story) -> None:
    """An anchor of the operator that the log does not know."""
    story.drop(EventKind.ANCHORED)


def anchor_of_another_root(story: Story) -> None:
    """An anchor on the chain whose root the log never had."""
    story.say_event(AnchorRecorded, root=b"\7" * 32)
    story.say(EventKind.ANCHORED, root="07" * 32)


def anchor_of_a_longer_log(story: Story) -> None:
    """An anchor on the chain of more entries than the log has."""
    story.say_event(AnchorRecorded, 1, size=story.facts.size + 1)
    story.say(EventKind.ANCHORED, 1, size=story.facts.size + 1)


def anchor_in_another_block(story: Story) -> None:
    """An anchor entry that names another block."""
    story.say(EventKind.ANCHORED, block_hash=OTHER)


def delivery_without_license(story: Story) -> None:
    """A delivery entry of an order that nobody licensed."""
    story.say(EventKind.DELIVERED, order=OTHER)


def certificate_before_settlement(story: Story) -> None:
    """A certificate entry that comes before the settlement."""
    settled, certified = story.index(EventKind.SETTLED), story.index(EventKind.CERTIFIED)
    story.entries[settled], story.entries[certified] = story.entries[certified], story.entries[settled]


def offer_of_another_chain(story: Story) -> None:
    """An entry that lists an offer for another chain."""
    story.say(EventKind.LISTED, chain_id=1)


def offer_of_another_exchange(story: Story) -> None:
    """An entry that lists an offer for another exchange."""
    story.say(EventKind.LISTED, exchange=STRANGE)


PLANTED: list[tuple[Callable[[Story], None], list[str]]] = [
    (sale_without_entry, ["sale.unrecorded"]),
    (direct_sale_without_entry, ["sale.unrecorded"]),
    (license_without_chain_transaction, ["license.unfounded"]),
    (license_whose_chain_transaction_failed, ["license.failed"]),
    (license_whose_chain_transaction_sold_nothing, ["license.no_sale"]),
    (license_with_another_block, ["license.block"]),
    (license_with_another_offer, ["license.offer"]),
    (license_with_another_order, ["license.unordered", "order.unfinished", "license.order"]),
    (license_with_another_expiry, ["license.expiry"]),
    (license_with_another_chain_transaction, ["license.chain_transaction"]),
    (order_of_another_offer, ["order.offer"]),
    (order_with_other_units, ["order.units"]),
    (order_with_another_price, ["order.price"]),
    (order_in_another_currency, ["order.currency"]),
    (order_twice, ["order.twice"]),
    (order_without_outcome, ["order.unfinished"]),
    (order_refused_although_sold, ["order.refused_but_sold"]),
    (two_licenses_for_one_sale, ["license.twice"]),
    (sale_observed_and_licensed, ["license.twice"]),
    (observed_sale_with_another_buyer, ["sale.differs"]),
    (settlement_with_another_amount, ["settlement.amount"]),
    (settlement_with_another_recipient, ["settlement.recipient"]),
    (settlement_that_lacks_a_payment, ["settlement.missing_payment"]),
    (settlement_that_lacks_a_payment_of_the_chain, ["settlement.missing_payment"]),
    (settlement_of_another_chain_transaction, ["settlement.chain_transaction"]),
    (settlement_of_what_was_never_licensed, ["settlement.unlicensed", "certificate.unsettled"]),
    (withdrawal_without_entry, ["withdrawal.unrecorded"]),
    (withdrawal_without_event, ["withdrawal.unfounded"]),
    (anchor_without_event, ["anchor.unfounded"]),
    (anchor_without_entry, ["anchor.unrecorded"]),
    (anchor_of_another_root, ["anchor.root"]),
    (anchor_of_a_longer_log, ["anchor.too_large"]),
    (anchor_in_another_block, ["anchor.unfounded"]),
    (delivery_without_license, ["delivery.unlicensed"]),
    (certificate_before_settlement, ["certificate.unsettled"]),
    (offer_of_another_chain, ["offer.listed_elsewhere"]),
    (offer_of_another_exchange, ["offer.listed_elsewhere"]),
]


@pytest.mark.parametrize(("plant", "kinds"), PLANTED, ids=[plant.__name__ for plant, _ in PLANTED])
def test_a_planted_gap_is_named(world: World, plant: Callable[[Story], None], kinds: list[str]) -> None:
    """Each gap is found, and by its own name; nothing else is."""
    story = Story.of(world)
    assert story.reconciled(complete_to=story.facts.complete_to)[0] == []
    plant(story)
    found, tally = story.reconciled(complete_to=story.facts.complete_to)
    assert sorted(gap.kind.value for gap in found) == sorted(kinds)
    assert tally.gaps == len(found)
    assert all(gap.what.endswith(".") and gap.fix.endswith(".") for gap in found)
    assert all((gap.entry, gap.chain_transaction, gap.order) != (None, None, None) for gap in found)


def test_a_gap_says_where_to_look(world: World) -> None:
    """A gap names the entry, the chain transaction and the order, and what both sides say."""
    story = Story.of(world)
    order_with_another_price(story)
    (gap,) = story.reconciled(complete_to=story.facts.complete_to)[0]
    sale, index = story.sold(), story.index(EventKind.ORDERED)
    assert (gap.entry, gap.order, gap.chain_transaction) == (index, str(sale.order_id), sale.place.chain_transaction)
    assert gap.what == f"Entry {index} has 1 as price; the chain has {int(sale.price)}."


def test_a_paid_order_cannot_be_bought_again(world: World) -> None:
    """What was bought directly is the buyer's; the same signed payment never pays twice."""
    consumer = world.running.funded()
    offer_id = OfferId.parse(str(Story.of(world).entries[1].about["offer"]))
    request = _signed(consumer._connection, consumer.identity, consumer.info, offer_id=offer_id, units=1, most=None)
    first = world.running.node.purchasing.buy(offer_id, request.purchase)
    assert first.state is OrderState.LICENSED
    with pytest.raises(PaymentInvalid, match="paid already"):
        world.running.node.purchasing.relaying.relayer.prepare_purchase(
            consumer.find_offer(offer_id).signed, request.purchase
        )


def test_the_answer_is_json(world: World) -> None:
    """What was compared can be written down as it is."""
    from databund.core import documents

    said = json.loads(json.dumps(documents.dump(world.compared())))
    assert said["origin"] == world.running.node.info.origin
    assert said["gaps"] == []
