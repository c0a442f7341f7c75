"""The conformance suite of the port `Database`.

The fixture ``database`` is an open, empty database whose sealer is the fixture ``sealer``.
"""

from __future__ import annotations

import msgspec
import pytest

from databund.core.amounts import MAX_AMOUNT, Amount, Payment
from databund.core.ids import OfferId
from databund.core.orders import OrderEvent, OrderState
from databund.errors import (
    AlreadyExists,
    IdempotencyMismatch,
    IllegalMove,
    NotFound,
    SignInRequired,
    UsesExhausted,
)
from databund.ports import ChainOutcome, Database, Tables
from databund.testing import samples
from databund.testing.database_fixture import THREADS, DatabaseFixture, at_once
from databund.testing.log_suite import BatchSuite, BesideTheLogSuite, LogSuite

__all__ = ["DatabaseSuite"]

TEXT = "数据 données\u0000 𝔡𝔞𝔱𝔞 ' \" \\ %s :x"
"""Text that breaks whatever is not careful."""


SEARCHES = {
    "chest": True,
    "CHEST x-rays": True,
    "rays chest": True,
    "chest heart": False,
    "ches": False,
    "lung": True,  # a keyword
    "radiology 2024": True,  # the name
    "straße": True,
    "STRASSE": True,
    "ＣＨＥＳＴ": True,  # full-width letters
    "胸部": True,
    "胸部影像": True,
    "影像": True,
    "部影": True,
    "胸": True,
    "像": True,  # the last character of a run
    "肺": True,  # a run of one
    "心": False,
    "胸像": False,
    "胸部 chest": True,
    "胸部 心脏": False,
    "한국어": True,
    "ひらがな": True,
    "データ": True,
}
"""What is asked of one dataset, and whether it is found."""

SYNTAX = (
    "alpha*", '"alpha beta"', "alpha OR beta", "NOT alpha", "title:alpha", "alpha:*", "alpha & !beta", "(alpha",
    "alpha'", 'alpha"', "alpha\\", "^alpha", "NEAR(alpha beta)", "alpha -beta", "alpha\u0000beta", "{alpha} : beta",
)  # fmt: skip
"""What other engines take for operators."""


class DatabaseTransactionSuite(DatabaseFixture):
    """What commits, what is seen, and who waits."""

    def test_what_is_written_stays(self, database: Database) -> None:
        """When a write block ends, the next reader sees what it wrote."""
        with database.write() as tables:
            tables.orders.add(samples.order())
        with database.read() as tables:
            assert tables.orders.get(samples.order().id) == samples.order()

    def test_a_raising_block_leaves_nothing(self, database: Database) -> None:
        """When a write block raises, nothing of it remains, in whichever table."""

        def write_half() -> None:
            with database.write() as tables:
                tables.orders.add(samples.order())
                tables.catalog.add(samples.release(title="half"))
                tables.log.write(0, [b"entry"], tiles={(0, 0): bytes(32)}, checkpoint=b"one")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write_half()
        with database.read() as tables:
            assert tables.orders.get(samples.order().id) is None
            assert tables.catalog.search("half", limit=10) == []
            assert (tables.log.checkpoint(), tables.log.entries(0, 10)) == (None, [])

    def test_a_refusal_does_not_end_the_block(self, database: Database) -> None:
        """A block that catches the port's own refusal goes on, and commits the rest."""
        with database.write() as tables:
            tables.orders.add(samples.order(1))
            with pytest.raises(AlreadyExists):
                tables.orders.add(samples.order(1, units=2))
            tables.orders.add(samples.order(2))
        with database.read() as tables:
            assert tables.orders.find() == [samples.order(2), samples.order(1)]

    def test_a_block_reads_its_own_writes(self, database: Database) -> None:
        """Within a write block, reads and searches see what the block has written so far."""
        with database.write() as tables:
            tables.catalog.add(samples.release(title="fresh"))
            tables.deliveries.add(samples.delivery())
            assert len(tables.catalog.search("fresh", limit=10)) == 1
            assert tables.deliveries.spent(samples.address(3), OfferId(samples.hash32(1))) == 1

    def test_a_reader_keeps_its_snapshot(self, database: Database) -> None:
        """A reader that has read sees the same until its block ends, whatever is committed meanwhile."""
        with database.read() as reading:
            assert reading.orders.find() == []
            with database.write() as tables:
                tables.orders.add(samples.order())
            assert reading.orders.find() == []
        with database.read() as tables:
            assert tables.orders.find() == [samples.order()]

    def test_a_reader_does_not_wait(self, database: Database) -> None:
        """While a writer is at work, a reader reads what was committed before."""
        with database.write() as tables:
            tables.orders.add(samples.order())
            with database.read() as reading:
                assert reading.orders.find() == []

    def test_writers_take_turns(self, database: Database) -> None:
        """Writers at the same time each see what the one before them committed: no nonce is given twice."""

        def send(_: int) -> int:
            with database.write() as tables:
                nonce = tables.outbox.next_nonce(samples.address(4), included=3)
                tables.outbox.add(samples.chain_transaction(nonce))
                return nonce

        assert sorted(at_once(send, 3 * THREADS)) == list(range(3, 3 + 3 * THREADS))

    def test_the_last_use_goes_to_one(self, database: Database) -> None:
        """Of many threads that race for the last use of a license, exactly one gets it."""

        def deliver(number: int) -> bool:
            try:
                with database.write() as tables:
                    _use_up(tables, number, uses=1)
            except UsesExhausted:
                return False
            return True

        assert sorted(at_once(deliver, THREADS)) == [False] * (THREADS - 1) + [True]


