"""Deploying an exchange: what it needs is remembered, checked, and taken up again after an interruption."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.connection import IMMEDIATE, Connection
from databund.chain.deployment import Deployment, deploy
from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.crypto.identities import Identity
from databund.errors import AlreadyExists, ChainUnavailable, ConfigInvalid, DocumentInvalid, NotFound, WrongChain
from tests.conformance.ledgers import deployed


class Interrupted(EmbeddedProvider):
    """The way to a node that breaks at one sending: before the node got it, or after."""

    def __init__(self, node: EmbeddedNode, *, at: int, arrives: bool) -> None:
        super().__init__(node)
        self._left = at
        self._arrives = arrives

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer, or break."""
        sends = method == "eth_sendRawTransaction"
        if sends and self._left == 0 and not self._arrives:
            raise ConnectionResetError
        answer = super().make_request(method, params)
        if sends and self._left == 0:
            raise ConnectionResetError
        self._left -= sends
        return answer


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedNode]:
    """An empty chain."""
    with EmbeddedNode.create(tmp_path / "chain.db", chain_id=31337, now=lambda: int(time.time())) as node:
        yield node


@pytest.fixture
def connection(node: EmbeddedNode) -> Connection:
    """The way to it."""
    return Connection.open(EmbeddedProvider(node), finality=IMMEDIATE)


@pytest.mark.parametrize("arrives", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_an_interrupted_deployment_goes_on(
    node: EmbeddedNode, connection: Connection, *, at: int, arrives: bool
) -> None:
    """Wherever a deployment breaks off, calling it again completes it with nothing deployed twice."""
    operator = Identity.generate()
    broken = Connection.open(Interrupted(node, at=at, arrives=arrives), finality=IMMEDIATE)
    with pytest.raises(ChainUnavailable):
        deployed(broken, operator)
    deployed(connection, operator).check(connection)
    assert connection.included(operator.address) == 4


def test_a_deployment_follows_other_work(connection: Connection) -> None:
    """An operator who used the account before can deploy, and a second exchange is another one."""
    operator = Identity.generate()
    first = deployed(connection, operator)
    second = deploy(connection, Identity.generate(), currency_name="Other", currency_symbol="OTH")
    assert first.exchange != second.exchange
    assert second.currency.symbol == "OTH"


def test_an_interrupted_deployment_keeps_its_currency(connection: Connection) -> None:
    """What was begun with one currency is not completed with another."""
    operator = Identity.generate()
    deployed(connection, operator)
    with pytest.raises(AlreadyExists, match="CREDIT"):
        deploy(connection, operator, currency_name="Other", currency_symbol="OTH")


def test_a_deployment_is_remembered(connection: Connection, tmp_path: Path) -> None:
    """What is saved is loaded again, and no draft is left beside it."""
    deployment = deployed(connection, Identity.generate())
    deployment.save(tmp_path / "deployments")
    deployment.save(tmp_path / "deployments")
    assert Deployment.load(tmp_path / "deployments", 31337) == deployment
    assert [file.name for file in (tmp_path / "deployments").iterdir()] == ["31337.json"]


def test_an_unknown_chain_has_no_deployment(connection: Connection, tmp_path: Path) -> None:
    """A missing, misplaced or damaged file is told apart."""
    deployed(connection, Identity.generate()).save(tmp_path)
    with pytest.raises(NotFound):
        Deployment.load(tmp_path, 1)
    (tmp_path / "31337.json").rename(tmp_path / "1.json")
    with pytest.raises(ConfigInvalid):
        Deployment.load(tmp_path, 1)
    (tmp_path / "1.json").write_bytes(b"{}")
    with pytest.raises(DocumentInvalid):
        Deployment.load(tmp_path, 1)


@pytest.mark.parametrize("place", ["exchange", "license_token", "dataset_title", "checkpoint_anchor"])
def test_a_foreign_smart_contract_is_noticed(connection: Connection, place: str) -> None:
    """An address with no code, or with another smart contract's, is not taken for ours."""
    deployment = deployed(connection, Identity.generate())
    for wrong in (Identity.generate().address, deployment.currency.address):
        with pytest.raises(WrongChain, match=str(wrong)):
            msgspec.structs.replace(deployment, **{place: wrong}).check(connection)


def test_another_chain_is_noticed(connection: Connection) -> None:
    """A deployment of another chain id is refused before anything is read."""
    deployment = deployed(connection, Identity.generate())
    with pytest.raises(WrongChain, match="on chain 5"):
        msgspec.structs.replace(deployment, chain_id=5).check(connection)
