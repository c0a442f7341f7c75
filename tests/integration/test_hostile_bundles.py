"""Bundles made to fool or to harm whoever verifies them: each is refused, at once, with an error of ours."""

from __future__ import annotations

import random
import zipfile
from pathlib import Path

import pytest

from databund.crypto.identities import Identity
from databund.errors import DatabundError, ProofInvalid
from databund.sdk import audit
from databund.tlog.checkpoints import Checkpoint, sign_checkpoint
from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer
from tests.nodes import ABOUT, node_in_process, table, terms


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of a real log that verifies."""
    folder = tmp_path_factory.mktemp("hostile")
    with node_in_process(folder) as node:
        provider = node.client()
        provider.offer(provider.publish(table(folder / "data"), ABOUT).dataset, terms(provider))
        audit.export(provider._connection, provider.info, folder / "bundle.zip")
    return folder / "bundle.zip"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", ["checkpoint", "../../evil", "documents/offer/0x00.json"])
def test_a_file_that_is_there_twice_or_that_nothing_names_is_refused(bundle: Path, tmp_path: Path, name: str) -> None:
    """What the verifier did not check is not in a bundle that verifies, so every tool sees the same files."""
    copy = tmp_path / "copy.zip"
    copy.write_bytes(bundle.read_bytes())
    with zipfile.ZipFile(copy, "a") as archive:
        archive.writestr(name, b"forged")

    with pytest.raises(ProofInvalid, match="in the bundle"):
        audit.verify(copy)


def test_a_checkpoint_of_a_huge_log_is_refused_at_once(tmp_path: Path) -> None:
    """A size that the bundle's files cannot hold is found before any tile is counted."""
    operator = Identity.generate()
    key = VerifierKey("log.example/audit", SignatureType.ED25519, operator.log_key.public)
    claimed = Checkpoint(origin=key.name, size=2**62, root=bytes(32))
    with zipfile.ZipFile(tmp_path / "bundle.zip", "w") as archive:
        archive.writestr("log.vkey", f"{key}\n")
        archive.writestr(
            "checkpoint", sign_checkpoint(claimed, [ed25519_signer(key, operator.log_key.sign)]).to_bytes()
        )

    with pytest.raises(ProofInvalid, match="lacks most"):
        audit.verify(tmp_path / "bundle.zip")


def test_damage_anywhere_gives_an_error_of_ours(bundle: Path, tmp_path: Path) -> None:
    """Whatever byte of a bundle is changed or cut, verifying it ends well or with one of our errors."""
    whole, chance, refused = bundle.read_bytes(), random.Random(8785), 0  # noqa: S311  # damage, no secret
    for _ in range(500):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(damaged))] ^= chance.randrange(1, 256)
        (tmp_path / "damaged.zip").write_bytes(
            damaged[: chance.choice((None, None, chance.randrange(len(damaged)))) or len(damaged)]
        )
        try:
            audit.verify(tmp_path / "damaged.zip")
        except DatabundError:
            refused += 1

    assert refused > 400
