"""The part of the conformance suite of the port `Database` that is about the audit log and what lies beside it."""

from __future__ import annotations

import pytest

from databund.core.attachments import Attachment
from databund.core.ids import Commitment, Hex
from databund.core.log_status import Anchor
from databund.errors import LogForked, NotFound, StoreUnavailable
from databund.ports import Block, Database
from databund.testing import samples
from databund.testing.database_fixture import THREADS, DatabaseFixture, at_once
from databund.testing.plain_sealer import PlainSealer

__all__ = ["BatchSuite", "BesideTheLogSuite", "LogSuite"]


class LogSuite(DatabaseFixture):
    """The rows of the audit log."""

    def test_a_new_log_is_empty(self, database: Database) -> None:
        """A new log has no checkpoint, no entries and no tiles."""
        with database.read() as tables:
            assert (tables.log.checkpoint(), tables.log.entries(0, 10)) == (None, [])
            with pytest.raises(NotFound):
                tables.log.tile(0, 0)

    def test_entries_follow_each_other(self, database: Database) -> None:
        """Entries are read back by index in order, tiles grow, and the newest checkpoint counts."""
        with database.write() as tables:
            tables.log.write(0, [b"a", b""], tiles={(0, 0): bytes(64)}, checkpoint=b"two")
        with database.write() as tables:
            assert tables.log.checkpoint() == b"two"
            tables.log.write(2, [b"c"], tiles={(0, 0): bytes(96), (1, 0): bytes(32)}, checkpoint=b"three")
        with database.read() as tables:
            assert tables.log.checkpoint() == b"three"
            assert [tables.log.entries(*bounds) for bounds in ((0, 9), (1, 2), (3, 9))] == [
                [b"a", b"", b"c"],
                [b""],
                [],
            ]
            assert (tables.log.tile(0, 0), tables.log.tile(1, 0)) == (bytes(96), bytes(32))

    def test_a_fork_is_refused(self, database: Database) -> None:
        """Entries that do not start at the log's size are refused, and leave the log as it was."""
        with database.write() as tables:
            tables.log.write(0, [b"a", b"b"], tiles={(0, 0): bytes(64)}, checkpoint=b"two")
        for first in (0, 1, 3):
            with pytest.raises(LogForked), database.write() as tables:
                tables.log.write(first, [b"x"], tiles={(0, 0): b"x" * 32}, checkpoint=b"x")
        with database.read() as tables:
            assert (tables.log.checkpoint(), tables.log.entries(0, 9)) == (b"two", [b"a", b"b"])
            assert tables.log.tile(0, 0) == bytes(64)

    def test_large_entries_fit(self, database: Database) -> None:
        """A full tile of entries of the largest size is written in one database transaction and comes back."""
        entries = [bytes([number]) * 65_535 for number in range(256)]
        with database.write() as tables:
            tables.log.write(0, entries, tiles={(0, 0): bytes(8192)}, checkpoint=b"full")
        with database.read() as tables:
            assert tables.log.entries(0, 256) == entries


