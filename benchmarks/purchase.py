"""Purchases: relayed, one after another, on a node whose every answer is durable.

First through HTTP from a node process, then in this process through `databund.app.purchasing.Purchasing` on the same
home, which leaves the edge out and lets the parts be timed. Every purchase has a buyer of its own, who was credited and
has signed before the clock starts.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

from benchmarks.files import workplace
from benchmarks.nodes import NodeProcess, settings_of
from benchmarks.processes import cpu_seconds
from benchmarks.trading import PRICE, signed_purchase
from databund.app.node import Node
from databund.app.relaying import Relaying
from databund.bootstrap import open_node
from databund.core.amounts import Amount
from databund.core.ids import Bytes32
from databund.core.messages import NodeInfo, OfferView, OrderRequest
from databund.core.orders import Order, OrderState
from databund.crypto.identities import Identity
from databund.ports import ChainOutcome, ChainTransaction
from databund.sdk.client import Client
from databund.sdk.connection import Connection
from databund.sdk.publication import Description, OfferTerms

__all__ = ["Figures", "Parts", "listed", "run"]

_PURCHASES, _QUICK_PURCHASES = 500, 100
_WARM_UP = 5
_PARTS = ("prepare", "store", "settle", "record")


@dataclass(frozen=True)
class Parts:
    """Median CPU or wall time in ms: trying the call, storing order and entry, sending and receipt, recording it."""

    prepare: float
    store: float
    settle: float
    record: float


@dataclass(frozen=True)
class Figures:
    """Milliseconds for one purchase: wall time, CPU time of the whole process, and the same through HTTP."""

    p50_ms: float
    p99_ms: float
    cpu_ms: float
    cpu_parts_ms: Parts
    wall_parts_ms: Parts
    http_p50_ms: float
    http_p99_ms: float
    http_node_cpu_ms: float
    purchases: int


def run(*, quick: bool) -> Figures:
    """Buy."""
    count = _QUICK_PURCHASES if quick else _PURCHASES
    operator, buyers = Identity.generate(), [Identity.generate() for _ in range(2 * (count + _WARM_UP))]
    with workplace("purchase") as folder:
        with NodeProcess(folder / "operator", operator.reveal()) as node:
            view, info = listed(node.run(), folder)
        with open_node(settings_of(folder / "operator"), operator) as running:
            _credit(running.node, buyers)
        purchases = [OrderRequest(view.id, signed_purchase(view.signed, info.currency, buyer)) for buyer in buyers]
        with NodeProcess(folder / "operator", operator.reveal()) as node:
            node.run()
            http_ms, http_cpu_ms = _through_http(node, purchases[::2])
        with open_node(settings_of(folder / "operator"), operator) as running:
            wall, cpu = _in_process(running.node, purchases[1::2])
    return Figures(
        p50_ms=_ms(median(map(sum, wall))),
        p99_ms=_ms(_p99(list(map(sum, wall)))),
        cpu_ms=_ms(median(map(sum, cpu))),
        cpu_parts_ms=_parts(cpu),
        wall_parts_ms=_parts(wall),
        http_p50_ms=_ms(median(http_ms)),
        http_p99_ms=_ms(_p99(http_ms)),
        http_node_cpu_ms=_ms(http_cpu_ms),
        purchases=count,
    )


def listed(url: str, folder: Path) -> tuple[OfferView, NodeInfo]:
    """A dataset with an offer, published as anybody does it."""
    source = folder / "data.csv"
    source.write_text("name,value\n" + "".join(f"row {n},{n}\n" for n in range(1000)))
    with Client(url, home=folder / "provider", identity=Identity.generate()) as provider:
        dataset = provider.publish(source, Description(name="benchmark", title="Benchmark")).dataset
        terms = OfferTerms(unit_price=PRICE, duration_s=365 * 86_400, purposes=("research",))
        return provider.offer(dataset, terms), provider.info


def _credit(node: Node, buyers: Sequence[Identity]) -> None:
    """Give each buyer twice the price; several at once share blocks."""

    def issue(buyer: Identity) -> None:
        reference = Bytes32(bytes(buyer.address).rjust(32, b"\0"))
        outcome = node.purchasing.issue(buyer.address, Amount(2 * PRICE), reference=reference)
        assert outcome is not None, "the credit is not final"
        assert outcome.succeeded, "the credit failed"

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(issue, buyers))


def _through_http(node: NodeProcess, requests: Sequence[OrderRequest]) -> tuple[list[float], float]:
    """Seconds of each purchase as the client sees it, and CPU seconds of the node for each."""
    connection = Connection(node.url)
    try:
        seconds: list[float] = []
        for number, request in enumerate(requests):
            if number == _WARM_UP:
                cpu = cpu_seconds(node.pid)
            begun = time.perf_counter()
            order = connection.post("/orders", request, Order)
            seconds.append(time.perf_counter() - begun)
            assert order.state is OrderState.LICENSED, order
        return seconds[_WARM_UP:], (cpu_seconds(node.pid) - cpu) / (len(requests) - _WARM_UP)
    finally:
        connection.close()


def _in_process(node: Node, requests: Sequence[OrderRequest]) -> tuple[list[list[float]], list[list[float]]]:
    """Wall and CPU seconds of the parts of each purchase."""
    watch = _Watch()
    plain = node.purchasing.relaying
    relaying = _WatchedRelaying(plain.database, plain.relayer, plain.timeout_s, watch=watch)
    purchasing = dataclasses.replace(node.purchasing, relaying=relaying)
    rows: list[list[tuple[float, float]]] = []
    for request in requests:
        watch.begin()
        order = purchasing.buy(request.offer_id, request.purchase)
        watch.stamp()
        rows.append(list(watch.parts()))
        assert order.state is OrderState.LICENSED, order
    rows = rows[_WARM_UP:]
    return [[wall for wall, _ in row] for row in rows], [[cpu for _, cpu in row] for row in rows]


class _Watch:
    """Moments of one purchase, each as (wall, CPU) seconds."""

    def __init__(self) -> None:
        self._moments: list[tuple[float, float]] = []

    def begin(self) -> None:
        self._moments = []
        self.stamp()

    def stamp(self) -> None:
        self._moments.append((time.perf_counter(), time.process_time()))

    def parts(self) -> Iterator[tuple[float, float]]:
        assert len(self._moments) == len(_PARTS) + 1, "a purchase has four parts"
        for (wall, cpu), (later_wall, later_cpu) in pairwise(self._moments):
            yield later_wall - wall, later_cpu - cpu


@dataclass(frozen=True)
class _WatchedRelaying(Relaying):
    """Relaying that notes when a purchase goes from one part to the next."""

    watch: _Watch = dataclasses.field(kw_only=True)

    def included(self) -> int:
        number = super().included()
        self.watch.stamp()
        return number

    def outcome(self, chain_transaction: ChainTransaction) -> ChainOutcome | None:
        self.watch.stamp()
        found = super().outcome(chain_transaction)
        self.watch.stamp()
        return found


def _parts(rows: Sequence[Sequence[float]]) -> Parts:
    return Parts(*(_ms(median(column)) for column in zip(*rows, strict=True)))


def _p99(seconds: Sequence[float]) -> float:
    return quantiles(seconds, n=100, method="inclusive")[98]


def _ms(seconds: float) -> float:
    return round(1000 * seconds, 2)
