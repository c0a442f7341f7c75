"""Sealed blobs over HTTP: upload once, download by Range from any byte.

A blob is ciphertext, named by its content root, immutable and public: whoever lacks the key can do nothing with it, and
any cache may hold it. A blob on the local disk is read through one buffer: in place where it is in the page cache,
which costs less than handing each piece between threads, and by a thread where the disk has to turn. (ASGI's
``pathsend`` is slower in granian, and knows no ranges.) Nothing is read for a client that is gone.
Source: RFC 9110 §14 (ranges), §13 (conditional requests).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from io import FileIO
from pathlib import Path
from typing import Any

from anyio import CapacityLimiter, from_thread, to_thread
from blake3 import blake3
from litestar import Request
from litestar.types import Receive, Scope, Send

from databund.core.ids import ContentRoot
from databund.errors import ContentMismatch, StoreCorrupt
from databund.ports import Objects

__all__ = ["send_blob", "store_blob"]

_PIECE_BYTES = 2**20
_IF_CACHED: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux
_RANGE = re.compile(rb"bytes=(\d{0,18})-(\d{0,18})")


async def store_blob(
    request: Request[Any, Any, Any], root: ContentRoot, objects: Objects, uploads: CapacityLimiter
) -> int:
    """Store the request's body as the blob ``root``, in constant memory, and return its size.

    Raises `ContentMismatch` when BLAKE3 of the body is another, `StoreFull` when there is no room;
    nothing is left then.
    """
    stream = request.stream()

    def pieces() -> Iterator[bytes]:
        hasher = blake3()
        while piece := from_thread.run(_next, stream):
            hasher.update(piece)
            yield piece
        if hasher.digest() != bytes(root):
            raise ContentMismatch(
                f"The upload has the content root 0x{hasher.hexdigest()}, not {root}.", fix="Upload it again."
            )

    return await to_thread.run_sync(objects.put, str(root), pieces(), limiter=uploads)


async def send_blob(scope: Scope, receive: Receive, send: Send, root: ContentRoot, objects: Objects) -> None:
    """Answer GET or HEAD for a blob, whole or one range. Raises `NotFound`."""
    size = await to_thread.run_sync(objects.size, str(root))
    tag = f'"{root}"'.encode()
    headers = [
        (b"accept-ranges", b"bytes"),
        (b"etag", tag),
        (b"cache-control", b"public, max-age=31536000, immutable"),
        (b"content-type", b"application/octet-stream"),
    ]
    asked = {name: value for name, value in scope["headers"] if name in (b"range", b"if-range", b"if-none-match")}
    if asked.get(b"if-none-match") in (tag, b"*"):
        await _send_empty(send, 304, headers)
        return
    span = _span(asked.get(b"range"), size) if asked.get(b"if-range", tag) == tag else None
    if span == _UNSATISFIABLE:
        await _send_empty(send, 416, [*headers, (b"content-range", f"bytes */{size}".encode())])
        return
    start, stop = span or (0, size)
    headers.append((b"content-length", str(stop - start).encode()))
    if span is not None:
        headers.append((b"content-range", f"bytes {start}-{stop - 1}/{size}".encode()))
    await send({"type": "http.response.start", "status": 206 if span else 200, "headers": headers})
    if scope.get("method") == "HEAD":
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        return
    path = objects.path(str(root))
    pieces = _remote(objects, root, start, stop) if path is None else _local(path, start, stop)
    gone = asyncio.ensure_future(_disconnected(receive))
    try:
        async for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
            await asyncio.sleep(0)  # a server need not wait in send, least of all when the client is gone
            if gone.done():
                return
    finally:
        gone.cancel()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _remote(objects: Objects, root: ContentRoot, start: int, stop: int) -> AsyncIterator[bytes]:
    pieces = objects.read(str(root), start=start, stop=stop)
    while piece := await to_thread.run_sync(next, pieces, b""):
        yield piece


async def _local(path: str, start: int, stop: int) -> AsyncIterator[bytes]:
    with Path(path).open("rb", buffering=0) as file:
        while start < stop:
            wanted = min(_PIECE_BYTES, stop - start)
            if _is_cached(file, start) and _is_cached(file, start + wanted - 1):
                piece = os.pread(file.fileno(), wanted, start)
            else:
                piece = await to_thread.run_sync(os.pread, file.fileno(), wanted, start)
            if not piece:
                raise StoreCorrupt(f"{path} ends at byte {start}.", fix="Restore the object from a backup.")
            yield piece
            start += len(piece)


def _is_cached(file: FileIO, place: int) -> bool:
    """Whether the page cache has this byte, so that reading it waits for no disk; False where nobody can tell."""
    if _IF_CACHED is None:
        return False
    try:
        return os.preadv(file.fileno(), [bytearray(1)], place, _IF_CACHED) == 1
    except OSError:
        return False


async def _disconnected(receive: Receive) -> None:
    """Return when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


_UNSATISFIABLE = (-1, -1)


def _span(header: bytes | None, size: int) -> tuple[int, int] | None:
    """The range as (start, stop); None for no range or one we need not understand (RFC 9110 §14.2)."""
    match = _RANGE.fullmatch(header or b"")
    if match is None or match[1] == match[2] == b"":
        return None
    if match[1] == b"":
        length = int(match[2])
        return (max(0, size - length), size) if length else _UNSATISFIABLE
    start, last = int(match[1]), int(match[2]) if match[2] else size - 1
    if match[2] and last < start:
        return None
    return (start, min(last + 1, size)) if start < size else _UNSATISFIABLE


async def _next(stream: AsyncGenerator[bytes, None]) -> bytes:
    while (piece := await anext(stream, None)) is not None:
        if piece:
            return piece
    return b""


async def _send_empty(send: Send, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})
