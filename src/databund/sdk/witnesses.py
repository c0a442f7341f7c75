"""Witnesses over HTTP (c2sp.org/tlog-witness): submit a checkpoint, and read what a witness cosigned last.

A witness is a stranger: it may sleep, send a byte a second, redirect, or send gigabytes. Every call ends within about
its time limit and holds a bounded answer; what the answer is worth is for the caller to verify.
"""

from __future__ import annotations

import time
from hashlib import sha256
from typing import Any

import httpx

from databund import __version__
from databund.errors import NodeUnreachable
from databund.tlog.witnessing import MAX_ANSWER_BYTES

__all__ = ["WitnessCalls"]

_CHECK = "Check the witness's URL in the witness policy, and ask its operator."


class WitnessCalls:
    """Calls to witnesses by the prefix of their URL; connections are kept open. Threads may share it."""

    def __init__(self, *, timeout_s: float = 10.0, transport: httpx.BaseTransport | None = None) -> None:
        self._timeout_s = timeout_s
        self._http = httpx.Client(
            transport=transport,
            timeout=httpx.Timeout(timeout_s, connect=min(5.0, timeout_s)),
            headers={"User-Agent": f"databund/{__version__}", "Accept-Encoding": "identity"},
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def submit(self, url: str, body: bytes) -> tuple[int, bytes]:
        """POST ``add-checkpoint``: the HTTP status and the body. Raises `NodeUnreachable`."""
        return self._answer("POST", _below(url, "add-checkpoint"), content=body)

    def newest(self, url: str, origin: str) -> tuple[int, bytes]:
        """GET the checkpoint that was cosigned last for a log: the HTTP status and the body. Raises `NodeUnreachable`.

        Asked is the prefix for submissions, which is that for monitors, too, at most witnesses.
        """
        return self._answer("GET", _below(url, f"{sha256(origin.encode()).hexdigest()}/checkpoint"))

    def _answer(self, method: str, url: str, **options: Any) -> tuple[int, bytes]:
        end = time.monotonic() + self._timeout_s
        body = bytearray()
        try:
            with self._http.stream(method, url, **options) as answer:
                for piece in answer.iter_raw():
                    body += piece
                    if len(body) > MAX_ANSWER_BYTES:
                        raise NodeUnreachable(f"The witness at {url} answers with too much.", fix=_CHECK)
                    if time.monotonic() > end:
                        raise NodeUnreachable(f"The witness at {url} answers too slowly.", fix=_CHECK)
                return answer.status_code, bytes(body)
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, UnicodeError) as error:
            raise NodeUnreachable(
                f"The witness at {url} does not answer ({type(error).__name__}).", fix=_CHECK
            ) from error


def _below(url: str, path: str) -> str:
    return f"{url.rstrip('/')}/{path}"
