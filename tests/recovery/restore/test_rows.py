import pytest

from recovery.backups import source
from recovery.restore import plan, rows
from recovery.restore.rows import Change, Count

pytestmark = pytest.mark.usefixtures("committed_db", "actor")


@pytest.fixture
def changes(shop, backup):
    """Return how the shop differs from its backup now, as its plan says it."""

    def look():
        found = source.find(backup.id)
        return plan.with_rows(plan.make(shop, found), shop, found.manifest).rows

    return look


def test_tables_with_more_and_fewer_rows_new_and_gone_ones_are_told(shop, run_sql, changes):
    run_sql(
        shop.dbname,
        "DELETE FROM line WHERE id <= 900",
        'CREATE TABLE "New One" AS SELECT generate_series(1, 7)',
        "SELECT lo_from_bytea(0, '\\x00')",
    )

    found = changes()

    assert [(each.table, each.words) for each in found.largest] == [
        ("public.line", "101 rows now, 1,000 then: 899 come back"),
        ("public.New One", "7 rows now: the table will be gone"),
        ("large objects", "1 row now, 0 then: 1 will be missing"),
    ]
    assert found.notes == ("Rows that were changed in place are not counted.",)


def test_a_table_that_is_gone_comes_back(shop, run_sql, changes):
    run_sql(shop.dbname, "DROP TABLE line")

    (found,) = changes().largest

    assert found == Change("public.line", None, 1000, is_estimate=False)
    assert found.words == "no such table now, 1,000 then: the table comes back"


def test_where_nothing_was_written_no_table_changes(shop, run_sql, changes):
    run_sql(shop.dbname, "DELETE FROM line WHERE id = 1001")

    found = changes()

    assert found.largest == ()
    assert found.notes[0] == "No table has more or fewer rows now."


def test_partitions_are_counted_once(shop, run_sql):
    run_sql(
        shop.dbname,
        "CREATE TABLE day (n int) PARTITION BY RANGE (n)",
        "CREATE TABLE day_1 PARTITION OF day FOR VALUES FROM (0) TO (10)",
        "INSERT INTO day SELECT generate_series(0, 4)",
    )

    counted = rows.count(shop)

    assert (counted["public.day"], counted["public.day_1"]) == (Count(0), Count(5))


def test_a_table_that_somebody_locks_is_estimated_and_the_others_are_counted(
    shop, run_sql, changes
):
    # Statistics in order: what was written, then what ANALYZE found.
    run_sql(
        shop.dbname,
        "CREATE TABLE held AS SELECT generate_series(1, 300)",
        "SELECT pg_stat_force_next_flush()",
        "ANALYZE held",
    )
    with shop.connect(autocommit=False) as migration:
        migration.execute("LOCK TABLE held IN ACCESS EXCLUSIVE MODE")

        found = changes()

    assert [(each.table, each.words) for each in found.largest] == [
        ("public.held", "about 300 rows now: the table will be gone"),
        ("public.line", "1,001 rows now, 1,000 then: 1 will be missing"),
    ]
    assert "1 table is estimated: small differences do not show." in found.notes


def test_when_the_time_is_over_the_rest_is_estimated(shop, run_sql, changes, monkeypatch):
    run_sql(
        shop.dbname,
        "DELETE FROM line WHERE id > 500",
        "SELECT pg_stat_force_next_flush()",
        "VACUUM ANALYZE line",
    )
    monkeypatch.setattr(rows, "COUNTING_SECONDS", 0.0)

    (found,) = changes().largest

    assert found.words == "about 500 rows now, about 1,000 then: about 500 come back"


def test_a_table_of_which_nothing_is_known_is_no_difference(shop, run_sql, changes, monkeypatch):
    # Never analyzed, and its statistics as after a crash.
    run_sql(
        shop.dbname,
        "ALTER TABLE line SET (autovacuum_enabled = off)",
        "SELECT pg_stat_force_next_flush()",
        "SELECT pg_stat_reset()",
    )
    monkeypatch.setattr(rows, "COUNTING_SECONDS", 0.0)

    found = changes()

    assert found.largest == ()
    assert "The rows of 2 tables cannot be told." in found.notes


def test_ten_are_named_and_the_rest_is_counted():
    now = {f"public.t{number:02}": Count(number) for number in range(1, 14)}

    found = rows.compare(now, {})

    assert [each.table for each in found.largest] == [f"public.t{n:02}" for n in range(13, 3, -1)]
    assert "3 more tables change." in found.notes


@pytest.mark.parametrize(("then", "is_told"), [(1_000_000, False), (1_100_000, True)])
def test_an_estimate_that_is_near_is_no_difference(then, is_told):
    now = {"public.event": Count(1_005_000, is_exact=False)}

    assert bool(rows.compare(now, {"public.event": Count(then)}).largest) is is_told
