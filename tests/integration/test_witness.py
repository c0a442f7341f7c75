"""`databund witness serve` as a log sees it: HTTP by c2sp.org/tlog-witness, kills, and two processes of one home."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from hashlib import sha256
from pathlib import Path

import pytest

from databund.app.cosigning import Cosigning
from databund.cli.exits import Exit
from databund.errors import DatabundError
from databund.sdk.log_keys import verifier
from databund.sdk.witnesses import WitnessCalls
from databund.tlog.checkpoints import open_checkpoint, read_unverified
from databund.tlog.cosignatures import Cosignature
from databund.tlog.notes import SignatureType, open_note
from databund.tlog.policies import WitnessPolicy
from databund.tlog.witnessing import MAX_REQUEST_BYTES, AddCheckpoint, parse_cosignatures
from tests.integration.witness_processes import WitnessProcess, answer, command, witness_process
from tests.unit.tlog_keys import ORIGIN, Key, MemoryLog, log_of
from tests.unit.witnesses import LOG, StoredLog, request

HASH = sha256(ORIGIN.encode()).hexdigest()
WATCHED = ("--log", str(LOG.vkey))
OTHER = Key("other.example/log")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WitnessProcess]:
    """A witness of 40 logs, one for each test that needs a fresh one: ``log0.example`` and so on."""
    home = tmp_path_factory.mktemp("shared") / "home"
    logs = home.parent / "logs.txt"
    lines = [f"log {Key(f'log{number}.example').vkey}\n" for number in range(40)]
    logs.write_text("# the logs of the tests\n" + "".join(lines) + "quorum none\n")
    with witness_process(home, *WATCHED, "--logs", str(logs), "--name", "witness.example/w") as running:
        yield running


def of(number: int, old: int, size: int) -> bytes:
    """A correct request of the log of this number."""
    log, key = log_of(size), Key(f"log{number}.example")
    checkpoint = log.checkpoint()
    return request(old, log, key=key, checkpoint=type(checkpoint)(key.vkey.name, size, checkpoint.root))


def test_checkpoint_is_cosigned_and_shown(shared: WitnessProcess) -> None:
    """A correct request is answered 200 with an Ed25519 and an ML-DSA-44 cosignature, which monitors then see."""
    given = shared.add(of(0, 0, 5))

    assert given.status_code == 200
    lines = parse_cosignatures(given.content)
    assert [key.signature_type for key in shared.vkeys] == [SignatureType.COSIGNATURE_V1, SignatureType.ML_DSA_44]
    assert {line.name for line in lines} == {"witness.example/w"}
    shown = shared.get(f"/{sha256(b'log0.example').hexdigest()}/checkpoint")
    opened = open_note(shown.content, [*shared.verifiers, Key("log0.example").verifier()])
    assert (shown.status_code, len(opened.verified)) == (200, 3)
    assert shown.content.endswith(given.content)
    assert all(Cosignature.of(line).timestamp_s > 1_700_000_000 for line in lines)


def test_log_grows_over_http(shared: WitnessProcess) -> None:
    """A log grows step by step, and the same size may be cosigned again."""
    for old, new in ((0, 1), (1, 2), (2, 2), (2, 300), (300, 300), (300, 1000)):
        assert shared.add(of(1, old, new)).status_code == 200


def test_conflict_names_the_size(shared: WitnessProcess) -> None:
    """409 has the size as its whole body, and exactly the specification's content type."""
    shared.add(of(2, 0, 5))

    conflict = shared.add(of(2, 3, 8))

    assert (conflict.status_code, conflict.content) == (409, b"5\n")
    assert conflict.headers["Content-Type"] == "text/x.tlog.size"


def test_statuses_are_those_of_the_specification(shared: WitnessProcess) -> None:
    """Each rule has its own status, and none of the refused requests moves the log."""
    shared.add(of(3, 0, 5))
    right = AddCheckpoint.parse(of(3, 5, 20))
    unknown = request(0, log_of(5), key=OTHER, checkpoint=type(log_of(5).checkpoint())("x", 5, log_of(5).edge.root()))
    stranger = AddCheckpoint(5, right.proof, right.checkpoint.replace(b"log3.example", b"log4.example"))
    wrong = AddCheckpoint(5, right.proof[::-1], right.checkpoint)
    larger = AddCheckpoint(21, (), right.checkpoint)

    assert shared.add(unknown).status_code == 404
    assert shared.add(stranger.to_bytes()).status_code == 403
    assert shared.add(larger.to_bytes()).status_code == 400
    assert shared.add(b"garbage").status_code == 400
    assert shared.add(wrong.to_bytes()).status_code == 422
    assert shared.add(right.to_bytes()).status_code == 200


