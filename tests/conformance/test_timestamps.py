"""What outsiders say about a checkpoint is what stock tools accept, and whatever else they answer is refused."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.op import OpAppend
from opentimestamps.core.timestamp import Timestamp
from rfc3161_client import HashAlgorithm, TimestampRequestBuilder

from databund.cli.program import run
from databund.crypto.signatures import Ed25519Key
from databund.errors import ConfigInvalid, DependencyMissing, KeyInvalid, TimestampInvalid, TimestampUnavailable
from databund.sdk import timestamps
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer
from tests.conformance.timestamp_services import (
    HEIGHT,
    Answer,
    Authority,
    Calendar,
    answering,
    openssl,
    serialized,
)
from tests.nodes import ABOUT, node_in_process, table

NEEDS_OPENSSL = pytest.mark.openssl


def _note(size: int) -> bytes:
    key = Ed25519Key(bytes(32))
    signer = ed25519_signer(VerifierKey("log.example", SignatureType.ED25519, key.public), key.sign)
    return sign_checkpoint(Checkpoint("log.example", size, bytes(32)), [signer]).to_bytes()


NOTE, OTHER = _note(5), _note(6)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One authority for the tests of this module."""
    return Authority.make(tmp_path_factory.mktemp("tsa") / "authority")


def _query(note: bytes) -> bytes:
    builder = TimestampRequestBuilder().data(note).hash_algorithm(HashAlgorithm.SHA256)
    return builder.build().as_bytes()


# --- RFC 3161 ---


@NEEDS_OPENSSL
def test_openssl_accepts_our_timestamp(authority: Authority, tmp_path: Path) -> None:
    """What the authority answered us, openssl ts -verify accepts, and rejects for a changed checkpoint."""
    with answering(lambda _path, body: (200, authority.reply(body))) as url:
        token = timestamps.rfc3161(NOTE, url=url, roots=authority.roots)
    (tmp_path / "checkpoint").write_bytes(NOTE)
    (tmp_path / "checkpoint.tsr").write_bytes(token.der)
    (tmp_path / "changed").write_bytes(OTHER)
    verify = ("ts", "-verify", "-in", "checkpoint.tsr", "-CAfile", str(authority.folder / "root.pem"), "-data")

    assert token.trusted_roots
    assert "Verification: OK" in openssl(tmp_path, *verify, "checkpoint")
    assert "Verification: FAILED" in openssl(tmp_path, *verify, "changed", fails=True)


@NEEDS_OPENSSL
def test_a_stored_timestamp_is_of_one_checkpoint(authority: Authority) -> None:
    """A stored response verifies for its checkpoint, and not for another one."""
    der = authority.reply(_query(NOTE))

    assert timestamps.verify_rfc3161(NOTE, der, roots=authority.roots).trusted_roots
    with pytest.raises(TimestampInvalid, match="not of this checkpoint"):
        timestamps.verify_rfc3161(OTHER, der, roots=authority.roots)


