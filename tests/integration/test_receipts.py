"""Receipt proofs: built on the embedded node and on anvil, accepted by another library, and broken by any change."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import rlp
from trie.exceptions import BadTrieProof
from trie.hexary import HexaryTrie
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.connection import IMMEDIATE, Connection, Finality, http_provider
from databund.chain.embedded import EmbeddedNode
from databund.chain.embedded.provider import EmbeddedProvider
from databund.chain.receipts import prove_receipt
from databund.core.amounts import Amount
from databund.core.chain_proofs import ReceiptProof, verify_receipt
from databund.core.ids import Address, keccak256
from databund.crypto.identities import Identity
from databund.errors import LedgerMismatch, NotFound, ProofInvalid
from databund.ports import ChainOutcome
from databund.testing.ledger_suite import Market
from tests.conformance.ledgers import give_gas, open_market
from tests.servers import anvil

ACCOUNT = Address(b"\1" * 20)
CROWD = 20


class Meddling(EmbeddedProvider):
    """The way to a node that changes one member of the answers to a method, or refuses the method."""

    method, member, value = "", "", ""

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request."""
        answer = super().make_request(method, params)
        if method == self.method and not self.member:
            return {"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "no such method"}}  # type: ignore[typeddict-item]
        if method == self.method:
            found = answer["result"]
            (found[0] if isinstance(found, list) else found)[self.member] = self.value
        return answer


@contextmanager
def on_embedded(folder: Path) -> Iterator[Meddling]:
    """A node in this process."""
    with EmbeddedNode.create(folder / "chain.db", chain_id=31337, now=lambda: int(time.time())) as node:
        yield Meddling(node)


@pytest.fixture(scope="module", params=["embedded", pytest.param("anvil", marks=pytest.mark.anvil)])
def network(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Connection, Market]]:
    """A market on the embedded node, and on anvil, where one block can hold many chain transactions."""
    operator = Identity.generate()
    if request.param == "embedded":
        with on_embedded(tmp_path_factory.mktemp("receipts")) as provider:
            connection = Connection.open(provider, finality=IMMEDIATE)
            yield connection, open_market(connection, operator)
        return
    with anvil("--block-time", "0.5") as url:
        give_gas(http_provider(url), operator.address)
        connection = Connection.open(http_provider(url), finality=IMMEDIATE)
        yield connection, open_market(connection, operator)


def crowd(market: Market) -> list[ChainOutcome]:
    """Some chain transactions at once, of which many share a block where blocks are made by the clock."""
    call, nonce = market.relayer.prepare_issue(ACCOUNT, Amount(1)), market.relayer.next_nonce()
    signed = [market.relayer.sign(call, nonce=nonce + i) for i in range(CROWD)]
    for chain_transaction in signed:
        market.relayer.outcome(chain_transaction, timeout_s=0)
    return [market.finish(chain_transaction) for chain_transaction in signed]


def test_a_proof_leads_from_the_block_hash_to_the_receipt(network: tuple[Connection, Market]) -> None:
    """The header has the block's hash, and what it leads to says what the chain transaction recorded, for each one."""
    connection, market = network
    for outcome in crowd(market):
        proof = prove_receipt(connection, outcome.hash)
        proven = verify_receipt(proof, block_hash=outcome.block_hash)
        assert "0x" + keccak256(proof.header).hex() == outcome.block_hash
        assert (proven.block, proven.succeeded) == (outcome.block, True)
        assert proven.logs[0].data == (1).to_bytes(32)


def test_another_library_accepts_the_proof(network: tuple[Connection, Market]) -> None:
    """py-trie reads the same receipt by the nodes and the root in the header."""
    connection, market = network
    for outcome in crowd(market)[-3:]:
        proof = prove_receipt(connection, outcome.hash)
        root = rlp.decode(proof.header)[5]
        value = HexaryTrie.get_from_proof(root, rlp.encode(proof.index), [rlp.decode(node) for node in proof.nodes])
        assert value[0] == 2
        assert rlp.decode(value[1:])[0] == b"\1"


def test_a_failed_chain_transaction_is_proven_to_have_failed(network: tuple[Connection, Market]) -> None:
    """The receipt of one that the smart contract refused says so."""
    connection, market = network
    offer, buyer = market.offer(), market.buyer()
    purchase, nonce = market.purchase(offer, buyer), market.relayer.next_nonce()
    call = market.relayer.prepare_purchase(offer, purchase)
    outcomes = [market.finish(market.relayer.sign(call, nonce=nonce + i)) for i in range(2)]
    proven = [verify_receipt(prove_receipt(connection, outcome.hash)).succeeded for outcome in outcomes]
    assert proven == [True, False]


