"""SIGKILL of the node or the client at any moment of the six steps."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_sigkill_of_the_node_or_the_client_at_any_moment() -> None:
    """After every kill the same commands go on: nothing acknowledged is lost, nobody pays twice, the log verifies."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "crash", "--quick", "--json"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["rounds"] > 5
    assert figures["violations"] == 0, figures