@NEEDS_OPENSSL
def test_a_flipped_bit_is_refused(authority: Authority) -> None:
    """A response with one flipped bit is refused, in whichever eighth of its bytes the bit lies."""
    der = authority.reply(_query(NOTE))
    for place in range(0, len(der), len(der) // 8):
        broken = bytearray(der)
        broken[place] ^= 1
        with pytest.raises((TimestampInvalid, TimestampUnavailable)):
            timestamps.verify_rfc3161(NOTE, bytes(broken), roots=authority.roots)


@NEEDS_OPENSSL
def test_other_roots_do_not_do(authority: Authority, tmp_path: Path) -> None:
    """A signature that leads to another root of the same name is refused."""
    stranger = Authority.make(tmp_path / "stranger")
    with (
        answering(lambda _path, body: (200, authority.reply(body))) as url,
        pytest.raises(TimestampInvalid, match="does not lead to the given roots"),
    ):
        timestamps.rfc3161(NOTE, url=url, roots=stranger.roots)


@NEEDS_OPENSSL
def test_without_roots_nothing_is_claimed(authority: Authority) -> None:
    """Without roots the token is kept, and says that nobody checked who signed it."""
    with answering(lambda _path, body: (200, authority.reply(body))) as url:
        assert not timestamps.rfc3161(NOTE, url=url).trusted_roots


@NEEDS_OPENSSL
@pytest.mark.parametrize(("note", "said"), [(NOTE, "another request"), (OTHER, "not of this checkpoint")])
def test_an_answer_to_another_query(authority: Authority, note: bytes, said: str) -> None:
    """A genuine answer with another nonce or another digest is refused, with roots or without."""
    earlier = authority.reply(_query(note))
    with answering(lambda _path, _body: (200, earlier)) as url:
        for roots in (authority.roots, None):
            with pytest.raises(TimestampInvalid, match=said):
                timestamps.rfc3161(NOTE, url=url, roots=roots)


@NEEDS_OPENSSL
def test_an_authority_that_refuses(authority: Authority) -> None:
    """A rejection by the authority is told as one."""
    rejection = authority.reply(b"not a query")
    with (
        answering(lambda _path, _body: (200, rejection)) as url,
        pytest.raises(TimestampUnavailable, match=r"refused \(status 2\)"),
    ):
        timestamps.rfc3161(NOTE, url=url)


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        ((200, b"<html>hello</html>"), TimestampInvalid, "did not answer with a timestamp"),
        ((200, b""), TimestampInvalid, "did not answer with a timestamp"),
        ((200, bytes.fromhex("30053003020100")), TimestampInvalid, "did not answer with a timestamp"),
        ((200, bytes(10_000_000)), TimestampUnavailable, "too much"),
        ((404, b""), TimestampUnavailable, "no time-stamping authority"),
        ((302, b""), TimestampUnavailable, "answered 302"),
        ((500, b""), TimestampUnavailable, "answered 500"),
    ],
    ids=["garbage", "nothing", "granted-without-token", "10 MB", "404", "redirect", "500"],
)
def test_an_authority_that_answers_something_else(answer: Answer, error: type[Exception], said: str) -> None:
    """Garbage, nothing, too much and HTTP errors are each refused by name."""
    with answering(lambda _path, _body: answer) as url, pytest.raises(error, match=said):
        timestamps.rfc3161(NOTE, url=url)


Ask = Callable[[str], object]
ASKED: list[Ask] = [
    lambda url: timestamps.rfc3161(NOTE, url=url, timeout_s=0.2),
    lambda url: timestamps.opentimestamps(NOTE, calendars=[url], timeout_s=0.2),
]


@pytest.mark.parametrize("ask", ASKED, ids=["rfc3161", "opentimestamps"])
def test_a_service_that_sleeps(ask: Ask) -> None:
    """Whoever does not answer in time is given up."""
    awake = threading.Event()

    def sleep(_path: str, _body: bytes) -> Answer:
        awake.wait(30)
        return 200, b""

    with answering(sleep) as url:
        with pytest.raises(TimestampUnavailable, match="ReadTimeout"):
            ask(url)
        awake.set()


@pytest.mark.parametrize(
    "url", ["ftp://tsa.example.com", "tsa.example.com", "http://", "https://me:word@tsa.example.com"]
)
def test_a_url_that_cannot_be_asked(url: str) -> None:
    """A URL that is none, or that holds a password, is refused without showing the password."""
    for ask in ASKED:
        with pytest.raises(ConfigInvalid) as refusal:
            ask(url)
        assert "word" not in str(refusal.value)


def test_roots_that_are_no_certificates() -> None:
    """A file of roots without a certificate is refused before anybody is asked."""
    with pytest.raises(KeyInvalid):
        timestamps.rfc3161(NOTE, url="http://127.0.0.1:9", roots=b"no certificate")


# --- OpenTimestamps ---


def test_a_promise_becomes_a_block() -> None:
    """A calendar first promises; when it has a block, the upgraded file leads to the block's Merkle root."""
    calendar = Calendar()
    with answering(calendar.answer) as url:
        calendar.url = url
        promised = timestamps.opentimestamps(NOTE, calendars=[url + "/"]).ots
        early = timestamps.upgrade(NOTE, promised, calendars=[url]).ots
        calendar.mined = True
        upgraded = timestamps.upgrade(NOTE, promised, calendars=[url]).ots

    assert early == promised
    assert timestamps.verify_opentimestamps(NOTE, promised) == timestamps.CalendarProof((url,), ())
    proof = timestamps.verify_opentimestamps(NOTE, upgraded)
    assert proof.bitcoin == (timestamps.MerkleRoot(HEIGHT, calendar.root()),)


