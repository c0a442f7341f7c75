"""The error tree in the code, the one drawn in its docstring, and the page of errors tell the same story."""

from __future__ import annotations

import inspect
import re

from databund import errors
from docs import generate
from tests.house.repository import ROOT

LINE = re.compile(r"^ {4}(?P<stem>[│├└─ ]*)(?P<name>[A-Z]\w+)\s*(?P<note>.*)$")


def _drawn() -> list[tuple[str, str, str]]:
    """Return (class, its parent, note beside it) for every line of the drawn tree, from the top."""
    rows: list[tuple[str, str, str]] = []
    parents: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = LINE.match(line)
        if found:
            depth = len(found["stem"]) // 4
            parents[depth:] = [found["name"]]
            rows.append((found["name"], parents[depth - 1] if depth else "", found["note"]))
    return rows


def _defined() -> dict[str, type[errors.DatabundError]]:
    return {branch.__name__: branch for branch in generate.error_classes()}


def test_the_drawing_is_complete() -> None:
    """Every error class is drawn once, under its base class."""
    drawn = sorted((name, parent) for name, parent, _ in _drawn())
    defined = sorted(
        (name, "" if found is errors.DatabundError else found.__base__.__name__) for name, found in _defined().items()
    )
    assert drawn == defined


def test_the_drawing_shows_codes() -> None:
    """Beside every class without subclasses stands its code."""
    parents = {found.__base__ for found in _defined().values()}
    leaves = {name: found.code for name, found in _defined().items() if found not in parents}
    assert {name: note for name, _, note in _drawn() if name in leaves} == leaves


def test_the_drawing_is_sorted() -> None:
    """Within a branch the classes stand in alphabetical order."""
    for branch in {parent for _, parent, _ in _drawn()} - {"", "DatabundError"}:
        names = [name for name, parent, _ in _drawn() if parent == branch]
        assert names == sorted(names)


def test_codes_are_unique() -> None:
    """A code names one class, of lower-case words joined by dots and underscores."""
    codes = [found.code for found in _defined().values()]
    assert len(set(codes)) == len(codes)
    assert [code for code in codes if not re.fullmatch(r"[a-z_]+(\.[a-z_]+)?", code)] == []


def test_the_page_is_current() -> None:
    """docs/reference/errors.md is what the code says; `make docs` writes it anew."""
    assert (ROOT / "docs" / "reference" / "errors.md").read_text() == generate.errors_page()
