"""Bad input of the audit log, one test for each row: what the log does with it, and what it says."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import random
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from databund import bootstrap
from databund.app.auditing import Auditor
from databund.crypto.identities import Identity
from databund.crypto.signatures import verify_ed25519
from databund.errors import (
    CheckpointInvalid,
    DatabundError,
    DocumentInvalid,
    IntegrityFailed,
    InvalidInput,
    KeyInvalid,
    LogDamaged,
    LogForked,
    NotFound,
    ProofInvalid,
    StoreCorrupt,
    StoreFull,
)
from databund.ports import Heads
from databund.storage.database import SqlDatabase
from databund.storage.heads import FileHeads
from databund.storage.log_reading import StoredLog
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.fsck import Checks, fsck
from databund.tlog.merkle import EMPTY_ROOT, leaf_hash, verify_consistency, verify_inclusion
from databund.tlog.notes import Signature, SignatureType, VerifierKey, ed25519_signer, ed25519_verifier
from databund.tlog.tiles import Prover, TreeEdge, format_entries
from tests.integration import log_victim
from tests.integration.log_victim import (
    ORIGIN,
    VERIFIER,
    VKEY,
    Judge,
    act,
    append,
    checkpoint,
    do,
    open_log,
)
from tests.integration.test_log_crashes import ForkServer
from tests.nodes import ABOUT, node_in_process, table, terms

DICE = random.Random(20_261_123)  # noqa: S311  # repeatable, not secret
STRANGER = Identity(hashlib.sha256(b"a stranger").digest()).log_key


@dataclass
class Home:
    """A log in a folder: its database, and its head beside it."""

    folder: Path

    @property
    def path(self) -> Path:
        """The file of the database."""
        return self.folder / "databund.db"

    @property
    def url(self) -> str:
        """Its address."""
        return f"sqlite:///{self.path}"

    @property
    def heads(self) -> FileHeads:
        """What was signed last."""
        return FileHeads(self.folder / "heads")

    def head(self) -> bytes | None:
        """The note of it."""
        return self.heads.get(ORIGIN)

    @contextlib.contextmanager
    def open(self, heads: Heads | None = None) -> Iterator[tuple[SqlDatabase, Auditor]]:
        """Open the log as a node does."""
        database, auditor = open_log(self.url, heads or self.heads)
        try:
            yield database, auditor
        finally:
            database.close()

    def grow(self, *names: object) -> None:
        """Append acts."""
        with self.open() as (database, auditor), database.write() as tables:
            for name in names:
                do(auditor, tables, act(str(name)))

    def refuses(self, *errors: type[DatabundError]) -> str:
        """Opening and appending is refused, and the head stays; what is said."""
        head = self.head()
        with pytest.raises(errors) as refusal, self.open() as (database, auditor):
            append(database, auditor, "one more")
        assert refusal.value.fix
        assert self.head() == head
        return str(refusal.value)

    def change(self, statement: str, *values: object) -> None:
        """Change rows behind the node's back."""
        with contextlib.closing(sqlite3.connect(self.path, isolation_level=None)) as connection:
            assert connection.execute(statement, values).rowcount

    def examine(self) -> None:
        """Everything there is belongs together."""
        with self.open() as (database, _):
            Judge().judge(database, self.heads)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A log of six entries."""
    (tmp_path / "home").mkdir()
    home = Home(tmp_path / "home")
    home.grow(*range(6))
    return home


def test_a_clock_that_jumps_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A node whose clock jumps back goes on trading, keeps the order of its log, and every proof holds."""
    real, back = bootstrap._now, 0
    monkeypatch.setattr(bootstrap, "_now", lambda: real() - back)
    with node_in_process(tmp_path) as running:
        provider, consumer = running.client(), running.funded()
        view = provider.publish(table(tmp_path / "data"), ABOUT)
        back = 30
        offer = provider.offer(view.dataset, terms(provider))
        consumer.buy(offer.id)
        consumer.download(offer.id, tmp_path / "copy")
        with running.node.database.read() as tables:
            log = tables.log
            entries = [log_victim.Event.read(entry) for entry in log.entries(0, log.size())]
            edge = TreeEdge().append(map(leaf_hash, log.entries(0, log.size()))).edge
            newest = running.node.auditor.published(log)
            running.node.auditor.check(log)
        assert [entry.at for entry in entries] != sorted(entry.at for entry in entries)
        assert f"\n{edge.size}\n".encode() in newest
        consumer.export_audit(tmp_path / "audit.zip")


