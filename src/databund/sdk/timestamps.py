"""Timestamps: proof by outsiders that a signed checkpoint existed at a time, in forms that stock tools check.

``rfc3161`` asks a time-stamping authority (TSA, RFC 3161) over HTTP; ``openssl ts -verify`` checks its answer.
``opentimestamps`` submits to calendars, which put the checkpoint into a Bitcoin block within hours; ``ots verify``
checks the proof. Both stamp the SHA-256 digest of the whole signed note, and neither lets anyone backdate a log.
The libraries are an extra, imported when they are needed: ``databund[timestamps]``. Verifying needs no network, except
that a Bitcoin block has to be looked up by whoever wants to be sure of it.
"""

from __future__ import annotations

import importlib
import secrets
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import httpx

from databund import __version__
from databund.crypto.certificates import read_certificates
from databund.errors import ConfigInvalid, DependencyMissing, TimestampInvalid, TimestampUnavailable

if TYPE_CHECKING:
    from databund.crypto.certificates import Certificate

__all__ = [
    "CalendarProof",
    "CalendarSubmission",
    "MerkleRoot",
    "TimestampToken",
    "opentimestamps",
    "rfc3161",
    "upgrade",
    "verify_opentimestamps",
    "verify_rfc3161",
]

_SHA256_OID: Final = "2.16.840.1.101.3.4.2.1"
_GRANTED: Final = 0
_TSA_LIMIT, _CALENDAR_LIMIT, _PROOF_LIMIT = 2**18, 10_000, 2**20
_NONCE_BYTES: Final = 16
_ROOT_DIGITS, _HEIGHTS = 64, 2**32
_CALENDAR_HEADERS: Final = {"Accept": "application/vnd.opentimestamps.v1"}
_ASK_AGAIN: Final = "Ask again, or ask another authority; do not keep this answer."
_DO_NOT_RELY: Final = "Do not rely on this timestamp; make a new one."


@dataclass(frozen=True, slots=True)
class TimestampToken:
    """A time-stamp response (RFC 3161 section 2.4.2). ``time_s`` is the time that the authority says.

    ``trusted_roots`` says whether its signature leads to roots that the caller gave; otherwise only digest and nonce
    were compared, and who signed it was not checked.
    """

    der: bytes
    time_s: int
    trusted_roots: bool


@dataclass(frozen=True, slots=True)
class CalendarSubmission:
    """A detached OpenTimestamps file, and what the calendars that did not take part said, by their URLs."""

    ots: bytes
    refused: dict[str, str]


@dataclass(frozen=True, slots=True)
class MerkleRoot:
    """A Bitcoin block that has to have this Merkle root, in the byte order in which block explorers show it."""

    height: int
    merkle_root: str


@dataclass(frozen=True, slots=True)
class CalendarProof:
    """What an OpenTimestamps file claims: calendars that promise more, and Bitcoin blocks to compare with."""

    pending: tuple[str, ...]
    bitcoin: tuple[MerkleRoot, ...]


def rfc3161(checkpoint_note: bytes, *, url: str, roots: bytes | None = None, timeout_s: float = 30.0) -> TimestampToken:
    """Have the TSA at ``url`` sign the digest of a checkpoint and a fresh nonce, and check what it answers.

    ``roots`` are the PEM certificates that the signature has to lead to; without them it is not checked. Raises
    `TimestampUnavailable` when the TSA does not answer in time, answers with more than 256 KiB, or refuses;
    `TimestampInvalid` when it answers with anything but a timestamp of this checkpoint and this request; `KeyInvalid`,
    `ConfigInvalid`, and `DependencyMissing` without the libraries.
    """
    library = _library("rfc3161_client")
    certificates = None if roots is None else read_certificates(roots)
    request = (
        library.TimestampRequestBuilder()
        .data(checkpoint_note)
        .hash_algorithm(library.HashAlgorithm.SHA256)
        .nonce(nonce=True)
        .cert_request(cert_request=True)
        .build()
    )
    headers = {"Content-Type": "application/timestamp-query", "Accept": "application/timestamp-reply"}
    answer = _exchange("POST", url, content=request.as_bytes(), headers=headers, most=_TSA_LIMIT, timeout_s=timeout_s)
    if answer is None:
        raise TimestampUnavailable(f"There is no time-stamping authority at {_shown(url)}.", fix="Check the URL.")
    return _checked_token(checkpoint_note, answer, nonce=request.nonce, roots=certificates)


