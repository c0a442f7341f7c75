"""``databund config``: settings, and where they come from."""

from __future__ import annotations

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["show"]


def show(*, options: Options | None = None) -> None:
    """Show every setting, its value, and where the value comes from.

    A flag beats the environment, which beats the profile, which beats the default.
    """
    from databund.cli.figures import table
    from databund.config import SETTINGS, config_path

    session = Session(options)
    values, sources = session.settings.values, session.settings.sources
    rows = [
        (setting.name, _shown(values[setting.name]), sources[setting.name], setting.variable) for setting in SETTINGS
    ]
    document = {
        "file": str(config_path()),
        "settings": {
            setting.name: {
                "value": value if isinstance(value := values[setting.name], int | None) else _shown(value),
                "source": sources[setting.name],
                "variable": setting.variable,
            }
            for setting in SETTINGS
        },
    }
    path = config_path()
    where = f"Profiles: {path}" + ("" if path.exists() else " (does not exist)")
    lines = [*table(("SETTING", "VALUE", "FROM", "VARIABLE"), rows, empty=""), "", where]
    session.screen.answer(document, lines)


def _shown(value: object) -> str:
    return "-" if value is None else _without_secrets(str(value))


def _without_secrets(text: str) -> str:
    """A URL with neither user, password nor query; any other text as it is."""
    scheme, found, rest = text.partition("://")
    if not found:
        return text
    rest, query, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    user, at, host = authority.rpartition("@")
    return f"{scheme}://{'…@' if user or at else ''}{host}{slash}{path}{'?…' if query else ''}"
