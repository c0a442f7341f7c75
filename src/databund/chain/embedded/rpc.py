"""The HTTP door: JSON-RPC 2.0 over POST.

:func:`handle` turns a request body into a response body, for one request or a batch. :class:`RpcApp` is the ASGI
application around it; it runs the node's calls in threads of its own, so the event loop never waits for the chain.
It sends no CORS headers and wants ``application/json``, so a web page of another site cannot talk to the node.
Source: https://www.jsonrpc.org/specification.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import msgspec
import structlog

from databund import errors
from databund.chain.embedded.encoding import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    LIMIT_EXCEEDED,
    PARSE_ERROR,
    SERVER_ERROR,
    JsonRpcError,
)
from databund.chain.embedded.node import EmbeddedNode

MAX_BODY_BYTES: Final = 2 * 1024 * 1024
MAX_BATCH: Final = 100

_Message = MutableMapping[str, Any]


def handle(node: EmbeddedNode, body: bytes) -> bytes:
    """Answer a request body. Empty when nothing is to be answered: notifications alone. Never raises."""
    if len(body) > MAX_BODY_BYTES:
        return _refused(INVALID_REQUEST, f"The request has more than {MAX_BODY_BYTES} bytes.")
    try:
        request = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _refused(PARSE_ERROR, "The request is not JSON.")
    if not isinstance(request, list):
        answer = _answer(node, request)
        return b"" if answer is None else msgspec.json.encode(answer)
    if not request:
        return _refused(INVALID_REQUEST, "The batch is empty.")
    if len(request) > MAX_BATCH:
        return _refused(LIMIT_EXCEEDED, f"The batch has more than {MAX_BATCH} requests.")
    answers = [answer for answer in (_answer(node, each) for each in request) if answer is not None]
    return msgspec.json.encode(answers) if answers else b""


def _answer(node: EmbeddedNode, request: object) -> dict[str, object] | None:
    if not isinstance(request, dict):
        return _error(None, JsonRpcError(INVALID_REQUEST, "This is not a JSON-RPC 2.0 request."))
    key, method, params = request.get("id"), request.get("method"), request.get("params", [])
    if request.get("jsonrpc") != "2.0" or not isinstance(method, str) or isinstance(key, bool | list | dict):
        return _error(None, JsonRpcError(INVALID_REQUEST, "This is not a JSON-RPC 2.0 request."))
    try:
        if not isinstance(params, list):
            raise JsonRpcError(INVALID_PARAMS, "The parameters are not a list.")
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": key, "result": node.request(method, params)}
    except JsonRpcError as error:
        answer = _error(key, error)
    except errors.DatabundError as error:
        answer = _error(key, JsonRpcError(SERVER_ERROR, str(error), {"code": error.code}))
    except Exception:  # noqa: BLE001 - the request handler: the caller learns nothing of our insides
        structlog.get_logger().exception("rpc.internal_error", method=method[:64])
        answer = _error(key, JsonRpcError(INTERNAL_ERROR, "internal error"))
    return answer if "id" in request else None


def _error(key: object, error: JsonRpcError) -> dict[str, object]:
    return {"jsonrpc": "2.0", "id": key, "error": error.as_object()}


def _refused(code: int, message: str) -> bytes:
    return msgspec.json.encode(_error(None, JsonRpcError(code, message)))


class RpcApp:
    """The ASGI application. ``workers`` calls run at once; the others wait without blocking the event loop."""

    def __init__(self, node: EmbeddedNode, *, workers: int = 8) -> None:
        self._node = node
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="embedded-rpc")

    async def __call__(
        self,
        scope: _Message,
        receive: Callable[[], Awaitable[_Message]],
        send: Callable[[_Message], Awaitable[None]],
    ) -> None:
        """Serve one HTTP request, or the lifespan protocol where this is the outermost application."""
        if scope["type"] == "lifespan":
            await _live(receive, send)
        elif scope["type"] == "http":
            status, body = await self._respond(scope, receive)
            headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
            if status == 405:
                headers.append((b"allow", b"POST"))
            await send({"type": "http.response.start", "status": status, "headers": headers})
            await send({"type": "http.response.body", "body": body})
        else:
            await send({"type": "websocket.close"})

    async def _respond(self, scope: _Message, receive: Callable[[], Awaitable[_Message]]) -> tuple[int, bytes]:
        if scope["method"] != "POST":
            return 405, _refused(INVALID_REQUEST, "Only POST is answered here.")
        content_type = dict(scope["headers"]).get(b"content-type", b"").split(b";")[0].strip().lower()
        if content_type != b"application/json":
            return 415, _refused(INVALID_REQUEST, "The content type is not application/json.")
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return 400, b""
            body += message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) > MAX_BODY_BYTES:
                return 413, _refused(INVALID_REQUEST, f"The request has more than {MAX_BODY_BYTES} bytes.")
        answer = await asyncio.get_running_loop().run_in_executor(self._pool, handle, self._node, bytes(body))
        return (200, answer) if answer else (204, b"")


async def _live(receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Awaitable[None]]) -> None:
    while (await receive())["type"] == "lifespan.startup":
        await send({"type": "lifespan.startup.complete"})
    await send({"type": "lifespan.shutdown.complete"})
