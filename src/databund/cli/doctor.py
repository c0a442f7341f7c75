"""``databund doctor``: look for what is wrong here, and say how to mend it.

Every finding is good, a warning or a failure; the exit code is that of the worst: a warning is no error.
"""

from __future__ import annotations

import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from databund import __version__
from databund.cli.options import Options
from databund.cli.session import Session
from databund.errors import DatabundError

if TYPE_CHECKING:
    import httpx

__all__ = ["doctor"]

_OLDEST_PYTHON = (3, 11)
_ROOM_BYTES = 2 * 10**9
_SKEW_S = 60
_SIGNS = {"ok": "✓", "warn": "!", "fail": "✗"}
_EXTRAS = {"postgres": ("psycopg", "a node on PostgreSQL")}


@dataclass(frozen=True)
class Finding:
    """What one check found: ``state`` is ``ok``, ``warn`` or ``fail``; ``fix`` says how to mend it."""

    check: str
    state: str
    what: str
    fix: str | None = None


def doctor(*, options: Options | None = None) -> int:
    """Check this machine, the home, its keys and the node, and say how to mend what is wrong.

    Nothing is changed. The exit code is 0 when nothing failed, otherwise that of the first failure's kind.
    """
    from databund.cli.exits import Exit, exit_of

    session = Session(options)
    findings: list[Finding] = []
    code = Exit.OK
    for check in (_python, _home, _disk, _keys, _keyring, _databases, _node, _extras):
        try:
            findings += check(session)
        except DatabundError as error:
            findings.append(Finding(check.__name__.strip("_"), "fail", error.what, error.fix))
            code = code or exit_of(error)
    failed = any(finding.state == "fail" for finding in findings)
    if failed and code is Exit.OK:
        code = Exit.REFUSED
    lines = [line for finding in findings for line in _lines(finding)]
    lines += ["", "Something needs mending." if failed else "All is well."]
    session.screen.answer({"ok": not failed, "checks": [asdict(finding) for finding in findings]}, lines)
    return code


def _lines(finding: Finding) -> Iterator[str]:
    yield f"{_SIGNS[finding.state]} {finding.check:<10}{finding.what}"
    if finding.fix is not None:
        yield f"  {'':<10}fix: {finding.fix}"


def _python(_session: Session) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < _OLDEST_PYTHON:
        yield Finding("python", "fail", f"Python {version} is too old.", "Install Python 3.11 or newer.")
    else:
        yield Finding("python", "ok", f"databund {__version__} on Python {version}")


