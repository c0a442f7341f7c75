"""The screen: results on stdout, everything else on stderr, color and progress only for a person who looks.

Texts of other people (titles, names, reasons) are printed without control characters, so that nobody's dataset can
write on the reader's terminal.
"""

from __future__ import annotations

import json as json_format
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from databund.cli.figures import Heading, printable, size

__all__ = ["Progress", "Screen"]

Progress = Callable[[str, int, int], None]
_COUNTED = {
    "check": "entries",
    "export": "tiles",
    "fetch": "entries",
    "replay": "blocks",
    "search": "entries",
    "verify": "entries",
}


class Screen:
    """Where a command writes. With ``json`` its result and its error are each one JSON document."""

    def __init__(self, *, json: bool = False) -> None:
        self.json = json

    def answer(self, document: Any, lines: Iterable[str]) -> None:
        """Print the result: ``document`` (JSON values or our structs) as JSON, or else ``lines``."""
        if self.json:
            self._print_json(document)
            return
        for line in lines:
            shown = printable(line)
            print(self.heading(shown) if isinstance(line, Heading) else shown)  # noqa: T201  # a command's result
        sys.stdout.flush()

    def page(self, text: str) -> None:
        """Print a text of our own, styled as it is."""
        print(text, end="", flush=True)  # noqa: T201  # a command's result

    def note(self, text: str) -> None:
        """Tell something that a person has to know, on stderr."""
        print(printable(text), file=sys.stderr, flush=True)  # noqa: T201

    def hint(self, text: str) -> None:
        """Tell a person at a terminal what to do next."""
        if sys.stderr.isatty() and sys.stdout.isatty() and not self.json:
            self.note(text)

    def fail(self, *, code: str, what: str, fix: str) -> None:
        """Print an error: as the one JSON document, or as two lines on stderr."""
        if self.json:
            self._print_json({"error": {"code": code, "what": what, "fix": fix}})
            return
        sys.stdout.flush()
        cross, tag = ("\x1b[31m✗\x1b[0m", f"\x1b[2m[{code}]\x1b[0m") if _styled(sys.stderr) else ("✗", f"[{code}]")
        print(f"{cross} {printable(what)}  {tag}\n  fix: {printable(fix)}", file=sys.stderr, flush=True)  # noqa: T201

    def heading(self, text: str) -> str:
        """The text, bold where a person looks."""
        return f"\x1b[1m{text}\x1b[0m" if _styled(sys.stdout) else text

    @contextmanager
    def progress(self) -> Iterator[Progress | None]:
        """A function to report (step, done, in all) to, as bars on stderr; None where nobody looks."""
        if not sys.stderr.isatty():
            yield None
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description:<10}"), BarColumn(), TextColumn("{task.fields[count]}"))
        console = Console(stderr=True, no_color=not _styled(sys.stderr))
        with Progress(*columns, TimeRemainingColumn(), console=console, transient=True) as bars:
            tasks: dict[str, TaskID] = {}

            def report(step: str, done: int, total: int) -> None:
                if step not in tasks:
                    tasks[step] = bars.add_task(step, total=total, count="")
                bars.update(tasks[step], completed=done, total=total, count=_count(step, done, total))

            yield report

    def _print_json(self, document: Any) -> None:
        from databund.core import documents

        indent = 2 if sys.stdout.isatty() else None
        print(json_format.dumps(documents.dump(document), ensure_ascii=False, indent=indent), flush=True)  # noqa: T201


def _count(step: str, done: int, total: int) -> str:
    unit = _COUNTED.get(step)
    return f"{done:,}/{total:,} {unit}" if unit else f"{size(done)}/{size(total)}"


def _styled(stream: TextIO) -> bool:
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
