"""Sealing of attachments: what opens, what does not, and what its size tells."""

import msgspec
import pytest

from databund.core.attachments import Attachment, verify_commitment
from databund.crypto.attachments import CONTENT_LIMIT, seal, unseal
from databund.errors import ContentMismatch, InvalidInput, NotFound, SealBroken

CONTENT = "for the thesis of my neighbor 论文".encode()


def other(attachment: Attachment, **changes: object) -> Attachment:
    """The attachment with other members."""
    return msgspec.structs.replace(attachment, **changes)


@pytest.mark.parametrize("content", [b"", b"\x80", b"\0" * 300, b"\x80\0\0", CONTENT, b"x" * 255, b"x" * 256])
def test_what_is_sealed_opens(content: bytes) -> None:
    """Any content comes back, whatever its length is and however it ends, and is what was committed to."""
    attachment = seal(content, at=5)
    assert (unseal(attachment), attachment.at) == (content, 5)
    assert attachment.salt is not None
    verify_commitment(attachment.commitment, content, salt=attachment.salt)


def test_nothing_is_used_twice() -> None:
    """The same content sealed twice shares neither commitment, salt, key, nonce nor ciphertext."""
    first, second = (msgspec.structs.astuple(seal(CONTENT, at=5)) for _ in range(2))
    assert [a == b for a, b in zip(first, second, strict=True)] == [False, True, False, False, False, True]
    assert first[4][:12] != second[4][:12]


def test_the_size_tells_little() -> None:
    """Contents of 0 to 255 bytes have one sealed size."""
    sizes = {len(seal(b"x" * length, at=5).sealed or b"") for length in range(256)}
    assert sizes == {12 + 256 + 16}


def test_every_flipped_bit_is_seen() -> None:
    """A sealed content with any one bit flipped does not open."""
    attachment = seal(CONTENT, at=5)
    sealed = attachment.sealed or b""
    for bit in range(8 * len(sealed)):
        broken = (int.from_bytes(sealed) ^ 1 << bit).to_bytes(len(sealed))
        with pytest.raises(SealBroken):
            unseal(other(attachment, sealed=broken))


@pytest.mark.parametrize("length", [0, 11, 12, 27, 28, 283])
def test_a_truncated_one_is_seen(length: int) -> None:
    """A sealed content that was cut does not open."""
    attachment = seal(CONTENT, at=5)
    with pytest.raises(SealBroken):
        unseal(other(attachment, sealed=(attachment.sealed or b"")[:length]))


def test_nothing_takes_anothers_place() -> None:
    """A sealed content does not open under another commitment or another key, and not with another salt."""
    attachment, foreign = seal(CONTENT, at=5), seal(b"another", at=5)
    for changes in ({"commitment": foreign.commitment}, {"key": foreign.key}, {"key": b"short"}):
        with pytest.raises(SealBroken, match="does not open"):
            unseal(other(attachment, **changes))
    with pytest.raises(ContentMismatch):
        unseal(other(attachment, salt=foreign.salt))


def test_an_erased_one_says_when() -> None:
    """What was erased is not found, with the day in the message."""
    attachment = other(seal(CONTENT, at=5), salt=None, key=None, sealed=None, erased_at=1_800_057_600)
    with pytest.raises(NotFound, match="was erased on 2027-01-16"):
        unseal(attachment)


def test_attachments_are_small() -> None:
    """A content of 65,535 bytes is sealed, one byte more is refused."""
    assert len(unseal(seal(bytes(CONTENT_LIMIT), at=5))) == CONTENT_LIMIT
    with pytest.raises(InvalidInput, match="at most 65535 bytes"):
        seal(bytes(CONTENT_LIMIT + 1), at=5)
