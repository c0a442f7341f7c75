"""The compiled smart contracts: their bytecode, and how calls, events and errors of theirs are encoded.

The files in ``artifacts/`` are built from ``contracts/`` and shipped, so that nobody who installs databund compiles.
Source: Solidity's contract ABI specification.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from typing import Any

import msgspec
from eth_abi.abi import decode, encode
from eth_utils.abi import (
    event_abi_to_log_topic,
    function_abi_to_4byte_selector,
    get_abi_input_types,
    get_abi_output_types,
)

from databund.core.ids import Address

__all__ = ["NAMES", "SmartContract"]

NAMES = ("CheckpointAnchor", "DatasetTitle", "Exchange", "LicenseToken", "SettlementToken")


class _Function(msgspec.Struct, frozen=True):
    selector: bytes
    inputs: list[str]
    outputs: list[str]


class _Event(msgspec.Struct, frozen=True):
    topic: str
    indexed: dict[str, str]
    plain: dict[str, str]


class SmartContract:
    """One compiled smart contract. Values are eth-abi's; addresses go in as `Address` or 20 bytes."""

    def __init__(self, artifact: Mapping[str, Any]) -> None:
        self.name: str = artifact["name"]
        self.abi: Sequence[Any] = artifact["abi"]
        self._bytecode = bytes.fromhex(artifact["bytecode"][2:])
        self._runtime = bytes.fromhex(artifact["deployedBytecode"][2:])

    @classmethod
    def load(cls, name: str) -> SmartContract:
        """Read one of `NAMES` from the package."""
        file = files("databund.chain").joinpath("artifacts", f"{name}.json")
        return cls(msgspec.json.decode(file.read_bytes()))

    def creation(self, *arguments: object) -> bytes:
        """The data of the chain transaction that deploys it."""
        types = [entry["type"] for abi in self._entries("constructor") for entry in abi["inputs"]]
        return self._bytecode + _encode(types, arguments)

    def call(self, function: str, *arguments: object) -> bytes:
        """The data of a call. Raises eth-abi's ``EncodingError`` for values outside the function's types."""
        found = self._functions[function]
        return found.selector + _encode(found.inputs, arguments)

    def result(self, function: str, output: bytes) -> tuple[Any, ...]:
        """What a call returned."""
        return decode(self._functions[function].outputs, output)

    def event(self, name: str, log: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fields of a log (JSON-RPC) by name; None when it is another event."""
        event = self._events[name]
        topics = log["topics"]
        if not topics or topics[0] != event.topic:
            return None
        indexed = (
            decode([kind], bytes.fromhex(topic[2:]))[0]
            for kind, topic in zip(event.indexed.values(), topics[1:], strict=True)
        )
        plain = decode(list(event.plain.values()), bytes.fromhex(log["data"][2:]))
        return dict(zip([*event.indexed, *event.plain], [*indexed, *plain], strict=True))

    def topic(self, event: str) -> str:
        """The first topic of an event's logs: the hash of its signature."""
        return self._events[event].topic

    def errors(self) -> dict[bytes, Any]:
        """The ABI entries of the custom errors by their 4-byte selectors."""
        return {function_abi_to_4byte_selector(abi): abi for abi in self._entries("error")}

    def is_code(self, code: bytes) -> bool:
        """Whether ``code``, read from a chain, is this smart contract's.

        Immutable values are zeros in the artifact and filled in at deployment, so a zero byte stands for any byte.
        """
        return len(code) == len(self._runtime) and all(
            ours in (0, theirs) for ours, theirs in zip(self._runtime, code, strict=True)
        )

    @cached_property
    def _functions(self) -> dict[str, _Function]:
        return {
            abi["name"]: _Function(
                function_abi_to_4byte_selector(abi), get_abi_input_types(abi), get_abi_output_types(abi)
            )
            for abi in self._entries("function")
        }

    @cached_property
    def _events(self) -> dict[str, _Event]:
        return {
            abi["name"]: _Event(
                "0x" + event_abi_to_log_topic(abi).hex(),
                {i["name"]: i["type"] for i in abi["inputs"] if i["indexed"]},
                {i["name"]: i["type"] for i in abi["inputs"] if not i["indexed"]},
            )
            for abi in self._entries("event")
        }

    def _entries(self, kind: str) -> list[Any]:
        return [abi for abi in self.abi if abi["type"] == kind]


def _encode(types: Sequence[str], values: Sequence[object]) -> bytes:
    return encode(types, [bytes(value) if isinstance(value, Address) else value for value in values])
