"""Blobs: files become one sealed file, and come back whole or not at all."""

import io
import os
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from blake3 import blake3

from databund.core.manifests import Manifest
from databund.crypto.blobs import open_blob, seal_files, verify_blob
from databund.crypto.content_keys import ContentKey
from databund.crypto.sealing import open_sealed
from databund.errors import (
    AlreadyExists,
    ContentMismatch,
    DocumentInvalid,
    FileChanged,
    FileUnusable,
    SealBroken,
    StoreFull,
)

MIB = 1 << 20
CONTENT = {"b/c.parquet": bytes(range(256)) * 8193, "a.csv": b"x,y\n1,2\n", "b/d": b"d"}


class Publication:
    """Three files sealed into ``blob``, and where they go."""

    def __init__(self, folder: Path) -> None:
        self.key = ContentKey.generate()
        self.blob = folder / "blob"
        self.destination = folder / "destination"
        sources = []
        for number, (path, data) in enumerate(CONTENT.items()):
            (folder / f"source{number}").write_bytes(data)
            sources.append((path, folder / f"source{number}"))
        with self.blob.open("wb") as sink:
            self.manifest: Manifest = seal_files(sources, sink, self.key)

    def open(self, key: ContentKey | None = None) -> None:
        """Open the blob into the destination."""
        open_blob(self.blob, self.manifest, key or self.key, self.destination)

    def unpacked(self) -> dict[str, bytes]:
        """Every file below the destination."""
        found = (path for path in self.destination.rglob("*") if path.is_file())
        return {path.relative_to(self.destination).as_posix(): path.read_bytes() for path in found}


@pytest.fixture
def publication(tmp_path: Path) -> Publication:
    """A fresh blob."""
    return Publication(tmp_path)


def seal_one(path: Path, name: str = "a", progress: Callable[[int], None] | None = None) -> Manifest:
    """Seal one file and forget the blob."""
    return seal_files([(name, path)], io.BytesIO(), ContentKey.generate(), progress=progress)


def test_files_come_back(publication: Publication) -> None:
    """Every file is unpacked at its path with its bytes, and no staging folder stays."""
    publication.open()
    assert publication.unpacked() == CONTENT
    assert sorted(path.name for path in publication.destination.iterdir()) == ["a.csv", "b"]


def test_the_manifest_says_what_lies_where(publication: Publication) -> None:
    """Files are listed in path order with sizes and media types; the root is what b3sum prints."""
    files = publication.manifest.files
    assert [(each.path, each.size) for each in files] == sorted((path, len(data)) for path, data in CONTENT.items())
    assert [each.media_type for each in files] == ["text/csv", "application/vnd.apache.parquet", None]
    assert bytes(publication.manifest.root) == blake3(publication.blob.read_bytes()).digest()
    assert publication.manifest.size == publication.blob.stat().st_size


def test_the_blob_of_one_file_is_one_stream(tmp_path: Path) -> None:
    """There is nothing around the stream of a single file."""
    (tmp_path / "a").write_bytes(b"alone")
    key, blob, opened = ContentKey.generate(), io.BytesIO(), io.BytesIO()
    seal_files([("a", tmp_path / "a")], blob, key)
    open_sealed(io.BytesIO(blob.getvalue()), opened, key)
    assert opened.getvalue() == b"alone"


@pytest.mark.parametrize("place", [0, 30, 100, MIB, -1])
def test_an_altered_blob_unpacks_nothing(publication: Publication, place: int) -> None:
    """One changed byte, in a header or anywhere, and not one file appears."""
    data = bytearray(publication.blob.read_bytes())
    data[place] ^= 1
    publication.blob.write_bytes(data)
    with pytest.raises(ContentMismatch, match="content root is"):
        publication.open()
    assert list(publication.destination.iterdir()) == []


@pytest.mark.parametrize(
    "change", [lambda _: b"", lambda d: d[:-1], lambda d: d[:70], lambda d: d + b"x", lambda d: d * 2]
)
def test_a_blob_of_another_size_unpacks_nothing(publication: Publication, change: Callable[[bytes], bytes]) -> None:
    """Cut or extended, a blob is refused and not one file appears."""
    publication.blob.write_bytes(change(publication.blob.read_bytes()))
    with pytest.raises(ContentMismatch, match="were promised"):
        publication.open()
    assert list(publication.destination.iterdir()) == []


