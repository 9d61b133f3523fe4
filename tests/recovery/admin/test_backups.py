import re
from datetime import timedelta

import pytest
from django.utils import timezone

from compliance_site.foundation.roles import Role
from recovery.backups.overview import Day, DayKind, cards
from recovery.models import Backup, BackupState, Verification
from recovery.templatetags.backups import columns

pytestmark = pytest.mark.django_db

LIST = "/admin/recovery/backup/"


def text_of(answer):
    assert answer.status_code == 200
    return answer.content.decode()


def card_of(database, now=None):
    return next(card for card in cards(now) if card.database == database)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.SECURITY_OFFICER, Role.OPERATOR])
def test_people_see_how_each_database_stands(role, client_as, backup):
    shown = text_of(client_as(role).get(LIST))

    assert "console, orders: somebody has to look" in shown
    assert "nobody knows that one can be" in shown
    assert ("Back up now" in shown) is (role is Role.OPERATOR)


def test_no_page_shows_a_credential(client_as, settings, backup):
    browser = client_as(Role.OPERATOR)
    url = settings.BACKUP_DATABASES.partition("=")[2]
    password = url.split(":")[2].split("@")[0]
    pages = [LIST, f"{LIST}{backup.pk}/change/", f"{LIST}{backup.pk}/restore/"]

    shown = "".join(text_of(browser.get(page)) for page in pages)

    assert password not in shown
    assert settings.BACKUP_IDENTITY not in shown


def test_a_database_with_a_young_verified_backup_is_fine(make_row):
    make_row(verified_at=timezone.now())

    card = card_of("console")

    assert card.warnings == ()
    assert card.days[-1].kind == DayKind.VERIFIED
    assert card.days_in_words == "The last 30 days: 1 verified, 29 none"


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"started_at": timedelta(days=3)}, "The newest backup is 3 days old."),
        ({"verified": timedelta(0), "started_at": timedelta(days=9)}, "verified backup is 9 days"),
        ({"copies": {"/a": "", "/b": "The disk is full."}}, "missing in /b: The disk is full."),
        ({"state": BackupState.FAILED, "reason": "No room."}, "The last attempt failed: No room."),
        (
            {"state": BackupState.QUEUED, "started_at": timedelta(hours=1), "finished_at": None},
            "does one serve the queue",
        ),
        ({"database": "gone"}, "not configured any more"),
        ({"state": BackupState.MISSING}, "1 of its backups cannot be found any more"),
    ],
)
def test_a_card_says_what_is_amiss(overrides, words, make_row):
    now = timezone.now()
    if "started_at" in overrides:
        overrides = overrides | {"started_at": now - overrides["started_at"]}
    if overrides.pop("verified", None) is not None:
        overrides["verified_at"] = now
    row = make_row(**overrides)

    assert any(words in warning for warning in card_of(row.database, now).warnings)


def test_a_month_shows_the_best_of_each_day(make_row):
    now = timezone.now().replace(hour=12)
    yesterday = now - timedelta(days=1)
    make_row(started_at=yesterday, state=BackupState.FAILED)
    make_row(started_at=yesterday)
    make_row(started_at=now - timedelta(days=2), state=BackupState.FAILED)
    make_row(started_at=now - timedelta(days=3), state=BackupState.REMOVED)
    make_row(started_at=now - timedelta(days=4), state=BackupState.REMOVED)
    make_row(started_at=now - timedelta(days=4), state=BackupState.MISSING)

    days = card_of("console", now).days

    kinds = ["none", "missing", "removed since", "failed", "stored", "none"]
    assert [day.kind for day in days[-6:]] == kinds


