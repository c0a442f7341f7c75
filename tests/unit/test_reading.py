"""Reading a log: what a query takes, how shortened ids are understood, and what the files hold."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import duckdb
import pytest

from databund.core.events import Event, EventKind
from databund.errors import DocumentInvalid, FileUnusable, IdentifierInvalid, NotFound
from databund.sdk.log_files import COLUMNS, write
from databund.sdk.reading import Query, Record, read, resolve
from databund.sdk.reports import LogHeader, report
from tests.stored_logs import StoredLog
from tests.told_logs import ATTACHMENT, BUYER, CURRENCY, DATASETS, DAY, OFFERS, OPERATOR, ORDER, events

EVENTS = events()
SIZE = len(EVENTS)
LOG = StoredLog.of([event.entry() for event in EVENTS])
HEADER = LogHeader(origin="log.example/audit", size=SIZE, root="00" * 32, verified="in a test")


def _taken(query: Query, *, start: int = 0) -> list[int]:
    return [record.index for record in read(LOG, resolve(LOG, SIZE, query), start=start, stop=SIZE)]


def _all() -> list[Record]:
    return list(read(LOG, Query(), start=0, stop=SIZE))


def test_an_empty_query_takes_everything_in_order() -> None:
    """Every entry, from an index on, as it stands in the log."""
    assert _taken(Query()) == list(range(SIZE))
    assert [record.entry for record in _all()] == [event.entry() for event in EVENTS]
    assert _taken(Query(), start=5) == list(range(5, SIZE))


def test_each_member_of_a_query_narrows_it() -> None:
    """Kind, order, account and time each take what they name, and together what all name."""
    delivered = [index for index, event in enumerate(EVENTS) if event.kind is EventKind.DELIVERED]
    assert _taken(Query(kind=EventKind.DELIVERED)) == delivered
    assert _taken(Query(order=ORDER)) == [4, 5, 6, 7, 8, 9, 10, 11]
    assert _taken(Query(by=BUYER)) == [4, 8, 9, 11]
    assert _taken(Query(since=2 * DAY, until=4 * DAY)) == [2, 3]
    assert _taken(Query(by=BUYER, kind=EventKind.DELIVERED, since=9 * DAY)) == [9, 11]


@pytest.mark.parametrize("subject", [OFFERS[0], OFFERS[0].upper().replace("X", "x"), OFFERS[0][:8], OFFERS[0][2:9]])
def test_a_subject_stands_anywhere(subject: str) -> None:
    """An id is found wherever it stands, in full or shortened, in any case of its letters."""
    assert _taken(Query(subject=subject)) == [1, 4, 5, 6, 7, 8, 9, 11]


def test_an_account_in_a_decision_is_a_subject() -> None:
    """Who asked for a use is named inside of the decision, as a DID."""
    assert _taken(Query(subject=BUYER)) == [4, 6, 7, 8, 9, 10, 11]


def test_an_ambiguous_beginning_is_refused() -> None:
    """A beginning of two ids names neither; the ids are shown."""
    one, other = (
        Event(EventKind.DESTROYED, 1, OPERATOR, {"attachment": f"0xabcdef{n:058x}", "reason": ""}) for n in (1, 2)
    )
    log = StoredLog.of([one.entry(), other.entry()])

    with pytest.raises(IdentifierInvalid, match="2 ids"):
        resolve(log, 2, Query(subject="abcdef"))


def test_an_amount_is_no_id() -> None:
    """Digits that are not a whole id, such as a price, are no match."""
    with pytest.raises(NotFound):
        resolve(LOG, SIZE, Query(subject="125000"))


@pytest.mark.parametrize("text", ["abc", "squares", "0x", "=cmd|x", "g" * 64])
def test_what_is_no_id_is_refused(text: str) -> None:
    """Names and short digits are refused, with what to write instead."""
    with pytest.raises(IdentifierInvalid, match="not an id"):
        resolve(LOG, SIZE, Query(subject=text))


def test_an_entry_of_another_log_is_read_as_it_is() -> None:
    """A log that is not of databund has entries without events; they match no member of a query."""
    log = StoredLog.of([b"not json", b"{}"])

    assert [record.event for record in read(log, Query(), start=0, stop=2)] == [None, None]
    assert list(read(log, Query(by=BUYER), start=0, stop=2)) == []


def test_csv_runs_nothing(tmp_path: Path) -> None:
    """Each entry is a row; a text that a spreadsheet would run as a formula is made harmless."""
    assert write(_all(), tmp_path / "log.csv") == SIZE

    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [json.loads(row["entry"]) for row in rows] == [json.loads(event.entry()) for event in EVENTS]
    assert rows[6]["reason"] == "'=The purpose is not known."
    assert (rows[6]["permitted"], rows[6]["rule"], rows[4]["price"]) == ("false", "$.permission[0]", "125")


def test_parquet_has_types(tmp_path: Path) -> None:
    """The file has the columns and types that are documented, and nothing is changed for spreadsheets."""
    assert write(_all(), tmp_path / "log.parquet") == SIZE

    found = duckdb.read_parquet(str(tmp_path / "log.parquet")).order("index")
    rows = found.fetchall()
    assert dict(zip(found.columns, map(str, found.types), strict=True)) == COLUMNS
    assert [row[0] for row in rows] == list(range(SIZE))
    assert (rows[6][10], rows[6][12], rows[0][10]) == (False, "=The purpose is not known.", None)
    assert [row[-1].encode() for row in rows] == [event.entry() for event in EVENTS]


def test_json_lines_hold_entries_as_they_were_signed(tmp_path: Path) -> None:
    """Each line has the index and, byte for byte, the entry."""
    write(_all(), tmp_path / "log.jsonl")

    lines = (tmp_path / "log.jsonl").read_bytes().splitlines()
    assert lines == [b'{"index":%d,"entry":%s}' % (index, event.entry()) for index, event in enumerate(EVENTS)]


def test_entries_of_another_log_are_written_too(tmp_path: Path) -> None:
    """Bytes that are no JSON go into JSON Lines as base64."""
    write([Record(0, b"\xff\x00", None)], tmp_path / "log.jsonl")

    assert json.loads((tmp_path / "log.jsonl").read_bytes()) == {"index": 0, "entry_base64": "/wA="}


def test_another_format_is_refused(tmp_path: Path) -> None:
    """The ending of the file's name says the format; an unknown one is refused before anything is written."""
    with pytest.raises(FileUnusable, match=r"log\.xlsx"):
        write(_all(), tmp_path / "log.xlsx")


