"""Download: the ciphertext by Range until it is whole, its root verified, the key released, the files opened.

A cut connection or a killed client continues at the byte where it stopped. Nothing appears at the destination before
every byte of the blob was verified against the content root that the offer commits to. The delivery is noted before it
is asked for, and forgotten when whoever asked has heard of it, so that it costs one use however often it is tried.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from blake3 import blake3

from databund.core import canonical
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.ids import DeliveryId, OfferId
from databund.core.messages import DatasetView, DeliveryRequest, NodeInfo, OfferView
from databund.core.terms import check_terms
from databund.crypto.blobs import open_blob
from databund.crypto.identities import Identity
from databund.crypto.wrapping import unwrap
from databund.errors import ContentMismatch, Denied, NodeUnreachable, SignInRequired, StoreFull
from databund.sdk.connection import Connection
from databund.sdk.pending import Pending
from databund.sdk.purchase import check_offer

__all__ = ["downloading"]

_ATTEMPTS = 5
_PAUSE_S = 0.3
_NO_SPACE = 28

Progress = Callable[[str, int, int], None]


@contextmanager
def downloading(
    connection: Connection,
    identity: Identity,
    info: NodeInfo,
    *,
    offer_id: OfferId,
    destination: Path,
    workspace: Path,
    pending: Pending,
    purpose: str | None = None,
    place: str | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Dataset, Delivery]]:
    """Fetch, verify and open the dataset that a license is for, into the folder ``destination``.

    The same delivery is found again until the block has ended without an error.
    ``progress`` is called with ("download" or "open", bytes done, bytes in all). Raises what the node answers,
    `ContentMismatch` or `SealBroken` when the bytes are not the promised ones, `StoreFull`.
    """
    dataset = _promised(connection, offer_id, info)
    delivery = _released(connection, identity, offer_id, pending, purpose=purpose, place=place)
    key = unwrap(delivery.wrapped_key, identity.age_identity)
    blob = _fetched(connection, dataset, workspace, progress)
    opened = None if progress is None else lambda done: progress("open", done, dataset.manifest.size)
    open_blob(blob, dataset.manifest, key, destination, progress=opened)
    yield dataset, delivery
    pending.done(pending.delivery(offer_id, identity.address))
    blob.unlink()


def _promised(connection: Connection, offer_id: OfferId, info: NodeInfo) -> Dataset:
    """The dataset version that the offer commits to; names and sizes are covered by the offer's signature."""
    view = connection.get(f"/offers/{offer_id}", OfferView)
    check_offer(view, offer_id, info)
    offer = view.signed.offer
    version = connection.get(f"/datasets/{offer.dataset}", DatasetView, content_root=str(offer.content_root))
    check_terms(offer, canonical.canonicalize(view.policy), version.dataset)
    return version.dataset


def _released(
    connection: Connection,
    identity: Identity,
    offer_id: OfferId,
    pending: Pending,
    *,
    purpose: str | None,
    place: str | None,
) -> Delivery:
    note = pending.delivery(offer_id, identity.address)
    request = pending.read(note, DeliveryRequest)
    if request is None:
        request = DeliveryRequest(
            id=DeliveryId(secrets.token_bytes(32)),
            offer_id=offer_id,
            recipient=str(identity.age_recipient),
            purpose=purpose,
            place=place,
        )
        pending.write(note, request)
    # What is declared counts for this attempt; a delivery that was made before is found by its id alone.
    request = msgspec.structs.replace(request, purpose=purpose, place=place)
    try:
        return connection.post("/deliveries", request, Delivery, signed_in=True)
    except SignInRequired:
        raise  # It says nothing about the delivery, which may have been made before.
    except Denied:
        pending.done(note)
        raise


def _fetched(connection: Connection, dataset: Dataset, workspace: Path, progress: Progress | None) -> Path:
    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    manifest = dataset.manifest
    part = workspace / f"{manifest.root}.part"
    hasher = blake3()
    done = _rehash(part, hasher)
    for left in reversed(range(_ATTEMPTS)):
        if done >= manifest.size:
            break
        try:
            done = _append(connection, f"/blobs/{manifest.root}", part, hasher, done, manifest.size, progress)
        except NodeUnreachable:
            if not left:
                raise
            time.sleep(_PAUSE_S * (_ATTEMPTS - left))
            hasher.reset()
            done = _rehash(part, hasher)
    if done != manifest.size or hasher.digest() != bytes(manifest.root):
        part.unlink(missing_ok=True)
        raise ContentMismatch(
            f"The node sent {done} bytes with the root 0x{hasher.hexdigest()} instead of {manifest.size} bytes with "
            f"{manifest.root}; they were thrown away.",
            fix="Run the same command again; if it fails again, do not trust this node.",
        )
    return part


def _append(
    connection: Connection,
    path: str,
    part: Path,
    hasher: blake3,
    start: int,
    size: int,
    progress: Progress | None,
) -> int:
    done = start
    with connection.stream(path, start=start) as answer, part.open("ab") as file:
        if start and answer.status_code != 206:
            file.truncate(0)
            hasher.reset()
            done = 0
        try:
            for piece in answer.iter_raw():
                file.write(piece)
                hasher.update(piece)
                done += len(piece)
                if progress is not None:
                    progress("download", done, size)
                if done > size:
                    break
            file.flush()
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno == _NO_SPACE:
                raise StoreFull(
                    f"There is no room for the download of {size:,} bytes in {part.parent}.",
                    fix="Free some space and run the same command again; it continues where it stopped.",
                ) from error
            raise
    return done


def _rehash(part: Path, hasher: blake3) -> int:
    if not part.exists():
        return 0
    hasher.update_mmap(part)
    return part.stat().st_size
