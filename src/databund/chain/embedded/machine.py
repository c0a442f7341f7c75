"""The EVM: py-evm under Prague rules, over state nodes kept elsewhere. No file, clock or thread here.

:class:`BlockBuilder` makes one block, :func:`call` and :func:`estimate_gas` try a message without recording it.
Where this chain is not Ethereum's, on purpose:

* base fee 0 always. EIP-1559 would raise a base fee of 0 to 1 wei after the first block that is more than half full,
  and py-evm's own mining does that; from then on nobody without wei could act.
* a block's timestamp is never *before* its parent's, and may equal it. Many blocks are made in one second; a strictly
  later timestamp would push the chain's clock, by which offers and payments expire, hours ahead of the world's.
* no beacon chain: no withdrawals, no system calls (EIP-4788, 2935, 7002, 7251), no blobs, PREVRANDAO is 0.

Everything a chain transaction must satisfy is checked before it runs, so that any other Prague engine accepts it too:
EIP-155, 2681, 3607, 3860, 7623, 7702. The messages are geth's, because wallets recognize them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

import rlp  # type: ignore[import-untyped]  # has no type information
from eth.constants import CREATE_CONTRACT_ADDRESS, GAS_TX, POST_MERGE_NONCE, UINT_64_MAX, ZERO_ADDRESS
from eth.db.atomic import AtomicDB
from eth.db.backends.base import BaseDB
from eth.db.trie import make_trie_root_and_nodes
from eth.exceptions import PyEVMError, Revert
from eth.rlp.accounts import Account
from eth.vm.execution_context import ExecutionContext
from eth.vm.forks.berlin.transactions import calculate_txn_intrinsic_gas_berlin
from eth.vm.forks.cancun.constants import BLOB_TX_TYPE
from eth.vm.forks.prague.blocks import PragueBlockHeader
from eth.vm.forks.prague.computation import PragueComputation
from eth.vm.forks.prague.constants import (
    DELEGATION_DESIGNATION_PREFIX,
    PER_EMPTY_ACCOUNT_BASE_COST,
    SET_CODE_TRANSACTION_TYPE,
    STANDARD_TOKEN_COST,
    TOTAL_COST_FLOOR_PER_TOKEN,
)
from eth.vm.forks.prague.receipts import PragueReceiptBuilder
from eth.vm.forks.prague.state import PragueState
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.forks.shanghai.constants import INITCODE_WORD_COST, MAX_INITCODE_SIZE
from eth.vm.gas_meter import GasMeter, allow_negative_refund_strategy
from eth_hash.auto import keccak
from eth_typing import Address, BlockNumber
from eth_utils.exceptions import ValidationError
from trie.hexary import HexaryTrie

from databund import errors
from databund.chain.embedded.store import Block, Entry, Log

if TYPE_CHECKING:
    from eth.abc import BlockHeaderAPI, ComputationAPI, ReceiptAPI, SignedTransactionAPI

BLOCK_GAS_LIMIT: Final = 30_000_000
# py-evm sets Python's limit to 12,288 frames; so deep a JSON text overflows the C stack in any parser of this process.
# 30 million gas reach 529 nested calls of 6 frames each (EIP-150 leaves 63/64 to each): this is twice that.
_FRAMES: Final = 7_000
sys.setrecursionlimit(_FRAMES)

# Precompiles that are pure Python or hold the interpreter: up to 12 µs per gas, where an instruction takes 0.3.
_SLOW: Final = ("MODEXP", "ECPAIRING", "Blake2b", "BLS12")
_SLOW_GAS: Final = 250_000
_ASK_EVERY_GAS: Final = 10_000

GoOn = Callable[[], None]
_ESTIMATE_ERROR: Final = 0.015  # geth's: stop searching when the answer is known to 1.5 %


class Rejected(Exception):
    """The chain transaction can never be part of the next block; says why, in geth's words."""


class NonceAhead(Rejected):
    """The sender's chain transactions before this one are missing."""

    def __init__(self, expected: int, given: int) -> None:
        super().__init__(f"nonce too high: next nonce {expected}, tx nonce {given}")
        self.expected = expected


class BlockFull(Exception):
    """The chain transaction does not fit into what is left of this block; it fits into an empty one."""


