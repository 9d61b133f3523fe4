import json
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import psycopg
import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from audit.capture import writer
from audit.capture.copy_rows import COPY, copy_block, from_spool_line, spool_line
from audit.capture.log_store import Backend, LogStore
from audit.capture.outage import Outage
from audit.capture.spool import Spool
from audit.exceptions import UnrecordedError
from audit.models import AuditLog

MOMENT = datetime(2025, 11, 9, 10, 30, 0, 123456, tzinfo=UTC)
OUTAGE = ("AUDIT_OUTAGE_START", "AUDIT_OUTAGE_END")


def entry(number=0, **overrides):
    values = {
        "created_at": MOMENT,
        "actor_type": "user",
        "action": "READ",
        "resource": f"/{number}",
    }
    return AuditLog(**values | overrides)


def commit_all(numbers):
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: writer.commit(entry(number)), numbers))


def stored():
    return AuditLog.objects.exclude(action__in=OUTAGE)


@pytest.fixture
def outage(committed_db, administrator):
    """Take the database away from the writer, and give it back."""

    def begin():
        connection.close()
        administrator(
            f"ALTER DATABASE {committed_db} ALLOW_CONNECTIONS false",
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            f"WHERE datname = '{committed_db}'",
        )

    def end():
        administrator(f"ALTER DATABASE {committed_db} ALLOW_CONNECTIONS true")

    yield begin, end
    end()


def test_entries_of_many_threads_are_all_there_when_their_calls_return(committed_db):
    commit_all(range(2000))

    assert {log.resource for log in stored()} == {f"/{number}" for number in range(2000)}
    assert stored().count() == 2000


def test_an_entry_is_stored_as_it_was_given(committed_db):
    values = {
        "occurred_at": MOMENT,
        "user_id": 7,
        "status_code": 404,
        "ip_address": "2001:db8::1",
        "request_data": 'tab\t, newline\n, return\r, \\N, \\., ü ☃, "quotes"',
        "details": "\\",
    }

    writer.commit(entry(**values))

    log = AuditLog.objects.get()
    assert {name: getattr(log, name) for name in values} == values
    assert (log.created_at, log.duration_ms) == (MOMENT, None)
    assert log.event_id


def test_an_entry_that_postgresql_cannot_hold_is_refused_alone(committed_db):
    def commit(status):
        try:
            writer.commit(entry(status, status_code=status))
        except UnrecordedError:
            return "refused"
        return "stored"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(commit, [200] * 50 + [99_999] + [200] * 50))

    assert outcomes.count("refused") == 1
    assert stored().count() == 100


def test_a_lost_connection_costs_nothing(committed_db, administrator):
    writer.commit(entry(1))
    administrator(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        f"WHERE datname = '{committed_db}' AND application_name = 'audit-writer'"
    )

    writer.commit(entry(2))
    writer.close()
    replay()

    assert sorted(log.resource for log in stored()) == ["/1", "/2"]


def test_in_an_outage_entries_are_spooled_and_replayed_once_in_order(outage, settings):
    begin, end = outage
    writer.commit(entry(0))
    begin()
    for number in range(1, 30):
        writer.commit(entry(number))
    assert settings.AUDIT_SPOOL.read_bytes().count(b"\n") >= 30

    end()
    eventually_replayed(settings)

    assert [log.resource for log in stored().order_by("id")] == [f"/{n}" for n in range(30)]
    start, stop = AuditLog.objects.filter(action__in=OUTAGE).order_by("id")
    assert (start.action, stop.action) == OUTAGE
    details = json.loads(stop.details)
    assert (details["spooled"], details["lost"]) == (29, 0)
    assert (start.actor_type, start.actor) == ("task", "audit-writer")


def test_a_spool_that_is_full_refuses_or_counts_what_is_lost(outage, settings):
    begin, end = outage
    settings.AUDIT_SPOOL_MB = 1
    settings.AUDIT_FAIL_CLOSED = False
    begin()
    for number in range(40):
        writer.commit(entry(number, request_data="x" * 32_000))

    end()
    eventually_replayed(settings)

    details = json.loads(AuditLog.objects.get(action="AUDIT_OUTAGE_END").details)
    assert details["lost"] > 0
    assert details["spooled"] + details["lost"] == 40
    assert stored().count() == details["spooled"]


