import pytest

from secrets_rotation import forecast, reading
from secrets_rotation.models import Secret

pytestmark = pytest.mark.django_db


def test_what_the_console_cannot_make_is_nowhere_called_automatic(make_secret):
    brought = make_secret("brought", rotator="supplied")
    made = make_secret("made", rotator="postgresql_role")

    schedule = reading.schedule(Secret.objects.all())
    days = [row.due_at.date() for row in schedule]
    planned = forecast.forecast(min(days), max(days))

    expected = {brought: False, made: True}
    assert {row.secret: row.is_automatic for row in schedule} == expected
    assert {plan.secret: plan.is_automatic for plan in planned} == expected
