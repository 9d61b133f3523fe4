import json
import threading

import pytest
from django.contrib.auth.models import User
from django.db import connection, connections

from audit.capture import writer
from audit.capture.actors import Actor, acting_as
from audit.models import Action, AuditLog
from compliance_site.foundation import maintenance
from compliance_site.foundation.data_keys import DataKey, data_key
from compliance_site.foundation.master_key import MasterKey
from recovery.backups import create, source
from recovery.databases import CONSOLE, database
from recovery.exceptions import RefusedError
from recovery.models import Backup, BackupState
from recovery.restore import own_database, plan, run, state, swap, undo
from recovery.restore.plan import Level
from recovery.restore.state import Asked, Step


@pytest.fixture
def console_database(committed_db, actor, settings, tmp_path, backups_folder, run_sql):
    """The console's own database, which is restored in these tests."""
    settings.RECOVERY_FOLDER = tmp_path / "recovery"
    yield database(CONSOLE)
    connections.close_all()
    like = committed_db.replace("_", r"\_") + r"\_%"
    found = run_sql("postgres", f"SELECT datname FROM pg_database WHERE datname LIKE '{like}'")
    for (name,) in found:
        run_sql("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')


def test_the_console_is_restored_into_a_state_that_works(
    console_database, make_user, client, backups_folder
):
    make_user("from-before")
    sealed = data_key("of-before")
    older = create.create(console_database)
    manifest = create.create(console_database)
    for path in list((backups_folder / CONSOLE).glob(f"{older.id}*")):
        path.unlink()
    make_user("from-after")

    done = run.run(manifest.id)

    assert list(User.objects.values_list("username", flat=True)) == ["from-before"]
    assert data_key("of-before") == sealed
    entry = AuditLog.objects.get(action=Action.RESTORE)
    assert "command tester: manage.py test".endswith(entry.actor)
    assert "entries of the audit log are newer" in entry.details
    assert done.notes == ()
    # Its own backup was under way when that was made.
    assert Backup.objects.get(pk=manifest.id).state == BackupState.STORED
    # The restored table still had it, as it was before retention removed it.
    assert Backup.objects.get(pk=older.id).state == BackupState.REMOVED
    assert not maintenance.is_on()
    assert client.get("/audit/logs").status_code == 401

    undo.undo(done.id)
    assert User.objects.count() == 2
    assert Backup.objects.get(pk=older.id).state == BackupState.REMOVED
    assert AuditLog.objects.filter(action=Action.RESTORE, details__contains="undone").exists()


def test_what_is_recorded_during_the_swap_is_in_the_restored_log(
    console_database, client, monkeypatch
):
    manifest = create.create(console_database)
    real = swap.swap

    def and_a_request(*given, **options):
        answers.append(client.get("/audit/logs", headers={"X-Request-ID": "meanwhile"}))
        writer.close()
        connections.close_all()
        return real(*given, **options)

    answers = []
    monkeypatch.setattr(swap, "swap", and_a_request)

    run.run(manifest.id)

    assert [answer.status_code for answer in answers] == [503]
    writer.replay_spool()
    assert AuditLog.objects.get(request_id="meanwhile").status_code == 503


def test_sessions_of_the_console_come_back_by_themselves(console_database, make_user):
    manifest = create.create(console_database)
    stopping, seen = threading.Event(), []

    def ask():
        while not stopping.is_set():
            try:
                seen.append(User.objects.count())
            except Exception:
                seen.append(None)
                connection.close()
        connections.close_all()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        run.run(manifest.id)
        reached = len(seen)
        while len(seen) < reached + 10:
            pass
    finally:
        stopping.set()
        thread.join()

    assert seen[-5:] == [0] * 5


def test_secrets_under_a_key_that_is_not_at_hand_are_refused_by_the_plan(
    console_database, settings
):
    data_key("of-before")
    manifest = create.create(console_database)
    found = source.find(manifest.id)
    settings.COMPLIANCE_MASTER_KEY = MasterKey.new().text

    made = plan.make(console_database, found)

    refusals = [each for each in made.findings if each.level is Level.REFUSAL]
    assert [each.subject for each in refusals] == ["master keys"]
    assert manifest.master_keys[0] in refusals[0].text
    assert made.exit_code == 2


def test_a_backup_of_a_newer_release_is_refused_before_the_swap(console_database, run_sql):
    run_sql(
        console_database.dbname,
        "INSERT INTO django_migrations (app, name, applied) VALUES ('audit', '9999_later', now())",
    )
    manifest = create.create(console_database)

    with pytest.raises(RefusedError, match=r"newer release of the console: it has audit\.9999"):
        run.run(manifest.id)
    assert AuditLog.objects.filter(action=Action.RESTORE, details__contains="failed").exists()


def test_a_backup_of_an_older_release_says_to_migrate(console_database, run_sql):
    run_sql(
        console_database.dbname,
        "DELETE FROM django_migrations WHERE app = 'code_scanning' OR name = '0003_documented_policies'",
    )
    manifest = create.create(console_database)

    done = run.run(manifest.id)

    assert done.step is Step.DONE
    assert done.notes == (own_database.MIGRATE,)


def test_rows_that_do_not_open_are_counted_after_the_swap(console_database, run_sql):
    data_key("of-before")
    DataKey.objects.update(ciphertext=b"x" * 60)
    manifest = create.create(console_database)

    done = run.run(manifest.id)

    assert done.notes == ("1 rows of compliance_site_data_key do not open with the keys at hand.",)


def test_the_runtime_role_cannot_change_the_restored_log(console_database, make_log):
    make_log()
    manifest = create.create(console_database)
    run.run(manifest.id)

    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('audit_log', 'UPDATE, DELETE, TRUNCATE')")
        assert cursor.fetchone() == (False,)


def test_a_console_without_its_database_is_restored_from_the_stores(
    console_database, make_user, run_sql
):
    make_user("from-before")
    manifest = create.create(console_database)
    connections.close_all()
    run_sql("postgres", f"DROP DATABASE {console_database.dbname} WITH (FORCE)")

    done = run.run(manifest.id)

    assert done.step is Step.DONE
    assert User.objects.get().username == "from-before"


def test_who_asked_and_why_outlives_the_swap(console_database):
    manifest = create.create(console_database)
    asked = Asked(7, "ana", "ben", "Rows were deleted.")

    done = run.run(manifest.id, asked=asked)

    assert state.load(done.id).asked == asked
    entry = AuditLog.objects.get(action=Action.RESTORE)
    assert about(entry) == (7, "ana", "ben", "Rows were deleted.")


def test_what_another_request_brings_to_its_end_is_entered_as_its_own(console_database):
    restore = state.new(
        CONSOLE, "x", dbname=console_database.dbname, actor="ben", asked=Asked(7, "ana", "ben", "A")
    )
    restore.at(Step.STARTED)
    other = {"restoreRequest": 8, "requestedBy": "cleo", "approvedBy": "dora", "reason": "B"}

    with acting_as(Actor("user", "dora", 4), details=other):
        run.tidy(console_database)

    entry = AuditLog.objects.get(action=Action.RESTORE)
    assert (entry.actor, about(entry)) == ("dora", (7, "ana", "ben", "A"))


def about(entry):
    details = json.loads(entry.details)
    return tuple(details[key] for key in ("restoreRequest", "requestedBy", "approvedBy", "reason"))
