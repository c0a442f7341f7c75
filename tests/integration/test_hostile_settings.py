"""Settings and home folders that cannot be used: each is an error of ours, before anything is opened."""

from __future__ import annotations

from pathlib import Path

import pytest

from databund import bootstrap, config
from databund.errors import ConfigInvalid, FileUnusable, HomeTooNew


@pytest.mark.parametrize("variable", ["DATABUND_HOME", "DATABUND_CONFIG", "DATABUND_PASSPHRASE_FILE"])
def test_the_home_of_nobody_is_refused(variable: str, tmp_path: Path) -> None:
    """A path that begins with the name of an unknown user is a setting that cannot be used."""
    environment = {"DATABUND_CONFIG": str(tmp_path / "none"), variable: "~nobody-of-this-name/x"}

    with pytest.raises(ConfigInvalid, match="nobody of that name has a home"):
        config.load({}, environment=environment)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff", b'{"format": true}', b'{"format": "1"}', b"[" * 100_000]
)
def test_a_half_written_marker_makes_a_home_unusable(content: bytes, tmp_path: Path) -> None:
    """A home whose marker is damaged is refused and left as it is."""
    (tmp_path / "home.json").write_bytes(content)

    with pytest.raises(FileUnusable, match="cannot be used"):
        bootstrap.open_home(tmp_path)

    assert (tmp_path / "home.json").read_bytes() == content


def test_a_newer_home_is_refused(tmp_path: Path) -> None:
    """A home of a newer format is refused with the way to get the version that reads it."""
    (tmp_path / "home.json").write_bytes(b'{"format": 2}')

    with pytest.raises(HomeTooNew, match="format 2"):
        bootstrap.open_home(tmp_path)


def test_a_new_home_is_its_owners_alone(tmp_path: Path) -> None:
    """The folder and its marker can be read by nobody else."""
    home = bootstrap.open_home(tmp_path / "home")

    assert [path.stat().st_mode & 0o777 for path in (home, home / "home.json")] == [0o700, 0o600]
