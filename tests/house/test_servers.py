"""The servers that tests start answer, belong to this run, and are gone afterwards."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import obstore
import psycopg
import pytest
from obstore.store import from_url

from tests import servers


def _chain_id(url: str) -> int:
    call = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}
    return int(httpx.post(url, json=call, trust_env=False).json()["result"], 16)


def test_a_fresh_database_is_empty(fresh_postgres_url: str) -> None:
    """Each test that asks for a fresh database gets one without tables, over a Unix socket."""
    with psycopg.connect(fresh_postgres_url.replace("+psycopg", "")) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
    assert tables == []


@pytest.mark.postgres
def test_postgres_leaves_nothing() -> None:
    """When its block ends, the PostgreSQL server has stopped and its folder is gone."""
    with servers.postgres() as url:
        folder = Path(parse_qs(urlsplit(url).query)["host"][0])
        leader = int((folder / "data" / "postmaster.pid").read_text().splitlines()[0])
    assert not folder.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(leader, 0)


def test_anvil_answers(anvil_url: str) -> None:
    """The shared anvil node answers JSON-RPC with its usual chain id."""
    assert _chain_id(anvil_url) == 31337


def test_anvil_takes_arguments(start_anvil: Callable[..., str]) -> None:
    """A test may start several nodes of its own with its own arguments."""
    first, second = start_anvil("--chain-id", "7"), start_anvil("--chain-id", "8")
    assert (_chain_id(first), _chain_id(second)) == (7, 8)


def test_s3_keeps_an_object(s3_url: str) -> None:
    """A stock client finds the S3 server through the environment and gets back what it put."""
    store = from_url(s3_url)
    obstore.put(store, "a/b", b"payload")
    assert bytes(obstore.get_range(store, "a/b", start=3, end=7)) == b"load"


def test_s3_prefixes_do_not_mix(s3_url: str) -> None:
    """Another test's objects are not seen under this test's prefix."""
    assert obstore.list(from_url(s3_url)).collect() == []
