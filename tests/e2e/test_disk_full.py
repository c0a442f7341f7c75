"""A disk that is really full: the node says so, nothing is half done, and it goes on when there is room."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from databund.errors import StoreFull
from databund.sdk import audit
from tests.nodes import ABOUT, node_in_process, table, terms

_SIZE = "16m"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MiB."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small file system")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine does not allow to mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_disk_full(small_disk: Path, tmp_path: Path) -> None:
    """A publication that does not fit is refused whole; trades, and the same publication later, go through."""
    large = tmp_path / "large.bin"
    large.write_bytes(secrets.token_bytes(20 * 2**20))
    with node_in_process(small_disk) as running:
        # What the provider keeps lies on another disk, so that it is the node's that is full.
        running.folder = tmp_path
        provider, consumer = running.client(), running.funded()
        view = provider.publish(table(tmp_path / "data"), ABOUT)
        offer = provider.offer(view.dataset, terms(provider))

        with pytest.raises(StoreFull) as refusal:
            provider.publish(large, ABOUT)
        assert refusal.value.fix
        assert running.http.get("/readyz").status_code == 200
        consumer.buy(offer.id)

        ballast = small_disk / "ballast"
        _fill(ballast)
        with pytest.raises(StoreFull):
            provider.offer(view.dataset, terms(provider, "11"))
        ballast.unlink()
        provider.offer(view.dataset, terms(provider, "11"))
        consumer.download(offer.id, tmp_path / "copy")
        consumer.export_audit(tmp_path / "audit.zip")

    assert audit.verify(tmp_path / "audit.zip").orders.popitem()[1] == "delivered"


def _fill(path: Path) -> None:
    """Take all the room that is left."""
    with path.open("wb", buffering=0) as file:
        for size in (2**20, 4096, 512, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError:
                continue
