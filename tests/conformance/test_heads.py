"""A folder, S3 and a dictionary as the port `Heads`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from databund.errors import ConfigInvalid, StoreUnavailable
from databund.ports import Heads
from databund.storage.heads import FileHeads, open_heads
from databund.testing.heads_suite import HeadsSuite
from databund.testing.memory_heads import MemoryHeads


class TestFileHeads(HeadsSuite):
    """A local folder."""

    @pytest.fixture
    def heads(self, tmp_path: Path) -> Iterator[Heads]:
        """A folder that is not there yet."""
        heads = FileHeads(tmp_path / "new" / "heads")
        yield heads
        heads.close()

    @pytest.fixture
    def again(self, tmp_path: Path) -> Callable[[], Heads]:
        """The same folder, opened by its URL."""
        return lambda: open_heads(f"file://{tmp_path}/new/heads")


class TestObjectHeads(HeadsSuite):
    """A prefix of a bucket of an S3 server."""

    @pytest.fixture
    def heads(self, s3_url: str) -> Heads:
        """A new prefix; the server is found by the environment."""
        return open_heads(s3_url)

    @pytest.fixture
    def again(self, s3_url: str) -> Callable[[], Heads]:
        """The same prefix."""
        return lambda: open_heads(s3_url)


class TestMemoryHeads(HeadsSuite):
    """A dictionary."""

    @pytest.fixture
    def heads(self) -> MemoryHeads:
        """A new one."""
        return MemoryHeads()

    @pytest.fixture
    def again(self, heads: MemoryHeads) -> Callable[[], Heads]:
        """The same one."""
        return lambda: heads


@pytest.mark.parametrize("place", ["http://heads.example", "sqlite:///heads", "file://host/heads", "s3://"])
def test_other_places_are_refused(place: str) -> None:
    """A place that is neither a folder nor a bucket is refused."""
    with pytest.raises(ConfigInvalid):
        open_heads(place)


def test_bucket_that_does_not_answer_is_unavailable() -> None:
    """Where no object store answers, neither a read nor a replacement says that there is no head."""
    options = {"endpoint": "http://127.0.0.1:1", "access_key_id": "x", "secret_access_key": "x", "region": "us-east-1"}
    heads = open_heads("s3://bucket/prefix", options=options)

    with pytest.raises(StoreUnavailable):
        heads.get("log.example")
    with pytest.raises(StoreUnavailable):
        heads.replace("log.example", b"head", was=None)
