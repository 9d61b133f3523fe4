"""The list's filters as a reader sees them: one pill for each question, its answer in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from audit.admin.listing import Listing, Period
from audit.models import Action, ActorType, AuditLog
from audit.reading.filters import STATUS_CLASSES

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# A changed filter begins a new listing, at its first page.
PLACE = ("page", "asOf", "count")
# Pills whose words are understood without their label.
SAY_IT_ALL = ("Time", "Who", "More")


@dataclass(frozen=True)
class Option:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True)
class Field:
    """One parameter: `options` to choose from, `inputs` with the texts given, or both."""

    parameter: str
    label: str
    errors: tuple[str, ...]
    options: tuple[Option, ...] = ()
    inputs: tuple[str, ...] = ()
    hint: str = ""
    # Said before the values where the pill's label does not name the parameter.
    prefix: str = ""

    @property
    def words(self) -> str:
        """What is asked for, "" when anything will do."""
        chosen = [option.label for option in self.options if option.is_chosen]
        values = [*chosen, *filter(None, self.inputs)]
        return self.prefix + " or ".join(values) if values else ""


@dataclass(frozen=True)
class Pill:
    """One question; `words` is "" when any answer will do, `removal` asks without it."""

    label: str
    words: str
    fields: tuple[Field, ...]
    removal: str

    @property
    def errors(self) -> tuple[str, ...]:
        return tuple(error for each in self.fields for error in each.errors)


def pills(listing: Listing) -> list[Pill]:
    who = (
        _text(listing, "userId", "User id", "7", prefix="user "),
        _ticks(listing, "actorType", "Kind of actor", ActorType.values),
    )
    more = (
        _text(listing, "source", "Source", "trading-api", prefix="source "),
        _text(listing, "requestId", "Request id", prefix="request "),
    )
    return [
        _time(listing),
        _pill(listing, "Who", *who),
        _pill(listing, "Action", _ticks(listing, "action", "Action", known_actions())),
        _pill(listing, "Method", _ticks(listing, "method", "Method", METHODS)),
        _pill(listing, "Status", _status(listing)),
        _pill(listing, "Resource", _text(listing, "resource", "Resource", "/bot/start or /bot/*")),
        _pill(listing, "From", _text(listing, "ip", "Address", "192.168.1.100")),
        _pill(listing, "More", *more),
    ]


def in_words(listing: Listing, shown: Iterable[Pill]) -> str:
    """Say the whole filter in one line, for the page's head and for paper."""
    parts = [
        pill.words if pill.label in SAY_IT_ALL else f"{pill.label.lower()} {pill.words}"
        for pill in shown
        if pill.words
    ]
    if searched := listing.params.get("q", "").strip():
        parts.append(f"resource contains “{searched}”")
    return ", ".join(parts)


def labelled_errors(listing: Listing, shown: Iterable[Pill]) -> list[tuple[str, list[str]]]:
    """Return what was not understood, under the names that the fields have on the page."""
    labels = {each.parameter: each.label for pill in shown for each in pill.fields} | {
        "q": "Search"
    }
    return [(labels.get(name, name), texts) for name, texts in listing.errors.items()]


def known_actions() -> list[str]:
    """Return what the console records and what services have named in this log."""
    return sorted({*Action.values, *AuditLog.objects.actions()})


def _time(listing: Listing) -> Pill:
    dates = tuple(listing.params.get(name, "").strip() for name in ("startDate", "endDate"))
    asked = listing.params.get("period", "") or (Period.CUSTOM.value if any(dates) else "")
    options = [Option("", "any time", not asked)]
    options += [Option(value, label, value == asked) for value, label in Period.choices]
    fields = (
        Field("period", "Period", _errors(listing, "period"), options=tuple(options)),
        Field("startDate", "From", _errors(listing, "startDate"), inputs=dates[:1]),
        Field("endDate", "To, that day included", _errors(listing, "endDate"), inputs=dates[1:]),
    )
    words = _dates_in_words(*dates) if asked == Period.CUSTOM else fields[0].words
    return Pill("Time", words if asked else "", fields, _removal(listing, fields))


def _dates_in_words(start: str, end: str) -> str:
    if start and end:
        return f"{start} to {end}"
    return f"since {start}" if start else f"until {end}" if end else ""


def _status(listing: Listing) -> Field:
    """Offer the classes to tick and an input for a single code."""
    asked = _asked(listing, "statusCode")
    classes = {text.lower() for text in asked} & set(STATUS_CLASSES)
    options = tuple(Option(value, value, value in classes) for value in STATUS_CLASSES)
    codes = tuple(text for text in asked if text.lower() not in STATUS_CLASSES) or ("",)
    return Field(
        "statusCode", "Status", _errors(listing, "statusCode"), options, codes, "or a code, 404"
    )


def _ticks(listing: Listing, parameter: str, label: str, values: Iterable[str]) -> Field:
    """Offer the values to tick; what was asked for beyond them stays visible, ticked."""
    asked = {text.lower(): text for text in _asked(listing, parameter)}
    options = [Option(value, value, asked.pop(value.lower(), None) is not None) for value in values]
    options += [Option(text, text, is_chosen=True) for text in asked.values()]
    return Field(parameter, label, _errors(listing, parameter), options=tuple(options))


def _text(
    listing: Listing, parameter: str, label: str, example: str = "", prefix: str = ""
) -> Field:
    inputs = tuple(_asked(listing, parameter)) or ("",)
    hint = f"for example {example}" if example else ""
    errors = _errors(listing, parameter)
    return Field(parameter, label, errors, inputs=inputs, hint=hint, prefix=prefix)


def _pill(listing: Listing, label: str, *fields: Field) -> Pill:
    words = " · ".join(each.words for each in fields if each.words)
    return Pill(label, words, fields, _removal(listing, fields))


def _removal(listing: Listing, fields: Iterable[Field]) -> str:
    return listing.query(without=(*(each.parameter for each in fields), *PLACE))


def _asked(listing: Listing, parameter: str) -> list[str]:
    return [text.strip() for text in listing.params.getlist(parameter) if text.strip()]


def _errors(listing: Listing, parameter: str) -> tuple[str, ...]:
    return tuple(listing.errors.get(parameter, ()))
