import json

import pytest

from audit.models import AuditLog
from audit.reading.export import Export, Format

pytestmark = pytest.mark.django_db


def test_an_export_that_the_reader_left_is_recorded_as_incomplete(make_log, actor):
    log = make_log()
    chunks = iter(Export(AuditLog.objects.all(), log.id, Format.CSV, {}, "/audit/export"))

    next(chunks)
    chunks.close()

    event = AuditLog.objects.get(action="EXPORT")
    details = json.loads(event.details)
    assert (event.actor, details["completed"], details["rows"]) == (actor.name, False, 0)
