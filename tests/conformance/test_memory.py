"""The fakes in memory pass the suites of the real adapters."""

import time

import pytest

from databund.core.ids import Address
from databund.crypto.identities import Identity
from databund.testing.database_suite import DatabaseSuite
from databund.testing.ledger_suite import LedgerSuite, Market
from databund.testing.memory_database import MemoryDatabase
from databund.testing.memory_exchange import MemoryExchange
from databund.testing.memory_ledger import MemoryChain, MemoryChainEvents, MemoryLedger, MemoryRelayer
from databund.testing.memory_objects import MemoryObjects
from databund.testing.objects_suite import ObjectsSuite
from databund.testing.plain_sealer import PlainSealer


class TestMemoryDatabase(DatabaseSuite):
    """Dictionaries as the database."""

    @pytest.fixture
    def database(self, sealer: PlainSealer) -> MemoryDatabase:
        """A new one."""
        return MemoryDatabase(sealer)


class TestMemoryObjects(ObjectsSuite):
    """A dictionary as the object store."""

    @pytest.fixture
    def objects(self) -> MemoryObjects:
        """A new one."""
        return MemoryObjects()


class TestMemoryLedger(LedgerSuite):
    """An exchange in memory as the chain."""

    @pytest.fixture
    def market(self) -> Market:
        """A new one."""
        operator = Identity.generate().address
        exchange = MemoryExchange(operator, clock=lambda: int(time.time()))
        chain = MemoryChain(exchange)

        def wallet_of(owner: Address) -> Address:
            wallet = Identity.generate().address
            exchange.wallets[wallet] = owner
            return wallet

        return Market(
            ledger=MemoryLedger(chain),
            relayer=MemoryRelayer(chain, operator),
            events=MemoryChainEvents(chain),
            reopened=lambda: MemoryRelayer(chain, operator),
            wallet_of=wallet_of,
            unreachable=(
                MemoryLedger(chain, online=False),
                MemoryRelayer(chain, operator, online=False),
                MemoryChainEvents(chain, online=False),
            ),
        )
