"""Where a log may lie: on a web server, in a folder, in a ZIP. Each is a `databund.tlog.sources.LogSource`.

Paths are those of c2sp.org/tlog-tiles, so any log of that form is read, not only ours. A partial resource that is gone
is cut from the full one that replaced it, as the specification asks of clients ("Partial Tiles").
"""

from __future__ import annotations

import time
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from databund import __version__
from databund.errors import (
    ConfigInvalid,
    DocumentInvalid,
    FileUnusable,
    IdentifierInvalid,
    LogDamaged,
    NodeUnreachable,
    NotFound,
)
from databund.sdk.connection import Connection
from databund.tlog.merkle import HASH_BYTES
from databund.tlog.sources import Bundle
from databund.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, parse_entries, parse_path, tile_width

__all__ = [
    "DAMAGED_ZIP",
    "PACKED",
    "FolderLog",
    "HttpLog",
    "NodeResources",
    "Resources",
    "TiledLog",
    "ZipLog",
    "find_log",
]

DAMAGED_ZIP = (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)
"""What `zipfile` raises for a damaged archive: unknown methods and versions, passwords, streams that end or break."""

PACKED = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
"""How exports are packed. Others are refused: an LZMA member may ask for 4 GiB of memory, whatever its size."""

_RESOURCE_LIMIT = TILE_WIDTH * (2 + 65_535)  # bytes: the longest entry bundle
_ATTEMPTS = 3
_LONGEST_S = 120.0
_PAUSE_S = 0.2
_GONE = {404, 410}


class Resources(Protocol):
    """The files of a log, each by its path."""

    def read(self, path: str) -> bytes:
        """One file. Raises NotFound."""


class TiledLog:
    """A log in the resources of c2sp.org/tlog-tiles, wherever their files are read from."""

    def __init__(self, resources: Resources) -> None:
        self.resources = resources

    def checkpoint(self) -> bytes:
        """The newest checkpoint."""
        return self.resources.read("checkpoint")

    def tile(self, level: int, index: int, width: int, /) -> bytes:
        """The hashes of a tile."""
        try:
            return self.resources.read(Tile(level, index, width).path)
        except NotFound:
            if width == TILE_WIDTH:
                raise
        return self.resources.read(Tile(level, index).path)[: width * HASH_BYTES]

    def entries(self, index: int, width: int, /) -> Bundle:
        """The entries of a bundle."""
        try:
            return self.resources.read(EntryBundle(index, width).path)
        except NotFound:
            if width == TILE_WIDTH:
                raise
        try:
            return parse_entries(self.resources.read(EntryBundle(index).path))[:width]
        except DocumentInvalid as error:
            path = EntryBundle(index).path
            raise LogDamaged(
                f"{path} is not an entry bundle.", fix=error.fix, resource="entry bundle", path=path
            ) from error


class FolderLog(TiledLog):
    """A log in a folder, as a static web server hosts it. Raises `FileUnusable` for one that cannot be read."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self)
        self.folder = folder

    def read(self, path: str) -> bytes:
        """One file."""
        try:
            with (self.folder / path).open("rb") as file:
                return file.read(_RESOURCE_LIMIT + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{self.folder} has no {path}.", fix="Name a folder with a whole log.") from error
        except OSError as error:
            raise FileUnusable(
                f"{self.folder / path} cannot be read: {error.strerror}.", fix="Check the disk and its permissions."
            ) from error

    def partials(self, size: int) -> Iterator[Tile | EntryBundle]:
        """The stored partial tiles and bundles that are narrower than a log of ``size`` entries needs."""
        for file in (self.folder / "tile").glob("**/*.p/*"):
            try:
                found = parse_path(file.relative_to(self.folder).as_posix())
            except IdentifierInvalid:
                continue
            if found.width < tile_width(getattr(found, "level", 0), found.index, size=size):
                yield found


class ZipLog(TiledLog):
    """A log in a ZIP, as ``databund audit export`` writes it; the archive stays the caller's to close."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        super().__init__(self)
        self._archive = archive

    def read(self, path: str) -> bytes:
        """One member."""
        try:
            member = self._archive.getinfo(path)
            if member.file_size > _RESOURCE_LIMIT or member.compress_type not in PACKED:
                raise LogDamaged(f"{path} is too large, or packed strangely.", fix="Get the file again.", path=path)
            return self._archive.read(path)
        except KeyError:
            raise NotFound(f"The file lacks {path}.", fix="Get the file again.") from None
        except (*DAMAGED_ZIP, OSError) as error:
            raise LogDamaged(f"{path} is damaged: {error}.", fix="Get the file again.", path=path) from error


class NodeResources:
    """The files of a node's log, over a connection that is open already."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def read(self, path: str) -> bytes:
        """One resource."""
        return self._connection.get_bytes(f"/log/{path}")


class HttpLog(TiledLog):
    """A log on a web server, below a URL.

    Raises `NodeUnreachable` when it does not answer, answers nonsense, or takes longer than ``longest_s`` for a file.
    """

    def __init__(
        self, url: str, *, transport: httpx.BaseTransport | None = None, longest_s: float = _LONGEST_S
    ) -> None:
        super().__init__(self)
        self._longest_s = longest_s
        self.url = _checked(url)
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(30.0, connect=5.0),
            headers={"User-Agent": f"databund/{__version__}"},
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def read(self, path: str) -> bytes:
        """One resource, tried again a few times when the connection is lost."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                return self._get(path)
            except httpx.TransportError as error:
                if not left:
                    raise NodeUnreachable(
                        f"The log at {self.url} does not answer ({type(error).__name__}).",
                        fix="Check the URL, then run the same command again.",
                    ) from error
                time.sleep(_PAUSE_S * (_ATTEMPTS - left))
        raise AssertionError("unreachable")

    def _get(self, path: str) -> bytes:
        body, end = bytearray(), time.monotonic() + self._longest_s
        with self._http.stream("GET", f"{self.url}/{path}") as answer:
            if answer.status_code in _GONE:
                raise NotFound(f"{self.url} has no {path}.", fix="Check the URL.")
            if answer.status_code != httpx.codes.OK:
                raise NodeUnreachable(
                    f"{self.url}/{path} answered with status {answer.status_code}.",
                    fix="Check the URL, then run the same command again.",
                )
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _RESOURCE_LIMIT:
                    raise NodeUnreachable(f"{self.url}/{path} is too long.", fix="Check the URL.")
                if time.monotonic() > end:  # a byte now and then would hold a monitor up, and so all its alarms
                    raise NodeUnreachable(f"{self.url}/{path} does not end.", fix="Check the URL, then try again.")
        return bytes(body)


def find_log(url: str, *, transport: httpx.BaseTransport | None = None) -> HttpLog:
    """The log at a URL: the prefix of any C2SP log, or a node of ours, whose log is below ``/log``.

    Raises `NodeUnreachable` when there is none.
    """
    for prefix in (url.rstrip("/"), f"{url.rstrip('/')}/log"):
        log = HttpLog(prefix, transport=transport)
        try:
            log.checkpoint()
        except NotFound:
            log.close()
        except BaseException:
            log.close()
            raise
        else:
            return log
    raise NodeUnreachable(f"There is no log at {url}.", fix="Name the URL below which it has its checkpoint.")


def _checked(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        raise ConfigInvalid(
            "The URL of a log begins with http:// or https://, and holds no password.",
            fix="Write it like https://log.example.com",
        )
    return url.rstrip("/")
