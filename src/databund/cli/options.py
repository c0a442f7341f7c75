"""The options that every command takes; each is a setting, or says how to answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from databund.config import SETTINGS, Settings, load

__all__ = ["GLOBAL", "Common", "Options", "about"]

GLOBAL = "Global options"


def about(name: str) -> str:
    """What the setting of this name is for, and what it is when nobody sets it."""
    setting = next(setting for setting in SETTINGS if setting.name == name)
    return (
        setting.about
        if callable(setting.default) or setting.default is None
        else (f"{setting.about.removesuffix('.')}; by default {setting.default}.")
    )


@Parameter(name="*", group=GLOBAL)
@dataclass(frozen=True, kw_only=True)
class Common:
    """What was given of the options that every command takes."""

    home: Annotated[Path | None, Parameter(help=about("home"), metavar="DIR")] = None
    node: Annotated[str | None, Parameter(help=about("node"), metavar="URL")] = None
    passphrase_file: Annotated[Path | None, Parameter(help=about("passphrase_file"), metavar="FILE")] = None
    profile: Annotated[str | None, Parameter(help="The table of the configuration file to use.", metavar="NAME")] = None
    json: Annotated[bool, Parameter(help="Answer with one JSON document.")] = False


@Parameter(name="*", group=GLOBAL)
@dataclass(frozen=True, kw_only=True)
class Options(Common):
    """What was given of the global options."""

    key: Annotated[str | None, Parameter(help=about("key"), metavar="NAME")] = None

    def settings(self, flags: Mapping[str, Any] | None = None) -> Settings:
        """Every setting: ``flags`` and these options first, then environment, profile and default."""
        given = {"home": self.home, "node": self.node, "key": self.key, "passphrase_file": self.passphrase_file}
        return load({**given, **(flags or {})}, profile=self.profile)
