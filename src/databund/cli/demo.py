"""The demo: three parties with fresh keys make one trade in six steps, and everything about it is verified offline.

The node is a process of its own and the parties talk to it over HTTP, exactly as they would anywhere else. What is
left behind is the homes of the three, which every other command can open.
"""

from __future__ import annotations

import json as json_format
import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from databund.cli.screen import Screen
from databund.core.orders import Step
from databund.errors import FileUnusable, IntegrityFailed, NodeUnreachable

if TYPE_CHECKING:
    from databund.core.messages import OfferView
    from databund.core.orders import Order
    from databund.crypto.identities import Identity
    from databund.sdk.client import Client
    from databund.sdk.publication import Description

__all__ = ["demo"]

SAMPLE = Path(__file__).parent / "samples" / "breast-cancer-wisconsin.csv"
_PRICE, _DEPOSIT, _DAYS, _PURPOSE = "25.00", "100.00", 30, "research"
_PIECE_BYTES = 2**20
_STOP_S = 20


def demo(*, data: Path | None = None, to: Path | None = None, json: bool = False) -> None:
    """Make one whole trade on this machine: publish, sell, deliver, settle, certify, verify, and catch a forgery.

    Parameters
    ----------
    data
        A CSV or Parquet file or a folder to trade, instead of the sample.
    to
        The folder to leave the three homes in; by default a new one called databund-demo.
    json
        Print the facts as one JSON document instead of the story.
    """
    source = SAMPLE if data is None else data.expanduser()
    if not source.exists():
        raise FileUnusable(f"{source} does not exist.", fix="Name a file or a folder with --data.")
    folder = _fresh(to)
    story = _Story(sys.stderr if json else sys.stdout)
    facts = _Trade(folder, source, story, Screen(json=json)).run()
    if json:
        print(json_format.dumps(facts, indent=2, ensure_ascii=False))  # noqa: T201  # the command's result
    story.end(folder)


class _Story:
    """Tells what happens, plainly enough to be piped."""

    def __init__(self, out: TextIO) -> None:
        from rich.console import Console

        self._console = Console(file=out, highlight=False, soft_wrap=True)
        self._number = count(1)

    def begin(self, parties: dict[str, str]) -> None:
        self._console.print("[bold]One trade in six steps[/], between three parties with fresh keys:\n")
        from rich.cells import set_cell_size

        for party, address in parties.items():
            self._console.print(f"  {set_cell_size(party, 20)}{address}")

    def step(self, step: Step, headline: str) -> None:
        self._console.print(f"\n[bold cyan]{next(self._number)} {step} {step.zh}[/]  {headline}")

    def fact(self, name: str, value: object) -> None:
        from rich.markup import escape

        self._console.print(f"  [dim]{name:<18}[/]{escape(str(value))}")

    def table(self, names: list[str], rows: list[tuple[Any, ...]]) -> None:
        from rich.cells import set_cell_size

        widest = 6
        for row in [tuple(names), *rows]:
            cells = [set_cell_size(str(cell), 16) for cell in row[:widest]]
            self._console.print("  " + "  ".join(cells) + ("  …" if len(row) > widest else ""), markup=False)

    def verified(self, line: str) -> None:
        from rich.markup import escape

        self._console.print(f"  [green]✓[/] {escape(line)}")

    def note(self, line: str) -> None:
        self._console.print(f"\n{line}")

    def end(self, folder: Path) -> None:
        self._console.print(
            f"\nThe three homes are in {folder}. Go on with:\n"
            f"  databund serve --home {folder / 'operator'}\n"
            f"  databund license list --home {folder / 'consumer'}\n"
            f"  databund audit verify {folder / 'audit.zip'}"
        )


