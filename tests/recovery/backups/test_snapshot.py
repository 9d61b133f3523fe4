import os
import subprocess
from dataclasses import replace
from urllib.parse import urlsplit

import psycopg
import pytest

from recovery.backups import snapshot
from recovery.backups.manifest import TableFacts
from recovery.databases import database
from recovery.programs import programs_for
from tests.services import execute_as_administrator

HOSTILE = """
    CREATE SCHEMA "odd ""schema"" %s";
    CREATE TABLE "odd ""schema"" %s"."ta.ble; --" ("row" int, "%s" text, t text, "count" int);
    INSERT INTO "odd ""schema"" %s"."ta.ble; --" VALUES (1, 'a', NULL, 2), (2, '', 'x', 3);
    CREATE TABLE nothing ();
    INSERT INTO nothing DEFAULT VALUES;
    CREATE TYPE mood AS ENUM ('good', 'bad');
    CREATE TABLE kinds (m mood, c regclass, i interval, f float8, n numeric, j jsonb, z timestamptz,
                        e money, x xml, r int4range, b bytea, g int GENERATED ALWAYS AS (1 + 1) STORED);
    INSERT INTO kinds VALUES ('bad', 'nothing', '1 year 2 days', 0.1, 1.10, '{"b": 1, "a": 2}', now(),
                              '12.34', '<a/>', '[1,5)', '\\xdeadbeef');
    CREATE TABLE dropped (a int, b int, c int);
    INSERT INTO dropped VALUES (1, 2, 3);
    ALTER TABLE dropped DROP COLUMN b, ADD COLUMN d text DEFAULT 'new';
    CREATE TABLE parent (a int);
    CREATE TABLE child (own int) INHERITS (parent);
    INSERT INTO child VALUES (1, 2);
    ALTER TABLE parent ADD COLUMN later int DEFAULT 7;
    CREATE TABLE wide (a int) PARTITION BY LIST (a);
    CREATE TABLE wide_1 PARTITION OF wide FOR VALUES IN (1);
    INSERT INTO wide VALUES (1);
    CREATE UNLOGGED TABLE unlogged AS SELECT 1 AS a;
    CREATE SEQUENCE downwards INCREMENT -5 START -5;
    SELECT nextval('downwards'), nextval('downwards');
    CREATE SEQUENCE untouched START 100;
    CREATE EXTENSION pg_trgm;
    SELECT lo_from_bytea(0, '\\x0102'), lo_put(lo_creat(-1), 100000, '\\x01');
"""


def connect(url, **options):
    return psycopg.connect(url, autocommit=True, **options)


def restored(source, target):
    programs = programs_for(database("console").server_version)
    dump = [programs.path("pg_dump"), "--format=custom", "--dbname", source]
    restore = [programs.path("pg_restore"), "--exit-on-error", "--dbname", target]
    with subprocess.Popen(dump, stdout=subprocess.PIPE) as dumping:
        subprocess.run(restore, stdin=dumping.stdout, check=True)
    assert dumping.returncode == 0


