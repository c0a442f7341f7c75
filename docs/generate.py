"""Write the reference pages that follow from the code. Run by `make docs`; a test fails when a page is out of date."""

from __future__ import annotations

import inspect
from pathlib import Path

from databund import errors
from databund.cli import pages
from databund.cli.commands import COMMANDS, Command
from databund.cli.exits import Exit, exit_of
from databund.cli.options import GLOBAL
from databund.cli.parser import Taken, explanation, taken
from databund.config import SETTINGS, Setting

REFERENCE = Path(__file__).parent / "reference"
ERRORS_HEAD = """\
# Errors

Everything databund refuses on purpose is one of these. The code is stable: programs may rely on it. Each message says
what happened to which thing, and what to do next. Written by `make docs`.
"""
CLI_HEAD = """\
# The command line

The result of a command is on stdout: lines for people, or with `--json` one JSON document, for errors too. Everything
else, such as progress and errors, is on stderr; bars and colors appear only where a person looks, and never with
`NO_COLOR`. An error names a code of [the list](errors.md), says what happened, and what to do next. Ids are shortened
in tables; six or more digits of one are enough to name a thing. `DATABUND_DEBUG=1` shows the traceback of a defect.
Written by `make docs`.

```text
"""
SETTINGS_HEAD = """\
# Settings

A flag beats the environment, which beats the profile, which beats the default; `databund config show` says what holds
and why. Written by `make docs`.

A profile is a table of the file `config.toml` in your configuration folder (`~/.config/databund` on Linux), or of the
file that `DATABUND_CONFIG` names. `--profile` or `DATABUND_PROFILE` chooses one; without them `[default]` is used.

```toml
[default]
node = "https://data.example.com"

[work]
home = "~/work-keys"
key = "lab"
```

| setting | flag | environment | default | meaning |
|---|---|---|---|---|
"""
SETTINGS_FOOT = """
A key's passphrase is not a setting. It comes from the first of these that there is: the file that `passphrase_file`
names, the variable `DATABUND_PASSPHRASE`, the file `passphrase` in the home, the operating system's keyring, you.
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


def cli_page() -> str:
    """Return the text of docs/reference/cli.md: exit codes, global options, and a section for each command."""
    branches = {exit_of(branch("", fix="")): branch for branch in errors.DatabundError.__subclasses__()}
    rows = [
        f"| {code.value} | {code.about} | {f'`{branches[code].__name__}`' if code in branches else ''} |"
        for code in Exit
    ]
    shared = [row for row in taken(next(c for c in COMMANDS if c.words == ("config", "show"))) if row.section == GLOBAL]
    return "".join(
        (
            CLI_HEAD + pages.page((), width=100).partition("\nExit codes\n")[0],
            "```\n\n## Exit codes\n\n| code | meaning | branch of the errors |\n|---|---|---|\n",
            "\n".join(rows),
            "\n\nA command whose reader goes away, as in `databund offer list | head -1`, ends with 141.\n",
            "\n## Global options\n\nBefore or after the command.\n\n" + _options(shared),
            *map(_command, COMMANDS),
        )
    )


def settings_page() -> str:
    """Return the text of docs/reference/settings.md: one row per setting."""
    return SETTINGS_HEAD + "".join(map(_setting, SETTINGS)) + SETTINGS_FOOT


def _command(command: Command) -> str:
    rows = [row for row in taken(command) if row.section != GLOBAL]
    arguments = "".join(f" {row.label}" for row in rows if row.section == "Arguments")
    parts = [f"\n## databund {command.name}\n\n{command.about}"]
    parts += [explanation(command)] if explanation(command) else []
    parts.append(f"```text\ndatabund {command.name}{arguments} [OPTIONS]\n```")
    parts += [_options(rows).rstrip("\n")] if rows else []
    parts.append("```sh\n" + "\n".join(command.examples) + "\n```")
    return "\n\n".join(parts) + "\n"


def _options(rows: list[Taken]) -> str:
    lines = [f"| `{row.label}` | {row.about} |" for row in rows]
    return "\n".join(("| option | meaning |\n|---|---|", *lines)) + "\n"


def _setting(setting: Setting) -> str:
    default = "your data folder" if callable(setting.default) else f"`{setting.default}`"
    shown = "" if setting.default is None else default
    flag = f"`--{setting.name.replace('_', '-')}`"
    return f"| `{setting.name}` | {flag} | `{setting.variable}` | {shown} | {setting.about} |\n"


def _first_sentences(row: type[errors.DatabundError]) -> str:
    return " ".join((inspect.getdoc(row) or "").split("\n\n")[0].split()).replace("|", r"\|")


if __name__ == "__main__":
    for name, text in (("errors", errors_page()), ("cli", cli_page()), ("settings", settings_page())):
        (REFERENCE / f"{name}.md").write_text(text, encoding="utf-8")
