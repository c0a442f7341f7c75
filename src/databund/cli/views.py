"""Views: how datasets, offers, licenses and orders are shown in lines and tables."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any

from databund.cli.figures import Heading, fields, moment, plural, short, size, table, term
from databund.core.amounts import Currency
from databund.core.messages import DatasetView, LicenseView, OfferView
from databund.core.orders import Order

__all__ = [
    "dataset_lines",
    "dataset_table",
    "license_lines",
    "license_table",
    "offer_lines",
    "offer_table",
    "order_lines",
    "order_table",
    "price",
]


def dataset_table(views: Iterable[DatasetView], *, empty: str) -> Iterator[str]:
    """One dataset to a line."""
    rows = (
        (
            short(view.id),
            view.dataset.name,
            size(view.dataset.manifest.plaintext_size),
            "" if view.dataset.rows is None else f"{view.dataset.rows:,}",
            view.dataset.license or "",
            view.dataset.title,
        )
        for view in views
    )
    return table(("ID", "NAME", "SIZE", "ROWS", "SOURCE LICENSE", "TITLE"), rows, empty=empty)


def dataset_lines(view: DatasetView) -> Iterator[str]:
    """Everything about one dataset version."""
    dataset, manifest = view.dataset, view.dataset.manifest
    yield Heading(dataset.title)
    yield from dataset.description.splitlines()
    yield from fields(
        (
            ("dataset", view.id),
            ("name", dataset.name),
            ("version", f"{dataset.version}, of {moment(dataset.created_at)}"),
            ("provider", dataset.provider),
            ("license", dataset.license),
            ("attribution", dataset.attribution),
            ("keywords", ", ".join(dataset.keywords) or None),
            ("language", dataset.language),
            ("content root", dataset.content_root),
            ("descriptor", f"{view.descriptor} (SHA-256)"),
            ("size", f"{size(manifest.plaintext_size)} in {plural(len(manifest.files), 'file')}"),
            ("rows", None if dataset.rows is None else f"{dataset.rows:,}"),
        )
    )
    if dataset.columns:
        yield ""
        yield from table(("COLUMN", "TYPE"), ((c.name, c.type) for c in dataset.columns), empty="")


def offer_table(views: Iterable[OfferView], currency: Currency, names: dict[str, str], *, empty: str) -> Iterator[str]:
    """One offer to a line; ``names`` are those of the datasets by id."""
    rows = (
        (
            short(view.id),
            price(view, currency),
            term(view.signed.offer.duration_s),
            view.signed.offer.uses or "any",
            _status(view),
            names.get(str(view.signed.offer.dataset), short(view.signed.offer.dataset)),
        )
        for view in views
    )
    return table(("ID", "PRICE", "TERM", "USES", "STATUS", "DATASET"), rows, empty=empty)


def offer_lines(view: OfferView, currency: Currency, name: str | None = None) -> Iterator[str]:
    """Everything about one offer."""
    offer = view.signed.offer
    return fields(
        (
            ("offer", view.id),
            ("dataset", f"{name} ({offer.dataset})" if name else offer.dataset),
            ("provider", offer.provider),
            ("price", f"{price(view, currency)} for each unit" if offer.unit_price else "free"),
            ("term", term(offer.duration_s)),
            ("uses", plural(offer.uses, "download") if offer.uses else "any number"),
            ("supply", plural(offer.supply, "unit") if offer.supply else "any number"),
            ("transferable", "yes" if offer.transferable else "no"),
            *_policy(view.policy),
            ("status", _status(view)),
            ("content root", offer.content_root),
            ("terms", f"{offer.terms_hash} (SHA-256 of the policy)"),
        )
    )


def price(view: OfferView, currency: Currency) -> str:
    """The price of one unit of an offer, or ``free``."""
    amount = view.signed.offer.unit_price
    return currency.format(amount) if amount else "free"


def license_table(pairs: Iterable[tuple[LicenseView, str]]) -> Iterator[str]:
    """One license to a line, with the name of its dataset."""
    rows = (
        (
            short(view.license.offer_id),
            view.license.units,
            moment(view.license.expiry),
            f"{view.spent} of {view.license.uses}" if view.license.uses else f"{view.spent}",
            _state(view),
            name,
        )
        for view, name in pairs
    )
    empty = "No licenses. Buy one: databund license buy"
    return table(("OFFER", "UNITS", "ENDS", "USES SPENT", "STATUS", "DATASET"), rows, empty=empty)


def license_lines(view: LicenseView, name: str | None = None) -> Iterator[str]:
    """Everything about one license."""
    owned = view.license
    return fields(
        (
            ("offer", owned.offer_id),
            ("dataset", name),
            ("holder", owned.holder),
            ("units", owned.units),
            ("ends", moment(owned.expiry)),
            ("uses", f"{view.spent} of {owned.uses} spent" if owned.uses else f"{view.spent} spent, not limited"),
            ("status", _state(view)),
        )
    )


def order_table(orders: Iterable[Order], currency: Currency) -> Iterator[str]:
    """One order to a line."""
    rows = (
        (
            short(order.id),
            moment(order.placed_at),
            order.units,
            currency.format(order.price),
            order.state,
            short(order.offer_id),
        )
        for order in orders
    )
    empty = "No orders. Make one: databund license buy"
    return table(("ID", "PLACED", "UNITS", "PRICE", "STATE", "OFFER"), rows, empty=empty)


def order_lines(order: Order, currency: Currency) -> Iterator[str]:
    """Everything about one order."""
    return fields(
        (
            ("order", order.id),
            ("offer", order.offer_id),
            ("buyer", order.buyer),
            ("units", order.units),
            ("price", currency.format(order.price)),
            ("placed", moment(order.placed_at)),
            ("state", order.state),
            ("reason", order.reason),
            ("chain transaction", order.chain_transaction),
        )
    )


def _status(view: OfferView) -> str:
    if view.withdrawn_at is not None:
        return "withdrawn"
    ends = view.signed.offer.valid_until
    return "ended" if ends < time.time() else f"open until {moment(ends)[:10]}"


def _state(view: LicenseView) -> str:
    owned = view.license
    if not owned.units:
        return "none"
    if owned.expiry is not None and owned.expiry < time.time():
        return "ended"
    return "used up" if owned.uses and view.spent >= owned.uses else "valid"


def _policy(policy: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """The rules of a policy in a few words; the whole of it is in the JSON."""
    from databund.core.policies import Constraint, parse_policy

    parsed = parse_policy(policy)
    limits = {
        str(constraint.left_operand): ", ".join(map(str, constraint.right_operand))
        for rule in parsed.permissions
        for constraint in rule.constraints
        if isinstance(constraint, Constraint) and isinstance(constraint.right_operand, tuple)
    }
    yield from limits.items()
    prohibited = ", ".join(str(rule.action).removeprefix("databund:") for rule in parsed.prohibitions)
    yield "prohibited", prohibited or "nothing"
