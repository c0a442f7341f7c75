"""The connection to a node: how its answers are read."""

from __future__ import annotations

from typing import Any

import pytest
from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.connection import IMMEDIATE, Connection, NodeRefusal
from databund.core.ids import Address
from databund.errors import ChainUnavailable


class Canned(BaseProvider):
    """A node with one answer to each method."""

    def __init__(self, **answers: Any) -> None:
        super().__init__()
        self._answers = answers

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer the same to any parameters, or fail as the canned exception says."""
        assert isinstance(params, list)
        answer = self._answers[method]
        if isinstance(answer, Exception):
            raise answer
        return answer  # type: ignore[no-any-return]


def connection(**answers: Any) -> Connection:
    """The way to such a node."""
    return Connection(Canned(**answers), chain_id=1, finality=IMMEDIATE)


@pytest.mark.parametrize(
    ("error", "reverted", "data"),
    [
        ({"code": 3, "message": "execution reverted", "data": "0x0102"}, True, b"\1\2"),
        ({"code": -32000, "message": "VM error", "data": {"data": "0x0102"}}, True, b"\1\2"),
        ({"code": -32000, "message": "Execution reverted"}, True, b""),
        ({"code": -32000, "message": "out of gas"}, False, b""),
        ({"code": -32000, "message": "odd", "data": "0xno"}, False, b""),
        ({"code": -32000, "message": "odd", "data": "Busy"}, False, b""),
        ("a bare string", False, b""),
    ],
)
def test_revert_data_is_found_where_nodes_put_it(error: object, *, reverted: bool, data: bytes) -> None:
    """A smart contract's refusal is told from the node's own, and its data read in each form that nodes use."""
    with pytest.raises(NodeRefusal) as caught:
        connection(eth_call={"error": error}).request("eth_call")
    assert (caught.value.reverted, caught.value.data) == (reverted, data)


def test_a_node_in_trouble_is_not_an_empty_chain() -> None:
    """Only a smart contract's own refusal reads as nothing; a node that cannot answer is unavailable."""
    account = Address(bytes(20))
    reverted, busy = ({"error": {"message": message}} for message in ("execution reverted", "too many requests"))
    assert connection(eth_call=reverted).read(account, b"") == b""
    with pytest.raises(ChainUnavailable, match="too many requests"):
        connection(eth_call=busy).read(account, b"")


@pytest.mark.parametrize("failure", [ConnectionResetError(), TimeoutError(), ValueError("not JSON")])
def test_a_broken_line_is_unavailable(failure: Exception) -> None:
    """Whatever breaks between us and the node is `ChainUnavailable`, named by its kind alone."""
    with pytest.raises(ChainUnavailable, match=type(failure).__name__):
        connection(eth_chainId=failure).ask("eth_chainId")


@pytest.mark.parametrize(
    ("base", "fees"),
    [
        ({}, {"gasPrice": 7}),
        ({"baseFeePerGas": "0x0"}, {"maxFeePerGas": 0, "maxPriorityFeePerGas": 0}),
        ({"baseFeePerGas": "0x64"}, {"maxFeePerGas": 203, "maxPriorityFeePerGas": 3}),
    ],
)
def test_fees_follow_the_network(base: dict[str, str], fees: dict[str, int]) -> None:
    """Legacy without a base fee, nothing where it is 0, and otherwise room for it to double."""
    node = connection(
        eth_getBlockByNumber={"result": base},
        eth_gasPrice={"result": "0x7"},
        eth_maxPriorityFeePerGas={"result": "0x3"},
    )
    assert node.fees() == fees


def test_a_node_without_tags_needs_confirmations() -> None:
    """Where no policy is given and the node knows no finalized block, 64 confirmations are awaited."""
    refused = {"error": {"code": -32602, "message": "unknown block tag"}}
    found = Connection.open(Canned(eth_chainId={"result": "0x5"}, eth_getBlockByNumber=refused))
    assert found.chain_id == 5
    assert (found.finality.tag, found.finality.confirmations) == (None, 64)
