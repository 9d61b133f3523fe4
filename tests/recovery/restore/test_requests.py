from recovery.backups.create import create
from recovery.databases import database
from recovery.models import Backup
from recovery.restore import requests
from tests.recovery.backups.conftest import places  # noqa: F401


def test_without_an_administrators_rights_the_plan_leaves_them_to_the_worker(
    committed_db,
    actor,
    settings,
    places,  # noqa: F811
):
    backup = Backup.objects.get(pk=create(database("console")).id)
    settings.DATABASE_ADMIN_URL = settings.DATABASE_OWNER_URL = ""

    planned = requests.look(backup)

    assert ("rights", "warning") in {(each.subject, each.level) for each in planned.findings}
    assert planned.exit_code == 1


def test_without_a_key_the_plan_leaves_it_to_the_worker_and_still_looks_for_the_file(
    committed_db,
    actor,
    settings,
    places,  # noqa: F811
):
    backup = Backup.objects.get(pk=create(database("console")).id)
    settings.BACKUP_IDENTITY = ""

    planned = requests.look(backup)

    assert ("encryption key", "warning") in {
        (each.subject, each.level) for each in planned.findings
    }
    assert planned.exit_code == 1
    first, second = (place / "console" / f"{backup.pk}.tar.age" for place in places)
    first.unlink()
    assert requests.look(backup).exit_code == 1
    second.write_bytes(b"cut off")
    assert requests.look(backup).exit_code == 2
