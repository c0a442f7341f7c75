"""Calls to witnesses that sleep, dribble, flood, hang up or redirect: each ends in time, with a bounded answer."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from databund.errors import NodeUnreachable
from databund.sdk.witnesses import WitnessCalls
from databund.tlog.witnessing import MAX_ANSWER_BYTES

TIMEOUT_S = 0.5
Handler = Callable[[socket.socket], None]


@contextlib.contextmanager
def stranger(handle: Handler) -> Iterator[str]:
    """A server on this machine that does with each connection what ``handle`` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)
    ended = threading.Event()

    def serve() -> None:
        while not ended.is_set():
            with contextlib.suppress(TimeoutError), contextlib.closing(listener.accept()[0]) as stream:
                stream.settimeout(5)
                with contextlib.suppress(OSError):
                    request = stream.recv(65536)
                    while request and not request.endswith(b"\r\n\r\n" if request.startswith(b"GET") else b"body"):
                        request = (piece := stream.recv(65536)) and request + piece
                    handle(stream)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        thread.join(10)
        listener.close()


def head(status: str, length: int) -> bytes:
    """The head of an HTTP answer."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n".encode()


def sleep(stream: socket.socket) -> None:
    """Say nothing until the caller hangs up."""
    stream.recv(1)


def dribble(stream: socket.socket) -> None:
    """Send a byte now and then, each within the time limit."""
    stream.sendall(head("200 OK", 1000))
    for _ in range(50):
        stream.sendall(b"x")
        time.sleep(TIMEOUT_S / 5)


def flood(stream: socket.socket) -> None:
    """Send ten megabytes."""
    stream.sendall(head("200 OK", 10_000_000))
    for _ in range(100):
        stream.sendall(b"x" * 100_000)


def endless(stream: socket.socket) -> None:
    """Send chunks without an end."""
    stream.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(1000):
        stream.sendall(b"2710\r\n" + b"x" * 10_000 + b"\r\n")


def cut(stream: socket.socket) -> None:
    """Hang up within the answer."""
    stream.sendall(head("200 OK", 1000) + b"half")


def garbage(stream: socket.socket) -> None:
    """Send what is no HTTP."""
    stream.sendall(b"\x00\xff garbage\r\n\r\n")


@pytest.mark.parametrize("handle", [sleep, dribble, flood, endless, cut, garbage, socket.socket.close])
def test_hostile_witnesses_end_in_time(handle: Handler) -> None:
    """Whatever the other side does, the call ends within a few time limits and is an error of this witness."""
    with stranger(handle) as url:
        calls = WitnessCalls(timeout_s=TIMEOUT_S)
        begun = time.monotonic()
        with pytest.raises(NodeUnreachable):
            calls.submit(url, b"body")
        assert time.monotonic() - begun < 4 * TIMEOUT_S
        calls.close()


def test_redirects_are_not_followed() -> None:
    """A redirect is an answer like others: nobody is sent elsewhere with the checkpoint."""
    with stranger(
        lambda stream: stream.sendall(b"HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n")
    ) as url:
        calls = WitnessCalls(timeout_s=TIMEOUT_S)
        assert calls.submit(url, b"body") == (302, b"")
        calls.close()


def test_compressed_answers_stay_small() -> None:
    """A compressed answer is not unpacked, so that a small one cannot become a large one."""
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\n\x1f\x8b\x08\x00"
    with stranger(lambda stream: stream.sendall(answer)) as url:
        calls = WitnessCalls(timeout_s=TIMEOUT_S)
        assert calls.newest(url, "log.example") == (200, b"\x1f\x8b\x08\x00")
        calls.close()


def test_longest_answer_is_read() -> None:
    """An answer of exactly the limit is read; the prefix may end in a slash."""
    body = b"x" * MAX_ANSWER_BYTES
    with stranger(lambda stream: stream.sendall(head("200 OK", len(body)) + body)) as url:
        calls = WitnessCalls(timeout_s=5)
        assert calls.submit(f"{url}/prefix/", b"body") == (200, body)
        calls.close()


@pytest.mark.parametrize(
    "url", ["", "ftp://witness.example", "http://", "http://[", "witness", "http://127.0.0.1:1", "\udcff"]
)
def test_unusable_urls_are_errors_of_the_witness(url: str) -> None:
    """A URL of the policy that cannot be called, or where nobody listens, is an error of this witness."""
    calls = WitnessCalls(timeout_s=TIMEOUT_S)
    with pytest.raises(NodeUnreachable):
        calls.submit(url, b"body")
    calls.close()
