"""Dataset versions and catalog search: the port `Catalog`."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Select, column, func, select, table, update
from sqlalchemy import text as sql

from databund.core.datasets import Dataset
from databund.core.ids import ContentRoot, DatasetId
from databund.errors import AlreadyExists, NotFound
from databund.ports import Release
from databund.storage.search import fts5_query, segment, tsquery
from databund.storage.tables import releases

__all__ = ["SqlCatalog"]

_NEWEST = select(releases.c.descriptor).where(releases.c.words.is_not(None))
_INDEX = table("catalog_words", column("rowid"))


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
                f"There is no such version of dataset {dataset_id} here.",
                fix="Search the catalog: databund dataset search",
            )
        return found

    def search(self, text: str, *, limit: int, offset: int = 0) -> Sequence[Dataset]:
        """Newest versions whose name, title, description or keywords hold every word (also Chinese); all for ""."""
        found = _matching(text, self._connection.dialect.name)
        return self._connection.scalars(found.limit(limit).offset(offset)).all()

    def _find(self, query: Select[Dataset, bytes]) -> Release | None:
        row = self._connection.execute(query).first()
        return None if row is None else Release(row.descriptor, row.wrapped_key)


def _versions(dataset_id: DatasetId) -> Select[Dataset, bytes]:
    """The newest version first; only the first row is ever taken."""
    return (
        select(releases.c.descriptor, releases.c.wrapped_key)
        .where(releases.c.dataset_id == dataset_id)
        .order_by(releases.c.version.desc())
        .limit(1)
    )


def _matching(text: str, dialect: str) -> Select[Dataset]:
    """The newest versions that have every word of the text, newest first."""
    match = tsquery(text) if dialect == "postgresql" else fts5_query(text)
    if not match:
        return _NEWEST.order_by(releases.c.seq.desc())
    if dialect == "postgresql":
        condition = sql("array_to_tsvector(string_to_array(words, ' ')) @@ CAST(:match AS tsquery)")
        return _NEWEST.where(condition.bindparams(match=match)).order_by(releases.c.seq.desc())
    # Led by the index, SQLite walks its matches from the newest and stops at the limit, however many there are.
    led = _NEWEST.join(_INDEX, _INDEX.c.rowid == releases.c.seq).order_by(_INDEX.c.rowid.desc())
    return led.where(sql("catalog_words MATCH :match").bindparams(match=match))


def _searchable(dataset: Dataset) -> str:
    return " ".join(segment("\n".join((dataset.name, dataset.title, dataset.description, *dataset.keywords))))
