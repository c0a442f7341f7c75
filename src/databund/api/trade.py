"""The routes of a trade: datasets and offers on one side, orders, licenses and deliveries on the other.

Whoever signs something (an offer, a withdrawal, a purchase) needs no sign-in for it: the signature is checked by the
smart contract. Everything else that belongs to somebody asks for a token.
"""

from __future__ import annotations

from typing import Annotated, Any

from litestar import Controller, Response, get, post
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from databund.api.dependencies import Holder, TheNode
from databund.app.clearing import Statement
from databund.app.node import Node
from databund.core import canonical, documents
from databund.core.datasets import Dataset
from databund.core.deliveries import Delivery
from databund.core.ids import Address, ContentRoot, DatasetId, OfferId, OrderId
from databund.core.messages import (
    Account,
    CreditRequest,
    DatasetRegistration,
    DatasetView,
    DeliveryRequest,
    LicenseView,
    OfferPosting,
    OfferView,
    OrderRequest,
    Withdrawal,
)
from databund.core.orders import Order, OrderState
from databund.errors import NotFound, NotOwner
from databund.ports import Listing

__all__ = ["AccountRoutes", "DatasetRoutes", "DeliveryRoutes", "LicenseRoutes", "OfferRoutes", "OrderRoutes"]

Disclose = Annotated[bool, QueryParameter(description="With what the log commits to about oneself.")]
Limit = Annotated[int, QueryParameter(ge=1, le=200, description="How many at most.")]
Offset = Annotated[int, QueryParameter(ge=0, le=100_000, description="How many to skip.")]


class DatasetRoutes(Controller):
    """Register and find datasets."""

    path = "/datasets"
    tags = ("datasets",)

    @get(sync_to_thread=True, summary="Search the catalog")
    def search(self, node: TheNode, q: FromQuery[str] = "", limit: Limit = 50, offset: Offset = 0) -> list[DatasetView]:
        """Newest versions that hold every word of ``q``; all of them for an empty ``q``."""
        with node.database.read() as tables:
            return [_dataset_view(d) for d in tables.catalog.search(q, limit=limit, offset=offset)]

    @get("/{dataset_id:str}", sync_to_thread=True, summary="Show a dataset")
    def show(
        self,
        node: TheNode,
        dataset_id: FromPath[str],
        version: FromQuery[int | None] = None,
        content_root: FromQuery[str | None] = None,
    ) -> DatasetView:
        """One version of a dataset by number or content root, the newest when neither is named."""
        root = None if content_root is None else ContentRoot.parse(content_root)
        with node.database.read() as tables:
            release = tables.catalog.get(DatasetId.parse(dataset_id), version=version, content_root=root)
        return _dataset_view(release.dataset)

    @post(sync_to_thread=True, summary="Register a dataset version")
    def register(self, node: TheNode, holder: Holder, data: JSONBody[DatasetRegistration]) -> DatasetView:
        """Register a version whose sealed blob was uploaded before."""
        return _dataset_view(
            node.publishing.register(holder, data.dataset, wrapped_key=bytes(data.wrapped_key)).dataset
        )


class OfferRoutes(Controller):
    """List, show and withdraw offers."""

    path = "/offers"
    tags = ("offers",)

    @get(sync_to_thread=True, summary="List offers")
    def find(
        self,
        node: TheNode,
        dataset: FromQuery[str | None] = None,
        provider: FromQuery[str | None] = None,
        limit: Limit = 50,
    ) -> list[OfferView]:
        """Offers, newest first, withdrawn ones included."""
        with node.database.read() as tables:
            found = tables.listings.find(
                dataset=None if dataset is None else DatasetId.parse(dataset),
                provider=None if provider is None else Address.parse(provider),
                limit=limit,
            )
            return [_offer_view(listing) for listing in found]

    @get("/{offer_id:str}", sync_to_thread=True, summary="Show an offer")
    def show(self, node: TheNode, offer_id: FromPath[str]) -> OfferView:
        """One offer with its signature and policy."""
        with node.database.read() as tables:
            return _offer_view(tables.listings.get(OfferId.parse(offer_id)))

    @post(sync_to_thread=True, summary="List a signed offer")
    def list_offer(self, node: TheNode, data: JSONBody[OfferPosting]) -> OfferView:
        """Put an offer on the list; the provider's signature is the proof."""
        return _offer_view(node.publishing.list_offer(data.signed, canonical.canonicalize(data.policy)))

    @post("/{offer_id:str}/withdrawal", sync_to_thread=True, summary="Withdraw an offer")
    def withdraw(self, node: TheNode, offer_id: FromPath[str], data: JSONBody[Withdrawal]) -> OfferView:
        """Take an offer off the list and cancel it on the chain."""
        return _offer_view(node.publishing.withdraw(OfferId.parse(offer_id), bytes(data.signature)))


