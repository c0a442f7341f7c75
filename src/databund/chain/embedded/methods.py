"""The JSON-RPC methods: what wallets and web3.py ask, answered from the recorded chain.

Every block is final, so ``latest``, ``pending``, ``safe`` and ``finalized`` all name the newest one. Blocks are made
only when there is something to record, so the newest may be old: a call at one of these tags sees the present time as
its block time, as on a chain that never stops; a call at a number or hash sees that block's own time.
Source: https://ethereum.github.io/execution-apis; EIP-1898 (block by hash), EIP-7966 (send and wait).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from importlib.metadata import version
from typing import Any, Final, TypeVar, cast

from eth.abc import SignedTransactionAPI
from eth.vm.forks.prague.transactions import Authorization
from eth_hash.auto import keccak

from databund import errors
from databund.chain.embedded import machine
from databund.chain.embedded.encoding import (
    INVALID_PARAMS,
    LIMIT_EXCEEDED,
    METHOD_NOT_FOUND,
    REVERTED,
    SERVER_ERROR,
    JsonRpcError,
    data,
    parse_address,
    parse_data,
    parse_hash,
    parse_quantity,
    quantity,
)
from databund.chain.embedded.patience import READING_S, patience
from databund.chain.embedded.store import Entry, Reader, RecordedLog, Store

_TAGS: Final = frozenset({"latest", "pending", "safe", "finalized"})
_MOST_LOGS: Final = 10_000
_MOST_ALTERNATIVES: Final = 1_000
_MOST_FEE_BLOCKS: Final = 1_024
_MOST_PROOF_KEYS: Final = 1_024
_MOST_WAIT_MS: Final = 60_000
_WAIT_MS: Final = 20_000

# EIP-7966
_TIMED_OUT: Final = 4
_NONCE_GAP: Final = 6

T = TypeVar("T")
Json = Any  # a value of JSON; its shape is the execution API's


class Methods:
    """One node's answers. ``submit`` hands a chain transaction to the writer; its future ends after COMMIT."""

    def __init__(
        self,
        store: Store,
        *,
        chain_id: int,
        now: Callable[[], int],
        submit: Callable[[SignedTransactionAPI], Future[None]],
    ) -> None:
        self._store = store
        self._chain_id = chain_id
        self._now = now
        self._submit = submit
        reads: dict[str, tuple[Callable[..., Json], int, int]] = {
            "eth_blockNumber": (self._block_number, 0, 0),
            "eth_call": (self._call, 1, 3),
            "eth_estimateGas": (self._estimate_gas, 1, 3),
            "eth_feeHistory": (self._fee_history, 2, 3),
            "eth_getBalance": (self._balance, 1, 2),
            "eth_getBlockByHash": (self._block_by_hash, 1, 2),
            "eth_getBlockByNumber": (self._block_by_number, 1, 2),
            "eth_getBlockReceipts": (self._block_receipts, 1, 1),
            "eth_getCode": (self._code, 1, 2),
            "eth_getLogs": (self._logs, 1, 1),
            "eth_getProof": (self._proof, 2, 3),
            "eth_getStorageAt": (self._storage, 2, 3),
            "eth_getTransactionByHash": (self._transaction, 1, 1),
            "eth_getTransactionCount": (self._nonce, 1, 2),
            "eth_getTransactionReceipt": (self._receipt, 1, 1),
        }
        constants = {
            "eth_accounts": [],
            "eth_chainId": quantity(chain_id),
            "eth_gasPrice": quantity(0),
            "eth_maxPriorityFeePerGas": quantity(0),
            "eth_syncing": False,
            "net_version": str(chain_id),
            "web3_clientVersion": f"databund/{version('databund')}/py-evm-{version('py-evm')}",
        }
        self._methods: dict[str, tuple[Callable[..., Json], int, int]] = {
            "eth_sendRawTransaction": (self._send, 1, 1),
            "eth_sendRawTransactionSync": (self._send_and_wait, 1, 2),
            **{name: (self._reading(method), least, most) for name, (method, least, most) in reads.items()},
            **{name: (lambda value=value: value, 0, 0) for name, value in constants.items()},
        }

    def answer(self, method: str, params: Sequence[object]) -> Json:
        """Run one method; raises ``JsonRpcError``."""
        found = self._methods.get(method)
        if found is None:
            raise JsonRpcError(METHOD_NOT_FOUND, f"the method {method[:64]} does not exist/is not available")
        run, least, most = found
        given = list(params)
        while given and given[-1] is None:
            given.pop()
        if not least <= len(given) <= most:
            raise JsonRpcError(INVALID_PARAMS, f"{method} takes {least} to {most} parameters, not {len(given)}.")
        return run(*given)

    def _reading(self, method: Callable[..., Json]) -> Callable[..., Json]:
        def run(*params: object) -> Json:
            with self._store.reading() as reader:
                return method(reader, *params)

        return run

    # Sending

    def _send(self, raw: object) -> str:
        transaction, done = self._handed_in(raw)
        self._acknowledged(done)
        return data(transaction.hash)

    def _send_and_wait(self, raw: object, timeout_ms: object = _WAIT_MS) -> Json:
        if isinstance(timeout_ms, str):
            timeout_ms = parse_quantity(timeout_ms, "The timeout")
        if not isinstance(timeout_ms, int) or timeout_ms < 1:
            raise JsonRpcError(INVALID_PARAMS, "The timeout is not a number of milliseconds of at least 1.")
        transaction, done = self._handed_in(raw)
        try:
            self._acknowledged(done, timeout_s=min(timeout_ms, _MOST_WAIT_MS) / 1000)
        except TimeoutError:
            raise JsonRpcError(_TIMED_OUT, "the transaction is not in a block yet", data(transaction.hash)) from None
        except JsonRpcError as error:
            if isinstance(error.__cause__, machine.NonceAhead):
                raise JsonRpcError(_NONCE_GAP, error.message, quantity(error.__cause__.expected)) from None
            raise
        with self._store.reading() as reader:
            return self._receipt(reader, data(transaction.hash))

    def _handed_in(self, raw: object) -> tuple[SignedTransactionAPI, Future[None]]:
        try:
            transaction = machine.decode_transaction(
                parse_data(raw, "The signed chain transaction"), chain_id=self._chain_id
            )
        except machine.Rejected as error:
            raise JsonRpcError(SERVER_ERROR, str(error)) from error
        return transaction, self._submit(transaction)

    @staticmethod
    def _acknowledged(done: Future[None], timeout_s: float | None = None) -> None:
        try:
            done.result(timeout_s)
        except machine.Rejected as error:
            raise JsonRpcError(SERVER_ERROR, str(error)) from error

    # State

    def _scene(self, reader: Reader, block: object) -> machine.Scene:
        number = _number(reader, block)
        header = machine.decode_header(_header(reader, number))
        if isinstance(block, str) and block in _TAGS:
            header = machine.at_time(header, self._now())
        return machine.Scene(reader.node, header, self._chain_id, lambda: reader.ancestors(number), patience(READING_S))

    def _balance(self, reader: Reader, address: object, block: object = "latest") -> str:
        return quantity(machine.account(self._scene(reader, block), parse_address(address, "The address")).balance)

    def _nonce(self, reader: Reader, address: object, block: object = "latest") -> str:
        return quantity(machine.account(self._scene(reader, block), parse_address(address, "The address")).nonce)

    def _code(self, reader: Reader, address: object, block: object = "latest") -> str:
        found = machine.account(self._scene(reader, block), parse_address(address, "The address"))
        return data(reader.node(found.code_hash) or b"")

    def _storage(self, reader: Reader, address: object, slot: object, block: object = "latest") -> str:
        scene = self._scene(reader, block)
        found = machine.account(scene, parse_address(address, "The address"))
        _, value = machine.storage(scene, found.storage_root, parse_quantity(slot, "The storage key"))
        return data(value.to_bytes(32, "big"))

    def _proof(self, reader: Reader, address: object, slots: object, block: object = "latest") -> Json:
        if not isinstance(slots, list) or len(slots) > _MOST_PROOF_KEYS:
            raise JsonRpcError(INVALID_PARAMS, f"The storage keys are not a list of at most {_MOST_PROOF_KEYS}.")
        where = parse_address(address, "The address")
        scene = self._scene(reader, block)
        path, _ = machine.prove(scene, scene.header.state_root, where)
        found = machine.account(scene, where)
        storage = []
        for slot in slots:
            nodes, value = machine.storage(scene, found.storage_root, parse_quantity(slot, "A storage key"))
            storage.append({"key": slot, "value": quantity(value), "proof": [data(node) for node in nodes]})
        return {
            "address": data(where),
            "accountProof": [data(node) for node in path],
            "balance": quantity(found.balance),
            "codeHash": data(found.code_hash),
            "nonce": quantity(found.nonce),
            "storageHash": data(found.storage_root),
            "storageProof": storage,
        }

    # Trying

    def _call(self, reader: Reader, message: object, block: object = "latest", overrides: object = None) -> str:
        _without_overrides(overrides)
        return data(_succeeded(_run(machine.call, self._scene(reader, block), _message(message))).output)

    def _estimate_gas(self, reader: Reader, message: object, block: object = "latest", overrides: object = None) -> str:
        _without_overrides(overrides)
        gas, outcome = _run(machine.estimate_gas, self._scene(reader, block), _message(message))
        _succeeded(outcome)
        return quantity(gas)

    # Blocks

    def _block_number(self, reader: Reader) -> str:
        return quantity(reader.head())

    def _block_by_number(self, reader: Reader, block: object, full: object = False) -> Json:
        number = _number(reader, block)
        return self._block(reader, number, full) if number <= reader.head() else None

    def _block_by_hash(self, reader: Reader, block_hash: object, full: object = False) -> Json:
        number = reader.number_of(parse_hash(block_hash, "The block hash"))
        return None if number is None else self._block(reader, number, full)

    def _block(self, reader: Reader, number: int, full: object) -> Json:
        if not isinstance(full, bool):
            raise JsonRpcError(INVALID_PARAMS, "Whether to give whole chain transactions is neither true nor false.")
        raw = _header(reader, number)
        header = machine.decode_header(raw)
        entries = reader.entries(number)
        listed = (
            [_transaction_object(entry, number, header.hash, i) for i, entry in enumerate(entries)]
            if full
            else [data(entry.hash) for entry in entries]
        )
        return {
            "number": quantity(number),
            "hash": data(header.hash),
            "parentHash": data(header.parent_hash),
            "nonce": data(header.nonce),
            "mixHash": data(header.mix_hash),
            "sha3Uncles": data(header.uncles_hash),
            "logsBloom": data(header.bloom.to_bytes(256, "big")),
            "transactionsRoot": data(header.transaction_root),
            "stateRoot": data(header.state_root),
            "receiptsRoot": data(header.receipt_root),
            "miner": data(header.coinbase),
            "difficulty": quantity(0),
            "extraData": data(header.extra_data),
            "size": quantity(machine.block_size(raw, entries)),
            "gasLimit": quantity(header.gas_limit),
            "gasUsed": quantity(header.gas_used),
            "timestamp": quantity(header.timestamp),
            "baseFeePerGas": quantity(0),
            "transactions": listed,
            "uncles": [],
            "withdrawals": [],
            "withdrawalsRoot": data(cast("bytes", header.withdrawals_root)),
            "blobGasUsed": quantity(0),
            "excessBlobGas": quantity(0),
            "parentBeaconBlockRoot": data(cast("bytes", header.parent_beacon_block_root)),
            "requestsHash": data(header.requests_hash),
        }

    def _fee_history(self, reader: Reader, count: object, newest: object, percentiles: object = ()) -> Json:
        wanted = count if isinstance(count, int) else parse_quantity(count, "The number of blocks")
        last = min(_number(reader, newest), reader.head())
        first = max(last + 1 - min(max(wanted, 1), _MOST_FEE_BLOCKS), 0)
        headers = [machine.decode_header(_header(reader, number)) for number in range(first, last + 1)]
        history: dict[str, Json] = {
            "oldestBlock": quantity(first),
            "baseFeePerGas": [quantity(0)] * (len(headers) + 1),
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if isinstance(percentiles, list) and percentiles:
            history["reward"] = [[quantity(0)] * len(percentiles)] * len(headers)
        return history

    # Chain transactions

    def _transaction(self, reader: Reader, transaction_hash: object) -> Json:
        place = reader.position(parse_hash(transaction_hash, "The transaction hash"))
        if place is None:
            return None
        number, position = place
        block_hash = machine.decode_header(_header(reader, number)).hash
        return _transaction_object(reader.entries(number)[position], number, block_hash, position)

    def _receipt(self, reader: Reader, transaction_hash: object) -> Json:
        place = reader.position(parse_hash(transaction_hash, "The transaction hash"))
        return None if place is None else self._receipts(reader, place[0])[place[1]]

    def _block_receipts(self, reader: Reader, block: object) -> Json:
        if isinstance(block, str) and len(block) == 66:
            block = {"blockHash": block}
        number = _number(reader, block)
        return self._receipts(reader, number) if number <= reader.head() else None

    def _receipts(self, reader: Reader, number: int) -> list[Json]:
        block_hash = machine.decode_header(_header(reader, number)).hash
        logs = reader.logs(number, number)
        return [
            _receipt_object(entry, number, block_hash, i, [log for log in logs if log.entry == i])
            for i, entry in enumerate(reader.entries(number))
        ]

    def _logs(self, reader: Reader, wanted: object) -> list[Json]:
        if not isinstance(wanted, Mapping):
            raise JsonRpcError(INVALID_PARAMS, "The filter is not an object.")
        if wanted.get("blockHash") is not None:
            if wanted.get("fromBlock") is not None or wanted.get("toBlock") is not None:
                raise JsonRpcError(INVALID_PARAMS, "Give blockHash, or fromBlock and toBlock, not both.")
            first = last = _number(reader, {"blockHash": wanted["blockHash"]})
        else:
            first = _number(reader, wanted.get("fromBlock") or "latest")
            last = _number(reader, wanted.get("toBlock") or "latest")
            if first > last:
                raise JsonRpcError(INVALID_PARAMS, "invalid block range params: fromBlock is after toBlock")
        topics = wanted.get("topics") or []
        if not isinstance(topics, list) or len(topics) > 4:
            raise JsonRpcError(INVALID_PARAMS, "The topics are not a list of at most 4.")
        found = reader.logs(
            first,
            last,
            addresses=_alternatives(wanted.get("address"), parse_address, "An address"),
            topics=[_alternatives(topic, parse_hash, "A topic") for topic in topics],
            limit=_MOST_LOGS + 1,
        )
        if len(found) > _MOST_LOGS:
            raise JsonRpcError(LIMIT_EXCEEDED, f"query returned more than {_MOST_LOGS} results; ask for fewer blocks")
        return [_log_object(log) for log in found]


def _number(reader: Reader, block: object) -> int:
    """The number a block parameter names: a tag, a quantity (maybe beyond the head), or an EIP-1898 object."""
    if block == "earliest":
        return 0
    if isinstance(block, str) and block in _TAGS:
        return reader.head()
    if isinstance(block, Mapping) and "blockHash" in block:
        number = reader.number_of(parse_hash(block["blockHash"], "The block hash"))
        if number is None:
            raise JsonRpcError(SERVER_ERROR, "header not found")
        return number
    if isinstance(block, Mapping) and "blockNumber" in block:
        block = block["blockNumber"]
    return min(parse_quantity(block, "The block number"), 2**63 - 1)


def _header(reader: Reader, number: int) -> bytes:
    try:
        return reader.header(number)[1]
    except errors.NotFound:
        raise JsonRpcError(SERVER_ERROR, "header not found") from None


def _alternatives(value: object, parse: Callable[[object, str], bytes], name: str) -> list[bytes]:
    if value is None:
        return []
    values = value if isinstance(value, list) else [value]
    if len(values) > _MOST_ALTERNATIVES:
        raise JsonRpcError(INVALID_PARAMS, f"More than {_MOST_ALTERNATIVES} alternatives are asked for in one place.")
    return [parse(each, name) for each in values]


def _without_overrides(overrides: object) -> None:
    if overrides:
        raise JsonRpcError(INVALID_PARAMS, "State overrides are not supported by this chain.")


def _run(
    attempt: Callable[[machine.Scene, machine.Message], Any], scene: machine.Scene, message: machine.Message
) -> Any:
    try:
        return attempt(scene, message)
    except machine.Rejected as error:
        raise JsonRpcError(SERVER_ERROR, str(error)) from error


def _succeeded(outcome: machine.Outcome) -> machine.Outcome:
    if outcome.reverted:
        raise JsonRpcError(REVERTED, f"execution reverted{_reason(outcome.output)}", data(outcome.output))
    if outcome.failure is not None:
        raise JsonRpcError(SERVER_ERROR, outcome.failure)
    return outcome


def _reason(output: bytes) -> str:
    """The sentence in ``Error(string)``, as geth appends it; nothing for any other revert data."""
    length = int.from_bytes(output[36:68], "big")
    if output[:4] != keccak(b"Error(string)")[:4] or len(output) < 68 + length:
        return ""
    return f": {output[68 : 68 + length].decode(errors='replace')}"


def _message(given: object) -> machine.Message:
    """A call object (execution API, GenericTransaction); its fees, nonce and chain id do not matter here."""
    if not isinstance(given, Mapping):
        raise JsonRpcError(INVALID_PARAMS, "The call is not an object.")
    fields = {name: value for name, value in given.items() if value is not None}
    if "blobVersionedHashes" in fields:
        raise JsonRpcError(INVALID_PARAMS, "blob transactions (EIP-4844, type 3) are not supported by this chain")
    if "data" in fields and "input" in fields and fields["data"] != fields["input"]:
        raise JsonRpcError(INVALID_PARAMS, "The call has both data and input, and they differ.")
    gas = parse_quantity(fields["gas"], "The gas") if "gas" in fields else machine.BLOCK_GAS_LIMIT
    return machine.Message(
        sender=parse_address(fields.get("from", "0x" + "00" * 20), "The sender"),
        to=parse_address(fields["to"], "The receiver") if fields.get("to", "0x") != "0x" else b"",
        gas=min(gas, machine.BLOCK_GAS_LIMIT),
        value=parse_quantity(fields.get("value", "0x0"), "The value"),
        data=parse_data(fields.get("input", fields.get("data", "0x")), "The input"),
        access_list=tuple(
            (
                parse_address(item.get("address"), "An address of the access list"),
                tuple(
                    parse_quantity(key, "A key of the access list")
                    for key in _objects(item.get("storageKeys", []), str)
                ),
            )
            for item in _objects(fields.get("accessList", []), dict)
        ),
        authorization_list=tuple(
            Authorization(
                *(
                    parse_address(item.get(name), f"An authorization's {name}")
                    if name == "address"
                    else parse_quantity(item.get(name), f"An authorization's {name}")
                    for name in ("chainId", "address", "nonce", "yParity", "r", "s")
                )
            )
            for item in _objects(fields.get("authorizationList", []), dict)
        ),
    )


def _objects(value: object, kind: type) -> list[Any]:
    if not isinstance(value, list) or not all(isinstance(item, kind) for item in value):
        raise JsonRpcError(INVALID_PARAMS, "A list in the call has a wrong form.")
    return value


def _transaction_object(entry: Entry, number: int, block_hash: bytes, position: int) -> Json:
    transaction = machine.decode_recorded(entry.raw)
    kind = transaction.type_id or 0
    found: dict[str, Json] = {
        "hash": data(entry.hash),
        "type": quantity(kind),
        "chainId": quantity(cast("int", transaction.chain_id)),
        "nonce": quantity(transaction.nonce),
        "from": data(entry.sender),
        "to": data(transaction.to) if transaction.to else None,
        "value": quantity(transaction.value),
        "gas": quantity(transaction.gas),
        "gasPrice": quantity(_gas_price(transaction)),
        "input": data(transaction.data),
        "v": quantity(cast("Any", transaction).v if kind == 0 else transaction.y_parity),
        "r": quantity(transaction.r),
        "s": quantity(transaction.s),
        "blockNumber": quantity(number),
        "blockHash": data(block_hash),
        "transactionIndex": quantity(position),
    }
    if kind >= 1:
        found["yParity"] = quantity(transaction.y_parity)
        found["accessList"] = [
            {"address": data(address), "storageKeys": [data(key.to_bytes(32, "big")) for key in keys]}
            for address, keys in transaction.access_list
        ]
    if kind >= 2:
        found["maxFeePerGas"] = quantity(transaction.max_fee_per_gas)
        found["maxPriorityFeePerGas"] = quantity(transaction.max_priority_fee_per_gas)
    if kind == 4:
        found["authorizationList"] = [
            {
                "chainId": quantity(each.chain_id),
                "address": data(each.address),
                "nonce": quantity(each.nonce),
                "yParity": quantity(each.y_parity),
                "r": quantity(each.r),
                "s": quantity(each.s),
            }
            for each in transaction.authorization_list
        ]
    return found


def _receipt_object(entry: Entry, number: int, block_hash: bytes, position: int, logs: list[RecordedLog]) -> Json:
    transaction = machine.decode_recorded(entry.raw)
    receipt = machine.decode_receipt(entry.receipt)
    created = machine.created_address(entry.sender, transaction.nonce)
    return {
        "transactionHash": data(entry.hash),
        "transactionIndex": quantity(position),
        "blockHash": data(block_hash),
        "blockNumber": quantity(number),
        "from": data(entry.sender),
        "to": data(transaction.to) if transaction.to else None,
        "cumulativeGasUsed": quantity(receipt.gas_used),
        "gasUsed": quantity(entry.gas_used),
        "effectiveGasPrice": quantity(_gas_price(transaction)),
        "contractAddress": None if transaction.to else data(created),
        "logs": [_log_object(log) for log in logs],
        "logsBloom": data(receipt.bloom.to_bytes(256, "big")),
        "type": quantity(transaction.type_id or 0),
        "status": quantity(int(receipt.state_root == b"\x01")),
    }


def _gas_price(transaction: SignedTransactionAPI) -> int:
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas)


def _log_object(found: RecordedLog) -> Json:
    return {
        "address": data(found.log.address),
        "topics": [data(topic) for topic in found.log.topics],
        "data": data(found.log.data),
        "blockNumber": quantity(found.block),
        "blockHash": data(found.block_hash),
        "transactionHash": data(found.transaction_hash),
        "transactionIndex": quantity(found.entry),
        "logIndex": quantity(found.position),
        "removed": False,
    }
