"""The conformance suite of the port `Objects`. The fixture ``objects`` is an open, empty store."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from databund.errors import IdentifierInvalid, InvalidInput, NotFound
from databund.ports import Objects
from databund.testing.samples import hash32

__all__ = ["ObjectsSuite"]

NAME, OTHER = "0x" + hash32(1).hex(), "0x" + hash32(2).hex()
MIB = 1 << 20


class ObjectsSuite:
    """The whole port. Subclass it and give the fixture ``objects``."""

    @pytest.fixture
    def objects(self) -> Objects:
        """The store under test."""
        raise NotImplementedError("Give the fixture `objects` in the subclass.")

    def test_an_object_comes_back(self, objects: Objects) -> None:
        """An object is read back whole, and its size is that of its pieces, however they were cut."""
        assert objects.put(NAME, [b"ab", b"", b"cde"]) == 5
        assert b"".join(objects.read(NAME)) == b"abcde"
        assert objects.size(NAME) == 5

    def test_an_empty_object_comes_back(self, objects: Objects) -> None:
        """An object without bytes is an object."""
        assert objects.put(NAME, []) == 0
        assert (objects.size(NAME), list(objects.read(NAME))) == (0, [])

    def test_a_large_object_comes_in_pieces(self, objects: Objects) -> None:
        """A large object is read in pieces of at most 1 MiB."""
        chunks = [bytes([number]) * (3 * MIB + number) for number in range(25)]
        assert objects.put(NAME, iter(chunks)) == sum(map(len, chunks))
        pieces = list(objects.read(NAME))
        assert max(map(len, pieces)) <= MIB
        assert b"".join(pieces) == b"".join(chunks)

    @pytest.mark.parametrize(
        ("start", "stop"),
        [(0, 1), (1, 1), (2, 1), (MIB - 1, MIB + 1), (MIB, None), (10 * MIB - 1, 11 * MIB), (11 * MIB, None)],
    )
    def test_a_range_is_cut_to_the_object(self, objects: Objects, start: int, stop: int | None) -> None:
        """A range gives the bytes from start up to stop, as many as there are; behind the end there are none."""
        content = bytes(range(256)) * (10 * MIB // 256)
        objects.put(NAME, [content])
        assert b"".join(objects.read(NAME, start=start, stop=stop)) == content[start:stop]

    def test_a_negative_start_is_refused(self, objects: Objects) -> None:
        """A range cannot start before the object."""
        objects.put(NAME, [b"abc"])
        with pytest.raises(InvalidInput):
            objects.read(NAME, start=-1)

    def test_an_object_is_kept(self, objects: Objects) -> None:
        """Putting an object again, even with other bytes, keeps the first and gives its size."""
        objects.put(NAME, [b"first"])
        assert objects.put(NAME, [b"other bytes"]) == 5
        assert b"".join(objects.read(NAME)) == b"first"

    def test_a_failing_source_leaves_nothing(self, objects: Objects) -> None:
        """When the pieces end in an error, that very error arrives, no object appears, and the name stays free."""

        def broken() -> Iterator[bytes]:
            yield bytes(40 * MIB)
            raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            objects.put(NAME, broken())
        with pytest.raises(NotFound):
            objects.size(NAME)
        assert objects.put(NAME, [b"whole"]) == 5

    def test_an_object_appears_whole(self, objects: Objects) -> None:
        """While an object is written it cannot be seen."""

        def watched() -> Iterator[bytes]:
            yield bytes(2 * MIB)
            with pytest.raises(NotFound):
                objects.size(NAME)
            yield bytes(MIB)

        assert objects.put(NAME, watched()) == 3 * MIB
        assert objects.size(NAME) == 3 * MIB

    def test_writers_of_one_name_agree(self, objects: Objects) -> None:
        """Many writers of the same object all succeed, and there is one object."""
        with ThreadPoolExecutor(8) as threads:
            sizes = list(threads.map(lambda _: objects.put(NAME, [b"same"] * 1000), range(8)))
        assert sizes == [4000] * 8
        assert b"".join(objects.read(NAME)) == b"same" * 1000

    def test_an_absent_object_is_not_found(self, objects: Objects) -> None:
        """An absent object has neither size nor bytes; removing it changes nothing."""
        for ask in (objects.size, objects.read):
            with pytest.raises(NotFound):
                ask(NAME)
        objects.delete(NAME)

    def test_a_deleted_object_is_gone(self, objects: Objects) -> None:
        """A deleted object is gone, others stay, and the name is free again."""
        objects.put(NAME, [b"one"])
        objects.put(OTHER, [b"two"])
        objects.delete(NAME)
        with pytest.raises(NotFound):
            objects.size(NAME)
        assert objects.size(OTHER) == 3
        assert objects.put(NAME, [b"again"]) == 5

    @pytest.mark.parametrize("name", ["", "x", "../" + NAME, NAME.upper(), NAME + "/x", NAME[:-1], "0x" + "g" * 64])
    def test_only_content_roots_are_names(self, objects: Objects, name: str) -> None:
        """Whatever is not a content root is refused as a name, before anything is read or written."""
        for use in (objects.size, objects.read, objects.path, objects.delete, lambda name: objects.put(name, [b"x"])):
            with pytest.raises(IdentifierInvalid):
                use(name)

    def test_a_path_leads_to_the_bytes(self, objects: Objects) -> None:
        """A store of local files tells where an object lies; a remote one says None."""
        objects.put(NAME, [b"abc"])
        path = objects.path(NAME)
        assert path is None or Path(path).read_bytes() == b"abc"
