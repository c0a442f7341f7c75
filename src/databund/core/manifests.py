"""Manifests: which files lie where in the one sealed blob of a dataset version.

The blob is the sealed streams of the files, one after another in path order. Its content root, BLAKE3 of the whole
blob, is what an offer commits to. How a stream is sealed is the business of `databund.crypto.sealing`; here are only
the names, sizes and places, checked so that a manifest from a stranger can be unpacked below a folder.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

import msgspec

from databund.core.ids import ContentRoot
from databund.errors import DocumentInvalid, NotFound

__all__ = ["Manifest", "SealedFile", "check_path", "check_paths"]

_LARGEST = 2**53 - 1  # the largest integer that every JSON reader keeps exact (RFC 8785)
_PATH_BYTES = 1024
_PART_BYTES = 255
_MEDIA_TYPE = re.compile(r"[A-Za-z0-9][\w!#$&^.+-]{0,126}/[A-Za-z0-9][\w!#$&^.+-]{0,126}", re.ASCII)


class SealedFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file in a blob.

    ``path`` is relative, with ``/`` between its parts. ``size`` is that of the plaintext; ``offset`` and ``length`` are
    the place of the sealed stream in the blob, all in bytes. Raises `DocumentInvalid`.
    """

    path: str
    size: int
    offset: int
    length: int
    media_type: str | None = None

    def __post_init__(self) -> None:
        check_path(self.path)
        if not (0 < self.size < self.length <= _LARGEST and 0 <= self.offset <= _LARGEST):
            raise DocumentInvalid(
                f"{self.path!r} cannot have size {self.size}, offset {self.offset} and length {self.length}.",
                fix="Ask the provider for the manifest again.",
            )
        if self.media_type is not None and not _MEDIA_TYPE.fullmatch(self.media_type):
            raise DocumentInvalid(
                f"{self.media_type[:80]!r} is not a media type.", fix="Write it like text/csv (RFC 6838)."
            )

    @property
    def end(self) -> int:
        """The offset of the first byte after this file's stream."""
        return self.offset + self.length


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The files of one blob in path order, the blob's size in bytes, and its content root.

    Raises `DocumentInvalid` for no file, paths out of order or meeting on some file system, or gaps between streams.
    """

    files: tuple[SealedFile, ...]
    size: int
    root: ContentRoot

    def __post_init__(self) -> None:
        check_paths([file.path for file in self.files])
        end = 0
        for file in self.files:
            if file.offset != end:
                raise DocumentInvalid(
                    f"{file.path!r} starts at byte {file.offset} of the blob, not at {end}.",
                    fix="Ask the provider for the manifest again.",
                )
            end = file.end
        if end != self.size:
            raise DocumentInvalid(
                f"The files end at byte {end}, but the blob has {self.size}.",
                fix="Ask the provider for the manifest again.",
            )

    @property
    def plaintext_size(self) -> int:
        """Bytes of all files together once opened."""
        return sum(file.size for file in self.files)

    def file(self, path: str) -> SealedFile:
        """The file called ``path``. Raises `NotFound`."""
        for file in self.files:
            if file.path == path:
                return file
        raise NotFound(f"The dataset has no file {path!r}.", fix="List its files and use one of the paths shown.")


def check_path(path: str) -> None:
    """Raise `DocumentInvalid` unless ``path`` names something strictly below a folder, on any file system."""
    reason = _path_fault(path)
    if reason:
        raise DocumentInvalid(
            f"{path[:200]!r} cannot be the path of a file in a dataset: {reason}.",
            fix="Use a relative path with / between its parts, such as data/train.csv.",
        )


def check_paths(paths: Sequence[str]) -> None:
    """Raise `DocumentInvalid` unless ``paths`` can lie in one folder together, on any file system, and are in order."""
    if not paths:
        raise DocumentInvalid("The manifest names no file.", fix="Publish at least one file.")
    if list(paths) != sorted(paths):
        raise DocumentInvalid("The files are not in path order.", fix="Ask the provider for the manifest again.")
    seen: dict[str, str] = {}
    for path in paths:
        check_path(path)
        other = seen.get(_folded(path))
        if other is not None:
            raise DocumentInvalid(
                f"{path!r} and {other!r} are one name on a file system that ignores case.", fix="Rename one of them."
            )
        seen[_folded(path)] = path
    for path in paths:
        parents = _folded(path).split("/")[:-1]
        for depth in range(len(parents)):
            other = seen.get("/".join(parents[: depth + 1]))
            if other is not None:
                raise DocumentInvalid(
                    f"{other!r} is both a file and the folder of {path!r}.", fix="Rename one of them."
                )


def _path_fault(path: str) -> str | None:
    try:
        parts = path.encode().split(b"/")
    except UnicodeEncodeError:
        return "it is not Unicode text"
    if any(part in (b"", b".", b"..") for part in parts):
        return "it is absolute, empty, or has an empty part, '.' or '..'"
    if any(len(part) > _PART_BYTES for part in parts) or len(path.encode()) > _PATH_BYTES:
        return f"it is longer than {_PATH_BYTES} bytes, or a part of it than {_PART_BYTES}"
    if "\\" in path or any(unicodedata.category(character) == "Cc" for character in path):
        return "it has a backslash or a control character"
    return "it starts with a drive letter" if re.match(r"[A-Za-z]:", path) else None


def _folded(path: str) -> str:
    """One spelling for all that some file system takes for the same name (Unicode default caseless matching)."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())
