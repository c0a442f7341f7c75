"""Every single bit of a bundle counts: a flipped one is refused by both verifiers, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest

from databund.core.archives import pack, unpack
from databund.errors import IntegrityFailed
from databund.sdk.evidence import verify_bytes
from tests.unit.test_evidence import standalone
from tests.unit.trades import Trade

Check = Callable[[bytes], object]


@cache
def bundle() -> bytes:
    """The evidence of a certified trade with a decision, a disclosed attachment and a witness."""
    made = Trade({"purposes": ("research",)}).delivered(purpose="research").certified()
    made.attached()
    return made.cosigned().bundle(disclose=True)


def flipped(data: bytes, *, step: int = 1) -> Iterator[bytes]:
    """The data with each bit flipped, or with every ``step``-th."""
    changing = bytearray(data)
    for bit in range(0, 8 * len(data), step):
        changing[bit >> 3] ^= 1 << (bit & 7)
        yield bytes(changing)
        changing[bit >> 3] ^= 1 << (bit & 7)


def accepted(files: Iterator[bytes], check: Check, refusals: tuple[type[Exception], ...]) -> int:
    """How many of the files pass a check that refuses by these exceptions only."""
    count = 0
    for file in files:
        try:
            check(file)
            count += 1
        except refusals:
            pass
    return count


def by_the_file(data: bytes) -> object:
    """What the shipped file says."""
    return list(standalone().check(data))


def test_the_bundle_itself_is_accepted() -> None:
    """Both verifiers accept it before a bit is flipped."""
    assert verify_bytes(bundle())
    assert by_the_file(bundle())


def test_bit_flipped_bundles() -> None:
    """All of them, exhaustively, by our verifier."""
    assert accepted(flipped(bundle()), verify_bytes, (IntegrityFailed,)) == 0


def test_bit_flipped_bundles_at_the_shipped_file() -> None:
    """All of them, exhaustively, by the one file inside the bundle, which includes the bits of that file."""
    refusals = (standalone().Wrong, *standalone().MALFORMED)

    assert accepted(flipped(bundle()), by_the_file, refusals) == 0


@pytest.mark.parametrize("name", sorted(unpack(bundle())))
def test_flips_under_a_whole_archive_are_refused(name: str) -> None:
    """No checksum of the archive is needed to notice: it is made right again around each of 256 flips of a member."""
    members = unpack(bundle())
    content = members[name]
    step = max(8 * len(content) // 256, 1) | 1  # odd, so that every place in a byte comes up

    found = (pack({**members, name: changed}) for changed in flipped(content, step=step))

    assert accepted(found, verify_bytes, (IntegrityFailed,)) == 0


@pytest.mark.parametrize("name", sorted(set(unpack(bundle())) - {"verify.py"}))
def test_the_shipped_file_notices_them_too(name: str) -> None:
    """The same by the one file, with 24 flips of each member."""
    members = unpack(bundle())
    step = max(8 * len(members[name]) // 24, 1) | 1

    found = (pack({**members, name: changed}) for changed in flipped(members[name], step=step))

    assert accepted(found, by_the_file, (standalone().Wrong, *standalone().MALFORMED)) == 0


def test_truncated_bundles() -> None:
    """However early the file ends, both verifiers refuse it."""
    refusals = (IntegrityFailed, standalone().Wrong, *standalone().MALFORMED)

    assert accepted((bundle()[:end] for end in range(len(bundle()))), verify_bytes, refusals) == 0
    assert accepted((bundle()[:end] for end in range(0, len(bundle()), 16)), by_the_file, refusals) == 0
