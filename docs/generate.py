"""Write the reference pages that follow from the code. Run by `make docs`; a test fails when a page is out of date."""

from __future__ import annotations

import inspect
from pathlib import Path

from databund import errors

REFERENCE = Path(__file__).parent / "reference"
ERRORS_HEAD = """\
# Errors

Everything databund refuses on purpose is one of these. The code is stable: programs may rely on it. Each message says
what happened to which thing, and what to do next. Written by `make docs`.
"""


def error_classes() -> list[type[errors.DatabundError]]:
    """Return every class of the error tree, in the order of their definition."""
    found = (value for value in vars(errors).values() if inspect.isclass(value))
    return [value for value in found if issubclass(value, errors.DatabundError)]


def errors_page() -> str:
    """Return the text of docs/reference/errors.md: one table per branch of the error tree."""
    parts = [ERRORS_HEAD]
    for branch in error_classes():
        if branch.__base__ is errors.DatabundError:
            rows = [branch, *(leaf for leaf in error_classes() if leaf.__base__ is branch)]
            lines = [f"| `{row.code}` | `{row.__name__}` | {_first_sentences(row)} |" for row in rows]
            parts.append(
                f"\n## {branch.__name__}\n\n| code | class | meaning |\n|---|---|---|\n" + "\n".join(lines) + "\n"
            )
    return "".join(parts)


def _first_sentences(row: type[errors.DatabundError]) -> str:
    return " ".join((inspect.getdoc(row) or "").split("\n\n")[0].split()).replace("|", r"\|")


if __name__ == "__main__":
    (REFERENCE / "errors.md").write_text(errors_page(), encoding="utf-8")
