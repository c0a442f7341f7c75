"""The reference pages of commands and settings are what the code says."""

from __future__ import annotations

import re

from databund.cli.commands import COMMANDS, TOPICS
from databund.cli.exits import Exit
from databund.cli.parser import taken
from databund.config import SETTINGS
from docs import generate
from tests.house.repository import ROOT

REFERENCE = ROOT / "docs" / "reference"


def test_the_page_of_commands_is_current() -> None:
    """docs/reference/cli.md is what the code says; `make docs` writes it anew."""
    assert (REFERENCE / "cli.md").read_text() == generate.cli_page()


def test_the_page_of_settings_is_current() -> None:
    """docs/reference/settings.md is what the code says; `make docs` writes it anew."""
    assert (REFERENCE / "settings.md").read_text() == generate.settings_page()


def test_every_command_and_exit_code_is_documented() -> None:
    """The page has a section for each command and a row for each exit code."""
    page = (REFERENCE / "cli.md").read_text()

    assert re.findall(r"^## databund (.+)$", page, flags=re.M) == [command.name for command in COMMANDS]
    assert re.findall(r"^\| (\d+) \|", page, flags=re.M) == [str(code.value) for code in Exit]


def test_every_option_is_documented() -> None:
    """Each argument and option of a command stands in the command's section, or among the global ones."""
    page = (REFERENCE / "cli.md").read_text()
    shared = page.partition("## Global options")[2].partition("\n## ")[0]
    for command in COMMANDS:
        section = page.partition(f"\n## databund {command.name}\n")[2].partition("\n## ")[0]
        assert [row.label for row in taken(command) if f"`{row.label}`" not in section + shared] == []


def test_every_setting_is_a_flag() -> None:
    """What can be set in the environment can be set by a flag of `serve`, which takes all of them."""
    serve = next(command for command in COMMANDS if command.words == ("serve",))
    flags = {row.label.partition(" ")[0] for row in taken(serve)}

    assert [setting.name for setting in SETTINGS if f"--{setting.name.replace('_', '-')}" not in flags] == []


def test_every_topic_has_a_command() -> None:
    """Each first word leads somewhere, and each command begins with one."""
    assert {topic.name for topic in TOPICS} == {command.words[0] for command in COMMANDS}
