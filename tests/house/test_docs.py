"""The documentation runs, links to what exists, and keeps its form."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import databund
from tests.house import pages
from tests.house.repository import PAGES, ROOT

LONGEST_README = 120
LONGEST_ADR = 80
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
WITH_PYTHON = [page for page in PAGES if pages.blocks(page.read_text(), "python")]
WITH_CONSOLE = [page for page in PAGES if pages.commands(page.read_text())]
STAND_IN = ("/bin/echo", "ran")


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


if WITH_PYTHON:

    @pytest.mark.parametrize("page", WITH_PYTHON, ids=_name)
    def test_python_blocks_run(page: Path, tmp_path: Path) -> None:
        """The python blocks of a page run, in order, without a warning."""
        pages.run_python(page.read_text(), tmp_path)


if WITH_CONSOLE:

    @pytest.mark.parametrize("page", WITH_CONSOLE, ids=_name)
    def test_console_blocks_print_what_they_show(page: Path, tmp_path: Path) -> None:
        """The databund commands of a page succeed from an empty home and print the lines shown."""
        pages.run_console(page.read_text(), tmp_path)


def test_python_blocks_share_names(tmp_path: Path) -> None:
    """A later block of a page may use what an earlier one defined."""
    pages.run_python("```python\na = 1\n```\ntext\n```python\nassert a == 1\n```\n", tmp_path)


def test_a_failing_block_is_named_by_its_line(tmp_path: Path) -> None:
    """A python block that fails is reported with the line number of the page."""
    with pytest.raises(AssertionError, match="line 4, in"):
        pages.run_python("# Page\n\n```python\nassert 1 == 2\n```\n", tmp_path)


def test_console_output_is_compared(tmp_path: Path) -> None:
    """Dots stand for any text, lines that are not shown do not matter, and a line that is missing fails."""
    pages.run_console("```console\n$ databund key \\\n    list\nran key ...\n```\n", tmp_path, STAND_IN)
    with pytest.raises(AssertionError, match="line 4: databund two did not print 'ran three'"):
        pages.run_console("```console\n$ databund one\nran one\n$ databund two\nran three\n```\n", tmp_path, STAND_IN)


def test_what_a_command_prints_can_be_kept(tmp_path: Path) -> None:
    """A line that keeps a command's output under a name is run, and the name stands for it further down."""
    pages.run_console(
        "```console\n$ KEPT=$(databund key)\n$ databund $KEPT x\nran ran key x\n```\n", tmp_path, STAND_IN
    )


def test_a_block_can_be_a_file(tmp_path: Path) -> None:
    """A block whose fence names a file lies in the folder before the page's commands run."""
    pages.run_console("```csv file=a.csv\nx,y\n```\n```console\n$ databund a.csv\nx,y\n```\n", tmp_path, ("/bin/cat",))


def test_a_failing_command_fails(tmp_path: Path) -> None:
    """A databund command that ends with an error fails the page even where no output is shown."""
    with pytest.raises(AssertionError, match="ended badly"):
        pages.run_console("```console\n$ databund doctor\n```\n", tmp_path, ("/bin/false",))


def test_a_server_runs_until_the_page_ends(tmp_path: Path) -> None:
    """A command that ends in & is waited for by its shown lines, and is stopped with the page."""
    server = ("/bin/sh", "-c", 'echo "$$" > pid; echo ready; exec sleep 60')
    pages.run_console("```console\n$ databund serve &\nready\n```\n", tmp_path, server)
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_other_commands_are_for_the_reader() -> None:
    """Only databund's own commands are run; make, git and curl stay with the reader."""
    assert pages.commands("```console\n$ make demo\n$ curl x\n```\n") == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link of a page names a file of the project."""
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_index_names_every_page() -> None:
    """docs/index.md links to every page below docs."""
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#\s]+)", index.read_text())}
    assert [_name(page) for page in PAGES if page.is_relative_to(index.parent) and page not in linked | {index}] == []


def test_the_readme_is_short() -> None:
    """The README has at most 120 lines, and each make target it names exists."""
    text = (ROOT / "README.md").read_text()
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.M))
    assert len(text.splitlines()) <= LONGEST_README
    assert set(re.findall(r"[$`] ?make ([a-z]+)\b", text)) <= targets


@pytest.mark.parametrize("adr", ADRS, ids=_name)
def test_decisions_keep_their_form(adr: Path) -> None:
    """A decision record has at most 80 lines, its number as title, a status, context, decision and consequences."""
    text = adr.read_text()
    assert len(text.splitlines()) <= LONGEST_ADR
    assert text.startswith(f"# {int(adr.name[:4])}. ")
    assert re.findall(r"^## (.+)$", text, flags=re.M) == ["Context", "Decision", "Consequences"]
    assert re.search(r"^Status: (accepted|superseded by \[\d+\]\(.+\)), \d{4}-\d{2}-\d{2}$", text, flags=re.M)


def test_decisions_are_numbered() -> None:
    """Decision records are numbered from 1 without a gap or a repetition."""
    assert [int(adr.name[:4]) for adr in ADRS] == list(range(1, len(ADRS) + 1))


def test_the_changelog_keeps_its_form() -> None:
    """CHANGELOG.md follows Keep a Changelog: dated versions, newest first, and six kinds of change."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.+)$", text, flags=re.M)
    kinds = set(re.findall(r"^### (.+)$", text, flags=re.M))
    assert versions[0] == "[Unreleased]"
    assert [line for line in versions[1:] if not re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d{2}-\d{2}", line)] == []
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert versions[1:2] == [] or versions[1].startswith(f"[{databund.__version__}]")
