"""Whatever bytes arrive at a parser of the log: it reads one spelling per value, and raises nothing but our errors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from databund.errors import DatabundError
from databund.sdk.log_keys import verifier
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.merkle import EMPTY_ROOT, MAX_SIZE, Frontier
from databund.tlog.notes import Signature, Signer, VerifierKey, parse_note, sign_note
from databund.tlog.policies import WitnessPolicy
from databund.tlog.proofs import EntryProof
from databund.tlog.tiles import EntryBundle, Tile, format_entries, parse_entries, parse_path
from databund.tlog.witnessing import (
    AddCheckpoint,
    format_cosignatures,
    format_size,
    parse_cosignatures,
    parse_size,
)
from tests.unit.tlog_keys import Key, witness_key

LOG = Key("log.example")
VALID_NOTE = sign_checkpoint(Checkpoint("log.example", 0, EMPTY_ROOT), [LOG.signer()]).to_bytes()
VALID_PROOF = EntryProof(5, (bytes(32), b"\x01" * 32), VALID_NOTE, b"extra").to_bytes()

# Each parser, how its value is written back, and a valid text to start from.
FORMATS: dict[str, tuple[Callable[[bytes], bytes], bytes]] = {
    "note": (lambda data: parse_note(data).to_bytes(), VALID_NOTE),
    "proof": (lambda data: EntryProof.parse(data).to_bytes(), VALID_PROOF),
    "frontier": (lambda data: Frontier.from_bytes(data).to_bytes(), bytes([0, 0, 0, 0, 0, 0, 0, 2]) + bytes(32)),
    "bundle": (lambda data: format_entries(parse_entries(data, width=3)), b"\x00\x01a\x00\x00\x00\x02bc"),
    "checkpoint": (
        lambda data: Checkpoint.parse(data.decode("utf-8", "surrogateescape")).text.encode("utf-8", "surrogateescape"),
        Checkpoint("log.example", 7, bytes(32), ("extension",)).text.encode(),
    ),
    "vkey": (
        lambda data: str(VerifierKey.parse(data.decode("utf-8", "surrogateescape"))).encode("utf-8", "surrogateescape"),
        str(LOG.vkey).encode(),
    ),
    "request": (
        lambda data: AddCheckpoint.parse(data).to_bytes(),
        AddCheckpoint(5, (bytes(32), b"\x01" * 32), VALID_NOTE).to_bytes(),
    ),
    "cosignatures": (
        lambda data: format_cosignatures(parse_cosignatures(data)),
        format_cosignatures([Signature("witness.example", 7, bytes(72)), Signature("other.example", 8, b"value")]),
    ),
    "size": (lambda data: format_size(parse_size(data)), b"20852014\n"),
    "path": (
        lambda data: parse_path(data.decode("utf-8", "surrogateescape")).path.encode("utf-8", "surrogateescape"),
        b"tile/1/x001/234.p/5",
    ),
}

edits = st.lists(
    st.tuples(
        st.integers(0, 2000),
        st.integers(0, 40),
        st.binary(max_size=8)
        | st.sampled_from([b"\n", b"\n\n", b" ", b"=", b"+", b"0", b"\xe2\x80\x94 ", b"\r", b"/"]),
    ),
    max_size=4,
)


def edited(data: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    """The data with some of its ranges replaced."""
    for at, length, new in changes:
        start = at % (len(data) + 1)
        data = data[:start] + new + data[start + length :]
    return data


@pytest.mark.parametrize("name", FORMATS)
def test_valid_example_is_read(name: str) -> None:
    """The text that the next tests spoil is read and written back."""
    rewrite, valid = FORMATS[name]

    assert rewrite(valid) == valid


@pytest.mark.parametrize("name", FORMATS)
@given(data=st.binary(max_size=400))
def test_arbitrary_bytes_raise_only_our_errors(name: str, data: bytes) -> None:
    """Arbitrary bytes are refused by an error of the tree, or are the one spelling of a value."""
    rewrite, _ = FORMATS[name]
    try:
        written = rewrite(data)
    except DatabundError:
        return
    assert written == data


@pytest.mark.parametrize("name", FORMATS)
@given(changes=edits)
def test_spoiled_texts_raise_only_our_errors(name: str, changes: list[tuple[int, int, bytes]]) -> None:
    """A valid text with some bytes replaced is refused by an error of the tree, or is the one spelling of a value."""
    rewrite, valid = FORMATS[name]
    data = edited(valid, changes)
    try:
        written = rewrite(data)
    except DatabundError:
        return
    assert written == data


lines = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
names = st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"], exclude_characters="+"), min_size=1, max_size=20)
key_ids = st.integers(0, 2**32 - 1)
digests = st.binary(min_size=32, max_size=32)


@given(
    origin=lines,
    size=st.integers(1, MAX_SIZE),
    root=digests,
    extensions=st.lists(lines, max_size=3).map(tuple),
)
def test_checkpoints_come_back(origin: str, size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    """Every checkpoint that can be made is read back equal."""
    checkpoint = Checkpoint(origin, size, root, extensions)

    assert Checkpoint.parse(checkpoint.text) == checkpoint


@given(
    text=st.lists(lines | st.just(""), min_size=1, max_size=5).map(lambda found: "\n".join([*found, ""])),
    signatures=st.lists(
        st.builds(Signature, name=names, key_id=key_ids, value=st.binary(min_size=1, max_size=90)), max_size=5
    ),
    name=names,
)
def test_notes_come_back(text: str, signatures: list[Signature], name: str) -> None:
    """Every note that can be signed is read back equal."""
    note = sign_note(text, [Signer(name, 1, lambda message: message[:64])], others=signatures)

    assert parse_note(note.to_bytes()) == note


@given(
    st.builds(Tile, st.integers(0, 63), st.integers(0, MAX_SIZE // 256), st.integers(1, 256))
    | st.builds(EntryBundle, st.integers(0, MAX_SIZE // 256), st.integers(1, 256))
)
def test_places_come_back(place: Tile | EntryBundle) -> None:
    """Every tile and bundle has a path that leads back to it."""
    assert parse_path(place.path) == place


@given(st.lists(st.binary(max_size=300), min_size=1, max_size=256))
def test_bundles_come_back(entries: list[bytes]) -> None:
    """Every bundle of entries is read back equal."""
    assert parse_entries(format_entries(entries), width=len(entries)) == tuple(entries)


VALID_POLICY = f"log {LOG.vkey}\nwitness w {witness_key('w.example').vkey} https://w.example\ngroup g any w\nquorum g\n"


@given(changes=edits | st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3), st.sampled_from(
    [b"\n", b" ", b"\t", b"w", b"g", b"none", b"quorum", b"all", b"1", b"#", b"\xff", b"+"])), max_size=6))  # fmt: skip
def test_spoiled_policies_raise_only_our_errors(changes: list[tuple[int, int, bytes]]) -> None:
    """A witness policy with some bytes replaced is refused by an error of the tree, or decides about any signatures."""
    data = edited(VALID_POLICY.encode(), changes)
    try:
        policy = WitnessPolicy.parse(data, verifier)
        policy.check([])
    except DatabundError:
        return
    assert policy.quorum is None
