"""Known nodes: the first answer counts, another one is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from databund.core.amounts import Currency
from databund.core.ids import Address
from databund.core.messages import NodeInfo
from databund.core.offers import Domain
from databund.errors import NodeChanged
from databund.sdk.known_nodes import KnownNodes

URL = "http://127.0.0.1:8750"


def info() -> NodeInfo:
    """What a node says of itself."""
    return NodeInfo(
        version="1",
        operator=Address(bytes(20)),
        domain=Domain(31337, Address(bytes(19) + b"\x01")),
        currency=Currency(Address(bytes(19) + b"\x02"), "CREDIT", 6, "databund credit"),
        license_token=Address(bytes(19) + b"\x03"),
        title=Address(bytes(19) + b"\x04"),
        checkpoint_anchor=Address(bytes(19) + b"\x05"),
        since_block=4,
        fee=None,
        recipient="age1",
        origin="log.example",
        log_key="log.example+00000000+AA==",
    )


def test_a_new_node_is_kept_and_the_same_one_passes(tmp_path: Path) -> None:
    """What a node said at first is what it may say again; a newer version or another fee is no concern."""
    KnownNodes(tmp_path).check(URL, info())

    KnownNodes(tmp_path).check(URL, msgspec.structs.replace(info(), version="2"))


@pytest.mark.parametrize(
    "change",
    [
        {"domain": Domain(1, Address(bytes(19) + b"\x01"))},
        {"domain": Domain(31337, Address(bytes(20)))},
        {"currency": Currency(Address(bytes(20)), "CREDIT", 6, "databund credit")},
        {"currency": Currency(Address(bytes(19) + b"\x02"), "CREDIT", 0, "databund credit")},
        {"license_token": Address(bytes(20))},
        {"origin": "other.example"},
        {"log_key": "log.example+00000001+AA=="},
    ],
)
def test_a_node_that_names_something_else_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    """Whatever a payment or the log depends on cannot change unseen; the error names it and the way on."""
    KnownNodes(tmp_path).check(URL, info())

    with pytest.raises(NodeChanged) as refusal:
        KnownNodes(tmp_path).check(URL, msgspec.structs.replace(info(), **change))

    assert next(iter(change)) in refusal.value.what
    assert "remove" in refusal.value.fix


def test_nodes_are_told_apart_by_their_url(tmp_path: Path) -> None:
    """Two nodes may well be different."""
    KnownNodes(tmp_path).check(URL, info())

    KnownNodes(tmp_path).check(URL + "1", msgspec.structs.replace(info(), origin="other.example"))

    assert len(list(tmp_path.iterdir())) == 2