def test_failing_closed_refuses_what_no_disk_takes(outage, settings, tmp_path):
    begin, end = outage
    settings.AUDIT_SPOOL = tmp_path / "file" / "spool"
    (tmp_path / "file").write_text("not a folder")
    begin()

    with pytest.raises(UnrecordedError):
        writer.commit(entry())

    # The database alone is enough again, whatever became of the disk.
    end()
    eventually_replayed(settings)
    writer.commit(entry())


def test_a_new_process_replays_what_another_left_and_nothing_twice(outage, settings):
    begin, end = outage
    begin()
    for number in range(10):
        writer.commit(entry(number))
    left = settings.AUDIT_SPOOL.read_bytes()
    writer.close()
    end()

    assert replay() == 11  # and the start of the outage
    # As after a kill between the commit of the replay and the removal from the spool.
    settings.AUDIT_SPOOL.write_bytes(left)
    replay()

    assert sorted(log.resource for log in stored()) == [f"/{number}" for number in range(10)]


def test_the_command_shows_what_waits_and_replays_it(outage, settings, capsys):
    begin, end = outage
    begin()
    writer.commit(entry())
    writer.close()

    call_command("audit_spool", "status")
    with pytest.raises(CommandError, match="stays as it is"):
        call_command("audit_spool", "replay")
    end()
    call_command("audit_spool", "replay")
    call_command("audit_spool", "status")

    before, replayed, after = capsys.readouterr().out.splitlines()
    assert json.loads(before) == {
        "entries": 2,
        "files": [{"path": str(settings.AUDIT_SPOOL), "entries": 2}],
    }
    assert replayed == "Replayed 2 entries."
    assert json.loads(after) == {"entries": 0, "files": []}
    assert stored().count() == 1


def test_the_command_does_not_pass_over_a_spool_that_cannot_be_opened(
    committed_db, settings, tmp_path
):
    (tmp_path / "file").write_text("not a folder")
    settings.AUDIT_SPOOL = tmp_path / "file" / "spool"

    with pytest.raises(CommandError, match="stays as it is"):
        call_command("audit_spool", "replay")


@pytest.mark.parametrize(
    "bad", [b'{"created_at": "soon"}', b'{"unknown": 1}', b"[]", b"not JSON", b'{"pid": "x"}']
)
def test_a_spooled_line_that_is_no_entry_is_set_aside_and_stops_nothing(outage, settings, bad):
    begin, end = outage
    begin()
    writer.commit(entry(1))
    spool = writer.group_writer()._outage._spool
    spool.append([bad])
    writer.commit(entry(2, status_code=99_999))  # nobody asked PostgreSQL yet
    writer.commit(entry(3))
    end()

    eventually_replayed(settings)
    writer.commit(entry(4))

    assert [log.resource for log in stored().order_by("id")] == ["/1", "/3", "/4"]
    details = json.loads(AuditLog.objects.get(action="AUDIT_OUTAGE_END").details)
    assert details["lost"] == 2
    rejected = settings.AUDIT_SPOOL.with_name("entries.rejected").read_bytes()
    assert bad in rejected


def test_a_replay_that_broke_off_is_ended_before_it_is_tried_again(outage, settings):
    begin, end = outage
    begin()
    writer.commit(entry(1))
    writer.close()
    end()
    first = LogStore(5)
    second = LogStore(5)
    spool = Spool(settings.AUDIT_SPOOL)
    line = next(line for line in spool.oldest(10, 100_000).lines if b'"/1"' in line)
    # The first try was sent whole and is about to commit; nobody was told.
    log = from_spool_line(line)
    with first._answering() as lost:
        first._make_partitions(lost, [log])
        lost.execute("BEGIN")
        with lost.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(copy_block([log]))
    second.in_doubt = first._backend

    Outage(second, spool, fail_closed=True).replay()

    with pytest.raises(psycopg.Error):
        lost.execute("COMMIT")
    assert [log.resource for log in stored()] == ["/1"]
    second.close()
    first.close()
    spool.close()


