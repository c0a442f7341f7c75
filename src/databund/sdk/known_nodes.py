"""Known nodes: what a node said of itself when it was first met, as SSH keeps the keys of hosts.

A payment is signed for a chain, an exchange and a currency that the node names. A node that is taken over, or a name
that leads elsewhere, could name others; so the first answer is kept, and a different one is refused.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

import msgspec

from databund.core import documents
from databund.core.amounts import Currency
from databund.core.ids import Address
from databund.core.messages import NodeInfo
from databund.core.offers import Domain
from databund.errors import NodeChanged

__all__ = ["KnownNodes"]


class _Known(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What must not change: where signatures count, what money is, and who signs the log."""

    domain: Domain
    currency: Currency
    license_token: Address
    origin: str
    log_key: str


class KnownNodes:
    """One folder, a file for each node's URL."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def check(self, url: str, info: NodeInfo) -> None:
        """Keep what a new node says; raise `NodeChanged` when a known one says something else."""
        said = _Known(info.domain, info.currency, info.license_token, info.origin, info.log_key)
        file = self._folder / f"{quote(url, safe='')}.json"
        try:
            known = documents.decode(file.read_bytes(), _Known)
        except FileNotFoundError:
            self._keep(file, said)
            return
        changed = [name for name in _Known.__struct_fields__ if getattr(known, name) != getattr(said, name)]
        if changed:
            raise NodeChanged(
                f"The node at {url} is not the one it was: its {' and '.join(changed)} changed. Nothing was signed.",
                fix=f"Ask the operator on another way. If it moved to another chain on purpose, remove {file}.",
            )

    def _keep(self, file: Path, known: _Known) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary = file.with_name(f"{file.name}.{os.getpid()}")
        temporary.write_bytes(documents.encode(known))
        temporary.replace(file)