class Nodes(BaseDB):
    """State nodes: what is recorded, under what the block being made adds."""

    def __init__(self, recorded: Callable[[bytes], bytes | None]) -> None:
        self._recorded = recorded
        self.added: dict[bytes, bytes] = {}

    def __getitem__(self, key: bytes) -> bytes:
        body = self.added.get(key)
        if body is None:
            body = self._recorded(key)
        if body is None:
            raise KeyError(key)
        return body

    def __setitem__(self, key: bytes, body: bytes) -> None:
        self.added[key] = body

    def __delitem__(self, key: bytes) -> None:
        raise TypeError("Nothing is ever removed from the chain's state.")

    def _exists(self, key: bytes) -> bool:
        return key in self.added or self._recorded(key) is not None


class _GasMeter(GasMeter):
    """Counts gas, and asks ``go_on`` for every few thousand of it, which raises ``Rejected`` to stop the execution."""

    def __init__(self, gas: int, go_on: GoOn) -> None:
        super().__init__(gas, allow_negative_refund_strategy)
        self._go_on = go_on
        self._since_asked = 0

    def consume_gas(self, amount: int, reason: str) -> None:
        if amount > _SLOW_GAS and reason.startswith(_SLOW):
            raise Rejected(f"a precompile call of {amount} gas takes too long here: at most {_SLOW_GAS}")
        self._since_asked += amount
        if self._since_asked >= _ASK_EVERY_GAS:
            self._since_asked = 0
            self._go_on()
        if 0 <= amount <= self.gas_remaining:
            self.gas_remaining -= amount
        else:
            super().consume_gas(amount, reason)


class _Computation(PragueComputation):
    def _configure_gas_meter(self) -> GasMeter:
        meter = _GasMeter(self.msg.gas, cast("_State", self.state).go_on)
        # Every instruction asks for gas: going to the meter directly saves a call each time.
        self.consume_gas = meter.consume_gas  # type: ignore[method-assign]
        return meter


class _State(PragueState):
    computation_class = _Computation
    go_on: GoOn = staticmethod(lambda: None)

    def set_system_contracts(self) -> None:
        """Have none: there is no beacon chain that would speak to them."""


def _state(nodes: Nodes, header: PragueBlockHeader, *, chain_id: int, ancestors: Iterable[bytes]) -> _State:
    context = ExecutionContext(
        coinbase=header.coinbase,
        timestamp=header.timestamp,
        block_number=header.block_number,
        difficulty=0,
        mix_hash=header.mix_hash,
        gas_limit=header.gas_limit,
        prev_hashes=cast("Any", ancestors),
        chain_id=chain_id,
        base_fee_per_gas=0,
        excess_blob_gas=0,
    )
    return _State(AtomicDB(nodes), context, header.state_root)


def _block(header: BlockHeaderAPI, entries: tuple[Entry, ...] = (), logs: tuple[tuple[int, Log], ...] = ()) -> Block:
    return Block(header.block_number, header.hash, rlp.encode(header), entries, logs)


def decode_header(raw: bytes) -> PragueBlockHeader:
    """A recorded header from RLP; raises ``StoreCorrupt``."""
    try:
        return cast("PragueBlockHeader", rlp.decode(raw, sedes=PragueBlockHeader))
    except rlp.exceptions.RLPException as error:
        raise errors.StoreCorrupt("A recorded block header cannot be read.", fix="Restore it from a backup.") from error


def at_time(header: PragueBlockHeader, timestamp: int) -> PragueBlockHeader:
    """The header with a later time; never an earlier one."""
    return cast("PragueBlockHeader", header.copy(timestamp=max(timestamp, header.timestamp)))


def block_size(header: bytes, entries: Sequence[Entry]) -> int:
    """The bytes of a whole block in RLP: header, chain transactions, no uncles, no withdrawals."""
    body = [rlp.decode(entry.raw) if entry.raw[0] >= 0xC0 else entry.raw for entry in entries]
    return len(rlp.encode([rlp.decode(header), body, [], []]))


def created_address(sender: bytes, nonce: int) -> bytes:
    """Where a creation by ``sender`` puts its smart contract (Yellow Paper, section 7)."""
    return keccak(rlp.encode([sender, nonce]))[12:]


def decode_recorded(raw: bytes) -> SignedTransactionAPI:
    """A recorded chain transaction from its raw bytes."""
    return PragueTransactionBuilder.decode(raw)


def decode_receipt(raw: bytes) -> ReceiptAPI:
    """A receipt from its EIP-2718 bytes."""
    return PragueReceiptBuilder.decode(raw)


