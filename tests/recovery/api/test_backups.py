import hashlib
import json
from datetime import timedelta

import pytest
from django.utils import timezone
from kombu.exceptions import OperationalError

from audit.models import AuditLog
from compliance_site.foundation.roles import Role
from recovery import tasks
from recovery.backups import requests
from recovery.backups.attempts import DIED
from recovery.backups.download import Download
from recovery.models import Backup, BackupState, Verification

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(api_as):
    return api_as(Role.OPERATOR)


def events(action):
    return [json.loads(log.details) for log in AuditLog.objects.filter(action=action)]


def test_backups_are_listed_newest_first_with_where_they_are(auditor, make_row):
    old = make_row(started_at=timezone.now() - timedelta(days=2))
    new = make_row(copies={"/backups": "", "s3://b/p": "s3://b/p: the bucket does not exist."})

    answer = auditor.get("/backups").json()

    assert [each["id"] for each in answer["backups"]] == [new.pk, old.pk]
    assert (answer["total"], answer["page"], answer["pages"]) == (2, 1, 1)
    assert answer["backups"][0]["copies"] == [
        {"store": "/backups", "isThere": True, "reason": ""},
        {"store": "s3://b/p", "isThere": False, "reason": "s3://b/p: the bucket does not exist."},
    ]


def test_the_list_is_paged(auditor, make_row):
    for days in range(3):
        make_row(started_at=timezone.now() - timedelta(days=days))

    answer = auditor.get("/backups?page=2&limit=2").json()

    assert (len(answer["backups"]), answer["total"], answer["pages"]) == (1, 3, 2)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("database=console", {"verified", "failed"}),
        ("state=failed", {"failed"}),
        ("kind=logical", {"verified", "failed", "elsewhere"}),
        ("verified=true", {"verified"}),
        ("verified=false", {"failed", "elsewhere"}),
        ("verified=false&database=console", {"failed"}),
    ],
)
def test_the_list_is_filtered(query, expected, auditor, make_row):
    names = {
        make_row(verified_at=timezone.now()).pk: "verified",
        make_row(state=BackupState.FAILED, reason="The disk is full.").pk: "failed",
        make_row(database="elsewhere").pk: "elsewhere",
    }

    answer = auditor.get(f"/backups?{query}").json()

    assert {names[each["id"]] for each in answer["backups"]} == expected


@pytest.mark.parametrize(
    ("query", "field", "text"),
    [
        ("database=consol", "database", "did you mean console?"),
        ("state=gone", "state", "gone"),
        ("verified=perhaps", "verified", "perhaps"),
        ("limit=201", "limit", "200"),
        ("page=0", "page", "1"),
        ("databse=console", "databse", "did you mean database?"),
    ],
)
def test_a_query_that_is_not_understood_is_refused(query, field, text, auditor):
    answer = auditor.get(f"/backups?{query}")

    assert answer.status_code == 400
    assert text in answer.json()["error"]["fields"][field][0]


def test_a_backup_that_is_asked_for_is_there_at_once(operator, auditor, sent, orders):
    answer = operator.post("/backups", {"database": "orders"})

    assert answer.status_code == 202
    assert answer.json()["state"] == "queued"
    assert answer.json()["actor"] == "operator-user"
    backup_id = answer.json()["id"]
    assert auditor.get(f"/backups/{backup_id}").json()["state"] == "queued"
    assert sent == [("recovery.heavy.make_requested", backup_id)]
    assert events("BACKUP") == [{"database": "orders", "requested": True}]


def test_a_worker_makes_what_was_asked_for_under_its_id_once(operator, sent, orders):
    backup_id = operator.post("/backups", {"database": "orders"}).json()["id"]

    tasks.make_requested(backup_id)
    tasks.make_requested(backup_id)

    backup = Backup.objects.get()
    assert (backup.pk, backup.state, backup.actor) == (backup_id, "stored", "operator-user")
    assert len(sent) == 1


def test_a_second_one_is_refused_while_the_first_waits(operator, sent, orders):
    first = operator.post("/backups", {"database": "orders"}).json()["id"]

    answer = operator.post("/backups", {"database": "orders"})

    assert answer.status_code == 409
    assert first in answer.json()["error"]["message"]


def test_without_a_queue_the_backup_failed_and_says_so(operator, monkeypatch, orders):
    def away(*arguments, **options):
        raise OperationalError("redis://:hunter2@valkey")

    monkeypatch.setattr(tasks.make_requested, "apply_async", away)

    answer = operator.post("/backups", {"database": "orders"})

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "queue_away"
    assert "hunter2" not in answer.content.decode()
    assert Backup.objects.get().reason == requests.UNSENT


