"""Idempotency keys: a POST that is sent again with the same ``Idempotency-Key`` gets the first answer again.

Only answers that say what was done are kept: no errors, and nothing marked ``no-store``; so a stranger cannot fill the
database with requests that do nothing. The use cases are idempotent by themselves, so a crash between act and answer
does no harm.
Source: the IETF draft "The Idempotency-Key HTTP Header Field".
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from anyio import to_thread
from litestar.types import (
    ASGIApp,
    HTTPDisconnectEvent,
    HTTPReceiveMessage,
    HTTPRequestEvent,
    Message,
    Receive,
    Scope,
    Send,
)
from structlog import get_logger

from databund.errors import DatabundError, InvalidInput
from databund.ports import Database

__all__ = ["MAX_BODY_BYTES", "idempotency"]

MAX_BODY_BYTES = 16 * 2**20
"""How much any request but an upload may hold; a manifest of 100,000 files fits."""
_KEY_LIMIT = 255


def idempotency(database: Database, clock: Callable[[], int]) -> Callable[[ASGIApp], ASGIApp]:
    """The middleware over ``database``."""

    def middleware(app: ASGIApp) -> ASGIApp:
        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            key = _header(scope, b"idempotency-key")
            if scope.get("method") != "POST" or key is None:
                await app(scope, receive, send)
                return
            if len(key) > _KEY_LIMIT:
                raise InvalidInput("The Idempotency-Key is longer than 255 characters.", fix="Use a random UUID.")
            body = await _body(receive)
            if body is None:
                return
            secret = _header(scope, b"authorization") or b""
            asker = hashlib.sha256(secret).hexdigest()
            # With the asker's secret in it, the hash tells nobody later whether a guess of the body is right.
            request = hashlib.sha256(b"\n".join((secret, scope["path"].encode(), body))).digest()
            answer = await to_thread.run_sync(_find, database, asker, key.decode("latin-1"), request)
            if answer is not None:
                await _replay(send, *answer)
                return
            await app(scope, _again(body), recorder := _Recorder(send))
            if recorder.worth_keeping:
                await to_thread.run_sync(
                    _remember, database, asker, key.decode("latin-1"), request, recorder.status, recorder.body, clock()
                )

        return handle

    return middleware


class _Recorder:
    """Sends on, and keeps what was sent."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 500
        self.body = b""
        self._private = False

    @property
    def worth_keeping(self) -> bool:
        return self.status < 400 and not self._private and len(self.body) <= MAX_BODY_BYTES

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._private = any(name == b"cache-control" and b"no-store" in value for name, value in message["headers"])
        elif message["type"] == "http.response.body":
            self.body += message.get("body", b"")
        await self._send(message)


def _find(database: Database, asker: str, key: str, request: bytes) -> tuple[int, bytes] | None:
    with database.read() as tables:
        return tables.idempotency.answer(asker, key, request=request)


def _remember(database: Database, asker: str, key: str, request: bytes, status: int, body: bytes, now: int) -> None:
    """Keep an answer that was sent already, so that what prevents it is no longer an error of the request."""
    try:
        with database.write() as tables:
            if tables.idempotency.answer(asker, key, request=request) is None:
                tables.idempotency.remember(asker, key, request=request, status=status, body=body, at=now)
    except DatabundError as error:
        get_logger("databund.api").warning("idempotency.answer_not_kept", code=error.code)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the client is gone before its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return None
        body += message["body"]
        if len(body) > MAX_BODY_BYTES:
            raise InvalidInput("The request is larger than 16 MiB.", fix="Upload data with PUT /blobs/{root}.")
        if not message["more_body"]:
            return body


def _again(body: bytes) -> Receive:
    sent = False

    async def again() -> HTTPReceiveMessage:
        nonlocal sent
        if sent:
            return HTTPDisconnectEvent(type="http.disconnect")
        sent = True
        return HTTPRequestEvent(type="http.request", body=body, more_body=False)

    return again


async def _replay(send: Send, status: int, body: bytes) -> None:
    kind = b"application/json" if status < 400 else b"application/problem+json"
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"idempotency-replayed", b"true"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _header(scope: Scope, name: bytes) -> bytes | None:
    return next((value for key, value in scope["headers"] if key == name), None)