class BatchSuite(DatabaseFixture):
    """Blocks that share a database transaction, and the entries they stage."""

    def test_a_staged_entry_is_sealed(self, database: Database, sealer: PlainSealer) -> None:
        """Staged entries get the indexes that were promised, are sealed once, and published after that."""
        with database.write() as tables:
            promised = [tables.log.append(entry) for entry in (b"a", b"b")]
        with database.write() as tables:
            promised.append(tables.log.append(b"c"))
        with database.read() as tables:
            assert (promised, tables.log.entries(0, 9)) == ([0, 1, 2], [b"a", b"b", b"c"])
        assert (sealer.sealed, sealer.published) == ([2, 1], [b"2", b"3"])

    def test_the_entries_of_an_order_are_found(self, database: Database) -> None:
        """The log knows which entries are about an order, and of an unknown order none."""
        first, second = samples.order(1).id, samples.order(2).id
        with database.write() as tables:
            for order_id in (first, None, second, first):
                tables.log.append(b"entry", order_id=order_id)
        with database.read() as tables:
            assert [list(tables.log.of_order(o)) for o in (first, second, samples.order(3).id)] == [[0, 3], [2], []]

    def test_a_raising_block_stages_nothing(self, database: Database, sealer: PlainSealer) -> None:
        """What a block staged before it raised is gone, and its index is given again."""

        def raising() -> None:
            with database.write() as tables:
                tables.log.append(b"lost")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            raising()
        with database.write() as tables:
            assert tables.log.append(b"kept") == 0
        assert sealer.sealed == [1]

    def test_a_refused_seal_undoes_the_act(self, database: Database, sealer: PlainSealer) -> None:
        """When the log cannot be sealed, nothing of the act remains, and the next act succeeds."""

        def act(number: int, entry: bytes) -> None:
            with database.write() as tables:
                tables.orders.add(samples.order(number))
                tables.log.append(entry)

        sealer.refusal = LogForked("The log forked.", fix="Stop.")
        with pytest.raises(LogForked):
            act(1, b"lost")
        act(2, b"kept")
        with database.read() as tables:
            assert (tables.orders.find(), tables.log.entries(0, 9)) == ([samples.order(2)], [b"kept"])

    def test_what_is_not_published_is_not_acknowledged(self, database: Database, sealer: PlainSealer) -> None:
        """When the head cannot move on, the block raises; what it wrote is there all the same, for the next try."""
        sealer.trouble = StoreUnavailable("No head.", fix="Try again.")
        with pytest.raises(StoreUnavailable), database.write() as tables:
            tables.log.append(b"entry")
        with database.read() as tables:
            assert tables.log.entries(0, 9) == [b"entry"]

    def test_many_writers_are_sealed_together(self, database: Database, sealer: PlainSealer) -> None:
        """Each of many writers has its own index and row, whoever raises among them, and the log has all the others."""

        def act(number: int) -> int | None:
            try:
                with database.write() as tables:
                    index = tables.log.append(b"%d" % number)
                    tables.orders.add(samples.order(number + 1))
                    if number % 3 == 0:
                        raise ZeroDivisionError
                    return index
            except ZeroDivisionError:
                return None

        indexes = at_once(act, 6 * THREADS)
        given = {index: number for number, index in enumerate(indexes) if index is not None}
        with database.read() as tables:
            assert tables.log.entries(0, 999) == [b"%d" % given[index] for index in range(4 * THREADS)]
            assert len(tables.orders.find(limit=999)) == 4 * THREADS
        assert sum(sealer.sealed) == 4 * THREADS
        assert len(sealer.sealed) <= 4 * THREADS


class BesideTheLogSuite(DatabaseFixture):
    """What is kept beside the log's entries."""

    def test_the_newest_cosigned_checkpoint_counts(self, database: Database) -> None:
        """Cosigned checkpoints are kept by size; the largest is the newest, and of one size the last one stays."""
        with database.write() as tables:
            assert tables.cosigned.newest() is None
            for size, note in ((9, b"nine"), (3, b"three"), (9, b"nine again")):
                tables.cosigned.add(size, note)
        with database.read() as tables:
            assert (tables.cosigned.newest(), list(tables.cosigned.all())) == (b"nine again", [b"three", b"nine again"])

    def test_old_cosigned_checkpoints_go(self, database: Database) -> None:
        """Only the newest 4,096 are kept."""
        with database.write() as tables:
            for size in range(1, 4100):
                tables.cosigned.add(size, b"%d" % size)
        with database.read() as tables:
            kept = list(tables.cosigned.all())
        assert (len(kept), kept[0], kept[-1]) == (4096, b"4", b"4099")

    def test_anchors_wait_until_they_are_finished(self, database: Database) -> None:
        """Anchors are pending from small to large until they are finished; the newest is the largest."""
        anchors = [Anchor(size, Hex(bytes(32)), f"0x{size}", 7) for size in (5, 2, 8)]
        with database.write() as tables:
            assert (tables.anchors.newest(), tables.anchors.pending()) == (None, [])
            for anchor in anchors:
                tables.anchors.add(anchor)
            tables.anchors.finish("0x5")
        with database.read() as tables:
            assert (tables.anchors.newest(), list(tables.anchors.pending())) == (anchors[2], [anchors[1], anchors[2]])

    def test_an_erased_attachment_keeps_its_date_only(self, database: Database) -> None:
        """Erasing forgets salt, key and content for good; a second erasing or adding changes nothing."""
        attachment = Attachment(Commitment(bytes(32)), 5, b"salt", b"key", b"sealed")
        with database.write() as tables:
            tables.attachments.add(attachment)
            assert tables.attachments.get(attachment.commitment) == attachment
            tables.attachments.erase(attachment.commitment, 9)
        with database.write() as tables:
            tables.attachments.erase(attachment.commitment, 10)
            tables.attachments.add(attachment)
        with database.read() as tables:
            erased = Attachment(attachment.commitment, 5, None, None, None, 9)
            assert tables.attachments.get(attachment.commitment) == erased
            with pytest.raises(NotFound):
                tables.attachments.get(Commitment(bytes([1] * 32)))

    def test_the_cursor_moves(self, database: Database) -> None:
        """There is no cursor at first; then it is where it was put last."""
        with database.write() as tables:
            assert tables.cursor.get() is None
            for number in (7, 9, 8):
                tables.cursor.set(Block(number, f"0x{number}"))
        with database.read() as tables:
            assert tables.cursor.get() == Block(8, "0x8")
