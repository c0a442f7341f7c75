"""The values a constraint compares: terms, places, whole numbers, durations and instants, and their texts.

Durations are xsd:dayTimeDuration (no months or years, whose length depends on the day one starts from) in whole
seconds; instants are xsd:dateTime with a timezone. Every function raises ValueError, with the reason as a sentence,
for a text that is not of its form; the callers say where the text stood.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from databund.core.policies.vocabulary import PLACE, expand

__all__ = [
    "MAX_DURATION",
    "read_duration",
    "read_instant",
    "read_iri",
    "read_place",
    "read_term",
    "write_duration",
    "write_instant",
]

MAX_DURATION = timedelta(days=999_999)

_TERM = re.compile(r"[^\s:<>\"{}|\\^`\x00-\x20\x7f]{1,200}")
_IRI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x20\x7f]{1,2000}")
_PLACE = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?")
_DURATION = re.compile(r"P(?:([0-9]{1,6})D)?(?:T(?:([0-9]{1,8})H)?(?:([0-9]{1,10})M)?(?:([0-9]{1,11})S)?)?")
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-5][0-9])"
)


def read_iri(text: str) -> str:
    """Read an absolute IRI; the prefixes of the vocabulary are expanded."""
    if not _IRI.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not an absolute IRI.")
    return expand(text)


def read_term(text: str) -> str:
    """Read a short term such as ``research`` or ``科研``, or an absolute IRI."""
    return text if _TERM.fullmatch(text) else read_iri(text)


def read_place(text: str) -> str:
    """Read an ISO 3166-1 alpha-2 or ISO 3166-2 code (``CN``, ``CN-31``), also in its IRI form."""
    code = text.removeprefix(PLACE)
    if not _PLACE.fullmatch(code):
        raise ValueError(f"{text[:80]!r} is not an ISO 3166 code such as CN or CN-31.")
    return code


def read_duration(text: str) -> timedelta:
    """Read an ISO 8601 duration of days, hours, minutes and whole seconds."""
    found = _DURATION.fullmatch(text)
    if not found or text.endswith(("P", "T")):
        raise ValueError(f"{text[:80]!r} is not a duration in days, hours, minutes and whole seconds, such as P30D.")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    value = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)
    if value > MAX_DURATION:
        raise ValueError(f"{text[:80]!r} is longer than {write_duration(MAX_DURATION)}.")
    return value


def write_duration(value: timedelta) -> str:
    """Write the one normal form of a duration: ``P1DT2H``, and ``PT0S`` for none."""
    seconds = value.days * 86_400 + value.seconds
    days, seconds = divmod(seconds, 86_400)
    hours, seconds = divmod(seconds, 3_600)
    minutes, seconds = divmod(seconds, 60)
    time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M"), (seconds, "S")) if n)
    date = f"{days}D" if days else ""
    return f"P{date}T{time}" if time else f"P{date}" if date else "PT0S"


def read_instant(text: str) -> datetime:
    """Read an ISO 8601 date and time with a timezone; the result is in UTC."""
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not a date and time with a timezone, such as 2027-01-01T00:00:00Z.")
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{text[:80]!r} is not a date that exists.") from error


def write_instant(value: datetime) -> str:
    """Write the one normal form of an instant: UTC with ``Z``, a fraction only where there is one."""
    whole, _, fraction = value.astimezone(UTC).replace(tzinfo=None).isoformat().partition(".")
    return f"{whole}.{fraction.rstrip('0')}Z" if fraction else f"{whole}Z"