class CatalogSuite(DatabaseFixture):
    """Dataset versions and search."""

    def test_a_release_comes_back(self, database: Database) -> None:
        """A release is read back whole, with any text and the longest description."""
        release = samples.release(title=TEXT.replace("\u0000", ""), description="数据" * 10_000, keywords=("气象", "ü"))
        with database.write() as tables:
            tables.catalog.add(release)
        with database.read() as tables:
            assert tables.catalog.get(release.dataset.id) == release

    def test_a_version_is_added_once(self, database: Database) -> None:
        """Adding a version again changes nothing; with another description or key it is refused."""
        release = samples.release(title="one")
        with database.write() as tables:
            tables.catalog.add(release)
            tables.catalog.add(release)
            for other in (samples.release(title="other"), msgspec.structs.replace(release, wrapped_key=b"other")):
                with pytest.raises(AlreadyExists):
                    tables.catalog.add(other)
            assert tables.catalog.get(release.dataset.id) == release
            assert tables.catalog.search("", limit=10) == [release.dataset]

    def test_the_newest_version_counts(self, database: Database) -> None:
        """The newest version is the one with the largest number, in whichever order they come."""
        with database.write() as tables:
            for version in (2, 10, 9):
                tables.catalog.add(samples.release(version=version, title=f"v{version}"))
        with database.read() as tables:
            dataset_id = samples.dataset().id
            assert tables.catalog.get(dataset_id).dataset.version == 10
            assert tables.catalog.get(dataset_id, version=9).dataset.version == 9
            assert [found.version for found in tables.catalog.search("", limit=10)] == [10]
            assert [len(tables.catalog.search(f"v{version}", limit=10)) for version in (2, 9, 10)] == [0, 0, 1]

    def test_a_version_is_found_by_its_content(self, database: Database) -> None:
        """A content root names the version that has it, and none of another dataset."""
        first, second = samples.release(version=1), samples.release(version=2)
        with database.write() as tables:
            tables.catalog.add(first)
            tables.catalog.add(second)
            tables.catalog.add(samples.release(2))
        with database.read() as tables:
            root = first.dataset.content_root
            assert tables.catalog.get(first.dataset.id, content_root=root) == first
            with pytest.raises(NotFound):
                tables.catalog.get(samples.dataset(2).id, content_root=root)

    def test_an_unknown_version_is_not_found(self, database: Database) -> None:
        """An unknown dataset, and an unknown version of a known one, are not found."""
        with database.write() as tables:
            tables.catalog.add(samples.release(1))
        with database.read() as tables:
            with pytest.raises(NotFound):
                tables.catalog.get(samples.dataset(2).id)
            with pytest.raises(NotFound):
                tables.catalog.get(samples.dataset(1).id, version=2)

    def test_search_lists_newest_first(self, database: Database) -> None:
        """An empty search lists every dataset, newest first, in pages that neither overlap nor skip."""
        with database.write() as tables:
            for number in range(1, 6):
                tables.catalog.add(samples.release(number))
        with database.read() as tables:
            for text in ("", "  ", "sample"):
                pages = [tables.catalog.search(text, limit=2, offset=offset) for offset in (0, 2, 4, 6)]
                assert [[int(found.name[-1]) for found in page] for page in pages] == [[5, 4], [3, 2], [1], []]

    def test_search_needs_every_word(self, database: Database) -> None:
        """A dataset is found when its name, title, description or keywords hold every word, in any script and case."""
        release = samples.release(
            name="radiology-2024",
            title="Chest X-rays 胸部影像",
            description="Straße, 肺.\n한국어 ひらがな データ",
            keywords=("lung",),
        )
        with database.write() as tables:
            tables.catalog.add(release)
            tables.catalog.add(samples.release(2, title="else"))
        with database.read() as tables:
            found = {query: tables.catalog.search(query, limit=10) for query in SEARCHES}
        assert found == {query: [release.dataset] if hit else [] for query, hit in SEARCHES.items()}

    def test_search_syntax_is_inert(self, database: Database) -> None:
        """What other engines take for operators are words or nothing: no error, and no other meaning."""
        with database.write() as tables:
            tables.catalog.add(samples.release(1, title="alpha beta or not title near"))
            tables.catalog.add(samples.release(2, title="alphabet gamma"))
        with database.read() as tables:
            found = {query: len(tables.catalog.search(query, limit=10)) for query in SYNTAX}
            assert found == dict.fromkeys(SYNTAX, 1)
            assert tables.catalog.search("alpha OR gamma", limit=10) == []

    def test_long_words_are_searched(self, database: Database) -> None:
        """A word of any length can be stored and found, and a query of thousands of words answered."""
        text = "word " + "x" * 5_000 + " " + " ".join(f"w{number}" for number in range(2_000))
        with database.write() as tables:
            tables.catalog.add(samples.release(description=text))
        with database.read() as tables:
            assert len(tables.catalog.search("x" * 5_000, limit=1)) == 1
            assert len(tables.catalog.search(text, limit=1)) == 1
            assert tables.catalog.search(text + " absent", limit=1) == []