def verify_rfc3161(checkpoint_note: bytes, der: bytes, *, roots: bytes) -> TimestampToken:
    """Check a stored response against the checkpoint and PEM ``roots``. Raises `TimestampInvalid` and `KeyInvalid`."""
    return _checked_token(checkpoint_note, der, nonce=None, roots=read_certificates(roots))


def opentimestamps(checkpoint_note: bytes, *, calendars: Sequence[str], timeout_s: float = 30.0) -> CalendarSubmission:
    """Submit a checkpoint to the calendars at these URLs, and return the file to keep as ``checkpoint.ots``.

    A calendar sees a digest blinded with random bytes. One that fails is named in the result. Raises
    `TimestampUnavailable` when every one fails; `ConfigInvalid`, and `DependencyMissing` without the libraries.
    """
    library = _library("opentimestamps.core.timestamp")
    operations = _library("opentimestamps.core.op")
    timestamp = library.Timestamp(sha256(checkpoint_note).digest())
    blinded = timestamp.ops.add(operations.OpAppend(secrets.token_bytes(_NONCE_BYTES)))
    commitment = blinded.ops.add(operations.OpSHA256())
    refused: dict[str, str] = {}
    for url in map(_checked_url, calendars):
        try:
            answer = _exchange("POST", f"{url}/digest", content=commitment.msg, timeout_s=timeout_s)
            if answer is None:
                raise TimestampUnavailable(f"There is no calendar at {url}.", fix="Check the URL.")
            commitment.merge(_read_calendar(answer, commitment.msg, url))
        except (TimestampUnavailable, TimestampInvalid) as error:
            refused[url] = error.what
    if not _attestations(timestamp):
        raise TimestampUnavailable(
            f"No calendar took the checkpoint: {' '.join(refused.values()) or 'none was named.'}",
            fix="Try again later, or name another calendar.",
        )
    return CalendarSubmission(_written(checkpoint_note, timestamp), refused)


def upgrade(
    checkpoint_note: bytes, ots: bytes, *, calendars: Collection[str] = (), timeout_s: float = 30.0
) -> CalendarSubmission:
    """Ask the calendars of a file for what they promised, and return the file with whatever they have by now.

    A file may name any address, so only the public calendars that the OpenTimestamps project lists are asked, and those
    whose URLs are given. Raises `TimestampInvalid` for a file that is not of this checkpoint; a calendar that fails is
    named in the result.
    """
    listed = _library("opentimestamps.calendar").DEFAULT_CALENDAR_WHITELIST
    allowed = {_checked_url(url) for url in calendars}
    timestamp = _read_file(checkpoint_note, ots)
    refused: dict[str, str] = {}
    for node, promise in list(_pending(timestamp)):
        url = promise.uri.rstrip("/")
        if url not in allowed and promise.uri not in listed:
            refused[url] = f"The calendar {url} is not a known one; name it to ask it."
            continue
        try:
            answer = _exchange("GET", f"{_checked_url(url)}/timestamp/{node.msg.hex()}", timeout_s=timeout_s)
            if answer is not None:
                node.merge(_read_calendar(answer, node.msg, url))
        except (ConfigInvalid, TimestampUnavailable, TimestampInvalid) as error:
            refused[url] = error.what
    return CalendarSubmission(_written(checkpoint_note, timestamp), refused)