class OrderRoutes(Controller):
    """Buy, and follow an order to its certificate."""

    path = "/orders"
    tags = ("orders",)

    @get(sync_to_thread=True, summary="List my orders")
    def find(self, node: TheNode, holder: Holder, limit: Limit = 50) -> list[Order]:
        """The signed-in buyer's orders, newest first."""
        with node.database.read() as tables:
            return list(tables.orders.find(buyer=holder, limit=limit))

    @get("/{order_id:str}", sync_to_thread=True, summary="Show my order")
    def show(self, node: TheNode, holder: Holder, order_id: FromPath[str]) -> Order:
        """One of the signed-in buyer's orders."""
        with node.database.read() as tables:
            order = tables.orders.get(OrderId.parse(order_id))
        if order is None or order.buyer != holder:
            raise NotFound(f"You have no order {order_id}.", fix="List your orders: databund order list")
        return node.purchasing.proceed(order)

    @post(sync_to_thread=True, summary="Buy a license")
    def buy(self, node: TheNode, data: JSONBody[OrderRequest]) -> Response[Order]:
        """Settle a signed purchase: 201 when it is decided, 202 while the chain works on it."""
        order = node.purchasing.buy(data.offer_id, data.purchase)
        return Response(order, status_code=202 if order.state is OrderState.PLACED else 201)

    @post("/{order_id:str}/certificate", sync_to_thread=True, summary="Settle and certify my order")
    def certify(self, node: TheNode, holder: Holder, order_id: FromPath[str]) -> dict[str, Any]:
        """The certificate of a delivered order, with the agreement; for buyer, provider and operator."""
        return _statement_view(node.clearing.certify(holder, OrderId.parse(order_id)))

    @get("/{order_id:str}/evidence", sync_to_thread=True, summary="Evidence of my order", media_type="application/zip")
    def evidence(
        self, node: TheNode, holder: Holder, order_id: FromPath[str], disclose: Disclose = False
    ) -> Response[bytes]:
        """Everything that proves the trade, in one file; for buyer, provider and operator."""
        data = node.evidencing.bundle(holder, OrderId.parse(order_id), disclose=disclose)
        return Response(data, media_type="application/zip", headers={"Cache-Control": "no-store"})


class LicenseRoutes(Controller):
    """What the chain says a holder owns."""

    path = "/licenses"
    tags = ("licenses",)

    @get(sync_to_thread=True, summary="List my licenses")
    def find(self, node: TheNode, holder: Holder) -> list[LicenseView]:
        """The licenses of every offer the signed-in holder ordered here."""
        with node.database.read() as tables:
            orders = tables.orders.find(buyer=holder, limit=1000)
        offers = dict.fromkeys(order.offer_id for order in orders if order.state is not OrderState.REFUSED)
        return [_license_view(node, holder, offer_id) for offer_id in offers]

    @get("/{offer_id:str}", sync_to_thread=True, summary="Show a license")
    def show(self, node: TheNode, offer_id: FromPath[str], holder_address: FromQuery[str]) -> LicenseView:
        """The record of any holder for any offer: it is public on the chain."""
        return _license_view(node, Address.parse(holder_address), OfferId.parse(offer_id))


class DeliveryRoutes(Controller):
    """Release of content keys."""

    path = "/deliveries"
    tags = ("deliveries",)

    @post(sync_to_thread=True, summary="Get the content key")
    def deliver(self, node: TheNode, holder: Holder, data: JSONBody[DeliveryRequest]) -> Delivery:
        """Spend one use and get the content key, wrapped to the named age recipient."""
        return node.delivering.deliver(holder, data)


class AccountRoutes(Controller):
    """Settlement currency."""

    path = "/accounts"
    tags = ("accounts",)

    @get("/{address:str}", sync_to_thread=True, summary="Show a balance")
    def show(self, node: TheNode, address: FromPath[str]) -> Account:
        """What an account holds of the settlement currency."""
        account = Address.parse(address)
        return Account(account, node.ledger.balance(account))

    @post("/credits", sync_to_thread=True, summary="Credit a deposit (operator)")
    def credit(self, node: TheNode, holder: Holder, data: JSONBody[CreditRequest]) -> Account:
        """Credit an account against a deposit outside the chain. Only the operator may."""
        if holder != node.info.operator:
            raise NotOwner("Only the operator issues credit.", fix="Sign in with the operator's key.")
        node.purchasing.issue(data.account, data.amount, reference=data.reference)
        return Account(data.account, node.ledger.balance(data.account))


def _dataset_view(dataset: Dataset) -> DatasetView:
    return DatasetView(dataset.id, documents.digest(dataset).hex(), dataset)


def _offer_view(listing: Listing) -> OfferView:
    policy = canonical.parse(listing.policy)
    assert isinstance(policy, dict)  # noqa: S101  # it was listed as an object
    return OfferView(listing.signed.offer.id, listing.signed, policy, listing.listed_at, listing.withdrawn_at)


def _license_view(node: Node, holder: Address, offer_id: OfferId) -> LicenseView:
    with node.database.read() as tables:
        spent = tables.deliveries.spent(holder, offer_id)
    return LicenseView(node.ledger.license(holder, offer_id), spent)


def _statement_view(statement: Statement) -> dict[str, Any]:
    return {
        "certificate": documents.dump(statement.certificate),
        "agreement": canonical.parse(statement.agreement),
    }
