"""What must hold for every file of the project."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.house.repository import ROOT, files, texts

LONGEST_MODULE = 600
# Written in pieces, so that this page does not contain what it looks for.
FOREIGN = {
    "a folder of one machine": r"(?<![\w.])/(?:wo" + r"rk|ro" + r"ot)/",
    "the host of a package registry": r"(?i)\b(?:py"
    + r"pi\.org|pythonho"
    + r"sted\.(?:org|com)|registry\.np"
    + r"mjs)",
    "a tool of one workplace": r"\bfa" + r"rm-[a-z]+",
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_no_file_names_where_it_was_written(kind: str) -> None:
    """Nothing in the project names a machine's folders, a package registry's host, or a workplace's tools."""
    found = [path for path, text in texts() if re.search(FOREIGN[kind], text)]
    assert found == [], f"{kind} is named in these files"


def test_modules_are_short() -> None:
    """No module of the package is longer than 600 lines: one idea per module."""
    modules = (ROOT / "src").rglob("*.py")
    long = {path.name: count for path in modules if (count := len(path.read_text().splitlines())) > LONGEST_MODULE}
    assert long == {}


def _tests(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(ast.parse(path.read_text()))
    return [
        node
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]


def test_every_test_states_a_behavior() -> None:
    """Every test function has a docstring; it is the sentence that a failure breaks."""
    modules = [path for path in files() if path.suffix == ".py" and path.is_relative_to(ROOT / "tests")]
    silent = [f"{path.name}: {test.name}" for path in modules for test in _tests(path) if not ast.get_docstring(test)]
    assert silent == []


def test_scripts_can_be_run() -> None:
    """Every file that names its interpreter in its first line may be executed."""
    scripts = [path for path in files() if path.read_bytes().startswith(b"#!")]
    assert scripts
    assert [str(path.relative_to(ROOT)) for path in scripts if not path.stat().st_mode & 0o100] == []
