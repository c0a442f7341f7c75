"""Bootstrap: the one place where adapters are named and a node is wired together.

A home folder belongs to one running node at a time. It holds ``keys/``, ``chain.db`` (the embedded chain),
``deployments/``, ``databund.db`` and ``objects/``; a number in ``home.json`` tells which layout it has.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from databund import __version__
from databund.config import Settings
from databund.errors import FileUnusable, HomeInUse, HomeTooNew

if TYPE_CHECKING:
    from litestar.types import ASGIApp

    from databund.app.auditing import Auditor
    from databund.app.cosigning import Cosigning
    from databund.app.node import Node
    from databund.app.witnessing import Cosigner, Witness
    from databund.chain.connection import Connection
    from databund.core.messages import NodeInfo
    from databund.crypto.identities import Identity
    from databund.crypto.keystore import Keystore
    from databund.crypto.passphrases import Passphrase
    from databund.ports import ChainEvents, Database
    from databund.storage.log_reading import StoredLog
    from databund.tlog.notes import VerifierKey

__all__ = [
    "LogAtHome",
    "RunningNode",
    "home_in_use",
    "keep_passphrase",
    "open_chain_events",
    "open_home",
    "open_keystore",
    "open_log",
    "open_node",
    "open_witness",
    "verify_ledger",
    "witness_cosigners",
]

HOME_FORMAT = 1
CURRENCY_NAME, CURRENCY_SYMBOL = "databund credit", "CREDIT"
_CHAIN_FILE, _LOG_KEY_FILE = "chain.db", "log.vkey"
_RESUME_S, _COSIGN_S = 15.0, 1.0


@dataclass(frozen=True)
class RunningNode:
    """A node that is wired and healed, and the JSON-RPC endpoint of its embedded chain, if that is its chain."""

    node: Node
    rpc: ASGIApp | None


@dataclass(frozen=True)
class LogAtHome:
    """A node's log as it lies in its database, the key that signs it, and the head that is kept apart from both."""

    log: StoredLog
    key: VerifierKey
    head: bytes | None


def open_home(home: Path) -> Path:
    """Make the home folder if need be, and check that we understand it. Raises `HomeTooNew`, `FileUnusable`."""
    marker = home / "home.json"
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        if not marker.exists():
            _write_new(marker, json.dumps({"format": HOME_FORMAT}).encode())
        found = json.loads(marker.read_bytes())["format"]
        if type(found) is not int:
            raise ValueError(f"{marker} names no format")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FileUnusable(
            f"The home folder {home} cannot be used: {error}.", fix="Name another one with --home."
        ) from error
    if found != HOME_FORMAT:
        raise HomeTooNew(
            f"The home folder {home} has format {found}; this databund {__version__} knows {HOME_FORMAT}.",
            fix="Install the newer databund that wrote it: pip install --upgrade databund",
        )
    return home


def open_keystore(settings: Settings, ask: Callable[[str], Passphrase | None]) -> Keystore:
    """The keys in the home.

    Their passphrase comes from the first of: the setting ``passphrase_file``, ``DATABUND_PASSPHRASE``, the file
    ``passphrase`` in the home, the operating system's keyring, and ``ask``, for example a person at a terminal.
    """
    from databund.crypto.keystore import Keystore
    from databund.crypto.passphrases import KeyringPassphrase, Passphrase
    from databund.errors import KeyLocked

    home = open_home(settings.home)

    def passphrase(name: str) -> Passphrase | None:
        if settings.passphrase_file is not None:
            return Passphrase(_first_line(settings.passphrase_file))
        if given := os.environ.get("DATABUND_PASSPHRASE"):
            return Passphrase(given)
        if (home / "passphrase").exists():
            return Passphrase(_first_line(home / "passphrase"), machine_made=True)
        try:
            kept = KeyringPassphrase()(_keyring_name(home, name))
        except KeyLocked:
            kept = None
        return kept or ask(name)

    return Keystore(home / "keys", passphrase)


def keep_passphrase(home: Path, name: str) -> tuple[Passphrase, str]:
    """Make a passphrase for a new key where `open_keystore` will find it; returns it and the place in words.

    The place is the operating system's keyring, and where there is none the file ``passphrase`` in the home (0600).
    """
    from databund.crypto.passphrases import KeyringPassphrase, Passphrase
    from databund.errors import DependencyMissing, KeyLocked

    try:
        return KeyringPassphrase().create(_keyring_name(home, name)), "the keyring of this machine"
    except (DependencyMissing, KeyLocked):
        made, path = Passphrase.generate(), open_home(home) / "passphrase"
        try:
            with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
                file.write(made.text + "\n")
        except OSError as error:
            raise FileUnusable(f"{path} cannot be written: {error}.", fix="Name another home with --home.") from error
        return made, str(path)