def test_a_retry_while_the_clock_jumps_back(home: Home) -> None:
    """An event that comes again with an earlier time is not taken for a retry, and nothing is reordered."""
    with home.open() as (database, auditor), database.write() as tables:
        indexes = [auditor.append(tables, act("5", at=at)[1])[0] for at in (1_800_000_000, 1_799_999_999, 1)]
    assert indexes == [5, 6, 7]


def test_torn_pages(home: Home) -> None:
    """With any page of the database overwritten the node refuses, or fsck names the damage; it never signs a fork."""
    home.grow(*(f"more {number}" for number in range(500)))
    whole, noise, dice = home.path.read_bytes(), DICE.randbytes(4096), DICE
    found: Counter[str] = Counter()
    judge = Judge()
    with home.open() as (database, _):
        judge.judge(database, home.heads)
    pages = range(0, len(whole), 4096)
    for at in sorted({0, 4096, *dice.sample(pages, min(len(pages), 60))}):
        home.path.write_bytes(whole[:at] + noise + whole[at + 4096 :])
        Path(f"{home.path}-wal").unlink(missing_ok=True)
        found[_after_damage(home, judge)] += 1
    assert found["forked"] == 0
    assert min(found["refused"], found["found by fsck"]) > 0


def _after_damage(home: Home, judge: Judge) -> str:
    """What becomes of a damaged log: ``refused``, ``found by fsck``, or ``harmless``."""
    heads = MemoryHeads()
    heads.notes[ORIGIN] = home.head() or b""
    try:
        with home.open(heads) as (database, auditor):
            append(database, auditor, "one more")
            with database.read() as tables:
                size, root = checkpoint(tables.log.checkpoint())
                grown = judge.edge.append([leaf_hash(act("one more")[1].entry())]).edge
                if (size, root) != (grown.size, grown.root()):
                    return "forked"
    except (StoreCorrupt, LogForked, CheckpointInvalid, NotFound, InvalidInput):
        return "refused"
    try:
        source = StoredLog.open(home.url)
        with contextlib.closing(source):
            fsck(source, Checks(origin=ORIGIN, log=[VERIFIER]))
    except (LogDamaged, StoreCorrupt):
        return "found by fsck"
    return "harmless"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here; run as root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_disk_full(small_disk: Path) -> None:
    """While the disk is full every act is refused as a whole; with room the same process goes on; nothing is lost."""
    home, judge = Home(small_disk), Judge()
    ballast = small_disk / "ballast"

    def fill(name: str) -> str:
        what = act(name, reason="x" * 40_000)
        try:
            with database.write() as tables:
                index = do(auditor, tables, what)
        except StoreFull:
            return "full"
        judge.hear(f"a {index} {hashlib.sha256(what[1].entry()).hexdigest()}")
        return "done"

    with home.open() as (database, auditor):
        append(database, auditor, "the first")
        ballast.write_bytes(bytes(1 << 20))
        with ThreadPoolExecutor(8) as pool:
            outcomes = Counter(pool.map(fill, (f"act {number}" for number in range(100)), timeout=60))
        assert min(outcomes["full"], outcomes["done"]) > 0
        judge.judge(database, home.heads)
        ballast.unlink()
        assert fill("with room") == "done"
        judge.judge(database, home.heads)
    home.examine()