def test_a_restored_database_has_the_same_facts_whatever_its_objects(db, make_database):
    source, target = make_database(HOSTILE), make_database("SELECT 1")
    restored(source, target)

    with connect(source) as connection:
        expected = snapshot.tables(connection)
    # Settings of the role or the database must not matter.
    settings = "-c DateStyle=German -c TimeZone=Asia/Tokyo -c extra_float_digits=-3"
    with connect(target, options=f"{settings} -c search_path=pg_temp") as connection:
        found = snapshot.tables(connection)

    assert snapshot.differences(expected, found) == ()
    assert {each.name: each.rows for each in found} == {
        "ta.ble; --": 2,
        "nothing": 1,
        "kinds": 1,
        "dropped": 1,
        "parent": 0,
        "child": 1,
        "wide": 0,
        "wide_1": 1,
        "unlogged": 1,
        "downwards": snapshot.SEQUENCE,
        "untouched": snapshot.SEQUENCE,
        "pg_largeobject": 2,
    }


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("DELETE FROM customers WHERE id = 7", "public.customers: 499 rows instead of 500."),
        (
            "UPDATE customers SET name = 'x' WHERE id = 7",
            "public.customers: the number of rows is right, their contents differ.",
        ),
        (
            "UPDATE customers SET name = NULL WHERE id = 7",
            "public.customers: the number of rows is right, their contents differ.",
        ),
        ("DROP TABLE customers", "public.customers: it is missing."),
        ("CREATE TABLE more ()", "public.more: it was not in the backup."),
        (
            "SELECT setval('orders_id_seq', 5)",
            "public.orders_id_seq: it stands at 5..5, not at 300..300.",
        ),
        (
            "SELECT lo_put(oid, 0, '\\x99') FROM pg_largeobject_metadata",
            "pg_catalog.pg_largeobject: the number of rows is right, their contents differ.",
        ),
    ],
)
def test_every_change_is_a_difference(db, make_database, change, said):
    with connect(make_database()) as connection:
        expected = snapshot.tables(connection)
        connection.execute("SET search_path = public")
        connection.execute(change)

        assert snapshot.differences(expected, snapshot.tables(connection)) == (said,)


def test_a_sequence_may_stand_where_it_stood_during_the_dump():
    before, after = TableFacts("s", "q", -1, "7..7"), TableFacts("s", "q", -1, "12..12")

    (wide,) = snapshot.widened([before], [after])

    assert wide.content == "7..12"
    for inside in ("7..7", "9..9", "12..12"):
        assert snapshot.differences([wide], [replace(before, content=inside)]) == ()
    assert snapshot.differences([wide], [replace(before, content="13..13")])
    assert snapshot.differences([wide], [replace(before, content="6..6")])


def test_a_row_hidden_by_a_policy_is_an_error_and_not_missing(db, make_database):
    role = f"reader_{os.urandom(4).hex()}"
    url = make_database(
        f"CREATE ROLE {role} LOGIN; CREATE TABLE t (a int); ALTER TABLE t ENABLE ROW LEVEL SECURITY;"
        f"GRANT SELECT ON t TO {role}"
    )

    with connect(url) as connection:
        connection.execute(f"SET SESSION AUTHORIZATION {role}")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            snapshot.tables(connection)
    execute_as_administrator(
        f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)", f"DROP ROLE {role}"
    )


def test_the_facts_are_what_a_restore_has_to_give(db, make_database):
    role = f"owner_{os.urandom(4).hex()}"
    url = make_database("CREATE EXTENSION pg_trgm")
    name = urlsplit(url).path[1:]
    execute_as_administrator(
        f"CREATE ROLE {role}",
        f"ALTER DATABASE {name} OWNER TO {role}",
        f"ALTER DATABASE {name} SET work_mem = '8MB'",
        f"ALTER ROLE {role} IN DATABASE {name} SET timezone = 'Europe/Berlin'",
        f"COMMENT ON DATABASE {name} IS 'of a test'",
        f"ALTER DATABASE {name} CONNECTION LIMIT 17",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
    )

    with connect(url) as connection:
        facts = snapshot.facts(connection)

    execute_as_administrator(f"DROP DATABASE {name} WITH (FORCE)", f"DROP ROLE {role}")
    assert facts.owner == role
    assert facts.roles == (role,)
    assert facts.settings == (("", "work_mem=8MB"), (role, "TimeZone=Europe/Berlin"))
    assert (facts.comment, facts.connection_limit, facts.encoding) == ("of a test", 17, "UTF8")
    assert set(facts.extensions) == {"pg_trgm", "plpgsql"}
    assert facts.acl == (f"=T/{role}", f"{role}=CTc/{role}")
    assert facts.locale.keys() >= {"provider", "collate", "ctype"}
    assert facts.size_bytes > 1_000_000
