"""Object stores that are full, absent or not what their address says."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from databund.errors import ConfigInvalid, NotFound, StoreFull, StoreUnavailable
from databund.storage.objects import open_objects
from databund.testing import samples
from tests.servers import S3Server

NAME = "0x" + samples.hash32(1).hex()
MIB = 1 << 20


class _FullStore(BaseHTTPRequestHandler):
    """An S3 server without objects and without room."""

    def do_HEAD(self) -> None:
        self.send_error(404)

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_error(507)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def full_store() -> Iterator[str]:
    """The endpoint of a full S3 server."""
    with HTTPServer(("127.0.0.1", 0), _FullStore) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def small_files() -> Iterator[None]:
    """No file may grow beyond 2 MiB."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def _options(endpoint: str) -> dict[str, str]:
    return {"endpoint": endpoint, "access_key_id": "test", "secret_access_key": "test", "region": "us-east-1"}


@pytest.mark.usefixtures("small_files")
def test_a_full_folder_is_left_clean(tmp_path: Path) -> None:
    """When a file cannot grow any more the store is full, the partial is gone, and smaller objects fit."""
    objects = open_objects(f"file://{tmp_path}")
    with pytest.raises(StoreFull):
        objects.put(NAME, [bytes(MIB)] * 3)
    assert list(tmp_path.iterdir()) == []
    assert objects.put(NAME, [bytes(MIB)]) == MIB


def test_a_full_bucket_is_full(full_store: str) -> None:
    """A bucket that answers 507 is full."""
    objects = open_objects("s3://bucket", options=_options(full_store))
    with pytest.raises(StoreFull):
        objects.put(NAME, [b"abc"])


def test_an_object_is_private(tmp_path: Path) -> None:
    """Folder and objects can be read by their owner alone."""
    objects = open_objects(f"file://{tmp_path}/new")
    objects.put(NAME, [b"abc"])
    assert (tmp_path / "new").stat().st_mode & 0o077 == 0
    assert Path(objects.path(NAME)).stat().st_mode & 0o077 == 0


def test_a_file_in_the_way_is_unavailable(tmp_path: Path) -> None:
    """An address that leads to a file instead of a folder is unavailable."""
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable):
        open_objects(f"file://{tmp_path}/file")


def test_an_absent_server_is_unavailable() -> None:
    """An endpoint that does not answer is unavailable, soon, and the message holds no credentials."""
    objects = open_objects("s3://bucket", options={**_options("http://127.0.0.1:9"), "secret_access_key": "hush"})
    with pytest.raises(StoreUnavailable) as failure:
        objects.size(NAME)
    assert "hush" not in str(failure.value)


def test_options_name_the_server(s3_server: S3Server) -> None:
    """Endpoint and credentials may come as options instead of the environment."""
    objects = open_objects(f"{s3_server.url}/by-options", options=_options(s3_server.endpoint))
    assert objects.put(NAME, [b"abc"]) == 3
    objects.delete(NAME)
    with pytest.raises(NotFound):
        objects.size(NAME)


@pytest.mark.parametrize(
    ("url", "options"),
    [("", {}), ("folder", {}), ("file://host/x", {}), ("ftp://x", {}), ("s3://b", {"colour": "red"})],
)
def test_an_unusable_address_is_refused(url: str, options: dict[str, str]) -> None:
    """An address or an option that we cannot use is refused."""
    with pytest.raises(ConfigInvalid):
        open_objects(url, options=options)
