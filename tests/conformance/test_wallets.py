"""Ethereum's own tools (eth-account) read our keys and signatures, and we read theirs."""

import json
from pathlib import Path

import pytest
from eth_account import Account
from eth_account.messages import encode_defunct

from databund.core.ids import Bytes32
from databund.crypto.identities import Identity
from databund.crypto.keystore import Keystore
from databund.crypto.passphrases import Passphrase
from databund.crypto.signatures import message_hash, recover_typed_hash, verify_message

PASSPHRASE = Passphrase.generate()


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    """An empty keystore."""
    return Keystore(tmp_path / "keys", lambda _: PASSPHRASE)


@pytest.mark.parametrize("passphrase", [PASSPHRASE, Passphrase("八个字的长口令词")])
def test_eth_account_opens_our_keystore_file(tmp_path: Path, passphrase: Passphrase) -> None:
    """Account.decrypt gives our private key, locked by a machine's or by a person's passphrase."""
    keystore = Keystore(tmp_path / "keys", lambda _: passphrase)
    made = keystore.new("alice")
    assert bytes(Account.decrypt(json.loads(keystore.export("alice")), passphrase.text)) == made.reveal()


@pytest.mark.parametrize(("kdf", "cost"), [("scrypt", 4096), ("pbkdf2", 1000)])
def test_we_open_its_keystore_file(keystore: Keystore, kdf: str, cost: int) -> None:
    """Account.encrypt's file, with either key derivation, is imported."""
    identity = Identity.generate()
    document = Account.encrypt(identity.reveal(), "from another wallet", kdf=kdf, iterations=cost)
    entry = keystore.import_file("alice", json.dumps(document).encode(), Passphrase("from another wallet"))
    assert entry.address == identity.address


def test_addresses_agree() -> None:
    """The same private key has the same address, checksum included."""
    identity = Identity.generate()
    assert str(identity.address) == Account.from_key(identity.reveal()).address


def test_eth_account_recovers_our_message_signer() -> None:
    """A text we sign (EIP-191) is recovered to our address."""
    identity = Identity.generate()
    recovered = Account.recover_message(
        encode_defunct(text="你好, sign in"), signature=identity.sign_message("你好, sign in")
    )
    assert recovered == str(identity.address)


def test_we_verify_its_message_signature() -> None:
    """A text that eth-account signs verifies here; both sign the same bytes."""
    identity = Identity.generate()
    signed = Account.sign_message(encode_defunct(text="sign in"), identity.reveal())
    verify_message("sign in", bytes(signed.signature), signer=identity.address)
    assert bytes(signed.signature) == identity.sign_message("sign in")
    assert bytes(signed.message_hash) == bytes(message_hash("sign in"))


def test_typed_hashes_are_signed_alike() -> None:
    """A 32-byte hash is signed to the same bytes as by eth-account."""
    identity, digest = Identity.generate(), Bytes32(bytes(range(32)))
    signed = Account.unsafe_sign_hash(bytes(digest), identity.reveal())
    assert bytes(signed.signature) == identity.sign_typed_hash(digest)
    assert recover_typed_hash(digest, bytes(signed.signature)) == identity.address


def test_a_signed_chain_transaction_names_its_sender() -> None:
    """The raw bytes recover to our address and hash to the hash we give."""
    identity = Identity.generate()
    signed = identity.sign_chain_transaction(
        {"to": str(Identity.generate().address), "value": 1, "nonce": 0, "gas": 21000, "chainId": 1337,
         "maxFeePerGas": 0, "maxPriorityFeePerGas": 0}
    )  # fmt: skip
    assert Account.recover_transaction(signed.raw) == str(identity.address)
    assert signed.raw[0] == 2