def test_a_wrong_key_is_told_from_a_wrong_blob(publication: Publication) -> None:
    """The right blob under another key is `SealBroken`, and not one file appears."""
    with pytest.raises(SealBroken, match="Segment 0"):
        publication.open(ContentKey.generate())
    assert list(publication.destination.iterdir()) == []


def test_a_manifest_with_false_sizes_is_refused(publication: Publication) -> None:
    """A plaintext size that does not fit the sealed length is refused before anything is read."""
    files = list(publication.manifest.files)
    files[0] = msgspec.structs.replace(files[0], size=files[0].size - 1)
    publication.manifest = msgspec.structs.replace(publication.manifest, files=tuple(files))
    with pytest.raises(DocumentInvalid, match=r"a\.csv"):
        publication.open()


def test_opening_again_is_fine(publication: Publication) -> None:
    """Equal files that lie there already stay as they are; missing ones are added."""
    publication.open()
    kept = (publication.destination / "a.csv").stat().st_ino
    (publication.destination / "b" / "d").unlink()
    publication.open()
    assert publication.unpacked() == CONTENT
    assert (publication.destination / "a.csv").stat().st_ino == kept


@pytest.mark.parametrize("other", [b"x,y\n9,9\n", b"longer than it should be"])
def test_a_different_file_in_the_way_stays(publication: Publication, other: bytes) -> None:
    """A file with other bytes is never overwritten, and no other file is added beside it."""
    publication.destination.mkdir()
    (publication.destination / "a.csv").write_bytes(other)
    with pytest.raises(AlreadyExists, match=r"a\.csv"):
        publication.open()
    assert publication.unpacked() == {"a.csv": other}


def test_a_link_inside_the_destination_is_not_followed(publication: Publication, tmp_path: Path) -> None:
    """A folder of the path that is a symbolic link leads nowhere: nothing outside is written."""
    outside = tmp_path / "outside"
    outside.mkdir()
    publication.destination.mkdir()
    (publication.destination / "b").symlink_to(outside)
    with pytest.raises(FileUnusable, match="symbolic link"):
        publication.open()
    assert list(outside.iterdir()) == []


def test_a_link_in_the_place_of_a_file_is_not_followed(publication: Publication, tmp_path: Path) -> None:
    """A symbolic link where a file should go is left alone, also one to an equal file."""
    (tmp_path / "outside").write_bytes(CONTENT["a.csv"])
    publication.destination.mkdir()
    (publication.destination / "a.csv").symlink_to(tmp_path / "outside")
    with pytest.raises(AlreadyExists, match=r"a\.csv"):
        publication.open()
    assert (publication.destination / "a.csv").is_symlink()


def test_a_destination_that_is_a_file_is_refused(publication: Publication) -> None:
    """What is named as the destination must be a folder."""
    publication.destination.write_bytes(b"")
    with pytest.raises(FileUnusable, match="destination"):
        publication.open()


