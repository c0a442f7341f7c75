"""Wallet: the few chain transactions that a participant signs for itself, sent through any JSON-RPC endpoint.

The calldata is encoded here, from what the participant wants; nothing that a server prepared is ever signed.
Source: ERC-1155 ``safeTransferFrom``, ERC-721 title registration (`DatasetTitle.register`), EIP-1559.
"""

from __future__ import annotations

import time
from typing import Any

from databund.core.ids import Address, DatasetId, OfferId, keccak256
from databund.core.messages import NodeInfo
from databund.crypto.identities import Identity
from databund.errors import ChainRejected, ChainUnavailable, NotFound
from databund.sdk.connection import Connection

__all__ = ["register_title", "transfer"]

_POLLS = 100
_POLL_S = 0.1


def transfer(
    connection: Connection, identity: Identity, info: NodeInfo, *, to: Address, offer_id: OfferId, units: int
) -> str:
    """Transfer units of a license and return the chain transaction's hash. Raises `ChainRejected`."""
    data = _call(
        "safeTransferFrom(address,address,uint256,uint256,bytes)",
        _word(identity.address) + _word(to) + bytes(offer_id) + _number(units) + _number(5 * 32) + _number(0),
    )
    return _send(connection, identity, info, to=info.license_token, data=data)


def register_title(connection: Connection, identity: Identity, info: NodeInfo, *, name: str, uri: str) -> str:
    """Register the title of one's dataset on the chain and return the chain transaction's hash."""
    text = uri.encode()
    padded = text + bytes(-len(text) % 32)
    data = _call("register(bytes32,string)", DatasetId.salt(name) + _number(2 * 32) + _number(len(text)) + padded)
    return _send(connection, identity, info, to=info.title, data=data)


def _send(connection: Connection, identity: Identity, info: NodeInfo, *, to: Address, data: bytes) -> str:
    call = {"from": str(identity.address), "to": str(to), "data": "0x" + data.hex()}
    gas = int(_rpc(connection, "eth_estimateGas", call), 16)
    price = int(_rpc(connection, "eth_gasPrice"), 16)
    signed = identity.sign_chain_transaction(
        {
            "type": 2,
            "chainId": info.domain.chain_id,
            "nonce": int(_rpc(connection, "eth_getTransactionCount", str(identity.address), "pending"), 16),
            "to": str(to),
            "value": 0,
            "data": data,
            "gas": gas + gas // 5,
            "maxFeePerGas": 2 * price,
            "maxPriorityFeePerGas": 0,
        }
    )
    _rpc(connection, "eth_sendRawTransaction", "0x" + signed.raw.hex())
    for _ in range(_POLLS):
        receipt = _rpc(connection, "eth_getTransactionReceipt", str(signed.hash))
        if receipt is not None:
            if receipt["status"] != "0x1":
                raise ChainRejected(f"The chain refused {signed.hash}.", fix="Look at it in a block explorer.")
            return str(signed.hash)
        time.sleep(_POLL_S)
    raise ChainUnavailable(f"{signed.hash} is not included yet.", fix="Look for it later; do not send it again.")


def _rpc(connection: Connection, method: str, *params: object) -> Any:
    request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    try:
        answer = connection.post("/rpc", request, dict[str, Any])
    except NotFound:
        raise ChainUnavailable(
            "This node's chain is a network of its own, which the node does not lead to.",
            fix="Use a wallet on that network: a license is an ERC-1155 token, its id is the offer's.",
        ) from None
    if "error" in answer:
        error = answer["error"]
        raise ChainRejected(
            f"The chain refused {method}: {error.get('message', 'no reason given')}.",
            fix="Check that you own what you move, and that the license may be transferred.",
        )
    return answer["result"]


def _call(signature: str, arguments: bytes) -> bytes:
    return keccak256(signature.encode())[:4] + arguments


def _word(account: Address) -> bytes:
    return bytes(12) + bytes(account)


def _number(value: int) -> bytes:
    return value.to_bytes(32)
