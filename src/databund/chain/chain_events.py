"""Chain events: what the smart contracts of an exchange recorded, read over JSON-RPC.

Only final blocks are read. A node that refuses a large answer is asked for fewer blocks at a time. Sales in another
currency than the exchange's are left out: the smart contract sells for anybody, but they are no trade of this exchange.
Source: eth_getLogs of https://ethereum.github.io/execution-apis.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from databund.chain.connection import Connection, NodeRefusal
from databund.chain.deployment import Deployment
from databund.chain.payments import received
from databund.chain.smart_contracts import SmartContract
from databund.core.amounts import Amount
from databund.core.canonical import MAX_INTEGER
from databund.core.chain_events import AnchorRecorded, ChainEvent, Fate, LicenseSold, OfferWithdrawn, Place
from databund.core.ids import Address, OfferId, OrderId
from databund.errors import ChainUnavailable, NotFound
from databund.ports import Block

__all__ = ["ChainEventReader"]

_MOST_BLOCKS = 5_000
_HASH = re.compile(r"0x[0-9a-f]{64}")
_Log = Mapping[str, Any]


class ChainEventReader:
    """`ports.ChainEvents` over a node."""

    def __init__(self, connection: Connection, deployment: Deployment) -> None:
        self._connection = connection
        self._deployment = deployment
        self._exchange = SmartContract.load("Exchange")
        self._money = SmartContract.load("SettlementToken")
        self._anchor = SmartContract.load("CheckpointAnchor")

    def newest(self) -> Block:
        """The newest final block."""
        return self._block(self._connection.newest_final())

    def block(self, number: int) -> Block:
        """A final block by its number. Raises `NotFound`."""
        self._check_final(number)
        return self._block(number)

    def between(self, first: int, last: int) -> Sequence[ChainEvent]:
        """The events of the blocks ``first`` to ``last``, in the order of the chain. Raises `NotFound` before final."""
        self._check_final(last)
        logs = [
            log
            for start in range(first, last + 1, _MOST_BLOCKS)
            for log in self._logs(start, min(start + _MOST_BLOCKS - 1, last))
        ]
        return list(self._events(sorted(logs, key=_order)))

    def fate(self, chain_transaction: str) -> Fate:
        """What became of a chain transaction."""
        if not _HASH.fullmatch(chain_transaction):
            return Fate.ABSENT
        receipt = self._connection.receipt(chain_transaction)
        if receipt is None:
            known = self._connection.ask("eth_getTransactionByHash", chain_transaction) is not None
            return Fate.PENDING if known else Fate.ABSENT
        if not self._connection.is_final(receipt):
            return Fate.PENDING
        return Fate.SUCCEEDED if int(receipt["status"], 16) == 1 else Fate.FAILED

    def _block(self, number: int) -> Block:
        found = self._connection.ask("eth_getBlockByNumber", hex(number), False)
        if found is None:
            raise NotFound(f"The chain has no block {number}.", fix="Read up to its newest final block.")
        return Block(int(found["number"], 16), found["hash"])

    def _check_final(self, number: int) -> None:
        newest = self._connection.newest_final()
        if number > newest:
            raise NotFound(
                f"The block {number} is not final; the newest final one is {newest}.", fix="Wait, then ask again."
            )

    def _logs(self, first: int, last: int) -> list[_Log]:
        places = [self._deployment.exchange, self._deployment.currency.address, self._deployment.checkpoint_anchor]
        wanted = {
            "fromBlock": hex(first),
            "toBlock": hex(last),
            "address": [str(place) for place in places],
            "topics": [
                [
                    self._exchange.topic("LicenseSold"),
                    self._exchange.topic("OfferCancelled"),
                    self._money.topic("Transfer"),
                    self._anchor.topic("CheckpointAnchored"),
                ]
            ],
        }
        try:
            found: list[_Log] = self._connection.request("eth_getLogs", wanted)
        except NodeRefusal as refusal:
            if first == last:
                raise ChainUnavailable(
                    f"The chain's node refused the events of block {first}: {refusal.message}.",
                    fix="Look after the node, then try again.",
                ) from None
            middle = (first + last) // 2
            return [*self._logs(first, middle), *self._logs(middle + 1, last)]
        return found

    def _events(self, logs: Sequence[_Log]) -> Iterator[ChainEvent]:
        """The events, each sale with the transfers that came before it in its chain transaction."""
        chain_transaction, transfers = "", list[dict[str, Any]]()
        for log in logs:
            if log["transactionHash"] != chain_transaction:
                chain_transaction, transfers = log["transactionHash"], []
            emitter = Address(bytes.fromhex(log["address"][2:]))
            if emitter == self._deployment.currency.address:
                if transfer := self._money.event("Transfer", log):
                    transfers.append(transfer)
            elif emitter == self._deployment.checkpoint_anchor:
                if anchored := self._anchor.event("CheckpointAnchored", log):
                    yield _anchor(anchored, _place(log))
            elif sale := self._exchange.event("LicenseSold", log):
                if _address(sale["currency"]) == self._deployment.currency.address:
                    yield self._sale(sale, _place(log), transfers)
                transfers = []
            elif withdrawn := self._exchange.event("OfferCancelled", log):
                yield OfferWithdrawn(_place(log), OfferId(withdrawn["offerId"]), _address(withdrawn["provider"]))

    def _sale(self, sale: Mapping[str, Any], place: Place, transfers: Sequence[Mapping[str, Any]]) -> LicenseSold:
        relayed = any(sale["orderId"])
        payer = self._deployment.exchange if relayed else _address(sale["buyer"])
        paid = [transfer for transfer in transfers if _address(transfer["from"]) == payer]
        return LicenseSold(
            place=place,
            order_id=OrderId(sale["orderId"]) if relayed else None,
            offer_id=OfferId(sale["offerId"]),
            buyer=_address(sale["buyer"]),
            units=sale["units"],
            price=Amount(sale["price"]),
            payments=received(paid, besides=self._deployment.exchange),
            # As for a term without end, whose number is larger: no log entry can count so far.
            expiry=None if sale["expiry"] > MAX_INTEGER else sale["expiry"],
        )


def _anchor(anchored: Mapping[str, Any], place: Place) -> AnchorRecorded:
    return AnchorRecorded(place, _address(anchored["sender"]), anchored["origin"], anchored["size"], anchored["root"])


def _place(log: _Log) -> Place:
    return Place(int(log["blockNumber"], 16), log["blockHash"], log["transactionHash"], int(log["logIndex"], 16))


def _order(log: _Log) -> tuple[int, int]:
    return int(log["blockNumber"], 16), int(log["logIndex"], 16)


def _address(text: str) -> Address:
    return Address(bytes.fromhex(text[2:]))
