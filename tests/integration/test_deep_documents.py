"""A JSON text that is nested a hundred thousand levels deep is refused; it does not take the process down."""

import subprocess
import sys

import pytest

PROCESSES = {
    "a node on a network": "import databund.chain.connection",
    "a node with its own chain": "import databund.chain.connection, databund.chain.embedded.machine",
    "a node that imports the other way": "import databund.chain.embedded.machine, databund.chain.connection",
}
READ = """
import msgspec
from concurrent.futures import ThreadPoolExecutor
from databund.core import canonical
from databund.errors import DocumentInvalid

def read():
    text = b"[" * 100_000 + b"]" * 100_000
    try:
        canonical.parse(text)
    except DocumentInvalid as error:
        print(error.what)
    if {msgspec}:
        try:
            msgspec.json.decode(text)
        except RecursionError:
            print("msgspec refuses it too")

with ThreadPoolExecutor(1) as threads:
    threads.submit(read).result()
"""


def run(code: str) -> list[str]:
    """What a new process prints, which must end well."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code], check=False, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.splitlines()


@pytest.mark.parametrize("process", PROCESSES)
def test_a_node_survives_deep_requests(process: str) -> None:
    """Whatever a node has imported, both of its JSON readers refuse a deep text."""
    printed = run(PROCESSES[process] + READ.replace("{msgspec}", "True"))
    assert printed == ["The document is nested deeper than 64 levels.", "msgspec refuses it too"]


def test_a_client_survives_deep_answers() -> None:
    """A client in a process that imported web3.py itself refuses a deep answer."""
    printed = run("import web3" + READ.replace("{msgspec}", "False"))
    assert printed == ["The document is nested deeper than 64 levels."]
