"""A witness: each rule of c2sp.org/tlog-witness, and that it never cosigns two histories."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import sha256

import pytest

from databund.app.witnessing import Answer, Witness
from databund.errors import HeadMoved, InvalidInput, NotFound, StoreUnavailable
from databund.testing.memory_heads import MemoryHeads
from databund.tlog.checkpoints import Checkpoint, open_checkpoint, sign_checkpoint
from databund.tlog.cosignatures import Cosignature
from databund.tlog.merkle import EMPTY_ROOT
from databund.tlog.notes import Note, parse_note
from databund.tlog.witnessing import AddCheckpoint, parse_cosignatures
from tests.unit.tlog_keys import ORIGIN, Key, MemoryLog, log_of, witness_key
from tests.unit.witnesses import LOG, NOW, Time, keys_of, request, witness

HASH = sha256(ORIGIN.encode()).hexdigest()
FORKED = MemoryLog().append(*(b"another %d" % number for number in range(20)))


def sizes(answer: Answer) -> tuple[int, str, bytes]:
    """Status, media type and body of an answer."""
    return answer.status, answer.media_type, answer.body


def times(answer: Answer) -> set[int]:
    """The times of the cosignatures of an answer."""
    return {Cosignature.of(line).timestamp_s for line in parse_cosignatures(answer.body)}


def seen(size: int) -> Witness:
    """A witness that cosigned the log at this size."""
    made = witness()
    assert made.add_checkpoint(request(0, log_of(size))).status == 200
    return made


def test_first_checkpoint_is_cosigned_by_both_keys() -> None:
    """The answer has an Ed25519 and an ML-DSA-44 cosignature of the checkpoint, with the time of the clock."""
    log = log_of(5)

    answer = witness().add_checkpoint(request(0, log))

    lines = parse_cosignatures(answer.body)
    assert (answer.status, [line.name for line in lines]) == (200, ["witness.example"] * 2)
    for key, line in zip(keys_of("witness.example"), lines, strict=True):
        key.verifier().verify(log.checkpoint().text.encode(), line.value)
    assert times(answer) == {NOW}


@pytest.mark.parametrize(("old", "new"), [(1, 2), (1, 20), (5, 6), (7, 8), (8, 9), (4, 300), (256, 257)])
def test_growth_is_cosigned(old: int, new: int) -> None:
    """A larger checkpoint with its consistency proof is cosigned, and is then the one that was seen."""
    made = seen(old)

    assert made.add_checkpoint(request(old, log_of(new))).status == 200
    assert sizes(made.add_checkpoint(request(old, log_of(new)))) == (409, "text/x.tlog.size", b"%d\n" % new)


def test_same_checkpoint_is_cosigned_again() -> None:
    """A checkpoint that was cosigned may be submitted again, for a newer time."""
    clock = Time()
    made = witness(clock=clock)
    made.add_checkpoint(request(0, log_of(5)))
    clock.now += 3600

    assert times(made.add_checkpoint(request(5, log_of(5)))) == {NOW + 3600}


def test_clock_that_jumps_back_makes_no_older_cosignature() -> None:
    """When the clock is set back, the time of the last cosignature is used again; a clock at 0 still gives a time."""
    clock = Time()
    made = witness(clock=clock)
    made.add_checkpoint(request(0, log_of(5)))
    clock.now = NOW - 10_000

    assert times(made.add_checkpoint(request(5, log_of(6)))) == {NOW}
    assert times(witness(clock=Time(0)).add_checkpoint(request(0, log_of(5)))) == {1}


def test_empty_log_is_cosigned() -> None:
    """A log may be submitted before it has entries, and goes on from there."""
    made = witness()
    empty = Checkpoint(ORIGIN, 0, EMPTY_ROOT)

    assert made.add_checkpoint(request(0, log_of(5), checkpoint=empty)).status == 200
    assert made.add_checkpoint(request(0, log_of(5))).status == 200


def test_unknown_log_is_404() -> None:
    """A log that the witness does not watch is not found."""
    other = replace(log_of(5).checkpoint(), origin="other.example")

    assert witness().add_checkpoint(request(0, log_of(5), checkpoint=other)).status == 404


def test_checkpoint_of_strangers_is_403() -> None:
    """A checkpoint that no trusted key of the log signed is forbidden, also when another watched log signed it."""
    other = Key("other.example")
    made = witness(logs={ORIGIN: [LOG.verifier()], "other.example": [other.verifier()]})

    assert made.add_checkpoint(request(0, log_of(5), key=Key("stranger"))).status == 403
    assert made.add_checkpoint(request(0, log_of(5), key=other)).status == 403


def test_wrong_signature_of_a_trusted_key_is_403() -> None:
    """A line with a trusted key's name and ID that does not verify makes the note malformed."""
    right = sign_checkpoint(log_of(5).checkpoint(), [LOG.signer()])
    wrong = sign_checkpoint(log_of(6).checkpoint(), [LOG.signer()]).signatures
    forged = Note(right.text, wrong).to_bytes()
    both = Note(right.text, (*right.signatures, *wrong)).to_bytes()

    for note in (forged, both):
        assert witness().add_checkpoint(AddCheckpoint(0, (), note).to_bytes()).status == 403


