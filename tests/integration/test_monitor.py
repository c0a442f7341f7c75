"""The monitor, a process of its own, against logs on a web server: each thing that a log may do wrong is an alarm."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from databund.cli.exits import Exit
from databund.tlog.checkpoints import read_unverified
from databund.tlog.notes import open_note
from tests.stored_logs import KEY, StoredLog, numbered
from tests.unit.tlog_keys import Key, witness_key

COMMAND_S = 60
WITNESS = witness_key("witness.example")
ENTRIES = numbered(700)
FORKED = [*ENTRIES[:100], b"another", *ENTRIES[101:]]


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Say nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """A static web server on a folder; its URL."""
    folder.mkdir(exist_ok=True)
    handler = functools.partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


@dataclass
class Watched:
    """A log on a web server, and the monitor that looks at it."""

    url: str
    folder: Path
    state: Path

    def show(self, log: StoredLog) -> None:
        """Replace what the web server serves."""
        for old in self.folder.iterdir():
            rmtree(old) if old.is_dir() else old.unlink()
        log.write(self.folder)

    def look(self, *more: str, url: str | None = None, key: Key = KEY) -> tuple[int, dict[str, Any]]:
        """Look once: the exit code, and what was seen."""
        done = subprocess.run(
            [*_program(url or self.url, self.state, key), "--once", "--json", *more],
            env=_environment(self.state),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
        )
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    def alarm(self, *more: str, url: str | None = None, key: Key = KEY) -> dict[str, Any]:
        """Look once, and take the alarm of a log that is not what it should be."""
        code, seen = self.look(*more, url=url, key=key)
        assert code == Exit.INTEGRITY_FAILED, seen
        found: dict[str, Any] = seen["alarm"]
        return found


def _program(url: str, state: Path, key: Key) -> list[str]:
    return [sys.executable, "-m", "databund", "audit", "watch", url, "--key", str(key.vkey), "--state", str(state)]


def _environment(home: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABUND_", "XDG_"))}
    return {**kept, "HOME": str(home.parent), "DATABUND_HOME": str(home.parent / "home")}


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A log of 300 entries that was looked at once."""
    with served(tmp_path / "log") as url:
        log = Watched(url, tmp_path / "log", tmp_path / "state")
        log.show(StoredLog.of(ENTRIES[:300]))
        code, seen = log.look()
        assert (code, seen["size"], seen["alarm"]) == (Exit.OK, 300, None)
        yield log


def test_growth_is_consistent(watched: Watched) -> None:
    """A log that grows is followed by consistency proofs built from its own tiles."""
    watched.show(StoredLog.of(ENTRIES))

    code, seen = watched.look()

    assert (code, seen["size"], seen["grown"]) == (Exit.OK, 700, 400)


def test_a_rollback_is_an_alarm(watched: Watched) -> None:
    """A log that shows fewer entries than it did, such as one restored from a backup."""
    watched.show(StoredLog.of(ENTRIES[:200]))

    assert watched.alarm()["kind"] == "rollback"


@pytest.mark.parametrize("size", [300, 700])
def test_a_fork_is_an_alarm_with_evidence(watched: Watched, size: int) -> None:
    """Another root of the same size, or a larger tree that does not begin with the old one; both notes are kept."""
    watched.show(StoredLog.of(FORKED[:size]))

    found = watched.alarm()
    again = watched.alarm()

    notes = [Path(file).read_bytes() for file in found["evidence"]]
    assert (found["kind"], again["evidence"]) == ("fork", found["evidence"])
    assert [read_unverified(note).size for note in notes] == [300, size]
    assert all(open_note(note, [KEY.verifier()]).verified for note in notes)


def test_split_views(watched: Watched, tmp_path: Path) -> None:
    """Two servers show two histories under one key: who has seen one of them finds the other."""
    StoredLog.of(FORKED[:500]).write(tmp_path / "other")
    with served(tmp_path / "other") as other:
        found = watched.alarm(url=other)

    assert (found["kind"], found["code"]) == ("fork", "log.forked")


def test_the_old_view_is_kept_after_a_fork(watched: Watched) -> None:
    """A monitor does not go over to the fork: the honest log is in order again when it comes back."""
    watched.show(StoredLog.of(FORKED))
    watched.alarm()
    watched.show(StoredLog.of(ENTRIES[:400]))

    assert watched.look()[0] == Exit.OK


def test_an_unknown_key_is_an_alarm(watched: Watched) -> None:
    """A checkpoint under the right origin that another key signed."""
    other = StoredLog.of(ENTRIES[:301], key=Key("log.example/stolen"))
    stolen = other.resources["checkpoint"].replace(b"log.example/stolen\n", f"{KEY.vkey.name}\n".encode(), 1)
    watched.show(StoredLog(other.resources | {"checkpoint": stolen}))

    assert watched.alarm()["kind"] == "unknown key"


