"""Problem details (RFC 9457): every error leaves the node as one JSON object with a stable ``code`` and a ``fix``.

The branch of the error tree decides the status; single classes are not looked at, but for the two that HTTP itself
gives a status of its own.
"""

from __future__ import annotations

import traceback
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, ValidationException
from structlog import get_logger

from databund.errors import (
    DatabundError,
    Denied,
    IntegrityFailed,
    InvalidInput,
    NotFound,
    Refused,
    SignInRequired,
    StoreFull,
    Unavailable,
)

__all__ = ["MEDIA_TYPE", "on_databund_error", "on_http_error", "on_surprise", "on_too_deep", "status_of"]

MEDIA_TYPE = "application/problem+json"

_STATUS: tuple[tuple[type[DatabundError], int], ...] = (
    (SignInRequired, 401),
    (StoreFull, 507),
    (InvalidInput, 400),
    (Denied, 403),
    (NotFound, 404),
    (Refused, 409),
    (IntegrityFailed, 422),
    (Unavailable, 503),
)


def status_of(error: DatabundError) -> int:
    """The HTTP status of an error's branch."""
    return next((status for branch, status in _STATUS if isinstance(error, branch)), 500)


def on_databund_error(_request: Request[Any, Any, Any], error: DatabundError) -> Response[bytes]:
    """Answer an error that was raised on purpose."""
    status = status_of(error)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {"Retry-After": "1"} if status == 503 else {}
    return _problem(status, code=error.code, detail=error.what, fix=error.fix, headers=headers)


def on_http_error(_request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer an error of the HTTP layer itself: an unknown path, a method, a body that is not the document."""
    if isinstance(error, ValidationException):
        members = error.extra if isinstance(error.extra, list) else []
        named = "; ".join(f"{item.get('key', 'body')}: {item.get('message')}" for item in members)
        detail = f"The request is not the document this path takes{': ' + named if named else '.'}"
        return _problem(400, code="document.invalid", detail=detail, fix="Compare it with /schema/openapi.json.")
    code = "thing.not_found" if error.status_code == 404 else f"http.{error.status_code}"
    return _problem(error.status_code, code=code, detail=error.detail, fix="Look up the path in /schema/openapi.json.")


def on_too_deep(_request: Request[Any, Any, Any], _error: RecursionError) -> Response[bytes]:
    """Answer a body that is nested deeper than the JSON reader goes."""
    return _problem(400, code="document.invalid", detail="The request is nested too deeply.", fix="Send flatter JSON.")


def on_surprise(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer a defect: nothing of it is shown, all of it is logged."""
    # The text of the traceback only: a renderer that shows local variables would log secrets.
    trace = "".join(traceback.format_exception(error))
    get_logger("databund.api").error("request.failed", path=request.url.path, trace=trace)
    return _problem(
        500,
        code="error",
        detail="The node failed to handle the request; the defect is in its log.",
        fix="Try again; if it fails again, report it to the operator.",
    )


def _problem(
    status: int, *, code: str, detail: str, fix: str, headers: dict[str, str] | None = None
) -> Response[bytes]:
    body = {"type": f"urn:databund:error:{code}", "title": code, "status": status, "detail": detail, "code": code}
    return Response(
        msgspec.json.encode(body | {"fix": fix}), status_code=status, media_type=MEDIA_TYPE, headers=headers
    )
