"""Datasets: what a provider registers and describes before anything is sold.

A `Dataset` value is one version: the descriptor people search, the columns, and the manifest of the sealed blob.
The terms follow DCAT 3 (title, description, keyword, language, license) and Croissant (fields, distribution).
"""

from __future__ import annotations

import re

import msgspec

from databund.core.ids import Address, ContentRoot, DatasetId
from databund.core.manifests import Manifest
from databund.errors import DocumentInvalid

__all__ = ["Column", "Dataset"]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")
_LIMITS = {"title": 200, "description": 20_000, "license": 200, "attribution": 2_000}


class Column(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A column of a table: its name and its SQL type as DuckDB writes it (``BIGINT``, ``VARCHAR``)."""

    name: str
    type: str


class Dataset(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One version of a dataset.

    ``name`` is the provider's own short name, which together with the provider gives the id. ``license`` is the
    SPDX expression under which the provider holds the data, ``attribution`` the line its source asks for.
    ``rows`` and ``columns`` are there when every file is a table of one form. Times are Unix seconds.
    """

    provider: Address
    name: str
    version: int
    title: str
    description: str
    manifest: Manifest
    created_at: int
    keywords: tuple[str, ...] = ()
    language: str | None = None
    license: str | None = None
    attribution: str | None = None
    columns: tuple[Column, ...] = ()
    rows: int | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DocumentInvalid(
                f"{self.name[:80]!r} is not a dataset name.",
                fix="Use 1 to 64 lower-case letters, digits and hyphens.",
            )
        if not self.title.strip():
            raise DocumentInvalid("The dataset has no title.", fix="Give it one: --title")
        for member, limit in _LIMITS.items():
            if len(getattr(self, member) or "") > limit:
                raise DocumentInvalid(f"The dataset's {member} is longer than {limit} characters.", fix="Shorten it.")
        if self.version < 1:
            raise DocumentInvalid(f"The version {self.version} is not a version.", fix="Versions count from 1.")

    @property
    def id(self) -> DatasetId:
        """The id of the dataset, the same for all its versions."""
        return DatasetId.of(self.provider, self.name)

    @property
    def content_root(self) -> ContentRoot:
        """BLAKE3 of this version's sealed blob."""
        return self.manifest.root
