"""The web server of docker-compose.yml: it knows neither the key nor any administrator."""

from contextlib import contextmanager

import pytest

from compliance_site.foundation.roles import Role
from recovery import tasks
from recovery.databases import database
from recovery.models import RestoreRequest
from tests.recovery.admin.test_restores import (
    BACKUPS,
    RESTORES,
    ana,  # noqa: F401
    ask,
    ben,  # noqa: F401
    decide,
    person,  # noqa: F401
    text_of,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def web(backup, settings):
    """Have only what the web server has; in the block `worker()` what the worker has as well."""
    known_to_the_worker = {
        name: getattr(settings, name)
        for name in ("BACKUP_DATABASES", "BACKUP_IDENTITY", "DATABASE_ADMIN_URL")
    }

    def know(values):
        for name, value in values.items():
            setattr(settings, name, value)

    @contextmanager
    def worker():
        know(known_to_the_worker)
        yield
        know(dict.fromkeys(known_to_the_worker, ""))

    settings.BACKUP_DATABASE_NAMES = ["console", "orders"]
    know(dict.fromkeys(known_to_the_worker, ""))
    return worker


def test_its_databases_are_shown_and_backed_up_on_demand(web, ana, api_as, sent):  # noqa: F811
    assert 'name="database" value="orders"' in text_of(ana.get(BACKUPS))

    answer = api_as(Role.OPERATOR).post("/backups", {"database": "orders"}, format="json")

    assert answer.status_code == 202, answer.content
    assert sent == [("recovery.heavy.make_requested", answer.json()["id"])]


def test_the_plan_leaves_to_the_worker_what_only_that_can_see(web, ana, backup):  # noqa: F811
    shown = text_of(ana.get(f"{BACKUPS}{backup.pk}/restore/"))

    assert "Only the worker knows the server of orders" in shown
    assert '<p class="loss">What was written since' in shown
    assert "It would:" in shown


def test_a_restore_is_asked_for_approved_and_done(web, ana, ben, backup, sent):  # noqa: F811
    with web(), database("orders").connect() as connection:
        connection.execute("DELETE FROM customers")

    ask(ana, backup, name=backup.manifest["dbname"])
    asked = RestoreRequest.objects.get()
    decide(ben, asked, "approve", name=backup.manifest["dbname"])
    asked.refresh_from_db()
    assert sent == [("recovery.heavy.restore_requested", asked.pk)]
    with web():
        tasks.restore_requested(asked.pk)
        with database("orders").connect() as connection:
            assert connection.execute("SELECT count(*) FROM customers").fetchone() == (500,)

    shown = text_of(ben.get(f"{RESTORES}of/{asked.restore_id}/"))
    assert "Done: orders is as it was at" in shown
    assert f"manage.py restore undo {asked.restore_id}" in shown


def test_a_backup_of_which_no_copy_is_left_is_refused(web, ana, backup, places):  # noqa: F811
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()
    asked = ask(ana, backup)

    assert "refused</span>" in text_of(asked)
    assert not RestoreRequest.objects.exists()
