"""The lock files pin what pyproject.toml asks for, with hashes, and agree with each other."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.house.repository import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
GROUPS = PROJECT["dependency-groups"]
RUN = [*PROJECT["project"]["dependencies"], *GROUPS["build"]]
EXTRAS = [name for extra in PROJECT["project"]["optional-dependencies"].values() for name in extra]


def _pins(lock: str) -> dict[str, set[str]]:
    """Return the pinned versions of each distribution; more than one where Python versions differ."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([^\s;]+)", (ROOT / "requirements" / lock).read_text(), flags=re.M):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


@pytest.mark.parametrize(
    ("lock", "wanted"),
    [("run.txt", RUN), ("dev.txt", [*RUN, *EXTRAS, *GROUPS["dev"]]), ("tools.txt", GROUPS["tools"])],
    ids=["run", "dev", "tools"],
)
def test_what_is_asked_for_is_pinned(lock: str, wanted: Iterable[str]) -> None:
    """Every requirement of pyproject.toml is pinned to a version that it allows; if not, `make lock`."""
    pins = _pins(lock)
    for requirement in map(Requirement, wanted):
        versions = pins.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not in {lock}"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


@pytest.mark.parametrize("lock", ["run.txt", "dev.txt", "tools.txt"])
def test_every_pin_has_a_hash(lock: str) -> None:
    """No pin stands without a SHA-256, so that an installer refuses any other bytes."""
    text = (ROOT / "requirements" / lock).read_text()
    assert all("--hash=sha256:" in pin for pin in re.split(r"^(?=\w)", text, flags=re.M)[1:])


def test_tests_run_on_what_users_run() -> None:
    """The development lock contains the run lock, version for version."""
    run, dev = _pins("run.txt"), _pins("dev.txt")
    assert {name: versions for name, versions in run.items() if dev.get(name) != versions} == {}
