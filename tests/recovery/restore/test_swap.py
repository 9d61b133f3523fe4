import secrets

import psycopg
import pytest

from recovery.exceptions import BusyError, RefusedError
from recovery.restore import swap
from tests.recovery.shop import url_of


@pytest.fixture
def incoming(shop, run_sql):
    """A database of another number of rows, to take the place of the live one."""
    name = f"{shop.dbname}_new"
    run_sql("postgres", f"CREATE DATABASE {name} TEMPLATE {shop.dbname}")
    run_sql(name, "INSERT INTO line VALUES (0, 'of the new one')")
    return name


def rows(run_sql, name):
    return run_sql(name, "SELECT count(*) FROM line")[0][0]


def test_both_names_change_while_sessions_reconnect_in_a_storm(shop, incoming, busy, run_sql):
    with busy(shop.dbname) as seen:
        swapped = swap.swap(shop, incoming=incoming, kept_as=f"{shop.dbname}_old")

    assert rows(run_sql, shop.dbname) == 1001
    assert rows(run_sql, f"{shop.dbname}_old") == 1000
    assert swapped.seconds < 5
    assert seen.longest_silence < 5
    assert all(
        "renamed" in text or "terminat" in text or "closed" in text for text in seen.refusals
    )


def test_a_session_that_sits_in_a_transaction_is_ended(shop, incoming, admin_url, run_sql):
    with psycopg.connect(url_of(admin_url, shop.dbname)) as session:
        session.execute("UPDATE line SET item = 'never committed'")

        swap.swap(shop, incoming=incoming, kept_as=f"{shop.dbname}_old")

        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert rows(run_sql, shop.dbname) == 1001


def test_a_name_that_somebody_locks_is_given_up_and_the_live_one_serves(
    shop, incoming, admin_url, run_sql, monkeypatch
):
    monkeypatch.setattr(swap, "ATTEMPTS", 1)
    monkeypatch.setattr(swap, "GUARDS", swap.GUARDS.replace("'2s'", "'100ms'"))
    with psycopg.connect(admin_url, dbname="postgres") as holder:
        holder.execute(f"COMMENT ON DATABASE {shop.dbname} IS 'held'")

        with pytest.raises(BusyError, match="Nothing was changed"):
            swap.swap(shop, incoming=incoming, kept_as=f"{shop.dbname}_old")
    assert rows(run_sql, shop.dbname) == 1000
    assert rows(run_sql, incoming) == 1001


def test_a_taken_name_is_refused_and_nothing_changes(shop, incoming, run_sql):
    with pytest.raises(RefusedError, match="cannot be renamed"):
        swap.swap(shop, incoming=incoming, kept_as="postgres")

    assert rows(run_sql, shop.dbname) == 1000


def test_only_one_restores_a_database_of_a_server_at_a_time(shop):
    second = swap.alone_on_server(shop)
    with (
        swap.alone_on_server(shop),
        pytest.raises(BusyError, match="Another console restores shop"),
    ):
        second.__enter__()
    with swap.alone_on_server(shop):
        pass


def test_a_database_called_postgres_is_renamed_from_another_one(shop):
    assert swap.maintenance(shop).dbname == "postgres"
    assert swap.maintenance(shop.on("postgres")).dbname == "template1"


def test_names_that_need_quotes_are_swapped(shop, run_sql):
    odd = f"{shop.dbname} \"; DROP 'x"
    quoted = '"' + odd.replace('"', '""') + '"'
    run_sql("postgres", f"CREATE DATABASE {quoted} TEMPLATE {shop.dbname}")

    swap.swap(shop, incoming=odd, kept_as=f"{odd}{secrets.token_hex(3)}")

    assert rows(run_sql, shop.dbname) == 1000
