"""Put every sealed row under the current master key, in batches, while the console goes on.

A row's value is not decrypted for it. Each batch commits for itself, so that a killed run has
lost nothing and the next one carries on with what is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from django.apps import apps
from django.db import connection, transaction
from django.db.models import Count

from compliance_site.foundation import envelope, master_key
from compliance_site.foundation.master_key import EnvelopeError
from compliance_site.foundation.sealed import SealedModel

BATCH = 200
# Advisory locks are numbers that the whole database shares.
LOCK = 0x6D6B_7277
# A killed process holds it until the server has finished its last statement.
LOCK_SECONDS = 5.0
LONGEST_WAIT = "SET LOCAL lock_timeout = '10s'"

# Called before each batch with how many rows are done; may raise to stop.
type Progress = Callable[[int], None]


class AtWorkError(Exception):
    """Another process is changing the master key or re-wrapping."""


@dataclass(frozen=True)
class Outcome:
    """`left` rows are still under another key: somebody held them, or they are `damaged`."""

    rewrapped: int
    left: int
    # Table, key and why, for each row that does not open.
    damaged: tuple[str, ...] = ()


@contextmanager
def at_work() -> Iterator[None]:
    """Be the only process that changes the master key; raise `AtWorkError` when one does."""
    deadline = time.monotonic() + LOCK_SECONDS
    while not _is_locked():
        if time.monotonic() > deadline:
            raise AtWorkError(AtWorkError.__doc__)
        time.sleep(0.05)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def _is_locked() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [LOCK])
        return bool(cursor.fetchone()[0])


def sealed_models() -> list[type[SealedModel]]:
    """Return every model with sealed rows, those with a table of their own."""
    return [
        model
        for model in apps.get_models()
        if issubclass(model, SealedModel) and not model._meta.proxy
    ]


def rows_by_key() -> dict[str, dict[str, int]]:
    """Return how many rows of each table are under each key; tables without rows are there too."""
    return {
        model._meta.db_table: dict(
            model._base_manager.order_by().values_list("key_id").annotate(Count("pk"))
        )
        for model in sealed_models()
    }


def rows_under(key_id: str) -> dict[str, int]:
    """Return the tables that have rows under a key, and how many."""
    counts = {
        model._meta.db_table: model._base_manager.filter(key_id=key_id).count()
        for model in sealed_models()
    }
    return {table: count for table, count in counts.items() if count}


def rewrap_all(before_batch: Progress = lambda done: None) -> Outcome:
    """Re-wrap what is under any other key than the current one; call it inside `at_work`.

    Rows that a transaction holds are passed over and tried again for as long as that helps.
    """
    rewrapped, damaged = 0, dict[str, None]()
    while True:
        done_before = rewrapped
        for model in sealed_models():
            for done, problems in _pass(model):
                rewrapped += done
                damaged |= dict.fromkeys(problems)
                before_batch(rewrapped)
        if rewrapped == done_before:
            return Outcome(rewrapped, _left(), tuple(damaged))


@contextmanager
def no_writers() -> Iterator[None]:
    """Hold a transaction that began when no other had written a sealed row; wait 10 s for it."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(LONGEST_WAIT)
        for model in sealed_models():
            table = connection.ops.quote_name(model._meta.db_table)
            cursor.execute(f"LOCK TABLE {table} IN SHARE MODE")
        yield


def _pass(model: type[SealedModel]) -> Iterator[tuple[int, list[str]]]:
    """Go through a table once, by its key; yield what each batch did."""
    last = None
    while True:
        rewrapped, problems = [], []
        with transaction.atomic():
            rows = _next(model, last)
            for row in rows:
                try:
                    row.envelope = envelope.rewrap(row.envelope, context=row.context())
                    rewrapped.append(row)
                except EnvelopeError as exc:
                    problems.append(f"{model._meta.db_table} {row.pk}: {exc}")
            model._base_manager.bulk_update(rewrapped, ["key_id", "wrapped_key"])
        if not rows:
            return
        last = rows[-1].pk
        yield len(rewrapped), problems


def _next(model: type[SealedModel], last: object) -> list[SealedModel]:
    """Lock the next batch; a row that a transaction holds is passed over, so nobody deadlocks."""
    # What a context names may be in the row's relations.
    rows = model._base_manager.select_related().order_by("pk")
    rows = rows.exclude(key_id=master_key.ring().current.id)
    if last is not None:
        rows = rows.filter(pk__gt=last)
    return list(rows.select_for_update(skip_locked=True, of=("self",), no_key=True)[:BATCH])


def _left() -> int:
    current = master_key.ring().current.id
    return sum(
        count
        for rows in rows_by_key().values()
        for key_id, count in rows.items()
        if key_id != current
    )
