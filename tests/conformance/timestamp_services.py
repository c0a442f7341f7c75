"""An authority and a calendar on loopback, made of real parts: ``openssl ts`` and the OpenTimestamps code."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from opentimestamps.core.notary import BitcoinBlockHeaderAttestation, PendingAttestation
from opentimestamps.core.op import OpAppend, OpPrepend, OpSHA256
from opentimestamps.core.serialize import BytesSerializationContext
from opentimestamps.core.timestamp import Timestamp

Answer = tuple[int, bytes]
HEIGHT = 912_345
_CONFIG = """
[tsa]
default_tsa = loopback
[loopback]
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha512
accuracy = secs:1
tsa_name = yes
[root]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
[stamping]
extendedKeyUsage = critical, timeStamping
keyUsage = critical, digitalSignature
[req]
distinguished_name = nobody
[nobody]
"""


def openssl(folder: Path, *arguments: str, fails: bool = False) -> str:
    """Run openssl in a folder and give its output; it has to succeed, or to fail."""
    done = subprocess.run(["openssl", *arguments], cwd=folder, capture_output=True, text=True, timeout=30)
    assert (done.returncode != 0) is fails, done.stdout + done.stderr
    return done.stdout + done.stderr


@dataclass(frozen=True)
class Authority:
    """A root, ``root.pem``, and the authority that it certified."""

    folder: Path

    @classmethod
    def make(cls, folder: Path) -> Authority:
        """Make the keys and certificates."""
        folder.mkdir()
        (folder / "tsa.cnf").write_text(_CONFIG)
        (folder / "serial").write_text("01\n")
        new = ("-config", "tsa.cnf", "-newkey", "rsa:2048", "-nodes")
        openssl(
            *(folder, "req", "-x509", *new, "-extensions", "root", "-days", "30"),
            *("-subj", "/CN=root", "-keyout", "root.key", "-out", "root.pem"),
        )
        openssl(folder, "req", *new, "-subj", "/CN=authority", "-keyout", "tsa.key", "-out", "tsa.csr")
        openssl(
            *(folder, "x509", "-req", "-in", "tsa.csr", "-CA", "root.pem", "-CAkey", "root.key", "-CAcreateserial"),
            *("-days", "30", "-extfile", "tsa.cnf", "-extensions", "stamping", "-out", "tsa.pem"),
        )
        return cls(folder)

    @property
    def roots(self) -> bytes:
        """The PEM root."""
        return (self.folder / "root.pem").read_bytes()

    def reply(self, query: bytes) -> bytes:
        """The response to a query, in DER."""
        (self.folder / "query").write_bytes(query)
        openssl(self.folder, "ts", "-reply", "-config", "tsa.cnf", "-queryfile", "query", "-out", "reply")
        return (self.folder / "reply").read_bytes()


@dataclass
class Calendar:
    """A calendar that promises at once, and has a Bitcoin block when ``mined`` is set."""

    url: str = ""
    mined: bool = False
    promised: dict[str, Timestamp] = field(default_factory=dict)

    def answer(self, path: str, body: bytes) -> Answer:
        """What the calendar protocol answers to a request."""
        if path == "/digest":
            timestamp = Timestamp(body)
            promise = timestamp.ops.add(OpAppend(b"calendar")).ops.add(OpSHA256())
            promise.attestations.add(PendingAttestation(self.url))
            self.promised[promise.msg.hex()] = Timestamp(promise.msg)
            return 200, serialized(timestamp)
        promised = self.promised.get(path.removeprefix("/timestamp/"))
        if promised is None or not self.mined:
            return 404, b"Pending confirmation in Bitcoin blockchain"
        block = promised.ops.add(OpPrepend(b"neighbor")).ops.add(OpSHA256()).ops.add(OpSHA256())
        block.attestations.add(BitcoinBlockHeaderAttestation(HEIGHT))
        return 200, serialized(promised)

    def root(self) -> str:
        """The Merkle root that the only promise leads to, as block explorers show it."""
        (promised,) = self.promised.values()
        ((root, _),) = promised.all_attestations()
        return bytes(root)[::-1].hex()


def serialized(timestamp: Timestamp) -> bytes:
    """A timestamp as calendars send it."""
    context = BytesSerializationContext()
    timestamp.serialize(context)
    return bytes(context.getbytes())


@contextlib.contextmanager
def answering(answer: Callable[[str, bytes], Answer]) -> Iterator[str]:
    """The URL of a loopback server that answers each request by its path and body."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            status, body = answer(self.path, self.rfile.read(int(self.headers.get("Content-Length", 0))))
            with contextlib.suppress(ConnectionError):  # a client may hang up in the middle of too long an answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        do_GET = do_POST  # noqa: N815  # the name that the server calls

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
