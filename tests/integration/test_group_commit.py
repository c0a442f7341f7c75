"""Group commit under faults: whatever fails, each act is there whole or not at all, and nobody waits for ever."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import CursorResult, event

from databund.errors import DatabundError, HeadMoved, LogForked, StoreCorrupt, StoreFull, StoreUnavailable
from databund.ports import Heads
from databund.storage import database as storage_database
from databund.storage.database import SqlDatabase, SqlTables
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_heads import MemoryHeads
from tests.integration.log_victim import (
    ORIGIN,
    Judge,
    OnPurpose,
    act,
    append,
    checkpoint,
    do,
    new_auditor,
    open_log,
)

STRESS_S = float(os.environ.get("DATABUND_STRESS_S", "3"))
THREADS = 64
JOIN_S = 60


class Fault:
    """The call numbered ``at`` of one kind fails, before it is made or after; or any, by ``chance``."""

    def __init__(
        self,
        at: int = 0,
        kind: str = "",
        error: type[BaseException] = StoreUnavailable,
        *,
        after: bool = False,
        chance: float = 0,
    ) -> None:
        self._left = at
        self._kind = kind
        self._error = error
        self._after = after
        self._chance = chance
        self._guard = threading.Lock()
        self._dice = random.Random(at)  # noqa: S311  # repeatable, not secret
        self.happened = False

    @contextlib.contextmanager
    def call(self, kind: str) -> Iterator[None]:
        """Count one call."""
        if self._kind not in (kind, ""):
            yield
            return
        with self._guard:
            self._left -= 1
            due = self._left == 0 or self._dice.random() < self._chance
        if due and not self._after:
            self._fail(kind)
        yield
        if due:
            self._fail(kind)

    def _fail(self, kind: str) -> None:
        self.happened = True
        if issubclass(self._error, DatabundError):
            raise self._error(f"{kind} failed on purpose.", fix="Nothing.")
        raise self._error(f"{kind} failed on purpose")


@dataclass
class FaultyHeads:
    """Heads whose calls may fail."""

    heads: Heads
    fault: Fault

    def get(self, origin: str) -> bytes | None:
        """As the port says."""
        with self.fault.call("heads.get"):
            return self.heads.get(origin)

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """As the port says."""
        with self.fault.call("heads.replace"):
            self.heads.replace(origin, checkpoint, was=was)


class FaultyLog:
    """A log in SQLite of which every statement, commit and head may fail; the judge remembers what was acknowledged."""

    def __init__(self, folder: Path) -> None:
        self._heads = MemoryHeads()
        self.heads = FaultyHeads(self._heads, Fault())
        self.database, self.auditor = open_log(f"sqlite:///{folder}/test.db", self.heads)
        self.judge = Judge()
        self._guard = threading.Lock()
        self._names = iter(range(10**9))
        event.listen(self.database._engine.writer, "before_cursor_execute", self._execute)
        event.listen(self.database._engine.writer, "commit", self._commit)

    def act(self, *, error: type[BaseException] | None = None, name: str = "") -> str:
        """One act; what it came to: ``done`` or the name of the error."""
        with self._guard:
            name = name or f"act {next(self._names)}"
        what = act(name)
        try:
            with self.database.write() as tables:
                index = do(self.auditor, tables, what)
                if error is not None:
                    raise error("on purpose")
        except BaseException as failure:  # noqa: BLE001  # threads report whatever it is
            return type(failure).__name__
        with self._guard:
            self.judge.hear(f"a {index} {hashlib.sha256(what[1].entry()).hexdigest()}")
        return "done"

    def together(self, acts: list[Callable[[], str]], *, threads: int = 4) -> list[str]:
        """Do the acts at the same time; nobody may hang."""
        with ThreadPoolExecutor(threads) as pool:
            return [future.result(JOIN_S) for future in [pool.submit(act) for act in acts]]

    def examine(self) -> None:
        """Without faults the next act succeeds, and all that is stored is whole."""
        self.heads.fault = Fault()
        assert self.act() == "done"
        self.judge.judge(self.database, self.heads)

    def _execute(self, *_: object) -> None:
        with self.heads.fault.call("statement"):
            pass

    def _commit(self, _: object) -> None:
        with self.heads.fault.call("commit"):
            pass


@pytest.fixture
def log(tmp_path: Path) -> Iterator[FaultyLog]:
    """An empty log."""
    log = FaultyLog(tmp_path)
    yield log
    log.database.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", [StoreFull, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["statement", "commit", "heads.replace", "heads.get"])
def test_a_fault_at_any_call_leaves_nothing_half(
    log: FaultyLog, kind: str, error: type[BaseException], when: str
) -> None:
    """Whichever call fails while writers share a batch, each act is whole or gone, and the next one succeeds."""
    for at in range(1, 1000):
        log.heads.fault = fault = Fault(at, kind, error, after=when == "after")
        if kind == "heads.get":
            log.auditor._edges.clear()  # as another process's act does
        outcomes = log.together([log.act] * 4 + [lambda: log.act(error=OnPurpose)])
        log.examine()
        if not fault.happened:
            break
        if kind != "statement":  # which may have been the undoing of the block that raises anyway
            assert {"StoreUnavailable", error.__name__} & set(outcomes)
    assert at > 1
    assert outcomes.count("done") == 4


def test_many_writers_under_random_faults(log: FaultyLog) -> None:
    """Sixty-four threads and failures everywhere: nobody hangs, and what was acknowledged is there."""
    stop = time.monotonic() + STRESS_S
    dice = random.Random(1)  # noqa: S311  # repeatable, not secret
    log.heads.fault = Fault(error=StoreUnavailable, chance=0.01)

    def hammer() -> str:
        outcomes = []
        while time.monotonic() < stop:
            outcomes.append(log.act(error=dice.choice((None, None, None, OnPurpose, KeyboardInterrupt, SystemExit))))
        return "done" if "done" in outcomes else f"nothing done in {len(outcomes)} acts"

    assert set(log.together([hammer] * THREADS, threads=THREADS)) == {"done"}
    log.examine()
    print(log.judge.edge.size, "entries,", len(log.judge.acknowledged), "known")  # noqa: T201  # seen with -s


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_a_block_that_is_broken_off_harms_no_other(log: FaultyLog, error: type[BaseException]) -> None:
    """A block that ends by KeyboardInterrupt or SystemExit is undone alone; those of its batch succeed."""
    outcomes = log.together([log.act, lambda: log.act(error=error)] * 16, threads=32)
    assert outcomes.count("done") == 16
    log.examine()


def test_a_writer_who_waits_can_be_interrupted(log: FaultyLog) -> None:
    """A signal that raises in a waiting thread takes it out of the line; those before and after it go on."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    def hold() -> None:
        with log.database.write() as tables:
            held.set()
            while not log.database._turns._line:
                release.wait(0.001)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
            release.wait(10)
            do(log.auditor, tables, act("holder"))

    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for _ in range(20):
            held, release = threading.Event(), threading.Event()
            holder = threading.Thread(target=_quietly(hold))
            holder.start()
            assert held.wait(10)
            assert log.act() == "KeyboardInterrupt"
            release.set()
            holder.join(10)
            assert not holder.is_alive()
    finally:
        signal.signal(signal.SIGUSR1, before)
    log.examine()


