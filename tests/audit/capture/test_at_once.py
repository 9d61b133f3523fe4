from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

from django.db import connection, connections

from audit.capture import writer
from audit.models import AuditLog

THREADS = 8
ENTRIES = 100_000
PER_WRITE = 25
# A month that migrations did not make, so that the threads meet at its first partition too.
MIDNIGHT = datetime(2031, 3, 1, tzinfo=UTC)
SPAN = timedelta(seconds=20)


def test_no_entry_is_missing_when_threads_write_while_a_month_turns_over(committed_db):
    per_thread = ENTRIES // THREADS

    def write_entries(thread):
        try:
            for first in range(0, per_thread, PER_WRITE):
                writer.write(
                    [
                        AuditLog(
                            created_at=MIDNIGHT - SPAN / 2 + SPAN * number / per_thread,
                            actor_type="task",
                            action="CREATE",
                            resource=f"/{thread}/{number}",
                        )
                        for number in range(first, first + PER_WRITE)
                    ]
                )
        finally:
            connections.close_all()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(write_entries, range(THREADS)))

    stored = Counter(AuditLog.objects.values_list("resource", flat=True).iterator())
    expected = {f"/{thread}/{number}" for thread in range(THREADS) for number in range(per_thread)}
    assert stored.keys() == expected
    assert stored.total() == ENTRIES
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text, count(*) FROM audit_log GROUP BY 1")
        assert dict(cursor.fetchall()) == {
            "audit_log_2031_02": ENTRIES // 2,
            "audit_log_2031_03": ENTRIES // 2,
        }
