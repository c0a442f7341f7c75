"""The frame of the command line: words, exit codes, JSON, help, errors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from databund import cli, errors
from databund.cli import commands, pages, program
from databund.cli.exits import Exit, exit_of
from databund.cli.parser import build, taken

HEAVY = ("duckdb", "eth", "granian", "keyring", "litestar", "sqlalchemy", "web3")
FIRST_PAGE = """
import sys
from databund.cli.program import run
run([])
print({*sys.modules} & {'cyclopts', 'rich', 'msgspec'}, file=sys.stderr)
"""
LIGHT_HELP = """
import sys
from databund.cli.program import run
for words in {words}:
    assert run([*words, "--help"]) == 0
print(sorted({{name.partition(".")[0] for name in sys.modules}} & {heavy}), file=sys.stderr)
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the person who runs the tests counts."""
    monkeypatch.setenv("DATABUND_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("DATABUND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.delenv("DATABUND_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)


def raising(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every command raise this instead of running."""

    def fail(*_words: object) -> int:
        raise error

    monkeypatch.setattr(program, "_dispatch", fail)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.AmountInvalid, 2),
        (errors.KeyLocked, 3),
        (errors.NotFound, 4),
        (errors.HomeInUse, 5),
        (errors.SealBroken, 6),
        (errors.NodeUnreachable, 7),
        (errors.DatabundError, 1),
    ],
)
def test_the_branch_decides_the_exit_code(error: type[errors.DatabundError], code: int) -> None:
    """Each branch of the error tree has its exit code; an error of no branch is a defect somewhere."""
    assert exit_of(error("It failed.", fix="Mend it.")) == code


def test_every_branch_has_an_exit_code_of_its_own() -> None:
    """No two branches share an exit code, and none of them is that of a defect."""
    branches = errors.DatabundError.__subclasses__()

    codes = {exit_of(branch("", fix="")) for branch in branches}

    assert len(codes) == len(branches)
    assert codes.isdisjoint({Exit.OK, Exit.DEFECT, Exit.INTERRUPTED})


def test_an_error_says_what_and_how_to_mend_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An error prints what happened, its code and the fix on stderr, and nothing on stdout."""
    raising(errors.OfferExpired("The offer ended.", fix="Take another."), monkeypatch)

    assert cli.program.run(["offer", "list"]) == Exit.REFUSED

    told = capsys.readouterr()
    assert told.err == "✗ The offer ended.  [offer.expired]\n  fix: Take another.\n"
    assert told.out == ""


def test_an_error_is_one_json_document(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """With --json an error is one document on stdout, and stderr stays empty."""
    raising(errors.OfferExpired("The offer ended.", fix="Take another."), monkeypatch)

    assert program.run(["offer", "list", "--json"]) == Exit.REFUSED

    told = capsys.readouterr()
    expected = {"error": {"code": "offer.expired", "what": "The offer ended.", "fix": "Take another."}}
    assert json.loads(told.out) == expected
    assert told.err == ""


def test_a_defect_shows_no_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A defect is one line with what to report, and exit code 1."""
    raising(ZeroDivisionError("division by zero"), monkeypatch)

    assert program.run(["offer", "list"]) == Exit.DEFECT

    told = capsys.readouterr().err
    assert "ZeroDivisionError: division by zero" in told
    assert "DATABUND_DEBUG=1" in told
    assert "Traceback" not in told


def test_a_defect_shows_its_traceback_when_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """With DATABUND_DEBUG=1 a defect is not caught."""
    raising(ZeroDivisionError("division by zero"), monkeypatch)
    monkeypatch.setenv("DATABUND_DEBUG", "1")

    with pytest.raises(ZeroDivisionError):
        program.run(["offer", "list"])