def genesis_block(allocation: Mapping[bytes, int], *, timestamp: int) -> tuple[Block, dict[bytes, bytes]]:
    """Block 0, in which every address of ``allocation`` holds its wei, and the state nodes it makes."""
    header = PragueBlockHeader(
        difficulty=0,
        block_number=BlockNumber(0),
        gas_limit=BLOCK_GAS_LIMIT,
        timestamp=timestamp,
        nonce=POST_MERGE_NONCE,
    )
    nodes = Nodes(lambda _: None)
    state = _state(nodes, header, chain_id=0, ancestors=())
    for address, wei in allocation.items():
        state.set_balance(Address(address), wei)
    state.persist()
    return _block(header.copy(state_root=state.state_root)), nodes.added


def decode_transaction(raw: bytes, *, chain_id: int) -> SignedTransactionAPI:
    """Read a raw signed chain transaction (type 0, 1, 2 or 4) made for this chain and recover its sender.

    Raises ``Rejected``: malformed, a blob, for another chain, or a signature that recovers to nobody.
    """
    try:
        transaction = PragueTransactionBuilder.decode(raw)
        if transaction.encode() != raw:
            raise Rejected("rlp: the encoding is not canonical")
    except Rejected:
        raise
    except (ValidationError, PyEVMError, rlp.exceptions.RLPException, ValueError, TypeError) as error:
        raise Rejected("rlp: this is not a signed chain transaction of type 0, 1, 2 or 4") from error
    if transaction.type_id == BLOB_TX_TYPE:
        raise Rejected("blob transactions (EIP-4844, type 3) are not supported by this chain")
    if transaction.chain_id is None:
        raise Rejected("only replay-protected (EIP-155) transactions allowed over RPC")
    if transaction.chain_id != chain_id:
        raise Rejected(f"invalid chain id for signer: have {transaction.chain_id} want {chain_id}")
    try:
        transaction.check_signature_validity()
        transaction.sender  # noqa: B018 - recovers it once, and keeps it
    except Exception as error:  # eth_keys and its backends raise many kinds; all mean the same
        raise Rejected("invalid sender: the signature recovers to nobody") from error
    return transaction