def test_a_good_day_does_not_hide_its_failures(make_row, client_as):
    now = timezone.now().replace(hour=12)
    for state in (BackupState.FAILED, BackupState.FAILED, BackupState.STORED):
        make_row(started_at=now - timedelta(days=1), state=state)
    for _ in range(3):
        make_row(started_at=now - timedelta(days=2), state=BackupState.FAILED)

    card = card_of("console", now)
    shown = text_of(client_as(Role.AUDITOR).get(LIST))

    assert [day.words for day in card.days[-3:]] == ["3 failed", "stored, and 2 failed", "none"]
    assert card.days_in_words == (
        "The last 30 days: 1 stored, 1 failed, 28 none; and 2 failed on days with a backup"
    )
    assert f"{card.days[-2].day}: stored, and 2 failed" in shown
    # Above the backup's half column, and a column in two pieces: not by colour alone.
    assert [(bar.kind, bar.y, bar.height) for bar in columns(card.days[-2])] == [
        ("failed", 0, 6),
        ("stored", 12, 12),
    ]
    assert [(bar.kind, bar.y, bar.height) for bar in columns(card.days[-3])] == [
        ("failed", 0, 10),
        ("failed", 14, 10),
    ]


def test_what_is_missing_is_kept_nowhere(make_row, client_as):
    make_row(state=BackupState.MISSING, copies={"/a": "It is not there any more."})

    shown = text_of(client_as(Role.AUDITOR).get(LIST))

    assert '<td class="kept"><span class="bad" title="/a">not in /a</span></td>' in shown


def test_every_day_has_a_shape_of_its_own(db):
    today = timezone.now().date()
    shapes = {
        tuple((bar.y, bar.height) for bar in columns(Day(today, kind, failed)))
        for kind in DayKind
        for failed in (0, 1)
    }

    # What failed and nothing else looks the same however often it did.
    assert len(shapes) == 2 * len(DayKind) - 1


def test_the_list_is_filtered_and_says_when_it_is_not_understood(client_as, make_row):
    make_row(database="console", reason="")
    make_row(state=BackupState.FAILED)
    browser = client_as(Role.AUDITOR)

    assert "1 backup match" in text_of(browser.get(f"{LIST}?state=failed"))
    assert "No backup matches." in text_of(browser.get(f"{LIST}?verified=true"))
    assert "did you mean console?" in text_of(browser.get(f"{LIST}?database=consol"))


def test_a_failed_row_says_why_and_its_page_all_of_it(client_as, make_row):
    reason = "pg_dump ended with 1: " + "the server closed the connection. " * 12
    failed = make_row(state=BackupState.FAILED, reason=reason.strip(), copies={})
    browser = client_as(Role.AUDITOR)

    listed = text_of(browser.get(LIST)).partition("<table")[2]
    shown = text_of(browser.get(f"{LIST}{failed.pk}/change/"))

    assert f"{reason[:119]}…</td>" in listed
    assert reason.strip() in shown
    assert "Verifications" not in shown


def test_a_row_says_in_how_many_places_it_is_and_where_it_is_not(client_as, make_row):
    make_row(copies={"/a": ""})
    make_row(copies={"/a": "", "/b": ""})
    make_row(copies={"/a": "", "/b": "The disk is full."})

    listed = text_of(client_as(Role.AUDITOR).get(LIST)).partition("<table")[2]

    assert re.findall(r'<td class="kept">([^<]+)<', listed) == ["1 of 2 places", "2 places", "/a"]
    assert listed.count(">not in /b<") == 1


def test_each_step_of_a_verification_shows_its_share_of_the_time(client_as, backup):
    steps = [{"step": "unpacked", "seconds": 0.5}, {"step": "restored", "seconds": 90.0}]
    steps.append({"step": "compared", "seconds": 9.5})
    started_at = timezone.now() - timedelta(hours=1)
    Verification.objects.create(
        backup=backup,
        passed=True,
        started_at=started_at,
        finished_at=started_at + timedelta(seconds=101),
        report={"steps": steps},
    )

    shown = text_of(client_as(Role.AUDITOR).get(f"{LIST}{backup.pk}/change/"))

    assert "took 1 min 41 s" in shown
    assert re.findall(r'class="fill" width="(\d+)".*?<dd>([^<]+)</dd>', shown) == [
        ("0", "0.5 s"),
        ("90", "1 min 30 s"),
        ("10", "9.5 s"),
    ]


@pytest.mark.parametrize("steps", [[], [{"step": "unpacked", "seconds": 0}]])
def test_steps_without_any_time_are_no_error(client_as, backup, steps):
    Verification.objects.create(backup=backup, passed=True, report={"steps": steps})

    assert "passed" in text_of(client_as(Role.AUDITOR).get(f"{LIST}{backup.pk}/change/"))


