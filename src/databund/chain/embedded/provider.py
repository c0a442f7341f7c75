"""The door for web3.py in this process: ``Web3(EmbeddedProvider(node))``.

Requests travel as the same JSON as over HTTP, so a program meets the same answers through either door.
"""

from __future__ import annotations

from typing import Any

import msgspec
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from databund.chain.embedded.node import EmbeddedNode
from databund.chain.embedded.rpc import handle


class EmbeddedProvider(JSONBaseProvider):
    """A web3.py provider over an open node; the node stays its opener's to close."""

    def __init__(self, node: EmbeddedNode) -> None:
        super().__init__()
        self._node = node

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Answer one request."""
        return self.decode_rpc_response(handle(self._node, self.encode_rpc_request(method, params)))

    def make_batch_request(self, requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse] | RPCResponse:
        """Answer a batch."""
        answers: list[RPCResponse] = msgspec.json.decode(handle(self._node, self.encode_batch_rpc_request(requests)))
        return answers
