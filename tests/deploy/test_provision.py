import os
from urllib.parse import urlsplit

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured

from compliance_site.foundation.database import Role, provision


@pytest.fixture
def names(worker_id):
    return {
        kind: f"provision_{kind}_{worker_id}" for kind in ("admin", "owner", "runtime", "database")
    }


@pytest.fixture
def admin_url(administrator, names):
    """An administrator as managed servers give one: may make roles and databases, is no superuser."""
    administrator(f"CREATE ROLE {names['admin']} LOGIN CREATEROLE CREATEDB PASSWORD 'admin'")
    yield url_of(names["admin"], "admin", "postgres")
    administrator(
        f"DROP DATABASE IF EXISTS {names['database']} WITH (FORCE)",
        *(f"DROP ROLE IF EXISTS {names[kind]}" for kind in ("owner", "runtime", "admin")),
    )


def url_of(user, password, database):
    server = urlsplit(os.environ["DATABASE_ADMIN_URL"])
    return f"postgresql://{user}:{password}@{server.hostname}:{server.port}/{database}"


def can_sign_in(*parts):
    try:
        with psycopg.connect(url_of(*parts)):
            return True
    except psycopg.OperationalError:
        return False


def test_provisioning_again_changes_passwords_and_nothing_else(admin_url, names):
    for password in ("first", "second"):
        provision(
            admin_url,
            owner=Role(names["owner"], password),
            runtime=Role(names["runtime"], password),
            database=names["database"],
        )

    for kind in ("owner", "runtime"):
        assert can_sign_in(names[kind], "second", names["database"])
        assert not can_sign_in(names[kind], "first", names["database"])


def test_a_superuser_is_not_made_a_role_of_the_console(admin_url, names):
    superuser = urlsplit(os.environ["DATABASE_ADMIN_URL"])

    with pytest.raises(ImproperlyConfigured, match="is a superuser"):
        provision(
            os.environ["DATABASE_ADMIN_URL"],
            owner=Role(names["owner"], "secret"),
            runtime=Role(superuser.username, "another"),
            database=names["database"],
        )

    with psycopg.connect(os.environ["DATABASE_ADMIN_URL"]) as connection:
        (still,) = connection.execute(
            "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
    assert still
