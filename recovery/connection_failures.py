"""Why a connection to a database could not be made, in words of our own.

libpq tells it only in a text, which may quote whatever the server said, and is never passed on.
"""

from __future__ import annotations

import psycopg
from psycopg.errors import ConnectionTimeout

# What libpq or the server says, in small letters, and what that means; the first that fits counts.
MEANINGS = (
    (
        "password authentication failed",
        "the server refused the password, or knows no such user",
    ),
    ("no password supplied", "the server wants a password, and the URL has none"),
    ("no pg_hba.conf entry", "pg_hba.conf of the server lets nobody in from here by that name"),
    ("authentication failed", "the server did not let that user in"),
    ("could not translate host name", "the name of the host does not resolve"),
    ("name or service not known", "the name of the host does not resolve"),
    ("temporary failure in name resolution", "the name of the host does not resolve"),
    ("connection refused", "nothing listens there, the connection was refused"),
    ("no route to host", "no way leads to that host"),
    ("network is unreachable", "no way leads to that host"),
    ("timeout expired", "no answer in time"),
    ("too many", "the server has no connection left"),
    ("remaining connection slots", "the server has no connection left"),
    ("is starting up", "the server is starting"),
    ("is shutting down", "the server is shutting down"),
    ("in recovery mode", "the server is recovering"),
    ("not yet accepting connections", "the server is recovering"),
    ("not currently accepting connections", "the database accepts no connections"),
    ("certificate", "the certificates do not fit"),
    ("ssl", "server and URL do not agree on SSL"),
    ("closed the connection", "the server hung up"),
    ("permission denied", "that user may not connect to the database"),
    ('role "', "the server knows no such user"),
    ('database "', "the server has no such database"),
)


def words(failure: psycopg.OperationalError) -> str:
    """Return what became of an attempt to connect; the kind of error where nothing fits."""
    if isinstance(failure, ConnectionTimeout):
        return "no answer in time"
    said = str(failure).lower()
    fitting = (meaning for hint, meaning in MEANINGS if hint in said)
    return next(fitting, failure.sqlstate or type(failure).__name__)
