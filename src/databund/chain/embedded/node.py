"""The node: chain transactions in, blocks out, questions answered.

One writer thread makes the blocks. It takes whatever waits and commits it as one block, so a lone chain transaction is
committed at once, and under load those that arrive during a commit share the next one. :meth:`EmbeddedNode.request`
may be called from any thread; reads run beside the writer, each in its own snapshot.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from databund import errors
from databund.chain.embedded.patience import WRITING_S, patience
from databund.chain.embedded.store import Genesis, Store

if TYPE_CHECKING:
    from eth.abc import SignedTransactionAPI

_WAITING: Final = 4096
_PER_BLOCK: Final = 256


@dataclass(frozen=True, slots=True)
class _Pending:
    transaction: SignedTransactionAPI
    done: Future[None] = field(default_factory=Future)


class EmbeddedNode:
    """A chain of its own on one SQLite file. Close it, or use it in a ``with``."""

    def __init__(self, store: Store, *, now: Callable[[], int]) -> None:
        from databund.chain.embedded.methods import Methods  # py-evm loads in about a second

        self._store = store
        with store.reading() as reader:
            self.chain_id: Final = reader.genesis().chain_id
        self._now = now
        self._waiting: queue.Queue[_Pending | None] = queue.Queue(_WAITING)
        self._gate = threading.Lock()
        self._closed = False
        self._methods = Methods(store, chain_id=self.chain_id, now=now, submit=self._submit)
        self._writer = threading.Thread(target=self._write, name="embedded-chain", daemon=True)
        self._writer.start()

    @classmethod
    def create(
        cls, path: Path, *, chain_id: int, now: Callable[[], int], allocation: Mapping[bytes, int] | None = None
    ) -> Self:
        """Start a new chain at ``path``.

        ``now`` gives Unix time in seconds; ``allocation`` the wei of 20-byte addresses at block 0. Gas costs nothing
        here, so an empty one is normal. Raises ``AlreadyExists``, ``HomeInUse``, ``ConfigInvalid``, ``StoreFull``.
        """
        from databund.chain.embedded.machine import genesis_block

        if not 0 < chain_id < 2**53:
            raise errors.ConfigInvalid(f"The chain id {chain_id} cannot be used.", fix="Choose one from 1 to 2^53 - 1.")
        genesis = Genesis(chain_id, dict(allocation or {}))
        for address, wei in genesis.allocation.items():
            if len(address) != 20 or not 0 <= wei < 2**255:
                raise errors.ConfigInvalid(
                    f"The allocation of {wei} wei to 0x{address.hex()} cannot be used.",
                    fix="Give 20-byte addresses and amounts from 0 to 2^255 - 1.",
                )
        block, nodes = genesis_block(genesis.allocation, timestamp=now())
        return cls._over(Store.create(path, genesis, block, nodes), now)

    @classmethod
    def open(cls, path: Path, *, now: Callable[[], int]) -> Self:
        """Go on with the chain at ``path``. Raises ``NotFound``, ``HomeInUse``, ``HomeTooNew``, ``StoreCorrupt``."""
        return cls._over(Store.open(path), now)

    @classmethod
    def _over(cls, store: Store, now: Callable[[], int]) -> Self:
        try:
            return cls(store, now=now)
        except BaseException:
            store.close()
            raise

    def request(self, method: str, params: Sequence[object] = ()) -> object:
        """Answer one JSON-RPC request with a JSON value; a chain transaction is on disk when its answer comes.

        Raises ``JsonRpcError`` where the protocol says no, ``StoreFull`` and ``StoreUnavailable`` where the disk does
        (nothing was recorded; send the same bytes again), ``ChainUnavailable`` on a closed node.
        """
        if self._closed:
            raise _closed()
        return self._methods.answer(method, params)

    def close(self) -> None:
        """Finish what waits, stop, and release the file. Closing twice is harmless."""
        with self._gate:
            if self._closed:
                return
            self._closed = True
        self._waiting.put(None)
        self._writer.join()
        self._store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, transaction: SignedTransactionAPI) -> Future[None]:
        pending = _Pending(transaction)
        with self._gate:
            if self._closed:
                raise _closed()
            try:
                self._waiting.put_nowait(pending)
            except queue.Full:
                raise errors.ChainUnavailable("Too many chain transactions wait.", fix="Send it again later.") from None
        return pending.done

    def _write(self) -> None:
        more = True
        while more:
            batch = [self._waiting.get()]
            while len(batch) < _PER_BLOCK and not self._waiting.empty():
                batch.append(self._waiting.get_nowait())
            more = None not in batch
            pending = [item for item in batch if item is not None]
            try:
                while pending:
                    pending = self._make_block(pending)
            except Exception as error:  # noqa: BLE001 - the worker loop: whoever waits hears of it, the node goes on
                for item in pending:
                    if not item.done.done():
                        item.done.set_exception(error)

    def _make_block(self, pending: list[_Pending]) -> list[_Pending]:
        """Record one block of what is pending, acknowledge, and return what did not fit in."""
        from databund.chain.embedded.machine import BlockBuilder, BlockFull, Nodes, decode_header

        recorded = self._store.writer_view()
        head = recorded.head()
        _, parent = recorded.header(head)
        nodes = Nodes(recorded.node)
        builder = BlockBuilder(
            decode_header(parent),
            nodes,
            chain_id=self.chain_id,
            timestamp=self._now(),
            ancestors=recorded.ancestors(head + 1),
        )
        included: list[_Pending] = []
        left: list[_Pending] = []
        seen: set[bytes] = set()
        for i, item in enumerate(pending):
            if item.transaction.hash in seen or recorded.position(item.transaction.hash) is not None:
                included.append(item)  # the same bytes again: the same answer, no second execution
                continue
            try:
                builder.add(item.transaction, patience(WRITING_S))
            except BlockFull:
                left = pending[i:]
                break
            except Exception as error:  # noqa: BLE001 - one bad chain transaction never takes others with it
                item.done.set_exception(error)
            else:
                seen.add(item.transaction.hash)
                included.append(item)
        if len(builder):
            self._store.append(builder.seal(), nodes.added)
        for item in included:
            item.done.set_result(None)
        return left


def _closed() -> errors.ChainUnavailable:
    return errors.ChainUnavailable("The embedded chain is closed.", fix="Open it again.")
