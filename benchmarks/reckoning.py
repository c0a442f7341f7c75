"""The reckoning: what must be true of a node however often it and its clients were killed.

Every check returns sentences, each about one thing that is not as it must be.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.trader import USES, Acknowledged, content, price
from databund.core.events import Event, EventKind
from databund.core.ids import Address, OfferId, OrderId, keccak256
from databund.core.messages import DatasetView, NodeInfo
from databund.core.orders import OrderState
from databund.crypto.identities import Identity
from databund.crypto.signatures import verify_ed25519
from databund.errors import DatabundError, NotFound
from databund.sdk import audit
from databund.sdk.client import Client
from databund.sdk.connection import Connection
from databund.tlog.checkpoints import open_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import VerifierKey, ed25519_verifier
from databund.tlog.tiles import EntryBundle, TreeEdge, changed_tiles, parse_entries

__all__ = ["LogWatch", "Parties", "reckon"]

Act = tuple[EventKind, str]
_NAMES = {
    EventKind.REGISTERED: "descriptor",
    EventKind.LISTED: "offer",
    EventKind.ORDERED: "order",
    EventKind.LICENSED: "order",
    EventKind.REFUSED: "order",
    EventKind.DELIVERED: "delivery",
    EventKind.SETTLED: "order",
    EventKind.CERTIFIED: "order",
}
_LEAVES: dict[str, tuple[tuple[EventKind, str], ...]] = {
    "register": ((EventKind.REGISTERED, "descriptor"),),
    "list": ((EventKind.LISTED, "offer"),),
    "trade": ((EventKind.ORDERED, "order"), (EventKind.LICENSED, "order")),
    "deliver": ((EventKind.DELIVERED, "delivery"),),
    "certify": ((EventKind.SETTLED, "order"), (EventKind.CERTIFIED, "order")),
}
_TRANSFER = "0x" + keccak256(b"Transfer(address,address,uint256)").hex()
_SOLD = "0x" + keccak256(b"LicenseSold(bytes32,address,address,bytes32,uint64,uint256,address,uint64)").hex()
_BASIS = 10_000


@dataclass(frozen=True)
class Parties:
    """Who trades, and with how much money the consumer began."""

    operator: Identity
    provider: Identity
    consumer: Identity
    deposit: int


@dataclass
class LogWatch:
    """A reader of the log who forgets nothing: what it once saw has to stay, and to hash to every later root."""

    connection: Connection
    key: VerifierKey
    events: list[Event] = field(default_factory=list)
    acts: Counter[Act] = field(default_factory=Counter)
    _edge: TreeEdge = field(default_factory=TreeEdge)

    def look(self, acknowledged: Iterable[Acknowledged]) -> Iterator[str]:
        """Read what is new, and compare with what was acknowledged."""
        try:
            note = self.connection.get_bytes("/log/checkpoint")
        except NotFound:
            if self._edge.size:
                yield f"the log of {self._edge.size} entries is gone"
            return
        try:
            yield from self._grow(note)
        except DatabundError as error:
            yield f"the log does not verify: {error.code}: {error.what}"
        yield from (f"{kind} {name} is in the log {n} times" for (kind, name), n in self.acts.items() if n > 1)
        for said in acknowledged:
            for kind, member in _LEAVES[said.step]:
                if self.acts[kind, said.facts[member]] == 0:
                    yield f"trade {said.trade}: {said.step} was acknowledged, but {kind} is not in the log"

    def _grow(self, note: bytes) -> Iterator[str]:
        found = open_checkpoint(note, origin=self.key.name, log=[ed25519_verifier(self.key, verify_ed25519)]).checkpoint
        if found.size < self._edge.size:
            yield f"the log shrank from {self._edge.size} to {found.size} entries"
            return
        entries = list(self._entries(self._edge.size, found.size))
        self._edge = self._edge.append(map(leaf_hash, entries)).edge
        if self._edge.root() != found.root:
            yield f"the {found.size} entries do not hash to the signed root"
        for event in map(Event.read, entries):
            self.events.append(event)
            if (member := _NAMES.get(event.kind)) is not None:
                self.acts[event.kind, str(event.about[member])] += 1

    def _entries(self, old: int, new: int) -> Iterator[bytes]:
        for tile in sorted(tile for tile in changed_tiles(old, new) if tile.level == 0):
            bundle = EntryBundle(tile.index, tile.width)
            entries = parse_entries(self.connection.get_bytes(f"/log/{bundle.path}"), width=tile.width)
            yield from entries[max(0, old - tile.index * 256) :]


def reckon(
    url: str, folder: Path, parties: Parties, watch: LogWatch, *, acknowledged: Sequence[Acknowledged]
) -> Iterator[str]:
    """Compare what the clients heard, the node's tables, the chain and the log, when every trade is finished."""
    yield from watch.look(acknowledged)
    with Client(url, home=folder / "reckoning", identity=parties.consumer) as client:
        connection = watch.connection
        yield from _kept(client, connection, acknowledged)
        yield from _licensed(client, parties, watch, acknowledged)
        trades = sorted({said.trade for said in acknowledged})
        yield from _money(client, parties, trades)
        yield from _chain(connection, client.info, parties.consumer.address, watch, trades)
        if pending := connection.get("/readyz", dict[str, Any])["chain_transactions_pending"]:
            yield f"{pending} chain transactions are still pending"
        yield from _audited(client, folder / "audit.zip")
    for number in trades:
        opened = folder / "client" / f"opened-{number}" / f"data-{number}.csv"
        if not opened.exists() or opened.read_bytes() != content(number):
            yield f"trade {number}: the opened file is not the published one"