def verify_opentimestamps(checkpoint_note: bytes, ots: bytes) -> CalendarProof:
    """Check that a file is of this checkpoint, and say which calendars or Bitcoin blocks it leads to.

    The path from the checkpoint to each Merkle root is computed here; that the block of this height has the root is for
    the caller to look up. Raises `TimestampInvalid`, and `DependencyMissing` without the libraries.
    """
    notary = _library("opentimestamps.core.notary")
    found = _attestations(_read_file(checkpoint_note, ots))
    pending = {each.uri for _, each in found if isinstance(each, notary.PendingAttestation)}
    bitcoin = {
        MerkleRoot(each.height, node.msg[::-1].hex())
        for node, each in found
        if isinstance(each, notary.BitcoinBlockHeaderAttestation)
    }
    if any(len(root.merkle_root) != _ROOT_DIGITS or root.height >= _HEIGHTS for root in bitcoin):
        raise TimestampInvalid("The OpenTimestamps file leads to a Bitcoin block that cannot be.", fix=_DO_NOT_RELY)
    return CalendarProof(tuple(sorted(pending)), tuple(sorted(bitcoin, key=lambda root: root.height)))


def _checked_token(
    note: bytes, der: bytes, *, nonce: int | None, roots: Sequence[Certificate] | None
) -> TimestampToken:
    library = _library("rfc3161_client")
    try:
        response = library.decode_timestamp_response(der)
        if response.status != _GRANTED:
            said = "; ".join(response.status_string)[:200]
            raise TimestampUnavailable(
                f"The time-stamping authority refused (status {response.status}): {said or 'it does not say why'}.",
                fix="Ask the authority, or ask another one.",
            )
        info = response.tst_info
        imprint = info.message_imprint
        algorithm, digest = imprint.hash_algorithm.dotted_string, bytes(imprint.message)
        found_nonce, time_s = info.nonce, int(info.gen_time.timestamp())
    except ValueError as error:
        raise TimestampInvalid(
            f"The time-stamping authority did not answer with a timestamp ({str(error)[:100]}).", fix=_ASK_AGAIN
        ) from error
    if (algorithm, digest) != (_SHA256_OID, sha256(note).digest()):
        raise TimestampInvalid("The timestamp is not of this checkpoint.", fix=_ASK_AGAIN)
    if nonce is not None and found_nonce != nonce:
        raise TimestampInvalid("The timestamp answers another request.", fix=_ASK_AGAIN)
    if roots is not None:
        try:
            library.VerifierBuilder(roots=list(roots)).build().verify_message(response, note)
        except (library.VerificationError, ValueError) as error:
            raise TimestampInvalid(
                f"The signature of the timestamp does not lead to the given roots ({str(error)[:100]}).",
                fix="Check the roots with the authority; if they are right, do not rely on this timestamp.",
            ) from error
    return TimestampToken(der, time_s, roots is not None)


def _read_calendar(answer: bytes, commitment: bytes, url: str) -> Any:
    """The timestamp of a commitment, as a calendar sends it. Raises `TimestampInvalid`."""
    library = _library("opentimestamps.core.timestamp")
    return _deserialized(
        answer, lambda context: library.Timestamp.deserialize(context, commitment), f"What {url} answered"
    )


def _read_file(note: bytes, ots: bytes) -> Any:
    """The timestamp in a detached file of this checkpoint. Raises `TimestampInvalid`."""
    library = _library("opentimestamps.core.timestamp")
    operations = _library("opentimestamps.core.op")
    if len(ots) > _PROOF_LIMIT:
        raise TimestampInvalid("The OpenTimestamps file is too long.", fix=_DO_NOT_RELY)
    file = _deserialized(ots, library.DetachedTimestampFile.deserialize, "The OpenTimestamps file")
    if not isinstance(file.file_hash_op, operations.OpSHA256) or file.file_digest != sha256(note).digest():
        raise TimestampInvalid("The OpenTimestamps file is not of this checkpoint.", fix=_DO_NOT_RELY)
    return file.timestamp