def test_an_interrupted_statement_frees_the_database(log: FaultyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interruption while a statement's answer is read leaves no lock, though its error, with the cursor, is kept."""
    whole = CursorResult._init_metadata

    def interrupt(*_: object) -> None:
        monkeypatch.setattr(CursorResult, "_init_metadata", whole)
        raise KeyboardInterrupt

    def interrupted(name: str) -> BaseException:
        with pytest.raises(KeyboardInterrupt) as kept, log.database.write() as tables:
            begin(tables, name)
        return kept.value

    def begin(tables: SqlTables, name: str) -> None:
        do(log.auditor, tables, act(name))
        monkeypatch.setattr(CursorResult, "_init_metadata", interrupt)

    kept = [interrupted(f"interrupted {number}") for number in range(3)]
    assert log.together([log.act] * 8) == ["done"] * 8
    assert len(kept) == 3
    log.examine()


def test_a_writer_who_waits_too_long_is_told(log: FaultyLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers whose turn does not come in time leave the line, and the one who has the turn is not harmed."""
    monkeypatch.setattr(storage_database, "PATIENCE_S", 0.05)
    with log.database.write() as tables:
        assert log.together([log.act] * 8, threads=8) == ["StoreUnavailable"] * 8
        do(log.auditor, tables, act("the patient one"))
    log.examine()


def test_a_head_that_cannot_move_stops_the_log(log: FaultyLog) -> None:
    """While the head cannot be moved on, acts fail and are not stored, but for those of the first batch."""
    assert log.act() == "done"
    log.heads.fault = Fault(kind="heads.replace", error=StoreFull, chance=1)
    assert {log.act() for _ in range(5)} == {"StoreFull"}
    with log.database.read() as tables:
        assert tables.log.size() == 2
        assert checkpoint(log.auditor.published(tables.log))[0] == 1
    log.examine()
    assert log.judge.edge.size == 3


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, StoreUnavailable])
def test_nobody_is_told_before_the_head_has_moved(log: FaultyLog, error: type[BaseException]) -> None:
    """Whatever publishing fails with, no block of the batch is acknowledged."""
    log.heads.fault = Fault(kind="heads.replace", error=error, chance=1)
    assert "done" not in log.together([log.act] * 8, threads=8)


def test_a_failed_commit_repeats_no_index(log: FaultyLog) -> None:
    """The entry that takes the index of a failed one is not mistaken for it when the failed act is tried again."""
    what, other = act("first"), act("second")
    log.heads.fault = Fault(kind="commit", error=StoreFull, chance=1)
    with pytest.raises(StoreFull), log.database.write() as tables:
        do(log.auditor, tables, what)
    log.heads.fault = Fault()
    for expected, each in enumerate((other, what)):
        with log.database.write() as tables:
            assert do(log.auditor, tables, each) == expected
    log.examine()


def _quietly(function: Callable[[], None]) -> Callable[[], None]:
    def call() -> None:
        with contextlib.suppress(DatabundError):
            function()

    return call


# --- older copies, and other signers ------------------------------------------------------------------------------


def _restore(database: MemoryDatabase, records: object) -> None:
    database._records = records  # type: ignore[assignment]  # a backup, byte for byte


def test_a_copy_that_is_one_act_older_is_refused() -> None:
    """A running node whose database goes back by a single act does not sign another act of that number."""
    database, heads = MemoryDatabase(), MemoryHeads()
    database.sealer = auditor = new_auditor(heads)
    append(database, auditor, "0")
    backup = database._records.copy()
    append(database, auditor, "1")
    head = heads.get(ORIGIN)
    _restore(database, backup)
    with pytest.raises(LogForked, match="older copy"):
        append(database, auditor, "another 1")
    with database.read() as tables:
        assert auditor.published(tables.log) == head
    assert heads.get(ORIGIN) == head


def test_a_copy_that_is_restored_while_an_act_is_published_is_refused() -> None:
    """Of two checkpoints of one size, both committed before either is published, only one is acknowledged."""
    database, heads = MemoryDatabase(), MemoryHeads()
    auditor = new_auditor(heads)
    late: list[Callable[[], None]] = []

    class Late:
        seal = staticmethod(auditor.seal)

        @staticmethod
        def publish(note: bytes, read: Callable[[], object]) -> None:
            late.append(lambda: auditor.publish(note, read))  # type: ignore[arg-type]

    database.sealer = Late()  # type: ignore[assignment]
    backup = database._records.copy()
    append(database, auditor, "0")
    _restore(database, backup)
    append(database, auditor, "another 0")
    late[1]()
    with pytest.raises(LogForked):
        late[0]()
    with pytest.raises(LogForked):
        append(database, auditor, "1")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[list[tuple[SqlDatabase, object]]]:
    """One log opened twice, as two processes do."""
    heads = MemoryHeads()
    opened = [open_log(f"sqlite:///{tmp_path}/test.db", heads) for _ in range(2)]
    yield opened  # type: ignore[misc]
    for database, _ in opened:
        database.close()


def test_an_old_snapshot_is_no_fork(pair: list) -> None:  # type: ignore[type-arg]
    """A reader whose snapshot is older than the head sees its own checkpoint, and does not stop the node."""
    (ours, auditor), (theirs, other) = pair
    append(ours, auditor, "0")
    with ours.read() as tables:
        assert tables.log.size() == 1
        for number in range(1, 5):
            append(theirs, other, str(number))
        assert checkpoint(auditor.published(tables.log))[0] == 1
    with ours.read() as tables:
        assert checkpoint(auditor.published(tables.log))[0] == 5
    assert append(ours, auditor, "5") == 5


def test_readers_disturb_no_writer(log: FaultyLog) -> None:
    """While many threads write and others ask for the newest checkpoint, none fails, and what is shown only grows."""
    stop = threading.Event()

    def watch() -> str:
        sizes = [0]
        while not stop.is_set():
            with log.database.read() as tables:
                sizes.append(checkpoint(log.auditor.published(tables.log))[0])
        return "done" if sizes == sorted(sizes) else "shrank"

    with ThreadPoolExecutor(4) as pool:
        watchers = [pool.submit(watch) for _ in range(4)]
        outcomes = log.together([log.act] * 200, threads=16)
        stop.set()
        assert {watcher.result(JOIN_S) for watcher in watchers} == {"done"}
    assert set(outcomes) == {"done"}
    log.examine()


def test_a_crash_before_the_head_moved_heals(tmp_path: Path) -> None:
    """A node that starts moves the head on to what its database has signed since."""
    heads = MemoryHeads()
    database, auditor = open_log(f"sqlite:///{tmp_path}/test.db", heads)
    append(database, auditor, "0")
    behind = heads.get(ORIGIN)
    append(database, auditor, "1")
    database.close()
    heads.notes[ORIGIN] = behind  # type: ignore[assignment]  # as if it had died between
    database, auditor = open_log(f"sqlite:///{tmp_path}/test.db", heads)
    assert checkpoint(heads.get(ORIGIN))[0] == 2
    assert append(database, auditor, "2") == 2
    database.close()


def test_newest_entries_that_are_gone_are_named(tmp_path: Path) -> None:
    """A node does not start on a database whose newest entries are not those of its tree."""
    heads = MemoryHeads()
    database, auditor = open_log(f"sqlite:///{tmp_path}/test.db", heads)
    for number in range(3):
        append(database, auditor, str(number))
    with database._engine.writer.connect() as connection:
        connection.exec_driver_sql('DELETE FROM log_entries WHERE "index" = 1')
        connection.commit()
    database.close()
    with pytest.raises(StoreCorrupt, match="fsck"):
        open_log(f"sqlite:///{tmp_path}/test.db", heads)


def test_heads_that_always_move_are_not_waited_for_for_ever() -> None:
    """A store of heads that contradicts itself ends in an error, not in an endless loop."""

    class Moving(MemoryHeads):
        def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:  # noqa: ARG002  # the port's
            raise HeadMoved("It moved.", fix="Read it again.")

    database = MemoryDatabase()
    database.sealer = auditor = new_auditor(Moving())
    with pytest.raises(StoreUnavailable):
        append(database, auditor, "0")


# --- retries --------------------------------------------------------------------------------------------------------


def _again(database: SqlDatabase, auditor: object, name: str, **changes: int) -> int:
    """The event of an act alone, as a retry logs it."""
    with database.write() as tables:
        return auditor.append(tables, act(name, **changes)[1])[0]  # type: ignore[attr-defined]


def test_a_retry_keeps_its_index_across_restarts_and_processes(tmp_path: Path) -> None:
    """An event that another process, or this one before it was restarted, has logged keeps its index."""
    heads = MemoryHeads()
    url = f"sqlite:///{tmp_path}/test.db"
    (first, its), (second, others) = open_log(url, heads), open_log(url, heads)
    assert _again(second, others, "before") == 0
    assert _again(first, its, "a") == 1
    assert _again(second, others, "a", at=1_800_000_500) == 1
    first.close()
    first, its = open_log(url, heads)
    assert _again(first, its, "a", at=1_800_000_600) == 1
    assert _again(first, its, "a", at=1_800_000_601) == 2
    assert _again(second, others, "a", at=1_800_000_700) == 2
    first.close()
    second.close()


def test_a_rolled_back_try_is_not_remembered(log: FaultyLog) -> None:
    """The retry of an act whose block raised is logged anew."""
    assert log.act() == "done"
    assert log.act(error=OnPurpose, name="twice") == "OnPurpose"
    assert _again(log.database, log.auditor, "other") == 1
    assert _again(log.database, log.auditor, "twice") == 2
    assert _again(log.database, log.auditor, "twice") == 2


def test_a_retry_is_known_for_as_many_entries(log: FaultyLog) -> None:
    """An event is a retry while it is among the last 4,096 entries, counted from when it came last."""
    late = {"at": 1_800_001_000}
    assert _again(log.database, log.auditor, "x") == 0
    with log.database.write() as tables:
        log.auditor.append(tables, *(act(str(number))[1] for number in range(4_000)))
    assert _again(log.database, log.auditor, "x", **late) == 4_001
    with log.database.write() as tables:
        log.auditor.append(tables, *(act(f"more {number}")[1] for number in range(4_095)))
    assert _again(log.database, log.auditor, "x", **late) == 4_001
    assert _again(log.database, log.auditor, "one more") == 8_097
    assert _again(log.database, log.auditor, "x", **late) == 8_098