def test_split_view_is_refused(shared: WitnessProcess) -> None:
    """A second history of a log is not cosigned, whether it is as long as the first, longer or shorter."""
    key = Key("log5.example")
    fork = MemoryLog().append(*(b"another %d" % number for number in range(8)))
    shared.add(of(5, 0, 5))
    for size in (5, 8):
        part = MemoryLog().append(*fork.entries[:size])
        checkpoint = type(part.checkpoint())(key.vkey.name, size, part.edge.root())
        assert shared.add(request(5, part, key=key, checkpoint=checkpoint)).status_code == 422
    assert shared.add(of(5, 5, 9)).status_code == 200


def test_monitors_get_404_for_what_was_never_cosigned(shared: WitnessProcess) -> None:
    """A log without a cosigned checkpoint, an unknown one and a malformed hash are not found."""
    for name in (sha256(b"log39.example").hexdigest(), sha256(b"x").hexdigest(), "0" * 63, HASH.upper()):
        assert shared.get(f"/{name}/checkpoint").status_code == 404


def test_methods_and_paths_are_those_of_the_specification(shared: WitnessProcess) -> None:
    """add-checkpoint is a POST, the checkpoint a GET, and there is nothing else but the keys and the health."""
    assert shared.get("/add-checkpoint").status_code == 405
    assert shared.get("/sign-subtree").status_code == 404
    assert shared.get("/").status_code == 404
    assert shared.get("/healthz").json() == {"status": "ok"}
    assert shared.get("/keys").text == "".join(f"{key}\n" for key in shared.vkeys)


def test_too_long_request_is_refused(shared: WitnessProcess) -> None:
    """A body above the limit is refused, also when its length is not said before."""
    assert shared.add(b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413

    host, port = shared.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as stream:
        stream.sendall(b"POST /add-checkpoint HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with suppress(OSError):  # it may hang up before everything is sent
            for _ in range(8):
                stream.sendall(chunk)
            stream.sendall(b"0\r\n\r\n")
        assert b"413" in stream.recv(64)


def test_racing_logs_get_one_history_cosigned(shared: WitnessProcess) -> None:
    """Of many growths from the same size sent at once, one is cosigned and the others learn its size."""
    key = Key("log6.example")
    shared.add(of(6, 0, 1))
    forks = [MemoryLog().append(*log_of(1).entries, b"fork %d" % number) for number in range(12)]
    bodies = [
        request(1, fork, key=key, checkpoint=type(fork.checkpoint())(key.vkey.name, 2, fork.edge.root()))
        for fork in forks
    ]

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(shared.add, bodies))

    assert sorted(each.status_code for each in answers) == [200] + [409] * 11
    assert {each.content for each in answers if each.status_code == 409} == {b"2\n"}


def test_killed_witness_remembers_what_it_answered(tmp_path: Path) -> None:
    """Killed as soon as its store changes, and at other moments, it forgets nothing answered and goes on."""
    size = answered = 0
    for turn in range(4):
        with witness_process(tmp_path / "home", *WATCHED) as running, ThreadPoolExecutor(1) as pool:
            seen = running.get(f"/{HASH}/checkpoint")
            if size:
                size = read_unverified(seen.content).size
                assert size >= answered
            for _ in range(3 + turn):
                assert running.add(request(size, log_of(size + 3))).status_code == 200
                size = answered = size + 3
            (head,) = (tmp_path / "home" / "witnessed").iterdir()
            before = head.read_bytes()
            sent = pool.submit(running.add, request(size, log_of(size + 3)))
            while head.read_bytes() == before and not sent.done():
                pass
            running.kill()
            if sent.exception(30) is None:
                assert sent.result().status_code == 200
                answered = size + 3
    with witness_process(tmp_path / "home", *WATCHED) as running:
        kept = running.get(f"/{HASH}/checkpoint").content
        opened = open_checkpoint(kept, origin=ORIGIN, log=[LOG.verifier()], witnesses=running.verifiers)
        assert (opened.checkpoint, len(opened.cosignatures)) == (log_of(opened.checkpoint.size).checkpoint(), 2)
        assert opened.checkpoint.size >= answered
        assert running.add(request(opened.checkpoint.size, log_of(100))).status_code == 200


def test_damaged_store_is_no_fault_of_the_log(tmp_path: Path) -> None:
    """When what was cosigned last cannot be read, nothing is cosigned, and the answer is a failure of the witness."""
    with witness_process(tmp_path / "home", *WATCHED) as running:
        running.add(request(0, log_of(5)))
        (head,) = (tmp_path / "home" / "witnessed").iterdir()
        head.write_bytes(bytes(head.stat().st_size))

        assert running.add(request(5, log_of(6))).status_code == 500
        assert running.add(request(0, log_of(6))).status_code == 500
        assert running.get(f"/{HASH}/checkpoint").status_code == 500


def test_second_process_of_a_home_is_refused(tmp_path: Path) -> None:
    """Two witnesses never share a home: the second one ends with a code and a next step."""
    home = tmp_path / "home"
    with witness_process(home, *WATCHED) as running:
        code, printed = answer(command(home, "serve", "--port", "0", *WATCHED))

        assert (code, printed["error"]["code"]) == (Exit.REFUSED, "home.in_use")
        assert running.add(request(0, log_of(5))).status_code == 200


def test_keys_stay_and_are_shown(tmp_path: Path) -> None:
    """A witness has the same keys after a restart, and `witness show` prints them while it runs."""
    home = tmp_path / "home"
    with witness_process(home, *WATCHED) as first:
        code, printed = answer(command(home, "show"))
        assert (code, printed["vkeys"]) == (Exit.OK, [str(key) for key in first.vkeys])
    with witness_process(home, *WATCHED) as second:
        assert second.vkeys == first.vkeys


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ((), "config.invalid"),
        (("--log", "nonsense"), "key.invalid"),
        ((*WATCHED, "--port", "65536"), "config.invalid"),
        ((*WATCHED, "--logs", "missing.txt"), "file.unusable"),
        ((*WATCHED, "--name", "two words"), "key.invalid"),
    ],
)
def test_unusable_options_are_told(tmp_path: Path, options: tuple[str, ...], code: str) -> None:
    """A witness without a log, and one with an option that cannot be used, does not start."""
    _, printed = answer(command(tmp_path / "home", "serve", *options))

    assert printed["error"]["code"] == code