class ListingSuite(DatabaseFixture):
    """Signed offers."""

    def test_a_listing_comes_back(self, database: Database) -> None:
        """A listing is read back whole; adding it again, even later, changes nothing."""
        listing = samples.listing()
        with database.write() as tables:
            tables.listings.add(listing)
            tables.listings.add(msgspec.structs.replace(listing, listed_at=listing.listed_at + 1))
        with database.read() as tables:
            assert tables.listings.get(listing.signed.offer.id) == listing

    def test_a_listing_keeps_its_policy(self, database: Database) -> None:
        """The same offer with another text of its policy is refused."""
        with database.write() as tables:
            tables.listings.add(samples.listing())
            with pytest.raises(AlreadyExists):
                tables.listings.add(msgspec.structs.replace(samples.listing(), policy=b"{}"))

    def test_withdrawal_keeps_its_first_time(self, database: Database) -> None:
        """A withdrawn offer stays listed as withdrawn, at the first time."""
        offer_id = samples.listing().signed.offer.id
        with database.write() as tables:
            tables.listings.add(samples.listing())
            tables.listings.withdraw(offer_id, 10)
            tables.listings.withdraw(offer_id, 20)
            tables.listings.add(samples.listing())
        with database.read() as tables:
            assert tables.listings.get(offer_id).withdrawn_at == 10

    def test_an_unlisted_offer_is_not_found(self, database: Database) -> None:
        """An offer that is not listed can neither be read nor withdrawn."""
        with database.write() as tables:
            with pytest.raises(NotFound):
                tables.listings.get(samples.listing().signed.offer.id)
            with pytest.raises(NotFound):
                tables.listings.withdraw(samples.listing().signed.offer.id, 10)

    def test_listings_are_found_newest_first(self, database: Database) -> None:
        """Listings are found by dataset, by provider, by both or by neither, newest first."""
        listings = [samples.listing(1, of=1), samples.listing(2, of=2), samples.listing(3, of=2, provider=9)]
        with database.write() as tables:
            for listing in listings:
                tables.listings.add(listing)
        one, two, three = listings
        dataset, provider = samples.dataset(2).id, samples.address(0)
        with database.read() as tables:
            find = tables.listings.find
            assert find(dataset=None, provider=None, limit=2) == [three, two]
            assert find(dataset=dataset, provider=None, limit=9) == [three, two]
            assert find(dataset=None, provider=provider, limit=9) == [two, one]
            assert find(dataset=dataset, provider=provider, limit=9) == [two]


