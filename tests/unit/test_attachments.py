"""Attachments: what entries say of them, and how a verifier reports each one."""

import pytest

from databund.core.attachments import (
    AttachmentStory,
    ErasureReason,
    Presence,
    Standing,
    commitment_of,
    verify_commitment,
)
from databund.core.events import Event, EventKind
from databund.core.ids import Commitment
from databund.errors import ContentMismatch, IdentifierInvalid, InvalidInput, ProofInvalid

SALT = bytes(range(32))
CONTENT = b"for the thesis of my neighbor"
COMMITMENT = commitment_of(CONTENT, salt=SALT)
DAY = 1_800_057_600  # 2027-01-16


def named(commitment: Commitment | str | None = COMMITMENT) -> Event:
    """A decision that names an attachment."""
    about = {"decision": {}, "permitted": True, "offer": "0x", "order": None}
    return Event(EventKind.DECIDED, DAY, "0x", {**about, "attachment": None if commitment is None else str(commitment)})


def erased(at: int = DAY, reason: str = ErasureReason.CONSENT_WITHDRAWN) -> Event:
    """The entry of an erasure."""
    return Event(EventKind.DESTROYED, at, "0x", {"attachment": str(COMMITMENT), "reason": str(reason)})


def story(*events: Event) -> AttachmentStory:
    """The story of these entries."""
    told = AttachmentStory()
    for event in events:
        told.add(event)
    return told


def test_what_is_not_shown_is_withheld() -> None:
    """An attachment that an entry names and nobody discloses is withheld, which breaks nothing."""
    (standing,) = story(named(None), named()).standings().values()
    assert (standing.presence, str(standing)) == (Presence.WITHHELD, "withheld")


def test_what_is_shown_is_compared() -> None:
    """A disclosed attachment is present when it is what the entry committed to."""
    (standing,) = story(named()).standings({COMMITMENT: (SALT, CONTENT)}).values()
    assert standing.presence is Presence.PRESENT
    assert str(standing) == "present, and what the entry committed to"


def test_an_erased_one_names_its_day() -> None:
    """An erased attachment is reported with the day and the reason of its first erasure."""
    told = story(named(), erased(), erased(DAY + 1, ErasureReason.MISTAKE))
    assert told.standings() == {COMMITMENT: Standing(Presence.ERASED, DAY, "consent_withdrawn")}
    assert str(told.standings()[COMMITMENT]) == "erased on 2027-01-16 (consent_withdrawn)"


def test_a_kept_copy_stays_erased() -> None:
    """A copy that somebody kept is compared, and does not undo the erasure."""
    told = story(named(), erased())
    assert told.standings({COMMITMENT: (SALT, CONTENT)})[COMMITMENT].presence is Presence.ERASED
    with pytest.raises(ContentMismatch):
        told.standings({COMMITMENT: (SALT, b"another")})


@pytest.mark.parametrize("shown", [(SALT, b"another"), (bytes(32), CONTENT), (SALT[:31], CONTENT), (b"", b"")])
def test_another_copy_is_refused(shown: tuple[bytes, bytes]) -> None:
    """Another content, another salt, or a salt of another length is a mismatch."""
    with pytest.raises(ContentMismatch, match="is not what the entry committed to"):
        story(named()).standings({COMMITMENT: shown})


def test_nobody_named_it() -> None:
    """Neither a copy nor an erasure of an attachment counts that no entry named before."""
    with pytest.raises(ProofInvalid, match="No entry names"):
        story(named(None)).standings({COMMITMENT: (SALT, CONTENT)})
    with pytest.raises(ProofInvalid, match="which no entry named before"):
        story(erased(), named())


def test_a_commitment_has_a_form() -> None:
    """An entry that names something else than a commitment is refused."""
    with pytest.raises(IdentifierInvalid):
        story(named("0x12"))


def test_a_salt_has_a_length() -> None:
    """Nothing is committed to under a short salt."""
    with pytest.raises(InvalidInput, match="has 32 bytes, this one has 31"):
        commitment_of(CONTENT, salt=SALT[:31])
    verify_commitment(COMMITMENT, CONTENT, salt=SALT)