def test_a_proof_is_of_one_checkpoint() -> None:
    """A file is refused for another checkpoint, both to verify and to upgrade."""
    calendar = Calendar("http://127.0.0.1")
    with answering(calendar.answer) as url:
        ots = timestamps.opentimestamps(NOTE, calendars=[url]).ots
    for act in (timestamps.verify_opentimestamps, timestamps.upgrade):
        with pytest.raises(TimestampInvalid, match="not of this checkpoint"):
            act(OTHER, ots)


def test_a_proof_that_is_cut_anywhere_is_refused() -> None:
    """No beginning of a file is a file, and neither is a file with a byte more."""
    calendar = Calendar("http://127.0.0.1")
    with answering(calendar.answer) as url:
        ots = timestamps.opentimestamps(NOTE, calendars=[url]).ots
    for broken in [*(ots[:length] for length in range(len(ots))), ots + b"\0"]:
        with pytest.raises(TimestampInvalid):
            timestamps.verify_opentimestamps(NOTE, broken)


def test_the_calendar_does_not_learn_the_checkpoint() -> None:
    """What a calendar receives is another digest each time, never that of the checkpoint."""
    calendar, seen = Calendar("http://127.0.0.1"), []

    def listen(path: str, body: bytes) -> Answer:
        seen.append(body)
        return calendar.answer(path, body)

    with answering(listen) as url:
        files = {timestamps.opentimestamps(NOTE, calendars=[url]).ots for _ in range(2)}
    assert len(set(seen)) == len(files) == 2
    assert {len(digest) for digest in seen} == {32}


def test_one_calendar_of_two_is_enough() -> None:
    """A calendar that fails is named in the result, and the other's promise is kept."""
    calendar = Calendar("http://127.0.0.1")
    with answering(calendar.answer) as url, answering(lambda _path, _body: (500, b"")) as broken:
        done = timestamps.opentimestamps(NOTE, calendars=[broken, url])
    assert timestamps.verify_opentimestamps(NOTE, done.ots).pending == ("http://127.0.0.1",)
    assert done.refused == {broken: f"{broken}/digest answered 500."}


def _deep(commitment: bytes) -> bytes:
    """An answer that nests as deep as the format allows."""
    timestamp = below = Timestamp(commitment)
    for _ in range(255):
        below = below.ops.add(OpAppend(b"\1"))
    below.attestations.add(PendingAttestation("http://127.0.0.1"))
    return serialized(timestamp)


@pytest.mark.parametrize(
    "answer",
    [lambda _: b"", lambda _: b"<html>", lambda _: bytes(10_000_000), lambda _: b"\xff" * 10_000, lambda _: b"\0" * 9],
    ids=["nothing", "garbage", "10 MB", "only-forks", "half-an-attestation"],
)
def test_a_calendar_that_answers_something_else(answer: Callable[[bytes], bytes]) -> None:
    """What is no timestamp of the commitment is refused."""
    with (
        answering(lambda _path, body: (200, answer(body))) as url,
        pytest.raises(TimestampUnavailable, match="No calendar took the checkpoint"),
    ):
        timestamps.opentimestamps(NOTE, calendars=[url])


def test_a_calendar_that_nests_too_deep() -> None:
    """An answer that no reader could read back within the file is refused, and no file is made."""
    with answering(lambda _path, body: (200, _deep(body))) as url, pytest.raises(TimestampInvalid, match="recursion"):
        timestamps.opentimestamps(NOTE, calendars=[url])


def test_a_block_that_cannot_be() -> None:
    """A file that leads to something that is no Merkle root, or to a height beyond all blocks, is refused."""
    for height, cut in ((HEIGHT, b"short"), (2**20_000, b"")):

        def claim(_path: str, body: bytes, height: int = height, extra: bytes = cut) -> Answer:
            timestamp = Timestamp(body)
            below = timestamp.ops.add(OpAppend(extra)) if extra else timestamp
            below.attestations.add(BitcoinBlockHeaderAttestation(height))
            return 200, serialized(timestamp)

        with answering(claim) as url:
            ots = timestamps.opentimestamps(NOTE, calendars=[url]).ots
        with pytest.raises(TimestampInvalid, match="cannot be"):
            timestamps.verify_opentimestamps(NOTE, ots)


