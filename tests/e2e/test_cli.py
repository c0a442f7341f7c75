"""The command line against a node of its own: two homes, two processes, and nothing shared but a URL."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from databund.cli.exits import Exit

READY_S = 60
COMMAND_S = 60


@dataclass(frozen=True)
class Shell:
    """Runs commands in a folder, as one participant: ``home`` is a folder in it, ``url`` the node."""

    folder: Path
    home: str
    url: str

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "databund", *words],
            cwd=self.folder,
            env=environment(self.folder, {"DATABUND_HOME": self.home, "DATABUND_NODE": self.url}),
            capture_output=True,
            text=True,
            timeout=COMMAND_S,
            stdin=subprocess.DEVNULL,
        )

    def ask(self, *words: str) -> Any:
        """The JSON answer of a command that succeeds."""
        done = self.run(*words, "--json")
        assert done.returncode == Exit.OK, done.stdout + done.stderr
        return json.loads(done.stdout)

    def fail(self, exit_code: Exit, *words: str) -> dict[str, str]:
        """The error of a command that fails with this exit code."""
        done = self.run(*words, "--json")
        assert done.returncode == exit_code, done.stdout + done.stderr
        error: dict[str, str] = json.loads(done.stdout)["error"]
        return error


def environment(folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """An environment without any setting of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABUND_", "XDG_"))}
    return {**kept, "HOME": str(folder), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", **settings}


@contextlib.contextmanager
def serving(folder: Path, home: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """A node in a process of its own, and what it said when it was ready."""
    command = [sys.executable, "-m", "databund", "serve", "--home", home, "--port", "0", "--json"]
    with (folder / f"{home}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, env=environment(folder, {}), stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (folder / f"{home}.log").read_text()
        yield process, json.loads(line)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(READY_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True)
class Market:
    """A node with one dataset on offer, its operator, and a buyer with money."""

    node: dict[str, Any]
    operator: Shell
    buyer: Shell
    published: dict[str, Any]


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Market]:
    """One node for the tests of this module."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "squares.csv").write_text("number,square\n" + "".join(f"{n},{n * n}\n" for n in range(1000)))
    with serving(folder, "shop") as (_, node):
        operator, buyer = (Shell(folder, home, node["url"]) for home in ("shop", "buyer"))
        address = buyer.ask("key", "new")["address"]
        published = operator.ask(
            *("dataset", "publish", "squares.csv", "--title", "Squares 平方数"),
            *("--price", "12.50", "--days", "30", "--purpose", "research"),
        )
        operator.ask("credit", "issue", address, "100", "--reference", "wire-1")
        yield Market(node, operator, buyer, published)


def test_a_whole_trade(market: Market) -> None:
    """Search, buy, download, certify and verify by URL alone; what arrives is what was published, byte for byte."""
    buyer, folder = market.buyer, market.buyer.folder
    (found,) = buyer.ask("dataset", "search", "平方数")
    assert found["dataset"]["name"] == "squares"

    bought = buyer.ask("license", "buy", market.published["offer"]["id"][:10], "--max-price", "12.50")
    downloaded = buyer.ask("dataset", "download", "squares", "--to", "data", "--purpose", "research")
    issued = buyer.ask("order", "certificate", bought["order"]["id"][:12])
    buyer.ask("audit", "export", "log.zip")
    report = buyer.ask("audit", "verify", "log.zip", "--key", market.node["log_key"])

    assert (folder / downloaded["files"][0]).read_bytes() == (folder / "squares.csv").read_bytes()
    assert sum(int(payment["amount"]) for payment in issued["certificate"]["payments"]) == int(bought["order"]["price"])
    assert issued["certificate"]["chain_transaction"] == bought["order"]["chain_transaction"]
    assert report["orders"][bought["order"]["id"]] == "certified"
    assert report["key_was_given"] is True


def test_a_deposit_is_credited_once(market: Market) -> None:
    """The same reference, given twice, credits once."""
    address = "0x00000000000000000000000000000000000000A1"
    for _ in range(2):
        market.operator.ask("credit", "issue", address.lower(), "7", "--reference", "wire-7")

    assert market.buyer.ask("credit", "show", address.lower())["formatted"] == "7.00 CREDIT"


def test_only_the_operator_credits(market: Market) -> None:
    """A buyer who credits itself is refused."""
    address = market.buyer.ask("key", "list")[0]["address"]

    assert market.buyer.fail(Exit.DENIED, "credit", "issue", address, "1")["code"] == "owner.required"


def test_a_forged_log_is_rejected(market: Market, tmp_path: Path) -> None:
    """A log with one changed byte does not verify; nor does a whole one under another key."""
    market.buyer.ask("audit", "export", str(tmp_path / "log.zip"))
    with zipfile.ZipFile(tmp_path / "log.zip") as whole, zipfile.ZipFile(tmp_path / "forged.zip", "w") as forged:
        for member in whole.namelist():
            content = bytearray(whole.read(member))
            if member.startswith("tile/entries/"):
                content[len(content) // 2] ^= 1
            forged.writestr(member, bytes(content))
    name, number, _ = market.node["log_key"].split("+", 2)

    market.buyer.fail(Exit.INTEGRITY_FAILED, "audit", "verify", str(tmp_path / "forged.zip"))
    other = f"{name}+{number}+ARUGkEPada7aprPMSGLmXT/tR/GJFsB1MWNcgOzm/kZS"
    market.buyer.fail(Exit.INTEGRITY_FAILED, "audit", "verify", str(tmp_path / "log.zip"), "--key", other)


def test_a_log_verified_by_its_own_key_says_so(market: Market, tmp_path: Path) -> None:
    """Without --key the answer and a note say that whose log it is was not checked."""
    market.buyer.ask("audit", "export", str(tmp_path / "log.zip"))

    done = market.buyer.run("audit", "verify", str(tmp_path / "log.zip"))

    assert done.returncode == Exit.OK
    assert "was not checked" in done.stdout
    assert "--key" in done.stderr


def test_the_ledger_replays_while_the_node_runs(market: Market) -> None:
    """Replaying the chain of a running node gives its state."""
    report = market.operator.ask("ledger", "verify")

    assert report["blocks"] > 0
    assert report["state_root"].startswith("0x")


def test_a_healthy_node_passes_the_doctor(market: Market) -> None:
    """The check-up of both homes finds nothing that failed, and the node's clock right."""
    for shell in (market.operator, market.buyer):
        report = shell.ask("doctor")
        assert report["ok"], report
        assert [check["state"] for check in report["checks"] if check["check"] in ("node", "clock")] == ["ok"] * 3


def test_terms_are_shown_before_they_are_signed(market: Market) -> None:
    """Lists shorten ids to what can be typed; pages show them whole, with price, term and what is prohibited."""
    offer = market.published["offer"]["id"]

    listed = market.buyer.run("offer", "list").stdout
    shown = market.buyer.run("offer", "show", offer[:8]).stdout

    assert offer[:10] in listed
    assert offer not in listed
    for expected in (offer, "12.50 CREDIT", "30 days", "research", "train, distribute"):
        assert expected in shown


def test_a_purpose_that_the_terms_lack_is_denied(market: Market) -> None:
    """A license is bought, but the data is not delivered for another purpose than the terms permit."""
    market.buyer.ask("license", "buy", "squares")

    error = market.buyer.fail(Exit.DENIED, "dataset", "download", "squares", "--to", "ads", "--purpose", "advertising")

    assert error["code"] == "policy.denied"
    assert not (market.buyer.folder / "ads").exists() or not any((market.buyer.folder / "ads").iterdir())


def test_a_name_with_two_offers_is_not_bought(market: Market) -> None:
    """A name that could mean two offers is answered with both; a withdrawn one no longer counts."""
    second = market.operator.ask("offer", "create", "squares", "--free")["id"]

    error = market.buyer.fail(Exit.INVALID_INPUT, "license", "buy", "squares")
    assert second[:10] in error["what"]
    assert market.published["offer"]["id"][:10] in error["what"]

    market.operator.ask("offer", "withdraw", second[:10])
    assert second not in [offer["id"] for offer in market.buyer.ask("offer", "list")]
    assert second in [offer["id"] for offer in market.buyer.ask("offer", "list", "--all")]


def test_a_transferable_license_changes_hands(market: Market) -> None:
    """A license that may be transferred is the other account's afterwards, who can download with it."""
    shell = Shell(market.buyer.folder, "friend", market.node["url"])
    friend = shell.ask("key", "new")["address"]
    made = market.operator.ask(
        "dataset", "publish", "squares.csv", "--name", "gift", "--title", "A gift", "--free", "--transferable"
    )
    offer = made["offer"]["id"]
    market.buyer.ask("license", "buy", offer)

    market.buyer.ask("license", "transfer", offer[:10], friend)

    assert shell.ask("license", "show", offer)["license"]["units"] == 1
    assert shell.ask("dataset", "download", offer, "--to", "gift")["files"] == ["gift/squares.csv"]
    market.buyer.fail(Exit.DENIED, "dataset", "download", offer, "--to", "mine")


@pytest.mark.parametrize(
    ("exit_code", "words", "code"),
    [
        (Exit.INVALID_INPUT, ["dataset", "publish", "nothing.csv"], "file.unusable"),
        (Exit.INVALID_INPUT, ["dataset", "publish", "squares.csv", "--price", "0"], "amount.invalid"),
        (Exit.INVALID_INPUT, ["dataset", "publish", "squares.csv", "--price", "-1"], "amount.invalid"),
        (Exit.INVALID_INPUT, ["dataset", "publish", "squares.csv", "--free", "--days", "0"], "offer.invalid"),
        (Exit.INVALID_INPUT, ["dataset", "publish", "squares.csv", "--free", "--place", "Mars"], "policy.invalid"),
        (Exit.INVALID_INPUT, ["license", "buy", "squares", "--units", "0"], "amount.invalid"),
        (Exit.INVALID_INPUT, ["license", "buy", "0x12"], "identifier.invalid"),
        (Exit.NOT_FOUND, ["license", "buy", "0xffffff"], "thing.not_found"),
        (Exit.INVALID_INPUT, ["license", "buy", "squares", "--max-price", "1"], "amount.invalid"),
        (Exit.NOT_FOUND, ["order", "show", "0xffffff"], "thing.not_found"),
        (Exit.UNAVAILABLE, ["dataset", "list", "--node", "http://127.0.0.1:1"], "node.unreachable"),
    ],
)
def test_bad_words_are_refused(market: Market, exit_code: Exit, words: list[str], code: str) -> None:
    """What cannot be done ends with the exit code of its kind, a code, and what to do."""
    error = market.buyer.fail(exit_code, *words)

    assert error["code"] == code
    assert error["fix"]


def test_a_refused_purchase_costs_nothing(market: Market) -> None:
    """Who cannot pay for all units pays for none of them."""
    before = market.buyer.ask("credit", "show")["balance"]

    error = market.buyer.fail(Exit.REFUSED, "license", "buy", market.published["offer"]["id"], "--units", "100")

    assert error["code"] == "payment.insufficient_funds"
    assert market.buyer.ask("credit", "show")["balance"] == before


def test_two_nodes_on_one_home(market: Market) -> None:
    """A second node on the same home is refused while the first runs."""
    assert market.operator.fail(Exit.REFUSED, "serve", "--port", "0")["code"] == "home.in_use"


def test_a_home_of_a_newer_version(market: Market, tmp_path: Path) -> None:
    """A home that a newer version wrote is left alone."""
    (tmp_path / "home.json").write_text('{"format": 99}')

    error = market.buyer.fail(Exit.REFUSED, "key", "new", "--home", str(tmp_path))

    assert error["code"] == "home.too_new"
    assert [path.name for path in tmp_path.iterdir()] == ["home.json"]


def test_a_node_ends_when_it_is_told(tmp_path: Path) -> None:
    """SIGTERM and Ctrl-C end a node with 0; the next one on the home is the same exchange."""
    told = []
    for number in (signal.SIGTERM, signal.SIGINT):
        with serving(tmp_path, "shop") as (process, node):
            told.append((node["operator"], node["log_key"]))
            process.send_signal(number)
            assert process.wait(READY_S) == Exit.OK

    assert told[0] == told[1]
