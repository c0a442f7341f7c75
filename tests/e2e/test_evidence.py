"""Evidence with a node in a process of its own: what a buyer shows, and what is left of it after an erasure."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.test_cli import Shell, serving

PURPOSE = "urn:study:the-knee-of-my-neighbor-jane-doe"


def test_a_buyer_shows_the_evidence_of_a_trade(tmp_path: Path) -> None:
    """One command writes it; it verifies with the node gone, by databund and by the file that databund prints."""
    (tmp_path / "squares.csv").write_text("number,square\n1,1\n2,4\n")
    with serving(tmp_path, "shop") as (_, node):
        operator, buyer = (Shell(tmp_path, home, node["url"]) for home in ("shop", "buyer"))
        address = buyer.ask("key", "new")["address"]
        operator.ask("dataset", "publish", "squares.csv", "--price", "1", "--days", "30")
        operator.ask("credit", "issue", address, "10", "--reference", "wire-1")
        buyer.ask("license", "buy", "squares")
        buyer.ask("dataset", "download", "squares", "--to", "opened", "--purpose", PURPOSE)
        order = buyer.ask("order", "list")[0]["id"]
        buyer.ask("order", "certificate", order)
        shown = buyer.ask("order", "evidence", order[:12], "--to", "shown.zip", "--disclose")
        (commitment,) = buyer.ask("audit", "verify", "shown.zip")["attachments"]
        operator.ask("audit", "erase", commitment, "--reason", "consent_withdrawn", "--yes")
        buyer.ask("order", "evidence", order, "--to", "later.zip", "--disclose")
        printed = buyer.run("audit", "verifier").stdout

    trusted = ("--key", shown["log_key"])
    first, later = (buyer.ask("audit", "verify", name, *trusted) for name in ("shown.zip", "later.zip"))
    assert (first["state"], first["key_was_given"], first["decisions_rerun"]) == ("certified", True, 1)
    assert first["attachments"][commitment].startswith("present")
    assert later["attachments"][commitment].startswith("erased on 20")
    assert PURPOSE.encode().hex() in (tmp_path / "shown.zip").read_bytes().decode("latin-1")
    assert PURPOSE.encode().hex() not in (tmp_path / "later.zip").read_bytes().decode("latin-1")

    (tmp_path / "verify.py").write_text(printed)
    command = [sys.executable, "-I", "verify.py", "later.zip", *trusted]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"Attachment {commitment}: erased on 20" in done.stdout
