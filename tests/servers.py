"""Real servers for tests: a private PostgreSQL, an anvil node, an S3 server, each on this machine only.

Each function is a context manager that starts one process, waits until it answers, and stops that process by its own
id. Nothing is shared with a server that the machine already runs. PostgreSQL refuses to run as root, so as root it is
started under another account.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import httpx

ROOT = Path(__file__).resolve().parent.parent
NODE_MODULES = ROOT / "contracts" / "node_modules"
START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 15.0
POSTGRES_USER = "databund"


@dataclass(frozen=True, slots=True)
class S3Server:
    """A running S3 server: its HTTP address, and one empty bucket."""

    endpoint: str
    bucket: str

    @property
    def url(self) -> str:
        """The bucket as ``s3://``; the endpoint and the credentials are in ``environment``."""
        return f"s3://{self.bucket}"

    @property
    def environment(self) -> dict[str, str]:
        """The variables by which S3 clients find this server instead of Amazon's."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }


def postgres_program(name: str) -> Path | None:
    """Find one of PostgreSQL's programs: Debian keeps the server's off the PATH. Newest version first."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(re.sub(r"\D", "", folder.parent.name) or 0)
    )
    for folder in reversed(folders):
        if (folder / name).is_file():
            return folder / name
    found = shutil.which(name)
    return Path(found) if found else None


def foundry_program(name: str) -> Path | None:
    """Find ``anvil`` or ``forge`` among the npm packages: the program itself, so that its process id is ours."""
    found = sorted(NODE_MODULES.glob(f"@foundry-rs/{name}-*/bin/{name}"))
    return found[0] if found else None


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """Run a private PostgreSQL cluster on a Unix socket in a new folder; yield its SQLAlchemy URL (psycopg 3)."""
    initdb, server = postgres_program("initdb"), postgres_program("postgres")
    if initdb is None or server is None:
        raise FileNotFoundError("PostgreSQL's initdb and postgres were not found.")
    account = _postgres_account()
    # A socket's path may be 107 bytes long, and the temporary folders of test runs are longer.
    folder = Path(tempfile.mkdtemp(prefix="databund-pg-", dir="/tmp"))
    try:
        if account is not None:
            os.chown(folder, account.pw_uid, account.pw_gid)
        data = folder / "data"
        _run_to_end(
            [str(initdb), "-D", str(data), "-U", POSTGRES_USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"],
            account,
            folder,
        )
        # Tests kill processes, never the machine: fsync would guard against nothing here.
        command = [str(server), "-D", str(data), "-k", str(folder), "-c", "listen_addresses=", "-c", "fsync=off"]
        with _process(command, folder / "log", account=account, cwd=folder, stop=signal.SIGINT) as process:
            url = f"postgresql+psycopg://{POSTGRES_USER}@/postgres?host={quote(str(folder), safe='')}"
            _await_postgres(folder, process)
            yield url
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def postgres_database(server_url: str, name: str) -> Iterator[str]:
    """Create the database ``name`` on the server, yield its URL, drop it with whatever is still connected."""
    import psycopg
    from psycopg import sql

    admin = server_url.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    try:
        yield server_url.replace("@/postgres?", f"@/{name}?", 1)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextlib.contextmanager
def anvil(*arguments: str) -> Iterator[str]:
    """Run anvil on a free loopback port with these extra arguments; yield the URL of its JSON-RPC endpoint."""
    program = foundry_program("anvil")
    if program is None:
        raise FileNotFoundError("anvil was not found among the npm packages.")
    with tempfile.TemporaryDirectory(prefix="databund-anvil-") as folder:
        log = Path(folder) / "log"
        command = [str(program), "--host", "127.0.0.1", "--port", "0", *arguments]
        with _process(command, log, cwd=Path(folder)) as process:
            yield "http://" + _await_line(log, r"Listening on (127\.0\.0\.1:\d+)", process)


@contextlib.contextmanager
def s3(bucket: str = "databund") -> Iterator[S3Server]:
    """Run moto's S3 server on a free loopback port with one empty bucket."""
    with tempfile.TemporaryDirectory(prefix="databund-s3-") as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        with _process(command, log, cwd=Path(folder)) as process:
            endpoint = _await_line(log, r"Running on (http://127\.0\.0\.1:\d+)", process)
            httpx.put(f"{endpoint}/{bucket}", timeout=START_TIMEOUT_S, trust_env=False).raise_for_status()
            yield S3Server(endpoint=endpoint, bucket=bucket)


def _postgres_account() -> pwd.struct_passwd | None:
    """Return the account to run PostgreSQL under: none for a normal user, ``postgres`` or ``nobody`` for root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError("PostgreSQL does not run as root, and there is neither a postgres nor a nobody account.")


def _environment(account: pwd.struct_passwd | None) -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"} | ({"HOME": account.pw_dir} if account else {})


def _identity(account: pwd.struct_passwd | None) -> dict[str, object]:
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


def _run_to_end(command: list[str], account: pwd.struct_passwd | None, cwd: Path) -> None:
    done = subprocess.run(
        command,
        env=_environment(account),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT_S,
        **_identity(account),
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} ended with {done.returncode}: {done.stdout}{done.stderr}")


@contextlib.contextmanager
def _process(
    command: list[str],
    log: Path,
    *,
    cwd: Path,
    account: pwd.struct_passwd | None = None,
    stop: signal.Signals = signal.SIGTERM,
) -> Iterator[subprocess.Popen[bytes]]:
    """Start the command with its output in ``log``; at the end stop exactly this process, harder after a while."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=_environment(account),
            cwd=cwd,
            **_identity(account),
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(stop)
        try:
            process.wait(timeout=STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=STOP_TIMEOUT_S)


def _moments(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Tick every 20 ms while the process lives, at most ``START_TIMEOUT_S``."""
    end = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < end and process.poll() is None:
        yield
        time.sleep(0.02)


def _await_line(log: Path, pattern: str, process: subprocess.Popen[bytes]) -> str:
    for _ in _moments(process):
        found = re.search(pattern, log.read_text(errors="replace"))
        if found:
            return found[1]
    raise RuntimeError(f"{process.args} did not start: {log.read_text(errors='replace')}")


def _await_postgres(folder: Path, process: subprocess.Popen[bytes]) -> None:
    import psycopg

    for _ in _moments(process):
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host=str(folder), user=POSTGRES_USER, dbname="postgres").close()
            return
    raise RuntimeError(f"PostgreSQL did not start: {(folder / 'log').read_text(errors='replace')}")
