"""Audit: the whole log and its documents in one file, and the check of that file without any node.

A bundle is a ZIP whose members are the log exactly as it is served (c2sp.org/tlog-tiles: ``checkpoint``, ``tile/…``),
the log's key, and the public documents that entries name by digest. Unzipped, it is a static log that any C2SP tool
reads. Verifying uses nothing but the bundle and the key.
"""

from __future__ import annotations

import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from databund.core import canonical, documents
from databund.core.datasets import Dataset
from databund.core.events import Event, EventKind
from databund.core.ids import ContentRoot, DatasetId
from databund.core.messages import DatasetView, NodeInfo, OfferView
from databund.core.orders import OrderEvent, OrderState, apply
from databund.core.policies import Policy, reevaluate
from databund.core.terms import check_terms
from databund.crypto.signatures import verify_typed_hash
from databund.errors import FileUnusable, IllegalMove, ProofInvalid
from databund.sdk.connection import Connection
from databund.sdk.log_keys import verifier
from databund.tlog.checkpoints import Checkpoint, open_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import VerifierKey
from databund.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, TreeEdge, changed_tiles, parse_entries

__all__ = ["Report", "export", "verify"]

_KEY, _CHECKPOINT = "log.vkey", "checkpoint"
_MEMBER_LIMIT = 64 * 2**20
_ACCOUNT_SIGNATURE = 65  # bytes; smart accounts (ERC-1271) sign in their own forms, which only the chain can check
_MOVES = {
    EventKind.LICENSED: OrderEvent.LICENSE,
    EventKind.REFUSED: OrderEvent.REFUSE,
    EventKind.DELIVERED: OrderEvent.DELIVER,
    EventKind.SETTLED: OrderEvent.SETTLE,
    EventKind.CERTIFIED: OrderEvent.CERTIFY,
}
# What `zipfile` raises for a damaged archive: unknown methods and versions, passwords, and streams that end or break.
_DAMAGED = (OSError, zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
_DO_NOT_TRUST = "Do not rely on this copy; get the bundle again, and ask the operator."
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a verified bundle holds.

    ``trusted_key`` says whether the key came from the caller; otherwise it is the bundle's own word.
    """

    origin: str
    size: int
    root: str
    trusted_key: bool
    kinds: Counter[str] = field(default_factory=Counter)
    offers_verified: int = 0
    decisions_rerun: int = 0
    orders: dict[str, OrderState] = field(default_factory=dict)


def export(connection: Connection, info: NodeInfo, target: Path, *, progress: Progress | None = None) -> int:
    """Write the log and its public documents to ``target`` and return the number of entries.

    The file appears only when it is whole. Raises `NotFound` for an empty log and `CheckpointInvalid` for a log that
    its key did not sign.
    """
    note = connection.get_bytes("/log/checkpoint")
    checkpoint = _opened(note, VerifierKey.parse(info.log_key))
    temporary = target.with_name(target.name + ".new")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(_KEY, info.log_key + "\n")
            bundle.writestr(_CHECKPOINT, note)
            tiles = changed_tiles(0, checkpoint.size)
            for number, tile in enumerate(tiles):
                bundle.writestr(tile.path, connection.get_bytes(f"/log/{tile.path}"))
                if tile.level == 0:
                    path = EntryBundle(tile.index, tile.width).path
                    entries = connection.get_bytes(f"/log/{path}")
                    bundle.writestr(path, entries)
                    for entry in parse_entries(entries, width=tile.width):
                        _add_documents(bundle, connection, Event.read(entry))
                if progress is not None:
                    progress("export", number + 1, len(tiles))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return checkpoint.size


def verify(source: Path, *, key: str | None = None, progress: Progress | None = None) -> Report:
    """Check a bundle from end to end; nothing outside it is asked.

    ``key`` is the log's verifier key, from a place you trust. Checked are the signature of the checkpoint, every entry
    against its root, every stored tile, the form and order of the events, the signature and terms of every offer, and
    every decision by deciding it again. Raises `FileUnusable`, or the `IntegrityFailed` that says what is wrong.
    """
    try:
        with zipfile.ZipFile(source) as bundle:
            return _verified(_Members(bundle), key, progress)
    except _DAMAGED as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            raise FileUnusable(
                f"{source} cannot be read.", fix="Name a bundle made by databund audit export."
            ) from error
        raise ProofInvalid(f"{source.name} is damaged: {error}.", fix=_DO_NOT_TRUST) from error


class _Members:
    """The files in a bundle, each there once, read with a limit."""

    def __init__(self, bundle: zipfile.ZipFile) -> None:
        self._bundle = bundle
        names = Counter(bundle.namelist())
        self._unread = set(names)
        for name, times in names.items():
            if times > 1:
                raise ProofInvalid(f"{name[:200]!r} is in the bundle {times} times.", fix=_DO_NOT_TRUST)

    def __len__(self) -> int:
        return len(self._bundle.namelist())

    def check_all_read(self) -> None:
        """Raise `ProofInvalid` when the bundle holds a file that was not verified."""
        if self._unread:
            raise ProofInvalid(
                f"{min(self._unread)[:200]!r} is in the bundle, but nothing in the log names it.", fix=_DO_NOT_TRUST
            )

    def read(self, name: str) -> bytes:
        try:
            self._unread.discard(name)
            if self._bundle.getinfo(name).file_size > _MEMBER_LIMIT:
                raise ProofInvalid(f"{name} in the bundle is too large.", fix=_DO_NOT_TRUST)
            return self._bundle.read(name)
        except KeyError:
            raise ProofInvalid(f"The bundle lacks {name}.", fix=_DO_NOT_TRUST) from None


def _verified(members: _Members, key: str | None, progress: Progress | None) -> Report:
    own_key = members.read(_KEY).decode("utf-8", "replace").strip()
    if key is not None and key.strip() != own_key:
        raise ProofInvalid("The bundle is of a log with another key.", fix=_DO_NOT_TRUST)
    checkpoint = _opened(members.read(_CHECKPOINT), VerifierKey.parse(own_key))
    report = Report(
        origin=checkpoint.origin, size=checkpoint.size, root=checkpoint.root.hex(), trusted_key=key is not None
    )
    if checkpoint.size > TILE_WIDTH * len(members):
        raise ProofInvalid(f"The bundle lacks most of the {checkpoint.size} entries.", fix=_DO_NOT_TRUST)
    final = set(changed_tiles(0, checkpoint.size))
    edge, story = TreeEdge(), _Story(members, report)
    for entries in _entries(members, final):
        growth = edge.append(leaf_hash(entry) for entry in entries)
        for tile in final & growth.tiles.keys():
            if members.read(tile.path) != growth.tiles[tile]:
                raise ProofInvalid(f"{tile.path} does not belong to the entries below it.", fix=_DO_NOT_TRUST)
        edge = growth.edge
        for entry in entries:
            story.add(entry)
        if progress is not None:
            progress("verify", edge.size, checkpoint.size)
    if edge.root() != checkpoint.root:
        raise ProofInvalid(
            f"The {checkpoint.size} entries do not hash to the signed root; at least one was changed.",
            fix=_DO_NOT_TRUST,
        )
    members.check_all_read()
    return report


def _entries(members: _Members, tiles: Iterable[Tile]) -> Iterator[tuple[bytes, ...]]:
    for tile in sorted(tile for tile in tiles if tile.level == 0):
        yield parse_entries(members.read(EntryBundle(tile.index, tile.width).path), width=tile.width)


class _Story:
    """Follows the events: their form, their order, and the documents they name."""

    def __init__(self, members: _Members, report: Report) -> None:
        self._members = members
        self._report = report
        self._datasets: dict[tuple[DatasetId, ContentRoot], Dataset] = {}
        self._policies: dict[str, Policy] = {}

    def add(self, entry: bytes) -> None:
        """Take the next entry. Raises `ProofInvalid` or what the named document fails in."""
        event = Event.read(entry)
        self._report.kinds[event.kind] += 1
        about = event.about
        match event.kind:
            case EventKind.REGISTERED:
                self._dataset(str(about["descriptor"]))
            case EventKind.LISTED:
                self._offer(str(about["offer"]))
            case EventKind.DECIDED:
                self._decision(str(about["offer"]), about["decision"])
            case kind if (kind is EventKind.ORDERED or kind in _MOVES) and about.get("order") is not None:
                self._move(str(about["order"]), kind)
            case _:
                pass

    def _dataset(self, descriptor: str) -> None:
        dataset = documents.decode(self._members.read(_document("dataset", descriptor)), Dataset)
        if documents.digest(dataset).hex() != descriptor:
            raise ProofInvalid(f"The descriptor {descriptor} of a dataset was changed.", fix=_DO_NOT_TRUST)
        self._datasets[dataset.id, dataset.content_root] = dataset

    def _offer(self, offer_id: str) -> None:
        view = documents.decode(self._members.read(_document("offer", offer_id)), OfferView)
        offer = view.signed.offer
        dataset = self._datasets.get((offer.dataset, offer.content_root))
        if str(offer.id) != offer_id or dataset is None:
            raise ProofInvalid(f"The offer {offer_id} was changed, or is of no dataset here.", fix=_DO_NOT_TRUST)
        self._policies[offer_id] = check_terms(offer, canonical.canonicalize(view.policy), dataset)
        if len(view.signed.signature) == _ACCOUNT_SIGNATURE:
            verify_typed_hash(view.signed.digest, view.signed.signature, signer=offer.provider)
            self._report.offers_verified += 1

    def _decision(self, offer_id: str, record: documents.Json) -> None:
        policy = self._policies.get(offer_id)
        if policy is None:
            raise ProofInvalid(f"A decision names the offer {offer_id}, which was never listed.", fix=_DO_NOT_TRUST)
        reevaluate(record, policy)
        self._report.decisions_rerun += 1

    def _move(self, order: str, kind: EventKind) -> None:
        state = self._report.orders.get(order)
        if kind is EventKind.ORDERED:
            if state is not None:
                raise ProofInvalid(f"The order {order} was placed twice.", fix=_DO_NOT_TRUST)
            self._report.orders[order] = OrderState.PLACED
            return
        if state is None:
            raise ProofInvalid(f"The order {order} moved before it was placed.", fix=_DO_NOT_TRUST)
        if kind is EventKind.DELIVERED and state is not OrderState.LICENSED:
            return  # a further use of the same license
        try:
            self._report.orders[order] = apply(state, _MOVES[kind])
        except IllegalMove as error:
            raise ProofInvalid(f"The order {order} is {state} when the log has {kind}.", fix=_DO_NOT_TRUST) from error


def _add_documents(bundle: zipfile.ZipFile, connection: Connection, event: Event) -> None:
    if event.kind is EventKind.REGISTERED:
        path = f"/datasets/{event.about['dataset']}"
        root = str(event.about["content_root"])
        view = connection.get(path, DatasetView, content_root=root)
        bundle.writestr(_document("dataset", view.descriptor), documents.encode(view.dataset))
    elif event.kind is EventKind.LISTED:
        offer_id = str(event.about["offer"])
        offer = connection.get(f"/offers/{offer_id}", OfferView)
        bundle.writestr(_document("offer", offer_id), documents.encode(offer))


def _document(kind: str, name: str) -> str:
    return f"documents/{kind}/{name}.json"


def _opened(note: bytes, key: VerifierKey) -> Checkpoint:
    return open_checkpoint(note, origin=key.name, log=[verifier(key)]).checkpoint
