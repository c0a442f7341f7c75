"""A log on a web server that does not mean well."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from databund.errors import NodeUnreachable
from databund.sdk.log_sources import HttpLog


class Drip(httpx.SyncByteStream):
    """A body that goes on for long."""

    def __iter__(self) -> Iterator[bytes]:
        """A byte, and another one."""
        return iter([b"x"] * 1000)


def test_a_server_that_drips_is_given_up() -> None:
    """A file that does not end in time is an error, although something comes now and then."""
    dripping = httpx.MockTransport(lambda _: httpx.Response(200, stream=Drip()))

    with pytest.raises(NodeUnreachable, match="does not end"):
        HttpLog("https://log.example.com", transport=dripping, longest_s=0).checkpoint()
