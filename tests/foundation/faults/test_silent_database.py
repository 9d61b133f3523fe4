import threading
import time
from contextlib import ExitStack

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction

from compliance_site.foundation.postgresql import DEADLINE, silence
from compliance_site.foundation.postgresql.connection import PATIENCE_SECONDS
from compliance_site.foundation.postgresql.silence import CONNECT_SECONDS, SERVER, NoAnswer
from tests.foundation.faults.conftest import wait_until

# The first to find the server silent waits, has it asked, and gives up at the next look.
FIRST = PATIENCE_SECONDS + CONNECT_SECONDS + 1


def ask(statement="SELECT 1"):
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchone()


def execute(statement):
    with connection.cursor() as cursor:
        cursor.execute(statement)


def seconds_until_no_answer(wait):
    began = time.monotonic()
    with pytest.raises(OperationalError):
        wait()
    return time.monotonic() - began


def test_a_wait_for_a_frozen_server_ends_and_the_next_does_not_begin(server):
    ask()
    with server.frozen():
        first = seconds_until_no_answer(ask)
        # The connection is closed; a new one is not even tried.
        connection.close()
        second = seconds_until_no_answer(ask)

    assert PATIENCE_SECONDS < first < FIRST
    assert second < 0.1
    wait_until(lambda: not SERVER.is_silent)
    assert ask() == (1,)


def test_a_connection_is_not_opened_for_ever(server):
    connection.close()
    with server.frozen():
        first = seconds_until_no_answer(ask)
        second = seconds_until_no_answer(ask)

    assert first < CONNECT_SECONDS + 1
    assert second < 0.1


def test_everybody_who_waits_is_released_by_one_question(server, monkeypatch):
    asked = []
    real = psycopg.connect
    monkeypatch.setattr(psycopg, "connect", lambda **how: asked.append(how) or real(**how))
    took, ready = [], threading.Barrier(9)

    def wait():
        ask()
        ready.wait()
        # Begun only when the server is frozen.
        ready.wait()
        took.append(seconds_until_no_answer(ask))
        connections.close_all()

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    ready.wait()
    with server.frozen():
        ready.wait()
        for thread in threads:
            thread.join()
        assert len(asked) <= 2

    assert len(took) == 8
    assert max(took) < FIRST


def test_a_rollback_is_not_waited_for_for_ever(server):
    connection.set_autocommit(False)
    execute("CREATE TEMPORARY TABLE left_behind (id int)")
    with server.frozen():
        assert seconds_until_no_answer(connection.rollback) < FIRST
    connection.close()


def test_a_copy_into_a_frozen_server_ends_when_its_buffers_are_full(server):
    execute("CREATE TEMPORARY TABLE filled (text text)")
    connection.ensure_connection()
    with server.frozen():
        assert seconds_until_no_answer(fill) < FIRST


def fill():
    with (
        connection.wrap_database_errors,
        connection.cursor() as cursor,
        cursor.copy("COPY filled FROM STDIN") as copy,
    ):
        while True:
            copy.write(b"x" * 65_535 + b"\n")


def test_the_next_rows_of_a_stream_are_not_waited_for_for_ever(server):
    with ExitStack() as freeze:

        def read_on():
            with transaction.atomic(), connection.chunked_cursor() as cursor:
                cursor.execute("SELECT generate_series(1, 1000)")
                assert cursor.fetchmany(10)[0] == (1,)
                freeze.enter_context(server.frozen())
                cursor.fetchmany(10)

        assert seconds_until_no_answer(read_on) < FIRST
    wait_until(lambda: not SERVER.is_silent)

    assert ask() == (1,)


def test_a_transaction_whose_commit_got_no_answer_is_not_told_to_have_failed(server):
    execute("DROP TABLE IF EXISTS committed")
    execute("CREATE TABLE committed (id int)")
    with ExitStack() as freeze:

        def insert():
            with transaction.atomic():
                execute("INSERT INTO committed VALUES (1)")
                freeze.enter_context(server.frozen())

        with pytest.raises(OperationalError) as refusal:
            insert()
    assert isinstance(refusal.value.__cause__, NoAnswer)
    wait_until(lambda: not SERVER.is_silent)
    # It arrived: the server commits as soon as it goes on.
    wait_until(lambda: ask("SELECT count(*) FROM committed") == (1,))


def test_a_server_that_works_is_waited_for(server):
    assert ask(f"SELECT 1 FROM pg_sleep({PATIENCE_SECONDS + 1})") == (1,)
    assert not SERVER.is_silent


def test_a_statement_is_given_up_and_cancelled_at_the_deadline(server, monkeypatch):
    connection.close()
    monkeypatch.setitem(connections.settings["default"], DEADLINE, 2)
    took = seconds_until_no_answer(lambda: ask("SELECT pg_sleep(60)"))
    connection.close()

    assert 2 <= took < 3
    assert not SERVER.is_silent
    left = "SELECT count(*) FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)'"
    wait_until(lambda: ask(left) == (0,))


def test_rows_that_keep_coming_are_not_cut_off(server, monkeypatch):
    connection.close()
    monkeypatch.setitem(connections.settings["default"], DEADLINE, 2)
    slow = "SELECT repeat('x', 65536), pg_sleep(0.3) FROM generate_series(1, 10)"
    with connection.cursor() as cursor:
        cursor.execute(slow)
        assert len(cursor.fetchall()) == 10


def test_without_a_deadline_nothing_is_cut_off(server, monkeypatch):
    """A migration, a task: they wait until the server goes on."""
    connection.close()
    monkeypatch.delitem(connections.settings["default"], DEADLINE)
    ask()
    with server.frozen():
        answers = []
        waiting = connection.connection
        thread = threading.Thread(
            target=lambda: answers.append(waiting.execute("SELECT 1").fetchone())
        )
        thread.start()
        thread.join(FIRST)
        assert thread.is_alive()
    thread.join(10)

    assert answers == [(1,)]


def test_a_server_that_is_gone_is_not_silent(server, monkeypatch):
    with server.frozen():
        assert not silence.answers()
    monkeypatch.setitem(connections.settings["default"], "PORT", 1)
    assert silence.answers()
