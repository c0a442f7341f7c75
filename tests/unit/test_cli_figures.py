"""How ids, times, terms, sizes and tables are written for people."""

from __future__ import annotations

import pytest

from databund.cli import figures
from databund.cli.screen import Screen


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0, "perpetual"),
        (86_400, "1 day"),
        (30 * 86_400, "30 days"),
        (5400, "90 minutes"),
        (3600, "1 hour"),
        (61, "61 seconds"),
    ],
)
def test_terms(seconds: int, written: str) -> None:
    """A term is written in the largest unit that divides it."""
    assert figures.term(seconds) == written


@pytest.mark.parametrize(
    ("count", "written"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_999, "1.0 MB"), (1_400_000, "1.4 MB"), (2 * 10**15, "2.0 PB")],
)
def test_sizes(count: int, written: str) -> None:
    """A size has one decimal and the unit that keeps it below a thousand."""
    assert figures.size(count) == written


def test_moments() -> None:
    """A time is written in UTC, to the minute; no time is never."""
    assert figures.moment(1_776_418_200) == "2026-04-17 09:30 UTC"
    assert figures.moment(None) == "never"


def test_a_short_id_can_be_typed() -> None:
    """A short id is the beginning of the whole one."""
    assert figures.short("0x3f9a12cd" + "0" * 56) == "0x3f9a12cd"


def test_tables_align_chinese_text() -> None:
    """Columns stand below each other also where characters take two places."""
    lines = list(figures.table(("NAME", "N"), [("乳腺癌", 1), ("cancer", 2)], empty=""))

    assert lines == ["NAME    N", "乳腺癌  1", "cancer  2"]


def test_an_empty_table_says_so() -> None:
    """A table without rows is one sentence."""
    assert list(figures.table(("A",), [], empty="Nothing.")) == ["Nothing."]


def test_strangers_cannot_write_on_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Control characters in texts of others are shown, not obeyed."""
    Screen().answer(None, figures.table(("TITLE",), [("\x1b[2Jgone\r",)], empty=""))

    assert capsys.readouterr().out == "TITLE\n\N{REPLACEMENT CHARACTER}[2Jgone\N{REPLACEMENT CHARACTER}\n"


def test_nothing_is_colored_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody looks there is no color, no hint and no bar."""
    screen = Screen()
    screen.answer(None, [figures.Heading("TITLE")])
    screen.hint("Go on.")
    screen.fail(code="error", what="It failed.", fix="Mend it.")
    with screen.progress() as progress:
        assert progress is None

    told = capsys.readouterr()
    assert "\x1b" not in told.out + told.err
    assert "Go on." not in told.err
