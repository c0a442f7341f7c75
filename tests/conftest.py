"""Parts of the outside world that some tests need, and what happens where a part is missing.

A test says what it needs by a marker (``@pytest.mark.postgres``) or by asking for a fixture of that part. Where the
part is missing the test is skipped, with what to install as the reason. Where ``DATABUND_REQUIRE`` names the part
(``DATABUND_REQUIRE=anvil,postgres``, or ``all``) the test fails instead, so that CI cannot pass by skipping.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests import servers

_FIXTURES = {
    "anvil": ("anvil_url", "start_anvil"),
    "postgres": ("postgres_server", "postgres_url", "fresh_postgres_url"),
    "s3": ("s3_server", "s3_url"),
}


def _lacks_foundry(name: str) -> str | None:
    if servers.foundry_program(name):
        return None
    return f"{name} is missing; with Node.js installed: make contracts"


def _lacks_age() -> str | None:
    return None if shutil.which("age") else "the age command is missing; on Debian: apt install age"


def _lacks_anvil() -> str | None:
    return _lacks_foundry("anvil")


def _lacks_forge() -> str | None:
    if not shutil.which("node"):
        return "Node.js is missing; on Debian: apt install nodejs npm"
    return _lacks_foundry("forge")


def _lacks_openssl() -> str | None:
    return None if shutil.which("openssl") else "the openssl command is missing; on Debian: apt install openssl"


def _lacks_postgres() -> str | None:
    if not (servers.postgres_program("initdb") and servers.postgres_program("postgres")):
        return "PostgreSQL is missing; on Debian: apt install postgresql"
    return None if importlib.util.find_spec("psycopg") else "psycopg is missing; run: make .venv/dev"


def _lacks_s3() -> str | None:
    return None if importlib.util.find_spec("moto") else "moto is missing; run: make .venv/dev"


def _lacks_sigstore() -> str | None:
    if not shutil.which("node"):
        return "Node.js is missing; on Debian: apt install nodejs npm"
    found = (servers.NODE_MODULES / "@sigstore/verify").is_dir()
    return None if found else "@sigstore/verify is missing; with Node.js installed: make contracts"


_LACKS: dict[str, Callable[[], str | None]] = {
    "age": _lacks_age,
    "anvil": _lacks_anvil,
    "forge": _lacks_forge,
    "openssl": _lacks_openssl,
    "postgres": _lacks_postgres,
    "s3": _lacks_s3,
    "sigstore": _lacks_sigstore,
}


def _required_parts() -> frozenset[str]:
    named = {part.strip() for part in os.environ.get("DATABUND_REQUIRE", "").split(",")} - {""}
    unknown = named - _LACKS.keys() - {"all"}
    if unknown:
        raise pytest.UsageError(
            f"DATABUND_REQUIRE names {', '.join(sorted(unknown))}; known are all, {', '.join(_LACKS)}."
        )
    return frozenset(_LACKS) if "all" in named else frozenset(named)


def _need(part: str) -> None:
    """Skip the running test, visibly, where the part is missing; fail it where the part is required."""
    lack = _LACKS[part]()
    if lack is None:
        return
    if part in _required_parts():
        pytest.fail(f"{lack} (DATABUND_REQUIRE names {part})", pytrace=False)
    pytest.skip(lack)


def pytest_configure() -> None:
    """Refuse a misspelt ``DATABUND_REQUIRE`` before any test runs."""
    _required_parts()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give each test that asks for a part's fixture that part's marker, so that ``-m`` selects it."""
    for item in items:
        for part, fixtures in _FIXTURES.items():
            if set(fixtures) & set(getattr(item, "fixturenames", ())):
                item.add_marker(part)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Look for every part that the test's markers name."""
    for part in _LACKS:
        if item.get_closest_marker(part):
            _need(part)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL server, as the SQLAlchemy URL of its maintenance database."""
    _need("postgres")
    with servers.postgres() as url:
        yield url


@pytest.fixture(scope="session")
def postgres_url(postgres_server: str) -> Iterator[str]:
    """One PostgreSQL database for the whole run; tests that share it clean up after themselves."""
    with servers.postgres_database(postgres_server, "shared") as url:
        yield url


@pytest.fixture
def fresh_postgres_url(postgres_server: str, _names: Iterator[str]) -> Iterator[str]:
    """An empty PostgreSQL database of the test's own."""
    with servers.postgres_database(postgres_server, next(_names)) as url:
        yield url


@pytest.fixture(scope="session")
def _names() -> Iterator[str]:
    return (f"test_{number}" for number in itertools.count())


@pytest.fixture(scope="session")
def anvil_url() -> Iterator[str]:
    """One anvil node (chain id 31337, a block per chain transaction) for the whole run."""
    _need("anvil")
    with servers.anvil() as url:
        yield url


@pytest.fixture
def start_anvil() -> Iterator[Callable[..., str]]:
    """Start an anvil of the test's own, ``start_anvil("--chain-id", "7")``; each is stopped after the test."""
    _need("anvil")
    with contextlib.ExitStack() as running:
        yield lambda *arguments: running.enter_context(servers.anvil(*arguments))


@pytest.fixture(scope="session")
def s3_server() -> Iterator[servers.S3Server]:
    """A private S3 server with one bucket: ``endpoint``, ``bucket``, ``url``, ``environment``."""
    _need("s3")
    with servers.s3() as server:
        yield server


@pytest.fixture
def s3_url(s3_server: servers.S3Server, _names: Iterator[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty prefix of the S3 bucket as ``s3://bucket/prefix``, with the environment that leads clients to it."""
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    return f"{s3_server.url}/{next(_names)}"