def test_two_signers_at_once(home: Home) -> None:
    """Two processes that sign at once, killed again and again, write one log, and no fork."""
    judge, dice = Judge(), DICE
    servers = ForkServer(), ForkServer()
    try:
        with ThreadPoolExecutor(2) as pool:
            for cycle in range(6):
                runs = [
                    pool.submit(
                        server.kill_one,
                        f"{home.url} {home.folder / 'heads'} {cycle}-{number}",
                        judge,
                        acts=dice.randrange(1, 20),
                        then_s=0.005,
                    )
                    for number, server in enumerate(servers)
                ]
                assert all(run.result(60) for run in runs)
        with home.open() as (database, _):
            judge.judge(database, home.heads)
    finally:
        for server in servers:
            server.stop()
    assert judge.edge.size > 20


def test_two_signers_at_once_of_a_cloned_home(home: Home, tmp_path: Path) -> None:
    """Of two clones of a home that share their head one goes on; the other refuses whatever it is asked."""
    clone = Home(tmp_path / "clone")
    shutil.copytree(home.folder, clone.folder)
    with home.open() as (database, auditor), clone.open(home.heads) as (cloned, its):
        append(database, auditor, "of the original")
        for _ in range(2):
            with pytest.raises(LogForked, match="older copy"):
                append(cloned, its, "of the clone")
        append(database, auditor, "of the original, again")
    home.examine()
    with pytest.raises(LogForked), clone.open(home.heads):
        pass


def test_two_signers_at_once_in_the_same_moment(home: Home, tmp_path: Path) -> None:
    """When two clones sign at the same moment, the one that publishes later acknowledges nothing and halts."""
    clone = Home(tmp_path / "clone")
    shutil.copytree(home.folder, clone.folder)

    class Overtaken(MemoryHeads):
        def get(self, origin: str) -> bytes | None:
            return home.heads.get(origin)

        def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
            append(database, auditor, "of the original")
            home.heads.replace(origin, checkpoint, was=was)

    with home.open() as (database, auditor), clone.open(Overtaken()) as (cloned, its):
        for name in ("of the clone", "of the clone, again"):
            with pytest.raises(LogForked, match="Another node signs") as refusal:
                append(cloned, its, name)
            assert "Stop both nodes" in refusal.value.fix
        with cloned.read() as tables:
            assert its.published(tables.log) == home.head()
    home.examine()


def test_a_backup_restored_over_a_live_log(home: Home, tmp_path: Path) -> None:
    """A node under which a backup takes the place of the database writes nothing more, and touches neither file."""
    backup = tmp_path / "backup.db"
    shutil.copy(home.path, backup)
    with home.open() as (database, auditor):
        append(database, auditor, "newer")
        head = home.head()
        shutil.copy(backup, tmp_path / "restored.db")
        (tmp_path / "restored.db").replace(home.path)
        with pytest.raises(StoreCorrupt, match="replaced") as refusal:
            append(database, auditor, "one more")
        assert "put the file that was there last back" in refusal.value.fix
        with pytest.raises(StoreCorrupt, match="replaced"), database.read() as tables:
            tables.log.checkpoint()
    assert home.path.read_bytes() == backup.read_bytes()
    assert home.head() == head


def test_a_backup_restored_over_a_live_log_between_runs(home: Home, tmp_path: Path) -> None:
    """A node that finds an older database says so and does not start; with the newest one back it goes on."""
    backup, newest = tmp_path / "backup.db", tmp_path / "newest.db"
    shutil.copy(home.path, backup)
    home.grow("newer")
    home.path.rename(newest)
    shutil.copy(backup, home.path)
    assert "6 log entries, but 7 were signed" in home.refuses(LogForked)
    shutil.copy(newest, home.path)
    home.grow("newer still")
    home.examine()


