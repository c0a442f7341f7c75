"""The page of a log as a node serves it: through a witness that cosigns, one that does not answer, and a halt."""

from __future__ import annotations

import re
import socket
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from databund.crypto.identities import Identity
from databund.errors import LogForked
from databund.tlog.checkpoints import read_unverified
from databund.tlog.notes import SignatureType, VerifierKey
from tests.integration.witness_processes import witness_process
from tests.nodes import ABOUT, NodeInProcess, node_in_process, table

ORIGIN = "data.example.com/log"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[NodeInProcess]:
    """A node without witnesses."""
    with node_in_process(tmp_path) as node:
        yield node


def read(running: NodeInProcess, path: str = "/log/", **headers: str) -> str:
    """The page."""
    answer = running.http.get(path, headers=headers)
    assert answer.status_code == 200
    return answer.text


def publish(running: NodeInProcess) -> None:
    """Have something in the log."""
    running.client().publish(table(running.folder / "data"), ABOUT)


def test_empty_log_has_a_page(running: NodeInProcess) -> None:
    """Before the first act, when there is no status to give, the page says so and names the log's key."""
    page = read(running)

    assert "The log is empty." in page
    assert running.node.info.log_key in page
    assert running.http.get("/log/status").json()["size"] == 0


def test_page_shows_the_signed_tree(running: NodeInProcess) -> None:
    """Size and root on the page are those of the checkpoint, with and without the slash at the end."""
    publish(running)
    head = read_unverified(running.http.get("/log/checkpoint/newest").content)

    for path in ("/log/", "/log"):
        page = read(running, path)
        assert f"<dd>{head.size:,}</dd>" in page
        assert f'title="{head.root.hex()}"' in page
    assert "No witness watches this log." in page


def test_links_of_the_page_answer(running: NodeInProcess) -> None:
    """Every link on the page leads to something."""
    publish(running)
    links = re.findall('href="([^"]+)"', read(running))

    assert len(links) == 4
    assert [running.http.get(f"/log/{link}" if link[0] == "?" else link).status_code for link in links] == [200] * 4


def test_headers_allow_nothing_but_the_one_style(running: NodeInProcess) -> None:
    """The page may load and run nothing; its own style sheet is allowed by the hash of what is between the tags."""
    answer = running.http.get("/log/")
    style = re.search("<style>(.*?)</style>", answer.text, re.S)
    assert style is not None
    digest = b64encode(sha256(style[1].encode()).digest()).decode()

    policy = answer.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'none'" in policy
    assert [part for part in policy if part.startswith(("style", "script"))] == [f"style-src 'sha256-{digest}'"]
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert answer.headers["Cache-Control"] == "no-cache"
    assert answer.headers["Vary"] == "Accept-Language"


def test_head_gives_the_headers_alone(running: NodeInProcess) -> None:
    """HEAD answers as GET, without the page."""
    answer = running.http.head("/log/")
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "text/html; charset=utf-8"


def test_language_is_that_of_the_reader(running: NodeInProcess) -> None:
    """The browser's language decides, unless the address names one; nonsense in it is passed over."""
    chinese = {"Accept-Language": "zh-CN,zh;q=0.9"}
    assert "日志为空。" in read(running, **chinese)
    assert "The log is empty." in read(running, "/log/?lang=en", **chinese)
    assert "日志为空。" in read(running, "/log/?lang=%00<script>", **chinese)
    assert running.http.get("/log/", headers=chinese).headers["Content-Language"] == "zh"


def test_halted_log_is_shown_as_halted(running: NodeInProcess) -> None:
    """Once nothing is signed any more, the page says so and why, whether the log is empty or not."""
    running.node.auditor.halt(LogForked("The log was <signed> twice.", fix="Find out why."))

    page = read(running)
    assert "This log is halted: nothing is signed any more." in page
    assert "The log was &lt;signed&gt; twice." in page


def test_page_follows_the_witnesses(tmp_path: Path) -> None:
    """A policy of one among two is unmet before anybody is asked, and met in spite of the one that does not answer."""
    operator = Identity.generate()
    key = VerifierKey(ORIGIN, SignatureType.ED25519, operator.log_key.public)
    policy = tmp_path / "policy.txt"
    with witness_process(tmp_path / "witness", "--log", str(key)) as witness, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        nobody = VerifierKey("nobody.example/w", SignatureType.COSIGNATURE_V1, Identity.generate().log_key.public)
        policy.write_text(
            f"witness ours {witness.vkeys[0]} {witness.url}\n"
            f"witness nobody {nobody} http://127.0.0.1:{closed.getsockname()[1]}\n"
            "group q any ours nobody\nquorum q\n"
        )
        with node_in_process(tmp_path, operator=operator, origin=ORIGIN, witness_policy=policy) as running:
            assert running.node.cosigning is not None
            before = read(running)
            publish(running)
            running.node.cosigning.collect()
            after = read(running)

    assert "The policy has not been met for any size yet." in before
    assert "The policy is met for all 1 entries" in after
    assert "cosigned</span>" in after
    assert f"<bdi>{witness.url}</bdi>" in after
