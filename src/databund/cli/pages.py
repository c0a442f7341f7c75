"""The help pages. The first page and those of the topics come from the table alone, so they answer at once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator
from difflib import get_close_matches
from shutil import get_terminal_size

from databund.cli.commands import TOPICS, Command, find, within
from databund.cli.exits import Exit

__all__ = ["choices", "guess", "page"]

_NARROWEST, _WIDEST = 60, 100
_LABELS = 34
Heading = Callable[[str], str]


def page(path: tuple[str, ...], *, heading: Heading = str, width: int | None = None) -> str:
    """The help of a command, of a topic, or of the whole for no words at all; by default as wide as the terminal."""
    width = width or max(_NARROWEST, min(_WIDEST, get_terminal_size((_WIDEST, 24)).columns))
    command = find(path)
    if command is not None:
        lines = _command_page(command, heading, width)
    elif path:
        lines = _topic_page(path[0], heading, width)
    else:
        lines = _first_page(heading, width)
    return "\n".join(lines) + "\n"


def choices(topic: str) -> str:
    """The second words of a topic, to choose from."""
    return ", ".join(command.words[-1] for command in within(topic))


def guess(path: tuple[str, ...], word: str) -> str:
    """What to do about a word that no command has after ``path``."""
    known = [command.words[-1] for command in within(path[0])] if path else [topic.name for topic in TOPICS]
    close = get_close_matches(word, known, n=1)
    if close:
        return f"Did you mean: databund {' '.join((*path, close[0]))}"
    return f"Choose one: {', '.join(known)}." if path else "List the commands: databund --help"


def _first_page(heading: Heading, width: int) -> Iterator[str]:
    yield "databund: publish data, sell licenses to it, deliver it sealed, prove every step."
    yield ""
    yield f"{heading('Usage')}  databund COMMAND [ARGUMENTS] [OPTIONS]"
    for section in dict.fromkeys(topic.section for topic in TOPICS):
        yield ""
        yield heading(section)
        for topic in TOPICS:
            if topic.section == section:
                words = [command.words[-1] for command in within(topic.name) if len(command.words) > 1]
                yield from _row(
                    topic.name, f"{topic.about} ({', '.join(words)})" if words else topic.about, at=14, width=width
                )
    yield ""
    yield heading("First steps")
    yield "  databund demo                        # a whole trade on this machine, in seconds"
    yield "  databund serve                       # a node of your own"
    yield "  databund dataset search cancer       # what is there to license?"
    yield ""
    yield heading("Exit codes")
    for code in Exit:
        yield f"  {code.value:<5}{code.about}"
    yield ""
    yield "More of each: databund COMMAND --help. Every command takes --json, --home, --node, --key and --profile."


def _topic_page(name: str, heading: Heading, width: int) -> Iterator[str]:
    topic = next(topic for topic in TOPICS if topic.name == name)
    yield topic.about
    yield ""
    yield f"{heading('Usage')}  databund {name} COMMAND [ARGUMENTS] [OPTIONS]"
    yield ""
    yield heading("Commands")
    for command in within(name):
        yield from _row(command.words[-1], command.about, at=14, width=width)
    yield from _examples((example for command in within(name) for example in command.examples[:1]), heading)
    yield ""
    yield f"More of each: databund {name} COMMAND --help"


def _command_page(command: Command, heading: Heading, width: int) -> Iterator[str]:
    from databund.cli.parser import ARGUMENTS, explanation, taken

    rows = taken(command)
    yield command.about
    if further := explanation(command):
        yield ""
        for paragraph in further.split("\n\n"):
            yield from textwrap.wrap(paragraph, width)
    arguments = [row.label for row in rows if row.section == ARGUMENTS]
    required = [row.label for row in rows if row.section != ARGUMENTS and row.required]
    yield ""
    yield f"{heading('Usage')}  databund {' '.join((command.name, *arguments, *required, '[OPTIONS]'))}"
    for section in dict.fromkeys(row.section for row in rows):
        yield ""
        yield heading(section)
        at = min(_LABELS, max(len(row.label) for row in rows if row.section == section) + 4)
        for row in rows:
            if row.section == section:
                yield from _row(row.label, row.about, at=at, width=width)
    yield from _examples(command.examples, heading)


def _examples(examples: Iterable[str], heading: Heading) -> Iterator[str]:
    listed = list(examples)
    if listed:
        yield ""
        yield heading("Example" if len(listed) == 1 else "Examples")
        yield from (f"  {example}" for example in listed)


def _row(label: str, about: str, *, at: int, width: int) -> Iterator[str]:
    wrapped = textwrap.wrap(about, width - at) or [""]
    if len(label) + 4 > at:
        yield f"  {label}"
    else:
        yield f"  {label.ljust(at - 2)}{wrapped.pop(0)}".rstrip()
    yield from (" " * at + line for line in wrapped)