def test_a_backup_restored_over_a_live_log_in_place(home: Home, tmp_path: Path) -> None:
    """A backup that is copied into the open file is never signed for as if nothing were missing."""
    backup = home.path.read_bytes()
    with home.open() as (database, auditor):
        for number in range(40):
            append(database, auditor, f"newer {number}", reason="x" * 500)
        with contextlib.closing(sqlite3.connect(home.path)) as other:
            other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        head = home.head()
        with home.path.open("r+b") as file:
            file.write(backup)
            file.truncate(len(backup))
        with contextlib.suppress(IntegrityFailed, NotFound):
            append(database, auditor, "one more")
    assert home.head() == head
    home.refuses(LogForked, StoreCorrupt)


def test_entries_of_64_KiB_and_one_byte(home: Home) -> None:  # noqa: N802  # the row's name
    """An entry of 65,535 bytes is logged; one of 64 KiB, or a byte more, is refused, and its act leaves nothing."""
    fixed = len(act("large")[1].entry())
    with home.open() as (database, auditor):
        for length in (65_536, 65_537):
            with pytest.raises(DocumentInvalid):
                append(database, auditor, "large", reason="x" * (length - fixed))
            with pytest.raises(DocumentInvalid):
                format_entries([bytes(length)])
        assert append(database, auditor, "large", reason="x" * (65_535 - fixed)) == 6
        with database.read() as tables:
            (entry,) = tables.log.entries(6, 7)
            assert len(format_entries([bytes(entry)])) == 65_537
    home.examine()


def test_size_0_and_hashes_that_are_not_32_bytes(home: Home) -> None:
    """Nothing is in, or consistent with, a log of size 0, and no hash of another length is computed with."""
    leaf, root = leaf_hash(b"a"), leaf_hash(b"a")
    for size, proof, leaf_, root_ in [(0, [], leaf, EMPTY_ROOT), (1, [], leaf[:31], root), (1, [], leaf, root + b"\0"),
                                      (2, [leaf[:31]], leaf, root), (2, [leaf + b"\0"], leaf, root)]:  # fmt: skip
        with pytest.raises((ProofInvalid, InvalidInput)):
            verify_inclusion(leaf_, proof, index=0, size=size, root=root_)
    for old, proof in ((0, []), (0, [leaf]), (1, [leaf[:31]]), (1, [leaf + b"\0"])):
        with pytest.raises((ProofInvalid, InvalidInput)):
            verify_consistency(proof, old_size=old, old_root=root, new_size=2, new_root=root)
    for size, root_ in ((0, leaf), (1, leaf[:31]), (1, b"")):
        with pytest.raises(CheckpointInvalid):
            Checkpoint(origin=ORIGIN, size=size, root=root_)
    for cut in (31, 33, 0):
        home.change("UPDATE log_tiles SET hashes = ? WHERE level = 0", bytes(cut))
        home.refuses(LogForked, StoreCorrupt)


def test_reordered_leaves(home: Home) -> None:
    """Two entries that change places are noticed, whether their hashes go with them or not; and no proof holds."""
    with home.open() as (database, _), database.read() as tables:
        log = tables.log
        first, second = (bytes(entry) for entry in log.entries(1, 3))
        tile = bytes(log.tile(0, 0))
        size, root = checkpoint(log.checkpoint())
        prover = Prover(lambda level, index, _: bytes(log.tile(level, index)))
        verify_inclusion(leaf_hash(first), prover.inclusion_proof(1, size), index=1, size=size, root=root)
        with pytest.raises(ProofInvalid):
            verify_inclusion(leaf_hash(first), prover.inclusion_proof(2, size), index=2, size=size, root=root)
    home.change('UPDATE log_entries SET entry = ? WHERE "index" = 1', second)
    home.change('UPDATE log_entries SET entry = ? WHERE "index" = 2', first)
    assert "fsck" in home.refuses(StoreCorrupt)
    home.change("UPDATE log_tiles SET hashes = ?", tile[:32] + tile[64:96] + tile[32:64] + tile[96:])
    home.refuses(LogForked)


