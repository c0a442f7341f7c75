"""Collecting cosignatures: from honest witnesses, and in spite of those that lie, sleep or forget."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256

import pytest

from databund.app.cosigning import Cosigning
from databund.app.witnessing import Witness
from databund.core.log_status import WitnessStatus
from databund.errors import DatabundError, LogForked, NodeUnreachable, NotFound
from databund.sdk.log_keys import verifier
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.checkpoints import open_checkpoint, sign_checkpoint
from databund.tlog.notes import Note, parse_note
from databund.tlog.policies import WitnessPolicy
from databund.tlog.witnessing import AddCheckpoint, format_cosignatures, parse_cosignatures
from tests.unit.tlog_keys import ORIGIN, Key, MemoryLog, log_of
from tests.unit.witnesses import LOG, NOW, StoredLog, Time, keys_of, request, witness

Call = Callable[[bytes], tuple[int, bytes]]


@dataclass
class Town:
    """Three witnesses A, B and C, each reached at a URL of its name, and a log whose policy asks for two of them.

    ``liars`` answer in the place of a witness; ``asked`` keeps what each was asked.
    """

    stored: StoredLog = field(default_factory=StoredLog)
    clock: Time = field(default_factory=Time)
    quorum: str = "group q 2 A B C\nquorum q\n"
    liars: dict[str, Call] = field(default_factory=dict)
    asked: list[tuple[str, int]] = field(default_factory=list)
    halted: list[DatabundError] = field(default_factory=list)
    running: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.heads = {name: MemoryHeads() for name in "ABC"}

    def witness(self, name: str) -> Witness:
        """The honest witness of this name."""
        return witness(f"{name}.example", heads=self.heads[name], clock=self.clock)

    def submit(self, url: str, body: bytes) -> tuple[int, bytes]:
        """Ask a witness, or who answers in its place."""
        name = url.removeprefix("https://")
        self.asked.append((name, AddCheckpoint.parse(body).old_size))
        if name in self.liars:
            return self.liars[name](body)
        answer = self.witness(name).add_checkpoint(body)
        return answer.status, answer.body

    def newest(self, url: str, origin: str) -> tuple[int, bytes]:
        """What the honest witness shows, also of one in whose place a liar answers."""
        try:
            return 200, self.witness(url.removeprefix("https://")).checkpoint(sha256(origin.encode()).hexdigest())
        except NotFound:
            return 404, b"not found\n"

    def policy(self) -> WitnessPolicy:
        """The policy of the log."""
        lines = [f"witness {name} {keys_of(f'{name}.example')[0].vkey} https://{name}\n" for name in "ABC"]
        return WitnessPolicy.parse("".join([*lines, self.quorum]).encode(), verifier)

    def cosigning(self, **changes: object) -> Cosigning:
        """The collector, as at a start of the node."""
        cosigning = Cosigning(
            self.stored.database, origin=ORIGIN, log=[LOG.verifier()], policy=changes.pop("policy", self.policy()),
            submit=self.submit, newest=self.newest, signed=lambda log: log.checkpoint(), halt=self.halted.append,
            clock=self.clock, **changes,
        )  # type: ignore[arg-type]  # a test's words  # fmt: skip
        self.running.callback(cosigning.close)
        return cosigning

    def kept(self) -> bytes:
        """The cosigned checkpoint that is stored."""
        with self.stored.database.read() as tables:
            return tables.cosigned.newest() or b""

    def settled(self, cosigning: Cosigning) -> dict[str, WitnessStatus]:
        """Collect until everybody who is asked has answered; the status of each."""
        cosigning.collect()
        cosigning._pool.shutdown(wait=True)
        return {each.name: each for each in cosigning.status().witnesses}


@pytest.fixture
def town() -> Iterator[Town]:
    """A log of five entries and honest witnesses."""
    town = Town()
    town.stored.grow(5)
    with town.running:
        yield town


def test_cosignatures_are_collected_and_kept(town: Town) -> None:
    """The newest checkpoint is stored with the cosignatures of all, and the status says for which size and when."""
    cosigning = town.cosigning()

    states = town.settled(cosigning)

    opened = open_checkpoint(town.kept(), origin=ORIGIN, log=[LOG.verifier()], policy=town.policy())
    assert (opened.checkpoint, len(opened.cosignatures)) == (log_of(5).checkpoint(), 3)
    assert {(state.size, state.at, state.error) for state in states.values()} == {(5, NOW, None)}
    assert (cosigning.status().size, cosigning.status().at, cosigning.status().fork) == (5, NOW, None)


def test_growth_is_proven_from_the_size_the_witness_has(town: Town) -> None:
    """Each round begins at the size of the last one; a witness that never saw the log starts at 0."""
    cosigning = town.cosigning(policy=replace(town.policy(), quorum="A"))
    for size in (5, 6, 300):
        town.stored.grow(size)
        cosigning.collect()
    cosigning._pool.shutdown(wait=True)

    assert [old for name, old in town.asked if name == "A"] == [0, 5, 6]
    assert cosigning.status().size == 300


def test_forgotten_size_is_asked_for_once(town: Town) -> None:
    """A size that is not remembered comes from the witness, by one request more."""
    town.settled(town.cosigning())
    town.stored = replace(town.stored, database=StoredLog().grow(9).database)
    town.asked.clear()

    states = town.settled(town.cosigning())

    assert sorted(town.asked) == [(name, old) for name in "ABC" for old in (0, 5)]
    assert {state.size for state in states.values()} == {9}


def test_restart_remembers_what_was_kept(town: Town) -> None:
    """After a restart nobody is asked again for a checkpoint that is cosigned, and growth starts at its size."""
    town.settled(town.cosigning())
    town.asked.clear()

    cosigning = town.cosigning()
    cosigning.collect()
    assert (town.asked, cosigning.status().size) == ([], 5)
    town.stored.grow(8)
    town.settled(cosigning)

    assert sorted(town.asked) == [("A", 5), ("B", 5), ("C", 5)]


@pytest.mark.parametrize(("passed", "asked"), [(0, False), (3599, False), (3600, True), (-3600, True)])
def test_unchanged_checkpoint_is_refreshed(town: Town, passed: int, asked: bool) -> None:  # noqa: FBT001
    """Nobody is asked again for one checkpoint within the hour; later, or after a jump back, everybody is."""
    town.settled(town.cosigning())
    town.asked.clear()
    town.clock.now += passed

    states = town.settled(town.cosigning())

    assert sorted(town.asked) == ([("A", 5), ("B", 5), ("C", 5)] if asked else [])
    assert {state.at for state in states.values()} == {max(NOW, town.clock.now) if asked else NOW}


def test_refreshing_goes_on_within_a_run(town: Town) -> None:
    """A collector that stays up refreshes, too, and stores the newer cosignature."""
    cosigning = town.cosigning(policy=replace(town.policy(), witnesses=town.policy().witnesses[:1], quorum="A"))
    cosigning.collect()
    cosigning.collect()
    assert town.asked == [("A", 0)]
    town.clock.now += 3600

    town.settled(cosigning)

    assert town.asked == [("A", 0), ("A", 5)]
    assert cosigning.status().at == NOW + 3600


def test_empty_log_asks_nobody(town: Town) -> None:
    """Before the first entry there is nothing to cosign."""
    town.stored = StoredLog()
    cosigning = town.cosigning()

    cosigning.collect()

    assert (town.asked, cosigning.status().size) == ([], None)


def one_of(key: Key, log: MemoryLog, **named: int) -> bytes:
    """An answer with a cosignature of this log by this key."""
    note = sign_checkpoint(log.checkpoint(), [key.signer(**named)])
    return format_cosignatures(note.signatures)


A_KEY, A_ML_DSA = keys_of("A.example")
LIES: dict[str, tuple[int, bytes]] = {
    "another key": (200, one_of(keys_of("B.example")[0], log_of(5))),
    "another text": (200, one_of(A_KEY, log_of(6))),
    "no time": (200, one_of(A_KEY, log_of(5), timestamp_s=0)),
    "a time far ahead": (200, one_of(A_KEY, log_of(5), timestamp_s=2**63 - 1)),
    "garbage": (200, b"\xff\x00garbage"),
    "nothing": (200, b""),
    "10 MB": (200, b"x" * 10_000_000),
    "a page": (200, b"<html>welcome</html>\n"),
    "a redirect": (302, b""),
    "not found": (404, b"unknown log\n"),
    "forbidden": (403, b"no key\n"),
    "a failure": (500, b"\x1b[31m"),
    "no size": (409, b"five\n"),
    "a smaller size again and again": (409, b"3\n"),
    "a size of its own": (409, b"1000000\n"),
    "wrong proof": (422, b"wrong proof\n"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_witness_that_lies_is_named_and_ignored(town: Town, lie: str) -> None:
    """Whatever one witness answers, it is named with its error, and the other two make the quorum without it."""
    town.liars["A"] = lambda _body: LIES[lie]
    cosigning = town.cosigning()

    states = town.settled(cosigning)

    assert states["A"].error
    assert (states["A"].size, states["B"].error, states["C"].error) == (None, None, None)
    assert (cosigning.status().size, cosigning.fork, town.halted) == (5, None, [])
    names = {line.name for line in parse_note(town.kept()).signatures}
    assert names == {ORIGIN, "B.example", "C.example"}


def test_two_liars_prevent_the_quorum(town: Town) -> None:
    """Without enough honest witnesses nothing is stored, and the status says that the policy was never met."""
    town.liars["A"] = town.liars["B"] = lambda _body: (500, b"")
    cosigning = town.cosigning()

    states = town.settled(cosigning)

    assert (town.kept(), cosigning.status().size) == (b"", None)
    assert [name for name, state in states.items() if state.error] == ["A", "B"]


def test_defect_of_a_caller_is_one_witness_that_cannot_be_asked(town: Town) -> None:
    """An error that nobody expected, or a witness that is not there, stops no other witness."""

    def fail(_body: bytes) -> tuple[int, bytes]:
        raise ZeroDivisionError

    def unreachable(_body: bytes) -> tuple[int, bytes]:
        raise NodeUnreachable("Nobody there.", fix="Start it.")

    town.liars.update(A=fail, B=unreachable)
    states = town.settled(town.cosigning())

    assert (states["A"].error, states["B"].error) == ("It cannot be asked (ZeroDivisionError).", "Nobody there.")
    assert states["C"].size == 5


@contextmanager
def sleeper(town: Town, name: str) -> Iterator[threading.Event]:
    """A witness that answers, honestly, only when it is woken."""
    wake = threading.Event()

    def sleep(body: bytes) -> tuple[int, bytes]:
        wake.wait(30)
        answer = town.witness(name).add_checkpoint(body)
        return answer.status, answer.body

    town.liars[name] = sleep
    try:
        yield wake
    finally:
        wake.set()


def test_a_witness_that_sleeps_is_not_waited_for(town: Town) -> None:
    """The quorum of the others is stored at once; the sleeper is named after the time limit, and not asked again."""
    with sleeper(town, "A"):
        cosigning = town.cosigning()
        cosigning.collect()
        assert cosigning.status().size == 5
        town.clock.now += 11
        town.stored.grow(6)
        cosigning.collect()
        states = {each.name: each for each in cosigning.status().witnesses}

        assert states["A"].error == "No answer for 11 s."
        assert (states["B"].size, cosigning.status().size) == (6, 6)
        assert [old for name, old in town.asked if name == "A"] == [0]


def test_late_answer_counts(town: Town) -> None:
    """Who answers after the quorum was met is added to the stored checkpoint."""
    with sleeper(town, "A") as wake:
        cosigning = town.cosigning()
        cosigning.collect()
        assert "A.example" not in {line.name for line in parse_note(town.kept()).signatures}
        wake.set()
        cosigning._pool.shutdown(wait=True)

    assert {"A.example", "B.example", "C.example"} < {line.name for line in parse_note(town.kept()).signatures}


def test_late_answer_for_an_old_size_rolls_nothing_back(town: Town) -> None:
    """A late cosignature of a smaller checkpoint does not take the place of the newest."""
    with sleeper(town, "A") as wake:
        cosigning = town.cosigning()
        cosigning.collect()
        town.stored.grow(7)
        cosigning.collect()
        wake.set()
        cosigning._pool.shutdown(wait=True)

    assert cosigning.status().size == 7
    assert open_checkpoint(town.kept(), origin=ORIGIN, log=[LOG.verifier()]).checkpoint.size == 7


def test_rolled_back_log_is_proven_and_halted(town: Town) -> None:
    """When a witness shows a larger checkpoint under our key, the signing is halted, once, with the evidence."""
    town.settled(town.cosigning())
    shown = town.newest("https://A", ORIGIN)[1]
    town.stored = StoredLog().grow(3)
    cosigning = town.cosigning()

    town.settled(cosigning)
    cosigning.collect()

    (reason,) = town.halted
    assert isinstance(reason, LogForked)
    assert "signed up to size 5, but this database holds 3" in (cosigning.status().fork or "")
    assert cosigning.evidence is not None
    assert parse_note(cosigning.evidence).text == parse_note(shown).text
    assert town.kept() == b""


def test_fork_is_proven_and_halted(town: Town) -> None:
    """When a witness shows another history of a size that we hold, the signing is halted, too."""
    fork = MemoryLog().append(*(b"another %d" % number for number in range(4)))
    assert town.witness("B").add_checkpoint(request(0, fork)).status == 200
    cosigning = town.cosigning()

    town.settled(cosigning)

    assert "two histories of size 4" in (cosigning.status().fork or "")
    assert len(town.halted) == 1
    assert isinstance(cosigning.fork, LogForked)


def test_claim_of_a_larger_log_needs_a_proof(town: Town) -> None:
    """A checkpoint that our key did not sign proves nothing, however large it claims the log to be."""
    town.liars["A"] = lambda _body: (409, b"7\n")
    forged = sign_checkpoint(log_of(7).checkpoint(), [Key("stranger").signer()]).to_bytes()
    for shown in ((200, forged), (200, b"garbage"), (404, b""), (200, town.newest("https://C", ORIGIN)[1])):
        town.newest = lambda _url, _origin, shown=shown: shown  # type: ignore[method-assign, misc]
        cosigning = town.cosigning()
        states = town.settled(cosigning)
        assert (states["A"].error, cosigning.fork, town.halted) == ("It answered 409: 7", None, [])


def test_log_that_grew_meanwhile_is_no_fork(town: Town) -> None:
    """When another process appended and had it cosigned meanwhile, the larger size is one that we hold."""

    def ahead(_body: bytes) -> tuple[int, bytes]:
        if town.stored.log.edge.size == 5:
            town.stored.grow(9)
            town.heads["A"].notes.clear()
            assert town.witness("A").add_checkpoint(request(0, town.stored.log)).status == 200
        return 409, b"9\n"

    town.liars["A"] = ahead
    cosigning = town.cosigning(policy=replace(town.policy(), quorum="A"))

    town.settled(cosigning)

    assert (cosigning.fork, town.halted) == (None, [])


def test_both_keys_of_a_witness_come_from_one_request(town: Town) -> None:
    """Keys with the same URL are one witness: it is asked once, and each key counts as the policy says."""
    both = "".join(f"witness A{at} {key.vkey} https://A\n" for at, key in enumerate(keys_of("A.example")))
    cosigning = town.cosigning(policy=WitnessPolicy.parse(f"{both}group q all A0 A1\nquorum q\n".encode(), verifier))

    town.settled(cosigning)

    assert (town.asked, cosigning.status().size) == ([("A", 0)], 5)


def test_witness_without_one_of_its_keys_is_named(town: Town) -> None:
    """A witness that signs with one of two keys is named for the other, and the good cosignature counts."""
    both = "".join(f"witness A{at} {key.vkey} https://A\n" for at, key in enumerate(keys_of("A.example")))
    town.liars["A"] = lambda _body: (200, one_of(A_KEY, log_of(5)))
    policy = WitnessPolicy.parse(f"{both}group q any A0 A1\nquorum q\n".encode(), verifier)

    states = town.settled(cosigning := town.cosigning(policy=policy))

    assert (states["A0"].error, cosigning.status().size) == (None, 5)
    assert "did not sign with the key A.example" in (states["A1"].error or "")


def test_witness_without_a_url_is_named(town: Town) -> None:
    """A witness of the policy that nobody can reach is named, and not asked."""
    policy = WitnessPolicy.parse(f"witness A {A_KEY.vkey}\nquorum A\n".encode(), verifier)

    states = town.settled(cosigning := town.cosigning(policy=policy))

    assert (states["A"].error, town.asked) == ("The policy gives no URL for it.", [])
    assert cosigning.status().size is None


def test_changed_policy_forgets_who_is_not_in_it(town: Town) -> None:
    """A stored checkpoint counts under a new policy only as far as its witnesses are in it."""
    town.settled(town.cosigning())
    stranger = keys_of("D.example")[0]
    policy = WitnessPolicy.parse(f"witness D {stranger.vkey} https://D\nquorum D\n".encode(), verifier)
    town.liars["D"] = lambda _body: (500, b"")

    cosigning = town.cosigning(policy=policy)
    town.settled(cosigning)

    assert cosigning.status().size is None


def test_stored_nonsense_is_forgotten(town: Town) -> None:
    """A stored note that does not verify is as good as none."""
    town.settled(town.cosigning())
    note = parse_note(town.kept())
    spoiled = Note(note.text, tuple(replace(line, value=line.value[:-1] + b"x") for line in note.signatures))
    for stored in (b"nonsense", spoiled.to_bytes()):
        with town.stored.database.write() as tables:
            tables.cosigned.add(5, stored)
        cosigning = town.cosigning()
        assert cosigning.status().size is None
        town.settled(cosigning)
        assert cosigning.status().size == 5
        assert parse_cosignatures(format_cosignatures(parse_note(town.kept()).signatures))
