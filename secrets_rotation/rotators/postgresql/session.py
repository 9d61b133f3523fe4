"""The administrator's session at a PostgreSQL server: changes under a lease, never in clear text.

Errors of psycopg hold the statement, and that holds a verifier: they end here, as SQLSTATEs.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg import errors, sql
from scramp import ScramException  # type: ignore[import-untyped]
from scramp.utils import saslprep  # type: ignore[import-untyped]

from compliance_site.foundation.deadline import deadline
from compliance_site.foundation.secret_text import SecretText
from secrets_rotation.exceptions import TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer, Guard
from secrets_rotation.rotators.postgresql import probe
from secrets_rotation.rotators.postgresql.server import Login, Server

NAME = "compliance-console"
SESSION_SECONDS = 15.0
STATEMENT_SECONDS = 5.0
# libpq knows no shorter one.
LEAST_SECONDS = 2.0
type Connection = psycopg.Connection[tuple[Any, ...]]

LIMITS = """
SELECT set_config('statement_timeout', %(statement)s, true),
       set_config('lock_timeout', %(statement)s, true),
       set_config('idle_in_transaction_session_timeout', %(idle)s, true)
"""
# What the server says is set must survive the server's own crash.
DURABLE = """
SELECT set_config('synchronous_commit', 'on', true)
WHERE current_setting('synchronous_commit') = 'off'
"""


@contextmanager
def session(server: Server, login: Login, guard: Guard | None = None) -> Iterator[Connection]:
    """Lend a connection in autocommit that ends in time, before the lease if there is one.

    Raise `TargetUnknownError` in the place of psycopg's errors, also for those of the block.
    """
    seconds = SESSION_SECONDS
    if guard is not None:
        guard.confirm()
        # A second to spare: nothing of ours is on its way any more when the lease ends.
        seconds = min(seconds, guard.seconds_left() - 1.0)
        if seconds < LEAST_SECONDS:
            raise TargetUnknownError("too little is left of the lease; nothing was changed")
    due = time.monotonic() + seconds
    connection = _connected(server, login, seconds)
    try:
        with deadline(connection.fileno(), max(due - time.monotonic(), 0.0)):
            yield connection
    except psycopg.Error as exc:
        raise TargetUnknownError(_reason(exc)) from None
    finally:
        connection.close()


@contextmanager
def change(connection: Connection, guard: Guard) -> Iterator[None]:
    """Run the block in a transaction that commits under the lease, or not at all.

    Should this process be paused, the server ends the idle transaction before the lease ends.
    """
    idle = min(guard.seconds_left() / 2, SESSION_SECONDS)
    limits = {
        "statement": f"{min(STATEMENT_SECONDS, idle) * 1000:.0f}",
        "idle": f"{idle * 1000:.0f}",
    }
    with connection.transaction():
        connection.execute(LIMITS, limits)
        connection.execute(DURABLE)
        yield
        guard.confirm()
        # The server has been counting since the last statement, thus before this line.
        if guard.seconds_left() <= idle:
            raise TargetUnknownError("too little is left of the lease; nothing was changed")


def check_password(password: SecretText) -> None:
    """Raise `ValueRefusedError` for a password that programs may send in different bytes.

    Before SCRAM a password is normalized (SASLprep). Where that changes it, or is not defined,
    drivers disagree; an empty one or one with a zero byte PostgreSQL does not take at all.
    """
    text = password.reveal()
    try:
        is_same = bool(text) and saslprep(text) == text
    except ScramException:
        is_same = False
    if not is_same:
        raise ValueRefusedError(
            "PostgreSQL: passwords of letters, digits and plain symbols only (SASLprep)"
        )


def set_password(
    connection: Connection, username: str, password: SecretText, *, options: LiteralString = ""
) -> None:
    """Set a role's password by its verifier; `options` are more of `ALTER ROLE`."""
    try:
        connection.execute(
            sql.SQL("ALTER ROLE {} WITH {} PASSWORD {}").format(
                sql.Identifier(username),
                sql.SQL(options),
                sql.Literal(_verifier(connection, username, password)),
            )
        )
    except (errors.InvalidParameterValue, errors.RaiseException) as exc:
        # Modules such as passwordcheck, and triggers of the server's owner.
        raise ValueRefusedError(f"the server's own rules, {_reason(exc)}") from None


def lock_out(connection: Connection, username: str) -> None:
    """Take a role's password away, and its right to log in.

    The latter is for a login that had begun before: it is looked at once more at its end.
    """
    connection.execute(
        sql.SQL("ALTER ROLE {} WITH NOLOGIN PASSWORD NULL").format(sql.Identifier(username))
    )


def _verifier(connection: Connection, username: str, password: SecretText) -> str:
    return connection.pgconn.encrypt_password(
        password.reveal().encode(), username.encode(), b"scram-sha-256"
    ).decode()


def _connected(server: Server, login: Login, seconds: float) -> Connection:
    with suppress(psycopg.Error):
        return psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=server.database,
            user=login.username,
            password=login.password.reveal(),
            sslmode=server.sslmode,
            sslrootcert=server.libpq_root_certificate,
            # Never the clear text of a password, whatever the server asks for.
            require_auth="!password",
            connect_timeout=int(max(seconds / 2, LEAST_SECONDS)),
            tcp_user_timeout=int(seconds * 1000),
            keepalives_idle=int(LEAST_SECONDS),
            client_encoding="utf8",
            application_name=NAME,
            autocommit=True,
            prepare_threshold=None,
        )
    raise TargetUnknownError(_why_not_connected(server, login))


def _why_not_connected(server: Server, login: Login) -> str:
    """Find out by a login of the other kind: psycopg does not tell why."""
    if probe.attempt(server, login, LEAST_SECONDS) is Answer.REFUSED:
        return f"{server} refuses the credential of {login.username}"
    return f"no connection to {server} as {login.username}"


def _reason(exc: psycopg.Error) -> str:
    if exc.sqlstate is None:
        return "the connection broke off, or the server did not answer in time"
    if exc.sqlstate == "XX000" and "concurrently updated" in str(exc):
        return "another session changed the role at the same moment (SQLSTATE XX000)"
    return f"SQLSTATE {exc.sqlstate} ({type(exc).__name__})"