class OrderSuite(DatabaseFixture):
    """Purchases."""

    def test_an_order_comes_back(self, database: Database) -> None:
        """An order is read back whole: the largest amount, and any text as the reason."""
        order = samples.order(price=Amount(MAX_AMOUNT), units=2**32, reason=TEXT, state=OrderState.REFUSED)
        with database.write() as tables:
            tables.orders.add(order)
        with database.read() as tables:
            assert tables.orders.get(order.id) == order
            assert tables.orders.get(samples.order(2).id) is None

    def test_an_order_id_is_taken_once(self, database: Database) -> None:
        """A second order of the same id is refused, and the first stays."""
        with database.write() as tables:
            tables.orders.add(samples.order())
            with pytest.raises(AlreadyExists):
                tables.orders.add(samples.order(units=2))
            assert tables.orders.get(samples.order().id) == samples.order()

    def test_an_order_is_saved_from_its_state(self, database: Database) -> None:
        """An order is replaced when its stored state is the one named; else the move is illegal and nothing changes."""
        placed = samples.order()
        licensed = placed.moved(OrderEvent.LICENSE)
        with database.write() as tables:
            tables.orders.add(placed)
            tables.orders.save(licensed, was=OrderState.PLACED)
            with pytest.raises(IllegalMove):
                tables.orders.save(placed.moved(OrderEvent.REFUSE), was=OrderState.PLACED)
            with pytest.raises(IllegalMove):
                tables.orders.save(samples.order(2), was=OrderState.PLACED)
        with database.read() as tables:
            assert tables.orders.find() == [licensed]

    def test_orders_are_found_newest_first(self, database: Database) -> None:
        """Orders are found by buyer, offer and state, newest first, up to the limit."""
        orders = [
            samples.order(1),
            samples.order(2, buyer=samples.address(9)),
            samples.order(3, offer_id=OfferId(samples.hash32(9))),
            samples.order(4, state=OrderState.REFUSED),
        ]
        with database.write() as tables:
            for order in orders:
                tables.orders.add(order)
        one, two, three, four = orders
        with database.read() as tables:
            find = tables.orders.find
            assert find(limit=3) == [four, three, two]
            assert find(buyer=samples.address(3)) == [four, three, one]
            assert find(offer_id=one.offer_id, state=OrderState.PLACED) == [two, one]


