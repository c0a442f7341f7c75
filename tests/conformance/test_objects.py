"""A local folder and S3 as the port `Objects`."""

from __future__ import annotations

from pathlib import Path

import pytest

from databund.ports import Objects
from databund.storage.objects import open_objects
from databund.testing.objects_suite import ObjectsSuite


class TestFolder(ObjectsSuite):
    """A local folder."""

    @pytest.fixture
    def objects(self, tmp_path: Path) -> Objects:
        """A folder that is not there yet."""
        return open_objects(f"file://{tmp_path}/new/objects")


class TestS3(ObjectsSuite):
    """A prefix of a bucket of an S3 server."""

    @pytest.fixture
    def objects(self, s3_url: str) -> Objects:
        """A new prefix; the server is found by the environment."""
        return open_objects(s3_url)
