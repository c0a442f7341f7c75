"""The client: one object for everything a participant does with a node.

>>> client = Client("http://127.0.0.1:8750", identity=identity, home=home)  # doctest: +SKIP
>>> client.search("breast cancer")  # doctest: +SKIP
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from databund.core.amounts import Amount
from databund.core.attachments import Erasure, ErasureReason, ErasureRequest, verify_commitment
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.evidence import Disclosure
from databund.core.ids import Address, Bytes32, Commitment, DatasetId, Hex, OfferId, OrderId
from databund.core.log_status import LogStatus
from databund.core.messages import (
    Account,
    CreditRequest,
    DatasetView,
    LicenseView,
    NodeInfo,
    OfferView,
    Withdrawal,
)
from databund.core.offers import cancel_hash
from databund.core.orders import Order
from databund.crypto.identities import Identity
from databund.errors import SignInRequired
from databund.sdk import audit, download, publication, purchase, wallet
from databund.sdk.connection import Connection
from databund.sdk.known_nodes import KnownNodes
from databund.sdk.pending import Pending
from databund.sdk.publication import Description, OfferTerms

__all__ = ["Client"]

Progress = Callable[[str, int, int], None]


class Client:
    """A participant at the node ``url``.

    ``identity`` is needed for whatever signs; ``home`` keeps partial downloads and pending acts.
    """

    def __init__(
        self, url: str, *, home: Path, identity: Identity | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        self._connection = Connection(url, identity, transport=transport)
        self._workspace = home / "work"
        self._pending = Pending(home / "pending")
        self._known = KnownNodes(home / "known-nodes")
        self._info: NodeInfo | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @property
    def info(self) -> NodeInfo:
        """What the node says of itself; asked once. Raises `NodeChanged` when it said something else before."""
        if self._info is None:
            info = self._connection.get("/.well-known/databund", NodeInfo)
            self._known.check(self.url, info)
            self._info = info
        return self._info

    @property
    def url(self) -> str:
        """Where the node is."""
        return self._connection.url

    @property
    def identity(self) -> Identity:
        """Who signs. Raises `SignInRequired` when there is no key."""
        if self._connection.identity is None:
            raise SignInRequired("This needs a key.", fix="Make one: databund key new")
        return self._connection.identity

    # --- provider ---

    def publish(self, source: Path, about: Description, *, progress: Progress | None = None) -> DatasetView:
        """Seal, upload and register a file or folder as the next version of a dataset."""
        return publication.publish(
            self._connection,
            self.identity,
            self.info,
            source=source,
            about=about,
            workspace=self._workspace,
            progress=progress,
        )

    def offer(self, dataset: Dataset, terms: OfferTerms) -> OfferView:
        """Sign and list an offer of a dataset version."""
        return publication.offer(self._connection, self.identity, self.info, dataset=dataset, terms=terms)

    def withdraw(self, offer_id: OfferId) -> OfferView:
        """Take one's offer off the list and cancel it on the chain."""
        signature = self.identity.sign_typed_hash(self.info.domain.digest(cancel_hash(offer_id)))
        return self._connection.post(f"/offers/{offer_id}/withdrawal", Withdrawal(Hex(signature)), OfferView)

    def register_title(self, name: str, *, uri: str) -> str:
        """Register the title of one's dataset on the chain; returns the chain transaction's hash."""
        return wallet.register_title(self._connection, self.identity, self.info, name=name, uri=uri)

    # --- anyone ---

    def search(self, text: str = "", *, limit: int = 50) -> list[DatasetView]:
        """Datasets whose description holds every word."""
        return self._connection.get("/datasets", list[DatasetView], q=text, limit=limit)

    def dataset(self, dataset_id: DatasetId) -> DatasetView:
        """The newest version of a dataset."""
        return self._connection.get(f"/datasets/{dataset_id}", DatasetView)

    def offers(
        self, *, dataset: DatasetId | None = None, provider: Address | None = None, limit: int = 50
    ) -> list[OfferView]:
        """Offers, newest first, withdrawn ones included."""
        return self._connection.get(
            "/offers",
            list[OfferView],
            dataset=None if dataset is None else str(dataset),
            provider=None if provider is None else str(provider),
            limit=limit,
        )

    def find_offer(self, offer_id: OfferId) -> OfferView:
        """One offer, checked to be the one that was asked for."""
        view = self._connection.get(f"/offers/{offer_id}", OfferView)
        purchase.check_offer(view, offer_id, self.info)
        return view

    def balance(self, address: Address) -> Account:
        """What an account holds."""
        return self._connection.get(f"/accounts/{address}", Account)

    def license(self, holder: Address, offer_id: OfferId) -> LicenseView:
        """What a holder owns of an offer."""
        return self._connection.get(f"/licenses/{offer_id}", LicenseView, holder_address=str(holder))

    def export_audit(self, target: Path, *, folder: bool = False, progress: Progress | None = None) -> int:
        """Write the whole audit log into a file, or bring a folder up to it; returns the number of entries."""
        export = audit.export_folder if folder else audit.export
        return export(self._connection, self.info, target, progress=progress)

    # --- consumer ---

    def buy(self, offer_id: OfferId, *, units: int = 1, most: Amount | None = None) -> Order:
        """Buy a license with one signature; buying again after it returned buys again."""
        with self.buying(offer_id, units=units, most=most) as order:
            return order

    def buying(self, offer_id: OfferId, *, units: int = 1, most: Amount | None = None) -> AbstractContextManager[Order]:
        """Buy a license with one signature, and finish with the order in the block.

        Until the block has ended without an error, buying the same again gives this order and costs nothing: a program
        that is killed while it records or shows the order is safe to run again.
        """
        return purchase.buying(
            self._connection,
            self.identity,
            self.info,
            offer_id=offer_id,
            units=units,
            pending=self._pending,
            most=most,
        )

    def download(
        self,
        offer_id: OfferId,
        destination: Path,
        *,
        purpose: str | None = None,
        place: str | None = None,
        progress: Progress | None = None,
    ) -> tuple[Dataset, Delivery]:
        """Fetch, verify and open the dataset of a license into a folder."""
        with self.downloading(
            offer_id, destination, purpose=purpose, place=place, progress=progress
        ) as dataset_and_delivery:
            return dataset_and_delivery

    def downloading(
        self,
        offer_id: OfferId,
        destination: Path,
        *,
        purpose: str | None = None,
        place: str | None = None,
        progress: Progress | None = None,
    ) -> AbstractContextManager[tuple[Dataset, Delivery]]:
        """As `download`; until the block has ended without an error, the same delivery is found again.

        So a program that is killed while it records or shows the delivery spends no second use when it runs again.
        """
        return download.downloading(
            self._connection,
            self.identity,
            self.info,
            offer_id=offer_id,
            destination=destination,
            workspace=self._workspace,
            pending=self._pending,
            purpose=purpose,
            place=place,
            progress=progress,
        )

    def licenses(self) -> list[LicenseView]:
        """One's licenses of offers that were ordered at this node."""
        return self._connection.get("/licenses", list[LicenseView], signed_in=True)

    def transfer(self, offer_id: OfferId, to: Address, *, units: int) -> str:
        """Transfer units of a transferable license; returns the chain transaction's hash."""
        return wallet.transfer(self._connection, self.identity, self.info, to=to, offer_id=offer_id, units=units)

    def orders(self, *, limit: int = 50) -> list[Order]:
        """One's orders, newest first."""
        return self._connection.get("/orders", list[Order], signed_in=True, limit=limit)

    def order(self, order_id: OrderId) -> Order:
        """One of one's orders."""
        return self._connection.get(f"/orders/{order_id}", Order, signed_in=True)

    def certificate(self, order_id: OrderId) -> dict[str, Any]:
        """Settle and certify an order: the certificate and the agreement as JSON."""
        return self._connection.post(f"/orders/{order_id}/certificate", {}, dict[str, Any], signed_in=True)

    def attachment(self, commitment: Commitment) -> Disclosure:
        """What an entry commits to about oneself, compared; the operator reads any. Raises `ContentMismatch`."""
        disclosed = self._connection.get(f"/attachments/{commitment}", Disclosure, signed_in=True)
        verify_commitment(commitment, disclosed.content, salt=disclosed.salt)
        return Disclosure(commitment, disclosed.salt, disclosed.content)

    def log_status(self) -> LogStatus:
        """What the node says of its log: size, witnesses, anchors. Nothing of it is proof."""
        return self._connection.get("/log/status", LogStatus)

    def evidence(self, order_id: OrderId, *, disclose: bool = False) -> bytes:
        """The evidence of one of one's orders, a file for `databund.sdk.evidence.verify`.

        With ``disclose`` it holds what the log commits to about oneself, such as the purpose one declared.
        """
        path = f"/orders/{order_id}/evidence"
        return self._connection.get_bytes(path, signed_in=True, **({"disclose": "true"} if disclose else {}))

    # --- operator ---

    def erase_attachment(self, commitment: Commitment, reason: ErasureReason) -> Erasure:
        """Erase an attachment for good; asked again, it gives the first time."""
        path = f"/attachments/{commitment}/erasure"
        return self._connection.post(path, ErasureRequest(reason), Erasure, signed_in=True)

    def credit(self, account: Address, amount: Amount, *, reference: str | None = None) -> Account:
        """Credit an account against a deposit; what has the same ``reference`` is credited once."""
        token = secrets.token_bytes(32) if reference is None else hashlib.sha256(reference.encode()).digest()
        request = CreditRequest(account, amount, Bytes32(token))
        return self._connection.post("/accounts/credits", request, Account, signed_in=True)
