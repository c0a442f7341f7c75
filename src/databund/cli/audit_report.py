"""``databund audit report``: what a period of the log says of each dataset, to be filed."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from databund.cli.logs import counted, instant, session_of, verified_log
from databund.cli.options import Common

if TYPE_CHECKING:
    from databund.sdk.reports import DatasetAccount, Report

__all__ = ["report"]


def report(
    *,
    dataset: Annotated[
        str | None, Parameter(help="One dataset, by the first six or more digits of its id.", metavar="DATASET")
    ] = None,
    since: Annotated[str | None, Parameter(help="Not before: 2026-04-17, or 7d or 12h ago.", metavar="TIME")] = None,
    until: Annotated[str | None, Parameter(help="Before: 2026-04-18, or 1d ago.", metavar="TIME")] = None,
    format_: Annotated[
        Literal["text", "json", "csv"],
        Parameter(name="--format", help="text, json or csv; by default text.", metavar="FORMAT"),
    ] = "text",
    from_: Annotated[
        str | None,
        Parameter(
            name="--from", help="An exported file, a folder or a URL instead of the node's log.", metavar="PLACE"
        ),
    ] = None,
    key: Annotated[
        str | None, Parameter(help="The log's verifier key, from a place you trust.", metavar="VKEY")
    ] = None,
    options: Common | None = None,
) -> None:
    """Report who did what to which dataset, in which period, under which decision.

    Counted from every entry of a verified log: acts by account, permits and denials with the rule that decided, orders
    and their states, money settled, licenses that the chain showed, and keys destroyed. The head of the report names
    the log, the tree that was counted, and how it was verified. As csv, each row is one kind of act.
    """
    from databund.sdk.reading import Query, read, resolve
    from databund.sdk.reports import LogHeader
    from databund.sdk.reports import report as count

    session = session_of(options)
    start, stop = instant(since, "--since"), instant(until, "--until")
    with session.screen.progress() as progress, verified_log(session, from_, key, progress) as log:
        chosen = resolve(
            log.source, log.checkpoint.size, Query(subject=dataset), progress=counted("search", progress)
        ).subject
        header = LogHeader(
            origin=log.checkpoint.origin,
            size=log.checkpoint.size,
            root=log.checkpoint.root.hex(),
            verified=f"{log.how}; its key was {log.trust}",
        )
        records = read(log.source, Query(), start=0, stop=log.checkpoint.size)
        made = count(records, header, since=start, until=stop, dataset=chosen)
    if format_ == "csv" and not session.screen.json:
        session.screen.page(_csv(made))
    else:
        session.screen.json = session.screen.json or format_ == "json"
        session.screen.answer(made, _lines(made))


def _lines(made: Report) -> Iterator[str]:
    from databund.cli.figures import Heading, fields, moment, table

    yield Heading(f"Report on the audit log {made.log.origin}")
    yield from fields(
        (
            ("tree", f"{made.log.size:,} entries"),
            ("root", made.log.root),
            ("verified", made.log.verified.partition("; ")[0]),
            ("", made.log.verified.partition("; ")[2]),
            ("period", f"{_edge(made.since, 'the first entry')} to {_edge(made.until, 'the last entry')}"),
            ("dataset", made.dataset or "all"),
            ("entries", f"{made.entries:,} in the period"),
            ("from", None if made.first is None else moment(made.first)),
            ("to", None if made.last is None else moment(made.last)),
            ("anchors", f"{made.anchors:,} on a chain" if made.anchors else None),
            ("clock", f"{made.set_back:,} entries are dated before the one above them" if made.set_back else None),
        )
    )
    for account in made.datasets:
        yield ""
        yield Heading(f"Dataset {account.dataset}")
        yield from fields(_summary(account))
        rows = (
            (act.times, act.by[:10], act.kind, act.decision or "", act.rule or "")
            for act in made.acts
            if act.dataset == account.dataset
        )
        yield from (f"  {line}" for line in table(("TIMES", "BY", "ACT", "DECISION", "RULE"), rows, empty="Nothing."))
    if made.keys_destroyed:
        yield ""
        yield Heading("Keys destroyed")
        gone = ((moment(int(one["at"] or 0)), one["attachment"], one["reason"]) for one in made.keys_destroyed)
        yield from (f"  {line}" for line in table(("TIME", "ATTACHMENT", "REASON"), gone, empty=""))


def _summary(account: DatasetAccount) -> Iterator[tuple[str, object]]:
    from databund.cli.figures import plural

    states = ", ".join(f"{count:,} {state}" for state, count in sorted(account.orders.items()))
    yield "registered", f"{plural(account.versions, 'version')}, {plural(account.offers, 'offer')}"
    yield "orders", states or "none"
    for currency, amount in account.settled.items():
        yield "settled", f"{int(amount):,} base units of {currency}"
    yield "observed", f"{plural(account.licenses_observed, 'sale')} on chain" if account.licenses_observed else None


def _edge(time_s: int | None, otherwise: str) -> str:
    from databund.cli.figures import moment

    return otherwise if time_s is None else moment(time_s)


def _csv(made: Report) -> str:
    from databund.cli.figures import moment
    from databund.sdk.log_files import harmless

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("log", "size", "root", "dataset", "by", "act", "decision", "rule", "times", "first", "last"))
    for act in made.acts:
        row = (
            *(made.log.origin, made.log.size, made.log.root, act.dataset, act.by, act.kind, act.decision, act.rule),
            *(act.times, moment(act.first), moment(act.last)),
        )
        rows.writerow([harmless(cell) for cell in row])
    return text.getvalue()
