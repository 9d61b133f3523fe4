import contextlib
import os
import signal
import subprocess
import sys
import time

import psutil
import psycopg
import pytest

from compliance_site.foundation import embedded
from compliance_site.foundation.embedded import postgres, processes
from compliance_site.foundation.embedded.home import find_home


def postmaster(var):
    return postgres.find(find_home(var))


def test_roles_have_no_privilege_beyond_signing_in(shared, query):
    _, endpoints = shared

    roles = query(
        endpoints.admin_url,
        "SELECT rolname, rolcanlogin, rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls"
        " FROM pg_roles WHERE rolname IN ('compliance', 'compliance_owner') ORDER BY rolname",
    )

    assert roles == [
        ("compliance", True, False, False, False, False, False),
        ("compliance_owner", True, False, False, False, False, False),
    ]


def test_the_database_belongs_to_the_owner_and_is_portable_utf_8(shared, query):
    _, endpoints = shared

    database = query(
        endpoints.admin_url,
        "SELECT datdba::regrole::text, pg_encoding_to_char(encoding), datlocprovider::text, datlocale"
        " FROM pg_database WHERE datname = 'abtpro_db'",
    )

    assert database == [("compliance_owner", "UTF8", "b", "C.UTF-8")]


def test_the_runtime_role_cannot_create_tables(shared, query):
    _, endpoints = shared

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        query(endpoints.database_url, "CREATE TABLE mine (id int)")


def test_the_server_asks_for_passwords_checks_pages_and_has_no_socket(shared, query):
    _, endpoints = shared
    names = ("data_checksums", "listen_addresses", "password_encryption", "unix_socket_directories")

    settings = query(
        endpoints.admin_url,
        f"SELECT name, setting FROM pg_settings WHERE name IN {names} ORDER BY name",
    )
    methods = query(endpoints.admin_url, "SELECT DISTINCT auth_method FROM pg_hba_file_rules")

    assert settings == [
        ("data_checksums", "on"),
        ("listen_addresses", "127.0.0.1"),
        ("password_encryption", "scram-sha-256"),
        ("unix_socket_directories", ""),
    ]
    assert methods == [("scram-sha-256",)]


def test_the_log_holds_no_password(shared):
    var, endpoints = shared
    home = find_home(var)

    log = (home.path / "postgres.log").read_text()

    assert [
        url for url in vars(endpoints).values() if url.split("@")[0].rsplit(":", 1)[1] in log
    ] == []


def test_data_folders_are_closed_to_others_and_the_password_file_is_gone(shared):
    var, _ = shared
    home = find_home(var)

    modes = {
        path.name: oct(path.stat().st_mode & 0o777)
        for path in (home.postgres_data, home.valkey_data)
    }

    assert modes == {"postgres": "0o700", "valkey": "0o700"}
    assert list(home.path.glob("initdb-*")) == []


def test_a_killed_postmaster_is_recovered_with_its_committed_data(var, start, query):
    endpoints = start(var)
    query(endpoints.owner_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    postmaster(var).kill()

    again = start(var)

    assert query(again.owner_url, "SELECT answer FROM kept") == [(42,)]


def test_a_backend_that_outlives_its_killed_postmaster_is_waited_for(var, start, query):
    endpoints = start(var)
    with psycopg.connect(endpoints.admin_url) as busy:
        # A stopped process cannot notice that its server is gone, as a busy one does not.
        backend = psutil.Process(busy.info.backend_pid)
        backend.suspend()
        postmaster(var).kill()
        waker = subprocess.Popen(
            [
                sys.executable,
                "-c",
                f"import time, os; time.sleep(1); os.kill({backend.pid}, {signal.SIGCONT:d})",
            ]
        )

        again = start(var)
        waker.wait()

    assert query(again.database_url, "SELECT 1") == [(1,)]
    assert not processes.is_alive(backend)


@pytest.mark.parametrize("pid", [os.getppid(), 2**22 - 1], ids=["of another program", "of nobody"])
def test_a_stale_pid_file_does_not_block(var, start, query, pid):
    start(var)
    data = find_home(var).postgres_data
    text = (data / "postmaster.pid").read_text()
    embedded.stop(var)
    (data / "postmaster.pid").write_text(f"{pid}\n{text.split(chr(10), 1)[1]}")

    endpoints = start(var)

    assert query(endpoints.database_url, "SELECT 1") == [(1,)]


def test_a_killed_initdb_leaves_nothing_that_blocks(var, binaries, start):
    script = (
        "import sys, pathlib; from compliance_site.foundation import embedded;"
        "embedded.start(pathlib.Path(sys.argv[1]), binaries=pathlib.Path(sys.argv[2]))"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, var, binaries], stderr=subprocess.DEVNULL
    )
    while not list(var.glob("services/initdb-*/data/global")):
        time.sleep(0.005)
    begun = psutil.Process(starter.pid).children(recursive=True)
    # Before its children, of whose end it would clear up.
    starter.kill()
    starter.wait()
    for process in begun:
        # initdb's own children come and go; one that ended by itself needs no kill.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert list(var.glob("services/initdb-*"))

    start(var)

    assert embedded.status(var).running
    assert list(var.glob("services/initdb-*")) == []
