"""Commitments bind: of all contents and salts, only the one pair matches."""

from hashlib import sha256

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from databund.core.attachments import SALT_BYTES, commitment_of, verify_commitment
from databund.errors import ContentMismatch

CONTENTS = st.binary(max_size=300)
SALTS = st.binary(min_size=SALT_BYTES, max_size=SALT_BYTES)


@given(CONTENTS, SALTS, CONTENTS, SALTS)
def test_no_other_pair_matches(content: bytes, salt: bytes, other_content: bytes, other_salt: bytes) -> None:
    """Any other content, any other salt, and both of them fail; the committed pair does not."""
    commitment = commitment_of(content, salt=salt)
    verify_commitment(commitment, content, salt=salt)
    assume(content != other_content and salt != other_salt)
    for pair in ((other_content, salt), (content, other_salt), (other_content, other_salt)):
        with pytest.raises(ContentMismatch):
            verify_commitment(commitment, pair[0], salt=pair[1])


@given(CONTENTS, SALTS, st.integers(1, 40))
def test_the_border_of_salt_and_content_is_fixed(content: bytes, salt: bytes, moved: int) -> None:
    """What moves from the content into the salt, or back, is not the same attachment."""
    whole, commitment = salt + content, commitment_of(content, salt=salt)
    for border in {SALT_BYTES - min(moved, SALT_BYTES), SALT_BYTES + min(moved, len(content))} - {SALT_BYTES}:
        with pytest.raises(ContentMismatch):
            verify_commitment(commitment, whole[border:], salt=whole[:border])


@given(CONTENTS, SALTS)
def test_a_commitment_is_no_node_of_a_tree(content: bytes, salt: bytes) -> None:
    """A commitment is neither the leaf hash nor the node hash of the same bytes (RFC 6962)."""
    commitment = bytes(commitment_of(content, salt=salt))
    assert commitment not in (sha256(prefix + salt + content).digest() for prefix in (b"", b"\0", b"\1"))
