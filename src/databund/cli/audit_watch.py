"""``databund audit watch``: follow a log, and raise an alarm when it is not the log that it was."""

from __future__ import annotations

import signal
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from databund.cli.exits import Exit, exit_of
from databund.cli.logs import log_key, read_policy, seconds, session_of
from databund.cli.options import Common
from databund.cli.screen import Screen

if TYPE_CHECKING:
    from databund.sdk.monitoring import Alarm, Monitor, Sighting

__all__ = ["watch"]


def watch(
    url: Annotated[str, Parameter(help="Where the log is: any C2SP log, or a node of databund.", metavar="URL")],
    /,
    *,
    key: Annotated[
        str | None,
        Parameter(help="The log's verifier key; without it the first key that is met counts.", metavar="VKEY"),
    ] = None,
    policy: Annotated[
        Path | None, Parameter(help="A witness policy (C2SP tlog-policy) that every checkpoint has to meet.")
    ] = None,
    every: Annotated[str, Parameter(help="How often to look; by default 30s.", metavar="TIME")] = "30s",
    stale: Annotated[
        str, Parameter(help="How long without growth or a new cosignature is too long; by default 24h.", metavar="TIME")
    ] = "24h",
    state: Annotated[
        Path | None,
        Parameter(help="Where the last checkpoint and evidence are kept; by default in the home.", metavar="DIR"),
    ] = None,
    entries: Annotated[bool, Parameter(help="Also fetch and hash every new entry.")] = False,
    once: Annotated[bool, Parameter(help="Look once, and end with the alarm's exit code.")] = False,
    options: Common | None = None,
) -> int:
    """Follow a log, and raise an alarm when it is not the log that it was.

    An alarm is one line on stderr, and with --json one object on stdout, as is each look that found something new. The
    alarms are fork, rollback, unknown key, wrong origin, forged, broken and quorum lost (exit code 6 with --once),
    stale and unreachable (7). A fork is proven by two checkpoints that contradict each other; both are kept as files,
    and anybody can verify them. Without --once it runs until it is stopped, and says an alarm again only when it
    changed.
    """
    from databund.sdk.log_sources import HttpLog
    from databund.sdk.monitoring import Monitor

    session = session_of(options)
    pause_s, stale_s = seconds(every, "--every"), seconds(stale, "--stale")
    folder = state or session.settings.home / "monitors" / sha256(url.rstrip("/").encode()).hexdigest()[:16]
    witnesses = None if policy is None else read_policy(policy)
    vkey, prefix = log_key(url, key, folder)
    log = HttpLog(prefix)
    try:
        monitor = Monitor(log, folder, vkey, policy=witnesses, stale_s=stale_s, entries=entries)
        if once:
            return _once(session.screen, monitor)
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return _forever(session.screen, monitor, pause_s)
    finally:
        log.close()


def _once(screen: Screen, monitor: Monitor) -> int:
    now = int(time.time())
    seen = monitor.look(now)
    if seen.alarm is None:
        screen.answer(_document(seen, now), _lines(seen))
        return Exit.OK
    _raise_alarm(screen, seen, seen.alarm, now)
    return exit_of(seen.alarm.error)


def _forever(screen: Screen, monitor: Monitor, pause_s: int) -> int:
    told: str | None = None
    first = True
    while True:
        now = int(time.time())
        seen = monitor.look(now)
        if seen.alarm is not None:
            if told != seen.alarm.kind:
                _raise_alarm(screen, seen, seen.alarm, now)
            told = seen.alarm.kind
        elif first or seen.grown or told is not None:
            told = None
            screen.answer(_document(seen, now), _lines(seen))
        first = False
        time.sleep(pause_s)


def _raise_alarm(screen: Screen, seen: Sighting, alarm: Alarm, now: int) -> None:
    if screen.json:
        screen.answer(_document(seen, now), ())
        return
    screen.fail(code=alarm.error.code, what=f"ALARM, {alarm.kind}: {alarm.error.what}", fix=alarm.error.fix)
    for file in alarm.evidence:
        screen.note(f"  evidence: {file}")


def _document(seen: Sighting, now: int) -> dict[str, Any]:
    checkpoint, alarm = seen.checkpoint, seen.alarm
    return {
        "at": now,
        "origin": None if checkpoint is None else checkpoint.origin,
        "size": None if checkpoint is None else checkpoint.size,
        "root": None if checkpoint is None else checkpoint.root.hex(),
        "grown": seen.grown,
        "cosigned_by": list(seen.cosigners),
        "alarm": None
        if alarm is None
        else {
            "kind": str(alarm.kind),
            "code": alarm.error.code,
            "what": alarm.error.what,
            "fix": alarm.error.fix,
            "evidence": [str(file) for file in alarm.evidence],
        },
    }


def _lines(seen: Sighting) -> list[str]:
    """One look, in two lines: when and which log, and what is known of it now."""
    if seen.checkpoint is None:
        return []
    moment = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    size = seen.checkpoint.size
    grown = f", {seen.grown:,} of them new" if seen.grown and seen.grown != size else ""
    extends = "the first look" if seen.grown == size else "extends what was seen before"
    cosigned = f"; {len(seen.cosigners)} witnesses" if seen.cosigners else ""
    return [
        f"{moment}  {seen.checkpoint.origin}",
        f"  {size:,} entries{grown}; {extends}{cosigned}",
    ]
