"""``databund dataset``: publish, find and download data."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from databund.cli.options import Options
from databund.cli.session import Session
from databund.cli.terms import Terms

if TYPE_CHECKING:
    from databund.core.datasets import Dataset
    from databund.core.messages import OfferView

__all__ = ["download", "list_", "publish", "search", "show"]

_NAME_LENGTH = 64
_MOST = 200


def publish(
    path: Annotated[Path, Parameter(help="A file, or a folder with everything in it.")],
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="Your short name for it, the same for later versions; by default the file's.")
    ] = None,
    title: Annotated[str | None, Parameter(help="What people see in the catalog; by default the file's name.")] = None,
    description: Annotated[str, Parameter(help="What the data is, and how it was made.")] = "",
    keyword: Annotated[tuple[str, ...], Parameter(help="A word to find it by.", metavar="WORD")] = (),
    language: Annotated[str | None, Parameter(help="The language tag of title and description.", metavar="TAG")] = None,
    license_: Annotated[
        str | None,
        Parameter(name="--license", help="The SPDX expression under which you hold the data.", metavar="SPDX"),
    ] = None,
    attribution: Annotated[str | None, Parameter(help="Whom users of the data must credit.")] = None,
    terms: Terms | None = None,
    options: Options | None = None,
) -> None:
    """Seal a file or folder, upload it and register it.

    The data is encrypted on this machine; the node receives ciphertext, and the key wrapped for those who license it.
    Publishing again under the same name makes the next version. Without --price or --free nothing is offered yet.
    """
    from databund.cli.views import offer_lines, price
    from databund.errors import FileUnusable
    from databund.sdk.publication import Description

    session = Session(options)
    source = path.expanduser()
    if not source.exists():
        raise FileUnusable(f"{source} does not exist.", fix="Name a file or a folder.")
    about = Description(
        name=name or _name_of(source),
        title=title or source.resolve().name,
        description=description,
        keywords=keyword,
        language=language,
        license=license_,
        attribution=attribution,
    )
    with session.client(signed_in=True) as client:
        currency = client.info.currency
        read = None if terms is None else terms.read(currency)
        with session.screen.progress() as progress:
            view = client.publish(source, about, progress=progress)
        offer: OfferView | None = None if read is None else client.offer(view.dataset, read)
        dataset = view.dataset
        lines = [f"Published {dataset.name}, version {dataset.version}: {_contents(dataset)}.", f"  dataset  {view.id}"]
        if offer is not None:
            lines += ["", f"Offered for {price(offer, currency)}:"]
            lines += offer_lines(offer, currency)
        session.screen.answer({"dataset": view, "offer": offer}, lines)
        if offer is None:
            session.screen.hint(f"Offer it next: databund offer create {dataset.name} --price AMOUNT --days N")


def list_(
    *,
    mine: Annotated[bool, Parameter(help="Only those you publish.")] = False,
    limit: Annotated[int, Parameter(help="How many at most, up to 200.")] = 50,
    options: Options | None = None,
) -> None:
    """List the newest datasets."""
    _show_found(Session(options), "", limit=limit, mine=mine)


def search(
    words: Annotated[tuple[str, ...], Parameter(name="WORDS", help="All of them must occur.")] = (),
    /,
    *,
    limit: Annotated[int, Parameter(help="How many at most, up to 200.")] = 50,
    options: Options | None = None,
) -> None:
    """Find datasets whose description holds every word."""
    _show_found(Session(options), " ".join(words), limit=limit, mine=False)


def show(
    dataset: Annotated[str, Parameter(help="Its id, six or more digits of it, or its name.")],
    /,
    *,
    options: Options | None = None,
) -> None:
    """Show a dataset, its columns and its offers."""
    from databund.cli.figures import Heading
    from databund.cli.references import find_dataset, open_offers
    from databund.cli.views import dataset_lines, offer_table

    session = Session(options)
    with session.client() as client:
        view = find_dataset(client, dataset)
        offers = open_offers(client, view.id)
        name = {str(view.id): view.dataset.name}
        table = offer_table(offers, client.info.currency, name, empty="None that can be bought now.")
        lines = [*dataset_lines(view), "", Heading("Offers"), *table]
        session.screen.answer({"dataset": view, "offers": offers}, lines)


def download(
    license_: Annotated[
        str, Parameter(name="LICENSE", help="Its offer or its dataset: an id, six or more digits of it, or a name.")
    ],
    /,
    *,
    to: Annotated[
        Path | None, Parameter(help="The folder for the files; by default one named as the dataset.", metavar="DIR")
    ] = None,
    purpose: Annotated[str | None, Parameter(help="What for, where the terms ask.", metavar="WORD")] = None,
    place: Annotated[str | None, Parameter(help="Where, where the terms ask.", metavar="CODE")] = None,
    options: Options | None = None,
) -> None:
    """Download, verify and open the data of a license.

    Every byte is compared with the content root in the offer before any file appears. A download that was cut goes on
    where it stopped; it spends one use of the license in all.
    """
    from databund.cli.figures import size
    from databund.cli.references import dataset_of, find_license

    session = Session(options)
    with session.client(signed_in=True) as client:
        _, offer = find_license(client, license_)
        target = Path(dataset_of(client, offer).dataset.name) if to is None else to.expanduser()
        with ExitStack() as stack:
            with session.screen.progress() as progress:
                downloading = client.downloading(offer.id, target, purpose=purpose, place=place, progress=progress)
                dataset, delivery = stack.enter_context(downloading)
            files = [target / file.path for file in dataset.manifest.files]
            lines = [
                f"Downloaded and verified {dataset.name}, version {dataset.version}: {_contents(dataset)}.",
                *(f"  {path}  {size(file.size)}" for path, file in zip(files, dataset.manifest.files, strict=True)),
            ]
            answer = {"dataset": dataset, "offer": str(offer.id), "files": [str(path) for path in files]}
            order = None if delivery.order_id is None else str(delivery.order_id)
            session.screen.answer({**answer, "use": delivery.use, "order": order}, lines)
        if order is not None:
            session.screen.hint(f"Close the trade with its certificate: databund order certificate {order[:10]}")


def _show_found(session: Session, text: str, *, limit: int, mine: bool) -> None:
    from databund.cli.views import dataset_table

    own = session.address_of(session.settings.key) if mine else None
    with session.client() as client:
        found = client.search(text, limit=_MOST if mine else limit)
        if mine:
            found = [view for view in found if view.dataset.provider == own][:limit]
        empty = (
            f"Nothing holds every word of {text!r}."
            if text
            else "No datasets yet. Publish one: databund dataset publish"
        )
        session.screen.answer(found, dataset_table(found, empty=empty))


def _contents(dataset: Dataset) -> str:
    from databund.cli.figures import plural, size

    manifest = dataset.manifest
    table = (
        "" if dataset.rows is None else f", {plural(dataset.rows, 'row')} of {plural(len(dataset.columns), 'column')}"
    )
    return f"{plural(len(manifest.files), 'file')}, {size(manifest.plaintext_size)}{table}"


def _name_of(source: Path) -> str:
    stem = source.resolve().stem.lower()
    words = "".join(c if c.isascii() and c.isalnum() else " " for c in stem).split()
    return "-".join(words)[:_NAME_LENGTH].strip("-") or "dataset"
