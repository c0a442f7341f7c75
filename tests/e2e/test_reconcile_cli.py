"""``databund audit reconcile`` against a node in a process of its own."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from databund import bootstrap, config
from databund.chain.connection import IMMEDIATE, Connection, http_provider
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.cli.exits import Exit
from databund.core.ids import Address
from tests.e2e.test_cli import Shell, serving


def test_log_and_chain_are_compared(tmp_path: Path) -> None:
    """After a trade both are complete, live and from a copy; an anchor that is not the log's is a gap, and exit 6."""
    (tmp_path / "squares.csv").write_text("number,square\n2,4\n")
    with serving(tmp_path, "shop") as (_, node):
        operator, buyer = (Shell(tmp_path, home, node["url"]) for home in ("shop", "buyer"))
        address = buyer.ask("key", "new")["address"]
        published = operator.ask("dataset", "publish", "squares.csv", "--title", "Squares", "--price", "1")
        operator.ask("credit", "issue", address, "10", "--reference", "wire-1")
        bought = buyer.ask("license", "buy", published["offer"]["id"])["order"]["id"]
        buyer.ask("dataset", "download", "squares", "--to", "data")
        buyer.ask("order", "certificate", bought)

        live = buyer.ask("audit", "reconcile")
        buyer.ask("audit", "export", "log.zip")
        copy = buyer.ask("audit", "reconcile", "--from", "log.zip", "--chain", f"{node['url']}/rpc")
        for found in (live, copy):
            assert (found["complete"], found["gaps"]) == (True, [])
            assert [found["counted"][name] for name in ("sales", "orders", "settlements")] == [1, 1, 1]

        _anchor_falsely(tmp_path, node["url"])
        done = buyer.run("audit", "reconcile", "--json")

        assert done.returncode == Exit.INTEGRITY_FAILED, done.stdout + done.stderr
        answer = json.loads(done.stdout)
        assert (answer["complete"], [gap["kind"] for gap in answer["gaps"]]) == (False, ["anchor.too_large"])
        told = buyer.run("audit", "reconcile")
        assert told.returncode == Exit.INTEGRITY_FAILED
        assert told.stdout.startswith("Not complete: 1 gap between log and chain.")


def _anchor_falsely(folder: Path, url: str) -> None:
    """Have the operator's key anchor a log that is not there."""
    settings = config.load({"home": folder / "shop"}, environment={"DATABUND_CONFIG": str(folder / "none")})
    operator = bootstrap.open_keystore(settings, lambda _: None).load(settings.key)
    connection = Connection.open(http_provider(f"{url}/rpc"), finality=IMMEDIATE)
    deployment = json.loads((folder / "shop" / "deployments" / f"{connection.chain_id}.json").read_text())
    origin = hashlib.sha256(f"databund.local/{str(operator.address).lower()}".encode()).digest()
    data = SmartContract.load("CheckpointAnchor").call("anchor", origin, 2**40, b"\7" * 32)
    sender, anchor = Sender(connection, operator), Address.parse(deployment["checkpoint_anchor"])
    gas, nonce = sender.try_call(anchor, data), connection.included(operator.address)
    assert sender.settle(sender.sign(anchor, data, gas=gas, nonce=nonce), timeout_s=30) is not None
