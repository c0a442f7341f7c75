"""Each import contract of pyproject.toml breaks on the import that it is there to forbid, and on nothing else."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = [
    "core", "tlog", "crypto", "app", "chain", "storage", "compute", "compliance",
    "interop", "sdk", "testing", "api", "web", "cli",
]  # fmt: skip
MODULES = ["errors", "ports", "config", "bootstrap"]

FORBIDDEN = [
    ("ports", "import databund.app", "Imports point downwards; app and adapters never meet"),
    ("app/purchasing", "import databund.storage", "Imports point downwards; app and adapters never meet"),
    ("attic", "", "Imports point downwards; app and adapters never meet"),
    ("core/orders", "import time", "The pure layers do no I/O and read no clock"),
    ("tlog/merkle", "from os import environ", "The pure layers do no I/O and read no clock"),
    ("api/routes", "from databund.chain import ledger", "Only bootstrap names an adapter"),
    ("sdk/client", "import databund.app", "The SDK and the verifier run without the engine"),
    ("cli/serve", "import databund.testing", "Test tools never run in production"),
    ("chain/ledger", "import pytest", "Test tools never run in production"),
    ("app/purchasing", "import databund.crypto._hazmat", "Only recipes touch raw primitives"),
    ("crypto/seals", "import cryptography", "Raw primitives enter by one door"),
    ("chain/ledger", "import databund.chain.nonces", "No cycles between siblings"),
]


def _house(folder: Path) -> Path:
    """Make an empty package with every room of the design, and the project's own import contracts."""
    package = folder / "databund"
    for room in ROOMS:
        (package / room).mkdir(parents=True)
        (package / room / "__init__.py").touch()
    for module in ["__init__", "crypto/_hazmat", "chain/nonces", *MODULES]:
        (package / f"{module}.py").touch()
    (package / "chain" / "nonces.py").write_text("import databund.chain.ledger\n")
    (package / "chain" / "ledger.py").touch()
    (package / "crypto" / "_hazmat.py").write_text("import cryptography\nimport pyrage\n")
    (folder / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
    return package


def _broken(folder: Path) -> set[str]:
    """Lint the house and return the names of its broken contracts."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache", "--config", "pyproject.toml"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "kept" in done.stdout, done.stdout + done.stderr
    return set(re.findall(r"^(.*\S) BROKEN$", done.stdout, flags=re.MULTILINE))


def test_an_empty_house_is_in_order(tmp_path: Path) -> None:
    """With every room of the design present and no imports across rooms, every import contract is kept."""
    _house(tmp_path)
    assert _broken(tmp_path) == set()


@pytest.mark.parametrize(("module", "line", "contract"), FORBIDDEN, ids=lambda value: str(value)[:40])
def test_a_contract_breaks(tmp_path: Path, module: str, line: str, contract: str) -> None:
    """The forbidden import breaks its import contract (a layer skipped upwards may break the layers as well)."""
    package = _house(tmp_path)
    (package / f"{module}.py").write_text(line + "\n")
    broken = _broken(tmp_path)
    assert contract in broken
    assert broken <= {contract, "Imports point downwards; app and adapters never meet"}


def test_every_contract_is_tried() -> None:
    """No import contract stands in pyproject.toml without a case above that breaks it."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())
    names = {contract["name"] for contract in config["tool"]["importlinter"]["contracts"]}
    assert names == {contract for _, _, contract in FORBIDDEN}