def home_in_use(home: Path) -> bool:
    """Whether a node runs on this home."""
    try:
        with _locked(home):
            return False
    except HomeInUse:
        return True


@contextmanager
def open_node(settings: Settings, identity: Identity) -> Iterator[RunningNode]:
    """Open everything a node needs, finish what a crash left undone, and close it all at the end.

    Raises `HomeInUse` when another process runs on this home, and whatever keeps a part from opening.
    """
    home = open_home(settings.home)
    with ExitStack() as stack:
        stack.enter_context(_locked(home))
        connection, rpc = _chain(settings, home, stack)
        node = _wire(settings, identity, home, connection, stack)
        node.purchasing.resume()
        if node.cosigning is not None:
            node.cosigning.collect()  # so that what is served never goes back when the policy is new
        yield RunningNode(node, rpc)


@contextmanager
def open_log(settings: Settings) -> Iterator[LogAtHome]:
    """Open the log of the node in this home to read it, also while the node runs; no key is unlocked.

    Raises `FileUnusable` where no node was, and what keeps its database from opening.
    """
    from databund.storage.heads import open_heads
    from databund.storage.log_reading import StoredLog
    from databund.tlog.notes import VerifierKey

    home = settings.home
    try:
        key = VerifierKey.parse((home / _LOG_KEY_FILE).read_text().strip())
    except OSError as error:
        raise FileUnusable(
            f"{home} is not the home of a node, or of one that an older databund ran last.",
            fix="Name its home with --home; start an older one once: databund serve",
        ) from error
    kept = settings.heads or (str(home / "heads") if (home / "heads").is_dir() else None)
    head = None if kept is None else open_heads(kept).get(key.name)
    log = StoredLog.open(settings.database or f"sqlite:///{home / 'databund.db'}")
    try:
        yield LogAtHome(log, key, head)
    finally:
        log.close()


@contextmanager
def open_witness(home: Path, identity: Identity, *, name: str | None, logs: Iterable[VerifierKey]) -> Iterator[Witness]:
    """Open a witness of these logs on its own home, where what it cosigned last lies in ``witnessed/``.

    Raises `HomeInUse` when another process runs on this home, and what keeps the folder from opening.
    """
    from databund.app.witnessing import Witness
    from databund.sdk.log_keys import verifier
    from databund.storage.heads import FileHeads

    trusted: dict[str, list[VerifierKey]] = {}
    for key in dict.fromkeys(logs):
        trusted.setdefault(key.name, []).append(key)
    with _locked(open_home(home)), closing(FileHeads(home / "witnessed")) as heads:
        known = {origin: [verifier(key) for key in keys] for origin, keys in trusted.items()}
        yield Witness(heads, witness_cosigners(identity, name), known, _now)


def witness_cosigners(identity: Identity, name: str | None) -> list[Cosigner]:
    """The keys that this identity cosigns with, Ed25519 and ML-DSA-44; by default named after its account."""
    from databund.app.witnessing import Cosigner
    from databund.tlog.notes import SignatureType, VerifierKey

    name = name or f"databund.local/witness/{str(identity.address).lower()}"
    ed25519, ml_dsa = identity.witness_key, identity.witness_ml_dsa_key
    return [
        Cosigner(VerifierKey(name, SignatureType.COSIGNATURE_V1, ed25519.public), ed25519.sign),
        Cosigner(VerifierKey(name, SignatureType.ML_DSA_44, ml_dsa.public), ml_dsa.sign),
    ]


def verify_ledger(settings: Settings, progress: Callable[[int, int], None] | None = None) -> tuple[int, int, str]:
    """Replay the embedded chain from genesis: (blocks, chain transactions, state root). Raises `LedgerMismatch`."""
    from databund.chain.embedded.replay import replay

    path = open_home(settings.home) / _CHAIN_FILE
    if not path.exists():
        raise FileUnusable(f"{settings.home} holds no embedded chain.", fix="Name the home of a node with --home.")
    report = replay(path, progress)
    return report.blocks, report.chain_transactions, "0x" + report.state_root.hex()