def test_what_no_worker_begins_is_given_up_and_told(operator, sent, orders, make_row):
    young = make_row(id="20261123T020000Z-aaaaaa", state=BackupState.QUEUED)
    backup_id = operator.post("/backups", {"database": "orders"}).json()["id"]
    Backup.objects.filter(pk=backup_id).update(started_at=timezone.now() - timedelta(hours=7))

    assert requests.give_up_waiting() == [backup_id]

    backup = Backup.objects.get(pk=backup_id)
    assert (backup.state, backup.reason) == ("failed", requests.UNTAKEN)
    young.refresh_from_db()
    assert young.state == "queued"


def test_what_a_killed_worker_left_running_is_entered_as_failed(actor, orders, make_row):
    left = make_row(database="orders", state=BackupState.RUNNING, finished_at=None)

    tasks.give_up_waiting()

    left.refresh_from_db()
    assert (left.state, left.reason) == ("failed", DIED)


def test_an_unknown_database_is_refused_with_the_nearest(operator, orders):
    answer = operator.post("/backups", {"database": "ordres"})

    assert answer.status_code == 400
    assert "Did you mean orders?" in answer.json()["error"]["fields"]["database"][0]


def test_a_backup_shows_all_that_is_known_of_it(auditor, backup):
    Verification.objects.create(
        backup=backup,
        passed=False,
        reason="3 rows are missing.",
        report={"steps": [{"step": "unpack", "seconds": 0.5}]},
    )

    shown = auditor.get(f"/backups/{backup.pk}").json()

    assert shown["state"] == "stored"
    assert shown["manifest"]["sha256"] == backup.manifest["sha256"]
    assert shown["manifestProblem"] == ""
    assert shown["tables"][0] == {"schema": "public", "name": "customers", "rows": 500}
    assert shown["rowCount"] == 800
    assert shown["verifications"][0]["steps"] == [{"step": "unpack", "seconds": 0.5}]
    assert shown["verifications"][0]["passed"] is False
    assert shown["retention"]["isKept"] is True
    assert shown["retention"]["reasons"][0]["rule"] == "nothing verified"


def test_a_manifest_that_was_changed_is_not_shown(auditor, backup):
    backup.manifest["size"] += 1
    backup.save()

    shown = auditor.get(f"/backups/{backup.pk}").json()

    assert shown["manifest"] is None
    assert "signature does not fit" in shown["manifestProblem"]


def test_an_unknown_id_is_answered_with_the_nearest(auditor, make_row, places):
    backup = make_row()

    answer = auditor.get(f"/backups/{backup.pk[:-1]}0")

    assert answer.status_code == 404
    assert f"Did you mean {backup.pk}?" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "hostile", ["..", "%2e%2e%2fconsole", "a" * 5_000, "%00", "'; DROP TABLE x", "🔥", "%ff", "-"]
)
@pytest.mark.parametrize("tail", ["", "/download", "/restore-plan"])
def test_a_hostile_id_is_not_found(hostile, tail, operator, make_row):
    make_row()

    assert operator.get(f"/backups/{hostile}{tail}").status_code == 404


def test_a_verification_is_asked_for(operator, sent, backup):
    answer = operator.post(f"/backups/{backup.pk}/verify")

    assert (answer.status_code, answer.json()["verification"]) == (202, "queued")
    assert sent == [("recovery.heavy.verify_requested", backup.pk)]


def test_a_worker_verifies_what_was_asked_for(actor, backup):
    tasks.verify_requested(backup.pk)

    backup.refresh_from_db()
    assert backup.verified_at is not None
    assert backup.verifications.get().passed is True


def test_only_what_is_stored_is_verified(operator, sent, make_row):
    failed = make_row(state=BackupState.FAILED)

    answer = operator.post(f"/backups/{failed.pk}/verify")

    assert answer.status_code == 409
    assert sent == []


def test_a_backup_is_pinned_and_unpinned(operator, backup):
    pinned = operator.post(f"/backups/{backup.pk}/pin", {"reason": "before the migration"})
    assert (pinned.status_code, pinned.json()["pinReason"]) == (200, "before the migration")
    retention = operator.get(f"/backups/{backup.pk}").json()["retention"]
    assert retention["isKept"] is True

    unpinned = operator.delete(f"/backups/{backup.pk}/pin")

    assert (unpinned.status_code, unpinned.json()["pinnedAt"]) == (200, None)


