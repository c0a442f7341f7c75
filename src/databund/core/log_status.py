"""The status of an audit log: how long it is, who cosigned it, and where it is anchored; served at ``/log/status``.

Times are Unix seconds. Nothing of it is proof: the checkpoint, its cosignatures and the chain are.
"""

from __future__ import annotations

import msgspec

from databund.core.ids import Hex

__all__ = ["Anchor", "AnchoringStatus", "CosigningStatus", "LogStatus", "WitnessStatus"]


class Anchor(msgspec.Struct, frozen=True):
    """A tree head that was sent to the chain. ``root`` is 32 bytes; ``chain_transaction`` the hash of its carrier."""

    size: int
    root: Hex
    chain_transaction: str
    at: int


class AnchoringStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How far anchoring is.

    ``newest`` is the last anchor that was signed, ``on_chain`` whether it is final there. ``deferred`` says why the
    next one is not sent although it is time.
    """

    newest: Anchor | None
    on_chain: bool
    deferred: str | None


class WitnessStatus(msgspec.Struct, frozen=True):
    """How it stands with one witness: the size it cosigned last and when (POSIX seconds), and what went wrong since."""

    name: str
    url: str | None
    size: int | None
    at: int | None
    error: str | None


class CosigningStatus(msgspec.Struct, frozen=True):
    """Up to which size, and when, the policy was met; every witness; and the proof of a fork, in words."""

    size: int | None
    at: int | None
    witnesses: tuple[WitnessStatus, ...]
    fork: str | None


class LogStatus(msgspec.Struct, frozen=True, kw_only=True):
    """How a node's log stands.

    ``size`` and ``root`` (64 digits) are those of the newest signed checkpoint, or of the empty tree; ``halted`` says
    why nothing is signed any more. Without a witness policy ``cosigning`` is None, without anchoring ``anchoring``.
    """

    origin: str
    log_key: str
    size: int
    root: str
    halted: str | None
    cosigning: CosigningStatus | None
    anchoring: AnchoringStatus | None
