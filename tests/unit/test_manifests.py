"""Manifests: every path can be unpacked below a folder, every byte of the blob belongs to one file."""

import pytest

from databund.core import documents
from databund.core.ids import ContentRoot
from databund.core.manifests import Manifest, SealedFile, check_path
from databund.errors import DocumentInvalid, NotFound

ROOT = ContentRoot(bytes(range(32)))


def manifest_of(*paths: str) -> Manifest:
    """A manifest of one-byte files, each sealed into 57 bytes."""
    files = [SealedFile(path=path, size=1, offset=57 * place, length=57) for place, path in enumerate(paths)]
    return Manifest(files=tuple(files), size=57 * len(paths), root=ROOT)


def test_a_manifest_survives_its_json_form() -> None:
    """Encoding and decoding gives an equal manifest."""
    manifest = manifest_of("a.csv", "b/c.parquet", "数据/训练.csv")
    assert documents.decode(documents.encode(manifest), Manifest) == manifest


def test_unknown_members_are_refused() -> None:
    """A member we do not know is refused, for nobody checked it."""
    document = documents.dump(manifest_of("a"))
    document["files"][0]["mode"] = "4755"
    with pytest.raises(DocumentInvalid, match="mode"):
        documents.load(document, Manifest)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../b",
        "../a",
        "./a",
        "a//b",
        "a/",
        "a\0b",
        "a\nb",
        "a\x9bb",
        "a\\b",
        "C:a",
        "x" * 256,
        "/".join(["x" * 200] * 6),
        "\udcff",
    ],
)
def test_a_path_that_could_leave_its_folder_is_refused(path: str) -> None:
    """Absolute, climbing, empty, over-long and control-character paths are refused."""
    with pytest.raises(DocumentInvalid):
        check_path(path)


@pytest.mark.parametrize("path", ["a", "a.b/c d/é.csv", "...", "..a", "训练/数据.parquet", ".hidden", "x" * 255])
def test_an_ordinary_path_is_accepted(path: str) -> None:
    """Dots inside names, spaces and non-ASCII letters are ordinary."""
    check_path(path)


@pytest.mark.parametrize(
    "paths",
    [
        ("a", "a"),
        ("A", "a"),
        ("B/x", "b/X"),
        ("e\u0301", "\u00e9"),
        ("STRASSE", "straße"),
        ("a", "a/b"),
        ("A", "a/b/c"),
    ],
)
def test_two_names_for_one_place_are_refused(paths: tuple[str, ...]) -> None:
    """Names that meet on some file system, or a file used as a folder, are refused."""
    with pytest.raises(DocumentInvalid, match=r"one name|both a file"):
        manifest_of(*paths)


def test_files_lie_in_path_order() -> None:
    """A dataset version has one manifest, so the order is fixed."""
    with pytest.raises(DocumentInvalid, match="path order"):
        manifest_of("b", "a")


def test_a_manifest_has_a_file() -> None:
    """A version without files is refused."""
    with pytest.raises(DocumentInvalid, match="no file"):
        manifest_of()


@pytest.mark.parametrize("offset", [0, 56, 58])
def test_a_gap_or_an_overlap_is_refused(offset: int) -> None:
    """The second stream starts where the first ends."""
    first = SealedFile(path="a", size=1, offset=0, length=57)
    with pytest.raises(DocumentInvalid, match="starts at byte"):
        Manifest(files=(first, SealedFile(path="b", size=1, offset=offset, length=57)), size=114, root=ROOT)


@pytest.mark.parametrize("size", [56, 58])
def test_bytes_that_belong_to_no_file_are_refused(size: int) -> None:
    """The blob ends where the last stream ends."""
    with pytest.raises(DocumentInvalid, match="end at byte"):
        Manifest(files=manifest_of("a").files, size=size, root=ROOT)


@pytest.mark.parametrize(
    "numbers", [(0, 0, 57), (-1, 0, 57), (57, 0, 57), (1, -1, 57), (1, 0, 2**53), (1, 2**53, 57), (1, 0, 0)]
)
def test_impossible_numbers_are_refused(numbers: tuple[int, int, int]) -> None:
    """Sizes are positive, a sealed stream is longer than its plaintext, and JSON keeps them exact."""
    size, offset, length = numbers
    with pytest.raises(DocumentInvalid, match="cannot have"):
        SealedFile(path="a", size=size, offset=offset, length=length)


def test_a_media_type_has_two_parts() -> None:
    """A media type that would not survive an HTTP header is refused."""
    SealedFile(path="a", size=1, offset=0, length=57, media_type="application/vnd.apache.parquet")
    with pytest.raises(DocumentInvalid, match="media type"):
        SealedFile(path="a", size=1, offset=0, length=57, media_type="text/csv\r\nX: y")


def test_a_file_is_found_by_its_path() -> None:
    """Looking up a path gives its place, or says that there is none."""
    manifest = manifest_of("a", "b")
    assert (manifest.file("b").offset, manifest.file("b").end, manifest.plaintext_size) == (57, 114, 2)
    with pytest.raises(NotFound, match="'c'"):
        manifest.file("c")