def test_a_wrong_origin_is_an_alarm(watched: Watched) -> None:
    """The checkpoint of another log."""
    watched.show(StoredLog.of(ENTRIES[:301], key=Key("log.example/other")))

    assert watched.alarm()["kind"] == "wrong origin"


def test_a_forged_checkpoint_is_an_alarm(watched: Watched) -> None:
    """A checkpoint whose size was edited."""
    log = StoredLog.of(ENTRIES)
    log.resources["checkpoint"] = log.resources["checkpoint"].replace(b"\n700\n", b"\n701\n")
    watched.show(log)

    assert watched.alarm()["kind"] == "forged"


@pytest.mark.parametrize("path", ["tile/1/000.p/2", "tile/0/001"])
def test_tiles_that_prove_nothing_are_an_alarm(watched: Watched, path: str) -> None:
    """A log that cannot show that it grew is broken, which is not yet a fork."""
    log = StoredLog.of(ENTRIES)
    log.resources[path] = bytes(len(log.resources[path]))
    watched.show(log)

    assert watched.alarm()["kind"] == "broken"


def test_changed_entries_are_an_alarm(watched: Watched) -> None:
    """With --entries, what a log serves as its entries has to hash to what it signed."""
    assert watched.look("--entries")[0] == Exit.OK
    log = StoredLog.of(ENTRIES)
    log.resources["tile/entries/002.p/188"] = log.resources["tile/entries/002.p/188"].replace(
        b"entry 600", b"entry 6oo"
    )
    watched.show(log)

    assert watched.look()[0] == Exit.OK
    assert watched.alarm("--entries")["kind"] == "broken"


def test_a_stale_log_is_an_alarm(watched: Watched) -> None:
    """A log that neither grows nor is cosigned again for longer than --stale."""
    (watched.state / "alive.json").write_text(json.dumps({"alive": int(time.time()) - 7200}))

    code, seen = watched.look("--stale", "1h")

    assert (code, seen["alarm"]["kind"], seen["alarm"]["code"]) == (Exit.UNAVAILABLE, "stale", "log.stale")
    assert watched.look("--stale", "3h")[0] == Exit.OK


def test_a_newer_cosignature_is_a_sign_of_life(watched: Watched, tmp_path: Path) -> None:
    """A log without new entries is alive while its witnesses say so."""
    policy = tmp_path / "policy"
    policy.write_text(f"witness w {WITNESS.vkey}\nquorum w\n")
    (watched.state / "alive.json").write_text(json.dumps({"alive": int(time.time()) - 7200}))
    watched.show(StoredLog.of(ENTRIES[:300], witnesses=[WITNESS], at_s=int(time.time()) - 60))

    code, seen = watched.look("--stale", "1h", "--policy", str(policy))

    assert (code, seen["cosigned_by"]) == (Exit.OK, ["witness.example"])


def test_a_lost_quorum_is_an_alarm(watched: Watched, tmp_path: Path) -> None:
    """A checkpoint with fewer cosignatures than the policy asks for."""
    policy = tmp_path / "policy"
    policy.write_text(f"witness w {WITNESS.vkey}\nquorum w\n")

    assert watched.alarm("--policy", str(policy))["kind"] == "quorum lost"


def test_a_silent_log_is_an_alarm(watched: Watched) -> None:
    """A log that does not answer, after it did."""
    with served(watched.folder) as gone:
        pass
    (watched.state / "place").write_text(f"{watched.url}\n{gone}\n")

    code, seen = watched.look()

    assert (code, seen["alarm"]["kind"]) == (Exit.UNAVAILABLE, "unreachable")


def test_a_monitor_that_runs_says_what_happens(watched: Watched) -> None:
    """Without --once each alarm is told once, and that all is well again; it runs until it is stopped."""
    process = subprocess.Popen(
        [*_program(watched.url, watched.state, KEY), "--every", "1s", "--json"],
        env=_environment(watched.state),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        watched.show(StoredLog.of(FORKED))
        alarm = json.loads(process.stdout.readline())
        watched.show(StoredLog.of(ENTRIES))
        calm = json.loads(process.stdout.readline())
    finally:
        process.send_signal(signal.SIGTERM)  # not SIGINT, which a shell's background jobs ignore
        try:
            process.wait(COMMAND_S)
        finally:
            process.kill()
            process.stdout.close()

    assert (first["size"], alarm["alarm"]["kind"], calm["alarm"], calm["grown"]) == (300, "fork", None, 400)
    assert process.returncode == Exit.INTERRUPTED
