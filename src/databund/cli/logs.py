"""Logs: which log a command reads, with whose key, and how it was verified before a line of it is shown."""

from __future__ import annotations

import re
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from databund.cli.options import Common, Options
from databund.cli.screen import Progress
from databund.cli.session import Session
from databund.errors import DatabundError, FileUnusable, InvalidInput, KeyInvalid, NotFound

if TYPE_CHECKING:
    from databund.sdk.log_sources import FolderLog, HttpLog
    from databund.tlog.checkpoints import Checkpoint
    from databund.tlog.fsck import Checks
    from databund.tlog.notes import VerifierKey
    from databund.tlog.policies import WitnessPolicy
    from databund.tlog.sources import LogSource
    from databund.tlog.tiles import EntryBundle, Tile

__all__ = [
    "OpenedLog",
    "VerifiedLog",
    "checks_of",
    "counted",
    "instant",
    "log_key",
    "opened_log",
    "read_policy",
    "seconds",
    "session_of",
    "verified_log",
]

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_RELATIVE = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_OWN_KEY = "the log's own word; whose log it is was not checked"
_SIGNED = "every entry hashes to the root that the log signed"


@dataclass(frozen=True)
class OpenedLog:
    """A log somewhere, and the key that is to have signed it; ``trust`` says in words where the key is from."""

    source: LogSource
    key: VerifierKey
    trust: str
    partials: Iterable[Tile | EntryBundle] = ()


@dataclass(frozen=True)
class VerifiedLog:
    """A log every entry of which hashes to a signed root.

    ``how`` says in words what was verified, and ``trust`` where the key is from. ``refresh`` looks for a newer tree,
    where that makes sense, and returns its checkpoint.
    """

    source: LogSource
    checkpoint: Checkpoint
    how: str
    trust: str
    refresh: Callable[[], Checkpoint] | None = None


def session_of(options: Common | None) -> Session:
    """The session of a command whose ``--key`` is that of a log, so that it takes no key to sign with."""
    common = options or Common()
    names = ("home", "node", "passphrase_file", "profile", "json")
    return Session(Options(**{name: getattr(common, name) for name in names}))


def counted(step: str, progress: Progress | None) -> Callable[[int, int], None] | None:
    """Progress of one step."""
    return None if progress is None else lambda done, total: progress(step, done, total)


def read_policy(file: Path) -> WitnessPolicy:
    """The witness policy in a file. Raises `FileUnusable` and `DocumentInvalid`."""
    from databund.sdk.log_keys import verifier
    from databund.tlog.policies import WitnessPolicy

    try:
        return WitnessPolicy.parse(file.expanduser().read_bytes(), verifier)
    except OSError as error:
        raise FileUnusable(f"{file} cannot be read: {error.strerror}.", fix="Name a witness policy.") from error


def checks_of(log: OpenedLog, policy: WitnessPolicy | None) -> Checks:
    """What fsck compares a log with."""
    from databund.sdk.log_keys import verifier
    from databund.tlog.fsck import Checks

    return Checks(origin=log.key.name, log=[verifier(log.key)], policy=policy, partials=log.partials)


@contextmanager
def opened_log(place: str, key: str | None) -> Iterator[OpenedLog]:
    """The log in an exported file, in a folder, or at a URL. Raises `KeyInvalid` where nobody names its key."""
    from databund.sdk.log_sources import FolderLog, ZipLog, find_log

    path = Path(place).expanduser()
    if place.startswith(("http://", "https://")):
        log = find_log(place)
        try:
            yield OpenedLog(log, *_key(key, log.read, lambda: _node_key(log)))
        finally:
            log.close()
    elif path.is_dir():
        folder = FolderLog(path)
        vkey, trust = _key(key, folder.read)
        yield OpenedLog(folder, vkey, trust, _partials(folder))
    else:
        try:
            with zipfile.ZipFile(path) as archive:
                member = ZipLog(archive)
                yield OpenedLog(member, *_key(key, member.read))
        except (OSError, zipfile.BadZipFile) as error:
            raise FileUnusable(
                f"{place} is no exported log: {getattr(error, 'strerror', None) or error}.",
                fix="Name a file or folder made by databund audit export, or a URL.",
            ) from error


@contextmanager
def verified_log(
    session: Session, place: str | None, key: str | None, progress: Progress | None
) -> Iterator[VerifiedLog]:
    """The log in ``place``, read through once, or by default the mirror of the node, brought up to date.

    Raises the `IntegrityFailed` that says what is wrong with it.
    """
    if place is None:
        with _mirrored(session, key, progress) as mirrored:
            yield mirrored
        return
    from databund.tlog.checkpoints import read_unverified
    from databund.tlog.fsck import fsck

    with opened_log(place, key) as log:
        fsck(log.source, checks_of(log, None), progress=counted("check", progress))
        yield VerifiedLog(log.source, read_unverified(log.source.checkpoint()), _SIGNED, log.trust)