def test_a_wrong_setting_is_told_and_not_an_error_page(client_as, settings, db):
    settings.BACKUP_DATABASES = "no url"

    assert "BACKUP_DATABASES: entry 1" in text_of(client_as(Role.AUDITOR).get(LIST))


def test_one_backup_shows_its_facts_and_why_it_is_kept(client_as, backup, places):
    Verification.objects.create(
        backup=backup, passed=False, finished_at=timezone.now(), reason="3 rows are missing."
    )

    shown = text_of(client_as(Role.AUDITOR).get(f"{LIST}{backup.pk}/change/"))

    assert backup.manifest["sha256"] in shown
    assert "public.customers" in shown
    assert str(places[1]) in shown
    assert "3 rows are missing." in shown
    assert "nothing verified" in shown
    assert "Restore…" not in shown


def test_a_changed_manifest_is_called_that(client_as, backup):
    backup.manifest["size"] += 1
    backup.save()

    shown = text_of(client_as(Role.AUDITOR).get(f"{LIST}{backup.pk}/change/"))

    assert "cannot be trusted" in shown


def test_an_operator_backs_up_from_the_page(client_as, sent, orders):
    browser = client_as(Role.OPERATOR)

    answer = browser.post(f"{LIST}back-up/", {"database": "orders"}, follow=True)

    backup = Backup.objects.get()
    assert "Waits for a worker: a backup of orders" in text_of(answer)
    assert sent == [("recovery.heavy.make_requested", backup.pk)]


def test_backing_up_what_is_not_there_says_what_is(client_as, sent, orders):
    browser = client_as(Role.OPERATOR)

    answer = browser.post(f"{LIST}back-up/", {"database": "ordres"}, follow=True)

    assert "Did you mean orders?" in text_of(answer)
    assert sent == []


def test_an_operator_verifies_and_the_page_follows_it(client_as, sent, backup):
    browser = client_as(Role.OPERATOR)

    answer = browser.post(f"{LIST}{backup.pk}/verify/", follow=True)

    assert "being verified" in text_of(answer)
    assert 'data-refresh="2"' in text_of(answer)
    assert sent == [("recovery.heavy.verify_requested", backup.pk)]
    backup.verifications.create(passed=True, finished_at=timezone.now())
    after = browser.get(f"{LIST}{backup.pk}/live/?asked=0")
    assert 'data-refresh="0"' in text_of(after)


def test_an_operator_pins_with_a_reason_and_unpins(client_as, backup):
    browser = client_as(Role.OPERATOR)
    assert "Say it in one line" in text_of(
        browser.post(f"{LIST}{backup.pk}/pin/", {"reason": "a\x07b"})
    )

    browser.post(f"{LIST}{backup.pk}/pin/", {"reason": "before the migration"})
    assert "before the migration" in text_of(browser.get(f"{LIST}{backup.pk}/change/"))
    browser.post(f"{LIST}{backup.pk}/unpin/")

    assert "Pin…" in text_of(browser.get(f"{LIST}{backup.pk}/change/"))


def test_a_download_is_streamed(client_as, backup):
    answer = client_as(Role.OPERATOR).get(f"{LIST}{backup.pk}/download/")

    assert len(b"".join(answer.streaming_content)) == backup.size_bytes


def test_a_download_that_no_place_gives_says_so(client_as, backup, places):
    for place in places:
        (place / "orders" / f"{backup.pk}.tar.age").unlink()

    answer = client_as(Role.OPERATOR).get(f"{LIST}{backup.pk}/download/", follow=True)

    assert "No store gives backup" in text_of(answer)


@pytest.mark.parametrize("page", ["change", "live", "pin", "download", "restore"])
@pytest.mark.parametrize("hostile", ["20260101T000000Z-ffffff", "..", "%2e%2e%2fx", "%00"])
def test_an_unknown_backup_is_not_found(page, hostile, client_as, places):
    assert client_as(Role.OPERATOR).get(f"{LIST}{hostile}/{page}/").status_code == 404
