"""Dataset versions and catalog search: the port `Catalog`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, func, select, update
from sqlalchemy import text as sql

from databund.core.datasets import Dataset
from databund.core.ids import ContentRoot, DatasetId
from databund.errors import AlreadyExists, NotFound
from databund.ports import Release
from databund.storage.search import fts5_query, segment, tsquery
from databund.storage.tables import releases

__all__ = ["SqlCatalog"]

_MATCHES = {
    "sqlite": "seq IN (SELECT rowid FROM catalog_words WHERE catalog_words MATCH :query)",
    "postgresql": "array_to_tsvector(string_to_array(words, ' ')) @@ CAST(:query AS tsquery)",
}
_QUERIES = {"sqlite": fts5_query, "postgresql": tsquery}


class SqlCatalog:
    """Dataset versions in one database transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def add(self, release: Release) -> None:
        """Add a version. Raises `AlreadyExists` when this version is there with another descriptor or key."""
        dataset = release.dataset
        stored = self._find(_versions(dataset.id).where(releases.c.version == dataset.version))
        if stored == release:
            return
        if stored is not None:
            raise AlreadyExists(
                f"Version {dataset.version} of dataset {dataset.id} is registered with another description or key.",
                fix=f"Register version {dataset.version + 1}.",
            )
        newest = self._connection.scalar(
            select(func.max(releases.c.version)).where(releases.c.dataset_id == dataset.id)
        )
        is_newest = newest is None or dataset.version > newest
        if is_newest:
            self._connection.execute(
                update(releases)
                .where(releases.c.dataset_id == dataset.id, releases.c.words.is_not(None))
                .values(words=None)
            )
        self._connection.execute(
            releases.insert().values(
                dataset_id=dataset.id,
                version=dataset.version,
                content_root=dataset.content_root,
                descriptor=dataset,
                wrapped_key=release.wrapped_key,
                words=_searchable(dataset) if is_newest else None,
            )
        )

    def get(
        self, dataset_id: DatasetId, *, version: int | None = None, content_root: ContentRoot | None = None
    ) -> Release:
        """A version by its number or content root, the newest when neither is named. Raises `NotFound`."""
        query = _versions(dataset_id)
        if version is not None:
            query = query.where(releases.c.version == version)
        if content_root is not None:
            query = query.where(releases.c.content_root == content_root)
        found = self._find(query)
        if found is None:
            raise NotFound(
                f"There is no such version of dataset {dataset_id} here.", fix="Search the catalog: databund search"
            )
        return found

    def search(self, text: str, *, limit: int, offset: int = 0) -> Sequence[Dataset]:
        """Newest versions whose name, title, description or keywords hold every word (also Chinese); all for ""."""
        query = select(releases.c.descriptor).where(releases.c.words.is_not(None))
        dialect = self._connection.dialect.name
        match = _QUERIES[dialect](text)
        if match:
            query = query.where(sql(_MATCHES[dialect]).bindparams(query=match))
        return self._connection.scalars(query.order_by(releases.c.seq.desc()).limit(limit).offset(offset)).all()

    def _find(self, query: Select[tuple[Dataset, bytes]]) -> Release | None:
        row = self._connection.execute(query).first()
        return None if row is None else Release(row.descriptor, row.wrapped_key)


def _versions(dataset_id: DatasetId) -> Select[tuple[Dataset, bytes]]:
    """The newest version first; only the first row is ever taken."""
    return (
        select(releases.c.descriptor, releases.c.wrapped_key)
        .where(releases.c.dataset_id == dataset_id)
        .order_by(releases.c.version.desc())
        .limit(1)
    )


def _searchable(dataset: Dataset) -> str:
    return " ".join(segment("\n".join((dataset.name, dataset.title, dataset.description, *dataset.keywords))))
