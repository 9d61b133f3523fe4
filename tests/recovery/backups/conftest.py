"""Small databases to back up, and places to keep the backups in."""

import os
import secrets
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from recovery.databases import database
from tests.services import execute_as_administrator

CONTENTS = """
    CREATE TABLE customers (id int PRIMARY KEY, name text, born date, share float8, photo bytea);
    INSERT INTO customers SELECT n, 'customer ' || n, date '2000-01-01' + n, n / 7.0, decode(md5(n::text), 'hex')
        FROM generate_series(1, 500) AS n;
    CREATE TABLE orders (id bigserial, placed timestamptz, tags text[]) PARTITION BY RANGE (placed);
    CREATE TABLE orders_2026 PARTITION OF orders FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
    INSERT INTO orders (placed, tags) SELECT timestamptz '2026-02-01' + n * interval '1 hour', ARRAY['a', 'b']
        FROM generate_series(1, 300) AS n;
    CREATE MATERIALIZED VIEW totals AS SELECT count(*) FROM orders;
    SELECT lo_from_bytea(0, '\\x00010203');
"""


def url_of(dbname):
    return urlunsplit(urlsplit(os.environ["DATABASE_ADMIN_URL"])._replace(path=f"/{dbname}"))


@pytest.fixture
def make_database():
    """Make a database with these contents; return its URL."""
    made = []

    def make(contents=CONTENTS):
        name = f"backup_{secrets.token_hex(6)}"
        execute_as_administrator(f"CREATE DATABASE {name} TEMPLATE template0")
        made.append(name)
        with psycopg.connect(url_of(name), autocommit=True) as connection:
            connection.execute(contents)
        return url_of(name)

    yield make
    for name in made:
        execute_as_administrator(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture
def places(settings, tmp_path):
    """Configure two folders, and a working folder, of the test's own."""
    folders = [tmp_path / "first", tmp_path / "second"]
    settings.BACKUP_STORAGE_PATH = [str(folder) for folder in folders]
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    return folders


@pytest.fixture
def orders(db, settings, make_database, places, actor):
    """The database "orders", ready to be backed up."""
    settings.BACKUP_DATABASES = f"orders={make_database()}"
    return database("orders")
