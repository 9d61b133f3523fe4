import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from audit.capture.asgi import AuditRecorder
from audit.capture.console_client import ConsoleClient, UndeliveredError
from audit.capture.delivery import Backoff, DeliveryCounts, Outbox
from audit.capture.spool import Spool
from tests.audit.capture.fake_console import TOKEN, FakeConsole, eventually


@pytest.fixture
def console():
    with FakeConsole() as console:
        yield console


@pytest.fixture
def spool_path(tmp_path):
    return tmp_path / "spool.jsonl"


@pytest.fixture
def make_outbox(console, spool_path):
    made = []

    def make(spool_bytes=64_000_000, **bounds):
        client = ConsoleClient(console.url, TOKEN)
        outbox = Outbox(client, Spool(spool_path, spool_bytes), **bounds)
        made.append(outbox)
        return outbox

    yield make
    for outbox in made:
        outbox.close()


def event_line(number, **fields):
    return json.dumps({"id": str(number), "source": "test", "resource": "/", **fields}).encode()


def put_all(outbox, numbers):
    for number in numbers:
        outbox.put(event_line(number))
    return [str(number) for number in numbers]


def run_script(script, *arguments):
    root = Path(__file__).parents[3]
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)


def test_events_arrive_in_order_and_in_batches(console, make_outbox):
    outbox = make_outbox()

    ids = put_all(outbox, range(1234))
    outbox.close()

    assert console.ids == ids
    assert max(console.batch_sizes) <= 500
    assert len(console.batch_sizes) < 10
    assert outbox.counts == DeliveryCounts(delivered=1234)


def test_an_event_is_sent_without_waiting_for_a_full_batch(console, make_outbox):
    put_all(make_outbox(), [1])

    assert eventually(lambda: console.ids) == ["1"]


@pytest.mark.parametrize("status", [302, 401, 403, 404, 429, 500, 503])
def test_events_survive_every_outage_and_arrive_once(console, make_outbox, spool_path, status):
    console.status = status
    outbox = make_outbox()

    ids = put_all(outbox, range(700))
    eventually(lambda: spool_path.exists() and spool_path.read_bytes().count(b"\n") == 700)
    console.status = 201
    ids += put_all(outbox, range(700, 800))
    eventually(lambda: len(console.events) == 800)

    assert console.ids == ids
    eventually(lambda: spool_path.read_bytes() == b"")
    assert set(console.authorizations) == {f"Token {TOKEN}"}


def test_events_survive_a_console_that_is_not_there(console, make_outbox, spool_path):
    console.stop()
    outbox = make_outbox()

    ids = put_all(outbox, range(20))
    eventually(lambda: spool_path.exists() and spool_path.read_bytes().count(b"\n") == 20)
    console.start()
    eventually(lambda: len(console.events) == 20)

    assert console.ids == ids


def test_an_answer_that_was_lost_does_not_store_twice(console, make_outbox):
    answer = console.answer
    lost = threading.Event()

    def store_and_fail(*request):
        answered = answer(*request)
        if lost.is_set():
            return answered
        lost.set()
        return 500, {}

    console.answer = store_and_fail
    outbox = make_outbox()
    ids = put_all(outbox, range(5))
    eventually(lambda: outbox.counts.delivered == 5)

    assert console.ids == ids
    assert len(console.batch_sizes) >= 2


@pytest.mark.parametrize("answer", [{}, [], "<html>", {"accepted": 1, "duplicates": 0}, None])
def test_an_answer_that_is_not_a_consoles_delivers_nothing(console, answer):
    console.answer = lambda *request: (200, answer)

    with pytest.raises(UndeliveredError, match="not a console"):
        ConsoleClient(console.url, TOKEN).send([event_line(1)])


def test_an_untrusted_certificate_is_refused(console):
    # A plain HTTP port under https: no handshake, no request.
    with pytest.raises(UndeliveredError, match="SSL"):
        ConsoleClient(console.url.replace("http:", "https:"), TOKEN).send([event_line(1)])

    assert console.authorizations == set()


