"""What the tests of the log share: Ed25519 keys made from seeds, and a log whose tiles lie in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from databund.errors import SealBroken
from databund.tlog.checkpoints import Checkpoint
from databund.tlog.cosignatures import cosignature_signer, cosignature_verifier
from databund.tlog.merkle import leaf_hash
from databund.tlog.notes import SignatureType, Signer, Verifier, VerifierKey, ed25519_signer, ed25519_verifier
from databund.tlog.tiles import Tile, TreeEdge

ORIGIN = "exchange.example/audit"


def verify_ed25519(public_key: bytes, message: bytes, signature: bytes) -> None:
    """Check an Ed25519 signature; a wrong one raises an IntegrityFailed, as a `Verifier` has to."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except InvalidSignature as error:
        raise SealBroken("The signature is wrong.", fix="Ask again.") from error


class Key:
    """A named Ed25519 key made from its name and type, so that every run signs the same bytes."""

    def __init__(self, name: str, signature_type: SignatureType = SignatureType.ED25519) -> None:
        self._private = Ed25519PrivateKey.from_private_bytes(sha256(f"{name} {signature_type}".encode()).digest())
        self.vkey = VerifierKey(name, signature_type, self._private.public_key().public_bytes_raw())

    def signer(self, *, timestamp_s: int = 1_700_000_000) -> Signer:
        """What signs notes; the time is used by a witness only."""
        if self.vkey.signature_type is SignatureType.COSIGNATURE_V1:
            return cosignature_signer(self.vkey, self._private.sign, timestamp_s=timestamp_s)
        return ed25519_signer(self.vkey, self._private.sign)

    def verifier(self) -> Verifier:
        """What checks this key's signatures."""
        if self.vkey.signature_type is SignatureType.COSIGNATURE_V1:
            return cosignature_verifier(self.vkey, verify_ed25519)
        return ed25519_verifier(self.vkey, verify_ed25519)


def witness_key(name: str) -> Key:
    """A key for cosignatures."""
    return Key(name, SignatureType.COSIGNATURE_V1)


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
