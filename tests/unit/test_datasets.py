"""Datasets: descriptors that can be shown, named and signed."""

from typing import Any

import pytest

from databund.core import documents
from databund.core.datasets import Column, Dataset
from databund.core.ids import DatasetId
from databund.errors import DocumentInvalid
from databund.testing import samples


def test_a_dataset_survives_its_json_form() -> None:
    """Encoding and decoding gives an equal descriptor, with every member set."""
    dataset = samples.dataset(
        keywords=("气象", "ü"), language="zh", license="CC-BY-4.0", attribution="© 某机构", rows=3,
        columns=(Column("时间", "TIMESTAMP"),),
    )  # fmt: skip
    assert documents.decode(documents.encode(dataset), Dataset) == dataset


def test_all_versions_have_one_id() -> None:
    """The id comes from provider and name; version and content do not count."""
    one, two = samples.dataset(version=1), samples.dataset(version=2)
    assert one.id == two.id == DatasetId.of(one.provider, one.name)
    assert one.content_root == one.manifest.root != two.content_root


@pytest.mark.parametrize("name", ["a", "0", "a-b", "a--b", "x" * 64])
def test_short_plain_names_are_taken(name: str) -> None:
    """Lower-case letters, digits and inner hyphens make a name."""
    assert samples.dataset(name=name).name == name


@pytest.mark.parametrize("name", ["", "A", "-a", "a-", "a b", "a_b", "a.b", "a/b", "ä", "数据", "x" * 65, "a\n"])
def test_other_names_are_refused(name: str) -> None:
    """Anything else is no name, and the fix says what is."""
    with pytest.raises(DocumentInvalid, match="is not a dataset name") as caught:
        samples.dataset(name=name)
    assert caught.value.fix == "Use 1 to 64 lower-case letters, digits and hyphens."


@pytest.mark.parametrize("title", ["", " ", "\n\u3000"])
def test_a_title_is_needed(title: str) -> None:
    """A dataset that nobody could find by its title is refused."""
    with pytest.raises(DocumentInvalid, match="has no title"):
        samples.dataset(title=title)


@pytest.mark.parametrize(
    ("member", "limit"), [("title", 200), ("description", 20_000), ("license", 200), ("attribution", 2_000)]
)
def test_texts_are_bounded(member: str, limit: int) -> None:
    """Each text may have so many characters and not one more."""
    longest: dict[str, Any] = {member: "x" * limit}
    samples.dataset(1, **longest)
    with pytest.raises(DocumentInvalid, match=f"{member} is longer than {limit} characters") as caught:
        samples.dataset(1, **{member: "x" * (limit + 1)})
    assert caught.value.fix == "Shorten it."


@pytest.mark.parametrize("version", [0, -1])
def test_versions_count_from_one(version: int) -> None:
    """There is no version before the first."""
    with pytest.raises(DocumentInvalid, match="Versions count from 1"):
        samples.dataset(version=version)


def test_unknown_members_are_refused() -> None:
    """A member that we do not know is refused and named, also in a column."""
    document = documents.dump(samples.dataset(columns=(Column("a", "BIGINT"),)))
    with pytest.raises(DocumentInvalid, match="price"):
        documents.load({**document, "price": 1}, Dataset)
    document["columns"][0]["nullable"] = True
    with pytest.raises(DocumentInvalid, match="nullable"):
        documents.load(document, Dataset)
