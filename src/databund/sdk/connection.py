"""A connection to a node: JSON in and out, sign-in when it is asked for, problem details back as our own errors.

Every request may be repeated: a POST carries an idempotency key, and lost connections are tried again a few times.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from databund import __version__
from databund.core import documents
from databund.core.ids import Hex
from databund.core.messages import Challenge, ChallengeRequest, SignInRequest, Token
from databund.crypto.identities import Identity
from databund.errors import ConfigInvalid, DatabundError, IntegrityFailed, NodeUnreachable, SignInRequired, by_code

__all__ = ["Connection"]

T = TypeVar("T")
_ATTEMPTS = 4
_PAUSE_S = 0.2
_RETRIED_STATUS = 503
_ANSWER_LIMIT = 64 * 2**20


class Connection:
    """HTTP to the node at ``url``. ``identity`` signs in; without one only public paths answer."""

    def __init__(
        self, url: str, identity: Identity | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        self.url = url.rstrip("/")
        self.identity = identity
        self._authority = _authority(url)
        self._token: Token | None = None
        self._http = httpx.Client(
            base_url=self.url,
            transport=transport,
            timeout=httpx.Timeout(60.0, connect=5.0),
            headers={"User-Agent": f"databund/{__version__}"},
        )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def get(self, path: str, kind: type[T], *, signed_in: bool = False, **query: str | int | None) -> T:
        """GET a document. Raises what the node answers, or `NodeUnreachable`."""
        params = {name: value for name, value in query.items() if value is not None}
        return self._document(self._send("GET", path, signed_in=signed_in, params=params), kind)

    def get_bytes(self, path: str, *, signed_in: bool = False, **query: str | int) -> bytes:
        """GET a small resource as it is."""
        return self._send("GET", path, signed_in=signed_in, params=query).content

    def post(self, path: str, body: Any, kind: type[T], *, signed_in: bool = False) -> T:
        """POST a document and read the answer, under one idempotency key through all attempts."""
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        answer = self._send("POST", path, signed_in=signed_in, content=documents.encode(body), headers=headers)
        return self._document(answer, kind)

    def put(self, path: str, pieces: Callable[[], Iterator[bytes]], *, size: int) -> None:
        """PUT a large body, from the start again when the connection is lost."""
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._attempt(
            lambda: self._checked(
                self._http.put(path, content=pieces(), headers=headers | self._authorization(), timeout=None)
            )
        )

    @contextmanager
    def stream(self, path: str, *, start: int) -> Iterator[httpx.Response]:
        """GET a large body from byte ``start`` on. Raises `NodeUnreachable` when the connection cannot be made."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        try:
            with self._http.stream("GET", path, headers=headers) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    self._checked(answer)
                yield answer
        except httpx.TransportError as error:
            raise self._unreachable(error) from error

    def _send(self, method: str, path: str, *, signed_in: bool, **options: Any) -> httpx.Response:
        headers = options.pop("headers", {})

        def attempt() -> httpx.Response:
            authorization = self._authorization() if signed_in else {}
            answer = self._answer(method, path, headers=headers | authorization, **options)
            if answer.status_code == 401 and signed_in and self._token is not None:
                self._token = None
                answer = self._answer(method, path, headers=headers | self._authorization(), **options)
            return self._checked(answer)

        return self._attempt(attempt)

    def _answer(self, method: str, path: str, **options: Any) -> httpx.Response:
        """The status and the whole body, read up to the limit, however much is sent or compressed into it."""
        body = bytearray()
        with self._http.stream(method, path, **options) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > _ANSWER_LIMIT:
                    raise NodeUnreachable(f"{self.url} answered with too much.", fix="Check the URL.")
        return httpx.Response(answer.status_code, content=bytes(body))

    def _attempt(self, act: Callable[[], httpx.Response]) -> httpx.Response:
        for left in reversed(range(_ATTEMPTS)):
            try:
                return act()
            except httpx.TransportError as error:
                if not left:
                    raise self._unreachable(error) from error
            time.sleep(_PAUSE_S * (_ATTEMPTS - left))
        raise AssertionError("unreachable")

    def _authorization(self) -> dict[str, str]:
        if self._token is None or self._token.expires_at <= time.time():
            self._token = self._sign_in()
        return {"Authorization": f"Bearer {self._token.token}"}

    def _sign_in(self) -> Token:
        if self.identity is None:
            raise SignInRequired("This needs a key to sign in with.", fix="Make one: databund key new")
        try:
            return self._answer_challenge(self.identity)
        except SignInRequired:
            # A message counts once. When the answer to it was lost, sending it again is refused: take a new one.
            return self._answer_challenge(self.identity)

    def _answer_challenge(self, identity: Identity) -> Token:
        challenge = self.post("/sign-in/challenges", ChallengeRequest(identity.address), Challenge)
        if not challenge.message.startswith(f"{self._authority} wants you to sign in"):
            raise IntegrityFailed(
                f"The node at {self.url} asks to sign in to {challenge.message[:80]!r}.",
                fix="Use the URL that the operator published; never sign in through a relay.",
            )
        signature = Hex(identity.sign_message(challenge.message))
        return self.post("/sign-in/tokens", SignInRequest(identity.address, challenge.message, signature), Token)

    def _checked(self, answer: httpx.Response) -> httpx.Response:
        if answer.status_code < 400:
            return answer
        try:
            problem = documents.decode(answer.content, dict[str, Any])
            code, what, fix = str(problem["code"]), str(problem["detail"]), str(problem["fix"])
        except (DatabundError, KeyError):
            raise NodeUnreachable(
                f"{self.url} answered {answer.status_code} and not like a databund node.", fix="Check the URL."
            ) from None
        raise by_code(code)(what, fix=fix)

    def _document(self, answer: httpx.Response, kind: type[T]) -> T:
        return documents.decode(answer.content, kind)

    def _unreachable(self, error: httpx.TransportError) -> NodeUnreachable:
        return NodeUnreachable(
            f"The node at {self.url} does not answer ({type(error).__name__}).",
            fix="Start it (databund serve), or check the URL; then run the same command again, nothing is lost.",
        )


def _authority(url: str) -> str:
    """Host and port of a node's URL. Raises `ConfigInvalid`, which shows no password."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(httpx.URL(url).host) and bool(parts.netloc.encode("idna"))
    except (ValueError, httpx.InvalidURL):
        usable = False
    if "@" in url:
        raise ConfigInvalid("The URL of a node holds a user or a password.", fix="Leave out what stands before the @.")
    if not usable:
        raise ConfigInvalid(f"{url[:200]!r} is not the URL of a node.", fix="Write it like http://127.0.0.1:8750")
    return parts.netloc
