"""Signed heads: the port `Heads` over a local folder or a bucket, apart from the database and from its backups.

In a folder each log has a file of two slots, written in turn: a slot is a counter, a length, a hash over all of it, and
the note. A write that power loss tears spoils its own slot only, so the file holds the old head or the new one, never
neither. The file is filled when it is made, so that a replacement is one write in place and one fdatasync.

In a bucket each log has an object, replaced on the condition that it is still the one that was read (ETag).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import struct
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from databund.errors import ConfigInvalid, HeadMoved, InvalidInput, StoreCorrupt, StoreFull, StoreUnavailable
from databund.ports import Heads

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Store

__all__ = ["MAX_HEAD_BYTES", "FileHeads", "ObjectHeads", "open_heads"]

_SLOT_BYTES: Final = 16 * 1024
_HEADER: Final = struct.Struct(">QI32s")
MAX_HEAD_BYTES: Final = _SLOT_BYTES - _HEADER.size
"""The longest note that is kept: a checkpoint with 4 ML-DSA-44 signatures fits."""

_OPEN_FILES: Final = 128
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FILE: Final = "file://"


def open_heads(place: str, *, options: Mapping[str, str] | None = None) -> Heads:
    """Open a folder (a path, or ``file:///path``; made when absent) or ``s3://bucket/prefix``.

    ``options`` are those of obstore's S3 store; the standard AWS environment variables count where one is not given.
    Raises `ConfigInvalid`, `StoreUnavailable`, `StoreFull`.
    """
    if place.startswith("s3://"):
        return ObjectHeads.open(place, options=options or {})
    if "://" in place and not place.startswith(_FILE + "/"):
        raise ConfigInvalid("The place for signed heads cannot be used.", fix="Name a folder or s3://bucket/prefix.")
    return FileHeads(Path(place.removeprefix(_FILE)))


@dataclass(frozen=True)
class _Slot:
    """What one slot holds: the head, and the number of the write that put it there."""

    number: int
    note: bytes


class FileHeads:
    """The port `Heads` over files named by the SHA-256 of their log's origin. Threads and processes may share it."""

    def __init__(self, folder: Path) -> None:
        """Open the folder, which is made when it is absent. Raises `StoreUnavailable`, `StoreFull`."""
        self._folder = folder
        self._turn = threading.Lock()  # flock does not part the threads that share a descriptor
        self._files: OrderedDict[str, int] = OrderedDict()
        with _translated(folder):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def close(self) -> None:
        """Close the files; they are opened again when they are needed."""
        with self._turn:
            while self._files:
                os.close(self._files.popitem()[1])

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log. Raises `StoreCorrupt`, `StoreUnavailable`."""
        name = _name(origin)
        with self._turn, _translated(self._folder / name):
            file = self._opened(name)
            if file is None:
                return None
            with _locked(file, fcntl.LOCK_SH):
                return self._newest(file, name)[1].note or None

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one, durably, if ``was`` is what is stored; raises `HeadMoved` when it is not.

        Raises `InvalidInput` for an empty note and one longer than `MAX_HEAD_BYTES`, `StoreCorrupt`, `StoreFull`,
        `StoreUnavailable`.
        """
        if not 0 < len(checkpoint) <= MAX_HEAD_BYTES:
            raise InvalidInput(
                f"A checkpoint of {len(checkpoint)} bytes cannot be kept.", fix=f"Use 1 to {MAX_HEAD_BYTES} bytes."
            )
        name = _name(origin)
        with self._turn, _translated(self._folder / name):
            file = self._opened(name)
            if file is None:
                if was is not None:
                    raise _moved(origin)
                file = self._made(name)
            with _locked(file, fcntl.LOCK_EX):
                place, newest = self._newest(file, name)
                if (newest.note or None) != was:
                    raise _moved(origin)
                _write(file, _packed(name, newest.number + 1, checkpoint), at=(1 - place) * _SLOT_BYTES)
                _sync_data(file)

    def _newest(self, file: int, name: str) -> tuple[int, _Slot]:
        """The slot written last that is whole, and which of the two it is."""
        data = os.pread(file, 2 * _SLOT_BYTES, 0)
        slots = [
            (slot.number, place, slot)
            for place in range(2)
            if (slot := _unpacked(name, data[place * _SLOT_BYTES : (place + 1) * _SLOT_BYTES])) is not None
        ]
        if not slots:
            raise StoreCorrupt(
                f"The signed head {self._folder / name} is damaged in both copies.",
                fix="Do not sign on: find the newest checkpoint that witnesses saw, and compare the log with it.",
            )
        _, place, slot = max(slots)
        return place, slot

    def _opened(self, name: str) -> int | None:
        file = self._files.get(name)
        if file is None:
            try:
                file = os.open(self._folder / name, os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            if len(self._files) >= _OPEN_FILES:
                os.close(self._files.popitem(last=False)[1])
            self._files[name] = file
        self._files.move_to_end(name)
        return file

    def _made(self, name: str) -> int:
        """Make the file of a log that has no head yet, unless another process was faster."""
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with _locked(folder, fcntl.LOCK_EX):
                if not (self._folder / name).exists():
                    temporary = self._folder / f"{name}.new"
                    file = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
                    try:
                        _write(file, _packed(name, 0, b"").ljust(2 * _SLOT_BYTES, b"\0"), at=0)
                        os.fsync(file)
                    finally:
                        os.close(file)
                    temporary.replace(self._folder / name)
                    os.fsync(folder)
                    _sync_folder(self._folder.parent)  # which names the folder, perhaps since a moment ago
        finally:
            os.close(folder)
        made = self._opened(name)
        if made is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return made


class ObjectHeads:
    """The port `Heads` over a bucket, or a prefix of one. Any number of hosts may share it."""

    def __init__(self, store: S3Store) -> None:
        self._store = store

    @classmethod
    def open(cls, url: str, *, options: Mapping[str, str]) -> ObjectHeads:
        """Open ``s3://bucket/prefix`` without asking it anything yet. Raises `ConfigInvalid`."""
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        client: ClientConfig = {"connect_timeout": "5s", "timeout": "10s", "allow_http": True}
        retries: RetryConfig = {"max_retries": 2, "retry_timeout": timedelta(seconds=10)}
        config: dict[str, Any] = {"conditional_put": "etag", **options}
        try:
            return cls(S3Store.from_url(url, config=config, client_options=client, retry_config=retries))  # type: ignore[arg-type]  # keys are checked by obstore
        except (BaseError, ValueError) as error:
            raise ConfigInvalid(
                "The object store's address or options cannot be used.", fix="Check them against obstore's S3 options."
            ) from error

    def close(self) -> None:
        """There is nothing to release."""

    def get(self, origin: str) -> bytes | None:
        """The signed note that was stored last for this log. Raises `StoreUnavailable`."""
        return self._found(origin)[0]

    def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
        """Store another one, durably, if ``was`` is what is stored; raises `HeadMoved` when it is not.

        Raises `InvalidInput` for an empty note and one longer than `MAX_HEAD_BYTES`, `StoreFull`, `StoreUnavailable`.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, NotFoundError, PreconditionError

        if not 0 < len(checkpoint) <= MAX_HEAD_BYTES:
            raise InvalidInput(
                f"A checkpoint of {len(checkpoint)} bytes cannot be kept.", fix=f"Use 1 to {MAX_HEAD_BYTES} bytes."
            )
        found, version = self._found(origin)
        if found != was:
            raise _moved(origin)
        try:
            with _asked():
                obstore.put(
                    self._store,
                    _name(origin),
                    checkpoint,
                    mode="create" if version is None else {"e_tag": version},
                    use_multipart=False,
                )
        except (AlreadyExistsError, PreconditionError, NotFoundError):
            # The store may have taken a first attempt whose answer was lost; then what lies there is ours.
            if self._found(origin)[0] != checkpoint:
                raise _moved(origin) from None

    def _found(self, origin: str) -> tuple[bytes | None, str | None]:
        import obstore

        try:
            with _asked():
                found = obstore.get(self._store, _name(origin))
                content, version = bytes(found.bytes()), found.meta["e_tag"]
        except FileNotFoundError:
            return None, None
        if version is None:
            raise StoreUnavailable(
                "The object store gives no ETag, without which heads cannot be compared.", fix="Use one that does."
            )
        return content, version


def _name(origin: str) -> str:
    return sha256(origin.encode("utf-8", "surrogatepass")).hexdigest()


def _packed(name: str, number: int, note: bytes) -> bytes:
    return _HEADER.pack(number, len(note), _digest(name, number, note)) + note


def _unpacked(name: str, slot: bytes) -> _Slot | None:
    """What a slot holds; None when it is torn, or was never written."""
    if len(slot) < _HEADER.size:
        return None
    number, length, digest = _HEADER.unpack_from(slot)
    note = slot[_HEADER.size : _HEADER.size + length]
    return _Slot(number, note) if len(note) == length and digest == _digest(name, number, note) else None


def _digest(name: str, number: int, note: bytes) -> bytes:
    return sha256(b"%s %d %d " % (name.encode(), number, len(note)) + note).digest()


def _write(file: int, data: bytes, *, at: int) -> None:
    rest = memoryview(data)
    while rest:
        written = os.pwrite(file, rest, at)
        rest, at = rest[written:], at + written


def _sync_data(file: int) -> None:
    getattr(os, "fdatasync", os.fsync)(file)  # not every system has the lighter one


def _sync_folder(place: Path) -> None:
    folder = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _locked(file: int, mode: int) -> Iterator[None]:
    fcntl.flock(file, mode)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


def _moved(origin: str) -> HeadMoved:
    return HeadMoved(
        f"Another checkpoint of {origin} was signed meanwhile.",
        fix="Read the stored one, and sign only what continues it.",
    )


@contextlib.contextmanager
def _translated(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(
                f"There is no room for the signed head {place} ({error.strerror}).",
                fix="Free some disk space and try again.",
            ) from error
        raise StoreUnavailable(
            f"{place} cannot be used ({error.strerror}).", fix="Check the folder and its permissions."
        ) from error


_NO_ROOM: Final = re.compile(r"\b507\b|InsufficientStorage|QuotaExceeded|StorageFull")


@contextlib.contextmanager
def _asked() -> Iterator[None]:
    """Translate what an object store fails in; a failed condition and an absent object pass through."""
    from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError, PreconditionError

    try:
        yield
    except (AlreadyExistsError, PreconditionError, NotFoundError, FileNotFoundError):
        raise
    except (BaseError, OSError) as error:
        if _NO_ROOM.search(str(error)):
            raise StoreFull("The object store is full.", fix="Make room in the bucket and try again.") from error
        raise StoreUnavailable(
            f"The object store does not answer as it should ({type(error).__name__}).",
            fix="Check its address, the credentials and the bucket, then try again.",
        ) from error
