"""Small databases of a test's own, configured under the name `shop`, and traffic on them."""

import itertools
import os
import secrets
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import sql

from recovery.backups import create
from recovery.databases import database


def url_of(admin_url, dbname):
    return urlunsplit(urlsplit(admin_url)._replace(path=f"/{dbname}"))


@pytest.fixture
def admin_url():
    """The server that a test's databases are on."""
    return os.environ["DATABASE_ADMIN_URL"]


@pytest.fixture
def run_sql(admin_url):
    def run(dbname, *statements):
        with psycopg.connect(admin_url, dbname=dbname, autocommit=True) as connection:
            rows = [connection.execute(statement) for statement in statements][-1]
            return rows.fetchall() if rows.description else None

    return run


@pytest.fixture
def shop(settings, admin_url, run_sql, tmp_path):
    """A database with a table `line`, and whatever a restore makes of its name."""
    name = f"shop_{secrets.token_hex(4)}"
    run_sql("postgres", f"CREATE DATABASE {name}")
    run_sql(
        name,
        "CREATE TABLE line (id int PRIMARY KEY, item text NOT NULL)",
        "INSERT INTO line SELECT n, 'item ' || n FROM generate_series(1, 1000) n",
    )
    settings.BACKUP_DATABASES = f"shop={url_of(admin_url, name)}"
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    yield database("shop")
    like = name.replace("_", r"\_") + "%"
    found = run_sql("postgres", f"SELECT datname FROM pg_database WHERE datname LIKE '{like}'")
    for (each,) in found:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        run_sql("postgres", drop.format(sql.Identifier(each)))


@pytest.fixture
def backups_folder(settings, tmp_path):
    """The one store of the test."""
    folder = tmp_path / "backups"
    settings.BACKUP_STORAGE_PATH = (str(folder),)
    return folder


@pytest.fixture
def backup(committed_db, actor, shop, backups_folder, run_sql):
    """The manifest of a backup of `shop`, which has gone on since by a row."""
    manifest = create.create(shop)
    run_sql(shop.dbname, "INSERT INTO line VALUES (1001, 'after the backup')")
    return manifest


@dataclass
class Traffic:
    """What clients saw: when the database answered which number of rows, and when it refused."""

    answers: list = field(default_factory=list)
    refusals: list = field(default_factory=list)

    @property
    def longest_silence(self):
        """Return the longest time between two answers, in seconds."""
        moments = sorted(self.answers)
        return max((b - a for a, b in itertools.pairwise(moments)), default=0.0)


@contextmanager
def traffic(url, threads=6, pause=0.0):
    """Connect, ask, leave, and again after a pause, until the block is over."""
    seen, stopping = Traffic(), threading.Event()

    def ask():
        while not stopping.is_set():
            try:
                with psycopg.connect(url, connect_timeout=10) as connection:
                    connection.execute("SELECT count(*) FROM line").fetchone()
                seen.answers.append(time.monotonic())
            except psycopg.OperationalError as exc:
                seen.refusals.append(str(exc))
            stopping.wait(pause)

    clients = [threading.Thread(target=ask) for _ in range(threads)]
    for client in clients:
        client.start()
    try:
        while len(seen.answers) < threads:
            time.sleep(0.01)
        yield seen
        enough = len(seen.answers) + 5 * threads
        while len(seen.answers) < enough:
            time.sleep(0.01)
    finally:
        stopping.set()
        for client in clients:
            client.join()


@pytest.fixture
def busy(admin_url):
    """Keep clients of a database busy: `with busy(name) as seen`."""
    return lambda dbname, **options: traffic(url_of(admin_url, dbname), **options)
