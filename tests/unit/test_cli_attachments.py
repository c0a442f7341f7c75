"""Attachments on the command line: what is asked before something is erased for good."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import get_args

import pytest

from databund.cli.audit_attachment import Reason
from databund.cli.exits import Exit
from databund.cli.program import run
from databund.core.attachments import ErasureReason

COMMITMENT = "0x" + "5f" * 32
ERASE = ["audit", "erase", COMMITMENT, "--reason", "mistake", "--node", "http://127.0.0.1:9", "--json"]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; no setting, keyring or terminal of the person who runs the tests counts."""
    monkeypatch.setenv("DATABUND_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("DATABUND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    for name in ("DATABUND_PASSPHRASE", "DATABUND_NODE", "DATABUND_KEY", "DATABUND_PROFILE", "DATABUND_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def typed(monkeypatch: pytest.MonkeyPatch, text: str, *, terminal: bool = True) -> None:
    """A person at a terminal who types this; or a file of it."""
    stream = io.StringIO(text)
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", stream)


def error(capsys: pytest.CaptureFixture[str], words: list[str]) -> tuple[int, dict[str, str]]:
    """How a command fails."""
    code = run(words)
    found: dict[str, str] = json.loads(capsys.readouterr().out)["error"]
    return code, found


@pytest.mark.parametrize("text", ["", "no\n", "y\n", "yes, but\n"])
def test_only_yes_erases(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str) -> None:
    """Whoever writes anything but yes erases nothing."""
    typed(monkeypatch, text)
    code, found = error(capsys, ERASE)
    assert (code, found["what"]) == (Exit.INVALID_INPUT, "The erasure was not confirmed; nothing was erased.")


def test_nobody_to_ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal nothing is erased unless --yes is given, even if yes comes from a file."""
    typed(monkeypatch, "yes\n", terminal=False)
    code, found = error(capsys, ERASE)
    assert (code, found["fix"]) == (Exit.INVALID_INPUT, "Add --yes if you are sure.")


@pytest.mark.parametrize(("text", "words"), [("yes\n", ERASE), ("", [*ERASE, "--yes"])])
def test_a_confirmed_erasure_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], text: str, words: list[str]
) -> None:
    """After yes, or with --yes, the next question is whose key signs; there is none here."""
    typed(monkeypatch, text)
    code, found = error(capsys, words)
    assert (code, found["what"][:15]) == (Exit.NOT_FOUND, "There is no key")


@pytest.mark.parametrize("words", [[*ERASE[:4], "Jane asked"], ERASE[:3]], ids=["free text", "none"])
def test_a_reason_is_one_of_a_list(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    """A reason in one's own words, or none, is refused before anything else."""
    typed(monkeypatch, "yes\n")
    code, found = error(capsys, [*words, "--yes", "--json"])
    assert (code, "reason" in found["what"].lower()) == (Exit.INVALID_INPUT, True)


def test_the_command_line_knows_every_reason() -> None:
    """What the command takes is what the log takes."""
    assert get_args(Reason) == tuple(ErasureReason)
