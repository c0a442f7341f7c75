"""Keys, settings and passphrases on the command line."""

from __future__ import annotations

import json
from email.utils import formatdate
from pathlib import Path
from typing import Any

import httpx
import pytest

from databund.cli import doctor
from databund.cli.exits import Exit
from databund.cli.program import run
from databund.cli.session import Session


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home; no setting, keyring or terminal of the person who runs the tests counts."""
    monkeypatch.setenv("DATABUND_CONFIG", str(tmp_path / "config.toml"))
    monkeypatch.setenv("DATABUND_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    for name in ("DATABUND_PASSPHRASE", "DATABUND_NODE", "DATABUND_KEY", "DATABUND_PROFILE", "DATABUND_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


def answer(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """The JSON answer of a command that succeeds."""
    assert run([*words, "--json"]) == Exit.OK
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str], exit_code: Exit, *words: str) -> str:
    """The code of the error with which a command fails."""
    assert run([*words, "--json"]) == exit_code
    return str(json.loads(capsys.readouterr().out)["error"]["code"])


def test_a_new_key_is_usable_at_once(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where nobody can be asked, a passphrase is made and kept in the home, for its owner only."""
    made = answer(capsys, "key", "new")

    assert answer(capsys, "key", "show") == made
    assert made["age_recipient"].startswith("age1")
    assert (home / "passphrase").stat().st_mode & 0o777 == 0o600


