"""Audit: the whole log and its documents in one file or folder, and the check of either without any node.

An export holds the log exactly as it is served (c2sp.org/tlog-tiles: ``checkpoint``, ``tile/…``), the log's key, and
the public documents that entries name by digest: as the members of a ZIP, or as the files of a folder, which any web
server can host and a later export brings up to date. Verifying uses nothing but the export and the key.
"""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from databund.core import canonical, documents
from databund.core.datasets import Dataset
from databund.core.events import Event, EventKind
from databund.core.ids import ContentRoot, DatasetId
from databund.core.messages import DatasetView, NodeInfo, OfferView
from databund.core.orders import OrderEvent, OrderState, apply
from databund.core.policies import Policy, reevaluate
from databund.core.terms import check_terms
from databund.crypto.signatures import verify_typed_hash
from databund.errors import FileUnusable, IllegalMove, LogForked, NotFound, ProofInvalid
from databund.sdk.connection import Connection
from databund.sdk.log_keys import verifier
from databund.sdk.log_sources import DAMAGED_ZIP, PACKED, FolderLog, NodeResources, TiledLog
from databund.sdk.mirror import KEY_FILE, Mirror
from databund.tlog.checkpoints import OpenedCheckpoint, open_checkpoint
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import VerifierKey
from databund.tlog.tiles import (
    TILE_WIDTH,
    EntryBundle,
    Prover,
    Tile,
    TreeEdge,
    each_changed_tile,
    parse_entries,
    tile_count,
    tile_width,
)

__all__ = ["Report", "export", "export_folder", "verify"]

_CHECKPOINT, _DOCUMENTED = "checkpoint", ".documented"
_MEMBER_LIMIT = 64 * 2**20
_ACCOUNT_SIGNATURE = 65  # bytes; smart accounts (ERC-1271) sign in their own forms, which only the chain can check
_MOVES = {
    EventKind.LICENSED: OrderEvent.LICENSE,
    EventKind.REFUSED: OrderEvent.REFUSE,
    EventKind.DELIVERED: OrderEvent.DELIVER,
    EventKind.SETTLED: OrderEvent.SETTLE,
    EventKind.CERTIFIED: OrderEvent.CERTIFY,
}
_DELIVERED_ONCE = (OrderState.DELIVERED, OrderState.SETTLED, OrderState.CERTIFIED)
_DAMAGED = (OSError, *DAMAGED_ZIP)
_DO_NOT_TRUST = "Do not rely on this copy; get the bundle again, and ask the operator."
Progress = Callable[[str, int, int], None]


@dataclass
class Report:
    """What a verified export holds.

    ``trusted_key`` says whether the key came from the caller; otherwise it is the export's own word. ``anchored``
    counts the anchors on a chain whose size and root are the log's, ``set_back`` the entries that are dated before the
    one above them: a clock that jumped back is no lie, but worth a question.
    """

    origin: str
    size: int
    root: str
    trusted_key: bool
    kinds: Counter[str] = field(default_factory=Counter)
    offers_verified: int = 0
    decisions_rerun: int = 0
    anchored: int = 0
    set_back: int = 0
    orders: dict[str, OrderState] = field(default_factory=dict)


def export(connection: Connection, info: NodeInfo, target: Path, *, progress: Progress | None = None) -> int:
    """Write the log and its public documents to the file ``target`` and return the number of entries.

    The file appears only when it is whole. Raises `NotFound` for an empty log and `CheckpointInvalid` for a log that
    its key did not sign.
    """
    note = connection.get_bytes("/log/checkpoint")
    checkpoint = _opener(info.log_key)(note).checkpoint
    temporary = target.with_name(target.name + ".new")
    try:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as bundle:
            bundle.writestr(KEY_FILE, info.log_key + "\n")
            bundle.writestr(_CHECKPOINT, note)
            # One after the other: of how many entries a stranger's checkpoint speaks, its log has to show.
            for number, tile in enumerate(each_changed_tile(0, checkpoint.size)):
                bundle.writestr(tile.path, connection.get_bytes(f"/log/{tile.path}"))
                if tile.level == 0:
                    path = EntryBundle(tile.index, tile.width).path
                    entries = connection.get_bytes(f"/log/{path}")
                    bundle.writestr(path, entries)
                    for entry in parse_entries(entries, width=tile.width):
                        for name, document in _documents(connection, Event.read(entry)):
                            bundle.writestr(name, document)
                if progress is not None:
                    progress("export", number + 1, tile_count(checkpoint.size))
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return checkpoint.size


