"""Sizes, spans and places as the pages of backups show them."""

from __future__ import annotations

from datetime import datetime, timedelta

from django import template
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from recovery.backups.progress import size_text, time_text

register = template.Library()


@register.filter
def size(count: int | None) -> str:
    return "\N{EN DASH}" if count is None else size_text(count)


@register.filter
def commands(sentence: str) -> SafeString:
    """Return a sentence in which what stands in backticks is code."""
    parts = sentence.split("`")
    return format_html_join(
        "",
        "{}",
        (
            (format_html("<code>{}</code>", part) if place % 2 else part,)
            for place, part in enumerate(parts)
        ),
    )


@register.filter
def until(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took, a dash while it has no end."""
    if start is None or end is None:
        return "\N{EN DASH}"
    return time_text((end - start).total_seconds())


@register.filter
def seconds(number: float) -> str:
    if number < 0.1:
        return f"{number * 1000:.0f} ms"
    return f"{number:.1f} s" if number < 10 else time_text(number)


@register.filter
def age(moment: datetime, now: datetime) -> str:
    """Return the age in words: `3 hours`, `2 days`."""
    passed = now - moment
    for unit, words in ((timedelta(days=1), "day"), (timedelta(hours=1), "hour")):
        if passed >= unit:
            number = passed // unit
            return f"{number} {words}{'' if number == 1 else 's'}"
    minutes = max(1, passed // timedelta(minutes=1))
    return f"{minutes} minute{'' if minutes == 1 else 's'}"