def test_a_person_is_told_where_the_passphrase_lies(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A passphrase that was made is never printed; its place is."""
    run(["key", "new"])

    told = capsys.readouterr()
    assert str(home / "passphrase") in told.err
    assert (home / "passphrase").read_text().strip() not in told.err + told.out


def test_a_given_passphrase_is_used(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A key made with a passphrase from the environment opens with the same one from a file, and with no other."""
    monkeypatch.setenv("DATABUND_PASSPHRASE", "four words of mine")
    answer(capsys, "key", "new")
    monkeypatch.delenv("DATABUND_PASSPHRASE")
    (tmp_path / "right").write_text("four words of mine\n")
    (tmp_path / "wrong").write_text("four words of yours\n")

    answer(capsys, "key", "show", "--passphrase-file", str(tmp_path / "right"))
    assert (
        refusal(capsys, Exit.INVALID_INPUT, "key", "show", "--passphrase-file", str(tmp_path / "wrong"))
        == "key.invalid"
    )
    assert refusal(capsys, Exit.DENIED, "key", "show") == "key.locked"
    assert not (home / "passphrase").exists()


def test_a_passphrase_file_that_was_named_must_exist(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mistyped passphrase file is an error, not a reason to use another passphrase."""
    words = ("key", "new", "--passphrase-file", str(tmp_path / "nowhere"))

    assert refusal(capsys, Exit.INVALID_INPUT, *words) == "file.unusable"


def test_an_address_is_shown_without_a_passphrase(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts get the bare address of a locked key."""
    address = answer(capsys, "key", "new", "lab")["address"]
    (home / "passphrase").unlink()

    assert run(["key", "show", "lab", "--address"]) == Exit.OK
    assert capsys.readouterr().out == f"{address}\n"


def test_a_key_travels_locked(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An exported key is private to its owner, holds no secret in the clear, and opens in another home."""
    made = answer(capsys, "key", "new")
    backup, passphrase = str(tmp_path / "backup.json"), str(home / "passphrase")
    answer(capsys, "key", "export", "--to", backup)
    assert Path(backup).stat().st_mode & 0o777 == 0o600

    other = ("--home", str(tmp_path / "other"))
    answer(capsys, "key", "import", backup, "copy", "--file-passphrase", passphrase, *other)

    assert answer(capsys, "key", "show", "copy", *other)["age_recipient"] == made["age_recipient"]


def test_an_export_replaces_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A key is not exported over a file that exists."""
    answer(capsys, "key", "new")
    (tmp_path / "mine").write_text("precious")

    assert refusal(capsys, Exit.REFUSED, "key", "export", "--to", str(tmp_path / "mine")) == "thing.exists"
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_key_is_not_made_twice(capsys: pytest.CaptureFixture[str]) -> None:
    """A key of the same name is refused, and the first one stays."""
    made = answer(capsys, "key", "new")

    assert refusal(capsys, Exit.REFUSED, "key", "new") == "thing.exists"
    assert answer(capsys, "key", "list")[0]["address"] == made["address"]


def test_what_signs_needs_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that signs says how to make the missing key, before it looks for a node."""
    assert run(["license", "list"]) == Exit.NOT_FOUND
    assert "databund key new default" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "environment", "profile", "expected"),
    [
        (["--node", "http://flag"], "http://environment", "http://profile", ("http://flag", "flag")),
        ([], "http://environment", "http://profile", ("http://environment", "environment")),
        ([], None, "http://profile", ("http://profile", "profile")),
        ([], None, None, ("http://127.0.0.1:8750", "default")),
    ],
)
def test_a_flag_beats_environment_beats_profile_beats_default(
    flags: list[str],
    environment: str | None,
    profile: str | None,
    expected: tuple[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`config show` says which value holds, and which source it comes from."""
    if environment:
        monkeypatch.setenv("DATABUND_NODE", environment)
    if profile:
        (tmp_path / "config.toml").write_text(f'[default]\nnode = "{profile}"\n')

    shown = answer(capsys, "config", "show", *flags)["settings"]["node"]

    assert (shown["value"], shown["source"]) == expected


def test_the_doctor_finds_what_is_open_to_others(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of keys that others can read is a failure, and the fix is the command that mends it."""
    answer(capsys, "key", "new")
    (home / "keys").chmod(0o755)

    (found,) = doctor._home(Session(None))

    assert (found.state, found.fix) == ("fail", f"chmod 700 {home / 'keys'}")


def test_the_doctor_finds_a_damaged_database(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A database file that SQLite cannot read is a failure."""
    answer(capsys, "key", "new")
    (home / "databund.db").write_bytes(b"not a database at all" * 100)

    (found,) = doctor._databases(Session(None))

    assert (found.check, found.state) == ("database", "fail")


@pytest.mark.parametrize(("off_s", "state"), [(0, "ok"), (59, "ok"), (3600, "fail"), (-3600, "fail")])
def test_the_doctor_compares_clocks(off_s: int, state: str) -> None:
    """A node whose clock is more than a minute away is a failure."""
    now = 1_776_418_200.0
    answered = httpx.Response(200, headers={"Date": formatdate(now + off_s, usegmt=True)})

    assert doctor._skew(answered, now, now + 0.1).state == state


def test_a_node_that_is_everywhere_needs_a_name(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A node on every interface must be told its URL, because clients sign in to that; nothing is made before."""
    assert refusal(capsys, Exit.INVALID_INPUT, "serve", "--host", "::") == "config.invalid"
    assert not home.exists()


@pytest.mark.parametrize(
    ("variable", "value", "shown"),
    [
        ("DATABUND_DATABASE", "postgresql://me:hunter2@db.example/x?password=hunter2", "postgresql://…@db.example/x?…"),
        ("DATABUND_CHAIN", "https://rpc.example/v1?key=hunter2", "https://rpc.example/v1?…"),
        ("DATABUND_OBJECTS", "s3://bucket/prefix", "s3://bucket/prefix"),
    ],
)
def test_config_show_hides_secrets(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, variable: str, value: str, shown: str
) -> None:
    """`config show` prints no user, password or key that a URL holds, in neither form."""
    monkeypatch.setenv(variable, value)

    settings = answer(capsys, "config", "show")["settings"]
    run(["config", "show"])

    assert settings[variable.removeprefix("DATABUND_").lower()]["value"] == shown
    assert "hunter2" not in capsys.readouterr().out
