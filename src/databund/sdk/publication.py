"""Publication: files are sealed on the provider's machine, uploaded as ciphertext, registered and offered.

The content key leaves this machine only wrapped: to the node that will deliver, and to the provider, who can so move
to another node without publishing again.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from databund.core.amounts import Amount
from databund.core.datasets import Column, Dataset
from databund.core.ids import Bytes32, DatasetId, Hex
from databund.core.manifests import Manifest
from databund.core.messages import DatasetRegistration, DatasetView, NodeInfo, OfferPosting, OfferView
from databund.core.offers import Offer, SignedOffer
from databund.core.policies import Policy, usage_policy
from databund.core.terms import party_of, target_of
from databund.crypto.blobs import Progress, seal_files
from databund.crypto.content_keys import ContentKey
from databund.crypto.identities import Identity
from databund.crypto.wrapping import AgeRecipient, wrap
from databund.errors import AmountInvalid, FileUnusable, NotFound
from databund.sdk.connection import Connection
from databund.sdk.tables import describe

__all__ = ["Description", "OfferTerms", "offer", "publish"]

_PIECE_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Description:
    """What a provider says of a dataset; see `databund.core.datasets.Dataset`."""

    name: str
    title: str
    description: str = ""
    keywords: tuple[str, ...] = ()
    language: str | None = None
    license: str | None = None
    attribution: str | None = None


@dataclass(frozen=True, kw_only=True)
class OfferTerms:
    """Price, term and usage policy of an offer.

    ``unit_price`` is in base units; 0 is refused unless ``free`` says that it is meant. ``duration_s`` 0 is perpetual,
    ``uses`` and ``supply`` 0 are unlimited; ``open_s`` is how long the offer can be bought. The rest is the usage
    policy: see `databund.core.policies.usage_policy`. Raises `AmountInvalid`.
    """

    unit_price: Amount
    free: bool = False
    duration_s: int = 0
    uses: int = 0
    supply: int = 0
    transferable: bool = False
    open_s: int = 365 * 86_400
    purposes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    train: bool = False
    redistribute: bool = False

    def __post_init__(self) -> None:
        if (self.unit_price == 0) != self.free:
            raise AmountInvalid(
                "The offer has no price." if not self.free else "A free offer has a price.",
                fix="Give a price above zero (--price), or say that it is free (--free).",
            )


def publish(
    connection: Connection,
    identity: Identity,
    info: NodeInfo,
    *,
    source: Path,
    about: Description,
    workspace: Path,
    progress: Callable[[str, int, int], None] | None = None,
) -> DatasetView:
    """Seal a file or a folder, upload it and register it as the next version of the dataset.

    ``progress`` is called with ("seal" or "upload", bytes done, bytes in all). Raises `FileUnusable`, `FileChanged`,
    `StoreFull`, and what the node answers; the sealed copy in ``workspace`` is removed in every case.
    """
    files = _files(source)
    columns, rows = describe([path for _, path in files])
    total = sum(path.stat().st_size for _, path in files if path.is_file())
    key = ContentKey.generate()
    workspace.mkdir(parents=True, exist_ok=True, mode=0o700)
    with tempfile.TemporaryDirectory(dir=workspace, prefix="sealing-") as folder:
        blob = Path(folder, "blob")
        with blob.open("w+b") as sink:
            manifest = seal_files(files, sink, key, progress=_step(progress, "seal", total))
        sent = _step(progress, "upload", manifest.size)
        connection.put(f"/blobs/{manifest.root}", lambda: _pieces(blob, sent), size=manifest.size)
    dataset = _dataset(connection, identity, about, manifest, columns=columns, rows=rows)
    wrapped = wrap(key, [AgeRecipient(info.recipient), identity.age_recipient])
    return connection.post("/datasets", DatasetRegistration(dataset, Hex(wrapped)), DatasetView, signed_in=True)


def offer(
    connection: Connection, identity: Identity, info: NodeInfo, *, dataset: Dataset, terms: OfferTerms
) -> OfferView:
    """Sign an offer of a dataset version and put it on the node's list."""
    salt = Bytes32(secrets.token_bytes(32))
    policy = _policy(identity, info, dataset, terms, salt)
    made = Offer(
        provider=identity.address,
        dataset=dataset.id,
        content_root=dataset.content_root,
        terms_hash=Bytes32(policy.digest()),
        currency=info.currency.address,
        unit_price=terms.unit_price,
        duration_s=terms.duration_s,
        uses=terms.uses,
        supply=terms.supply,
        transferable=terms.transferable,
        splits=(info.fee,) if info.fee is not None and terms.unit_price else (),
        valid_until=int(time.time()) + terms.open_s,
        salt=salt,
    )
    signature = identity.sign_typed_hash(info.domain.digest(bytes(made.id)))
    posting = OfferPosting(SignedOffer(made, info.domain, Hex(signature)), dict(policy.document()))
    return connection.post("/offers", posting, OfferView)


def _policy(identity: Identity, info: NodeInfo, dataset: Dataset, terms: OfferTerms, salt: Bytes32) -> Policy:
    return usage_policy(
        f"urn:databund:policy:{bytes(salt).hex()}",
        target_of(dataset),
        assigner=party_of(identity.address, info.domain.chain_id),
        purposes=terms.purposes,
        places=terms.places,
        train=terms.train,
        redistribute=terms.redistribute,
        attribution=party_of(identity.address, info.domain.chain_id) if dataset.attribution else None,
        title={dataset.language or "en": dataset.title},
    )


def _dataset(
    connection: Connection,
    identity: Identity,
    about: Description,
    manifest: Manifest,
    *,
    columns: tuple[Column, ...],
    rows: int | None,
) -> Dataset:
    identifier = DatasetId.of(identity.address, about.name)
    try:
        version = connection.get(f"/datasets/{identifier}", DatasetView).dataset.version + 1
    except NotFound:
        version = 1
    return Dataset(
        provider=identity.address,
        name=about.name,
        version=version,
        title=about.title,
        description=about.description,
        manifest=manifest,
        created_at=int(time.time()),
        keywords=about.keywords,
        language=about.language,
        license=about.license,
        attribution=about.attribution,
        columns=columns,
        rows=rows,
    )


def _files(source: Path) -> list[tuple[str, Path]]:
    if source.is_dir():
        found = [(path.relative_to(source).as_posix(), path) for path in source.rglob("*") if not path.is_dir()]
        if not found:
            raise FileUnusable(f"The folder {source} has no files.", fix="Name a folder with the data in it.")
        return sorted(found)
    if not source.exists():
        raise FileUnusable(f"{source} does not exist.", fix="Name a file, or a folder with files.")
    return [(source.name, source)]


def _pieces(path: Path, sent: Progress | None) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
            done += len(piece)
            if sent is not None:
                sent(done)


def _step(progress: Callable[[str, int, int], None] | None, name: str, total: int) -> Progress | None:
    return None if progress is None else lambda done: progress(name, done, total)
