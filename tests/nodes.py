"""Nodes for tests: a real one (embedded chain, SQLite, folder) in this process, reached without a socket."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from litestar import Litestar
from litestar.testing import TestClient

from databund import bootstrap, config
from databund.api.application import create_application
from databund.app.node import Node
from databund.crypto.identities import Identity
from databund.sdk.client import Client
from databund.sdk.publication import Description, OfferTerms
from databund.web.pages import PAGES

URL = "http://127.0.0.1:8750"


@dataclass
class NodeInProcess:
    """A node, plain HTTP to it, and clients for any participant."""

    node: Node
    http: TestClient[Litestar]
    operator: Identity
    folder: Path

    def client(self, identity: Identity | None = None) -> Client:
        """A participant with a home of its own."""
        identity = identity or Identity.generate()
        transport: httpx.BaseTransport = self.http._transport
        return Client(URL, home=self.folder / str(identity.address), identity=identity, transport=transport)

    def funded(self, amount: str = "100") -> Client:
        """A participant with money."""
        client = self.client()
        operator = self.client(self.operator)
        operator.credit(client.identity.address, client.info.currency.parse(amount))
        return client


@contextmanager
def node_in_process(folder: Path, *, operator: Identity | None = None, **settings: object) -> Iterator[NodeInProcess]:
    """Open a node on ``folder`` and close it at the end."""
    operator = operator or Identity.generate()
    chosen = config.load({"home": folder / "node", **settings}, environment={"DATABUND_CONFIG": str(folder / "none")})
    with bootstrap.open_node(chosen, operator) as running:
        application = create_application(running.node, public_url=URL, rpc=running.rpc, pages=PAGES)
        with TestClient(application, base_url=URL, raise_server_exceptions=False) as http:
            yield NodeInProcess(running.node, http, operator, folder)


def terms(client: Client, price: str = "10", **changes: object) -> OfferTerms:
    """Terms of an offer at ``price``."""
    return OfferTerms(unit_price=client.info.currency.parse(price), **changes)  # type: ignore[arg-type]  # a test's words


def table(folder: Path, rows: int = 3) -> Path:
    """A small CSV file."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "table.csv"
    path.write_text("id,value\n" + "".join(f"{n},{n * n}\n" for n in range(rows)))
    return path


ABOUT = Description(name="squares", title="Squares 平方数", keywords=("numbers",))
