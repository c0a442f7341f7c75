"""The keystore: keys lie locked and private, and come back only for their passphrase."""

import json
from pathlib import Path

import pytest

from databund.crypto.identities import Identity
from databund.crypto.keystore import Keystore
from databund.crypto.passphrases import Passphrase
from databund.errors import AlreadyExists, IdentifierInvalid, KeyInvalid, KeyLocked, NotFound

VECTORS = Path(__file__).parents[1] / "vectors" / "web3_secret_storage"
MACHINE = Passphrase.generate()


@pytest.fixture
def keystore(tmp_path: Path) -> Keystore:
    """A keystore whose keys all have one machine-made passphrase."""
    return Keystore(tmp_path / "keys", lambda _: MACHINE)


def file_of(tmp_path: Path, name: str = "alice") -> Path:
    """Where a key lies."""
    return tmp_path / "keys" / f"{name}.json"


def edited(path: Path, **members: object) -> None:
    """Change members of a keystore file, at the top or in its crypto part."""
    document = json.loads(path.read_bytes())
    for name, value in members.items():
        (document if name in document else document["crypto"])[name] = value
    path.write_text(json.dumps(document))


def test_a_key_comes_back(keystore: Keystore) -> None:
    """A new key loads as the same identity."""
    made = keystore.new("alice")
    assert keystore.load("alice").reveal() == made.reveal()


def test_keys_are_private(keystore: Keystore, tmp_path: Path) -> None:
    """The folder is 0700, the file 0600, nothing else lies beside it, and it does not hold the key in clear."""
    made = keystore.new("alice")
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert file_of(tmp_path).stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["alice.json"]
    assert made.reveal().hex() not in file_of(tmp_path).read_text()


def test_keys_are_listed_without_a_passphrase(tmp_path: Path, keystore: Keystore) -> None:
    """Names and addresses need no passphrase; an empty keystore lists nothing."""
    assert keystore.list() == ()
    made = {name: keystore.new(name).address for name in ("node", "alice")}
    locked = Keystore(tmp_path / "keys", lambda _: None)
    assert [(entry.name, entry.address) for entry in locked.list()] == sorted(made.items())


def test_no_passphrase_is_told_from_a_wrong_one(tmp_path: Path, keystore: Keystore) -> None:
    """Without a passphrase a key is locked; under a wrong one it does not open."""
    keystore.new("alice")
    with pytest.raises(KeyLocked, match="alice"):
        Keystore(tmp_path / "keys", lambda _: None).load("alice")
    with pytest.raises(KeyInvalid, match="passphrase is wrong"):
        Keystore(tmp_path / "keys", lambda _: Passphrase("wrong passphrase")).load("alice")


@pytest.mark.parametrize(("passphrase", "cost"), [(MACHINE, 1 << 12), (Passphrase("eight words"), 1 << 18)])
def test_what_a_person_chose_is_stretched(tmp_path: Path, passphrase: Passphrase, cost: int) -> None:
    """A passphrase that can be guessed costs scrypt N = 2^18 a guess, a machine-made one 2^12."""
    Keystore(tmp_path / "keys", lambda _: passphrase).new("alice")
    assert json.loads(file_of(tmp_path).read_bytes())["crypto"]["kdfparams"]["n"] == cost


@pytest.mark.parametrize("passphrase", [Passphrase(""), Passphrase("seven77"), Passphrase("x" * 21, machine_made=True)])
def test_a_short_passphrase_locks_nothing(tmp_path: Path, passphrase: Passphrase) -> None:
    """Less than 8 characters, or than 128 bits called machine-made, is refused and no file appears."""
    with pytest.raises(KeyInvalid, match="shorter"):
        Keystore(tmp_path / "keys", lambda _: passphrase).new("alice")
    assert not file_of(tmp_path).exists()


def test_a_name_is_taken_once(keystore: Keystore) -> None:
    """A second key of a name is refused and the first one stays."""
    made = keystore.new("alice")
    with pytest.raises(AlreadyExists, match="alice"):
        keystore.new("alice")
    assert keystore.load("alice").address == made.address


@pytest.mark.parametrize("name", ["", "../alice", "a/b", ".alice", "Alice", "alice-", "a" * 65, "a\0b", "名"])
def test_a_bad_name_is_refused(keystore: Keystore, name: str) -> None:
    """Names that are no plain file names everywhere are refused."""
    with pytest.raises(IdentifierInvalid, match="not a name"):
        keystore.new(name)


def test_what_is_not_there_is_not_found(keystore: Keystore) -> None:
    """Loading, exporting and deleting a key that is not there says so."""
    for act in (keystore.load, keystore.export, keystore.delete):
        with pytest.raises(NotFound, match="'bob'"):
            act("bob")


