"""Sealed blobs in an S3 bucket, by obstore.

An object is uploaded in parts and becomes visible, whole and durable, when S3 completes the upload. What a writer
that fails or crashes leaves are invisible parts, which a lifecycle rule of the bucket removes. Memory is bounded by a
few parts; S3 takes 10,000 of them, so an object has at most 312 GiB.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

from databund.core.ids import ContentRoot
from databund.errors import ConfigInvalid, InvalidInput, NotFound, StoreFull, StoreUnavailable

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

__all__ = ["BucketObjects"]

_PIECE_BYTES = 1 << 20
_RANGE_BYTES = 8 << 20
"""Read by one request; small, so that a slow reader keeps no connection waiting."""
_PART_BYTES = 32 << 20
_PARTS_AT_ONCE = 2
_FULL = re.compile(r"\b507\b|InsufficientStorage|QuotaExceeded|StorageFull")
_RETRIES: RetryConfig = {"max_retries": 3, "retry_timeout": timedelta(seconds=30)}
# Without TLS only where an endpoint says http:// itself.
_CLIENT: ClientConfig = {"connect_timeout": "5s", "timeout": "120s", "allow_http": True}


class BucketObjects:
    """The port `Objects` over a bucket, or a prefix of one."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str, *, options: Mapping[str, str]) -> BucketObjects:
        """Open ``s3://bucket/prefix`` without asking it anything yet. Raises `ConfigInvalid`."""
        # Deletion one by one is what every S3-compatible store understands.
        config: dict[str, Any] = {"disable_bulk_delete": True, **options}
        try:
            return cls(S3Store.from_url(url, config=config, client_options=_CLIENT, retry_config=_RETRIES))  # type: ignore[arg-type]  # keys are checked by obstore
        except (BaseError, ValueError) as error:
            raise ConfigInvalid(
                "The object store's address or options cannot be used.", fix="Check them against obstore's S3 options."
            ) from error

    def put(self, name: str, chunks: Iterable[bytes]) -> int:
        """Store an object from its pieces, returning its size; an existing object of that name is kept."""
        with contextlib.suppress(NotFound):
            return self.size(name)
        size = 0
        # Pulled here, not by obstore: its threads cannot bear a source that itself asks a store. A source that fails
        # leaves the upload incomplete, which is never visible.
        writer = obstore.open_writer(
            self._store, _checked(name), buffer_size=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE
        )
        for chunk in chunks:
            with _translated(name):
                size += writer.write(chunk)
        with _translated(name):
            writer.close()
        return size

    def size(self, name: str) -> int:
        """Its size in bytes."""
        with _translated(name):
            return obstore.head(self._store, _checked(name))["size"]

    def read(self, name: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Its bytes from ``start`` up to ``stop``, in pieces of at most 1 MiB. Raises `InvalidInput` below 0."""
        size = self.size(name)
        if start < 0:
            raise InvalidInput(f"An object has no byte {start}.", fix="Start at 0 or later.")
        return self._pieces(name, start, size if stop is None else min(stop, size))

    def path(self, name: str) -> None:
        """No object lies in a local file."""
        _checked(name)

    def delete(self, name: str) -> None:
        """Remove it; removing an absent one changes nothing."""
        with contextlib.suppress(NotFound), _translated(name):
            obstore.delete(self._store, _checked(name))

    def _pieces(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, _RANGE_BYTES):
            with _translated(name):
                found = memoryview(obstore.get_range(self._store, name, start=at, end=min(at + _RANGE_BYTES, stop)))
            for piece in range(0, len(found), _PIECE_BYTES):
                yield bytes(found[piece : piece + _PIECE_BYTES])


def _checked(name: str) -> str:
    return str(ContentRoot.parse(name))


@contextlib.contextmanager
def _translated(name: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError as error:
        raise NotFound(f"There is no object {name} in the bucket.", fix="Check its name and the bucket's.") from error
    except (BaseError, OSError) as error:
        if _FULL.search(str(error)):
            raise StoreFull("The object store is full.", fix="Make room in the bucket and try again.") from error
        raise StoreUnavailable(
            f"The object store does not answer as it should ({type(error).__name__}).",
            fix="Check its address, the credentials and the bucket, then try again.",
        ) from error
