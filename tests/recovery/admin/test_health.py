import re
from datetime import timedelta

import pytest
from django.utils import timezone

from compliance_site.foundation.roles import Role
from recovery.health import report
from recovery.health.report import components
from recovery.models import HealthSample

PAGE = "/admin/recovery/healthsample/"


@pytest.fixture(autouse=True)
def anew(patient):
    report.forget()
    yield
    report.forget()


def text_of(answer):
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.content.decode()))


def keep(component, status, minutes_ago):
    moment = timezone.now() - timedelta(minutes=minutes_ago)
    HealthSample.objects.create(component=component, status=status, taken_at=moment)


@pytest.mark.parametrize("role", [Role.AUDITOR, Role.OPERATOR, Role.SECURITY_OFFICER])
def test_every_person_sees_each_part(committed_db, client_as, role):
    answer = client_as(role).get(PAGE)

    assert answer.status_code == 200
    for label in ("Database", "Broker", "Workers", "Disk", "Backups", "Audit spool"):
        assert label in text_of(answer)


def test_the_day_is_shown_with_its_gaps_and_in_words(committed_db, client_as):
    keep("database", "healthy", 5)
    keep("database", "healthy", 10)
    keep("database", "unhealthy", 15)

    text = text_of(client_as(Role.OPERATOR).get(PAGE))

    assert "66.66 % available of what is known; no data for 23 h 45 min" in text
    assert re.search(r"unhealthy \d\d:\d\d . \d\d:\d\d", text)


def test_what_nobody_knows_of_any_part_is_said_once(committed_db, client_as):
    browser = client_as(Role.OPERATOR)
    fresh = text_of(browser.get(PAGE))
    names, moment = [part.check.name for part in components()], timezone.now()
    HealthSample.objects.bulk_create(
        HealthSample(component=name, status="healthy", taken_at=moment) for name in names
    )
    later = text_of(browser.get(PAGE))

    assert fresh.count("Nothing is known of the last 24 hours yet") == 1
    assert "no data" not in fresh
    assert "not known" not in fresh
    assert later.count("nothing is known of 23 h 55 min of them") == 1
    assert "no data for" not in later
    assert later.count("100 % available") == len(names)


def test_sizes_have_the_units_that_every_page_has(committed_db, client_as):
    assert re.search(r"[\d.]+ [GT]iB free", text_of(client_as(Role.OPERATOR).get(PAGE)))


def test_the_headline_names_what_is_down(committed_db, client_as, settings):
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    answer = client_as(Role.OPERATOR).get(PAGE)

    assert re.search(r"<h1>Broker, Workers: down</h1>", answer.content.decode())


def test_nothing_of_the_page_needs_a_looser_policy(committed_db, client_as):
    page = client_as(Role.OPERATOR).get(PAGE).content.decode()

    assert " style=" not in page
    assert "<style" not in page


def test_the_page_is_in_the_rail(committed_db, client_as):
    page = client_as(Role.AUDITOR).get(PAGE).content.decode()

    assert f'<a href="{PAGE}" aria-current="page">Health</a>' in page