def _deserialized(data: bytes, read: Callable[[Any], Any], named: str) -> Any:
    serialize = _library("opentimestamps.core.serialize")
    context = serialize.BytesDeserializationContext(data)
    try:
        found = read(context)
        context.assert_eof()
    except (serialize.DeserializationError, ValueError, TypeError) as error:
        raise TimestampInvalid(f"{named} is not a timestamp ({str(error)[:100]}).", fix=_DO_NOT_RELY) from error
    return found


def _written(note: bytes, timestamp: Any) -> bytes:
    """The detached file. Raises `TimestampInvalid` when calendars sent more than any reader takes."""
    library = _library("opentimestamps.core.timestamp")
    context = _library("opentimestamps.core.serialize").BytesSerializationContext()
    file = library.DetachedTimestampFile(_library("opentimestamps.core.op").OpSHA256(), timestamp)
    file.serialize(context)
    written = bytes(context.getbytes())
    _read_file(note, written)
    return written


def _attestations(timestamp: Any) -> list[tuple[Any, Any]]:
    """Every attestation, with the node of the tree that it is about."""
    found = [(timestamp, each) for each in sorted(timestamp.attestations)]
    for _, below in sorted(timestamp.ops.items(), key=lambda item: item[0]):
        found += _attestations(below)
    return found


def _pending(timestamp: Any) -> Iterator[tuple[Any, Any]]:
    kind = _library("opentimestamps.core.notary").PendingAttestation
    return ((node, each) for node, each in _attestations(timestamp) if isinstance(each, kind))


def _exchange(
    method: str,
    url: str,
    *,
    timeout_s: float,
    content: bytes | None = None,
    headers: dict[str, str] | None = None,
    most: int = _CALENDAR_LIMIT,
) -> bytes | None:
    """The body of an answer, or None for 404. Raises `TimestampUnavailable`; redirects are not followed."""
    shown, end = _shown(_checked_url(url)), time.monotonic() + timeout_s
    try:
        with (
            httpx.Client(timeout=timeout_s, headers={"User-Agent": f"databund/{__version__}"}) as client,
            client.stream(method, url, content=content, headers=headers or _CALENDAR_HEADERS) as answer,
        ):
            if answer.status_code == httpx.codes.NOT_FOUND:
                return None
            if answer.status_code != httpx.codes.OK:
                raise TimestampUnavailable(
                    f"{shown} answered {answer.status_code}.", fix="Check the URL, or try again later."
                )
            body = bytearray()
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > most:
                    raise TimestampUnavailable(f"{shown} answered with too much.", fix="Check the URL.")
                if time.monotonic() > end:
                    raise TimestampUnavailable(f"{shown} took too long.", fix="Try again later.")
            return bytes(body)
    except httpx.HTTPError as error:
        raise TimestampUnavailable(
            f"{shown} does not answer ({type(error).__name__}).", fix="Check the URL, or try again later."
        ) from error


def _checked_url(url: str) -> str:
    """The URL without a slash at its end. Raises `ConfigInvalid`, which shows no password."""
    if "@" in url:
        raise ConfigInvalid("The URL of a timestamp service holds a user.", fix="Leave out what stands before the @.")
    try:
        usable = urlsplit(url).scheme in ("http", "https") and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        usable = False
    if not usable:
        raise ConfigInvalid(
            f"{url[:200]!r} is not the URL of a timestamp service.", fix="Write it like https://tsa.example.com"
        )
    return url.rstrip("/")


def _shown(url: str) -> str:
    """Scheme, host and path: a query may be a secret."""
    return url.partition("?")[0][:200]


def _library(name: str) -> Any:
    """A module of the extra. Raises `DependencyMissing`."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # the Bitcoin library loads OpenSSL when it is imported
        raise DependencyMissing(
            f"Timestamps need a library that is not installed ({error}).",
            fix="Install it: pip install 'databund[timestamps]'",
        ) from error
