"""Delivery: a blob from a real node process over loopback, beside nginx with ``sendfile on`` and the same file.

Rounds alternate between the two servers, and one client asks both: a socket that is read into one large buffer, so that
the client is as little in the way as a client can be. curl, which is what people have, is measured beside it.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from blake3 import blake3

from benchmarks.files import MIB, random_file, workplace
from benchmarks.nodes import HOST, NodeProcess
from benchmarks.processes import cpu_seconds
from databund.api.server import free_port
from databund.crypto.identities import Identity

__all__ = ["Figures", "run"]

_MIB, _ROUNDS = 1024, 25
_QUICK_MIB, _QUICK_ROUNDS = 512, 11
_BUFFER = MIB
_TIMEOUT_S = 60.0
_NGINX = ("nginx", "/usr/sbin/nginx", "/usr/local/sbin/nginx")
_CONFIGURATION = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{ worker_connections 64; }}
http {{
  access_log off;
  sendfile on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen {host}:{port}; location / {{ root {root}; }} }}
}}
{user}
"""


@dataclass(frozen=True)
class Figures:
    """Medians in GB/s (10^9 bytes), of ours over nginx's in the same round, and CPU seconds for each GB sent.

    What needs nginx or curl is None where they are not installed; ``missing`` names them.
    """

    ratio_to_nginx: float | None
    ours_gb_s: float
    nginx_gb_s: float | None
    range_gb_s: float
    curl_ratio_to_nginx: float | None
    curl_ours_gb_s: float | None
    curl_nginx_gb_s: float | None
    ours_cpu_s_gb: float
    range_cpu_s_gb: float
    mib: int
    rounds: int
    missing: tuple[str, ...]


@dataclass(frozen=True)
class _Server:
    """Where the file is, and which program ``curl`` is, if it is there."""

    port: int
    path: str
    size: int

    def read(self, start: int = 0) -> float:
        """Seconds to receive the file from byte ``start`` on."""
        buffer = memoryview(bytearray(_BUFFER))
        wanted = f"Range: bytes={start}-\r\n" if start else ""
        begun = time.perf_counter()
        with socket.create_connection((HOST, self.port), timeout=_TIMEOUT_S) as connection:
            connection.sendall(
                f"GET {self.path} HTTP/1.1\r\nHost: {HOST}\r\n{wanted}Connection: close\r\n\r\n".encode()
            )
            count = connection.recv_into(buffer)
            head = bytes(buffer[:count]).partition(b"\r\n\r\n")[0]
            assert head.startswith(b"HTTP/1.1 20"), head
            received = count - len(head) - 4
            while count := connection.recv_into(buffer):
                received += count
        assert received == self.size - start, f"{received} bytes of {self.size - start}"
        return time.perf_counter() - begun

    def curl(self) -> float:
        """Seconds that curl takes."""
        begun = time.perf_counter()
        command = ["curl", "--silent", "--fail", "--output", "/dev/null", f"http://{HOST}:{self.port}{self.path}"]
        subprocess.run(command, check=True, timeout=_TIMEOUT_S)
        return time.perf_counter() - begun


def run(*, quick: bool) -> Figures:
    """Send the blob again and again."""
    mib, rounds = (_QUICK_MIB, _QUICK_ROUNDS) if quick else (_MIB, _ROUNDS)
    with workplace("delivery") as folder, ExitStack() as stack:
        blob, root = _blob(folder / "home" / "objects", mib)
        node = stack.enter_context(NodeProcess(folder / "home", Identity.generate().reveal()))
        node.run()
        ours = _Server(node.port, f"/blobs/{root}", mib * MIB)
        nginx = _start_nginx(blob, folder, stack)
        return _measure(ours, nginx, node, mib=mib, rounds=rounds)


def _measure(ours: _Server, nginx: _Server | None, node: NodeProcess, *, mib: int, rounds: int) -> Figures:
    has_curl = shutil.which("curl") is not None
    acts: dict[str, Callable[[], float]] = {"ours": ours.read, "range": lambda: ours.read(start=MIB)}
    if nginx is not None:
        acts["nginx"] = nginx.read
    if has_curl:
        acts["curl_ours"] = ours.curl
        if nginx is not None:
            acts["curl_nginx"] = nginx.curl
    times: dict[str, list[float]] = {name: [] for name in acts}
    cpu = dict.fromkeys(acts, 0.0)
    for number in range(rounds + 1):
        # Whoever comes after a stranger finds the caches cold, so everybody takes turns at every place.
        order = list(acts)[number % len(acts) :] + list(acts)[: number % len(acts)]
        for name in order:
            before = cpu_seconds(node.pid)
            seconds = acts[name]()
            if number:  # the first round warms up
                times[name].append(seconds)
                cpu[name] += cpu_seconds(node.pid) - before
    gigabytes = mib * MIB / 1e9
    rates = {name: gigabytes / median(seconds) for name, seconds in times.items()}

    def rate(name: str) -> float | None:
        return round(rates[name], 3) if name in rates else None

    def ratio(name: str, other: str) -> float | None:
        if other not in times:
            return None
        # Round by round, so that what slows the machine down for a while falls on both.
        return round(median(theirs / own for own, theirs in zip(times[name], times[other], strict=True)), 3)

    return Figures(
        ratio_to_nginx=ratio("ours", "nginx"),
        ours_gb_s=round(rates["ours"], 3),
        nginx_gb_s=rate("nginx"),
        range_gb_s=round(rates["range"], 3),
        curl_ratio_to_nginx=ratio("curl_ours", "curl_nginx"),
        curl_ours_gb_s=rate("curl_ours"),
        curl_nginx_gb_s=rate("curl_nginx"),
        ours_cpu_s_gb=round(cpu["ours"] / rounds / gigabytes, 3),
        range_cpu_s_gb=round(cpu["range"] / rounds / gigabytes, 3),
        mib=mib,
        rounds=rounds,
        missing=tuple(name for name, there in (("nginx", nginx is not None), ("curl", has_curl)) if not there),
    )


def _blob(objects: Path, mib: int) -> tuple[Path, str]:
    """A blob under its content root, as a node finds it in its home."""
    objects.mkdir(parents=True)
    hasher = blake3()
    random_file(objects / "new", mib, seen=hasher.update)
    root = f"0x{hasher.hexdigest()}"
    return (objects / "new").rename(objects / root), root


def _start_nginx(blob: Path, folder: Path, stack: ExitStack) -> _Server | None:
    program = next(filter(None, map(shutil.which, _NGINX)), None)
    if program is None:
        return None
    port = stack.enter_context(_nginx(program, blob.parent, folder))
    return _Server(port, f"/{blob.name}", blob.stat().st_size)


@contextmanager
def _nginx(program: str, root: Path, folder: Path) -> Iterator[int]:
    """Run nginx on the folder ``root``; gives its port."""
    port = free_port(HOST, 0)
    # As root, nginx would give its worker to another account, which cannot read our folder.
    user = "user root;" if os.geteuid() == 0 else ""
    file = folder / "nginx.conf"
    file.write_text(_CONFIGURATION.format(folder=folder, host=HOST, port=port, root=root, user=user))
    process = subprocess.Popen([program, "-c", str(file)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=_TIMEOUT_S)


def _await(port: int, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _TIMEOUT_S
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection((HOST, port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError(f"nginx ended with {process.poll()}.")
