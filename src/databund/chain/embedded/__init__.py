"""The embedded chain: an EVM node in this process on one SQLite file.

``EmbeddedNode`` is the node. Two doors lead to it: ``provider.EmbeddedProvider`` for web3.py in this process, and
``rpc.RpcApp`` (JSON-RPC over HTTP) for wallets and other programs. ``replay.replay`` recomputes a recorded chain.
Importing this package is cheap; the EVM is loaded when a node is created or opened.
"""

from databund.chain.embedded.encoding import JsonRpcError
from databund.chain.embedded.node import EmbeddedNode

__all__ = ["EmbeddedNode", "JsonRpcError"]