@pytest.mark.parametrize("reason", ["", "   ", "x" * 201, "two\nlines"])
def test_a_pin_says_why_in_one_line(reason, operator, backup):
    answer = operator.post(f"/backups/{backup.pk}/pin", {"reason": reason})

    assert answer.status_code == 400
    assert "reason" in answer.json()["error"]["fields"]


def test_a_failed_backup_cannot_be_pinned(operator, make_row):
    failed = make_row(state=BackupState.FAILED)

    assert operator.post(f"/backups/{failed.pk}/pin", {"reason": "x"}).status_code == 409


def test_the_sealed_file_is_downloaded_whole_and_recorded(operator, backup):
    answer = operator.get(f"/backups/{backup.pk}/download")

    content = b"".join(answer.streaming_content)
    sha256 = hashlib.sha256(content).hexdigest()
    assert sha256 == backup.manifest["sha256"]
    assert answer.headers["ETag"] == f'"{sha256}"'
    assert answer.headers["Content-Length"] == str(len(content)) == str(backup.size_bytes)
    assert answer.headers["Content-Disposition"] == (
        f'attachment; filename="orders-{backup.pk}.tar.age"'
    )
    assert events("DOWNLOAD") == [
        {
            "database": "orders",
            "size": len(content),
            "sent": len(content),
            "completed": True,
            "intact": True,
        }
    ]


def test_a_download_that_nobody_read_is_recorded_as_left(actor, backup):
    Download(backup).close()

    (event,) = events("DOWNLOAD")
    assert (event["sent"], event["completed"]) == (0, False)


def test_a_download_of_a_changed_file_is_recorded_as_not_intact(operator, backup, places):
    for place in places:
        file = place / "orders" / f"{backup.pk}.tar.age"
        content = bytearray(file.read_bytes())
        content[-1] ^= 1
        file.write_bytes(content)

    b"".join(operator.get(f"/backups/{backup.pk}/download").streaming_content)

    (event,) = events("DOWNLOAD")
    assert (event["completed"], event["intact"]) == (True, False)


def test_a_download_goes_on_from_the_other_place(operator, backup, places):
    (places[0] / "orders" / f"{backup.pk}.tar.age").unlink()

    answer = operator.get(f"/backups/{backup.pk}/download")

    assert len(b"".join(answer.streaming_content)) == backup.size_bytes


def test_what_no_place_has_is_told_before_a_byte_leaves(operator, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    answer = operator.get(f"/backups/{backup.pk}/download")

    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "store_away"


def test_the_plan_of_a_restore_says_what_is_lost(operator, backup):
    plan = operator.get(f"/backups/{backup.pk}/restore-plan").json()

    assert (plan["database"], plan["exitCode"]) == ("orders", 0)
    assert any("will be missing" in finding["text"] for finding in plan["findings"])
    assert plan["steps"][0].startswith(f"unpack {backup.pk}")


def test_the_plan_of_a_restore_has_the_rows_that_change(operator, backup, orders):
    with orders.connect() as connection:
        connection.execute("DELETE FROM customers WHERE id > 3")

    plan = operator.get(f"/backups/{backup.pk}/restore-plan").json()

    assert plan["rows"] == {
        "changes": [
            {"table": "public.customers", "now": 3, "after": 500, "isEstimate": False},
        ],
        "more": 0,
        "notes": ["Rows that were changed in place are not counted."],
    }


def test_the_plan_of_what_cannot_be_restored_has_no_steps(operator, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    plan = operator.get(f"/backups/{backup.pk}/restore-plan").json()

    assert (plan["exitCode"], plan["steps"], plan["rows"]) == (2, [], None)
    refused = [each["subject"] for each in plan["findings"] if each["level"] == "refusal"]
    assert refused == ["stored file"] * len(places)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER])
def test_who_only_looks_does_nothing(role, api_as, backup, sent):
    reader = api_as(role)

    refused = [
        reader.post("/backups", {"database": "orders"}),
        reader.post(f"/backups/{backup.pk}/verify"),
        reader.post(f"/backups/{backup.pk}/pin", {"reason": "x"}),
        reader.delete(f"/backups/{backup.pk}/pin"),
        reader.get(f"/backups/{backup.pk}/download"),
        reader.get(f"/backups/{backup.pk}/restore-plan"),
    ]

    assert {answer.status_code for answer in refused} == {403}
    assert sent == []
    assert reader.get(f"/backups/{backup.pk}").status_code == 200