def _first_line(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            return file.readline(4096).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise FileUnusable(
            f"The passphrase file {path} cannot be read: {getattr(error, 'strerror', None) or error}.",
            fix="Name a text file with --passphrase-file.",
        ) from error


def _keyring_name(home: Path, name: str) -> str:
    return f"{home.resolve()}#{name}"


def open_chain_events(url: str, info: NodeInfo, settings: Settings) -> ChainEvents:
    """The chain of the exchange that a node names, read from the JSON-RPC node at ``url``.

    Raises `WrongChain` when that one is on another chain, and `ChainUnavailable`.
    """
    from databund.chain.chain_events import ChainEventReader
    from databund.chain.deployment import Deployment

    deployment = Deployment(
        chain_id=info.domain.chain_id,
        exchange=info.domain.exchange,
        license_token=info.license_token,
        currency=info.currency,
        dataset_title=info.title,
        checkpoint_anchor=info.checkpoint_anchor,
        block=info.since_block,
    )
    connection = _connect(url, settings)
    deployment.check(connection)
    return ChainEventReader(connection, deployment)


def _connect(url: str, settings: Settings) -> Connection:
    from databund.chain.connection import FINALIZED, IMMEDIATE, Connection, Finality, http_provider

    named = {None: None, "immediate": IMMEDIATE, "finalized": FINALIZED}
    policy = settings.finality
    finality = named[policy] if policy in named else Finality(confirmations=policy)
    return Connection.open(http_provider(url), finality=finality)


def _chain(settings: Settings, home: Path, stack: ExitStack) -> tuple[Connection, ASGIApp | None]:
    from databund.chain.connection import IMMEDIATE, Connection

    if settings.chain is not None:
        return _connect(settings.chain, settings), None
    from databund.chain.embedded import EmbeddedNode
    from databund.chain.embedded.provider import EmbeddedProvider
    from databund.chain.embedded.rpc import RpcApp

    path = home / _CHAIN_FILE
    if path.exists():
        chain = EmbeddedNode.open(path, now=_now)
    else:
        # A chain id of its own keeps what is signed for one exchange from counting on another.
        chain = EmbeddedNode.create(path, chain_id=2**32 + secrets.randbits(32), now=_now)
    stack.callback(chain.close)
    rpc: Any = RpcApp(chain)  # it speaks ASGI in its own types
    return Connection.open(EmbeddedProvider(chain), finality=IMMEDIATE), rpc


def _wire(settings: Settings, identity: Identity, home: Path, connection: Connection, stack: ExitStack) -> Node:
    from databund.app.anchoring import Anchoring
    from databund.app.attaching import Attaching
    from databund.app.auditing import Auditor
    from databund.app.chores import Chore
    from databund.app.clearing import Clearing
    from databund.app.delivering import Delivering
    from databund.app.evidencing import Evidencing, Signers
    from databund.app.node import Node
    from databund.app.observing import Observing
    from databund.app.publishing import Publishing
    from databund.app.purchasing import Purchasing
    from databund.app.relaying import Relaying
    from databund.app.signing_in import SigningIn
    from databund.chain.chain_events import ChainEventReader
    from databund.chain.deployment import Deployment, deploy
    from databund.chain.ledger import ChainLedger
    from databund.chain.receipts import prove_receipt
    from databund.chain.relayer import ChainRelayer
    from databund.core.messages import NodeInfo
    from databund.core.offers import Split
    from databund.errors import NotFound
    from databund.sdk.evidence import standalone_verifier
    from databund.sdk.log_keys import verifier
    from databund.storage.database import SqlDatabase
    from databund.storage.heads import open_heads
    from databund.storage.objects import open_objects
    from databund.tlog.notes import SignatureType, VerifierKey, ed25519_signer

    folder = home / "deployments"
    try:
        deployment = Deployment.load(folder, connection.chain_id)
        deployment.check(connection)
    except NotFound:
        deployment = deploy(connection, identity, currency_name=CURRENCY_NAME, currency_symbol=CURRENCY_SYMBOL)
        deployment.save(folder)
    origin = settings.origin or f"databund.local/{str(identity.address).lower()}"
    log_key = identity.log_key
    vkey = VerifierKey(origin, SignatureType.ED25519, log_key.public)
    _keep(home / _LOG_KEY_FILE, f"{vkey}\n".encode())
    heads = open_heads(settings.heads or str(home / "heads"))
    stack.callback(heads.close)
    auditor = Auditor(origin, ed25519_signer(vkey, log_key.sign), verifier(vkey), heads)
    database = SqlDatabase.open(settings.database or f"sqlite:///{home / 'databund.db'}", create=True, sealer=auditor)
    stack.callback(database.close)
    with database.read() as tables:
        auditor.check(tables.log)
    place = settings.objects or str(home / "objects")
    objects = open_objects(place if "://" in place else f"file://{Path(place).resolve()}")
    ledger = ChainLedger(connection, deployment)
    relaying = Relaying(database, ChainRelayer(connection, deployment, identity))
    purchasing = Purchasing(database, relaying, auditor, _now)
    attaching = Attaching(database, auditor, identity.address, _now)
    anchoring = Anchoring(
        database, relaying, ledger, auditor, origin, _now, settings.anchor_period, settings.anchor_max_cost
    )
    anchoring.check()
    events = ChainEventReader(connection, deployment)
    observing = Observing(database, events, auditor, identity.address, deployment.block, _now)
    chores = [Chore("resume", _RESUME_S, purchasing.resume), Chore("observe", _RESUME_S, observing.step)]
    if settings.anchor_period:
        chores.append(Chore("anchor", _RESUME_S, anchoring.step))
    cosigning = _cosigning(settings, database, auditor, vkey, stack)
    if cosigning is not None:
        chores.append(Chore("cosign", _COSIGN_S, cosigning.collect))
    fee = Split(identity.address, settings.fee) if settings.fee else None
    return Node(
        info=NodeInfo(
            version=__version__,
            operator=identity.address,
            domain=ledger.domain(),
            currency=ledger.currency(),
            license_token=deployment.license_token,
            title=deployment.dataset_title,
            checkpoint_anchor=deployment.checkpoint_anchor,
            since_block=deployment.block,
            fee=fee,
            recipient=str(identity.age_recipient),
            origin=origin,
            log_key=str(vkey),
        ),
        database=database,
        objects=objects,
        ledger=ledger,
        signing_in=SigningIn(database, ledger, _now, lambda: secrets.token_hex(24)),
        publishing=Publishing(database, objects, ledger, relaying, auditor, identity, _now, fee),
        purchasing=purchasing,
        delivering=Delivering(database, ledger, auditor, identity, _now),
        clearing=Clearing(database, auditor, identity.address, _now),
        attaching=attaching,
        evidencing=Evidencing(
            database=database,
            attaching=attaching,
            key=vkey,
            signers=Signers(log_key, identity.statement_key),
            operator=identity.address,
            prove=partial(prove_receipt, connection),
            verifier=standalone_verifier(),
        ),
        anchoring=anchoring,
        cosigning=cosigning,
        auditor=auditor,
        chores=chores,
    )


def _cosigning(
    settings: Settings, database: Database, auditor: Auditor, key: VerifierKey, stack: ExitStack
) -> Cosigning | None:
    """Who collects the cosignatures that the witness policy asks for; None without one."""
    from databund.app.cosigning import TIMEOUT_S, Cosigning
    from databund.sdk.log_keys import verifier
    from databund.sdk.witnesses import WitnessCalls
    from databund.tlog.policies import WitnessPolicy

    if settings.witness_policy is None:
        return None
    try:
        policy = WitnessPolicy.parse(settings.witness_policy.read_bytes(), verifier)
    except OSError as error:
        raise FileUnusable(
            f"The witness policy {settings.witness_policy} cannot be read: {error.strerror}.",
            fix="Name a file with --witness-policy.",
        ) from error
    calls = WitnessCalls(timeout_s=TIMEOUT_S)
    stack.callback(calls.close)
    cosigning = Cosigning(
        database,
        origin=key.name,
        log=[verifier(key)],
        policy=policy,
        submit=calls.submit,
        newest=calls.newest,
        signed=auditor.published,
        halt=auditor.halt,
        clock=_now,
    )
    stack.callback(cosigning.close)
    return cosigning


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    descriptor = os.open(home / "node.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUse(
                f"Another node runs on {home}.", fix="Stop it first, or give this one its own home with --home."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _keep(path: Path, data: bytes) -> None:
    """Let the file hold this; nothing is written where it does."""
    if not path.exists() or path.read_bytes() != data:
        _write_new(path, data)


def _write_new(path: Path, data: bytes) -> None:
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    with open(temporary, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _now() -> int:
    return int(time.time())
