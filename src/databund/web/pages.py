"""The routes of the pages, and the headers that keep a browser from loading or running anything else with them."""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib import resources
from typing import Any

from litestar import Request, Response, route

from databund.api.dependencies import PublicUrl, TheNode
from databund.web.log_page import LogPage
from databund.web.markup import Markup
from databund.web.texts import Texts, negotiated

__all__ = ["PAGES", "log_page"]


@route("/log", http_method=["GET", "HEAD"], sync_to_thread=True, include_in_schema=False)
def log_page(request: Request[Any, Any, Any], node: TheNode, public_url: PublicUrl) -> Response[bytes]:
    """How the log stands, for people; ``?lang=`` or ``Accept-Language`` chooses the language."""
    language = negotiated(request.query_params.get("lang"), request.headers.get("Accept-Language", ""))
    page = LogPage(
        status=node.log_status(),
        now=node.publishing.clock(),
        texts=Texts(language),
        public_url=public_url,
        version=node.info.version,
        style=_style(),
    )
    return Response(page.render(), headers=_headers() | {"Content-Language": language})


PAGES = (log_page,)
"""The route handlers of every page."""


@cache
def _style() -> Markup:
    return Markup(resources.files("databund.web").joinpath("style.css").read_text("utf-8"))


@cache
def _headers() -> dict[str, str]:
    """The headers of every page; the one style sheet is allowed by its hash (CSP 3, section 2.3.1)."""
    digest = b64encode(sha256(_style().encode()).digest()).decode()
    policy = ("default-src 'none'", "base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
    return {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": "; ".join((*policy, f"style-src 'sha256-{digest}'")),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-cache",
        "Vary": "Accept-Language",
    }