def test_every_corrupted_node_is_rejected(network: tuple[Connection, Market]) -> None:
    """A changed byte in the header or in any node, a missing and an additional node each break the proof, for both."""
    connection, market = network
    outcome = crowd(market)[-1]
    proof = prove_receipt(connection, outcome.hash)
    root = rlp.decode(proof.header)[5]
    for place, node in enumerate(proof.nodes):
        for at in {0, len(node) // 2, len(node) - 1}:
            changed = node[:at] + bytes([node[at] ^ 1]) + node[at + 1 :]
            nodes = (*proof.nodes[:place], changed, *proof.nodes[place + 1 :])
            with pytest.raises(ProofInvalid):
                verify_receipt(msgspec.structs.replace(proof, nodes=nodes))
        missing = (*proof.nodes[:place], *proof.nodes[place + 1 :])
        with pytest.raises(ProofInvalid):
            verify_receipt(msgspec.structs.replace(proof, nodes=missing))
        with pytest.raises(BadTrieProof):
            HexaryTrie.get_from_proof(root, rlp.encode(proof.index), [rlp.decode(node) for node in missing])
    header = proof.header[:100] + bytes([proof.header[100] ^ 1]) + proof.header[101:]
    for broken in (
        msgspec.structs.replace(proof, header=header),
        msgspec.structs.replace(proof, nodes=(*proof.nodes, proof.nodes[-1])),
        msgspec.structs.replace(proof, index=proof.index + 1_000),
    ):
        with pytest.raises(ProofInvalid):
            verify_receipt(broken, block_hash=outcome.block_hash)


def test_blocks_hold_many_receipts(network: tuple[Connection, Market]) -> None:
    """Where blocks are made by the clock, proofs have several nodes; so deeper tries are tested too."""
    connection, market = network
    proofs = [prove_receipt(connection, outcome.hash) for outcome in crowd(market)]
    many = "anvil" in str(connection.ask("web3_clientVersion"))
    assert max(len(proof.nodes) for proof in proofs) >= (2 if many else 1)


def test_a_chain_transaction_that_is_not_final_has_no_proof(tmp_path: Path) -> None:
    """What is in no block, or in one that may be replaced, is not proven."""
    with on_embedded(tmp_path) as provider:
        market = open_market(Connection.open(provider, finality=IMMEDIATE), Identity.generate())
        outcome = market.settle(market.relayer.prepare_issue(ACCOUNT, Amount(1)))
        cautious = Connection.open(provider, finality=Finality(confirmations=3))
        for name in (outcome.hash, "0x" + "00" * 32):
            with pytest.raises(NotFound):
                prove_receipt(cautious, name)


@pytest.mark.parametrize(
    ("method", "member", "value"),
    [
        ("eth_getBlockByHash", "stateRoot", "0x" + "00" * 32),
        ("eth_getBlockByHash", "gasUsed", "0x1"),
        ("eth_getBlockReceipts", "cumulativeGasUsed", "0x1"),
        ("eth_getBlockReceipts", "status", "0x0"),
    ],
)
def test_a_node_that_tells_something_else_is_noticed(tmp_path: Path, method: str, member: str, value: str) -> None:
    """A header or receipt that does not have the recorded hash makes no proof."""
    with on_embedded(tmp_path) as provider:
        connection = Connection.open(provider, finality=IMMEDIATE)
        market = open_market(connection, Identity.generate())
        outcome = market.settle(market.relayer.prepare_issue(ACCOUNT, Amount(1)))
        provider.method, provider.member, provider.value = method, member, value
        with pytest.raises(LedgerMismatch):
            prove_receipt(connection, outcome.hash)


def test_receipts_are_fetched_one_by_one_where_need_be(tmp_path: Path) -> None:
    """A node without eth_getBlockReceipts is asked for each receipt, with the same proof."""
    with on_embedded(tmp_path) as provider:
        connection = Connection.open(provider, finality=IMMEDIATE)
        market = open_market(connection, Identity.generate())
        outcome = market.settle(market.relayer.prepare_issue(ACCOUNT, Amount(1)))
        proof = prove_receipt(connection, outcome.hash)
        provider.method = "eth_getBlockReceipts"
        again: ReceiptProof = prove_receipt(connection, outcome.hash)
        assert again == proof
