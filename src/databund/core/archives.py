"""Archives with one byte form: ZIP files in which every bit is fixed by the names and contents of the members.

Members are stored without compression, sorted by name, dated 1980-01-01, without extra fields, attributes or comments
(APPNOTE.TXT 6.3.10). Anything unzips them; `unpack` takes no other spelling, so that no bit of a file goes unchecked.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping
from typing import Final
from zlib import crc32

from databund.errors import DocumentInvalid, ProofInvalid

__all__ = ["MAX_ARCHIVE_BYTES", "MAX_MEMBERS", "pack", "unpack"]

MAX_ARCHIVE_BYTES: Final = 64 * 2**20
"""The largest archive that is read or written."""

MAX_MEMBERS: Final = 4096
"""The most members of an archive."""

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(?:/[A-Za-z0-9][A-Za-z0-9._-]*)*", re.ASCII)
_VERSION, _DATE = 20, 0x0021  # ZIP 2.0; 1980-01-01
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_SIZES: Final = struct.Struct("<22xLH2x")
"""The sizes of content and name in what stands before a content."""

_LOCAL_MARK: Final = b"PK\x03\x04"


def pack(members: Mapping[str, bytes]) -> bytes:
    """The archive of these members. Raises `DocumentInvalid` for a name, or for sizes, that it cannot carry."""
    if len(members) > MAX_MEMBERS or sum(map(len, members.values())) > MAX_ARCHIVE_BYTES:
        raise DocumentInvalid("The archive would be too large.", fix="Put less into it.")
    body, index, end = [], [], 0
    for name, content in sorted(members.items()):
        if len(name) > 255 or not _NAME.fullmatch(name):
            raise DocumentInvalid(f"{name[:80]!r} cannot name a member.", fix="Use plain ASCII names.")
        head, line = _lines(name, content, end)
        body += [head, content]
        index.append(line)
        end += len(head) + len(content)
    return b"".join([*body, _directory(index, end)])


def unpack(data: bytes) -> dict[str, bytes]:
    """The members of an archive by name. Raises `ProofInvalid` for bytes that `pack` would not write."""
    if len(data) > MAX_ARCHIVE_BYTES:
        raise _altered("it is too large")
    members: dict[str, bytes] = {}
    index = []
    at, before = 0, ""
    while data.startswith(_LOCAL_MARK, at):
        if at + _LOCAL.size > len(data) or len(members) == MAX_MEMBERS:
            raise _altered("it ends early or never")
        size, name_size = _SIZES.unpack_from(data, at)
        start = at + _LOCAL.size + name_size
        name, content = data[at + _LOCAL.size : start].decode("latin-1"), data[start : start + size]
        if not before < name or len(name) > 255 or not _NAME.fullmatch(name):
            raise _altered("a member has a strange name or place")
        head, line = _lines(name, content, at)
        if not data.startswith(head, at):
            raise _altered(f"the content of {name} does not have its checksum")
        members[name] = content
        index.append(line)
        at, before = start + size, name
    if data[at:] != _directory(index, at):
        raise _altered("its directory is not that of its members")
    return members


def _lines(name: str, content: bytes, offset: int) -> tuple[bytes, bytes]:
    """What stands before the content of a member that begins at ``offset``, and its line in the directory."""
    raw, size = name.encode("ascii"), len(content)
    facts = (_VERSION, 0, 0, 0, _DATE, crc32(content), size, size, len(raw), 0)
    line = _CENTRAL.pack(b"PK\x01\x02", _VERSION, *facts, 0, 0, 0, 0, offset)
    return _LOCAL.pack(_LOCAL_MARK, *facts) + raw, line + raw


def _directory(lines: list[bytes], end: int) -> bytes:
    """What stands after the members, the last of which ends at ``end``: one line for each, and where they begin."""
    index, count = b"".join(lines), len(lines)
    return index + _END.pack(b"PK\x05\x06", 0, 0, count, count, len(index), end, 0)


def _altered(why: str) -> ProofInvalid:
    return ProofInvalid(
        f"The file is not as it was made: {why}.", fix="Get the file again; never unzip and zip evidence."
    )