def test_signatures_of_unknown_keys_are_ignored_and_not_kept() -> None:
    """Signatures by others do no harm, and the stored checkpoint has the log's and the witness's only."""
    heads = MemoryHeads()
    note = sign_checkpoint(log_of(5).checkpoint(), [witness_key("w2").signer(), LOG.signer(), Key("x").signer()])

    assert witness(heads=heads).add_checkpoint(AddCheckpoint(0, (), note.to_bytes()).to_bytes()).status == 200
    names = [line.name for line in parse_note(heads.notes[ORIGIN]).signatures]
    assert names == [ORIGIN, "witness.example", "witness.example"]


def test_old_size_above_the_size_is_400() -> None:
    """An old size that is larger than the checkpoint's is a bad request, whatever the witness has."""
    body = AddCheckpoint(6, (), sign_checkpoint(log_of(5).checkpoint(), [LOG.signer()]).to_bytes()).to_bytes()

    assert seen(6).add_checkpoint(body).status == 400
    assert witness().add_checkpoint(body).status == 400


@pytest.mark.parametrize("body", [b"", b"garbage", b"old 0\n\n", b"old 0\n\ngarbage", b"old 0\n\n" + b"x" * 2**20])
def test_malformed_request_is_400(body: bytes) -> None:
    """What is no request is a bad request."""
    assert witness().add_checkpoint(body).status == 400


@pytest.mark.parametrize("text", [f"{ORIGIN}\nx\nroot\n", f"{ORIGIN}\n05\nroot\n", f"{ORIGIN}\n"])
def test_signed_nonsense_is_400(text: str) -> None:
    """A note of the log that is no checkpoint is a bad request."""
    signer = LOG.signer()
    note = Note(text, (replace(parse_note(sign_checkpoint(log_of(1).checkpoint(), [signer]).to_bytes()).signatures[0],
                               value=signer.sign(text.encode())),))  # fmt: skip

    assert witness().add_checkpoint(AddCheckpoint(0, (), note.to_bytes()).to_bytes()).status == 400


def test_another_old_size_is_409_with_the_size() -> None:
    """Whoever does not know the size gets it, as a line of its own content type."""
    for old in (0, 3, 6):
        assert sizes(seen(5).add_checkpoint(request(old, log_of(8)))) == (409, "text/x.tlog.size", b"5\n")
    assert sizes(witness().add_checkpoint(request(3, log_of(8)))) == (409, "text/x.tlog.size", b"0\n")


