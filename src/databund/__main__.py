"""``python -m databund`` is the command ``databund``."""

from __future__ import annotations

from databund.cli import main

if __name__ == "__main__":
    main()