def test_a_deleted_key_is_gone(keystore: Keystore) -> None:
    """A deleted key is neither listed nor loaded."""
    keystore.new("alice")
    keystore.delete("alice")
    assert keystore.list() == ()


def test_an_exported_key_is_imported(tmp_path: Path, keystore: Keystore) -> None:
    """An export opens in another keystore under its old passphrase and is locked there under the new one."""
    made = keystore.new("alice")
    other = Keystore(tmp_path / "other", lambda _: Passphrase.generate())
    assert other.import_file("backup", keystore.export("alice"), MACHINE).address == made.address
    with pytest.raises(KeyInvalid):
        Keystore(tmp_path / "other", lambda _: MACHINE).load("backup")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_a_file_open_to_others_is_refused(keystore: Keystore, tmp_path: Path, mode: int) -> None:
    """A key that others can read is not used; the error is the command that mends it."""
    keystore.new("alice")
    file_of(tmp_path).chmod(mode)
    with pytest.raises(KeyInvalid, match="open to others") as caught:
        keystore.load("alice")
    assert caught.value.fix == f"chmod 600 {file_of(tmp_path)}"


def test_a_folder_open_to_others_is_refused(keystore: Keystore, tmp_path: Path) -> None:
    """Nothing is written to a folder that others can look into."""
    (tmp_path / "keys").mkdir(mode=0o755)
    with pytest.raises(KeyInvalid, match="open to others") as caught:
        keystore.new("alice")
    assert caught.value.fix == f"chmod 700 {tmp_path / 'keys'}"


@pytest.mark.parametrize(
    "members",
    [
        {"version": 4},
        {"mac": "00" * 32},
        {"mac": "zz"},
        {"cipher": "aes-256-ctr"},
        {"ciphertext": "00"},
        {"cipherparams": {"iv": "00"}},
        {"kdf": "argon2"},
        {"kdfparams": {"dklen": 32, "n": 1 << 40, "p": 1, "r": 8, "salt": "00"}},
        {"kdfparams": {"dklen": 32, "n": 1 << 18, "p": 1, "r": 1, "salt": "00"}},
        {"kdfparams": {"dklen": 32, "n": 1000, "p": 1, "r": 8, "salt": "00"}},
        {"kdfparams": {"dklen": 32, "n": -4, "p": 1, "r": -8, "salt": "00"}},
        {"kdfparams": {"dklen": 16, "n": 4096, "p": 1, "r": 8, "salt": "00"}},
        {"address": "00" * 20},
        {"id": 7},
    ],
)
def test_a_damaged_file_is_refused(keystore: Keystore, tmp_path: Path, members: dict[str, object]) -> None:
    """Whatever is wrong in a file, `KeyInvalid` names the file, also for costs meant to exhaust the machine."""
    keystore.new("alice")
    edited(file_of(tmp_path), **members)
    with pytest.raises(KeyInvalid, match=r"alice\.json"):
        keystore.load("alice")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", b"null", b" " * 70_000])
def test_what_is_no_keystore_file_is_refused(keystore: Keystore, tmp_path: Path, data: bytes) -> None:
    """Bytes that are no keystore file are refused by name, in loading and in listing."""
    keystore.new("alice")
    file_of(tmp_path).write_bytes(data)
    for act in (lambda: keystore.load("alice"), keystore.list):
        with pytest.raises(KeyInvalid, match=r"alice\.json"):
            act()


def test_a_wrong_address_is_not_listed(keystore: Keystore, tmp_path: Path) -> None:
    """A file whose address is missing or malformed cannot be listed."""
    keystore.new("alice")
    edited(file_of(tmp_path), address="nobody")
    with pytest.raises(KeyInvalid, match="names no address"):
        keystore.list()


def test_a_key_that_cannot_be_written_leaves_nothing(keystore: Keystore, tmp_path: Path) -> None:
    """Where a folder lies in the place of the file, no half-written key stays behind."""
    (tmp_path / "keys").mkdir(mode=0o700)
    file_of(tmp_path).mkdir()
    with pytest.raises(AlreadyExists):
        keystore.new("alice")
    assert [path.name for path in (tmp_path / "keys").iterdir()] == ["alice.json"]


def test_the_vector_of_the_standard_opens(keystore: Keystore) -> None:
    """The PBKDF2 test vector of the Web3 Secret Storage Definition gives its private key."""
    keystore.import_file("vector", (VECTORS / "pbkdf2.json").read_bytes(), Passphrase("testpassword"))
    secret = keystore.load("vector").reveal().hex()
    assert secret == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"


def test_the_old_spelling_is_read(keystore: Keystore) -> None:
    """Old wallets write the crypto member with a capital."""
    identity = Identity.generate()
    keystore.add("alice", identity)
    document = keystore.export("alice").replace(b'"crypto"', b'"Crypto"')
    assert keystore.import_file("bob", document, MACHINE).address == identity.address