def test_a_file_names_whom_to_ask_only_among_the_known() -> None:
    """An address in a file is not asked, unless it is a public calendar or was named by the caller."""
    asked, calendar = [], Calendar()

    def listen(path: str, body: bytes) -> Answer:
        asked.append(path)
        return calendar.answer(path, body)

    with answering(listen) as url:
        calendar.url, calendar.mined = url, True
        ots = timestamps.opentimestamps(NOTE, calendars=[url]).ots
        done = timestamps.upgrade(NOTE, ots)
    assert (asked, done.ots) == (["/digest"], ots)
    assert "not a known one" in done.refused[url]


@pytest.mark.parametrize(
    ("library", "ask"),
    [*zip(["rfc3161_client", "opentimestamps.core.timestamp"], ASKED, strict=True)],
    ids=["rfc3161", "opentimestamps"],
)
def test_a_missing_library_names_its_extra(library: str, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the error says how to install it."""
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(DependencyMissing, match=r"pip install 'databund\[timestamps\]'"):
        ask("http://127.0.0.1:9")


# --- the command ---


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, without any setting of the person who runs the tests."""
    monkeypatch.setenv("DATABUND_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("DATABUND_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "stored").write_bytes(NOTE)
    return tmp_path


@NEEDS_OPENSSL
def test_the_command_stamps_the_newest_checkpoint_of_a_node(
    authority: Authority, alone: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """From a node's URL to three files, of which openssl accepts the timestamp of the checkpoint."""
    calendar = Calendar("http://127.0.0.1")
    with (
        node_in_process(alone / "served") as shop,
        answering(lambda path, _body: ((got := shop.http.get(path)).status_code, got.content)) as node,
        answering(lambda _path, body: (200, authority.reply(body))) as tsa,
        answering(calendar.answer) as url,
    ):
        shop.client(shop.operator).publish(table(alone), ABOUT)
        roots = str(authority.folder / "root.pem")
        words = ["audit", "timestamp", "--node", node, "--to", "stamped", "--tsa", tsa, "--tsa-roots", roots]
        assert run([*words, "--calendar", url, "--json"]) == 0

    answer = json.loads(capfd.readouterr().out)
    assert answer["checkpoint"]["size"] == 1
    assert answer["rfc3161"]["roots_were_given"]
    assert answer["opentimestamps"]["pending"] == ["http://127.0.0.1"]
    openssl(alone / "stamped", "ts", "-verify", "-data", "checkpoint", "-in", "checkpoint.tsr", "-CAfile", roots)


def test_the_command_upgrades(alone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Run again with --upgrade, it replaces the promise in the folder by the block."""
    calendar = Calendar()
    with answering(calendar.answer) as url:
        calendar.url = url
        words = ["audit", "timestamp", "--to", "stamped", "--calendar", url]
        assert run([*words, "--checkpoint", "stored"]) == 0
        calendar.mined = True
        assert run([*words, "--upgrade"]) == 0

    assert f"block {HEIGHT} with root {calendar.root()}" in capfd.readouterr().out
    ots = (alone / "stamped" / "checkpoint.ots").read_bytes()
    assert timestamps.verify_opentimestamps((alone / "stored").read_bytes(), ots).bitcoin


def test_the_command_keeps_a_folder_of_one_checkpoint(alone: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Another checkpoint does not replace the one in the folder, whose timestamps would then be of nothing."""
    (alone / "stamped").mkdir()
    (alone / "stamped" / "checkpoint").write_bytes(OTHER)
    words = ["audit", "timestamp", "--to", "stamped", "--checkpoint", "stored", "--calendar", "http://127.0.0.1:9"]

    assert run(words) == 5
    assert "another checkpoint" in capfd.readouterr().err
    assert (alone / "stamped" / "checkpoint").read_bytes() == OTHER


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--tsa-roots", "stored", "--calendar", "http://127.0.0.1:9"],
        ["--upgrade", "--checkpoint", "stored"],
        ["--calendar", "http://127.0.0.1:9", "--checkpoint", "missing"],
    ],
    ids=["nobody", "roots-without-authority", "upgrade-of-another", "no-such-file"],
)
def test_the_command_refuses_what_makes_no_sense(alone: Path, words: list[str]) -> None:
    """Options that contradict each other, or name nothing, end with exit code 2 and write nothing."""
    assert run(["audit", "timestamp", "--to", "stamped", *words]) == 2
    assert not (alone / "stamped").exists()
