"""A node: the use cases of one exchange, wired together for the edges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from databund.app.anchoring import Anchoring
from databund.app.attaching import Attaching
from databund.app.auditing import Auditor
from databund.app.chores import Chore
from databund.app.clearing import Clearing
from databund.app.cosigning import Cosigning
from databund.app.delivering import Delivering
from databund.app.evidencing import Evidencing
from databund.app.publishing import Publishing
from databund.app.purchasing import Purchasing
from databund.app.signing_in import SigningIn
from databund.core.log_status import LogStatus
from databund.core.messages import NodeInfo
from databund.ports import Database, Ledger, Objects
from databund.tlog.checkpoints import Checkpoint, read_unverified
from databund.tlog.merkle import EMPTY_ROOT

__all__ = ["Node"]


@dataclass(frozen=True, kw_only=True)
class Node:
    """Everything the HTTP edge calls. ``database``, ``objects`` and ``ledger`` are there for plain reads."""

    info: NodeInfo
    database: Database
    objects: Objects
    ledger: Ledger
    signing_in: SigningIn
    publishing: Publishing
    purchasing: Purchasing
    delivering: Delivering
    clearing: Clearing
    attaching: Attaching
    evidencing: Evidencing
    anchoring: Anchoring
    cosigning: Cosigning | None
    auditor: Auditor
    chores: Sequence[Chore]

    def log_status(self) -> LogStatus:
        """How the log stands."""
        with self.database.read() as tables:
            note = self.auditor.published(tables.log)
        head = Checkpoint(self.info.origin, 0, EMPTY_ROOT) if note is None else read_unverified(note)
        halted = self.auditor.halted
        return LogStatus(
            origin=self.info.origin,
            log_key=self.info.log_key,
            size=head.size,
            root=head.root.hex(),
            halted=None if halted is None else halted.what,
            cosigning=None if self.cosigning is None else self.cosigning.status(),
            anchoring=None if self.anchoring.period_s == 0 else self.anchoring.status(),
        )