def test_a_full_disk_while_opening_leaves_nothing(publication: Publication) -> None:
    """Without room for a file, opening fails by name and removes what it wrote."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with pytest.raises(StoreFull, match=r"c\.parquet"):
            publication.open()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list(publication.destination.iterdir()) == []


def test_a_full_disk_while_sealing_is_named(tmp_path: Path) -> None:
    """A sink without room raises `StoreFull`, be it a device or a file whose space cannot be reserved."""
    (tmp_path / "a").write_bytes(b"data")
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(StoreFull):
        seal_files([("a", tmp_path / "a")], full, ContentKey.generate())
    (tmp_path / "b").write_bytes(bytes(2 * MIB))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MIB, limits[1]))
    try:
        with (tmp_path / "blob").open("wb") as sink, pytest.raises(StoreFull, match="blob"):
            seal_files([("b", tmp_path / "b")], sink, ContentKey.generate())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def append(path: Path) -> None:
    """Let the file grow."""
    with path.open("ab") as file:
        file.write(b"more")


def rewrite(path: Path) -> None:
    """Change the file in place, keeping its size."""
    with path.open("r+b") as file:
        file.write(b"other")
    os.utime(path, ns=(1, 1))


def replace(path: Path) -> None:
    """Put another file of the same size and times under the name."""
    found = path.stat()
    fresh = path.with_name("fresh")
    fresh.write_bytes(bytes(found.st_size))
    os.utime(fresh, ns=(found.st_atime_ns, found.st_mtime_ns))
    fresh.rename(path)


@pytest.mark.parametrize("change", [append, rewrite, replace, Path.unlink, lambda path: os.truncate(path, MIB)])
def test_a_file_that_changes_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """Growing, shrinking, rewritten, replaced or removed while it is read, a file is refused."""
    source = tmp_path / "source"
    source.write_bytes(bytes(3 * MIB))
    done: list[int] = []

    def meanwhile(count: int) -> None:
        if not done:
            change(source)
        done.append(count)

    with pytest.raises(FileChanged, match="source changed while it was read"):
        seal_one(source, progress=meanwhile)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """A path with nothing there is named."""
    with pytest.raises(FileUnusable, match="nothing cannot be read: No such file"):
        seal_one(tmp_path / "nothing")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    """A folder, an empty file and a pipe are refused, the pipe without waiting for a writer."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").touch()
    for path, reason in [(tmp_path, "regular"), (tmp_path / "pipe", "regular"), (tmp_path / "empty", "empty")]:
        with pytest.raises(FileUnusable, match=reason):
            seal_one(path)


def test_bad_paths_are_refused_before_sealing(tmp_path: Path) -> None:
    """Paths that cannot stand in a dataset are refused before a byte is sealed."""
    (tmp_path / "a").write_bytes(b"data")
    done: list[int] = []
    with pytest.raises(DocumentInvalid):
        seal_one(tmp_path / "a", name="../a", progress=done.append)
    assert done == []


def test_progress_counts_to_the_end(publication: Publication) -> None:
    """Progress is the ciphertext bytes done, rising to the size of the blob."""
    for run in (
        lambda report: verify_blob(
            publication.blob, publication.manifest.root, publication.manifest.size, progress=report
        ),
        lambda report: open_blob(
            publication.blob, publication.manifest, publication.key, publication.destination, progress=report
        ),
    ):
        done: list[int] = []
        run(done.append)
        assert done == sorted(done)
        assert done[-1] == publication.manifest.size


def test_a_blob_is_verified_from_a_file_or_a_stream(publication: Publication) -> None:
    """The root is checked over a path and over anything that can be read."""
    manifest = publication.manifest
    verify_blob(publication.blob, manifest.root, manifest.size)
    verify_blob(io.BytesIO(publication.blob.read_bytes()), manifest.root, manifest.size)


@pytest.mark.parametrize("change", [lambda _: b"", lambda d: d[:-1], lambda d: d + b"x", lambda d: b"\0" + d[1:]])
def test_a_different_blob_is_not_verified(publication: Publication, change: Callable[[bytes], bytes]) -> None:
    """Shorter, longer or altered, a blob is not the one promised."""
    data = change(publication.blob.read_bytes())
    with pytest.raises(ContentMismatch):
        verify_blob(io.BytesIO(data), publication.manifest.root, publication.manifest.size)


def test_many_threads_find_the_same_root(tmp_path: Path) -> None:
    """A blob large enough for several threads has the root that one thread finds."""
    (tmp_path / "large").write_bytes(bytes(65 * MIB))
    root = seal_one(tmp_path / "large").root
    with pytest.raises(ContentMismatch, match=f"{root} was promised"):
        verify_blob(tmp_path / "large", root, 65 * MIB)


def test_memory_stays_constant(tmp_path: Path) -> None:
    """Sealing and opening 48 MiB needs less than 8 MiB."""
    (tmp_path / "large").write_bytes(bytes(48 * MIB))
    key = ContentKey.generate()
    tracemalloc.start()
    try:
        with (tmp_path / "blob").open("wb") as sink:
            manifest = seal_files([("large", tmp_path / "large")], sink, key)
        open_blob(tmp_path / "blob", manifest, key, tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8 * MIB
