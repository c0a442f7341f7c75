"""The parser: the table of commands as a cyclopts application, and what each command takes.

Functions are registered by their import strings, so only the one that runs is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from cyclopts import App, Argument, Group, Parameter

from databund.cli.commands import COMMANDS, TOPICS, Command
from databund.cli.options import GLOBAL

__all__ = ["OPTIONS", "Taken", "build", "explanation", "taken"]

ARGUMENTS, OPTIONS = "Arguments", "Options"


@dataclass(frozen=True)
class Taken:
    """One argument or option of a command: its section in the help, how it is typed, and what it does."""

    section: str
    label: str
    about: str
    required: bool


def build() -> App:
    """The application with every command."""
    common: dict[str, Any] = {
        "help_flags": (),
        "version_flags": (),
        "result_action": "return_value",
        "default_parameter": Parameter(negative=()),
    }
    app = App(name="databund", print_error=False, exit_on_error=False, suppress_keyboard_interrupt=False, **common)
    families = {command.words[0] for command in COMMANDS if len(command.words) > 1}
    for topic in TOPICS:
        if topic.name in families:
            app.command(App(name=topic.name, help=topic.about, **common))
    for command in COMMANDS:
        parent = app if len(command.words) == 1 else app[command.words[0]]
        parent.command(
            command.target,
            name=command.words[-1],
            help=command.about,
            default_parameter=common["default_parameter"],
            result_action="return_value",
        )
    return app


def explanation(command: Command) -> str:
    """The further paragraphs of a command's docstring, which the table does not hold."""
    function = _app(command).default_command
    paragraphs = ((function.__doc__ if function else None) or "").split("\n\n")[1:]
    shown = []
    for paragraph in paragraphs:
        if paragraph.strip().startswith("Parameters\n"):
            break
        shown.append(" ".join(paragraph.replace("``", "").split()))
    return "\n\n".join(shown)


def taken(command: Command) -> list[Taken]:
    """What a command takes: arguments first, its own options, then the global ones."""
    found = [_taken(argument) for argument in _arguments(command)]
    sections = list(dict.fromkeys((ARGUMENTS, OPTIONS, *(row.section for row in found if row.section != GLOBAL))))
    return sorted(found, key=lambda row: (*sections, GLOBAL).index(row.section))


def _app(command: Command) -> App:
    app = build()
    for word in command.words:
        app = app[word]
    return app


def _arguments(command: Command) -> list[Argument]:
    app = _app(command)
    shown = [argument for argument in app.assemble_argument_collection() if argument.show]
    if any(
        argument.parameter.help is None for argument in shown
    ):  # then the docstring says it; reading that takes time
        shown = [argument for argument in app.assemble_argument_collection(parse_docstring=True) if argument.show]
    return shown


def _taken(argument: Argument) -> Taken:
    kind = argument.hint
    optional = [part for part in get_args(kind) if part is not type(None)]
    if type(None) in get_args(kind):
        kind = optional[0]
    repeated = get_origin(kind) in (tuple, list)
    item = get_args(kind)[0] if repeated else kind
    value = argument.parameter.metavar or {int: "N", Path: "PATH"}.get(item, "TEXT")
    help_ = " ".join((argument.parameter.help or "").split())
    name = argument.names[0]
    if argument.field_info.is_positional:
        label = name if argument.required else f"[{name}]"
        return Taken(ARGUMENTS, label + ("..." if repeated else ""), help_, argument.required)
    default = argument.field_info.default
    if isinstance(default, int) and not isinstance(default, bool):
        help_ = f"{help_.removesuffix('.')}; by default {default}."
    if repeated:
        help_ = f"{help_.removesuffix('.')}; may be repeated."
    groups = argument.parameter.group
    named = [group.name for group in groups if isinstance(group, Group)] if isinstance(groups, tuple) else []
    group = named[0] if named else OPTIONS
    section = OPTIONS if group == "Parameters" else group
    return Taken(section, name if kind is bool else f"{name} {value}", help_, argument.required)
