"""When secrets are due in a span of time, the times after the next one as well."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

from django.db import connection

from secrets_rotation.models import Secret
from secrets_rotation.rotators.registry import generating

# Each due day follows from the one before, as if every rotation came on its day.
CHAIN = """
WITH RECURSIVE chain AS (
    SELECT s.id, s.anchored_on, coalesce(o."interval", p."interval")::integer AS count,
        coalesce(o.interval_unit, p.interval_unit)::text AS unit,
        coalesce(o.auto_rotate, p.auto_rotate) AS is_automatic,
        (coalesce(s.last_rotated_at, s.created_at) AT TIME ZONE 'UTC')::date AS day,
        0 AS number
    FROM secrets_rotation_secret s
    JOIN secrets_rotation_policy p ON p.secret_type = s.secret_type
    LEFT JOIN secrets_rotation_policy_override o ON o.secret_id = s.id
    WHERE s.retired_at IS NULL
    UNION ALL
    SELECT id, anchored_on, count, unit, is_automatic,
        (secrets_rotation_due(anchored_on, day, count, unit) AT TIME ZONE 'UTC')::date,
        number + 1
    FROM chain WHERE day < %(last)s
)
SELECT id, day, is_automatic, number FROM chain
WHERE number > 0 AND day >= %(first)s AND day <= %(last)s ORDER BY day, id
"""


@dataclass(frozen=True)
class Planned:
    """A day on which a secret is due; `is_next` when no other one comes before."""

    secret: Secret
    day: date
    is_automatic: bool
    is_next: bool

    @property
    def at(self) -> datetime:
        return datetime.combine(self.day, time(), UTC)


def forecast(first: date, last: date) -> list[Planned]:
    """Return what is due from the first day to the last one, both included, soonest first."""
    with connection.cursor() as cursor:
        cursor.execute(CHAIN, {"first": first, "last": last})
        rows = cursor.fetchall()
    secrets = Secret.objects.in_bulk({row[0] for row in rows})
    by_schedule = set(generating())
    return [
        Planned(
            secrets[secret_id],
            day,
            is_automatic=is_automatic and secrets[secret_id].rotator in by_schedule,
            is_next=number == 1,
        )
        for secret_id, day, is_automatic, number in rows
    ]
