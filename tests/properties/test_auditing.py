"""Properties of auditing: no crashes, copies and other signers make two logs of one, and no two acts become one."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, multiple, rule

from databund.app.auditing import Auditor
from databund.core.events import Event, EventKind
from databund.errors import LogForked, StoreUnavailable
from databund.ports import Log
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.merkle import leaf_hash, tree_root
from tests.integration.log_victim import ORIGIN, OnPurpose, checkpoint, new_auditor

_FRAGMENTS = ('"', '\\"', ',"at":', '","at":1,"by":"', '{"about":{', "}}", ',"by":"x"', "\\", "\u2028", "時", "0", " ")
_TEXTS = st.lists(st.sampled_from(_FRAGMENTS), max_size=4).map("".join)
_JSON = st.recursive(
    _TEXTS | st.integers(0, 2) | st.booleans(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["at", "by", ',"at":']), inner),
    max_leaves=4,
)
_EVENTS = st.builds(
    lambda at, by, attachment, reason: Event(EventKind.DESTROYED, at, by, {"attachment": attachment, "reason": reason}),
    st.integers(1, 1_300),
    _TEXTS,
    _JSON,
    _JSON,
)


def _is_retry(event: Event, first: Event) -> bool:
    """Whether it is the same act again within ten minutes, by the bytes of all but its time."""
    return (
        msgspec.structs.replace(event, at=0).entry() == msgspec.structs.replace(first, at=0).entry()
        and 0 <= event.at - first.at <= 600
    )


@given(st.lists(st.tuples(_EVENTS, st.booleans()), max_size=12), st.data())
def test_only_retries_share_an_index(events: list[tuple[Event, bool]], data: st.DataObject) -> None:
    """An event keeps the index of an earlier one exactly when that is the last of the same act, within ten minutes."""
    database = MemoryDatabase()
    database.sealer = auditor = new_auditor(MemoryHeads())
    logged: list[Event] = []
    for event, again in events:
        if again and logged:
            known = data.draw(st.sampled_from(logged))
            event = msgspec.structs.replace(known, at=known.at + data.draw(st.sampled_from([-1, 0, 600, 601])))
        same = [index for index, first in enumerate(logged) if _same_act(event, first)]
        with database.write() as tables:
            (index,) = auditor.append(tables, event)
        if same and _is_retry(event, logged[same[-1]]):
            assert index == same[-1]
        else:
            assert index == len(logged)
            logged.append(event)
    with database.read() as tables:
        assert [Event.read(entry) for entry in tables.log.entries(0, 99)] == logged


def _same_act(event: Event, other: Event) -> bool:
    return msgspec.structs.replace(event, at=0).entry() == msgspec.structs.replace(other, at=0).entry()


@dataclass
class _Node:
    """A process on a database: it publishes at once, or keeps what it has to publish, as a slow thread does."""

    database: MemoryDatabase
    heads: MemoryHeads
    late: list[tuple[bytes, list[tuple[int, bytes]], list[bytes]]] = field(default_factory=list)
    slow: bool = False

    def __post_init__(self) -> None:
        self.auditor = new_auditor(self.heads)
        self.acts: list[tuple[int, bytes]] = []

    def start(self) -> Auditor:
        """A new process; what the old one had not published, it never will."""
        self.late.clear()
        self.auditor = new_auditor(self.heads)
        with self.database.read() as tables:
            self.auditor.check(tables.log)
        return self.auditor

    def seal(self, log: Log, entries: list[bytes]) -> bytes:
        """As the port `Sealer`."""
        return self.auditor.seal(log, entries)

    def publish(self, note: bytes, read: Callable[[], AbstractContextManager[Log]]) -> None:
        """As the port `Sealer`, or later."""
        if self.slow:
            self.late.append((note, self.acts, list(self.database._records.entries)))
        else:
            self.auditor.publish(note, read)


class _FailingHeads(MemoryHeads):
    """Heads of which the next replacements fail, before or after they are made."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[str] = []

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """As the port says."""
        failure = self.failures.pop() if self.failures else ""
        if failure == "before":
            raise StoreUnavailable("It does not answer.", fix="Try again.")
        super().replace(origin, checkpoint, was=was)
        if failure == "after":
            raise StoreUnavailable("Its answer was lost.", fix="Try again.")


