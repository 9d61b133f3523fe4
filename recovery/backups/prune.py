"""Takes away the backups that no rule of retention keeps, and what interrupted removals left.

In each store the manifest goes first: from then on there is no backup, whatever happens. A store
that is away is left for the next run.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import audit
from audit.models import Action
from recovery import stores
from recovery.backups import catalogue, lock
from recovery.backups.index import ID, PIN, VERIFIED
from recovery.backups.memory import remembered
from recovery.backups.missing import GONE, NO_FILE, REMOVED, TAKEN
from recovery.backups.retention import Break, Candidate, Decision, Policy, decide
from recovery.databases import databases
from recovery.exceptions import RecoveryError, ServerAwayError, StoreError
from recovery.models import Backup, BackupKind, BackupState
from recovery.stores.base import Store

logger = logging.getLogger(__name__)

MANIFEST, SEALED = ".json", ".tar.age"
# In the order in which they go.
SUFFIXES = (MANIFEST, f".{PIN}.json", f".{VERIFIED}.json", SEALED)
# A backup of which the manifest is still to come began later than that, or has its lock.
ORPHANED_AFTER = timedelta(days=1)


@dataclass(frozen=True)
class Orphan:
    """A file of what is no backup, since its manifest is not in the same store."""

    store: Store
    name: str
    backup_id: str


@dataclass(frozen=True)
class Plan:
    """What is to stay and what to go; `problems` is a sentence for each thing nobody could see."""

    decisions: tuple[Decision, ...]
    orphans: tuple[Orphan, ...]
    problems: tuple[str, ...]

    @property
    def dropped(self) -> tuple[Decision, ...]:
        return tuple(each for each in self.decisions if not each.is_kept)


@dataclass
class Pruned:
    """What a run did: the decisions it made, the ids it removed everywhere, what was in its way."""

    plan: Plan
    removed: list[str] = field(default_factory=list)
    orphans: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def plan(now: datetime | None = None) -> Plan:
    """Say what a run would do now; nothing is removed or remembered. Raise `RecoveryError`."""
    now = now or datetime.now(UTC)
    with remembered() as held:
        return _plan(now, held.memory.at(now).breaks)


def prune(now: datetime | None = None) -> Pruned:
    """Remove what no rule keeps; raise `BusyError` when another process is at it."""
    now = now or datetime.now(UTC)
    with remembered() as held:
        memory = held.memory.at(now)
        # First: a run that is killed has seen the clock all the same.
        held.replace(memory)
        pruned = Pruned(_plan(now, memory.breaks))
        pruned.problems += pruned.plan.problems
        for decision in pruned.plan.dropped:
            _remove(decision, pruned)
        for orphan in pruned.plan.orphans:
            _remove_orphan(orphan, pruned)
    for problem in pruned.problems:
        logger.warning("Pruning left something: %s", problem)
    return pruned


def _plan(now: datetime, breaks: tuple[Break, ...]) -> Plan:
    policy = Policy.configured()
    problems = list(catalogue.refresh())
    candidates: list[Candidate] = []
    orphans: list[Orphan] = []
    for database in _database_names():
        names = _names(database, problems)
        candidates += _candidates(database, names, problems)
        orphans += _orphans(database, names, now, problems)
    decisions = decide(candidates, policy, now, breaks)
    lost = _missing()
    # They stand in for none that is there.
    both = decide([*candidates, *lost], policy, now, breaks) if lost else []
    decisions += [each for each in both if each.backup in lost and not each.is_kept]
    return Plan(tuple(decisions), tuple(orphans), tuple(dict.fromkeys(problems)))


def _missing() -> list[Candidate]:
    """Return what would be looked for no longer if retention dropped it, were it there."""
    rows = Backup.objects.filter(state=BackupState.MISSING, kind=BackupKind.LOGICAL)
    return [
        Candidate(
            id=backup.pk,
            database=backup.database,
            taken_at=backup.started_at,
            is_pinned=backup.pinned_at is not None,
        )
        for backup in rows.defer("manifest")
    ]


def _names(database: str, problems: list[str]) -> dict[Store, set[str]]:
    """Return what the stores that answer have of a database."""
    names = {}
    for store in stores.stores():
        try:
            names[store] = set(store.names(database))
        except StoreError as exc:
            problems.append(str(exc))
    return names


def _candidates(
    database: str, names: Mapping[Store, set[str]], problems: list[str]
) -> Iterator[Candidate]:
    """Tell retention of each backup; one whose manifest is not sound is left alone.

    Verified is only what a store that answers has: the last one that can be reached stays. What
    is only in places that are not configured is not looked at, nor does it stand in for others.
    """
    for backup in Backup.objects.stored().filter(database=database, kind=BackupKind.LOGICAL):
        if not catalogue.copies_of(backup):
            continue
        try:
            manifest = catalogue.manifest_of(backup)
        except RecoveryError as exc:
            problems.append(f"Backup {backup.pk} is left alone: {exc}")
            continue
        is_reached = any(f"{database}/{backup.pk}{SEALED}" in found for found in names.values())
        yield Candidate(
            id=backup.pk,
            database=database,
            taken_at=manifest.taken_at,
            is_verified=backup.verified_at is not None and is_reached,
            is_pinned=backup.pinned_at is not None,
            kind=backup.kind,
            size=manifest.size,
        )


def _orphans(
    database: str, names: Mapping[Store, set[str]], now: datetime, problems: list[str]
) -> list[Orphan]:
    known = {backup.pk: backup for backup in Backup.objects.filter(database=database)}
    ours: list[Orphan] = []
    for store, here in names.items():
        for name in sorted(here):
            backup_id = _id_without_manifest(name, here, now)
            if backup_id and _is_left_over(known.get(backup_id), store):
                ours.append(Orphan(store, name, backup_id))
            elif backup_id:
                problems.append(f"{store.name}/{name} has no manifest, and not by our doing.")
    return ours if ours and not _is_being_made(database, problems) else []


def _id_without_manifest(name: str, here: set[str], now: datetime) -> str:
    """Return the id in the name of a file of ours that began a day ago and has no manifest."""
    folder, _, file = name.partition("/")
    backup_id = _id(file)
    if not backup_id or f"{folder}/{backup_id}{MANIFEST}" in here:
        return ""
    begun_at = datetime.strptime(backup_id[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    return backup_id if now - begun_at > ORPHANED_AFTER else ""


def _is_left_over(backup: Backup | None, store: Store) -> bool:
    """Say whether an interrupted removal, or an attempt that failed, left it.

    Not so where somebody else took the manifest away: the rest may be all that there is.
    """
    if backup is None or backup.state == BackupState.RUNNING:
        return False
    return backup.state == BackupState.FAILED or backup.copies.get(store.name, GONE) not in TAKEN


def _id(file: str) -> str:
    for suffix in reversed(SUFFIXES):
        backup_id = file.removesuffix(suffix)
        if backup_id != file and ID.fullmatch(backup_id):
            return backup_id
    return ""


def _is_being_made(database: str, problems: list[str]) -> bool:
    """Say whether somebody may still be writing there: a dump can take longer than a day."""
    known = databases().get(database)
    if known is None:
        return False
    try:
        return lock.is_held(known)
    except ServerAwayError as exc:
        problems.append(f"Files without a manifest are left: {exc}")
        return True


def _remove(decision: Decision, pruned: Pruned) -> None:
    backup = Backup.objects.get(pk=decision.backup.id)
    places = [*catalogue.copies_of(backup), *_left_in(backup)]
    details = {
        "database": backup.database,
        "takenAt": decision.backup.taken_at.isoformat(),
        "why": decision.words,
        "size": decision.backup.size,
        "stores": [store.name for store in places],
    }
    # Recorded before the files, which no transaction brings back, are removed.
    audit.record(Action.PRUNE, resource=f"/backups/{backup.pk}", details=details)
    # And noted, so that what an interruption leaves is known to be ours.
    before = backup.copies
    backup.copies = before | dict.fromkeys((store.name for store in places), REMOVED)
    backup.save(update_fields=["copies"])
    for store in places:
        try:
            for suffix in SUFFIXES:
                store.delete(f"{backup.database}/{backup.pk}{suffix}")
        except StoreError as exc:
            backup.copies[store.name] = before[store.name]
            pruned.problems.append(f"Backup {backup.pk} is not removed everywhere: {exc}")
    if "" not in backup.copies.values():
        backup.state = BackupState.REMOVED
        pruned.removed.append(backup.pk)
    configured = {store.name for store in places}
    for name in (name for name, reason in backup.copies.items() if not reason):
        if name not in configured:
            text = f"Backup {backup.pk} stays in {name}, which is not in BACKUP_STORAGE_PATH."
            pruned.problems.append(text)
    backup.save(update_fields=["copies", "state"])


def _left_in(backup: Backup) -> list[Store]:
    """Return the stores that have a manifest whose sealed file somebody took away."""
    return [store for store in stores.stores() if backup.copies.get(store.name) == NO_FILE]


def _remove_orphan(orphan: Orphan, pruned: Pruned) -> None:
    place = f"{orphan.store.name}/{orphan.name}"
    details = {"file": place, "why": "it has no manifest, and nobody is writing it"}
    audit.record(Action.PRUNE, resource=f"/backups/{orphan.backup_id}", details=details)
    try:
        orphan.store.delete(orphan.name)
        pruned.orphans.append(place)
    except StoreError as exc:
        pruned.problems.append(f"{place} is left: {exc}")


def _database_names() -> list[str]:
    used = Backup.objects.order_by("database").values_list("database", flat=True).distinct()
    return sorted({*databases(), *used})
