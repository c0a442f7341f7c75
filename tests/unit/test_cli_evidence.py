"""Evidence on the command line, and the page that describes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from databund.cli.exits import Exit
from databund.cli.program import run
from databund.core import evidence
from databund.core.archives import unpack
from databund.sdk.evidence import standalone_verifier
from tests.unit.trades import WITNESS, Trade

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "evidence.md"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests counts."""
    monkeypatch.setenv("DATABUND_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("DATABUND_HOME", str(tmp_path / "home"))


@pytest.fixture
def trade() -> Trade:
    """A certified trade under a cosigned checkpoint."""
    return Trade().delivered().certified().cosigned()


@pytest.fixture
def file(trade: Trade, tmp_path: Path) -> Path:
    """Its evidence."""
    written = tmp_path / "evidence.zip"
    written.write_bytes(trade.bundle())
    return written


def test_evidence_is_verified(trade: Trade, file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command that verifies exported logs verifies evidence, and says what it is about."""
    code = run(["audit", "verify", str(file), "--key", str(trade.vkey), "--json"])

    found = json.loads(capsys.readouterr().out)
    assert code == Exit.OK
    assert (found["order"], found["state"], found["key_was_given"]) == (str(trade.id), "certified", True)


def test_what_is_not_in_the_file_is_said(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A person reads whose word the key is, and what to compare with the chain."""
    assert run(["audit", "verify", str(file)]) == Exit.OK

    output = capsys.readouterr()
    assert "The key was the file's own." in output.err
    assert "Compare its hash with a node of the chain." in output.out


def test_a_witness_policy_is_asked_for(file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With a policy, the witnesses it names have to have cosigned."""
    policy = tmp_path / "witnesses.txt"
    policy.write_text(f"witness w {WITNESS.vkey}\nquorum w\n")

    assert run(["audit", "verify", str(file), "--policy", str(policy), "--json"]) == Exit.OK
    assert json.loads(capsys.readouterr().out)["cosignatures"] == 1


def test_damaged_evidence_is_refused(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One byte less, and the exit code is that of broken integrity."""
    file.write_bytes(file.read_bytes()[:-1])

    assert run(["audit", "verify", str(file), "--json"]) == Exit.INTEGRITY_FAILED
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "log.proof_invalid"


def test_the_verifier_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """What is printed is the file of the package, byte for byte."""
    assert run(["audit", "verifier"]) == Exit.OK

    assert capsys.readouterr().out.encode() == standalone_verifier()


def test_the_page_names_every_member(trade: Trade) -> None:
    """The reference page describes each kind of member, and no other file."""
    trade.attached()
    kinds = {
        name.replace(str(place), "<index>")
        for place in range(10)
        for name in unpack(trade.bundle(disclose=True))
        if f"/{place}." in name or "/" not in name
    } | {"attachments/<hash>.json"}

    rows = [line.split("|")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    named = {word for row in rows for word in row.split("`")[1::2]}

    assert {each for each in named if " " not in each} == kinds
    assert evidence.PREDICATE_TYPE in PAGE.read_text()
