"""The conformance suite of the port `Heads`. The fixture ``heads`` is an open, empty store."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from databund.errors import HeadMoved, InvalidInput
from databund.ports import Heads

__all__ = ["HeadsSuite"]

ORIGIN, OTHER = "exchange.example/audit", "exchange.example/other"
A, B, C = b"first\n", b"second, which is longer\n", b"third\n"


class HeadsSuite:
    """The whole port. Subclass it and give the fixtures ``heads`` and ``again``."""

    @pytest.fixture
    def heads(self) -> Heads:
        """The store under test."""
        raise NotImplementedError("Give the fixture `heads` in the subclass.")

    @pytest.fixture
    def again(self, heads: Heads) -> Callable[[], Heads]:
        """Another opening of the same store, such as another process would make."""
        raise NotImplementedError("Give the fixture `again` in the subclass.")

    def test_an_unknown_log_has_no_head(self, heads: Heads) -> None:
        """Nothing is stored for a log of which nothing was stored."""
        assert heads.get(ORIGIN) is None

    def test_the_newest_head_comes_back(self, heads: Heads, again: Callable[[], Heads]) -> None:
        """After each replacement the new head is there, for every opening of the store."""
        was = None
        for number in range(10):
            head = b"head %d\n" % number * (1 + number % 3)
            heads.replace(ORIGIN, head, was=was)
            assert heads.get(ORIGIN) == again().get(ORIGIN) == head
            was = head

    @pytest.mark.parametrize("was", [A, B, b"", b"first"])
    def test_the_first_head_needs_an_empty_place(self, heads: Heads, was: bytes) -> None:
        """Who names a former head where there is none is refused, and nothing is stored."""
        with pytest.raises(HeadMoved):
            heads.replace(ORIGIN, C, was=was)
        assert heads.get(ORIGIN) is None

    @pytest.mark.parametrize("was", [None, A, C, b"", B + b"\n", B[:-1]])
    def test_another_former_head_is_refused(self, heads: Heads, was: bytes | None) -> None:
        """Who names another former head than the stored one is refused, and the stored one stays."""
        heads.replace(ORIGIN, A, was=None)
        heads.replace(ORIGIN, B, was=A)
        with pytest.raises(HeadMoved):
            heads.replace(ORIGIN, C, was=was)
        assert heads.get(ORIGIN) == B

    def test_the_same_head_may_be_stored_again(self, heads: Heads) -> None:
        """A head may be replaced by itself."""
        heads.replace(ORIGIN, A, was=None)
        heads.replace(ORIGIN, A, was=A)
        assert heads.get(ORIGIN) == A

    def test_logs_do_not_meet(self, heads: Heads) -> None:
        """Each log has its own head, however its origin is written."""
        origins = [ORIGIN, OTHER, ORIGIN.upper(), "../../etc/passwd", "日志.example/数据", "o" * 5000, "/", "."]
        for number, origin in enumerate(origins):
            heads.replace(origin, b"head %d\n" % number, was=None)
        assert [heads.get(origin) for origin in origins] == [b"head %d\n" % number for number in range(len(origins))]

    def test_a_cosigned_head_fits(self, heads: Heads, again: Callable[[], Heads]) -> None:
        """Twelve kilobytes fit: a checkpoint with three ML-DSA-44 signatures."""
        large = bytes(range(256)) * 48
        heads.replace(ORIGIN, large, was=None)
        heads.replace(ORIGIN, A, was=large)
        heads.replace(ORIGIN, large, was=A)
        assert again().get(ORIGIN) == large

    def test_an_empty_head_is_refused(self, heads: Heads) -> None:
        """A head of no bytes is none."""
        with pytest.raises(InvalidInput):
            heads.replace(ORIGIN, b"", was=None)
        assert heads.get(ORIGIN) is None

    def test_another_opening_sees_what_moved(self, heads: Heads, again: Callable[[], Heads]) -> None:
        """Two openings that replace in turn never overwrite each other."""
        other = again()
        heads.replace(ORIGIN, A, was=None)
        other.replace(ORIGIN, B, was=A)
        with pytest.raises(HeadMoved):
            heads.replace(ORIGIN, C, was=A)
        heads.replace(ORIGIN, C, was=B)
        assert other.get(ORIGIN) == C

    def test_one_of_many_threads_wins(self, heads: Heads, again: Callable[[], Heads]) -> None:
        """When threads replace the same former head, exactly one of them does, and its head is stored."""
        openings = [heads, again()]
        for step in range(5):
            was = heads.get(ORIGIN)
            won: list[bytes] = []
            start = threading.Barrier(6)

            def compete(number: int, was: bytes | None = was, won: list[bytes] = won, step: int = step) -> None:
                head = b"head %d of %d\n" % (number, step)
                start.wait()  # noqa: B023  # the threads end within the round
                try:
                    openings[number % 2].replace(ORIGIN, head, was=was)
                except HeadMoved:
                    return
                won.append(head)

            threads = [threading.Thread(target=compete, args=(number,)) for number in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert won == [heads.get(ORIGIN)]
