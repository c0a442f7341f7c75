"""An auditor at the command line, with nothing but the URL of a node that goes on working."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from databund.cli.exits import Exit
from tests.e2e.test_cli import Shell, environment, serving
from tests.integration.test_monitor import served


@pytest.fixture(scope="module")
def shells(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Shell, Shell]]:
    """The operator of a node who has published something, and an auditor."""
    folder = tmp_path_factory.mktemp("audit")
    (folder / "squares.csv").write_text("number,square\n1,1\n")
    with serving(folder, "shop") as (_, node):
        operator, auditor = (Shell(folder, home, node["url"]) for home in ("shop", "auditor"))
        operator.ask("dataset", "publish", "squares.csv", "--title", "Squares", "--price", "1")
        yield operator, auditor


def test_pages_follow_each_other(shells: tuple[Shell, Shell]) -> None:
    """A page says after which index the next one goes on; together they are the whole log, entry by entry."""
    _, auditor = shells
    first = auditor.ask("audit", "log", "--limit", "1")
    rest = auditor.ask("audit", "log", "--after", str(first["after"]))

    whole = auditor.ask("audit", "log")
    assert first["entries"] + rest["entries"] == whole["entries"]
    assert (whole["size"], whole["after"]) == (len(whole["entries"]), None)


def test_a_search_that_finds_nothing_says_so(shells: tuple[Shell, Shell]) -> None:
    """No entry of a kind is an answer; an unknown id or kind is a mistake."""
    _, auditor = shells

    assert "No entry is like that." in auditor.run("audit", "log", "--kind", "order.placed").stdout
    assert auditor.fail(Exit.NOT_FOUND, "audit", "log", "--subject", "0123456789")["code"] == "thing.not_found"
    assert "order.placed" in auditor.fail(Exit.INVALID_INPUT, "audit", "log", "--kind", "order")["fix"]
    assert auditor.fail(Exit.INVALID_INPUT, "audit", "log", "--since", "yesterday")["code"] == "input.invalid"


def test_new_entries_are_followed(shells: tuple[Shell, Shell]) -> None:
    """Follow mode prints the newest entries, then new ones as they are written."""
    operator, auditor = shells
    process = subprocess.Popen(
        [sys.executable, "-m", "databund", "audit", "log", "--follow", "--json", "--kind", "dataset.registered"],
        cwd=auditor.folder,
        env=environment(auditor.folder, {"DATABUND_HOME": "follower", "DATABUND_NODE": auditor.url}),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        first = json.loads(process.stdout.readline())
        operator.ask("dataset", "publish", "squares.csv", "--name", "others", "--title", "Others", "--price", "1")
        second = json.loads(process.stdout.readline())
    finally:
        process.terminate()
        process.wait(60)
        process.stdout.close()

    assert (first["index"], first["entry"]["kind"], second["entry"]["kind"]) == (0, *["dataset.registered"] * 2)
    assert second["index"] > first["index"]


def test_a_folder_is_hosted_checked_and_watched_by_others(shells: tuple[Shell, Shell]) -> None:
    """An export into a folder, twice, is a static log: verified, read, checked and watched over plain HTTP."""
    operator, auditor = shells
    auditor.ask("audit", "export", "public/")
    operator.ask("dataset", "publish", "squares.csv", "--name", "more", "--title", "More", "--price", "1")
    exported = auditor.ask("audit", "export", "public/")
    assert auditor.ask("audit", "verify", "public", "--key", exported["log_key"])["entries"] == exported["entries"]

    with served(Path(auditor.folder) / "public") as url:
        key = ("--key", exported["log_key"])
        assert auditor.ask("audit", "fsck", url, *key)["entries"] == exported["entries"]
        assert auditor.ask("audit", "log", "--from", url, *key)["size"] == exported["entries"]
        assert auditor.ask("audit", "report", "--from", url, *key)["entries"] == exported["entries"]
        assert auditor.ask("audit", "watch", url, "--once", "--entries", *key)["size"] == exported["entries"]


def test_a_changed_export_is_not_read(shells: tuple[Shell, Shell]) -> None:
    """A copy that somebody edited is refused before a line of it is shown, and fsck says where."""
    _, auditor = shells
    exported = auditor.ask("audit", "export", "edited/")
    bundle = next((Path(auditor.folder) / "edited" / "tile" / "entries").glob("000.p/*"))
    bundle.write_bytes(bundle.read_bytes().replace(b"offer.listed", b"offer.lifted", 1))

    assert auditor.fail(Exit.INTEGRITY_FAILED, "audit", "log", "--from", "edited")["code"] == "log.damaged"
    done = auditor.run("audit", "fsck", "edited", "--json")
    fault = json.loads(done.stdout)["fault"]
    assert (fault["path"], fault["entry"]) == (f"tile/entries/000.p/{exported['entries']}", 1)
