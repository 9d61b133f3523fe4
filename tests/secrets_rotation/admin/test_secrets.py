from datetime import timedelta

import pytest
from django.utils import timezone

from secrets_rotation.models import Run, RunState, Trigger
from secrets_rotation.runs.start import start
from tests.secrets_rotation.admin.conftest import text_of, title_of

pytestmark = pytest.mark.django_db

LIST = "/admin/secrets_rotation/secret/"


def names(answer):
    return [row.secret.name for row in answer.context["rows"]]


@pytest.fixture
def make_overdue(make_secret):
    def make(name, **options):
        long_ago = timezone.now() - timedelta(days=400)
        return make_secret(name, created_at=long_ago, anchored_on=long_ago.date(), **options)

    return make


def test_the_first_line_says_what_needs_somebody(reader, make_secret, make_overdue):
    for name in ("one", "two", "three"):
        make_overdue(name)
    run = start(make_secret("four"), trigger=Trigger.MANUAL)
    Run.objects.filter(pk=run.pk).update(state=RunState.ATTENTION)

    answer = reader.get(LIST)

    assert title_of(answer) == "Three secrets are overdue, one needs a decision"


@pytest.mark.parametrize(
    ("number", "title"),
    [
        (0, "No secret is registered yet"),
        (1, "The one secret is on schedule"),
        (2, "All two secrets are on schedule"),
    ],
)
def test_the_first_line_says_that_nothing_does(reader, make_secret, number, title):
    for index in range(number):
        make_secret(f"secret-{index}")

    assert title_of(reader.get(LIST)) == title


def test_a_row_shows_the_days_left_as_a_bar_a_number_and_a_word(reader, make_secret, make_overdue):
    make_overdue("late")
    make_secret("soon", rules={"interval": 3, "interval_unit": "days", "grace": timedelta(0)})
    make_secret("calm")

    page = text_of(reader.get(LIST))

    rows = [part.split("</tr>")[0] for part in page.split("<tr>")[2:]]
    assert ['class="bar bad"' in row for row in rows] == [True, False, False]
    assert ['class="bar warn"' in row for row in rows] == [False, True, False]
    assert ["OVERDUE" in row for row in rows] == [True, False, False]
    assert ">89 <span" in rows[2]


def test_the_filters_narrow_the_list(reader, make_secret, make_overdue):
    make_overdue("late", tags=["eu"])
    make_secret("key", secret_type="API_KEY", owner="Payments")
    make_secret("gone", retired_at=timezone.now())

    assert names(reader.get(LIST)) == ["late", "key"]
    assert names(reader.get(LIST, {"type": "API_KEY"})) == ["key"]
    assert names(reader.get(LIST, {"status": "OVERDUE"})) == ["late"]
    assert names(reader.get(LIST, {"status": "RETIRED"})) == ["gone"]
    assert names(reader.get(LIST, {"tag": "eu"})) == ["late"]
    assert names(reader.get(LIST, {"rotator": "paper", "q": "PAYMENT"})) == ["key"]
    assert names(reader.get(LIST, {"q": "eu"})) == ["late"]


def test_a_filter_that_is_not_understood_lists_nothing_and_says_so(reader, make_secret):
    make_secret()

    answer = reader.get(LIST, {"status": "SLEEPING"})

    assert names(answer) == []
    assert "Select a valid choice" in text_of(answer)


def test_more_secrets_than_a_page_holds_are_on_the_next(reader, make_secret, monkeypatch):
    monkeypatch.setattr("secrets_rotation.admin.secrets.PAGE_SIZE", 2)
    for index in range(3):
        make_secret(f"secret-{index}")

    first = reader.get(LIST)

    assert names(first) == ["secret-0", "secret-1"]
    assert names(reader.get(LIST + first.context["older"])) == ["secret-2"]


def test_the_list_costs_the_same_number_of_queries_however_long(
    reader, make_secret, django_assert_max_num_queries
):
    for index in range(20):
        make_secret(f"secret-{index}")

    with django_assert_max_num_queries(14):
        reader.get(LIST)


def test_the_page_of_a_secret_shows_its_versions_runs_and_consumers(reader, rotated, make_consumer):
    run = rotated(times=2)
    make_consumer(run.secret)

    answer = reader.get(f"{LIST}{run.secret_id}/change/")

    page = text_of(answer)
    assert [version.number for version in answer.context["versions"]] == [2, 1]
    assert f"/admin/secrets_rotation/run/{run.pk}/change/" in page
    assert "billing" in page
    assert "previous" in page
    assert "not yet" in page


def test_an_auditor_is_offered_nothing_that_changes(reader, officer, make_secret):
    secret = make_secret()

    for address in (LIST, f"{LIST}{secret.pk}/change/"):
        page = text_of(reader.get(address))
        assert not any(f"/{word}/" in page for word in ("add", "edit", "retire", "rotate"))
    page = text_of(officer.get(f"{LIST}{secret.pk}/change/"))
    assert all(f"/{word}/" in page for word in ("edit", "retire", "rotate"))


def test_a_secret_that_does_not_exist_is_not_found(reader):
    assert reader.get(f"{LIST}999/change/").status_code == 404