class History(RuleBasedStateMachine):
    """Nodes, clones, copies and crashes around one head. What was ever shown is one growing log."""

    nodes = Bundle("nodes")
    copies = Bundle("copies")

    def __init__(self) -> None:
        super().__init__()
        self.heads = _FailingHeads()
        self.shown: list[bytes] = []
        self.acknowledged: dict[int, bytes] = {}
        self.everything: list[_Node] = []
        self.number = 0

    @rule(target=nodes)
    def found(self) -> object:
        """The first node, on an empty database."""
        if self.everything:
            return multiple()
        return self._node(MemoryDatabase())

    @rule(target=nodes, node=nodes, same=st.booleans())
    def clone(self, node: _Node, same: bool) -> object:  # noqa: FBT001  # drawn
        """A second signer: on the same database, or on a copy of it."""
        if len(self.everything) > 3:
            return multiple()
        database = node.database
        if not same:
            database = MemoryDatabase()
            database._records = node.database._records.copy()
        return self._node(database)

    @rule(node=nodes, count=st.integers(1, 3), slow=st.booleans(), raising=st.booleans())
    def act(self, node: _Node, count: int, slow: bool, raising: bool) -> None:  # noqa: FBT001  # drawn
        """A block of acts, which may raise, or be published late."""
        node.database.sealer, node.slow = node, slow  # type: ignore[assignment]
        node.acts = acts = []
        with contextlib.suppress(LogForked, StoreUnavailable, OnPurpose):
            with node.database.write() as tables:
                for _ in range(count):
                    self.number += 1
                    event = Event(
                        EventKind.DESTROYED, self.number, "x", {"attachment": str(self.number), "reason": "y"}
                    )
                    acts.append((node.auditor.append(tables, event)[0], event.entry()))
                if raising:
                    raise OnPurpose
            if not slow:
                self._acknowledge(acts, node.database._records.entries)

    @rule(node=nodes, last=st.booleans())
    def publish(self, node: _Node, last: bool) -> None:  # noqa: FBT001  # drawn
        """A slow thread publishes, before or after others of its process."""
        if not node.late:
            return
        note, acts, entries = node.late.pop(-1 if last else 0)
        with contextlib.suppress(LogForked, StoreUnavailable):
            node.auditor.publish(note, node.database._log)
            self._acknowledge(acts, entries)

    @rule(node=nodes)
    def restart(self, node: _Node) -> None:
        """The process dies, and another starts; it may refuse."""
        with contextlib.suppress(LogForked, StoreUnavailable):
            node.start()

    @rule(target=copies, node=nodes)
    def back_up(self, node: _Node) -> object:
        """A copy of the database."""
        return node.database._records.copy()

    @rule(node=nodes, copy=copies)
    def restore(self, node: _Node, copy: object) -> None:
        """A copy takes the database's place, under whoever runs on it."""
        node.database._records = copy.copy()  # type: ignore[attr-defined]

    @rule(failures=st.lists(st.sampled_from(["", "before", "after"]), max_size=3))
    def fail(self, failures: list[str]) -> None:
        """The heads will not answer."""
        self.heads.failures = failures

    @rule(node=nodes)
    def look(self, node: _Node) -> None:
        """Somebody fetches the newest checkpoint, and what is under it where it is there."""
        with node.database.read() as tables:
            size, root = checkpoint(node.auditor.published(tables.log))
            entries = [bytes(entry) for entry in tables.log.entries(0, size)]
        if len(entries) == size and tree_root([leaf_hash(entry) for entry in entries]) == root:
            self._show(entries)

    @invariant()
    def the_head_is_the_log(self) -> None:
        """The head names the one log that was shown; nobody else ever holds its root."""
        size, root = checkpoint(self.heads.notes.get(ORIGIN))
        if not size:
            return
        for node in self.everything:
            entries = [bytes(entry) for entry in node.database._records.entries[:size]]
            if len(entries) == size and tree_root([leaf_hash(entry) for entry in entries]) == root:
                self._show(entries)
        if len(self.shown) >= size:
            assert tree_root([leaf_hash(entry) for entry in self.shown[:size]]) == root
        for index, entry in self.acknowledged.items():
            assert index < size
            assert self.shown[index] == entry

    def _node(self, database: MemoryDatabase) -> _Node:
        node = _Node(database, self.heads)
        self.everything.append(node)
        with contextlib.suppress(LogForked, StoreUnavailable):
            node.start()
        return node

    def _acknowledge(self, acts: list[tuple[int, bytes]], entries: list[bytes]) -> None:
        size, _ = checkpoint(self.heads.notes.get(ORIGIN))
        assert all(index < size for index, _ in acts), "acknowledged before it was published"
        self._show([bytes(entry) for entry in entries])
        for index, entry in acts:
            assert self.acknowledged.setdefault(index, entry) == entry, "an index was acknowledged twice"
            assert self.shown[index] == entry

    def _show(self, entries: list[bytes]) -> None:
        common = min(len(entries), len(self.shown))
        assert entries[:common] == self.shown[:common], "the log forked"
        if len(entries) > len(self.shown):
            self.shown = entries


History.TestCase.settings = settings(
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestHistory = History.TestCase
TestHistory.__doc__ = "Whatever happens, what was shown is a prefix of what is shown later."
