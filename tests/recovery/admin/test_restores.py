import json
from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from recovery import tasks
from recovery.databases import database
from recovery.models import RestoreRequest, RestoreRequestState
from recovery.restore import requests, state, undo
from recovery.restore.state import Step

pytestmark = pytest.mark.django_db

BACKUPS = "/admin/recovery/backup/"
RESTORES = "/admin/recovery/restorerequest/"
BACKUP_ID = "20261123T020000Z-3f9ac1"


@pytest.fixture
def person(make_user):
    """Browsers of two operators and others, each signed in."""

    def sign_in(name, role=Role.OPERATOR):
        browser = Client()
        user = make_user(name, role)
        browser.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
        return browser

    return sign_in


@pytest.fixture
def ana(person):
    return person("ana")


@pytest.fixture
def ben(person):
    return person("ben")


@pytest.fixture
def asked(ana, backup):
    """A request of Ana's for a restore of "orders"."""
    ask(ana, backup)
    return RestoreRequest.objects.get()


def ask(browser, backup, **said):
    page = f"{BACKUPS}{backup.pk}/restore/"
    seen = browser.get(page).context["fingerprint"]
    said = {"reason": "Rows were deleted.", "name": dbname(), "seen": seen} | said
    return browser.post(page, said, follow=True)


def dbname():
    """Return what the server calls the database, which the console calls "orders"."""
    return database("orders").dbname


def decide(browser, asked, decision, name=""):
    page = f"{RESTORES}{asked.pk}/{decision}/"
    answer = browser.get(page, follow=True)
    if "fingerprint" not in answer.context:
        return answer
    said = {"name": name or dbname(), "seen": answer.context["fingerprint"]}
    return browser.post(page, said, follow=True)


def text_of(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def events():
    return [json.loads(log.details) for log in AuditLog.objects.filter(action="RESTORE")]


def test_the_plan_says_what_is_lost_before_anything_is_asked_for(ana, backup):
    shown = text_of(ana.get(f"{BACKUPS}{backup.pk}/restore/"))

    assert '<p class="loss">What was written since' in shown
    assert "It would:" in shown
    assert "never restored to check it" in shown
    assert not RestoreRequest.objects.exists()


def test_the_plan_shows_the_rows_that_change_and_commands_as_such(ana, backup, orders):
    with orders.connect() as connection:
        connection.execute("DELETE FROM customers WHERE id > 3")

    shown = text_of(ana.get(f"{BACKUPS}{backup.pk}/restore/"))

    assert '<td class="mono">public.customers</td>' in shown
    assert "497 come back" in shown
    assert "<code>manage.py restore undo</code> puts it back" in shown
    assert f'Type <b class="mono">{orders.dbname}</b> to confirm' in shown
    assert "the console calls it orders" in shown


def test_a_plan_that_is_refused_shows_no_steps(ana, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    shown = text_of(ana.get(f"{BACKUPS}{backup.pk}/restore/"))

    assert "<b>stored file</b>" in shown
    assert "It would:" not in shown
    assert 'class="loss"' not in shown


def test_what_is_configured_no_more_can_still_be_rejected(ben, asked, settings):
    name = dbname()
    settings.BACKUP_DATABASES = ""

    assert "It is rejected" in text_of(decide(ben, asked, "reject", name=name))


def test_one_asks_and_it_waits_for_another(ana, asked, sent):
    shown = text_of(ana.get(f"{RESTORES}{asked.pk}/change/"))

    assert "Waits for a second operator" in shown
    assert "You asked for it, so you cannot approve it." in shown
    assert asked.reason == "Rows were deleted."
    assert sent == []
    assert events()[0]["request"] == "requested"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"name": "orders"}, "That is not the database; type backup_"),
        ({"reason": ""}, "This field is required."),
        ({"seen": "[]"}, "Something has changed since you looked."),
    ],
)
def test_what_is_not_confirmed_is_not_asked_for(said, words, ana, backup):
    assert words in text_of(ask(ana, backup, **said))
    assert not RestoreRequest.objects.exists()