def test_size_0_with_another_root_is_422() -> None:
    """The empty log has the root of the empty tree; another one cannot be processed."""
    signer = LOG.signer()
    text = f"{ORIGIN}\n0\n{'A' * 43}=\n"
    line = replace(sign_checkpoint(log_of(1).checkpoint(), [signer]).signatures[0], value=signer.sign(text.encode()))

    body = AddCheckpoint(0, (), Note(text, (line,)).to_bytes()).to_bytes()
    assert witness().add_checkpoint(body).status == 422


def test_proof_from_size_0_is_422() -> None:
    """From the empty log nothing is to be proven."""
    note = sign_checkpoint(log_of(5).checkpoint(), [LOG.signer()]).to_bytes()

    assert witness().add_checkpoint(AddCheckpoint(0, (bytes(32),), note).to_bytes()).status == 422


def test_wrong_proof_is_422_and_changes_nothing() -> None:
    """A proof that is missing, cut, too long or of another log does not verify, and the log may go on after it."""
    made = seen(5)
    right = AddCheckpoint.parse(request(5, log_of(20)))
    proofs = [(), right.proof[:-1], (*right.proof, bytes(32)), right.proof[::-1]]
    for body in [replace(right, proof=proof).to_bytes() for proof in proofs] + [request(5, FORKED)]:
        assert made.add_checkpoint(body).status == 422
    assert made.add_checkpoint(right.to_bytes()).status == 200


def test_two_roots_of_one_size_are_422() -> None:
    """The same size with another root is a fork; with a proof, the same root is refused, too."""
    made = seen(20)
    repeated = AddCheckpoint.parse(request(20, log_of(20)))

    assert made.add_checkpoint(request(20, FORKED)).status == 422
    assert made.add_checkpoint(replace(repeated, proof=(bytes(32),)).to_bytes()).status == 422
    assert made.add_checkpoint(repeated.to_bytes()).status == 200


def test_rolled_back_log_is_never_cosigned() -> None:
    """No old size gets a smaller checkpoint cosigned once a larger one was."""
    made = seen(20)

    assert {made.add_checkpoint(request(old, log_of(15))).status for old in range(16)} == {409}
    body = AddCheckpoint(20, (), sign_checkpoint(log_of(15).checkpoint(), [LOG.signer()]).to_bytes()).to_bytes()
    assert made.add_checkpoint(body).status == 400


def test_monitors_read_what_was_cosigned() -> None:
    """The stored checkpoint carries the log's signature and exactly the cosignatures that were given."""
    made = witness()
    with pytest.raises(NotFound):
        made.checkpoint(HASH)
    answer = made.add_checkpoint(request(0, log_of(5)))

    note = made.checkpoint(HASH)

    opened = open_checkpoint(
        note, origin=ORIGIN, log=[LOG.verifier()], witnesses=[key.verifier() for key in keys_of("witness.example")]
    )
    assert (opened.checkpoint, len(opened.cosignatures)) == (log_of(5).checkpoint(), 2)
    assert note.endswith(answer.body)
    for unknown in (HASH.upper(), HASH[:-1], "", ORIGIN, sha256(b"other.example").hexdigest()):
        with pytest.raises(NotFound):
            made.checkpoint(unknown)


def test_nothing_is_answered_that_was_not_stored() -> None:
    """When the store fails, no cosignature leaves; and the next request finds what was stored before."""

    class Broken(MemoryHeads):
        broken = False

        def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
            if self.broken:
                raise StoreUnavailable("The disk fails.", fix="Mend it.")
            super().replace(origin, checkpoint, was=was)

    heads = Broken()
    made = witness(heads=heads)
    made.add_checkpoint(request(0, log_of(5)))
    heads.broken = True

    with pytest.raises(StoreUnavailable):
        made.add_checkpoint(request(5, log_of(6)))
    heads.broken = False
    assert made.add_checkpoint(request(5, log_of(6))).status == 200