def test_rejected_events_are_logged_kept_and_never_retried(
    console, make_outbox, spool_path, caplog
):
    console.refuses = lambda event: "resource: too long" if event["id"] in ("3", "5") else None
    outbox = make_outbox()

    for number in range(8):
        outbox.put(event_line(number, requestData="payload-canary"))
    outbox.close()

    assert console.ids == ["0", "1", "2", "4", "6", "7"]
    assert sum(console.batch_sizes) == 8
    assert outbox.counts == DeliveryCounts(delivered=6, rejected=2)
    rejected = Path(f"{spool_path}.rejected")
    assert [json.loads(line) for line in rejected.read_text().splitlines()] == [
        {"error": "resource: too long", "event": json.loads(event_line(n, requestData="payload-canary"))}
        for n in (3, 5)
    ]  # fmt: skip
    assert stat.S_IMODE(rejected.stat().st_mode) == 0o600
    assert "rejected audit event 3: 'resource: too long'" in caplog.text
    assert "payload-canary" not in caplog.text


def test_a_refused_batch_is_halved_until_it_is_taken(console, make_outbox):
    console.largest_batch = 30
    outbox = make_outbox()

    ids = put_all(outbox, range(300))
    eventually(lambda: len(console.events) == 300)

    assert console.ids == ids


@pytest.mark.parametrize("status", [400, 409, 413, 422])
def test_an_event_that_is_refused_alone_is_set_aside(console, make_outbox, spool_path, status):
    answer = console.answer

    def refuse_seven(path, headers, body):
        if any(event["id"] == "7" for event in body["events"]):
            return status, {}
        return answer(path, headers, body)

    console.answer = refuse_seven
    outbox = make_outbox()
    put_all(outbox, range(20))
    eventually(lambda: outbox.counts.delivered + outbox.counts.rejected == 20)

    assert console.ids == [str(number) for number in range(20) if number != 7]
    [kept] = Path(f"{spool_path}.rejected").read_text().splitlines()
    assert json.loads(kept)["error"] == f"status {status}"


def test_memory_is_bounded_and_the_rest_goes_to_the_spool(console, make_outbox, spool_path):
    console.open.clear()
    outbox = make_outbox(max_events=10)
    outbox.put(event_line("first"))
    eventually(lambda: outbox._in_flight)

    put_all(outbox, range(100))

    assert len(outbox._waiting) == 10
    assert spool_path.read_bytes().count(b"\n") == 90
    console.open.set()
    eventually(lambda: len(console.events) == 101)
    assert len(set(console.ids)) == 101


def test_memory_is_bounded_by_bytes_too(console, make_outbox):
    console.open.clear()
    outbox = make_outbox(max_bytes=10_000)
    outbox.put(event_line("first"))
    eventually(lambda: outbox._in_flight)

    for number in range(100):
        outbox.put(event_line(number, requestData="x" * 1000))

    assert sum(map(len, outbox._waiting)) == outbox._waiting_bytes <= 10_000
    console.open.set()
    eventually(lambda: len(console.events) == 101)
    assert outbox._waiting_bytes == 0


def test_what_fits_neither_memory_nor_spool_is_counted_and_reported(
    console, make_outbox, spool_path, caplog
):
    console.status = 503
    outbox = make_outbox(spool_bytes=2000, max_events=10)
    put_all(outbox, range(500))
    outbox.close()

    kept = spool_path.read_bytes().count(b"\n")
    assert spool_path.stat().st_size <= 2000
    assert outbox.counts.dropped + kept == 500
    assert caplog.text.count("Audit events were dropped") == 1

    console.status = 201
    outbox.start()
    eventually(lambda: len(console.events) == kept)


def test_a_spool_that_cannot_be_written_costs_only_durability(console, make_outbox, spool_path):
    spool_path.mkdir()
    console.status = 503
    outbox = make_outbox()

    ids = put_all(outbox, range(10))
    eventually(lambda: outbox._is_stuck)
    console.status = 201
    eventually(lambda: len(console.events) == 10)

    assert console.ids == ids


def test_closing_leaves_what_a_hanging_console_did_not_take_in_the_spool(
    console, make_outbox, spool_path
):
    console.open.clear()
    outbox = make_outbox()
    put_all(outbox, [0])
    eventually(lambda: outbox._in_flight)
    put_all(outbox, range(1, 10))

    started = time.monotonic()
    outbox.close(timeout=0.3)

    assert time.monotonic() - started < 2
    assert spool_path.read_bytes().count(b"\n") == 10
    console.open.set()
    outbox.start()
    eventually(lambda: len(console.events) == 10)
    outbox.close()
    assert sorted(console.ids) == [str(number) for number in range(10)]