def test_what_cannot_be_restored_is_not_asked_for(ana, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    answer = ask(ana, backup)

    assert "cannot be restored from this backup now" in text_of(answer)
    assert not RestoreRequest.objects.exists()


def test_a_failed_backup_has_no_restore(ana, make_row):
    failed = make_row(state="failed", database="orders")

    assert "only a stored one can be restored" in text_of(ana.get(f"{BACKUPS}{failed.pk}/restore/"))


def test_a_second_request_for_a_database_is_refused(ben, asked, backup):
    assert f"Request {asked.pk} for orders waits for its approval." in text_of(ask(ben, backup))
    assert RestoreRequest.objects.count() == 1


def test_who_asked_cannot_approve_or_reject(ana, asked, sent):
    for decision in ("approve", "reject"):
        assert requests.FOUR_EYES in text_of(decide(ana, asked, decision)).replace("&#x27;", "'")

    asked.refresh_from_db()
    assert (asked.state, sent) == ("requested", [])


@pytest.mark.parametrize("to", [RestoreRequestState.APPROVED, RestoreRequestState.REJECTED])
def test_the_database_refuses_an_approval_by_who_asked(to, asked):
    with pytest.raises(IntegrityError, match="recovery_restore_four_eyes"), transaction.atomic():
        RestoreRequest.objects.filter(pk=asked.pk).update(
            state=to, decided_by=asked.requested_by, restore_id="x"
        )


def test_the_database_refuses_a_withdrawal_by_another(asked):
    with pytest.raises(IntegrityError, match="recovery_restore_four_eyes"), transaction.atomic():
        RestoreRequest.objects.filter(pk=asked.pk).update(
            state=RestoreRequestState.WITHDRAWN, decided_by=asked.requested_by + 1
        )


def test_who_asked_withdraws_and_nobody_else(ana, ben, asked):
    assert "older than a day, or not yours" in text_of(decide(ben, asked, "withdraw"))

    assert "It is withdrawn" in text_of(decide(ana, asked, "withdraw"))

    asked.refresh_from_db()
    assert (asked.state, asked.decider) == ("withdrawn", "ana")


def test_another_rejects(ben, asked, sent):
    assert "It is rejected" in text_of(decide(ben, asked, "reject"))

    asked.refresh_from_db()
    assert (asked.state, asked.decider, sent) == ("rejected", "ben", [])


def test_another_approves_and_the_page_waits_for_a_worker(ben, asked, sent):
    answer = text_of(decide(ben, asked, "approve"))

    asked.refresh_from_db()
    assert "Waits for a worker: restore of orders" in answer
    assert (asked.state, asked.decider) == ("approved", "ben")
    assert sent == [("recovery.heavy.restore_requested", asked.pk)]


def test_an_approval_is_typed_too(ben, asked, sent):
    assert "That is not the database" in text_of(decide(ben, asked, "approve", name="ordres"))
    assert sent == []


def test_the_approver_sees_the_plan_anew(ben, asked, backup, places, sent):
    page = f"{RESTORES}{asked.pk}/approve/"
    seen = ben.get(page).context["fingerprint"]
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    answer = ben.post(page, {"name": dbname(), "seen": seen})

    assert "It cannot be restored as it is." in text_of(answer)
    assert sent == []


def test_what_was_asked_for_yesterday_is_not_approved(ben, asked, sent):
    RestoreRequest.objects.update(requested_at=timezone.now() - timedelta(hours=25))

    answer = decide(ben, asked, "approve")

    assert "Too old to approve" in text_of(answer)
    assert sent == []


def test_a_decision_is_made_once(ben, asked, sent, person):
    decide(ben, asked, "approve")

    assert requests.DECIDED in text_of(decide(person("cleo"), asked, "reject"))


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER])
def test_others_look_and_do_not_decide(role, person, asked):
    reader = person("rita", role)

    assert "Waits for</b> an operator other than ana" in text_of(
        reader.get(f"{RESTORES}{asked.pk}/change/")
    )
    assert "Request" in text_of(reader.get(RESTORES))
    for decision in ("approve", "reject", "withdraw"):
        assert reader.post(f"{RESTORES}{asked.pk}/{decision}/").status_code == 403


def test_a_worker_restores_what_was_approved_once(ben, asked, sent, orders):
    with orders.connect() as connection:
        connection.execute("DELETE FROM customers")
    decide(ben, asked, "approve")
    asked.refresh_from_db()

    tasks.restore_requested(asked.pk)
    tasks.restore_requested(asked.pk)

    with orders.connect() as connection:
        assert connection.execute("SELECT count(*) FROM customers").fetchone() == (500,)
    shown = text_of(ben.get(f"{RESTORES}of/{asked.restore_id}/"))
    assert "Done: orders is as it was at" in shown
    assert f"manage.py restore undo {asked.restore_id}" in shown
    assert len(state.every()) == 1
    *_, done = sorted(events(), key=len)
    assert (done["requestedBy"], done["approvedBy"]) == ("ana", "ben")
    log = AuditLog.objects.filter(action="RESTORE", details__contains=asked.restore_id).first()
    assert (log.actor_type, log.actor) == ("user", "ben")


