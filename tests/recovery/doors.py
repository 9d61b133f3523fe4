"""What the tests of REST and admin share."""

from datetime import timedelta

import pytest
from django.utils import timezone

from recovery import tasks
from recovery.backups.attempts import new_id
from recovery.backups.create import create
from recovery.models import Backup, BackupState

__all__ = ["backup", "make_row", "sent"]


@pytest.fixture
def make_row(db):
    """Enter a backup into the catalogue; no store has anything of it."""

    def make(**overrides):
        started_at = overrides.pop("started_at", timezone.now() - timedelta(hours=1))
        fields = {
            "id": new_id(started_at),
            "database": "console",
            "state": BackupState.STORED,
            "started_at": started_at,
            "finished_at": started_at + timedelta(minutes=1),
            "size_bytes": 1_000,
            "manifest": {"taken_at": started_at.isoformat()},
            "copies": {"/backups": ""},
            "actor_type": "task",
            "actor": "recovery.heavy.backup_all",
        }
        return Backup.objects.create(**fields | overrides)

    return make


@pytest.fixture
def backup(orders):
    """A real backup of the database "orders" in both places."""
    return Backup.objects.get(pk=create(orders).id)


@pytest.fixture
def sent(monkeypatch):
    """Keep the messages to workers; return the names of the tasks with their arguments."""
    messages = []
    for task in (tasks.make_requested, tasks.verify_requested, tasks.restore_requested):

        def keep(arguments=(), kwargs=None, *, name=task.name, **options):
            messages.append((name, *arguments))

        monkeypatch.setattr(task, "apply_async", keep)
    return messages
