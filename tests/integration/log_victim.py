"""A log to attack: its one key, acts of random size, a judge of what is stored, and a process to be killed.

As a program it is a fork server, so that a victim costs no import: each line of its input (a database's URL, a folder
for heads, a seed) starts a victim, and the next line kills it. A victim writes a line for each act that was
acknowledged, and for checkpoints that were published; the server writes ``end`` when the victim is gone.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path

from databund.app.auditing import Auditor
from databund.core.amounts import Amount
from databund.core.events import Event, EventKind
from databund.core.ids import Address, OfferId, OrderId
from databund.core.orders import Order
from databund.crypto.identities import Identity
from databund.crypto.signatures import verify_ed25519
from databund.ports import Database, Heads, Tables
from databund.storage.database import SqlDatabase
from databund.storage.heads import FileHeads
from databund.tlog.checkpoints import open_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer, ed25519_verifier
from databund.tlog.tiles import TreeEdge

ORIGIN = "exchange.example/attacked"
THREADS = 4
_KEY = Identity(hashlib.sha256(b"the attacked log").digest()).log_key
VKEY = VerifierKey(ORIGIN, SignatureType.ED25519, _KEY.public)
VERIFIER = ed25519_verifier(VKEY, verify_ed25519)
_BUYER = Address(bytes(20))
_OFFER = OfferId(bytes(32))


class OnPurpose(Exception):
    """What a block raises that is meant to leave nothing."""


def new_auditor(heads: Heads) -> Auditor:
    """The one writer of the attacked log, as each process makes it."""
    return Auditor(ORIGIN, ed25519_signer(VKEY, _KEY.sign), VERIFIER, heads)


def open_log(url: str, heads: Heads) -> tuple[SqlDatabase, Auditor]:
    """Open the log as a node does: what is stored is checked against the head."""
    auditor = new_auditor(heads)
    database = SqlDatabase.open(url, create=True, sealer=auditor)
    try:
        with database.read() as tables:
            auditor.check(tables.log)
    except BaseException:
        database.close()
        raise
    return database, auditor


def act(name: str, *, reason: str = "", at: int = 1_800_000_000) -> tuple[Order, Event]:
    """A business row and its entry, both named by ``name``."""
    order = OrderId(hashlib.sha256(name.encode()).digest())
    row = Order(id=order, offer_id=_OFFER, buyer=_BUYER, units=1, price=Amount(1), placed_at=at)
    return row, Event(EventKind.REFUSED, at, "somebody", {"order": str(order), "offer": "", "reason": reason})


def do(auditor: Auditor, tables: Tables, what: tuple[Order, Event]) -> int:
    """Write the row and stage the entry."""
    tables.orders.add(what[0])
    (index,) = auditor.append(tables, what[1])
    return index


def append(database: Database, auditor: Auditor, name: str, *, reason: str = "") -> int:
    """One act in a block of its own."""
    with database.write() as tables:
        return do(auditor, tables, act(name, reason=reason))


def checkpoint(note: bytes | None) -> tuple[int, bytes]:
    """What a checkpoint of the attacked log says, verified: its size and root; of no checkpoint 0 and nothing."""
    if note is None:
        return 0, b""
    opened = open_checkpoint(note, origin=ORIGIN, log=[VERIFIER]).checkpoint
    return opened.size, opened.root


@dataclass
class Judge:
    """What is known of a log that must never lose nor change any of it: entries by digest, and roots by size."""

    edge: TreeEdge = field(default_factory=TreeEdge)
    roots: dict[int, bytes] = field(default_factory=dict)
    acknowledged: dict[int, bytes] = field(default_factory=dict)
    shown: dict[int, bytes] = field(default_factory=dict)
    unchecked: list[int] = field(default_factory=list)

    def hear(self, line: str) -> None:
        """Take down what a victim acknowledged or published: ``a index digest`` or ``c size root``."""
        kind, number, value = line.split()
        known = self.acknowledged if kind == "a" else self.shown
        assert known.setdefault(int(number), bytes.fromhex(value)) == bytes.fromhex(value), f"forked: {line}"
        if kind == "a":
            self.unchecked.append(int(number))

    def judge(self, database: SqlDatabase, heads: Heads) -> None:
        """Check all that was heard, and all that is new, against what is stored."""
        with database.read() as tables:
            size, root = checkpoint(tables.log.checkpoint())
            entries = [bytes(entry) for entry in tables.log.entries(self.edge.size, size + 1)]
            assert len(entries) == size - self.edge.size, "entries and checkpoint do not agree"
            for index in self.unchecked:
                assert index < size, f"the acknowledged entry {index} is lost; the log has {size}"
            self._check_tree(tables, entries, size, root)
            self._check_rows(tables, entries, size)
        self.unchecked.clear()
        head_size, head_root = checkpoint(heads.get(ORIGIN))
        assert max(self.acknowledged, default=-1) < head_size or not self.acknowledged, "acknowledged, but no head"
        for shown, its_root in {**self.shown, head_size: head_root}.items():
            if shown:
                assert self.roots.get(shown) == its_root, f"the published checkpoint of {shown} entries is a fork"

    def _check_tree(self, tables: Tables, entries: list[bytes], size: int, root: bytes) -> None:
        first = self.edge.size
        for index, entry in enumerate(entries, first):
            known = self.acknowledged.setdefault(index, hashlib.sha256(entry).digest())
            assert known == hashlib.sha256(entry).digest(), f"entry {index} is not the acknowledged one"
            grown = self.edge.append([leaf_hash(entry)])
            self.edge = grown.edge
            self.roots[self.edge.size] = self.edge.root()
        if size:
            assert self.edge.root() == root, "the checkpoint does not sign the stored entries"
        for level in range(8):
            for index in range(first >> 8 * (level + 1), (size >> 8 * (level + 1)) + 1):
                if size >> 8 * level > 256 * index:
                    self._check_tile(tables, level, index, size)

    def _check_tile(self, tables: Tables, level: int, index: int, size: int) -> None:
        stored = bytes(tables.log.tile(level, index))
        assert len(stored) == 32 * min(256, (size >> 8 * level) - 256 * index), f"tile {level}/{index} is cut"
        if level == 0:
            held = tables.log.entries(256 * index, 256 * index + 256)
            assert stored == b"".join(map(leaf_hash, held)), f"tile {level}/{index} is of other entries"
        else:
            below = [
                TreeEdge().append(_split(tables.log.tile(level - 1, 256 * index + at)))
                for at in range(256)
                if len(stored) > 32 * at
            ]
            assert stored == b"".join(grown.edge.root() for grown in below), f"tile {level}/{index} is of another tree"

    def _check_rows(self, tables: Tables, entries: list[bytes], size: int) -> None:
        connection = tables.log._connection
        for table in ("orders", "log_orders", "log_entries"):
            found = connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar()  # noqa: S608  # our own names
            assert found == size, f"{found} rows of {table} for {size} entries: an act is half there"
        for index, entry in list(enumerate(entries, size - len(entries)))[-8:]:
            order = OrderId.parse(str(Event.read(entry).about["order"]))
            assert tables.orders.get(order) is not None
            assert list(tables.log.of_order(order)) == [index]


def _split(tile: bytes) -> list[bytes]:
    return [bytes(tile[at : at + 32]) for at in range(0, len(tile), 32)]


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # shorter than PIPE_BUF, so never half there


def _live(database: SqlDatabase, auditor: Auditor, seed: str) -> None:
    """Act until killed; every seventh block raises, every ninth looks at the log."""
    dice = random.Random(seed)  # noqa: S311  # repeatable, not secret
    for number in range(1_000_000):
        size = dice.choice((0, 10, 400, 5_000) if dice.random() < 0.98 else (60_000,))
        what = act(f"{seed}/{number}", reason=dice.randbytes(size // 2).hex())
        with contextlib.suppress(OnPurpose):
            with database.write() as tables:
                index = do(auditor, tables, what)
                if dice.random() < 1 / 7:
                    raise OnPurpose
            _say(f"a {index} {hashlib.sha256(what[1].entry()).hexdigest()}")
        if dice.random() < 1 / 9:
            with database.read() as tables:
                note = auditor.published(tables.log)
            if note is not None:
                size, root = checkpoint(note)
                _say(f"c {size} {root.hex()}")


def _be_victim(url: str, heads: str, seed: str) -> None:
    database, auditor = open_log(url, FileHeads(Path(heads)))
    threads = [
        threading.Thread(target=_live, args=(database, auditor, f"{seed}.{number}")) for number in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main() -> None:
    """Serve forks until the input ends."""
    with tempfile.TemporaryDirectory() as folder:  # so that no victim imports anything; all is closed before a fork
        open_log(f"sqlite:///{folder}/databund.db", FileHeads(Path(folder)))[0].close()
    for order in sys.stdin:
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(KeyboardInterrupt):
                _be_victim(*order.split())
            os._exit(3)
        sys.stdin.readline()
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        _say(f"end {os.WTERMSIG(status) if os.WIFSIGNALED(status) else -1}")


if __name__ == "__main__":
    main()