class OutboxSuite(DatabaseFixture):
    """Chain transactions on their way."""

    def test_nonces_follow_the_chain_and_the_store(self, database: Database) -> None:
        """The next nonce is past all that the chain included and past all that are stored, signer by signer."""
        signer, other = samples.address(4), samples.address(5)
        with database.write() as tables:
            assert tables.outbox.next_nonce(signer, included=7) == 7
            tables.outbox.add(samples.chain_transaction(7))
            assert tables.outbox.next_nonce(signer, included=7) == 8
            assert tables.outbox.next_nonce(signer, included=20) == 20
            assert tables.outbox.next_nonce(other, included=0) == 0

    def test_a_nonce_is_taken_once(self, database: Database) -> None:
        """A second chain transaction under a signer's nonce is refused; another signer may use the number."""
        with database.write() as tables:
            tables.outbox.add(samples.chain_transaction(1))
            with pytest.raises(AlreadyExists):
                tables.outbox.add(msgspec.structs.replace(samples.chain_transaction(1), hash="0x" + "1" * 64))
            tables.outbox.add(samples.chain_transaction(1, signer=5))

    def test_pending_ends_with_the_outcome(self, database: Database) -> None:
        """Chain transactions are pending in the order of their nonces until their outcome is recorded, once."""
        sent = [samples.chain_transaction(nonce) for nonce in (0, 1, 2)]
        payments = (Payment(samples.address(1), Amount(MAX_AMOUNT)),)
        outcome = ChainOutcome(sent[1].hash, 12, "0x" + "2" * 64, succeeded=True, payments=payments, expiry=2**53 - 1)
        with database.write() as tables:
            for chain_transaction in reversed(sent):
                tables.outbox.add(chain_transaction)
            assert tables.outbox.outcome(sent[1].hash) is None
            tables.outbox.finish(outcome)
            tables.outbox.finish(msgspec.structs.replace(outcome, block=13))
        with database.read() as tables:
            assert tables.outbox.pending() == [sent[0], sent[2]]
            assert tables.outbox.get(sent[1].hash) == sent[1]
            assert tables.outbox.outcome(sent[1].hash) == outcome

    def test_an_unknown_chain_transaction_is_not_found(self, database: Database) -> None:
        """What was never stored can neither be read nor finished."""
        unknown = "0x" + "3" * 64
        with database.write() as tables:
            with pytest.raises(NotFound):
                tables.outbox.get(unknown)
            with pytest.raises(NotFound):
                tables.outbox.finish(ChainOutcome(unknown, 1, unknown, succeeded=False))


class DeliverySuite(DatabaseFixture):
    """Releases of content keys."""

    def test_a_delivery_comes_back(self, database: Database) -> None:
        """A delivery is read back whole, with and without an order."""
        first = samples.delivery(1, use=1)
        second = msgspec.structs.replace(samples.delivery(2, use=2), order_id=samples.order().id, recipient=TEXT)
        with database.write() as tables:
            tables.deliveries.add(first)
            tables.deliveries.add(second)
        with database.read() as tables:
            assert [tables.deliveries.get(found.id) for found in (first, second)] == [first, second]
            assert tables.deliveries.get(samples.delivery(3).id) is None

    def test_a_use_is_spent_once(self, database: Database) -> None:
        """A known id and a taken use number of the same holder are refused; another holder counts apart."""
        offer_id = samples.delivery().offer_id
        with database.write() as tables:
            tables.deliveries.add(samples.delivery(1, use=1))
            for taken in (samples.delivery(1, use=2), samples.delivery(2, use=1)):
                with pytest.raises(AlreadyExists):
                    tables.deliveries.add(taken)
            tables.deliveries.add(samples.delivery(3, use=1, holder=9))
            tables.deliveries.add(samples.delivery(4, use=2, holder=9))
            assert [tables.deliveries.spent(samples.address(holder), offer_id) for holder in (3, 9, 8)] == [1, 2, 0]


