"""``databund ledger``: replay the chain of a node."""

from __future__ import annotations

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["verify"]


def verify(*, options: Options | None = None) -> None:
    """Replay the chain of a node from its first block, and compare every state.

    Needs the home of the node, which may be running.
    """
    from databund.bootstrap import verify_ledger
    from databund.cli.figures import fields

    session = Session(options)
    with session.screen.progress() as progress:
        report = None if progress is None else lambda done, total: progress("replay", done, total)
        blocks, chain_transactions, root = verify_ledger(session.settings, report)
    facts = {"blocks": blocks, "chain transactions": chain_transactions, "state root": root}
    lines = ["Verified: replaying the chain gives the recorded state of every block.", *fields(facts.items())]
    session.screen.answer({name.replace(" ", "_"): value for name, value in facts.items()}, lines)