RECORD_AND_HANG = """
import sys, time
from audit.capture.asgi import AuditRecorder
recorder = AuditRecorder(console_url=sys.argv[1], token="t", source="test", spool=sys.argv[2])
for number in range(3):
    print(recorder.record(action="START", resource=f"/bot/{number}"), flush=True)
time.sleep(60)
"""


def test_the_spool_of_a_killed_process_is_delivered_by_the_next(console, spool_path, caplog):
    console.stop()
    process = run_script(RECORD_AND_HANG, console.url, spool_path)
    with process:
        ids = [process.stdout.readline().strip() for _ in range(3)]
        eventually(lambda: spool_path.exists() and spool_path.read_bytes().count(b"\n") == 3)
        process.kill()
    # It was killed as it wrote a fourth.
    with spool_path.open("ab") as file:
        file.write(b'{"id":"torn","sou')

    console.start()
    recorder = AuditRecorder(console_url=console.url, token=TOKEN, source="test", spool=spool_path)
    recorder.start()
    eventually(lambda: len(console.events) == 3)
    recorder.record(action="STOP", resource="/bot/0")
    recorder.close()

    assert console.ids[:3] == ids
    assert [event["resource"] for event in console.events[3:]] == ["/bot/0"]
    assert "Dropped an unfinished line" in caplog.text


RECORD_AND_FORK = """
import os, sys
from audit.capture.asgi import AuditRecorder
recorder = AuditRecorder(
    console_url=sys.argv[1], token=sys.argv[3], source="test", spool=sys.argv[2]
)
recorder.record(action="START", resource="/parent/before")
child = os.fork()
recorder.record(action="START", resource="/parent" if child else "/child")
recorder.close()
if child:
    sys.exit(os.waitpid(child, 0)[1])
"""


def test_a_forked_worker_delivers_its_own_events_only(console, spool_path):
    with run_script(RECORD_AND_FORK, console.url, spool_path, TOKEN) as process:
        assert process.wait(30) == 0

    resources = sorted(event["resource"] for event in console.events)
    assert resources == ["/child", "/parent", "/parent/before"]
    assert sum(console.batch_sizes) == 3


EXIT_AT_ONCE = """
import sys
from audit.capture.asgi import AuditRecorder
recorder = AuditRecorder(
    console_url=sys.argv[1], token=sys.argv[3], source="test", spool=sys.argv[2]
)
recorder.record(action="STOP", resource="/last/words")
"""


def test_a_process_that_just_ends_still_delivers(console, spool_path):
    with run_script(EXIT_AT_ONCE, console.url, spool_path, TOKEN) as process:
        assert process.wait(30) == 0

    assert [event["resource"] for event in console.events] == ["/last/words"]


def test_many_threads_and_a_flapping_console_lose_and_repeat_nothing(console, make_outbox):
    outbox = make_outbox(max_events=50)
    writers = [
        threading.Thread(target=put_all, args=(outbox, range(base, base + 500)))
        for base in range(0, 4000, 500)
    ]
    randomly = random.Random(7)

    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        console.status = randomly.choice([201, 500])
    console.status = 201
    eventually(lambda: outbox.counts == DeliveryCounts(delivered=4000))

    assert len(console.ids) == len(set(console.ids)) == 4000


def test_retries_come_later_and_later_up_to_a_limit():
    backoff = Backoff()
    pauses = []
    for _ in range(12):
        backoff.fail()
        pauses.append(backoff.seconds_left())

    assert 0.2 < pauses[0] <= 0.5
    assert 14 < pauses[-1] <= 30
    backoff.succeed()
    assert not backoff.is_waiting()


def test_the_spool_is_for_its_owner_only(console, make_outbox, spool_path):
    console.status = 503
    spool_path.touch(0o644)
    put_all(make_outbox(), [1])

    eventually(lambda: spool_path.stat().st_size)
    assert {stat.S_IMODE(os.stat(path).st_mode) for path in spool_path.parent.iterdir()} == {0o600}
