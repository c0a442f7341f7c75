"""What the tests of the house look at: the project's root, its files, its pages."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


@cache
def files() -> tuple[Path, ...]:
    """Return every file of the project: what git tracks or would track; without git, all but made folders."""
    if shutil.which("git") and (ROOT / ".git").exists():
        listing = subprocess.run(
            ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        found = (ROOT / name for name in listing.stdout.split("\0") if name)
    else:
        found = (path for path in ROOT.rglob("*") if not _made(path.relative_to(ROOT)))
    return tuple(sorted(path for path in found if path.is_file()))


def texts() -> list[tuple[str, str]]:
    """Return (path below the root, text) of every file that is text."""
    found = []
    for path in files():
        content = path.read_bytes()
        if b"\0" not in content:
            found.append((str(path.relative_to(ROOT)), content.decode("utf-8", errors="replace")))
    return found


def _made(path: Path) -> bool:
    made = {"node_modules", "out", "cache", "broadcast", "__pycache__", "build", "dist", "demo-home"}
    return any(part in made or (part.startswith(".") and part != ".ci" and len(part) > 3) for part in path.parts[:-1])
