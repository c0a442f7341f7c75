"""``databund completion``: make the shell complete commands and options."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session

__all__ = ["completion"]


def completion(
    shell: Annotated[Literal["bash", "zsh", "fish"], Parameter(help="bash, zsh or fish.")],
    /,
    *,
    options: Options | None = None,
) -> None:
    """Print the completion script of a shell.

    For bash: add ``eval "$(databund completion bash)"`` to ~/.bashrc. For zsh: write the script to a file ``_databund``
    in a folder of ``$fpath``. For fish: write it to ~/.config/fish/completions/databund.fish.
    """
    from databund.cli.parser import build

    script = build().generate_completion(prog_name="databund", shell=shell)
    screen = Session(options).screen
    if screen.json:
        screen.answer({"shell": shell, "script": script}, ())
    else:
        screen.page(script if script.endswith("\n") else script + "\n")