@dataclass
class _Trade:
    """The trade, told to ``story``, kept in ``folder``."""

    folder: Path
    source: Path
    story: _Story
    screen: Screen

    def run(self) -> dict[str, Any]:
        """Go through the six steps and return the facts."""
        from databund.sdk.client import Client

        operator, provider, consumer = (self._party(name) for name in ("operator", "provider", "consumer"))
        parties = {"operator": operator, "provider": provider, "consumer": consumer}
        labels = dict(zip(parties, ("operator 运营方", "provider 供方", "consumer 需方"), strict=True))
        self.story.begin({labels[name]: str(identity.address) for name, identity in parties.items()})
        with _node(self.folder / "operator") as url:
            clients = {name: Client(url, home=self.folder / name, identity=parties[name]) for name in parties}
            facts: dict[str, Any] = {name: str(identity.address) for name, identity in parties.items()}
            facts["register"], offer = self._publish(clients["provider"])
            facts["list"] = self._list(offer)
            facts["trade"], order = self._buy(clients["operator"], clients["consumer"], offer)
            facts["deliver"] = self._deliver(clients["consumer"], offer)
            facts["settle"], facts["certify"] = self._settle(clients["consumer"], order, parties)
            bundle = self.folder / "audit.zip"
            clients["consumer"].export_audit(bundle)
            evidence = self.folder / "consumer" / "evidence.zip"
            evidence.write_bytes(clients["consumer"].evidence(order.id))
            key = clients["consumer"].info.log_key
        facts["verify"] = self._verify(bundle, key) | self._prove(evidence, key)
        facts["folder"] = str(self.folder)
        return facts

    def _party(self, name: str) -> Identity:
        """A fresh key in a home of its own, locked by a machine-made passphrase that lies beside it."""
        from databund.bootstrap import open_home
        from databund.crypto.keystore import Keystore
        from databund.crypto.passphrases import Passphrase

        home = open_home(self.folder / name)
        passphrase = Passphrase.generate()
        descriptor = os.open(home / "passphrase", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(passphrase.text + "\n")
        return Keystore(home / "keys", lambda _name: passphrase).new("default")

    def _publish(self, client: Client) -> tuple[dict[str, Any], OfferView]:
        from databund.sdk.publication import OfferTerms

        self.story.step(Step.REGISTER, "The provider seals the data; only ciphertext leaves its machine.")
        with self.screen.progress() as progress:
            view = client.publish(self.source, _description(self.source), progress=progress)
        dataset, manifest = view.dataset, view.dataset.manifest
        size = f"{manifest.plaintext_size:,} bytes in {len(manifest.files)} file(s)"
        table = f", {dataset.rows:,} rows of {len(dataset.columns)} columns" if dataset.rows is not None else ""
        self.story.fact("dataset", f"{dataset.title} ({size}{table})")
        self.story.fact("dataset id", view.id)
        self.story.fact("content root", f"{dataset.content_root} (BLAKE3 of the ciphertext)")
        title = client.register_title(dataset.name, uri=f"{client.url}/datasets/{view.id}")
        self.story.fact("title", f"chain transaction {title}")
        terms = OfferTerms(
            unit_price=client.info.currency.parse(_PRICE), duration_s=_DAYS * 86_400, purposes=(_PURPOSE,)
        )
        offer = client.offer(dataset, terms)
        return {
            "dataset": str(view.id),
            "content_root": str(dataset.content_root),
            "descriptor": view.descriptor,
            "bytes": manifest.plaintext_size,
            "rows": dataset.rows,
            "title_chain_transaction": title,
        }, offer

    def _list(self, offer: OfferView) -> dict[str, Any]:
        self.story.step(Step.LIST, "The provider signs an offer; the signature is the listing and costs no gas.")
        signed = offer.signed.offer
        self.story.fact(
            "price", f"{_PRICE} CREDIT for {_DAYS} days, for {_PURPOSE} only, no redistribution, no training"
        )
        self.story.fact("offer = token id", offer.id)
        self.story.fact("terms", f"{signed.terms_hash} (SHA-256 of the ODRL policy)")
        return {"offer": str(offer.id), "terms": str(signed.terms_hash), "price": str(int(signed.unit_price))}

    def _buy(self, operator: Client, consumer: Client, offer: OfferView) -> tuple[dict[str, Any], Order]:
        self.story.step(Step.TRADE, "The consumer signs once: payment and license settle together, or not at all.")
        info, account = consumer.info, consumer.identity.address
        operator.credit(account, info.currency.parse(_DEPOSIT))
        self.story.fact("deposit", f"{_DEPOSIT} CREDIT issued to the consumer")
        order = consumer.buy(offer.id)
        license_ = consumer.license(account, offer.id).license
        self.story.fact("order", order.id)
        self.story.fact("chain transaction", order.chain_transaction)
        self.story.fact(
            "license", f"{license_.units} unit until {_date(license_.expiry)}, on chain {info.domain.chain_id}"
        )
        return {
            "order": str(order.id),
            "chain_id": info.domain.chain_id,
            "chain_transaction": order.chain_transaction,
            "license": {"units": license_.units, "expiry": license_.expiry},
        }, order

    def _deliver(self, consumer: Client, offer: OfferView) -> dict[str, Any]:
        self.story.step(
            Step.DELIVER, "The node releases the content key to the license holder; the client verifies, then opens."
        )
        target = self.folder / "consumer" / "data"
        with self.screen.progress() as progress:
            dataset, delivery = consumer.download(offer.id, target, purpose=_PURPOSE, progress=progress)
        same = _equal_files(self.source, target)
        self.story.verified(f"content root verified before opening; {same} file(s) byte-equal to the original")
        self.story.fact("delivery", delivery.id)
        self._show_rows(target / dataset.manifest.files[0].path)
        return {"delivery": str(delivery.id), "use": delivery.use, "files_equal": same, "folder": str(target)}

    def _show_rows(self, path: Path) -> None:
        from databund.sdk.tables import first_rows

        try:
            names, rows = first_rows(path, 3)
        except FileUnusable:
            self.story.fact("first file", path.name)
        else:
            self.story.table(names, rows)

    def _settle(
        self, consumer: Client, order: Order, parties: dict[str, Identity]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        document = consumer.certificate(order.id)
        certificate = document["certificate"]
        names = {str(identity.address): name for name, identity in parties.items()}
        currency = consumer.info.currency
        self.story.step(Step.SETTLE, "What the chain says that each account received.")
        self.story.fact("consumer paid", currency.format(order.price))
        for payment in certificate["payments"]:
            account = payment["account"]
            self.story.fact(f"{names.get(account, account)} received", currency.format(int(payment["amount"])))
        self.story.step(Step.CERTIFY, "The certificate of the trade, with the agreement both sides can show.")
        self.story.fact("agreement", f"{certificate['agreement']} (SHA-256)")
        path = self.folder / "consumer" / "certificate.json"
        path.write_text(json_format.dumps(document, indent=2, ensure_ascii=False) + "\n", "utf-8")
        self.story.fact("certificate", path)
        return {"payments": certificate["payments"]}, {"agreement": certificate["agreement"], "certificate": str(path)}

    def _verify(self, bundle: Path, key: str) -> dict[str, Any]:
        from databund.bootstrap import verify_ledger
        from databund.config import load
        from databund.sdk import audit

        self.story.note("The node is stopped. What follows needs nothing but the files:")
        report = audit.verify(bundle, key=key)
        self.story.verified(
            f"audit log: {report.size} entries under one signed checkpoint, {report.offers_verified} offer signature, "
            f"{report.decisions_rerun} decision decided again"
        )
        blocks, chain_transactions, state_root = verify_ledger(load({"home": self.folder / "operator"}))
        self.story.verified(
            f"ledger: {blocks} blocks, {chain_transactions} chain transactions replayed; equal state root"
        )
        caught = _forge(bundle, self.folder / "forged.zip", key)
        self.story.verified(f"a copy with one byte changed is caught: {caught.what}")
        return {
            "entries": report.size,
            "root": report.root,
            "log_key": key,
            "blocks": blocks,
            "chain_transactions": chain_transactions,
            "state_root": state_root,
            "forgery": {"code": caught.code, "what": caught.what},
        }

    def _prove(self, evidence: Path, key: str) -> dict[str, Any]:
        """Verify the evidence of the trade, also with the one-file verifier, which knows nothing of databund."""
        from databund.sdk.evidence import standalone_verifier, verify

        report = verify(evidence, key=key)
        size = f"{evidence.stat().st_size / 1000:.0f} kB"
        self.story.verified(f"evidence of the trade in {size}: {len(report.events)} entries, and the chain's receipt")
        verifier = self.folder / "verify.py"
        verifier.write_bytes(standalone_verifier())
        command = [sys.executable, "-I", str(verifier), str(evidence), "--key", key]
        outcome = subprocess.run(command, capture_output=True, text=True, timeout=60)  # noqa: S603  # our own program
        if outcome.returncode != 0:
            raise IntegrityFailed(f"verify.py refuses the evidence: {outcome.stdout}", fix="Report this defect.")
        self.story.verified(f"verify.py, one file that knows nothing of databund, agrees: {verifier}")
        return {"evidence": str(evidence), "evidence_entries": len(report.events), "verifier": str(verifier)}


@contextmanager
def _node(home: Path) -> Iterator[str]:
    """A node in a process of its own; gives its URL, and stops it at the end."""
    command = [sys.executable, "-m", "databund", "serve", "--home", str(home), "--port", "0", "--json"]
    with (home / "node.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, start_new_session=True)  # noqa: S603  # our own program
    try:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        line = process.stdout.readline()
        try:
            yield str(json_format.loads(line)["url"])
        except (ValueError, KeyError):
            raise NodeUnreachable(
                f"The node did not start; {home / 'node.log'} says why.", fix="Correct it and run the demo again."
            ) from None
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _forge(bundle: Path, target: Path, key: str) -> IntegrityFailed:
    """Flip one bit of one log entry in a copy, and return what catches it."""
    from databund.sdk import audit

    with zipfile.ZipFile(bundle) as original, zipfile.ZipFile(target, "w") as forged:
        for member in original.namelist():
            content = bytearray(original.read(member))
            if member.startswith("tile/entries/"):
                content[len(content) // 2] ^= 1
            forged.writestr(member, bytes(content))
    try:
        audit.verify(target, key=key)
    except IntegrityFailed as error:
        return error
    raise AssertionError("the forged bundle was accepted")


def _fresh(to: Path | None) -> Path:
    """A folder that was not there; nothing of anybody's is overwritten."""
    wanted = Path("databund-demo") if to is None else to.expanduser()
    names = (wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}") for number in count(1))
    folder = next(name for name in names if not name.exists())
    folder.mkdir(parents=True, mode=0o700)
    return folder


def _description(source: Path) -> Description:
    from databund.sdk.publication import Description

    if source == SAMPLE:
        return Description(
            name="breast-cancer-wisconsin",
            title="Breast Cancer Wisconsin (Diagnostic)",
            description="Measures of cell nuclei in breast masses, with the diagnosis. 乳腺癌细胞核测量数据。",
            keywords=("medicine", "classification", "医疗"),
            language="en",
            license="CC-BY-4.0",
            attribution="W. H. Wolberg, W. N. Street, O. L. Mangasarian; UCI Machine Learning Repository",
        )
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in source.stem.lower()).strip("-")[:64].strip("-")
    return Description(name=name or "dataset", title=source.name)


def _equal_files(source: Path, target: Path) -> int:
    """How many files there are, all of them equal. Raises `IntegrityFailed`."""
    pairs = (
        [(path, target / path.relative_to(source)) for path in source.rglob("*") if path.is_file()]
        if source.is_dir()
        else [(source, target / source.name)]
    )
    for original, copy in pairs:
        if not _equal(original, copy):
            raise IntegrityFailed(f"{copy} differs from {original}.", fix="Report this defect.")
    return len(pairs)


def _equal(left: Path, right: Path) -> bool:
    with left.open("rb") as a, right.open("rb") as b:
        while True:
            piece = a.read(_PIECE_BYTES)
            if piece != b.read(_PIECE_BYTES):
                return False
            if not piece:
                return True


def _date(time_s: int | None) -> str:
    from datetime import UTC, datetime

    return "for ever" if time_s is None else datetime.fromtimestamp(time_s, UTC).strftime("%Y-%m-%d")