def _gas_needed(transaction: SignedTransactionAPI | Message) -> int:
    """The gas a chain transaction must bring before its first instruction (EIP-2930, 3860, 7623, 7702)."""
    intrinsic = transaction.intrinsic_gas
    if transaction.to == CREATE_CONTRACT_ADDRESS:
        intrinsic += INITCODE_WORD_COST * ((len(transaction.data) + 31) // 32)
    zeros = transaction.data.count(0)
    tokens = zeros + STANDARD_TOKEN_COST * (len(transaction.data) - zeros)
    return max(intrinsic, GAS_TX + TOTAL_COST_FLOOR_PER_TOKEN * tokens)


def _admit(state: _State, transaction: SignedTransactionAPI) -> None:
    """Check everything that must hold before ``transaction`` runs on ``state``; raises ``Rejected``."""
    sender, given = transaction.sender, transaction.nonce
    expected = state.get_nonce(sender)
    if given < expected:
        raise Rejected(f"nonce too low: next nonce {expected}, tx nonce {given}")
    if given > expected:
        raise NonceAhead(expected, given)
    if given >= UINT_64_MAX:
        raise Rejected("nonce has max value")
    code = state.get_code(sender)
    if code and not code.startswith(DELEGATION_DESIGNATION_PREFIX):
        raise Rejected("sender not an eoa: it holds code")
    if transaction.gas > state.gas_limit:
        raise Rejected(f"exceeds block gas limit: {transaction.gas} > {state.gas_limit}")
    if transaction.to == CREATE_CONTRACT_ADDRESS and len(transaction.data) > MAX_INITCODE_SIZE:
        raise Rejected(f"max initcode size exceeded: code size {len(transaction.data)}, limit {MAX_INITCODE_SIZE}")
    needed = _gas_needed(transaction)
    if transaction.gas < needed:
        raise Rejected(f"intrinsic gas too low: have {transaction.gas}, want {needed}")
    if transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
        raise Rejected("max priority fee per gas higher than max fee per gas")
    cost = transaction.gas * transaction.max_fee_per_gas + transaction.value
    balance = state.get_balance(sender)
    if balance < cost:
        raise Rejected(f"insufficient funds for gas * price + value: balance {balance}, tx cost {cost}")


class BlockBuilder:
    """One block in the making, on top of ``parent``. Add chain transactions one by one, then seal."""

    def __init__(
        self, parent: PragueBlockHeader, nodes: Nodes, *, chain_id: int, timestamp: int, ancestors: Iterable[bytes]
    ) -> None:
        self._header = PragueBlockHeader(
            difficulty=0,
            block_number=BlockNumber(parent.block_number + 1),
            gas_limit=parent.gas_limit,
            timestamp=max(timestamp, parent.timestamp),
            nonce=POST_MERGE_NONCE,
            coinbase=ZERO_ADDRESS,
            parent_hash=parent.hash,
            state_root=parent.state_root,
        )
        self._state = _state(nodes, self._header, chain_id=chain_id, ancestors=ancestors)
        self._transactions: list[SignedTransactionAPI] = []
        self._receipts: list[ReceiptAPI] = []
        self._entries: list[Entry] = []
        self._gas_used = 0

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, transaction: SignedTransactionAPI, go_on: GoOn = lambda: None) -> None:
        """Run one chain transaction; ``Rejected`` and ``BlockFull`` leave the block as it was.

        ``go_on`` may refuse what runs too long. Nothing of that is recorded, so a replay needs no such limit.
        """
        _admit(self._state, transaction)
        if self._gas_used + transaction.gas > self._header.gas_limit:
            raise BlockFull
        self._state.lock_changes()
        before = self._state.snapshot()
        self._state.go_on = go_on
        try:
            computation = self._state.apply_transaction(transaction)
        except BaseException as error:
            self._state.revert(before)
            if isinstance(error, ValidationError):
                raise Rejected(str(error)) from error
            raise
        gas_used = _gas_used(transaction, computation)
        self._gas_used += gas_used
        status = b"" if computation.is_error else b"\x01"
        receipt = transaction.make_receipt(status, self._gas_used, computation.get_log_entries())
        self._transactions.append(transaction)
        self._receipts.append(receipt)
        self._entries.append(
            Entry(transaction.hash, transaction.sender, transaction.encode(), gas_used, receipt.encode())
        )

    def seal(self) -> Block:
        """Close the block; the state nodes it made are in ``nodes.added``."""
        transaction_root, _ = make_trie_root_and_nodes(self._transactions)
        receipt_root, _ = make_trie_root_and_nodes(self._receipts)
        self._state.persist()
        bloom = 0
        for receipt in self._receipts:
            bloom |= receipt.bloom
        header = self._header.copy(
            state_root=self._state.state_root,
            transaction_root=transaction_root,
            receipt_root=receipt_root,
            bloom=bloom,
            gas_used=self._gas_used,
        )
        logs = tuple(
            (i, Log(log.address, tuple(topic.to_bytes(32, "big") for topic in log.topics), log.data))
            for i, receipt in enumerate(self._receipts)
            for log in receipt.logs
        )
        return _block(header, tuple(self._entries), logs)