def _home(session: Session) -> Iterator[Finding]:
    home: Path = session.settings.home
    if not home.exists():
        yield Finding("home", "warn", f"{home} does not exist yet.", "Make a key (databund key new) or a node (serve).")
        return
    from databund.bootstrap import open_home

    open_home(home)
    private = [path for path in (home, home / "keys", home / "passphrase") if path.exists()]
    loose = [path for path in private if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in loose:
        mode = "700" if path.is_dir() else "600"
        grave = path != home
        yield Finding("home", "fail" if grave else "warn", f"{path} is open to other users.", f"chmod {mode} {path}")
    if not loose:
        yield Finding("home", "ok", str(home.absolute()))


def _disk(session: Session) -> Iterator[Finding]:
    from databund.cli.figures import size

    place = next(path for path in (session.settings.home, *session.settings.home.absolute().parents) if path.exists())
    free = shutil.disk_usage(place).free
    if free < _ROOM_BYTES:
        yield Finding("disk", "warn", f"Only {size(free)} are free at {place}.", "Free some space, or move the home.")
    else:
        yield Finding("disk", "ok", f"{size(free)} free")


def _keys(session: Session) -> Iterator[Finding]:
    if not (session.settings.home / "home.json").exists():
        return
    entries, wanted = session.keystore.list(), session.settings.key
    if not entries:
        yield Finding("keys", "warn", "The home has no key; you can look, but not trade.", "databund key new")
        return
    for entry in entries:
        yield Finding("keys", "ok", f"{entry.name}: {entry.address}")
    if wanted not in {entry.name for entry in entries}:
        yield Finding("keys", "warn", f"There is no key {wanted!r} to sign with.", "Name one with --key.")


def _keyring(session: Session) -> Iterator[Finding]:
    from databund.crypto.passphrases import KeyringPassphrase
    from databund.errors import KeyLocked

    try:
        KeyringPassphrase()("databund-doctor")
    except KeyLocked as error:
        kept = session.settings.home / "passphrase"
        if kept.exists():
            yield Finding("keyring", "warn", f"{error.what} The passphrase lies beside the keys, in {kept}.", error.fix)
        else:
            yield Finding("keyring", "ok", f"{error.what} Passphrases are given by hand or in files.")
    else:
        yield Finding("keyring", "ok", "This machine's keyring answers.")


def _databases(session: Session) -> Iterator[Finding]:
    from databund.bootstrap import home_in_use

    home: Path = session.settings.home
    found = [path for path in (home / "databund.db", home / "chain.db") if path.exists()]
    if not found:
        return
    if home_in_use(home):
        yield Finding("database", "ok", "A node runs on this home; its files are checked when it is stopped.")
        return
    for path in found:
        fault = _fault(path)
        if fault is None:
            yield Finding("database", "ok", f"{path.name} is whole")
        else:
            yield Finding(
                "database", "fail", f"{path} is damaged: {fault}.", "Keep a copy of the home, and restore a backup."
            )


def _fault(path: Path) -> str | None:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            answer = str(database.execute("PRAGMA quick_check(1)").fetchone()[0])
    except sqlite3.DatabaseError as error:
        return str(error)
    return None if answer == "ok" else answer


def _node(session: Session) -> Iterator[Finding]:
    import httpx

    from databund.errors import NodeUnreachable

    url = str(session.settings.node).rstrip("/")
    try:
        with session.client() as client:
            info = client.info
    except NodeUnreachable as error:
        if session.settings.sources["node"] != "default":
            raise
        yield Finding("node", "warn", error.what, "Start one (databund serve), or name another one with --node.")
        return
    yield Finding("node", "ok", f"{url} is databund {info.version}, chain {info.domain.chain_id}")
    if info.version.split(".")[:2] != __version__.split(".")[:2]:
        yield Finding(
            "node", "warn", f"The node is {info.version}, this is {__version__}.", "Use the same version of both."
        )
    try:
        asked = time.time()
        ready = httpx.get(f"{url}/readyz", timeout=10)
        answered = time.time()
    except httpx.HTTPError as error:
        raise NodeUnreachable(f"{url} stopped answering: {error}.", fix="Look at the node's log.") from error
    if ready.status_code != httpx.codes.OK:
        yield Finding("node", "fail", f"The node cannot trade: {_reason(ready)}", "Look at the node's log.")
    else:
        yield Finding("node", "ok", "It can trade: database, log and chain answer.")
    yield _skew(ready, asked, answered)


def _skew(answer: httpx.Response, asked: float, answered: float) -> Finding:
    from email.utils import parsedate_to_datetime

    try:
        told = parsedate_to_datetime(answer.headers["Date"]).timestamp()
    except (KeyError, ValueError):
        return Finding("clock", "warn", "The node does not tell its time.", "Compare the clocks yourself.")
    off = max(asked - 1 - told, told - answered, 0.0)
    if off > _SKEW_S:
        return Finding(
            "clock", "fail", f"This clock and the node's differ by {off:.0f} s; payments have a time.", "Set the clock."
        )
    return Finding("clock", "ok", "The same time as the node's")


def _reason(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return f"it answers {answer.status_code}."


def _extras(_session: Session) -> Iterator[Finding]:
    for extra, (module, purpose) in _EXTRAS.items():
        installed = find_spec(module) is not None
        hint = (
            "installed" if installed else f"not installed; needed only for {purpose}: pip install 'databund[{extra}]'"
        )
        yield Finding("extras", "ok", f"{extra}: {hint}")
