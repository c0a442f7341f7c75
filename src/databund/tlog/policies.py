"""Witness policies (c2sp.org/tlog-policy): which logs and witnesses are known, and which of them have to have signed.

A policy is a file of lines ``log``, ``witness``, ``group`` and ``quorum``. Here it is read and applied; opening a
checkpoint under it is `databund.tlog.checkpoints.open_checkpoint`. Names are opaque octets: they are kept as text with
surrogate escapes, so that two different ones never become equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from databund.errors import CheckpointInvalid, DocumentInvalid, KeyInvalid
from databund.tlog._canonical import decimal
from databund.tlog.cosignatures import COSIGNATURE_TYPES, Cosignature
from databund.tlog.notes import Signature, SignatureType, Verifier, VerifierKey

__all__ = [
    "MAX_GROUPS",
    "MAX_LOGS",
    "MAX_POLICY_BYTES",
    "MAX_WITNESSES",
    "Group",
    "KnownLog",
    "KnownWitness",
    "WitnessPolicy",
]

MAX_POLICY_BYTES: Final = 4 * 2**20
"""The longest policy that is read."""

MAX_LOGS: Final = 1024
"""The most logs that a policy may list; the specification asks for 32 at least."""

MAX_WITNESSES: Final = 60
"""The most witnesses, so that a note (at most 64 signatures) holds the cosignatures of all; 32 are asked for."""

MAX_GROUPS: Final = 64
"""The most groups; the specification asks for 32 at least."""

_NONE: Final = "none"
_UNUSABLE: Final = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_SPACE: Final = re.compile("[ \t]+")
_SEE: Final = "Write it as c2sp.org/tlog-policy says."


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log whose checkpoints are accepted. Its key's name is its origin; what ``url`` means is the reader's matter."""

    key: VerifierKey
    url: str | None
    verifier: Verifier = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class KnownWitness:
    """A witness, under the name that this policy gives it. ``url`` is the prefix to submit checkpoints to."""

    name: str
    key: VerifierKey
    url: str | None
    verifier: Verifier = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses and smaller groups, of which ``threshold`` have to have seen a checkpoint for the group to have."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class WitnessPolicy:
    """A policy, as `parse` reads it. ``quorum`` names a witness or a group, or is None when nobody has to cosign."""

    logs: tuple[KnownLog, ...]
    witnesses: tuple[KnownWitness, ...]
    groups: tuple[Group, ...]
    quorum: str | None

    @classmethod
    def parse(cls, data: bytes, verifier: Callable[[VerifierKey], Verifier]) -> WitnessPolicy:
        """Read a policy file; ``verifier`` makes of a key what checks its signatures.

        Raises DocumentInvalid, which names the line, for a file that is not of the specification's form, defines a name
        or a key twice, uses a name before it is defined or in two groups, has not exactly one quorum line, or lists
        more than `MAX_LOGS`, `MAX_WITNESSES` or `MAX_GROUPS`. A newline after the last line may be missing.
        """
        if len(data) > MAX_POLICY_BYTES or _UNUSABLE.search(data):
            raise _invalid(f"it has control characters, or more than {MAX_POLICY_BYTES} bytes")
        draft = _Draft(verifier)
        for number, line in enumerate(data.decode("utf-8", "surrogateescape").split("\n"), start=1):
            words = [word for word in _SPACE.split(line) if word]
            if not words or words[0].startswith("#"):
                continue
            try:
                draft.add(words)
            except (DocumentInvalid, KeyInvalid) as error:
                raise DocumentInvalid(f"Line {number}: {error.what}", fix=error.fix) from error
        return draft.finished()

    @property
    def verifiers(self) -> tuple[Verifier, ...]:
        """What checks the cosignatures of each witness."""
        return tuple(witness.verifier for witness in self.witnesses)

    def log_verifiers(self, origin: str) -> tuple[Verifier, ...]:
        """What checks the signatures of the log of this origin; empty when the policy does not know it."""
        return tuple(log.verifier for log in self.logs if log.key.name == origin)

    def check(self, signatures: Iterable[Signature | Cosignature]) -> None:
        """Raise CheckpointInvalid, naming who is missing, unless these verified signatures are enough."""
        seen = {(signature.name, signature.key_id) for signature in signatures}
        lacking = None if self.quorum is None else self._lacking(self.quorum, seen)
        if lacking is not None:
            raise CheckpointInvalid(
                f"The checkpoint is not cosigned as the witness policy asks: {lacking}.",
                fix="Wait for the witnesses, then fetch the checkpoint again.",
            )

    def _lacking(self, name: str, seen: set[tuple[str, int]]) -> str | None:
        """Who is missing of this witness or group, in words; None when it saw the checkpoint."""
        for witness in self.witnesses:
            if witness.name == name:
                return None if (witness.key.name, witness.key.key_id) in seen else _shown(name)
        group = next(group for group in self.groups if group.name == name)
        lacking = [words for member in group.members if (words := self._lacking(member, seen)) is not None]
        found = len(group.members) - len(lacking)
        if found >= group.threshold:
            return None
        return f"{_shown(name)} has {found} of {group.threshold} (without {', '.join(lacking)})"