def test_a_line_that_stands_in_the_spool_twice_is_stored_once(committed_db, settings):
    # As after a kill between taking over a file and removing it.
    spool = Spool(settings.AUDIT_SPOOL)
    spool.append([spool_line(entry(1, event_id="event-1"))] * 2)
    spool.close()

    replay()

    assert [log.resource for log in stored()] == ["/1"]


def test_an_event_of_a_service_stands_for_no_spooled_entry(committed_db, settings, make_log):
    make_log(created_at=MOMENT, event_id="event-1", source="trading-api", resource="/service")
    spool = Spool(settings.AUDIT_SPOOL)
    spool.append([spool_line(entry(1, event_id="event-1"))])
    spool.close()

    replay()

    assert {log.resource for log in stored()} == {"/service", "/1"}


def test_a_server_process_that_cannot_be_noted_stays_in_doubt(committed_db, settings, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    store = LogStore(5)
    store.in_doubt = Backend(1, "1")

    Outage(store, Spool(tmp_path / "file" / "spool"), fail_closed=True).begin()

    assert store.in_doubt == Backend(1, "1")


def test_a_server_process_that_does_not_end_stays_in_doubt(committed_db):
    first, second = LogStore(5), LogStore(5)
    backend = second.in_doubt = first.backend()
    os.kill(backend.pid, signal.SIGSTOP)
    try:
        with pytest.raises(OSError, match="does not end"):
            second.end(backend)
    finally:
        os.kill(backend.pid, signal.SIGCONT)

    assert second.in_doubt == backend
    first.close()
    second.close()


class LosingAnswers(LogStore):
    """Commits what it is given, and does not hear of it as often as `losses` says."""

    losses = 1

    def add(self, logs):
        super().add(logs)
        if logs[0].action == "AUDIT_OUTAGE_END" and self.losses:
            self.losses -= 1
            self.in_doubt = self.backend()
            self.close()
            raise psycopg.OperationalError("the answer was lost")


@pytest.fixture
def ending_outage(committed_db, settings):
    """An outage whose database is back; the answer to its first end gets lost."""
    store, spool = LosingAnswers(5), Spool(settings.AUDIT_SPOOL)
    outage = Outage(store, spool, fail_closed=True)
    outage.begin()
    outage.keep([entry(1, event_id="event-1")])
    outage.try_to_end()
    assert outage.is_on
    outage._next_probe = 0.0
    yield outage
    outage.close()
    store.close()


def spooled_by_ends():
    ends = AuditLog.objects.filter(action="AUDIT_OUTAGE_END").order_by("id")
    return [json.loads(end.details)["spooled"] for end in ends]


def test_an_outage_whose_end_was_stored_unheard_ends_once(ending_outage):
    ending_outage.try_to_end()

    assert not ending_outage.is_on
    assert spooled_by_ends() == [1]


def test_what_was_spooled_after_an_end_unheard_is_told_by_another(ending_outage):
    ending_outage.keep([entry(2, event_id="event-2")])

    ending_outage.try_to_end()

    assert not ending_outage.is_on
    assert spooled_by_ends() == [1, 2]
    assert [log.resource for log in stored().order_by("id")] == ["/1", "/2"]


def test_an_entry_that_comes_after_the_writer_was_closed_does_not_wait_for_ever(committed_db):
    closed = writer.group_writer()
    writer.commit(entry(1))
    writer.close()

    late = threading.Thread(target=closed.commit, args=[entry(2)], daemon=True)
    late.start()
    late.join(10)

    assert not late.is_alive()
    assert [log.resource for log in stored().order_by("id")] == ["/1", "/2"]
    closed.close()


def test_inside_a_transaction_the_entry_belongs_to_it(committed_db):
    with transaction.atomic():
        writer.commit(entry())
        transaction.set_rollback(True)

    assert not AuditLog.objects.exists()


def replay():
    return writer.replay_spool()


def eventually_replayed(settings):
    """Wait until the writer's own probe finds the database again."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if AuditLog.objects.filter(action="AUDIT_OUTAGE_END").exists():
                return
        except psycopg.Error:
            connection.close()
        time.sleep(0.05)
    pytest.fail(f"not replayed: {settings.AUDIT_SPOOL.stat().st_size} bytes wait")
