"""Erasing with a node in a process of its own: what people see, and what nobody finds afterwards."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from databund.cli.exits import Exit
from tests.e2e.test_cli import Shell, serving

PURPOSE = "urn:study:the-knee-of-my-neighbor-jane-doe"


def kept(folder: Path) -> bytes:
    """Every byte in the operator's home, and every line the node printed."""
    paths = [folder / "shop.log", *(path for path in (folder / "shop").rglob("*") if path.is_file())]
    return b"\n".join(path.read_bytes() for path in paths)


def secrets(folder: Path) -> tuple[str, list[bytes]]:
    """The one attachment's commitment; its salt, its key, and the beginning of what is sealed."""
    connection = sqlite3.connect(f"file:{folder}/shop/databund.db?mode=ro", uri=True)
    commitment, *found = connection.execute("SELECT commitment, salt, key, sealed FROM attachments").fetchone()
    connection.close()
    return "0x" + commitment.hex(), [bytes(secret)[:64] for secret in found]


def test_a_person_asks_to_be_forgotten(tmp_path: Path) -> None:
    """A purpose is kept apart, shown to its author, erased by the operator, and the log still verifies."""
    (tmp_path / "squares.csv").write_text("number,square\n1,1\n2,4\n")
    with serving(tmp_path, "shop") as (_, node):
        operator, buyer = (Shell(tmp_path, home, node["url"]) for home in ("shop", "buyer"))
        address = buyer.ask("key", "new")["address"]
        operator.ask("dataset", "publish", "squares.csv", "--price", "1", "--days", "30")
        operator.ask("credit", "issue", address, "10", "--reference", "wire-1")
        buyer.ask("license", "buy", "squares")
        buyer.ask("dataset", "download", "squares", "--to", "opened", "--purpose", PURPOSE)
        commitment, hidden = secrets(tmp_path)
        assert PURPOSE.encode() not in kept(tmp_path)
        assert [secret in kept(tmp_path) for secret in hidden] == [True] * 3

        shown = buyer.run("audit", "attachment", commitment)
        assert PURPOSE in shown.stdout
        erase = ("audit", "erase", commitment, "--reason", "consent_withdrawn", "--yes")
        assert buyer.fail(Exit.DENIED, *erase)["code"] == "owner.required"
        assert operator.ask(*erase) == operator.ask(*erase)

        assert "was erased on 20" in buyer.fail(Exit.NOT_FOUND, "audit", "attachment", commitment)["what"]
        assert [secret in kept(tmp_path) for secret in hidden] == [False] * 3
        buyer.ask("audit", "export", "log.zip")
    assert buyer.ask("audit", "verify", "log.zip")["kinds"]["key.destroyed"] == 1
