import os
import socket
from urllib.parse import urlsplit

import psycopg
import pytest

from recovery.connection_failures import MEANINGS, words
from recovery.databases import database
from recovery.exceptions import ServerAwayError


@pytest.fixture
def configured(settings):
    """Configure "orders" at the tests' server, but for what is given otherwise."""
    there = urlsplit(os.environ["DATABASE_ADMIN_URL"])

    def configure(host=None, port=None, password="geheim", dbname="postgres", query=""):
        place = f"{host or there.hostname}:{port or there.port}"
        user = f"{there.username}:{password or there.password}"
        settings.BACKUP_DATABASES = f"orders=postgresql://{user}@{place}/{dbname}{query}"
        return database("orders")

    return configure


def complaint(orders):
    with pytest.raises(ServerAwayError) as away:
        orders.connect()
    assert "geheim" not in str(away.value)
    beginning, _, said = str(away.value).rpartition(": ")
    where = f"{orders.host}:{orders.port} as {orders.user} to {orders.dbname}"
    assert beginning == f"orders: no connection to {where}"
    return said


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({}, "the server refused the password, or knows no such user."),
        ({"port": 9}, "nothing listens there, the connection was refused."),
        ({"host": "nowhere.invalid"}, "the name of the host does not resolve."),
        ({"dbname": "nothing", "password": ""}, "the server has no such database."),
        ({"query": "?sslmode=require"}, "server and URL do not agree on SSL."),
    ],
)
def test_people_are_told_in_words(configured, wrong, said):
    assert complaint(configured(**wrong)) == said


def test_a_server_that_accepts_and_is_silent_gave_no_answer(configured):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        said = complaint(configured("127.0.0.1", port, query="?connect_timeout=2"))

    assert said == "no answer in time."


def test_what_nobody_foresaw_is_only_named():
    assert words(psycopg.OperationalError("geheim")) == "OperationalError"


def test_no_hint_is_hidden_by_an_earlier_one():
    hints = [hint for hint, _ in MEANINGS]

    for place, hint in enumerate(hints):
        assert not any(earlier in hint for earlier in hints[:place]), hint