def test_what_was_discarded_is_not_offered_to_be_undone(ben, asked, sent):
    decide(ben, asked, "approve")
    asked.refresh_from_db()
    tasks.restore_requested(asked.pk)
    page = f"{RESTORES}of/{asked.restore_id}/"
    assert "If it was a mistake" in text_of(ben.get(page))

    undo.discard(asked.restore_id)

    assert "If it was a mistake" not in text_of(ben.get(page))
    assert "restore undo" not in text_of(ben.get(page))


def test_where_the_server_is_not_reached_undoing_is_offered(ben, places, settings):
    settings.BACKUP_DATABASES = "orders=postgresql://u:p@127.0.0.1:9/orders"
    done = state.new("orders", BACKUP_ID, dbname="orders", actor="ben").at(
        Step.DONE, taken_at="2026-11-23T02:00:00+00:00", live_oid=1
    )

    assert f"restore undo {done.id}" in text_of(ben.get(f"{RESTORES}of/{done.id}/"))


def test_the_page_of_a_restore_needs_none_of_the_consoles_rows(ben, asked, sent):
    decide(ben, asked, "approve")
    asked.refresh_from_db()
    tasks.restore_requested(asked.pk)
    RestoreRequest.objects.all().delete()

    shown = text_of(ben.get(f"{RESTORES}of/{asked.restore_id}/"))

    assert "Done: orders" in shown
    assert '<b>ana</b>: <span class="said">Rows were deleted.</span>' in shown
    assert "<dt>Approved by</dt><dd><b>ben</b></dd>" in shown
    assert "<dt>By</dt>" not in shown
    assert asked.restore_id in text_of(ben.get(RESTORES))


def test_what_no_longer_can_be_restored_says_why_on_its_page(ben, asked, backup, places, sent):
    decide(ben, asked, "approve")
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    tasks.restore_requested(asked.pk)

    asked.refresh_from_db()
    shown = text_of(ben.get(f"{RESTORES}of/{asked.restore_id}/"))
    assert "Failed: orders is as it was, nothing was replaced" in shown
    assert "This backup cannot be restored now" in shown


def test_an_approval_that_no_worker_heard_of_in_time_does_nothing(ben, asked, sent):
    decide(ben, asked, "approve")
    RestoreRequest.objects.update(decided_at=timezone.now() - timedelta(hours=2))
    asked.refresh_from_db()
    assert "Not begun: no worker took the restore" in text_of(
        ben.get(f"{RESTORES}of/{asked.restore_id}/")
    )

    tasks.restore_requested(asked.pk)

    assert state.load(asked.restore_id).reason == requests.LATE


def test_without_a_queue_the_restore_failed_and_says_so(ben, asked, monkeypatch):
    def away(*arguments, **options):
        raise OperationalError("redis://:hunter2@valkey")

    monkeypatch.setattr(tasks.restore_requested, "apply_async", away)

    shown = text_of(decide(ben, asked, "approve"))

    assert requests.UNSENT in shown
    assert "hunter2" not in shown


def test_what_nobody_approved_is_not_carried_out(asked, sent):
    tasks.restore_requested(asked.pk)
    tasks.restore_requested(asked.pk + 1)

    assert state.every() == []


@pytest.mark.parametrize("step", list(Step))
def test_each_step_has_a_page(step, ben, places):
    restore = state.new("orders", BACKUP_ID, dbname="orders", actor="ben").at(
        step, taken_at="2026-11-23T02:00:00+00:00", live_oid=1
    )

    shown = text_of(ben.get(f"{RESTORES}of/{restore.id}/"))

    assert "<dt>By</dt><dd><b>ben</b></dd>" in shown
    # Nobody holds the lock: what has not ended was interrupted.
    assert ("Interrupted" in shown) is not step.is_end
    assert 'data-refresh="0"' in shown


def test_a_restore_under_way_is_followed(ben, places):
    with state.alone():
        restore = state.new("orders", BACKUP_ID, dbname="orders", actor="ben").at(
            Step.UNPACKED, taken_at="2026-11-23T02:00:00+00:00"
        )
        shown = text_of(ben.get(f"{RESTORES}of/{restore.id}/live/"))

    assert "Under way: orders is being loaded into a database beside the live one" in shown
    assert 'data-refresh="2"' in shown


@pytest.mark.parametrize(
    "hostile", ["1", "..", "%2e%2e%2fx", "%00", "x" * 3_000, "20260101T000000Z-ffffff"]
)
def test_an_unknown_restore_is_not_found(hostile, ben, places):
    assert ben.get(f"{RESTORES}of/{hostile}/").status_code == 404


def test_only_people_ask_for_a_restore(actor, backup):
    with pytest.raises(requests.RefusedError, match="Only people"):
        requests.request(backup, reason="x")