def test_a_file_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    """A folder that is not there is an error of ours."""
    with pytest.raises(FileUnusable):
        write(_all(), tmp_path / "absent" / "log.csv")


def test_a_report_says_who_did_what_under_which_decision() -> None:
    """Acts are counted by dataset, account, kind, decision and rule; who asked for a use acted, not the node."""
    made = report(_all(), HEADER, since=None, until=None)

    acts = {(act.dataset, act.by, act.kind, act.decision, act.rule): act.times for act in made.acts}
    assert acts[DATASETS[0], BUYER, "decision.made", "deny", "$.permission[0]"] == 1
    assert acts[DATASETS[0], BUYER, "decision.made", "permit", "$.permission[0]"] == 1
    assert acts[DATASETS[0], BUYER, "order.delivered", None, None] == 3
    assert acts[DATASETS[0], OPERATOR, "order.settled", None, None] == 1
    assert (made.entries, made.set_back, made.first, made.last) == (SIZE, 1, 0, 12 * DAY)


def test_a_report_says_what_became_of_orders_and_money() -> None:
    """An order counts once, in its last state; settled money is what accounts received, in its currency."""
    sold, unsold = report(_all(), HEADER, since=None, until=None).datasets[:2]

    assert (sold.orders, sold.settled) == ({"settled": 1}, {CURRENCY: "125"})
    assert (unsold.versions, unsold.offers, unsold.orders) == (1, 1, {})


def test_a_report_names_destroyed_keys() -> None:
    """What was erased is named, with when and why."""
    (gone,) = report(_all(), HEADER, since=None, until=None).keys_destroyed

    assert gone == {"attachment": ATTACHMENT, "reason": "consent_withdrawn", "at": 12 * DAY}


def test_a_period_still_knows_what_came_before() -> None:
    """Acts in the period are counted under the dataset that was listed before it."""
    made = report(_all(), HEADER, since=8 * DAY, until=9 * DAY)

    assert [(act.dataset, act.kind, act.times) for act in made.acts] == [(DATASETS[0], "order.delivered", 1)]


def test_a_report_on_one_dataset_leaves_others_out() -> None:
    """Only what is about the dataset, also by way of offers and orders."""
    made = report(_all(), HEADER, since=None, until=None, dataset=DATASETS[1][2:])

    assert ({act.dataset for act in made.acts}, made.entries) == ({DATASETS[1]}, 2)


def test_a_report_needs_our_events() -> None:
    """A log of something else cannot be reported on."""
    with pytest.raises(DocumentInvalid):
        report([Record(0, b"x", None)], HEADER, since=None, until=None)