def export_folder(connection: Connection, info: NodeInfo, folder: Path, *, progress: Progress | None = None) -> int:
    """Bring a folder up to the log and its public documents, and return the number of entries.

    Only what is new is fetched, and nothing is taken over that does not hash to what was signed (see
    `databund.sdk.mirror`). Raises as `Mirror.update` does.
    """
    mirror = Mirror(folder)
    mirror.keep_key(VerifierKey.parse(info.log_key))
    update = mirror.update(TiledLog(NodeResources(connection)), _opener(info.log_key), progress=progress)
    # An export that was cut short has its entries, but not all of their documents: those of the last bundle come again.
    for _, entry in mirror.entries(_documented(folder), update.checkpoint.size):
        for name, document in _documents(connection, Event.read(entry)):
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(document)
    (folder / _DOCUMENTED).write_text(str(update.checkpoint.size))
    return update.checkpoint.size


def verify(source: Path, *, key: str | None = None, progress: Progress | None = None) -> Report:
    """Check an exported file or folder from end to end; nothing outside it is asked.

    ``key`` is the log's verifier key, from a place you trust. Checked are the signature of the checkpoint, every entry
    against its root, every stored tile, the form and order of the events, the signature and terms of every offer, every
    decision by deciding it again, and every anchor's root. Raises `FileUnusable`, or the `IntegrityFailed` that says
    what is wrong.
    """
    with _opened(source) as members:
        return _verified(members, key, progress)


class _Members(Protocol):
    """The files of an export."""

    def read(self, name: str) -> bytes:
        """One file. Raises `ProofInvalid` when it is missing."""

    def check_holds(self, size: int) -> None:
        """Raise `ProofInvalid` when so few files cannot hold so many entries."""

    def check_all_read(self) -> None:
        """Raise `ProofInvalid` when there is a file that was not verified."""


class _Archive:
    """The members of a ZIP, each there once, read with a limit."""

    def __init__(self, bundle: zipfile.ZipFile) -> None:
        self._bundle = bundle
        names = Counter(bundle.namelist())
        self._unread = set(names)
        for name, times in names.items():
            if times > 1:
                raise ProofInvalid(f"{name[:200]!r} is in the bundle {times} times.", fix=_DO_NOT_TRUST)

    def check_holds(self, size: int) -> None:
        if size > TILE_WIDTH * len(self._bundle.namelist()):
            raise ProofInvalid(f"The bundle lacks most of the {size} entries.", fix=_DO_NOT_TRUST)

    def check_all_read(self) -> None:
        if self._unread:
            raise ProofInvalid(
                f"{min(self._unread)[:200]!r} is in the bundle, but nothing in the log names it.", fix=_DO_NOT_TRUST
            )

    def read(self, name: str) -> bytes:
        try:
            self._unread.discard(name)
            member = self._bundle.getinfo(name)
            if member.file_size > _MEMBER_LIMIT or member.compress_type not in PACKED:
                raise ProofInvalid(f"{name} in the bundle is too large, or packed strangely.", fix=_DO_NOT_TRUST)
            return self._bundle.read(name)
        except KeyError:
            raise ProofInvalid(f"The bundle lacks {name}.", fix=_DO_NOT_TRUST) from None


class _Folder:
    """The files of a folder. It may hold more than the log, as the folder of a web server does."""

    def __init__(self, folder: Path) -> None:
        self._log = FolderLog(folder)

    def check_holds(self, size: int) -> None:
        """Too few files are found when the first that is missing is read."""

    def check_all_read(self) -> None:
        """Other files are nobody's business."""

    def read(self, name: str) -> bytes:
        try:
            return self._log.read(name)
        except NotFound:
            raise ProofInvalid(f"The folder lacks {name}.", fix=_DO_NOT_TRUST) from None


@contextmanager
def _opened(source: Path) -> Iterator[_Members]:
    if source.is_dir():
        yield _Folder(source)
        return
    try:
        with zipfile.ZipFile(source) as bundle:
            yield _Archive(bundle)
    except _DAMAGED as error:
        if isinstance(error, FileNotFoundError | IsADirectoryError | PermissionError):
            raise FileUnusable(
                f"{source} cannot be read.", fix="Name a file or folder made by databund audit export."
            ) from error
        raise ProofInvalid(f"{source.name} is damaged: {error}.", fix=_DO_NOT_TRUST) from error