@contextmanager
def _mirrored(session: Session, key: str | None, progress: Progress | None) -> Iterator[VerifiedLog]:
    from databund.sdk.log_keys import verifier
    from databund.sdk.log_sources import HttpLog
    from databund.sdk.mirror import Mirror
    from databund.tlog.checkpoints import OpenedCheckpoint, open_checkpoint
    from databund.tlog.notes import VerifierKey

    with session.client() as client:
        vkey = VerifierKey.parse(client.info.log_key if key is None else key.strip())
        url = client.url
    mirror = Mirror(session.settings.home / "logs" / sha256(vkey.name.encode()).hexdigest()[:16])
    mirror.keep_key(vkey)
    log = HttpLog(f"{url}/log")

    def opener(note: bytes) -> OpenedCheckpoint:
        return open_checkpoint(note, origin=vkey.name, log=[verifier(vkey)])

    def refresh() -> Checkpoint:
        return mirror.update(log, opener, progress=progress).checkpoint

    trust = "named by the node when it was first met" if key is None else "given by you"
    try:
        yield VerifiedLog(mirror.log, refresh(), _SIGNED, trust, refresh)
    finally:
        log.close()


def _partials(folder: FolderLog) -> Iterator[Tile | EntryBundle]:
    """The partial tiles and bundles of a folder beside those of its checkpoint, found when they are asked for."""
    from databund.tlog.checkpoints import read_unverified

    yield from folder.partials(read_unverified(folder.checkpoint()).size)


def _key(
    given: str | None, read: Callable[[str], bytes], ask: Callable[[], str | None] = lambda: None
) -> tuple[VerifierKey, str]:
    """The key of a log, and in words where it is from: the caller, a file beside the log, or a node."""
    from databund.sdk.mirror import KEY_FILE
    from databund.tlog.notes import VerifierKey

    if given is not None:
        return VerifierKey.parse(given.strip()), "given by you"
    try:
        own: str | None = read(KEY_FILE).decode("utf-8", "replace").strip()
    except NotFound:
        own = ask()
    if own is None:
        raise KeyInvalid(
            "Nothing here names the key of this log.", fix="Give the one that its operator published: --key VKEY"
        )
    return VerifierKey.parse(own), _OWN_KEY


def _node_key(log: HttpLog) -> str | None:
    """The key of a node's log, by what the node says of itself; None when it is not a node."""
    from databund.core import documents
    from databund.core.messages import NodeInfo
    from databund.sdk.log_sources import HttpLog

    node = HttpLog(log.url.removesuffix("/log"))
    try:
        return documents.decode(node.read(".well-known/databund"), NodeInfo).log_key
    except DatabundError:
        return None
    finally:
        node.close()


def log_key(url: str, given: str | None, folder: Path) -> tuple[VerifierKey, str]:
    """The key of the log at a URL, as it was given or kept in ``folder`` before, and the prefix of its resources.

    On first use, without a key, it is the one that the log names itself, so it proves nothing about that first look.
    Raises `KeyInvalid` when there is none, and `NodeUnreachable` when nothing is known and nobody answers.
    """
    from databund.sdk.log_sources import find_log
    from databund.sdk.mirror import KEY_FILE
    from databund.tlog.notes import VerifierKey

    kept, place = folder / KEY_FILE, folder / "place"
    asked, _, prefix = (place.read_text() if place.exists() else "").partition("\n")
    if kept.exists() and asked == url:
        return VerifierKey.parse((given or kept.read_text()).strip()), prefix.strip()
    log = find_log(url)
    try:
        named = given or (kept.read_text() if kept.exists() else None)
        vkey, _ = _key(named, log.read, lambda: _node_key(log))
    finally:
        log.close()
    folder.mkdir(parents=True, exist_ok=True)
    place.write_text(f"{url}\n{log.url}\n")
    return vkey, log.url


def instant(text: str | None, option: str) -> int | None:
    """The Unix time that ``2026-04-17``, ``2026-04-17T09:30`` (UTC) or ``7d`` ago names. Raises `InvalidInput`."""
    if text is None:
        return None
    if (relative := _RELATIVE.fullmatch(text.strip())) is not None:
        return int(time.time()) - int(relative[1]) * _UNITS[relative[2]]
    try:
        named = datetime.fromisoformat(text.strip())
    except ValueError:
        raise InvalidInput(
            f"{option} {text[:40]!r} is not a time.", fix="Write 2026-04-17, 2026-04-17T09:30Z, 7d or 12h."
        ) from None
    return int((named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp())


def seconds(text: str, option: str) -> int:
    """How many seconds ``30s``, ``5m``, ``24h`` or ``7d`` are. Raises `InvalidInput`."""
    found = _RELATIVE.fullmatch(text.strip())
    if found is None or not int(found[1]):
        raise InvalidInput(f"{option} {text[:40]!r} is not a duration.", fix="Write it like 30s, 5m, 24h or 7d.")
    return int(found[1]) * _UNITS[found[2]]
