"""Settings: what can be set, where a value came from, and the order that decides.

A flag beats the environment, which beats the profile, which beats the default. Profiles are tables of one TOML file;
every setting is a row of `SETTINGS`, so the command line, the documentation and ``config show`` cannot disagree.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from databund.errors import ConfigInvalid

__all__ = ["SETTINGS", "Setting", "Settings", "Source", "config_path", "load"]

Source = str
"""Where a value came from: ``flag``, ``environment``, ``profile`` or ``default``."""


@dataclass(frozen=True)
class Setting:
    """One setting: its name, what its text is read as, its default, and what it does."""

    name: str
    read: Callable[[str], Any]
    default: Any
    about: str

    @property
    def variable(self) -> str:
        """The environment variable."""
        return f"DATABUND_{self.name.upper()}"


def _text(value: str) -> str:
    if not value.strip():
        raise ValueError("it is empty")
    return value


def _path(value: str) -> Path:
    try:
        return Path(_text(value)).expanduser()
    except RuntimeError as error:
        raise ValueError("nobody of that name has a home") from error


def _port(value: str) -> int:
    if not value.isdecimal() or int(value) >= 65536:
        raise ValueError("a port is 0 to 65535")
    return int(value)


def _finality(value: str) -> str | int:
    if value in ("immediate", "finalized"):
        return value
    if not value.isdecimal() or int(value) > 10_000:
        raise ValueError("it is immediate, finalized, or a number of blocks")
    return int(value)


def _count(value: str) -> int:
    if not value.isdecimal() or len(value) > 30:
        raise ValueError("it is a whole number, 0 or more")
    return int(value)


def _basis_points(value: str) -> int:
    if not value.isdecimal() or int(value) > 3000:
        raise ValueError("a fee is 0 to 3000 basis points")
    return int(value)


def _default_home() -> Path:
    from platformdirs import user_data_path

    return user_data_path("databund")


SETTINGS: tuple[Setting, ...] = (
    Setting("home", _path, _default_home, "The folder with keys, downloads, and all that a node stores."),
    Setting("node", _text, "http://127.0.0.1:8750", "The URL of the node to talk to."),
    Setting("key", _text, "default", "The name of the key to sign with."),
    Setting("passphrase_file", _path, None, "A file whose first line unlocks the keys."),
    Setting("host", _text, "127.0.0.1", "The address that a node listens on."),
    Setting("port", _port, 8750, "The port that a node listens on; 0 takes a free one."),
    Setting("public_url", _text, None, "Where clients reach the node; by default where it listens."),
    Setting("database", _text, None, "The node's database URL; by default SQLite in the home."),
    Setting("objects", _text, None, "Where sealed blobs lie (a folder or s3://bucket/prefix); by default in the home."),
    Setting("chain", _text, None, "The JSON-RPC URL of the chain; by default the embedded one."),
    Setting(
        "finality",
        _finality,
        None,
        "When a block of the chain counts: immediate, finalized, or a number of blocks on top. "
        "By default finalized where the network knows it, else 64.",
    ),
    Setting(
        "heads",
        _text,
        None,
        "Where the newest signed checkpoint lies, apart from the database (a folder or s3://bucket/prefix); by default "
        "in the home. Nodes that could sign for the same log share it.",
    ),
    Setting("origin", _text, None, "The name of the audit log; by default made from the operator's account."),
    Setting(
        "witness_policy",
        _path,
        None,
        "A file that names the log's witnesses and how many have to cosign (C2SP tlog-policy); by default none do.",
    ),
    Setting("anchor_period", _count, 3600, "The seconds between two anchors of the log on the chain; 0 for none."),
    Setting(
        "anchor_max_cost",
        _count,
        0,
        "What one anchor may cost at most, in wei; by default nothing, so that only chains without fees are used.",
    ),
    Setting("fee", _basis_points, 100, "The exchange's share of every sale, in basis points."),
)


@dataclass(frozen=True)
class Settings:
    """The value of every setting, and where it came from."""

    values: Mapping[str, Any]
    sources: Mapping[str, Source]

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


def config_path(environment: Mapping[str, str] = os.environ) -> Path:
    """The file with the profiles: ``DATABUND_CONFIG``, or ``config.toml`` in the user's configuration folder.

    Raises `ConfigInvalid`.
    """
    if named := environment.get("DATABUND_CONFIG"):
        try:
            return _path(named)
        except ValueError as error:
            raise ConfigInvalid(
                f"DATABUND_CONFIG cannot be {named!r}: {error}.", fix="Name the file with your profiles."
            ) from error
    from platformdirs import user_config_path

    return user_config_path("databund") / "config.toml"


def load(
    flags: Mapping[str, Any], *, profile: str | None = None, environment: Mapping[str, str] = os.environ
) -> Settings:
    """Decide every setting. ``flags`` of None count as not given. Raises `ConfigInvalid`."""
    profile = profile or environment.get("DATABUND_PROFILE")
    chosen = _profile(config_path(environment), profile)
    values: dict[str, Any] = {}
    sources: dict[str, Source] = {}
    for setting in SETTINGS:
        for source, given in (
            ("flag", flags.get(setting.name)),
            ("environment", environment.get(setting.variable)),
            ("profile", chosen.get(setting.name)),
        ):
            if given is not None:
                values[setting.name] = _read(setting, str(given), source)
                sources[setting.name] = source
                break
        else:
            values[setting.name] = setting.default() if callable(setting.default) else setting.default
            sources[setting.name] = "default"
    return Settings(values, sources)


def _read(setting: Setting, given: str, source: Source) -> Any:
    try:
        return setting.read(given)
    except ValueError as error:
        raise ConfigInvalid(
            f"The setting {setting.name} from the {source} cannot be {given!r}: {error}.",
            fix=f"{setting.about} Set it with --{setting.name.replace('_', '-')} or {setting.variable}.",
        ) from error


def _profile(path: Path, name: str | None) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        tables = {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigInvalid(f"{path} cannot be read: {error}.", fix="Correct the file, or remove it.") from error
    if name is None:
        name = "default"
    elif name not in tables:
        raise ConfigInvalid(
            f"There is no profile {name!r} in {path}.",
            fix=f"Add a table [{name}] there" + (f", or choose one of: {', '.join(tables)}." if tables else "."),
        )
    chosen = tables.get(name, {})
    if not isinstance(chosen, dict):
        raise ConfigInvalid(f"{name!r} in {path} is not a table.", fix=f"Write [{name}] and settings below it.")
    known = {setting.name for setting in SETTINGS}
    unknown = sorted(chosen.keys() - known)
    if unknown:
        raise ConfigInvalid(
            f"The profile {name!r} has no such setting: {', '.join(unknown)}.",
            fix=f"Use: {', '.join(sorted(known))}.",
        )
    return chosen
