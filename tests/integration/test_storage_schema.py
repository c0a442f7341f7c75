"""Making and migrating the tables, on both engines."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, text

from databund.errors import ConfigInvalid, DependencyMissing, HomeTooNew, NotFound, StoreCorrupt
from databund.storage import migrations, revisions
from databund.storage.database import SqlDatabase
from databund.storage.tables import metadata

SCHEMA = {
    "sqlite": "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL",
    "postgresql": """
        SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull::text,
               pg_get_expr(d.adbin, d.adrelid)
          FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace AND a.attnum > 0
        UNION ALL
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), '', ''
          FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL
        SELECT tablename, indexname, indexdef, '', '' FROM pg_indexes WHERE schemaname = 'public'""",
}
MIGRATIONS_ONLY = ("catalog_words", "releases_found", "releases_superseded", revisions.TABLE)


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either engine."""
    if request.param == "postgres":
        return request.getfixturevalue("fresh_postgres_url")
    return f"sqlite:///{tmp_path}/test.db"


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """A connection of the test's own, outside `SqlDatabase`."""
    engine = create_engine(url)
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def _schema(connection: Connection) -> set[tuple[str, ...]]:
    """What the engine itself says of tables, constraints and indexes, but for those of the migrations alone."""
    rows = connection.execute(text(SCHEMA[connection.dialect.name]))
    found = {tuple(" ".join(str(cell).split()) for cell in row) for row in rows}
    return {row for row in found if not any(cell.startswith(MIGRATIONS_ONLY) for cell in row)}


def _script() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return ScriptDirectory.from_config(config)


def test_migrations_make_the_tables(url: str, connection: Connection) -> None:
    """The migrations make exactly the tables, constraints and indexes that the code knows."""
    SqlDatabase.open(url, create=True).close()
    migrated = _schema(connection)
    for name in ("catalog_words", *metadata.tables, revisions.TABLE):
        kind = "INDEX" if (name, connection.dialect.name) == ("catalog_words", "postgresql") else "TABLE"
        connection.execute(text(f"DROP {kind} {name}"))
    metadata.create_all(connection)
    assert len(migrated) > 10
    assert migrated == _schema(connection)


def test_the_known_revisions_are_the_scripts() -> None:
    """The list of revisions in the code is that of the migration scripts, in their order."""
    scripts = [script.revision for script in _script().walk_revisions()]
    assert list(revisions.REVISIONS) == scripts[::-1]


def test_opening_imports_no_alembic(url: str) -> None:
    """Opening a database of the newest revision does not import alembic."""
    SqlDatabase.open(url, create=True).close()
    code = (
        "import sys; from databund.storage.database import SqlDatabase;"
        "SqlDatabase.open(sys.argv[1], create=True).close(); sys.exit('alembic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code, url], timeout=60).returncode == 0


def test_a_newer_revision_is_left_alone(url: str, connection: Connection) -> None:
    """A database of a revision we do not know is refused as too new, and not changed."""
    SqlDatabase.open(url, create=True).close()
    connection.execute(text("UPDATE databund_revision SET version_num = '9999'"))
    connection.commit()
    with pytest.raises(HomeTooNew):
        SqlDatabase.open(url, create=True)
    assert connection.scalar(text("SELECT version_num FROM databund_revision")) == "9999"


def test_an_empty_database_is_not_filled_unasked(url: str, connection: Connection) -> None:
    """Without ``create`` an empty database is not found, and stays empty."""
    before = _schema(connection)
    with pytest.raises(NotFound):
        SqlDatabase.open(url, create=False)
    assert _schema(connection) == before


def test_foreign_tables_are_left_alone(url: str, connection: Connection) -> None:
    """A database that holds tables of something else is refused, and not changed."""
    connection.execute(text("CREATE TABLE theirs (id INTEGER)"))
    connection.commit()
    before = _schema(connection)
    with pytest.raises(StoreCorrupt):
        SqlDatabase.open(url, create=True)
    assert _schema(connection) == before


def test_many_may_make_it_at_once(url: str) -> None:
    """When several open the same empty database at once, one makes the tables and all can use them."""
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(lambda _: SqlDatabase.open(url, create=True), range(4)))
    for database in opened:
        with database.read() as tables:
            assert tables.orders.find() == []
        database.close()


def test_an_absent_file_is_not_made(tmp_path: Path) -> None:
    """Without ``create`` an absent SQLite file is not found, and not made; with it, only its owner may read it."""
    path = tmp_path / "odd %41 ?#.db"
    with pytest.raises(NotFound):
        SqlDatabase.open(f"sqlite:///{path}", create=False)
    assert not path.exists()
    SqlDatabase.open(f"sqlite:///{path}", create=True).close()
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in tmp_path.iterdir()] == [path.name]


def test_a_file_is_written_through_wal(tmp_path: Path) -> None:
    """A SQLite file is in WAL mode."""
    SqlDatabase.open(f"sqlite:///{tmp_path}/test.db", create=True).close()
    connection = sqlite3.connect(tmp_path / "test.db")
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


@pytest.mark.parametrize(
    "url", ["", "sqlite://", "sqlite:///", "mysql://u:secret@h/d", "postgresql://u:secret@h:port/d"]
)
def test_an_unusable_address_is_refused(url: str) -> None:
    """An address we cannot use is refused without showing what it holds."""
    with pytest.raises(ConfigInvalid) as refusal:
        SqlDatabase.open(url, create=True)
    assert "secret" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_a_missing_driver_names_its_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without psycopg a PostgreSQL address says how to install it."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DependencyMissing, match=r"pip install 'databund\[postgres\]'"):
        SqlDatabase.open("postgresql:///test", create=True)