def test_racing_requests_are_compared_again() -> None:
    """A request that finds the head moved on is compared with the new one, and never rolls it back."""

    class Racing(MemoryHeads):
        lost = False

        def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
            if not self.lost and was is not None:
                self.lost = True
                assert witness(heads=self).add_checkpoint(request(5, log_of(20))).status == 200
            super().replace(origin, checkpoint, was=was)

    made = witness(heads=Racing())
    made.add_checkpoint(request(0, log_of(5)))

    assert sizes(made.add_checkpoint(request(5, log_of(10)))) == (409, "text/x.tlog.size", b"20\n")


def test_head_that_moves_after_it_was_read_is_never_rolled_back() -> None:
    """What is replaced is what was compared with: a head that moved on between the two stays."""

    class Moving(MemoryHeads):
        moved = False

        def get(self, origin: str) -> bytes | None:
            found = super().get(origin)
            if not self.moved and found is not None:
                self.moved = True
                assert witness(heads=self).add_checkpoint(request(5, log_of(20))).status == 200
            return found

    made = witness(heads=Moving())
    made.add_checkpoint(request(0, log_of(5)))

    assert sizes(made.add_checkpoint(request(5, log_of(10)))) == (409, "text/x.tlog.size", b"20\n")


def test_endless_race_is_given_up() -> None:
    """A store that moves on every time is an unavailable one."""

    class Moving(MemoryHeads):
        def replace(self, origin: str, checkpoint: bytes, *, was: bytes | None) -> None:
            raise HeadMoved(f"{origin} is not at {was!r}, so not at {checkpoint!r}.", fix="Again.")

    with pytest.raises(StoreUnavailable):
        witness(heads=Moving()).add_checkpoint(request(0, log_of(5)))


def test_threads_never_get_two_histories_cosigned() -> None:
    """Of many logs that grow from the same size at once, one is cosigned, and all cosignatures are of its history."""
    made = seen(1)
    forks = [MemoryLog().append(*log_of(1).entries).append(b"fork %d" % number) for number in range(16)]

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(made.add_checkpoint, [request(1, fork) for fork in forks]))

    assert sorted(answer.status for answer in answers) == [200] + [409] * 15


def test_rotated_log_key_is_trusted_beside_the_old_one() -> None:
    """A log may have several trusted keys, an ML-DSA-44 one among them; one signature is enough, all are kept."""
    ml_dsa = keys_of(ORIGIN)[1]
    heads = MemoryHeads()
    made = witness(heads=heads, logs={ORIGIN: [LOG.verifier(), ml_dsa.verifier()]})

    assert made.add_checkpoint(request(0, log_of(5), key=ml_dsa)).status == 200
    both = sign_checkpoint(log_of(5).checkpoint(), [ml_dsa.signer(), LOG.signer()]).to_bytes()
    assert made.add_checkpoint(AddCheckpoint(5, (), both).to_bytes()).status == 200
    assert len(parse_note(heads.notes[ORIGIN]).signatures) == 4


def test_extension_lines_need_a_signature_that_covers_them() -> None:
    """Extension lines that anybody could have added to an ML-DSA-44 signature are forbidden; signed ones are kept."""
    ml_dsa, heads = keys_of(ORIGIN)[1], MemoryHeads()
    made = witness(heads=heads, logs={ORIGIN: [LOG.verifier(), ml_dsa.verifier()]})
    extended = replace(log_of(5).checkpoint(), extensions=("extension",))

    assert made.add_checkpoint(request(0, log_of(5), key=ml_dsa, checkpoint=extended)).status == 403
    assert made.add_checkpoint(request(0, log_of(5), checkpoint=extended)).status == 200
    assert Checkpoint.parse(parse_note(heads.notes[ORIGIN]).text) == extended


def test_log_with_a_name_that_cannot_be_cosigned_is_refused() -> None:
    """An origin above 255 bytes does not fit an ML-DSA-44 cosignature, which is told before any request."""
    with pytest.raises(InvalidInput):
        witness(logs={"o" * 256: [LOG.verifier()]})