def _gas_used(transaction: SignedTransactionAPI | Message, computation: ComputationAPI) -> int:
    """What is charged: EIP-3529's capped refund first, then EIP-7623's floor.

    Not py-evm's ``finalize_gas_used``: that caps the refund by a share of the floor, and differs where both apply.
    """
    spent = transaction.gas - computation.get_gas_remaining()
    return spent - min(computation.get_gas_refund(), spent // 5) + computation.data_floor_gas


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a call asks for, unsigned and free of charge. ``to`` is empty for a creation."""

    sender: bytes
    to: bytes
    gas: int
    value: int = 0
    data: bytes = b""
    access_list: tuple[tuple[bytes, tuple[int, ...]], ...] = ()
    authorization_list: tuple[Any, ...] = ()

    gas_price = max_fee_per_gas = max_priority_fee_per_gas = 0

    @property
    def type_id(self) -> int:
        """The EIP-2718 type whose rules apply."""
        return SET_CODE_TRANSACTION_TYPE if self.authorization_list else 2

    @property
    def intrinsic_gas(self) -> int:
        """What py-evm takes before the first instruction."""
        gas: int = calculate_txn_intrinsic_gas_berlin(cast("Any", self))
        return gas + PER_EMPTY_ACCOUNT_BASE_COST * len(self.authorization_list)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a message did: its output, the gas charged, the gas refunded, and the failure if it failed."""

    output: bytes
    gas_used: int
    refund: int
    failure: str | None
    reverted: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """Where a message is tried: the state after ``header``, in a block with that header's number and time."""

    recorded: Callable[[bytes], bytes | None]
    header: PragueBlockHeader
    chain_id: int
    ancestors: Callable[[], Iterable[bytes]]
    go_on: GoOn

    def state(self) -> _State:
        """A fresh state, changes to which are forgotten."""
        state = _state(Nodes(self.recorded), self.header, chain_id=self.chain_id, ancestors=self.ancestors())
        state.go_on = self.go_on
        return state


def call(scene: Scene, message: Message) -> Outcome:
    """Try a message; raises ``Rejected`` where not even its first instruction can run."""
    needed = _gas_needed(message)
    if message.gas < needed:
        raise Rejected(f"intrinsic gas too low: have {message.gas}, want {needed}")
    if message.to == CREATE_CONTRACT_ADDRESS and len(message.data) > MAX_INITCODE_SIZE:
        raise Rejected(f"max initcode size exceeded: code size {len(message.data)}, limit {MAX_INITCODE_SIZE}")
    state = scene.state()
    if state.get_balance(Address(message.sender)) < message.value:
        raise Rejected("insufficient funds for transfer")
    executor = cast("Any", state.get_transaction_executor())
    computation = executor.build_computation(executor.build_evm_message(message), message)
    executor.finalize_computation(message, computation)
    failure = _failure(computation) if computation.is_error else None
    reverted = computation.is_error and isinstance(computation.error, Revert)
    refund = computation.get_gas_refund()
    return Outcome(computation.output, _gas_used(cast("Any", message), computation), refund, failure, reverted)


def _failure(computation: ComputationAPI) -> str:
    if isinstance(computation.error, Revert):
        return "execution reverted"
    name = type(computation.error).__name__
    return {"OutOfGas": "out of gas", "InvalidInstruction": "invalid opcode"}.get(name, f"execution failed: {name}")


def estimate_gas(scene: Scene, message: Message) -> tuple[int, Outcome]:
    """The least gas, known to 1.5 %, with which the message succeeds, and how it went with all of ``message.gas``.

    The gas used is not enough: refunds come at the end, and a call hands on at most 63/64 of what is left (EIP-150).
    So the first guess adds both, and a binary search confirms by running. A failed outcome comes with 0.
    """
    first = call(scene, message)
    if first.failure is not None:
        return 0, first

    def suffices(gas: int) -> bool:
        return call(scene, replace(message, gas=gas)).failure is None

    low, high = max(first.gas_used, _gas_needed(message)) - 1, message.gas
    if suffices(low + 1):
        return low + 1, first
    low += 1
    guess = (first.gas_used + first.refund + 2300) * 64 // 63
    while high - low > 1 and (high - low) / high > _ESTIMATE_ERROR:
        if low < guess < high and suffices(guess):
            high = guess
        elif low < guess < high:
            low = guess
        guess = min((low + high) // 2, 2 * low)
    return high, first


def account(scene: Scene, address: bytes) -> Account:
    """The account at an address: nonce, balance, storage root, code hash; empty where there is none."""
    raw = HexaryTrie(Nodes(scene.recorded), scene.header.state_root)[keccak(address)]
    return cast("Account", rlp.decode(raw, sedes=Account) if raw else Account())


def prove(scene: Scene, root: bytes, key: bytes) -> tuple[list[bytes], bytes]:
    """The nodes (RLP) from ``root`` to ``key`` in a state trie, and the value there (empty where there is none).

    A node shorter than 32 bytes is part of its parent and does not appear (Yellow Paper, appendix D).
    """
    trie = HexaryTrie(Nodes(scene.recorded), root)
    path = [rlp.encode(node) for node in trie.get_proof(keccak(key))]  # type: ignore[no-untyped-call]  # trie's own gap
    return [node for i, node in enumerate(path) if i == 0 or len(node) >= 32], trie[keccak(key)]


def storage(scene: Scene, root: bytes, slot: int) -> tuple[list[bytes], int]:
    """The proof for a storage slot, and what the slot holds."""
    path, value = prove(scene, root, slot.to_bytes(32, "big"))
    return path, int.from_bytes(rlp.decode(value), "big") if value else 0
