"""Sealed blobs: the port `Objects`, opened by URL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from databund.errors import ConfigInvalid
from databund.ports import Objects

__all__ = ["open_objects"]

_FOLDER = "file://"


def open_objects(url: str, *, options: Mapping[str, str] | None = None) -> Objects:
    """Open ``file:///folder`` (made when absent) or ``s3://bucket/prefix``.

    ``options`` are those of obstore's S3 store, such as ``endpoint`` and ``access_key_id``; the standard AWS
    environment variables count where an option is not given. Raises `ConfigInvalid`, `StoreUnavailable`, `StoreFull`.
    """
    if url.startswith(_FOLDER + "/"):
        from databund.storage.folder import FolderObjects

        return FolderObjects.open(Path(url.removeprefix(_FOLDER)))
    if url.startswith("s3://"):
        from databund.storage.bucket import BucketObjects

        return BucketObjects.open(url, options=options or {})
    raise ConfigInvalid(
        "The address of the object store cannot be used.", fix="Write file:///path/to/folder or s3://bucket/prefix."
    )
