"""The application of a witness: the routes of c2sp.org/tlog-witness in one ASGI app.

The submission prefix and the monitoring prefix are the same: where the application is served.
"""

from __future__ import annotations

from typing import Any

from anyio import to_thread
from litestar import Litestar, Request, get, post
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException
from litestar.params import FromPath, SkipValidation
from litestar.response import Response
from structlog import get_logger

from databund.api.problems import on_databund_error, on_http_error, on_surprise
from databund.app.witnessing import Witness
from databund.errors import DatabundError, IntegrityFailed
from databund.tlog.witnessing import MAX_REQUEST_BYTES

__all__ = ["create_witness_application"]

TheWitness = NamedDependency[SkipValidation[Witness]]
"""The witness behind this application."""

_NO_STORE = {"Cache-Control": "no-store"}
_BRIEF = {"Cache-Control": "no-cache"}


def create_witness_application(witness: Witness) -> Litestar:
    """The ASGI app of ``witness``."""

    def give_witness() -> Witness:
        return witness

    return Litestar(
        route_handlers=[add_checkpoint, checkpoint, alive, keys],
        dependencies={"witness": Provide(give_witness, sync_to_thread=False)},
        exception_handlers={
            DatabundError: on_databund_error,
            IntegrityFailed: on_surprise,  # a damaged store; 422 would blame the log
            HTTPException: on_http_error,
            Exception: on_surprise,
        },
        openapi_config=None,
        request_max_body_size=MAX_REQUEST_BYTES,
        logging_config=None,
    )


@post("/add-checkpoint", summary="Cosign a checkpoint")
async def add_checkpoint(request: Request[Any, Any, Any], witness: TheWitness) -> Response[bytes]:
    """Cosignatures of a checkpoint that continues the last one."""
    body = await request.body()
    answer = await to_thread.run_sync(witness.add_checkpoint, body)
    if answer.status != 200:
        # A well-signed checkpoint that does not fit may be proof of misbehavior; it is public, and worth keeping.
        refused = body.decode("utf-8", "replace") if answer.status == 422 else None
        get_logger("databund.witness").warning("checkpoint.refused", status=answer.status, request=refused)
    # As a header, so that the content type of a size is exactly the one that the specification asks for.
    return Response(answer.body, status_code=answer.status, headers=_NO_STORE | {"Content-Type": answer.media_type})


@get("/{origin_hash:str}/checkpoint", sync_to_thread=True, summary="The checkpoint that was cosigned last")
def checkpoint(witness: TheWitness, origin_hash: FromPath[str]) -> Response[bytes]:
    """The newest checkpoint of a log, with the cosignatures of this witness."""
    note = witness.checkpoint(origin_hash)
    return Response(note, headers=_BRIEF | {"Content-Type": "text/plain; charset=utf-8"})


@get("/healthz", sync_to_thread=False, summary="Is the process alive?")
def alive() -> dict[str, str]:
    """Answers as long as the process does."""
    return {"status": "ok"}


@get("/keys", sync_to_thread=False, media_type="text/plain", summary="The witness's public keys")
def keys(witness: TheWitness) -> str:
    """The verifier keys of the witness, one a line. Take them from a place you trust, and compare."""
    return "".join(f"{key}\n" for key in witness.keys)