class _Draft:
    """What the lines read so far say, each checked against those before it."""

    def __init__(self, verifier: Callable[[VerifierKey], Verifier]) -> None:
        self._verifier = verifier
        self._logs: list[KnownLog] = []
        self._witnesses: list[KnownWitness] = []
        self._groups: list[Group] = []
        self._quorum: list[str] = []
        self._names: set[str] = {_NONE}
        self._members: set[str] = {_NONE}

    def add(self, words: Sequence[str]) -> None:
        match words:
            case ["log", vkey]:
                self._add_log(vkey, None)
            case ["log", vkey, url]:
                self._add_log(vkey, url)
            case ["witness", name, vkey]:
                self._add_witness(name, vkey, None)
            case ["witness", name, vkey, url]:
                self._add_witness(name, vkey, url)
            case ["group", name, threshold, *members] if members:
                self._add_group(name, threshold, members)
            case ["quorum", name]:
                self._add_quorum(name)
            case _:
                raise _invalid(f"a line begins with {_shown(words[0])} and has {len(words)} words")

    def finished(self) -> WitnessPolicy:
        if not self._quorum:
            raise _invalid("it has no quorum line")
        (quorum,) = self._quorum
        return WitnessPolicy(
            tuple(self._logs), tuple(self._witnesses), tuple(self._groups), None if quorum == _NONE else quorum
        )

    def _add_log(self, vkey: str, url: str | None) -> None:
        key = VerifierKey.parse(vkey)
        if key.signature_type is SignatureType.COSIGNATURE_V1:
            raise _invalid(f"the key {key.name}+{key.key_id:08x} is a witness's and not a log's (0x01 or 0x06)")
        _check_new(key, self._logs, most=MAX_LOGS)
        self._logs.append(KnownLog(key, url, self._verifier(key)))

    def _add_witness(self, name: str, vkey: str, url: str | None) -> None:
        key = VerifierKey.parse(vkey)
        if key.signature_type not in COSIGNATURE_TYPES:
            raise _invalid(f"the key of the witness {_shown(name)} is not one for cosignatures (0x04 or 0x06)")
        _check_new(key, self._witnesses, most=MAX_WITNESSES)
        self._define(name)
        self._witnesses.append(KnownWitness(name, key, url, self._verifier(key)))

    def _add_group(self, name: str, threshold: str, members: Sequence[str]) -> None:
        most = len(members)
        wanted = {"all": most, "any": 1}.get(threshold) or decimal(threshold, most=most)
        if not wanted:
            raise _invalid(f"the group {_shown(name)} cannot ask for {_shown(threshold)} of {most}")
        for member in members:
            if member not in self._names or member in self._members:
                raise _invalid(f"{_shown(member)} is not defined yet, or in a group already")
            self._members.add(member)
        if len(self._groups) == MAX_GROUPS:
            raise _invalid(f"it has more than {MAX_GROUPS} groups")
        self._define(name)
        self._groups.append(Group(name, wanted, tuple(members)))

    def _add_quorum(self, name: str) -> None:
        if name not in self._names:
            raise _invalid(f"the quorum {_shown(name)} is not defined yet")
        if self._quorum:
            raise _invalid("it has two quorum lines")
        self._quorum.append(name)

    def _define(self, name: str) -> None:
        if name in self._names:
            raise _invalid(f"the name {_shown(name)} is taken")
        self._names.add(name)


def _check_new(key: VerifierKey, known: Sequence[KnownLog | KnownWitness], *, most: int) -> None:
    if len(known) == most:
        raise _invalid(f"it has more than {most} keys of this kind")
    if any(other.key.public_key == key.public_key for other in known):
        raise _invalid(f"the key {key.name}+{key.key_id:08x} is listed twice")


def _shown(name: str) -> str:
    return name[:200].encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _invalid(why: str) -> DocumentInvalid:
    return DocumentInvalid(f"The witness policy cannot be used: {why}.", fix=_SEE)
