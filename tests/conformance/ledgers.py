"""What the tests of the ledger share: nodes, gas, and a company's wallet."""

from __future__ import annotations

from web3.providers.base import BaseProvider
from web3.types import RPCEndpoint

from databund.chain.chain_events import ChainEventReader
from databund.chain.connection import IMMEDIATE, Connection, http_provider
from databund.chain.deployment import Deployment, deploy
from databund.chain.ledger import ChainLedger
from databund.chain.relayer import ChainRelayer
from databund.chain.sending import Sender
from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.testing.ledger_suite import Market

NOBODY = "http://127.0.0.1:9"  # the discard port; nothing listens there


def give_gas(provider: BaseProvider, account: Address) -> None:
    """Give an account 100 ether on anvil."""
    provider.make_request(RPCEndpoint("anvil_setBalance"), [str(account), hex(10**20)])


def deployed(connection: Connection, operator: Identity) -> Deployment:
    """A new exchange."""
    return deploy(connection, operator, currency_name="Test credit", currency_symbol="CREDIT")


def open_market(connection: Connection, operator: Identity) -> Market:
    """A new exchange, ready for the conformance suite."""
    deployment = deployed(connection, operator)
    absent = Connection(http_provider(NOBODY), chain_id=deployment.chain_id, finality=IMMEDIATE)
    return Market(
        ledger=ChainLedger(connection, deployment),
        relayer=ChainRelayer(connection, deployment, operator),
        events=ChainEventReader(connection, deployment),
        reopened=lambda: ChainRelayer(connection, deployment, operator),
        wallet_of=lambda owner: wallet_of(connection, operator, owner),
        unreachable=(
            ChainLedger(absent, deployment),
            ChainRelayer(absent, deployment, operator),
            ChainEventReader(absent, deployment),
        ),
    )


def wallet_of(connection: Connection, deployer: Identity, owner: Address) -> Address:
    """Deploy the least company wallet: its ERC-1271 signatures are the 65 bytes of ``owner``'s key."""
    code = bytes.fromhex(
        "602060045f37"  # memory 0: the digest
        "60a43560f81c602052"  # memory 32: v
        "60406064604037"  # memory 64: r and s
        "6020608060805f60015afa50"  # memory 128: the signer, by the precompile ecrecover
        "60805173" + bytes(owner).hex() + "14"  # whether it is the owner
        "631626ba7e60e01b025f5260205ff3"  # if so ERC-1271's answer, else zeros
    )
    creation = bytes([0x60, len(code), 0x80, 0x60, 0x09, 0x5F, 0x39, 0x5F, 0xF3]) + code
    sender = Sender(connection, deployer)
    gas, nonce = sender.try_call(None, creation), connection.included(deployer.address)
    receipt = sender.settle(sender.sign(None, creation, gas=gas, nonce=nonce), timeout_s=30)
    assert receipt is not None
    return Address(bytes.fromhex(receipt["contractAddress"][2:]))
