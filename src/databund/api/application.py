"""The application: every route of a node in one ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

from anyio import CapacityLimiter, to_thread
from litestar import Litestar, Request, asgi, get, post, put, route
from litestar.di import Provide
from litestar.exceptions import HTTPException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin
from litestar.params import FromPath, JSONBody
from litestar.plugins.prometheus import PrometheusConfig, PrometheusController
from litestar.response import Response
from litestar.types import ASGIApp, ControllerRouterHandler, Message, Receive, Scope, Send
from structlog import get_logger

from databund.api.attachments import AttachmentRoutes
from databund.api.blobs import send_blob, store_blob
from databund.api.dependencies import Holder, PublicUrl, TheNode, Uploads
from databund.api.idempotency import MAX_BODY_BYTES, idempotency
from databund.api.problems import on_databund_error, on_http_error, on_surprise, on_too_deep
from databund.api.schema import IdentifierSchemas
from databund.api.trade import (
    AccountRoutes,
    DatasetRoutes,
    DeliveryRoutes,
    LicenseRoutes,
    OfferRoutes,
    OrderRoutes,
)
from databund.app.chores import Chore
from databund.app.node import Node
from databund.core import documents
from databund.core.amounts import Amount
from databund.core.ids import Address, Bytes32, ContentRoot, Hex
from databund.core.log_status import LogStatus
from databund.core.messages import Challenge, ChallengeRequest, NodeInfo, SignInRequest, Token
from databund.errors import DatabundError, NotFound, SignInRequired
from databund.ports import Tables
from databund.tlog.checkpoints import read_unverified
from databund.tlog.tiles import TILE_WIDTH, EntryBundle, Tile, format_entries, parse_path

__all__ = ["create_application"]

_THREADS = 64
_UPLOADS_AT_ONCE = 16
_NO_STORE = {"Cache-Control": "no-store"}
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
_BRIEF = {"Cache-Control": "no-cache"}


def create_application(
    node: Node, *, public_url: str, rpc: ASGIApp | None = None, pages: Sequence[ControllerRouterHandler] = ()
) -> Litestar:
    """The ASGI app of ``node``.

    ``public_url`` is where clients reach it, which sign-in messages name. ``rpc`` is the JSON-RPC endpoint of an
    embedded chain, served under ``/rpc``. ``pages`` are route handlers for people, which may ask for what ours may.
    """

    def give_node() -> Node:
        return node

    def give_public_url() -> str:
        return public_url

    # Whoever uploads slowly holds a thread for as long as it takes; so uploads have threads of their own.
    uploads = CapacityLimiter(_UPLOADS_AT_ONCE)

    def give_uploads() -> CapacityLimiter:
        return uploads

    @asynccontextmanager
    async def chores(_application: Litestar) -> AsyncIterator[None]:
        # Whoever waits for the chain holds a thread; the default of a few would let buyers stop the catalog.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="handler"))
        tasks = [asyncio.create_task(_again(chore)) for chore in node.chores]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    handlers: list[Any] = [
        node_info,
        alive,
        ready,
        challenge,
        sign_in,
        upload,
        download,
        checkpoint,
        newest_checkpoint,
        log_status,
        tile,
        DatasetRoutes,
        OfferRoutes,
        OrderRoutes,
        LicenseRoutes,
        DeliveryRoutes,
        AccountRoutes,
        AttachmentRoutes,
        PrometheusController,
        *pages,
    ]
    if rpc is not None:
        handlers.append(asgi("/rpc", is_mount=True, copy_scope=True)(_mounted(rpc)))
    return Litestar(
        route_handlers=handlers,
        dependencies={
            "node": Provide(give_node, sync_to_thread=False),
            "public_url": Provide(give_public_url, sync_to_thread=False),
            "uploads": Provide(give_uploads, sync_to_thread=False),
            "holder": Provide(_holder, sync_to_thread=True),
        },
        middleware=[
            PrometheusConfig(app_name="databund", prefix="databund", group_path=True).middleware,
            idempotency(node.database, node.publishing.clock),
        ],
        exception_handlers={
            DatabundError: on_databund_error,
            HTTPException: on_http_error,
            RecursionError: on_too_deep,
            Exception: on_surprise,
        },
        plugins=[IdentifierSchemas()],
        type_encoders=dict.fromkeys((Bytes32, Address, Hex, Amount), documents.to_json),
        type_decoders=[(_is_ours, documents.from_json)],
        openapi_config=OpenAPIConfig(
            title="databund", version=node.info.version, path="/schema", render_plugins=[JsonRenderPlugin()]
        ),
        request_max_body_size=MAX_BODY_BYTES,
        lifespan=[chores],
        logging_config=None,
    )


@get("/.well-known/databund", sync_to_thread=False, summary="What a client must know of this node", tags=["node"])
def node_info(node: TheNode) -> NodeInfo:
    """Addresses, currency, fee and keys of the node."""
    return node.info


@get("/healthz", sync_to_thread=False, summary="Is the process alive?", tags=["node"])
def alive() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@get("/readyz", sync_to_thread=True, summary="Can the node trade?", tags=["node"])
def ready(node: TheNode) -> dict[str, Any]:
    """Asks the database, the log and the chain; 503 names the part that does not answer."""
    with node.database.read() as tables:
        entries = _size(tables)
        pending = len(tables.outbox.pending())
    node.ledger.balance(node.info.operator)
    return {"status": "ok", "log_entries": entries, "chain_transactions_pending": pending}


@post("/sign-in/challenges", sync_to_thread=True, summary="Ask for a sign-in message", tags=["sign-in"])
def challenge(node: TheNode, public_url: PublicUrl, data: JSONBody[ChallengeRequest]) -> Response[Challenge]:
    """The ERC-4361 message that the account has to sign."""
    message = node.signing_in.challenge(data.address, uri=public_url)
    return Response(Challenge(message), status_code=201, headers=_NO_STORE)


@post("/sign-in/tokens", sync_to_thread=True, summary="Sign in", tags=["sign-in"])
def sign_in(node: TheNode, data: JSONBody[SignInRequest]) -> Response[Token]:
    """A bearer token for a signed message."""
    token = node.signing_in.sign_in(data.address, data.message, signature=bytes(data.signature))
    return Response(token, status_code=201, headers=_NO_STORE)


@put("/blobs/{root:str}", summary="Upload a sealed blob", tags=["blobs"], status_code=201, request_max_body_size=None)
async def upload(
    request: Request[Any, Any, Any],
    node: TheNode,
    holder: Holder,  # noqa: ARG001  # asking for it makes the path need a sign-in
    uploads: Uploads,
    root: FromPath[str],
) -> dict[str, int]:
    """Store a blob under its content root; the upload is refused when the bytes have another."""
    return {"size": await store_blob(request, ContentRoot.parse(root), node.objects, uploads)}


@route("/blobs/{root:str}", http_method=["GET", "HEAD"], summary="Download a sealed blob", tags=["blobs"])
async def download(node: TheNode, root: FromPath[str]) -> ASGIApp:
    """A blob, whole or one range; public and immutable."""
    content_root = ContentRoot.parse(root)

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send_blob(scope, receive, send, content_root, node.objects)

    return answer


@get("/log/checkpoint", sync_to_thread=True, media_type="text/plain", summary="The newest checkpoint", tags=["log"])
def checkpoint(node: TheNode) -> Response[bytes]:
    """The newest checkpoint that witnesses cosigned, or signed where there are none (c2sp.org/tlog-checkpoint)."""
    with node.database.read() as tables:
        if node.cosigning is None:
            return _note(node.auditor.published(tables.log))
        cosigned = tables.cosigned.newest()
    if cosigned is None:
        raise NotFound("No checkpoint is cosigned yet.", fix="Wait for the witnesses: databund audit status")
    return _note(cosigned)


@get("/log/checkpoint/newest", sync_to_thread=True, media_type="text/plain", summary="As signed last", tags=["log"])
def newest_checkpoint(node: TheNode) -> Response[bytes]:
    """The newest signed checkpoint, which the witnesses may not have seen yet."""
    with node.database.read() as tables:
        return _note(node.auditor.published(tables.log))


@get("/log/status", sync_to_thread=True, summary="How the log stands: witnesses and anchors", tags=["log"])
def log_status(node: TheNode) -> Response[LogStatus]:
    """Size and root, who cosigned up to where, and where the log is anchored on the chain."""
    return Response(node.log_status(), headers=_BRIEF)


@get("/log/tile/{place:path}", sync_to_thread=True, summary="A tile or an entry bundle", tags=["log"])
def tile(node: TheNode, place: FromPath[str]) -> Response[bytes]:
    """A hash tile or entry bundle (c2sp.org/tlog-tiles), full or partial."""
    asked = parse_path(f"tile{place}")
    with node.database.read() as tables:
        content = _bundle(tables, asked) if isinstance(asked, EntryBundle) else _hashes(tables, asked)
    return Response(content, media_type="application/octet-stream", headers=_IMMUTABLE)


def _note(note: bytes | None) -> Response[bytes]:
    if note is None:
        raise NotFound("The log is empty.", fix="Register a dataset first.")
    return Response(note, media_type="text/plain; charset=utf-8", headers=_BRIEF)


def _hashes(tables: Tables, asked: Tile) -> bytes:
    content = tables.log.tile(asked.level, asked.index)
    if len(content) < 32 * asked.width:
        raise NotFound(f"The log has no {asked.path} yet.", fix="Fetch the checkpoint first.")
    return content[: 32 * asked.width]


def _bundle(tables: Tables, asked: EntryBundle) -> bytes:
    first = asked.index * TILE_WIDTH
    entries = tables.log.entries(first, first + asked.width)
    if len(entries) < asked.width:
        raise NotFound(f"The log has no {asked.path} yet.", fix="Fetch the checkpoint first.")
    return format_entries(entries)


async def _again(chore: Chore) -> None:
    """Do a chore until the node stops. What goes wrong is logged, once until it goes wrong in another way."""
    trouble = ""
    while True:
        await asyncio.sleep(chore.every_s)
        try:
            await to_thread.run_sync(chore.step)
            trouble = ""
        except Exception as error:  # noqa: BLE001  # a worker's loop goes on
            if trouble != (trouble := f"{type(error).__name__}: {error}"):
                get_logger("databund.api").error("chore.failed", chore=chore.name, reason=trouble)


def _holder(request: Request[Any, Any, Any], node: TheNode) -> Address:
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise SignInRequired("This path needs a sign-in.", fix="Sign in first: POST /sign-in/challenges")
    return node.signing_in.holder(token)


def _size(tables: Tables) -> int:
    note = tables.log.checkpoint()
    return 0 if note is None else read_unverified(note).size


def _is_ours(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Bytes32 | Address | Hex | Amount)


def _mounted(app: ASGIApp) -> Callable[[Scope, Receive, Send], Any]:
    async def rpc(scope: Scope, receive: Receive, send: Send) -> None:
        """JSON-RPC of the embedded chain."""

        async def send_fresh(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"cache-control", b"no-store")]
            await send(message)

        await app(scope, receive, send_fresh)

    return rpc