class SignInSuite(DatabaseFixture):
    """Challenges and tokens."""

    def test_a_challenge_is_used_once(self, database: Database) -> None:
        """A challenge can be taken once; a second time, or unknown, it asks to sign in."""
        with database.write() as tables:
            tables.sign_ins.add_challenge(samples.hash32(1), expires_at=100)
        with database.write() as tables:
            tables.sign_ins.take_challenge(samples.hash32(1), now=99)
        for digest in (samples.hash32(1), samples.hash32(2)):
            with pytest.raises(SignInRequired), database.write() as tables:
                tables.sign_ins.take_challenge(digest, now=99)

    def test_a_challenge_expires(self, database: Database) -> None:
        """At its time of expiry a challenge no longer counts."""
        with database.write() as tables:
            tables.sign_ins.add_challenge(samples.hash32(1), expires_at=100)
        with pytest.raises(SignInRequired), database.write() as tables:
            tables.sign_ins.take_challenge(samples.hash32(1), now=100)

    def test_a_token_names_its_holder(self, database: Database) -> None:
        """A token names its holder until its time of expiry, then and when unknown it asks to sign in."""
        with database.write() as tables:
            tables.sign_ins.add_token(samples.hash32(1), samples.address(1), expires_at=100)
        with database.read() as tables:
            assert tables.sign_ins.holder(samples.hash32(1), now=99) == samples.address(1)
            for digest, now in ((samples.hash32(1), 100), (samples.hash32(2), 99)):
                with pytest.raises(SignInRequired):
                    tables.sign_ins.holder(digest, now=now)

    def test_a_sign_in_ends_no_other(self, database: Database) -> None:
        """Taking a challenge leaves the challenges and tokens that are still valid."""
        with database.write() as tables:
            for number in (1, 2):
                tables.sign_ins.add_challenge(samples.hash32(number), expires_at=100)
            tables.sign_ins.add_token(samples.hash32(3), samples.address(3), expires_at=100)
            tables.sign_ins.take_challenge(samples.hash32(1), now=50)
            assert tables.sign_ins.holder(samples.hash32(3), now=50) == samples.address(3)
            tables.sign_ins.take_challenge(samples.hash32(2), now=50)


class IdempotencySuite(DatabaseFixture):
    """Answers already given."""

    def test_an_answer_is_given_again(self, database: Database) -> None:
        """The first answer to a request stays; another asker or another key has none."""
        with database.write() as tables:
            remember = tables.idempotency.remember
            remember("ann", TEXT, request=b"r", status=201, body=b"one", at=1)
            remember("ann", TEXT, request=b"r", status=500, body=b"two", at=2)
        with database.read() as tables:
            answer = tables.idempotency.answer
            assert answer("ann", TEXT, request=b"r") == (201, b"one")
            assert answer("bob", TEXT, request=b"r") is None
            assert answer("ann", "other", request=b"r") is None

    def test_another_request_is_a_mismatch(self, database: Database) -> None:
        """A key that comes back with another request is refused."""
        with database.write() as tables:
            tables.idempotency.remember("ann", "key", request=b"r", status=201, body=b"", at=1)
            with pytest.raises(IdempotencyMismatch):
                tables.idempotency.answer("ann", "key", request=b"other")


class DatabaseSuite(
    DatabaseTransactionSuite,
    CatalogSuite,
    ListingSuite,
    OrderSuite,
    OutboxSuite,
    DeliverySuite,
    LogSuite,
    BatchSuite,
    BesideTheLogSuite,
    SignInSuite,
    IdempotencySuite,
):
    """The whole port. Subclass it and give the fixture ``database``."""


def _use_up(tables: Tables, number: int, *, uses: int) -> None:
    """What delivering does: count, compare, record, in one database transaction."""
    spent = tables.deliveries.spent(samples.address(3), samples.delivery().offer_id)
    if spent >= uses:
        raise UsesExhausted("Every use is spent.", fix="Buy more.")
    tables.deliveries.add(samples.delivery(number, use=spent + 1))
