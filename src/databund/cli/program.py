"""The program: from words to an exit code. Here, and only here, every error becomes a message and a number."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress

from databund import __version__
from databund.cli import pages
from databund.cli.commands import AGAIN, TOPICS, find
from databund.cli.exits import Exit, exit_of
from databund.cli.screen import Screen
from databund.errors import DatabundError, InvalidInput

__all__ = ["run"]

_HELP = ("--help", "-h")
_TAKE_A_VALUE = ("--home", "--node", "--key", "--passphrase-file", "--profile")
_READER_GONE = 141  # what a shell reports when the reader of a pipe went away


def run(argv: Sequence[str]) -> int:
    """Run one command and return its exit code; nothing but this writes messages about errors."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without our letters shows question marks
    words = _command_first(list(argv))
    options = words[: words.index("--")] if "--" in words else words
    screen = Screen(json="--json" in options)
    try:
        code = _run(words, options, screen)
        sys.stdout.flush()
    except DatabundError as error:
        code = exit_of(error)
        screen.fail(code=error.code, what=error.what, fix=error.fix)
    except KeyboardInterrupt:
        code = Exit.INTERRUPTED
        command = find(_path(words))
        if sys.stderr.isatty():
            screen.note("")  # what was interrupted may have left a prompt on the line
        screen.fail(code="interrupted", what="Interrupted.", fix=AGAIN if command is None else command.again)
    except BrokenPipeError:
        # Nobody reads any more; the interpreter must not complain about it at exit either.
        with suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return _READER_GONE
    except Exception as error:
        if os.environ.get("DATABUND_DEBUG"):
            raise
        code = Exit.DEFECT
        screen.fail(
            code="error",
            what=f"A defect in databund {__version__}: {type(error).__name__}: {error}",
            fix="Run it again with DATABUND_DEBUG=1, and report the command and what it prints to the project.",
        )
    return code


def _run(words: list[str], options: list[str], screen: Screen) -> int:
    if "--version" in options[:1]:
        screen.answer({"version": __version__}, [f"databund {__version__}"])
        return Exit.OK
    if not words or any(flag in options for flag in _HELP):
        screen.page(pages.page(_path(words), heading=screen.heading))
        return Exit.OK
    path = _path(words)
    if find(path) is None:
        raise _no_command(words, path)
    return _dispatch(words, path)


def _no_command(words: list[str], path: tuple[str, ...]) -> InvalidInput:
    wrong = next((word for word in words[len(path) :] if not word.startswith("-")), None)
    if path and wrong is None:
        return InvalidInput(f"databund {path[0]} needs a further word.", fix=f"Choose one: {pages.choices(path[0])}.")
    named = " ".join(("databund", *path, wrong or words[0]))
    return InvalidInput(f"There is no command {named}.", fix=pages.guess(path, wrong or words[0]))


def _dispatch(words: list[str], path: tuple[str, ...]) -> int:
    from cyclopts import CycloptsError

    from databund.cli.parser import build

    try:
        code = build()(words)
    except CycloptsError as error:
        raise InvalidInput(str(error), fix=f"See: databund {' '.join((*path, '--help'))}") from None
    return code if isinstance(code, int) else Exit.OK


def _path(words: Sequence[str]) -> tuple[str, ...]:
    """The longest beginning that is a command or a topic."""
    two = tuple(words[:2])
    if find(two) is not None:
        return two
    return tuple(words[:1]) if words and words[0] in {topic.name for topic in TOPICS} else ()


def _command_first(words: list[str]) -> list[str]:
    """Move global options that stand before the command behind it: ``--home x key list`` is ``key list --home x``."""
    ahead = 0
    while ahead < len(words) and words[ahead].startswith("--") and words[ahead] not in ("--", "--help", "--version"):
        ahead += 2 if words[ahead] in _TAKE_A_VALUE else 1
    moved, rest = words[:ahead], words[ahead:]
    if not rest or not moved:
        return rest or moved
    end = rest.index("--") if "--" in rest else len(rest)
    return [*rest[:end], *moved, *rest[end:]]