def test_node_collects_from_processes_that_answer_lie_and_are_gone(tmp_path: Path, shared: WitnessProcess) -> None:
    """Two witnesses that answer make the quorum; one that was killed is named; a restored older database is a fork."""
    halted: list[DatabundError] = []
    with (
        witness_process(tmp_path / "home", *WATCHED, "--name", "second.example") as second,
        closing(WitnessCalls(timeout_s=5)) as calls,
    ):
        with witness_process(tmp_path / "gone", *WATCHED, "--name", "gone.example") as gone:
            gone.kill()
        three = ((shared, "a"), (second, "b"), (gone, "c"))
        lines = [f"witness {name} {each.vkeys[1]} {each.url}\n" for each, name in three]
        policy = WitnessPolicy.parse("".join([*lines, "group q 2 a b c\nquorum q\n"]).encode(), verifier)

        def cosigning(stored: StoredLog) -> Cosigning:
            return Cosigning(
                stored.database, origin=ORIGIN, log=[LOG.verifier()], policy=policy, submit=calls.submit,
                newest=calls.newest,
                signed=lambda log: log.checkpoint(), halt=halted.append, clock=lambda: int(time.time()),
            )  # fmt: skip

        stored = StoredLog().grow(5)
        collector = cosigning(stored)
        for size in (5, 40):
            stored.grow(size)
            collector.collect()
        with stored.database.read() as tables:
            kept = tables.cosigned.newest() or b""
        assert open_checkpoint(kept, origin=ORIGIN, log=[LOG.verifier()], policy=policy).checkpoint.size == 40
        collector._pool.shutdown(wait=True)
        states = {each.name: each for each in collector.status().witnesses}
        assert (states["a"].error, states["b"].error) == (None, None)
        assert "does not answer" in (states["c"].error or "")

        restored = cosigning(StoredLog().grow(20))
        restored.collect()
        restored._pool.shutdown(wait=True)
        assert "signed up to size 40, but this database holds 20" in (restored.status().fork or "")
        assert len(halted) == 1
