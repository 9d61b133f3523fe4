"""How long ago something was, so that a target can be asked by its own clock."""

from __future__ import annotations

from datetime import datetime

from django.db import connection


def seconds_since(moment: datetime) -> float:
    """Return the seconds since a time that the console's database noted.

    A target's clock may be minutes off ours. An age is the same on both.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - %s)::float8", [moment])
        (seconds,) = cursor.fetchone()
    return float(seconds)
