"""What the tests of the log share: keys made from seeds, policies, and a log whose tiles lie in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from databund.crypto.signatures import Ed25519Key, MlDsa44Key
from databund.errors import SealBroken
from databund.sdk.log_keys import verifier
from databund.tlog.checkpoints import Checkpoint
from databund.tlog.cosignatures import COSIGNATURE_TYPES, cosignature_signer
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import SignatureType, Signer, Verifier, VerifierKey, ed25519_signer
from databund.tlog.policies import WitnessPolicy
from databund.tlog.tiles import Tile, TreeEdge

ORIGIN = "exchange.example/audit"


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature; a wrong one raises an IntegrityFailed, as a `Verifier` has to."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature as error:
        raise SealBroken("The signature is wrong.", fix="Ask again.") from error


class Key:
    """A named key made from its name and type, so that every run signs with the same one."""

    def __init__(self, name: str, signature_type: SignatureType = SignatureType.ED25519) -> None:
        seed = sha256(f"{name} {signature_type}".encode()).digest()
        made = MlDsa44Key if signature_type is SignatureType.ML_DSA_44 else Ed25519Key
        self._private = made(seed)
        self.vkey = VerifierKey(name, signature_type, self._private.public)

    def signer(self, *, timestamp_s: int = 1_700_000_000) -> Signer:
        """What signs notes; the time is used by a witness only."""
        if self.vkey.signature_type in COSIGNATURE_TYPES:
            return cosignature_signer(self.vkey, self._private.sign, timestamp_s=timestamp_s)
        return ed25519_signer(self.vkey, self._private.sign)

    def sign(self, message: bytes) -> bytes:
        """The bare signature of a message."""
        return self._private.sign(message)

    def verifier(self) -> Verifier:
        """What checks this key's signatures."""
        return verifier(self.vkey)


def witness_key(name: str, signature_type: SignatureType = SignatureType.COSIGNATURE_V1) -> Key:
    """A key for cosignatures."""
    return Key(name, signature_type)


def quorum_of(threshold: int, *keys: Key) -> WitnessPolicy:
    """The policy that asks ``threshold`` of these witnesses, called w0, w1 and so on."""
    lines = [f"witness w{number} {key.vkey}" for number, key in enumerate(keys)]
    members = " ".join(f"w{number}" for number in range(len(keys)))
    return WitnessPolicy.parse(
        "\n".join([*lines, f"group all {threshold} {members}", "quorum all", ""]).encode(), verifier
    )


@dataclass
class MemoryLog:
    """A log that keeps its tiles and entries in memory, and the bytes of every width that each tile ever had."""

    entries: list[bytes] = field(default_factory=list)
    edge: TreeEdge = field(default_factory=TreeEdge)
    tiles: dict[tuple[int, int], bytes] = field(default_factory=dict)
    history: dict[Tile, bytes] = field(default_factory=dict)

    def append(self, *entries: bytes) -> MemoryLog:
        """Append a batch of entries and store the tiles that change."""
        growth = self.edge.append(leaf_hash(entry) for entry in entries)
        self.history.update(growth.tiles)
        self.tiles.update({(tile.level, tile.index): content for tile, content in growth.tiles.items()})
        self.entries.extend(entries)
        self.edge = growth.edge
        return self

    def read(self, level: int, index: int, width: int) -> bytes:
        """The current tile, which may be wider than ``width``."""
        del width
        return self.tiles[level, index]

    def read_exact(self, level: int, index: int, width: int) -> bytes:
        """The tile exactly as it was stored when it had this width."""
        return self.history[Tile(level, index, width)]

    def checkpoint(self) -> Checkpoint:
        """The unsigned checkpoint of the whole log."""
        return Checkpoint(ORIGIN, self.edge.size, self.edge.root())


def log_of(size: int) -> MemoryLog:
    """A log of ``size`` small entries, all different."""
    return MemoryLog().append(*(f'{{"entry":{number}}}'.encode() for number in range(size)))
