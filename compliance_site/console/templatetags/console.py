"""Components of the console's pages: the rail, sparklines, and figures as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django import template
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from audit.reading.overview import Hour
from audit.reading.shape import timestamp
from compliance_site.console.rail import is_person, rail_for

register = template.Library()

SPARKLINE_WIDTH, SPARKLINE_HEIGHT = 240, 40


@register.inclusion_tag("admin/console/rail.html", takes_context=True)
def rail(context: template.Context) -> dict[str, Any]:
    """Show the pages this user may open; nothing to anybody without a role."""
    request = context.get("request")
    user = getattr(request, "user", None) or AnonymousUser()
    if request is None or not is_person(user):
        return {}
    return {
        "sections": rail_for(user, request.path),
        "user": user,
        "csrf_token": context.get("csrf_token"),
        "request": request,
    }


@register.inclusion_tag("admin/console/sparkline.html")
def sparkline(hours: Sequence[Hour], figure: str, title: str) -> dict[str, Any]:
    """Draw one figure of each hour as SVG, and give it to screen readers as a table."""
    values = [getattr(hour, figure) for hour in hours]
    return {
        "title": title,
        "rows": [(hour.start, value) for hour, value in zip(hours, values, strict=True)],
        "points": _points(values),
        "width": SPARKLINE_WIDTH,
        "height": SPARKLINE_HEIGHT,
    }


@register.inclusion_tag("admin/console/bar.html")
def bar(value: int, largest: int) -> dict[str, int]:
    return {"share": round(100 * value / largest) if largest else 0}


@register.filter
def grouped(number: int) -> str:
    return f"{number:,}"


@register.filter
def ago(moment: datetime) -> str:
    """Return the age, a second at least, in its largest unit: `3 s`, `12 min`, `5 h`, `9 d`."""
    seconds = max(1, int((timezone.now() - moment).total_seconds()))
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


@register.filter
def took(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "\N{EN DASH}"
    if milliseconds < 1:
        return "< 1 ms"
    return f"{milliseconds} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


@register.filter
def in_minutes(duration: timedelta) -> str:
    minutes = max(1, round(duration.total_seconds() / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


@register.filter
def precise(moment: datetime) -> str:
    return timestamp(moment)


@register.filter
def status_tone(code: int | None) -> str:
    """Return the tone of a status: only failures have one."""
    if code is None or code < 400:
        return ""
    return "warn" if code < 500 else "bad"


def _points(counts: Sequence[int]) -> str:
    """Return the polyline's points; the highest hour touches the top, none is cut off."""
    top, step = max([*counts, 1]), SPARKLINE_WIDTH / max(1, len(counts) - 1)
    room = SPARKLINE_HEIGHT - 4
    return " ".join(
        f"{index * step:.1f} {SPARKLINE_HEIGHT - 2 - room * count / top:.1f}"
        for index, count in enumerate(counts)
    )
