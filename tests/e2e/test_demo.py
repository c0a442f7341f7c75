"""The demo, as a stranger runs it: in a process of its own, in an empty folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from databund.errors import IntegrityFailed, ProofInvalid
from databund.sdk import audit


def _demo(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "databund", "demo", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, object], str]:
    """The folder that the demo left, its facts, and its story."""
    folder = tmp_path_factory.mktemp("demo")
    done = _demo(folder, "--json")
    assert done.returncode == 0, done.stderr
    return folder / "databund-demo", json.loads(done.stdout), done.stderr


def test_the_demo_tells_six_steps(told: tuple[Path, dict[str, object], str]) -> None:
    """Every step is told in order, in English and Chinese."""
    _, _, story = told

    places = [story.index(name) for name in ("登记", "挂牌", "交易", "交付", "清结算", "凭证")]

    assert places == sorted(places)


def test_what_was_paid_adds_up(told: tuple[Path, dict[str, object], str]) -> None:
    """What the accounts received is what the consumer paid."""
    _, facts, _ = told

    assert sum(int(payment["amount"]) for payment in facts["settle"]["payments"]) == int(facts["list"]["price"])


def test_the_bundle_verifies_and_its_forgery_does_not(told: tuple[Path, dict[str, object], str]) -> None:
    """The files that the demo leaves prove what it told, without any node."""
    folder, facts, _ = told

    report = audit.verify(folder / "audit.zip", key=facts["verify"]["log_key"])

    assert report.root == facts["verify"]["root"]
    with pytest.raises(IntegrityFailed):
        audit.verify(folder / "forged.zip", key=facts["verify"]["log_key"])


def test_a_bundle_of_another_log_is_refused(told: tuple[Path, dict[str, object], str]) -> None:
    """A key from a trusted place decides whose log it is, not the bundle."""
    folder, facts, _ = told
    key = str(facts["verify"]["log_key"]).replace("databund.local/", "databund.local/x")

    with pytest.raises(ProofInvalid):
        audit.verify(folder / "audit.zip", key=key)


def test_the_demo_trades_a_folder_of_ones_own(tmp_path: Path) -> None:
    """Any folder can be traded; names with blanks and other scripts survive, and nothing is overwritten."""
    data = tmp_path / "my data"
    (data / "子目录").mkdir(parents=True)
    (data / "a file.txt").write_text("one")
    (data / "子目录" / "二.json").write_text("{}")

    first, second = (_demo(tmp_path, "--data", str(data), "--json") for _ in range(2))

    assert (first.returncode, second.returncode) == (0, 0), first.stderr
    assert json.loads(first.stdout)["deliver"]["files_equal"] == 2
    assert (tmp_path / "databund-demo" / "consumer" / "data" / "子目录" / "二.json").read_text() == "{}"
    assert (tmp_path / "databund-demo-2").is_dir()


def test_data_that_is_not_there_is_named(tmp_path: Path) -> None:
    """A wrong path ends with a clear error, an exit code of its own, and nothing left behind."""
    done = _demo(tmp_path, "--data", "absent.csv")

    assert done.returncode == 2
    assert "absent.csv" in done.stderr
    assert list(tmp_path.iterdir()) == []
