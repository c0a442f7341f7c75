"""Every byte of every resource of a small stored log: a flip is found, in that resource, not after that byte."""

from __future__ import annotations

import pytest

from databund.errors import LogDamaged
from databund.tlog.fsck import fsck
from tests.stored_logs import StoredLog, checks, numbered

LOG = StoredLog.of(numbered(2 * 256 + 3))


@pytest.mark.parametrize("path", sorted(LOG.resources))
def test_every_flipped_byte_is_found_where_it_is(path: str) -> None:
    """The named resource is the damaged one, and the offset lies at the byte or where its hash or entry begins."""
    whole = LOG.resources[path]
    for offset in range(0, len(whole), 1 if len(whole) < 2000 else 37):
        for mask in (0x01, 0x20, 0x80):
            damaged = StoredLog(
                LOG.resources | {path: whole[:offset] + bytes([whole[offset] ^ mask]) + whole[offset + 1 :]}
            )
            with pytest.raises(LogDamaged) as caught:
                fsck(damaged, checks())
            assert caught.value.path == path
            assert caught.value.offset <= offset < caught.value.offset + 200
