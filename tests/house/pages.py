"""The code blocks of the documentation, and how to run them.

``python`` blocks of one page run as one program, in order, so that a later block may use an earlier one's names.
``console`` blocks are sessions: a line that starts with ``$ databund`` is run, the lines below it are what it must
print. ``...`` stands for any text, and the program may print more lines than are shown. A command that ends in ``&``
keeps running until the page ends. ``$ NAME=$(databund ...)`` keeps what the command prints for ``$NAME`` in the
commands below. A block whose fence says ``file=NAME`` is a file that lies there before the first command. Other
commands (``$ make demo``) are for the reader and are not run. Every page gets an empty home folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import string
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

COMMAND_TIMEOUT_S = 120.0
DATABUND = (str(Path(sys.executable).parent / "databund"),)
_NAMED = re.compile(r"(?P<name>[A-Z]+)=\$\((?P<text>.+)\)", re.S)
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>[\w-]*)(?P<info>[^\n]*)\n(?P<code>.*?)^(?P=indent)```$", re.S | re.M
)


@dataclass(frozen=True, slots=True)
class Block:
    """One fenced block: its language, its code, and the line of the page on which the code starts."""

    language: str
    code: str
    line: int


@dataclass(frozen=True, slots=True)
class Command:
    """One command of a console block, what the page shows of its output, and the line of the page it stands on."""

    words: tuple[str, ...]
    shown: tuple[str, ...]
    line: int
    name: str | None = None

    @property
    def stays(self) -> bool:
        """Whether the command keeps running while the page goes on."""
        return self.words[-1] == "&"


def blocks(text: str, language: str) -> list[Block]:
    """Return the fenced blocks of this language, in the order of the page."""
    found = []
    for match in _FENCE.finditer(text):
        if match["language"] == language:
            code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.M)
            found.append(Block(language, code, text.count("\n", 0, match.start("code")) + 1))
    return found


def program(text: str) -> str:
    """Return the page's python blocks as one program whose line numbers are those of the page."""
    lines: list[str] = []
    for block in blocks(text, "python"):
        lines += [""] * (block.line - 1 - len(lines)) + block.code.splitlines()
    return "\n".join(lines) + "\n"


def commands(text: str) -> list[Command]:
    """Return the ``$ databund`` commands of the page's console blocks."""
    found = []
    for block in blocks(text, "console"):
        for match in re.finditer(r"^\$ ((?:.*\\\n)*.*)\n?((?:(?!\$ ).*\n)*)", block.code, flags=re.M):
            named = _NAMED.fullmatch(match[1])
            words = tuple(shlex.split((named["text"] if named else match[1]).replace("\\\n", " "), comments=True))
            if words and words[0] == "databund":
                line = block.line + block.code.count("\n", 0, match.start())
                found.append(Command(words, tuple(match[2].splitlines()), line, named["name"] if named else None))
    return found


def run_python(text: str, folder: Path) -> None:
    """Run the page's python blocks in the folder; warnings are errors. Raises AssertionError with the traceback."""
    script = folder / "page.py"
    script.write_text(program(text), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", script.name],
        cwd=folder,
        env=_environment(folder),
        capture_output=True,
        text=True,
        timeout=COMMAND_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def write_files(text: str, folder: Path) -> None:
    """Write the page's blocks that say they are files into the folder."""
    for match in _FENCE.finditer(text):
        if named := re.search(r"\bfile=([\w.-]+)", match["info"]):
            (folder / named[1]).write_text(match["code"], encoding="utf-8")


def run_console(text: str, folder: Path, databund: Sequence[str] = DATABUND) -> None:
    """Run the page's ``$ databund`` commands in the folder. Raises AssertionError where the output is not as shown."""
    write_files(text, folder)
    kept: dict[str, str] = {}
    with contextlib.ExitStack() as running:
        for command in commands(text):
            given = (string.Template(word).safe_substitute(kept) for word in command.words[1:] if word != "&")
            process, output = running.enter_context(_started([*databund, *given], folder))
            _run_command(command, process, output)
            if command.name:
                kept[command.name] = output().strip()


def _run_command(command: Command, process: subprocess.Popen[bytes], output: Callable[[], str]) -> None:
    end = time.monotonic() + COMMAND_TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        if command.stays and missing(command.shown, output()) is None:
            break
        time.sleep(0.02)
    ended_well = process.poll() is None if command.stays else process.poll() == 0
    lacks = missing(command.shown, output())
    assert ended_well, f"line {command.line}: {shlex.join(command.words)} ended badly:\n{output()}"
    assert not lacks, f"line {command.line}: {shlex.join(command.words)} did not print {lacks!r}:\n{output()}"


def missing(shown: Sequence[str], output: str) -> str | None:
    """Return the first shown line that the output lacks, in order; blanks at the edges and colors do not count."""
    lines = iter(re.sub(r"\x1b\[[0-9;]*m", "", output).splitlines())
    for expected in (line.strip() for line in shown):
        pattern = ".*".join(re.escape(part) for part in expected.split("..."))
        if expected and not any(re.fullmatch(pattern, line.strip()) for line in lines):
            return expected
    return None


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABUND_", "XDG_"))}
    settled = {"HOME": str(folder), "NO_COLOR": "1", "COLUMNS": "120"}
    return {**kept, **settled, "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}


@contextlib.contextmanager
def _started(words: list[str], folder: Path) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], str]]]:
    """Start a command whose output can be read while it runs; end it, if it has not ended, when the page ends."""
    log = folder / f"output-{time.monotonic_ns()}"
    with log.open("wb") as sink:
        process = subprocess.Popen(
            words,
            cwd=folder,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process, lambda: log.read_text(encoding="utf-8", errors="replace")
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
