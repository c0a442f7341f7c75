"""The command line. A command's result is on stdout, everything else on stderr, and the exit code says how it went."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run the command that the process was started with, and end the process with its exit code."""
    import sys

    try:
        from databund.cli.program import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # before the program was there to say more
        code = 130
    sys.exit(code)
