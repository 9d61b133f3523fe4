import json

import pytest

from recovery.exceptions import DamagedError
from recovery.models import RestoreRequest
from recovery.restore import requests, state
from recovery.restore.state import Asked, Step

BACKUP_ID = "20261123T020000Z-3f9ac1"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.RECOVERY_FOLDER = tmp_path
    return tmp_path / "restores"


def written(**about):
    return state.new("orders", BACKUP_ID, dbname="orders", actor="ben", **about).at(Step.DONE)


def test_who_asked_and_why_is_read_as_it_was_written():
    asked = Asked(7, "ana", "ben", "Zeilen gelöscht: “alle”.")

    assert state.load(written(asked=asked).id).asked == asked
    assert state.load(written().id).asked is None


def test_a_file_of_an_older_release_is_read(folder):
    done = written()
    path = folder / f"{done.id}.json"
    body = json.loads(path.read_text())
    del body["asked"]
    path.write_text(json.dumps(body))

    assert state.load(done.id) == done


@pytest.mark.parametrize("asked", ["ana", 7, [7], {"requester": "ana"}, {"other": 1}])
def test_a_file_with_another_kind_of_request_is_damaged(asked, folder):
    done = written()
    path = folder / f"{done.id}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"asked": asked}))

    with pytest.raises(DamagedError):
        state.load(done.id)


@pytest.mark.django_db
def test_a_reason_is_kept_without_secrets_and_no_longer_than_others(actor):
    asked = RestoreRequest.objects.create(
        database="orders",
        backup_id=BACKUP_ID,
        reason=("postgresql://u:hunter2@db/orders " + "x" * 500)[:500],
        requested_by=1,
        requester="ana",
        decider="ben",
        restore_id=state.new_id(),
    )

    requests.not_begun(asked, requests.UNSENT)

    kept = state.load(asked.restore_id).asked
    assert (kept.requester, kept.decider) == ("ana", "ben")
    assert "hunter2" not in kept.reason
    assert len(kept.reason) <= 500