def test_unknown_algorithm_bytes(home: Home) -> None:
    """A key of an unknown algorithm is no key; a signature by one counts for nothing, and harms no other."""
    for unknown in (0x00, 0x02, 0x03, 0x05, 0x07, 0x7F, 0xFF):
        key = bytes([unknown]) + VKEY.public_key
        name, number, _ = str(VKEY).split("+", 2)
        with pytest.raises(KeyInvalid):
            VerifierKey.parse(f"{name}+{number}+{_base64(key)}")
    note = _stored(home)
    text, _, lines = note.decode().partition("\n\n")
    strange = str(Signature(ORIGIN, 0x12345678, b"\xfe" + bytes(64)))
    home.change("UPDATE log_head SET checkpoint = ?", f"{text}\n\n{strange}".encode())
    home.refuses(CheckpointInvalid)
    home.change("UPDATE log_head SET checkpoint = ?", f"{text}\n\n{lines}{strange}".encode())
    home.grow("one more")
    home.examine()


def test_forged_and_stale_checkpoints(home: Home) -> None:
    """A stored checkpoint of another key, of another tree, or an earlier one stops the log; so does such a head."""
    note = _stored(home)
    size, root = checkpoint(note)
    stranger = VerifierKey(ORIGIN, SignatureType.ED25519, STRANGER.public)
    signers: list[Callable[[Checkpoint], bytes]] = [
        lambda said: sign_checkpoint(said, [ed25519_signer(stranger, STRANGER.sign)]).to_bytes(),
        lambda said: sign_checkpoint(said, [ed25519_signer(VKEY, log_victim._KEY.sign)]).to_bytes(),
    ]
    forged = signers[0](Checkpoint(ORIGIN, size, root))
    for bad in (forged, note[:-10], note.replace(b"\n6\n", b"\n7\n"), b"", b"\0" * 100):
        home.change("UPDATE log_head SET checkpoint = ?", bad)
        home.refuses(CheckpointInvalid)
    for said in (Checkpoint(ORIGIN, size, leaf_hash(b"")), Checkpoint(ORIGIN, 5, root), Checkpoint(ORIGIN, 7, root)):
        home.change("UPDATE log_head SET checkpoint = ?", signers[1](said))
        home.refuses(LogForked, StoreCorrupt)
    home.change("UPDATE log_head SET checkpoint = ?", note)
    home.grow("one more")
    home.change("UPDATE log_head SET checkpoint = ?, size = 6", note)  # stale
    home.refuses(LogForked, StoreCorrupt)
    for bad, error in ((forged, CheckpointInvalid), (signers[1](Checkpoint(ORIGIN, 3, root)), LogForked)):
        heads = MemoryHeads()
        heads.notes[ORIGIN] = bad
        with pytest.raises(error), home.open(heads):
            pass


def test_wrong_origin(home: Home) -> None:
    """A node does not sign under another origin than its log has, nor take another log's head for its own."""
    other = "other.example/audit"
    vkey = VerifierKey(other, SignatureType.ED25519, VKEY.public_key)
    auditor = Auditor(
        other, ed25519_signer(vkey, log_victim._KEY.sign), ed25519_verifier(vkey, verify_ed25519), home.heads
    )
    database = SqlDatabase.open(home.url, create=False, sealer=auditor)
    with pytest.raises(CheckpointInvalid), database.read() as tables:
        auditor.check(tables.log)
    with pytest.raises(CheckpointInvalid):
        append(database, auditor, "one more")
    database.close()
    assert home.heads.get(other) is None
    heads = MemoryHeads()
    heads.notes[ORIGIN] = sign_checkpoint(
        Checkpoint(other, 1, leaf_hash(b"")), [ed25519_signer(vkey, log_victim._KEY.sign)]
    ).to_bytes()
    with pytest.raises(CheckpointInvalid), home.open(heads):
        pass
    home.examine()


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _stored(home: Home) -> bytes:
    with home.open() as (database, _), database.read() as tables:
        return bytes(tables.log.checkpoint() or b"")
