"""Archives with one byte form: anything unzips them, and nothing else is read as one."""

from __future__ import annotations

import io
import zipfile

import pytest

from databund.core.archives import pack, unpack
from databund.errors import DocumentInvalid, ProofInvalid

MEMBERS = {"b/c.json": b"{}", "a.txt": b"text" * 100, "empty": b""}


def test_other_tools_unzip_it() -> None:
    """Python's own zipfile finds every member and its content, stored, and no fault."""
    with zipfile.ZipFile(io.BytesIO(pack(MEMBERS))) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == sorted(MEMBERS)
        assert {name: archive.read(name) for name in archive.namelist()} == MEMBERS
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_members_come_back() -> None:
    """What was packed is unpacked, and the order in which it was given does not matter."""
    assert unpack(pack(MEMBERS)) == MEMBERS
    assert pack(dict(reversed(MEMBERS.items()))) == pack(MEMBERS)


def test_another_spelling_is_refused() -> None:
    """The same members, zipped by another tool, are refused."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in MEMBERS.items():
            archive.writestr(name, content)

    with pytest.raises(ProofInvalid, match="not as it was made"):
        unpack(file.getvalue())


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../up", "a//b", "a b", "ä", ".hidden", "x" * 300])
def test_a_dangerous_name_is_refused(name: str) -> None:
    """Names that could leave a folder, or that file systems read differently, are not written."""
    with pytest.raises(DocumentInvalid, match="cannot name a member"):
        pack({name: b""})


@pytest.mark.parametrize("end", range(0, len(pack(MEMBERS)), 7))
def test_a_truncated_archive_is_refused(end: int) -> None:
    """However early the file ends, it is refused."""
    with pytest.raises(ProofInvalid):
        unpack(pack(MEMBERS)[:end])


def test_what_follows_is_refused() -> None:
    """A byte more is refused."""
    with pytest.raises(ProofInvalid):
        unpack(pack(MEMBERS) + b"\0")
