"""Witnesses for tests: `databund witness serve` in a process of its own, on a free loopback port."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from databund.sdk.log_keys import verifier
from databund.tlog.notes import Verifier, VerifierKey

START_S = 60


@dataclass(frozen=True)
class WitnessProcess:
    """A running witness: its process, its URL and its keys."""

    process: subprocess.Popen[str]
    url: str
    vkeys: tuple[VerifierKey, ...]

    @property
    def verifiers(self) -> list[Verifier]:
        """What checks its cosignatures."""
        return [verifier(key) for key in self.vkeys]

    def add(self, body: bytes) -> httpx.Response:
        """POST a request to cosign a checkpoint."""
        return httpx.post(f"{self.url}/add-checkpoint", content=body, timeout=30, trust_env=False)

    def get(self, path: str) -> httpx.Response:
        """GET a path."""
        return httpx.get(f"{self.url}{path}", timeout=30, trust_env=False)

    def kill(self) -> None:
        """End it by SIGKILL, and wait until it is gone."""
        self.process.kill()
        self.process.wait(START_S)


def command(home: Path, *words: str) -> subprocess.Popen[str]:
    """Start a command of ``databund witness`` on this home, without any setting of the person who runs the tests."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DATABUND_", "XDG_"))}
    settings = {"HOME": str(home.parent), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    with (home.parent / f"{home.name}.log").open("a") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "databund", "witness", *words, "--home", str(home), "--json"],
            env={**kept, **settings},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )


def answer(process: subprocess.Popen[str]) -> tuple[int, Any]:
    """The exit code of a command that ends, and its JSON."""
    printed, _ = process.communicate(timeout=START_S)
    return process.returncode, json.loads(printed)


@contextlib.contextmanager
def witness_process(home: Path, *options: str) -> Iterator[WitnessProcess]:
    """Run a witness on this home; it is stopped, and its exit code checked unless it was killed."""
    process = command(home, "serve", "--port", "0", *options)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (home.parent / f"{home.name}.log").read_text()
        ready = json.loads(line)
        yield WitnessProcess(process, ready["url"], tuple(map(VerifierKey.parse, ready["vkeys"])))
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(START_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(START_S)
        assert process.stdout is not None
        process.stdout.close()
    assert process.returncode in (0, -signal.SIGKILL)