def _verified(members: _Members, key: str | None, progress: Progress | None) -> Report:
    own_key = members.read(KEY_FILE).decode("utf-8", "replace").strip()
    if key is not None and key.strip() != own_key:
        raise ProofInvalid("The bundle is of a log with another key.", fix=_DO_NOT_TRUST)
    checkpoint = _opener(own_key)(members.read(_CHECKPOINT)).checkpoint
    size = checkpoint.size
    report = Report(origin=checkpoint.origin, size=size, root=checkpoint.root.hex(), trusted_key=key is not None)
    members.check_holds(size)
    edge, story = TreeEdge(), _Story(members, report)
    for index in range(-(-size // TILE_WIDTH)):
        width = tile_width(0, index, size=size)
        entries = parse_entries(members.read(EntryBundle(index, width).path), width=width)
        growth = edge.append(leaf_hash(entry) for entry in entries)
        for tile, content in growth.tiles.items():
            if tile.width == tile_width(tile.level, tile.index, size=size) and members.read(tile.path) != content:
                raise ProofInvalid(f"{tile.path} does not belong to the entries below it.", fix=_DO_NOT_TRUST)
        edge = growth.edge
        for entry in entries:
            story.add(entry)
        if progress is not None:
            progress("verify", edge.size, size)
    if edge.root() != checkpoint.root:
        raise ProofInvalid(
            f"The {size} entries do not hash to the signed root; at least one was changed.", fix=_DO_NOT_TRUST
        )
    story.check_anchors(size)
    members.check_all_read()
    return report


class _Story:
    """Follows the events: their form, their order, and the documents they name."""

    def __init__(self, members: _Members, report: Report) -> None:
        self._members = members
        self._report = report
        self._datasets: dict[tuple[DatasetId, ContentRoot], Dataset] = {}
        self._policies: dict[str, Policy] = {}
        self._anchors: list[tuple[int, str]] = []
        self._last = 0

    def add(self, entry: bytes) -> None:
        """Take the next entry. Raises `ProofInvalid` or what the named document fails in."""
        event = Event.read(entry)
        self._report.kinds[event.kind] += 1
        self._report.set_back += event.at < self._last
        self._last = event.at
        about = event.about
        match event.kind:
            case EventKind.REGISTERED:
                self._dataset(str(about["descriptor"]))
            case EventKind.LISTED:
                self._offer(str(about["offer"]))
            case EventKind.DECIDED:
                self._decision(str(about["offer"]), about["decision"], permitted=about["permitted"])
            case EventKind.ANCHORED:
                self._anchors.append((documents.load(about["size"], int), str(about["root"])))
            case kind if (kind is EventKind.ORDERED or kind in _MOVES) and about.get("order") is not None:
                self._move(str(about["order"]), kind)
            case _:
                pass

    def check_anchors(self, size: int) -> None:
        """Compare the anchored roots with the tree, whose tiles were verified. Raises `LogForked`."""

        def tile(level: int, index: int, _: int) -> bytes:
            return self._members.read(Tile(level, index, tile_width(level, index, size=size)).path)

        prover = Prover(tile)
        for anchored, root in self._anchors:
            if not 0 <= anchored <= size or prover.root(anchored).hex() != root.removeprefix("0x"):
                raise LogForked(
                    f"The log says it was anchored at size {anchored} with the root {root}, which it does not have.",
                    fix=_DO_NOT_TRUST,
                )
            self._report.anchored += 1

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

    def _decision(self, offer_id: str, record: documents.Json, *, permitted: documents.Json) -> None:
        policy = self._policies.get(offer_id)
        if policy is None:
            raise ProofInvalid(f"A decision names the offer {offer_id}, which was never listed.", fix=_DO_NOT_TRUST)
        if reevaluate(record, policy).permitted is not permitted:
            raise ProofInvalid("A decision was logged as the opposite of itself.", fix=_DO_NOT_TRUST)
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
        if kind is EventKind.DELIVERED and state in _DELIVERED_ONCE:
            return  # a further use of the same license
        try:
            self._report.orders[order] = apply(state, _MOVES[kind])
        except IllegalMove as error:
            raise ProofInvalid(f"The order {order} is {state} when the log has {kind}.", fix=_DO_NOT_TRUST) from error


def _documents(connection: Connection, event: Event) -> Iterator[tuple[str, bytes]]:
    """The public documents that an entry names, each with its path in an export."""
    if event.kind is EventKind.REGISTERED:
        path = f"/datasets/{event.about['dataset']}"
        root = str(event.about["content_root"])
        view = connection.get(path, DatasetView, content_root=root)
        yield _document("dataset", view.descriptor), documents.encode(view.dataset)
    elif event.kind is EventKind.LISTED:
        offer_id = str(event.about["offer"])
        offer = connection.get(f"/offers/{offer_id}", OfferView)
        yield _document("offer", offer_id), documents.encode(offer)


def _document(kind: str, name: str) -> str:
    return f"documents/{kind}/{name}.json"


def _documented(folder: Path) -> int:
    """Up to which entry the folder has every document."""
    try:
        return int((folder / _DOCUMENTED).read_text())
    except (FileNotFoundError, ValueError):
        return 0


def _opener(vkey: str) -> Callable[[bytes], OpenedCheckpoint]:
    key = VerifierKey.parse(vkey)
    return lambda note: open_checkpoint(note, origin=key.name, log=[verifier(key)])
