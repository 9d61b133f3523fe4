import pytest

from secrets_rotation.break_glass import Selection
from secrets_rotation.break_glass_plan import CIRCLE, plan
from secrets_rotation.models import Run, Trigger, Version
from secrets_rotation.runs.start import start

pytestmark = pytest.mark.django_db


def tagged(make_secret, *names, **fields):
    return [make_secret(name, tags=["prod"], **fields) for name in names]


def planned():
    return {each.secret.name: each for each in plan(Selection(tag="prod").secrets)}


def test_what_others_depend_on_has_an_earlier_place(make_secret):
    api, database, web = tagged(make_secret, "api", "database", "web")
    elsewhere = make_secret("elsewhere")
    api.depends_on.add(database, elsewhere)
    web.depends_on.add(api, database)

    rows = planned()

    assert {name: row.place for name, row in rows.items()} == {"database": 1, "api": 2, "web": 3}
    assert list(rows) == ["database", "api", "web"]
    assert rows["api"].after == (database,)
    assert not [row for row in rows.values() if row.obstacle]
    assert not Run.objects.exists()
    assert not Version.objects.exists()


def test_a_circle_is_named_with_what_waits_for_it(make_secret):
    tagged(make_secret, "free")
    first, second, behind = tagged(make_secret, "first", "second", "behind")
    first.depends_on.add(second)
    second.depends_on.add(first)
    behind.depends_on.add(first)

    rows = planned()

    assert {name: row.place for name, row in rows.items()} == {
        "free": 1,
        "behind": None,
        "first": None,
        "second": None,
    }
    assert {name for name, row in rows.items() if row.obstacle == CIRCLE} == {
        "behind",
        "first",
        "second",
    }


@pytest.mark.parametrize(
    ("overrides", "obstacle"),
    [
        ({"rotator": "supplied", "target": {}}, "The console cannot make this value"),
        ({"target": {}}, "name: This setting is required."),
        ({"rotator": "papr"}, "There is no rotator 'papr'; did you mean paper?"),
    ],
)
def test_what_the_console_cannot_rotate_says_why(make_secret, overrides, obstacle):
    tagged(make_secret, "one", **overrides)

    assert planned()["one"].obstacle.startswith(obstacle)


def test_a_run_under_way_is_named(make_secret):
    (secret,) = tagged(make_secret, "one")
    run = start(secret, trigger=Trigger.MANUAL)

    assert planned()["one"].in_flight == run