def _kept(client: Client, connection: Connection, acknowledged: Sequence[Acknowledged]) -> Iterator[str]:
    """Datasets, offers and orders that were acknowledged are there, as they were."""
    for said in acknowledged:
        facts = said.facts
        try:
            match said.step:
                case "register":
                    path = f"/datasets/{facts['dataset']}"
                    view = connection.get(path, DatasetView, version=facts["version"])
                    same = view.descriptor == facts["descriptor"]
                case "list":
                    same = str(client.find_offer(OfferId.parse(facts["offer"])).id) == facts["offer"]
                case "trade":
                    order = client.order(OrderId.parse(facts["order"]))
                    same = facts["state"] == "licensed" and order.state is OrderState.CERTIFIED
                case "certify":
                    again = client.certificate(OrderId.parse(facts["order"]))["certificate"]
                    same = again["agreement"] == facts["agreement"]
                case _:
                    same = facts["use"] == 1
        except DatabundError as error:
            yield f"trade {said.trade}: {said.step} was acknowledged and is lost: {error.code}: {error.what}"
        else:
            if not same:
                yield f"trade {said.trade}: {said.step} is not what was acknowledged"


def _licensed(client: Client, parties: Parties, watch: LogWatch, acknowledged: Sequence[Acknowledged]) -> Iterator[str]:
    """Each offer that a trade meant has one order, one unit and one use; any other offer has none."""
    meant = {said.facts["offer"] for said in acknowledged if said.step == "list"}
    orders = Counter(str(e.about["offer"]) for e in watch.events if e.kind is EventKind.LICENSED)
    deliveries = Counter(str(e.about["offer"]) for e in watch.events if e.kind is EventKind.DELIVERED)
    decisions = Counter(str(e.about["offer"]) for e in watch.events if e.kind is EventKind.DECIDED)
    for offer in {str(e.about["offer"]) for e in watch.events if e.kind is EventKind.LISTED}:
        view, wanted = client.license(parties.consumer.address, OfferId.parse(offer)), int(offer in meant)
        found = (orders[offer], view.license.units, deliveries[offer], decisions[offer], view.spent)
        if found != (wanted,) * 5:
            yield f"offer {offer}: (orders, units, deliveries, decisions, uses spent) are {found} instead of {wanted}"
        if view.license.uses != USES * view.license.units:
            yield f"offer {offer}: {view.license.units} units have {view.license.uses} uses"
    if refused := [name for kind, name in watch.acts if kind is EventKind.REFUSED]:
        yield f"orders were refused: {refused}"


def _money(client: Client, parties: Parties, trades: Sequence[int]) -> Iterator[str]:
    """Everyone has what the trades, each paid once, make."""
    fee = client.info.fee
    shares = [int(price(number)) * (fee.basis_points if fee else 0) // _BASIS for number in trades]
    total = sum(int(price(number)) for number in trades)
    expected = {
        "consumer": (parties.consumer, parties.deposit - total),
        "provider": (parties.provider, total - sum(shares)),
        "operator": (parties.operator, sum(shares)),
    }
    for name, (identity, amount) in expected.items():
        found = int(client.balance(identity.address).balance)
        if found != amount:
            yield f"the {name} has {found} instead of {amount}"


def _chain(
    connection: Connection, info: NodeInfo, consumer: Address, watch: LogWatch, trades: Sequence[int]
) -> Iterator[str]:
    """On the chain, each order of the log has one payment and one license, and there are no others."""
    account = "0x" + bytes(consumer).hex().rjust(64, "0")
    paid = _logs(connection, info.currency.address, [_TRANSFER, account])
    if sorted(int(log["data"], 16) for log in paid) != sorted(int(price(number)) for number in trades):
        yield f"the consumer paid {len(paid)} times in {len(trades)} trades, or other sums"
    sold = _logs(connection, info.domain.exchange, [_SOLD])
    orders = Counter("0x" + log["data"][2:66] for log in sold)
    logged = Counter(str(event.about["order"]) for event in watch.events if event.kind is EventKind.LICENSED)
    if orders != logged:
        yield f"the chain sold {orders.total()} licenses, the log has {logged.total()}"


def _logs(connection: Connection, smart_contract: Address, topics: list[str]) -> list[dict[str, Any]]:
    request = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "eth_getLogs",
        "params": [{"address": str(smart_contract), "topics": topics, "fromBlock": "0x0", "toBlock": "latest"}],
    }
    found: list[dict[str, Any]] = connection.post("/rpc", request, dict[str, Any])["result"]
    return found


def _audited(client: Client, bundle: Path) -> Iterator[str]:
    """The exported log verifies, and every order in it came to its end."""
    try:
        client.export_audit(bundle)
        report = audit.verify(bundle, key=client.info.log_key)
    except DatabundError as error:
        yield f"the exported log does not verify: {error.code}: {error.what}"
        return
    for order, state in report.orders.items():
        if state is not OrderState.CERTIFIED:
            yield f"the order {order} is {state} in the log"
