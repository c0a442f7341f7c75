"""The deployment: which smart contracts on which chain make up an exchange.

It is written to one JSON file per chain, named by the chain id. An interrupted `deploy` is taken up where it stopped:
the address of a smart contract follows from its deployer and the deployer's nonce, so what is already there is found.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Self

import msgspec
import rlp  # type: ignore[import-untyped]  # ships no types

from databund.chain.connection import Connection, NodeRefusal
from databund.chain.sending import Sender
from databund.chain.smart_contracts import SmartContract
from databund.core import documents
from databund.core.amounts import Currency
from databund.core.ids import Address, keccak256
from databund.core.offers import Domain
from databund.crypto.identities import Identity
from databund.errors import AlreadyExists, ChainRejected, ChainUnavailable, ConfigInvalid, NotFound, WrongChain

__all__ = ["Deployment", "deploy"]


class Deployment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the smart contracts of one exchange are, and what its currency is.

    ``block`` is the newest block when the deployment was complete: nobody knew of the exchange earlier, so readers of
    its events start there.
    """

    chain_id: int
    exchange: Address
    license_token: Address
    currency: Currency
    dataset_title: Address
    checkpoint_anchor: Address
    block: int

    @property
    def domain(self) -> Domain:
        """Where offers signed for this exchange count."""
        return Domain(self.chain_id, self.exchange)

    @classmethod
    def load(cls, folder: Path, chain_id: int) -> Self:
        """Read the file of a chain. Raises `NotFound`, and `ConfigInvalid` where it is not a deployment of it."""
        file = _file(folder, chain_id)
        try:
            found = documents.decode(file.read_bytes(), cls)
        except FileNotFoundError:
            raise NotFound(
                f"No exchange is deployed on chain {chain_id}, or {file} is lost.", fix="Deploy one: databund init"
            ) from None
        if found.chain_id != chain_id:
            raise ConfigInvalid(f"{file} describes chain {found.chain_id}.", fix="Restore the file from a backup.")
        return found

    def save(self, folder: Path) -> None:
        """Write the file of this chain, whole and durable or not at all."""
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, delete=False) as draft:
            draft.write(msgspec.json.format(documents.encode(self), indent=1) + b"\n")
            draft.flush()
            os.fsync(draft.fileno())
        Path(draft.name).replace(_file(folder, self.chain_id))
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def check(self, connection: Connection) -> None:
        """Raise `WrongChain` unless the node's chain has these smart contracts, compiled from our sources."""
        if connection.chain_id != self.chain_id:
            raise WrongChain(
                f"The node is on chain {connection.chain_id}; the exchange is on chain {self.chain_id}.",
                fix="Correct the ledger's URL.",
            )
        places = {
            "SettlementToken": self.currency.address,
            "Exchange": self.exchange,
            "LicenseToken": self.license_token,
            "DatasetTitle": self.dataset_title,
            "CheckpointAnchor": self.checkpoint_anchor,
        }
        for name, address in places.items():
            if not SmartContract.load(name).is_code(connection.code(address)):
                raise WrongChain(
                    f"At {address} on chain {self.chain_id} there is no {name} of this version of databund.",
                    fix="Correct the ledger's URL, or use the version that deployed the exchange.",
                )


def deploy(
    connection: Connection,
    identity: Identity,
    *,
    currency_name: str,
    currency_symbol: str,
    license_uri: str = "",
    collection_uri: str = "",
    timeout_s: float = 300.0,
) -> Deployment:
    """Deploy an exchange that ``identity`` operates, and wait until it is final.

    After an interruption call it again with the same arguments, before the identity signs anything else. Raises
    `AlreadyExists` when the interrupted one had another currency, `ChainRejected`, `ChainUnavailable`.
    """
    sender = Sender(connection, identity)
    plan = {
        "SettlementToken": (currency_name, currency_symbol, identity.address),
        "Exchange": (identity.address, license_uri),
        "DatasetTitle": ("databund dataset titles", "TITLE", collection_uri),
        "CheckpointAnchor": (),
    }
    nonce = connection.included(identity.address)
    places = _interrupted(connection, list(plan), operator=identity.address, nonce=nonce)
    for name, arguments in list(plan.items())[len(places) :]:
        _create(sender, SmartContract.load(name).creation(*arguments), nonce=nonce, timeout_s=timeout_s)
        places[name] = _created(identity.address, nonce)
        nonce += 1
    deployment = _read(connection, places)
    deployment.check(connection)
    currency = deployment.currency
    if (currency.name, currency.symbol) != (currency_name, currency_symbol):
        raise AlreadyExists(
            f"An interrupted deployment of {identity.address} has the currency {currency.name} ({currency.symbol}).",
            fix="Finish it with the same arguments as before.",
        )
    return deployment


def _interrupted(connection: Connection, names: list[str], *, operator: Address, nonce: int) -> dict[str, Address]:
    """What the operator's last chain transactions deployed of the plan."""
    for done in range(min(len(names), nonce), 0, -1):
        places = {name: _created(operator, nonce - done + i) for i, name in enumerate(names[:done])}
        if all(SmartContract.load(name).is_code(connection.code(place)) for name, place in places.items()):
            return places
    return {}


def _create(sender: Sender, data: bytes, *, nonce: int, timeout_s: float) -> None:
    try:
        gas = sender.try_call(None, data)
    except NodeRefusal as refusal:
        raise ChainRejected(
            f"The chain refuses a smart contract of the exchange: {refusal.message}.",
            fix=f"See that it follows Cancun's rules or later ones, and that {sender.address} can pay for gas.",
        ) from None
    receipt = sender.settle(sender.sign(None, data, gas=gas, nonce=nonce), timeout_s=timeout_s)
    if receipt is None:
        raise ChainUnavailable(
            f"A smart contract of the exchange is not final after {timeout_s:g} s.", fix="Deploy again; it goes on."
        )
    if int(receipt["status"], 16) != 1:
        raise ChainRejected("The deployment of a smart contract failed.", fix="Look at the node, then deploy again.")


def _created(operator: Address, nonce: int) -> Address:
    """The address of the smart contract that the operator's chain transaction with this nonce deploys."""
    return Address(keccak256(rlp.encode([bytes(operator), nonce]))[12:])


def _read(connection: Connection, places: dict[str, Address]) -> Deployment:
    money, exchange = SmartContract.load("SettlementToken"), SmartContract.load("Exchange")
    block = connection.newest_block()

    def ask(smart_contract: SmartContract, function: str) -> str | int:
        output = connection.read(places[smart_contract.name], smart_contract.call(function))
        if not output:
            raise ChainUnavailable("The deployed exchange is not final yet.", fix="Deploy again; it goes on.")
        value: str | int = smart_contract.result(function, output)[0]
        return value

    return Deployment(
        chain_id=connection.chain_id,
        exchange=places["Exchange"],
        license_token=Address.parse(str(ask(exchange, "LICENSES"))),
        currency=Currency(
            address=places["SettlementToken"],
            symbol=str(ask(money, "symbol")),
            decimals=int(ask(money, "decimals")),
            name=str(ask(money, "name")),
        ),
        dataset_title=places["DatasetTitle"],
        checkpoint_anchor=places["CheckpointAnchor"],
        block=block,
    )


def _file(folder: Path, chain_id: int) -> Path:
    return folder / f"{chain_id}.json"
