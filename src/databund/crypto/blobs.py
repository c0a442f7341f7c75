"""Blobs: a dataset version as one sealed file, made from files and opened back into them.

A blob is the sealed streams of the files in path order, nothing before, between or after; so the blob of a single file
is one Tink stream, and any slice a manifest names opens with Tink alone. The content root is BLAKE3 of the blob.

Opening reads the blob once: each piece is hashed and decrypted in one go into a private staging folder, and nothing is
published before the root of the very bytes that were decrypted has matched. Verifying in a pass of its own would read
twice and leave a moment in which the blob could be exchanged.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import BinaryIO, Final

from databund.core.ids import ContentRoot
from databund.core.manifests import Manifest, SealedFile, check_paths
from databund.crypto import _hazmat
from databund.crypto._files import open_regular, reserve, store_fault, unusable
from databund.crypto.content_keys import ContentKey
from databund.crypto.destinations import Destination
from databund.crypto.sealing import ByteSource, Opener, Sealer
from databund.crypto.segments import LAYOUT
from databund.errors import ContentMismatch, DocumentInvalid, FileChanged, FileUnusable, SealBroken

__all__ = ["Progress", "open_blob", "seal_files", "verify_blob"]

Progress = Callable[[int], None]
"""Called with the number of ciphertext bytes done so far, about once per MiB."""

_PIECE: Final = 4 << 20
_THREADS_PAY: Final = 64 << 20
_MEDIA_TYPES: Final = {
    ".arrow": "application/vnd.apache.arrow.file",
    ".csv": "text/csv",
    ".gz": "application/gzip",
    ".html": "text/html",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".md": "text/markdown",
    ".parquet": "application/vnd.apache.parquet",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".tsv": "text/tab-separated-values",
    ".txt": "text/plain",
    ".xml": "application/xml",
    ".zip": "application/zip",
    ".zst": "application/zstd",
}


def seal_files(
    files: Iterable[tuple[str, Path]], sink: BinaryIO, key: ContentKey, *, progress: Progress | None = None
) -> Manifest:
    """Seal files, each given with its path in the dataset, into ``sink`` and give the manifest of the blob.

    The media type is that of the name's ending. ``sink`` is not made durable and is worthless after an error.
    Raises `DocumentInvalid` for paths that cannot stand in a dataset, `FileUnusable` for a file that is missing, empty
    or not regular, `FileChanged` for one that changes while it is read, `StoreFull` and `StoreUnavailable`.
    """
    ordered = sorted(files, key=lambda pair: pair[0])
    check_paths([path for path, _ in ordered])
    sizes = [_size_of(source) for _, source in ordered]
    _reserve(sink, sum(LAYOUT.sealed_size(size) for size in sizes))
    sealer, meter = Sealer(key), _Meter(progress)
    sealed: list[SealedFile] = []
    for (path, source), size in zip(ordered, sizes, strict=True):
        offset = meter.count
        with _read_steadily(source, size) as file:
            done = sealer.seal(file, sink, size=size, hasher=meter)
            if done.size != size or file.read(1):
                raise _changed(source)
        media_type = _MEDIA_TYPES.get(Path(path).suffix.lower())
        sealed.append(SealedFile(path=path, size=size, offset=offset, length=done.length, media_type=media_type))
    return Manifest(files=tuple(sealed), size=meter.count, root=meter.root())


def verify_blob(source: Path | ByteSource, root: ContentRoot, size: int, *, progress: Progress | None = None) -> None:
    """Raise `ContentMismatch` unless ``source`` has exactly ``size`` bytes and their BLAKE3 is ``root``.

    Reads constant memory. Raises `FileUnusable` when it cannot be read.
    """
    if isinstance(source, Path):
        with open_regular(source) as file:
            verify_blob(file, root, size, progress=progress)
        return
    meter = _Meter(progress, threads=_hazmat.blake3.AUTO if size >= _THREADS_PAY else 1)
    _drain(source, meter, limit=size + 1)
    _check_root(meter, root, size)


def open_blob(
    blob: Path, manifest: Manifest, key: ContentKey, destination: Path, *, progress: Progress | None = None
) -> None:
    """Open every file of a blob below ``destination``, all of them or none; an equal file there already is fine.

    Needs room for the plaintext. Raises `ContentMismatch` when the blob is not the manifest's, `SealBroken` when it is
    but does not open under ``key``, `AlreadyExists` for a different file in the way, `FileUnusable`, `StoreFull` and
    `StoreUnavailable`. Whatever is raised, no file was added, unless the machine stopped between two renames.
    """
    _check_lengths(manifest)
    with open_regular(blob) as file, Destination(destination) as folder:
        _check_size(os.fstat(file.fileno()).st_size, manifest.size)
        for each in manifest.files:
            folder.check(each.path, each.size)
        meter = _Meter(progress)
        try:
            _open_files(file, manifest, key, folder, meter)
        except SealBroken:
            # Which of the two it is decides what to do next: fetch the blob again, or ask for another key.
            _drain(file, meter, limit=manifest.size + 1 - meter.count)
            _check_root(meter, manifest.root, manifest.size)
            raise
        _drain(file, meter, limit=1)
        _check_root(meter, manifest.root, manifest.size)
        folder.publish()


def _open_files(source: ByteSource, manifest: Manifest, key: ContentKey, folder: Destination, meter: _Meter) -> None:
    opener = Opener(key)
    for each in manifest.files:
        with folder.create(each.path, each.size) as sink:
            opener.open(source, sink, length=each.length, hasher=meter)
            folder.finish(sink)


class _Meter:
    """Takes the bytes of a blob as they pass: counts them, hashes them, reports them."""

    def __init__(self, progress: Progress | None, *, threads: int = 1) -> None:
        self.count = 0
        self._blake3 = _hazmat.blake3(max_threads=threads)
        self._progress = progress

    def update(self, data: memoryview, /) -> None:
        self._blake3.update(data)
        self.count += len(data)
        if self._progress is not None:
            self._progress(self.count)

    def root(self) -> ContentRoot:
        return ContentRoot(self._blake3.digest())


def _drain(source: ByteSource, meter: _Meter, *, limit: int) -> None:
    """Feed the next ``limit`` bytes, or as many as there are, to the meter."""
    buffer = memoryview(bytearray(min(_PIECE, limit)))
    try:
        while limit and (count := source.readinto(buffer[: min(len(buffer), limit)])):
            meter.update(buffer[:count])
            limit -= count
    except OSError as error:
        raise unusable(error, "The blob") from error


def _check_size(found: int, size: int) -> None:
    if found != size:
        raise ContentMismatch(
            f"The blob has {'more' if found > size else 'fewer'} than the {size} bytes that were promised.",
            fix="Fetch the blob again; nothing of it was used.",
        )


def _check_root(meter: _Meter, root: ContentRoot, size: int) -> None:
    _check_size(meter.count, size)
    if meter.root() != root:
        raise ContentMismatch(
            f"The blob's content root is {meter.root()}, but {root} was promised.",
            fix="Fetch the blob again; if it stays so, the source serves other data than was offered.",
        )


def _check_lengths(manifest: Manifest) -> None:
    for each in manifest.files:
        if LAYOUT.sealed_size(each.size) != each.length:
            raise DocumentInvalid(
                f"{each.path!r} of {each.size} bytes cannot be sealed in {each.length} bytes.",
                fix="Ask the provider for the manifest again.",
            )


def _size_of(path: Path) -> int:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
    if size == 0:
        raise FileUnusable(f"{path} is empty.", fix="Leave it out, or fill it.")
    return size


@contextmanager
def _read_steadily(path: Path, size: int) -> Iterator[FileIO]:
    """A file of ``size`` bytes. Raises `FileChanged` at the end unless it and its name stayed what they were."""
    with open_regular(path) as file:
        before = _trace(os.fstat(file.fileno()))
        if before[0] != size:
            raise _changed(path)
        yield file
        try:
            after = [_trace(os.fstat(file.fileno())), _trace(path.stat())]
        except OSError:
            raise _changed(path) from None
        if after != [before, before]:
            raise _changed(path)


def _trace(found: os.stat_result) -> tuple[int, int, int, int]:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_dev


def _changed(path: Path) -> FileChanged:
    return FileChanged(f"{path} changed while it was read.", fix="Wait until nothing writes to it, then publish again.")


def _reserve(sink: BinaryIO, size: int) -> None:
    try:
        descriptor = sink.fileno()
    except (AttributeError, OSError):
        return  # Not a file of this machine: it will say itself when it is full.
    try:
        reserve(descriptor, size)
    except OSError as error:
        raise store_fault(error, str(getattr(sink, "name", "the blob"))) from error