def test_an_interrupt_says_how_to_continue(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Ctrl-C ends a command with 130 and says what running it again does."""
    raising(KeyboardInterrupt(), monkeypatch)

    assert program.run(["dataset", "download", "x"]) == Exit.INTERRUPTED
    assert "continues at the byte where it stopped" in capsys.readouterr().err


def test_a_reader_that_goes_away_is_no_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A closed pipe ends a command quietly, with the code that shells use for it."""
    raising(BrokenPipeError(), monkeypatch)
    monkeypatch.setattr(program.os, "dup2", lambda *_numbers: None)

    assert program.run(["offer", "list"]) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "what", "fix"),
    [
        (["offre"], "no command databund offre", "databund offer"),
        (["dataset", "downlod"], "no command databund dataset downlod", "databund dataset download"),
        (["dataset"], "needs a further word", "publish, list, search, show, download"),
        (["license", "buy"], "requires an argument", "databund license buy --help"),
        (["license", "buy", "x", "--unit", "3"], "--unit", "databund license buy --help"),
        (["license", "buy", "x", "--units", "many"], "many", "databund license buy --help"),
        (["license", "list", "extra"], "extra", "databund license list --help"),
    ],
)
def test_wrong_words_are_answered_with_the_right_ones(
    words: list[str], what: str, fix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word, option or value that cannot be used ends with 2 and says what can."""
    assert program.run(words) == Exit.INVALID_INPUT

    first, second = capsys.readouterr().err.splitlines()
    assert what in first
    assert fix in second


def test_global_options_stand_before_or_after(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """``--home x key list`` is ``key list --home x``."""
    answers = []
    for words in (["--home", str(tmp_path / "a"), "--json", "key", "list"], ["key", "list", "--json"]):
        assert program.run(words) == Exit.OK
        answers.append(json.loads(capsys.readouterr().out))

    assert answers == [[], []]
    assert (tmp_path / "a").exists()


def test_help_loads_nothing_heavy() -> None:
    """The help of every command, and of the whole, imports no engine, chain, server or keyring."""
    words = [[], *({command.words[:1] for command in commands.COMMANDS}), *(c.words for c in commands.COMMANDS)]
    script = LIGHT_HELP.format(words=[list(each) for each in words], heavy=set(HEAVY))

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)

    assert done.stderr.strip() == "[]"


def test_the_first_help_page_loads_no_library() -> None:
    """`databund --help` needs nothing but the standard library."""
    done = subprocess.run([sys.executable, "-c", FIRST_PAGE], capture_output=True, text=True, timeout=60, check=True)

    assert done.stderr.strip() == "set()"


def test_help_names_every_command_and_exit_code() -> None:
    """The first page leads to every topic, a topic's page to its commands, and exit codes are explained."""
    first = pages.page(())
    for topic in commands.TOPICS:
        assert f"\n  {topic.name} " in first
    for command in commands.COMMANDS:
        assert command.words[-1] in pages.page(command.words[:1])
    for code in Exit:
        assert f"\n  {code.value:<5}{code.about}" in first


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.name)
def test_a_command_explains_itself(command: commands.Command) -> None:
    """Every command's help has examples that begin with it, and says what each argument and option is for."""
    assert all(row.about for row in taken(command))
    assert any(f"databund {command.name}" in example for example in command.examples)
    assert command.about in pages.page(command.words)


@pytest.mark.parametrize("command", commands.COMMANDS, ids=lambda command: command.name)
def test_examples_can_be_parsed(command: commands.Command) -> None:
    """Every example of the help is accepted as it stands."""
    import shlex

    for example in command.examples:
        words = shlex.split(example.partition(" > ")[0].removeprefix('eval "$(').removesuffix(')"'))
        function, _, _ = build().parse_args(words[1:], exit_on_error=False, print_error=False)
        assert function.__module__ == command.target.partition(":")[0]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_the_commands(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The completion script of each shell names commands and options."""
    assert program.run(["completion", shell]) == Exit.OK

    script = capsys.readouterr().out
    for word in ("dataset", "publish", "max-price"):
        assert word in script


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """`databund --version` prints the version, as JSON too."""
    assert program.run(["--version"]) == program.run(["--version", "--json"]) == Exit.OK

    line, document = capsys.readouterr().out.splitlines()
    assert line == f"databund {json.loads(document)['version']}"


def test_there_is_one_way_out(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The program's entry ends the process with the command's exit code."""
    monkeypatch.setattr(sys, "argv", ["databund", "nothing"])

    with pytest.raises(SystemExit) as left:
        cli.main()

    assert left.value.code == Exit.INVALID_INPUT
    assert "no command" in capsys.readouterr().err
