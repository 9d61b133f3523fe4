import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from recovery.health import probes, report
from recovery.health.probes import ASKED, NO_ANSWER, Probe
from recovery.health.results import Degraded, Result, Status, Unhealthy


class Given:
    """A check that does what the test says."""

    name = "given"
    when_silent = Status.UNHEALTHY

    def __init__(self, run=lambda: {}):
        self._run = run

    def run(self, deadline):
        return self._run()


def asked():
    (metric,) = ASKED.collect()
    return sum(
        sample.value
        for sample in metric.samples
        if sample.name == "health_probes_total" and sample.labels == {"component": "given"}
    )


def failing(exception):
    def run():
        raise exception

    return run


def test_a_check_that_returns_is_healthy_with_its_figures():
    result = Probe(Given(lambda: {"workers": 3})).result()

    assert (result.component, result.status, result.reason) == ("given", Status.HEALTHY, "")
    assert result.figures == {"workers": 3}
    assert 0 <= result.response_ms < 1000
    assert result.taken_at <= datetime.now(UTC)


@pytest.mark.parametrize(
    ("finding", "status"), [(Degraded, Status.DEGRADED), (Unhealthy, Status.UNHEALTHY)]
)
def test_a_finding_says_status_reason_and_figures(finding, status):
    result = Probe(Given(failing(finding("It is so.", {"workers": 0})))).result()

    assert (result.status, result.reason, result.figures) == (status, "It is so.", {"workers": 0})
    assert result.response_ms is not None


def test_any_other_exception_is_unhealthy_and_its_text_stays_inside(caplog):
    caplog.set_level(logging.ERROR)

    result = Probe(Given(failing(ValueError("host db.internal password x")))).result()

    assert (result.status, result.reason) == (Status.UNHEALTHY, "It could not be checked.")
    assert "ValueError" in caplog.text
    assert "db.internal" not in caplog.text


def test_many_who_ask_at_once_share_one_run():
    before, probe = asked(), Probe(Given(lambda: time.sleep(0.1) or {}))

    with ThreadPoolExecutor(50) as pool:
        results = [future.result() for future in [pool.submit(probe.result) for _ in range(200)]]

    assert {result.status for result in results} == {Status.HEALTHY}
    assert asked() - before == 1


def test_an_answer_is_good_for_its_time_only():
    before, probe = asked(), Probe(Given(), fresh_seconds=0.0)
    probe.result()
    probe.result()
    assert asked() - before == 2

    lasting = Probe(Given(), fresh_seconds=60.0)
    lasting.result()
    lasting.result()
    assert asked() - before == 3

    lasting.forget()
    lasting.result()
    assert asked() - before == 4


@pytest.fixture
def stuck(monkeypatch):
    """A check that hangs past its deadline until it is let go."""
    monkeypatch.setattr(probes, "DEADLINE_SECONDS", 0.1)
    monkeypatch.setattr(probes, "CHECK_SECONDS", 0.08)
    go = threading.Event()
    probe = Probe(Given(lambda: go.wait(20) and {}))
    yield probe, go
    go.set()


def test_whoever_waits_gives_up_and_no_second_run_starts(stuck):
    before, (probe, _) = asked(), stuck

    results = [probe.result() for _ in range(5)]

    assert {(result.status, result.reason) for result in results} == {(Status.UNHEALTHY, NO_ANSWER)}
    assert results[0].response_ms is None
    assert asked() - before == 1


def test_a_late_comer_does_not_wait_for_a_run_that_is_past_its_deadline(stuck):
    probe, _ = stuck
    probe.result()

    began = time.monotonic()
    probe.result()

    assert time.monotonic() - began < 0.05


def test_a_run_that_ends_late_after_all_is_what_counts(stuck):
    probe, go = stuck
    probe.result()
    go.set()

    deadline = time.monotonic() + 10
    while probe.result().status != Status.HEALTHY:
        assert time.monotonic() < deadline


def test_who_waited_in_vain_elsewhere_spares_the_others_the_wait():
    before, probe = asked(), Probe(Given())
    probe.result()

    probe.note_silence(time.monotonic())

    assert probe.result().reason == NO_ANSWER
    assert asked() - before == 1


def test_a_change_is_logged_once(caplog):
    caplog.set_level(logging.WARNING)
    says = [{}, {}, Unhealthy("It is away."), Unhealthy("It is away."), {}, {}]

    def run():
        said = says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    probe = Probe(Given(run), fresh_seconds=0.0)
    while says:
        probe.result()

    assert [record.getMessage() for record in caplog.records] == [
        "given is unhealthy: It is away.",
        "given is healthy: All is well.",
    ]


def test_who_waited_in_vain_is_not_believed_against_a_later_answer():
    since, probe = time.monotonic(), Probe(Given())
    probe.result()

    probe.note_silence(since)

    assert probe.result().status == Status.HEALTHY


def silent():
    raise TimeoutError


def test_the_silence_of_a_backend_counts_for_all_who_ask_it():
    backend = Probe(Given(), fresh_seconds=60)
    behind = Probe(Given(silent), behind=backend)
    backend.result()
    backend.forget()
    behind.result()
    before = asked()

    assert backend.result().reason == NO_ANSWER
    assert Probe(Given(), behind=backend).result().reason == NO_ANSWER
    assert asked() == before


def no_more_threads(thread):
    raise RuntimeError("can't start new thread")


def test_a_thread_that_cannot_start_leaves_the_next_one_its_chance(monkeypatch):
    probe = Probe(Given())
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", no_more_threads)
        with pytest.raises(RuntimeError):
            probe.result()

    assert probe.result().status == Status.HEALTHY


def test_the_worst_status_counts():
    assert Status.worst([Status.HEALTHY, Status.UNHEALTHY, Status.DEGRADED]) == Status.UNHEALTHY
    assert Status.worst([Status.DEGRADED, Status.HEALTHY]) == Status.DEGRADED
    assert Status.worst([]) == Status.HEALTHY


def test_a_result_says_nothing_by_default():
    result = Result("given", Status.HEALTHY, datetime.now(UTC))

    assert (result.response_ms, result.reason, dict(result.figures)) == (None, "", {})


def test_an_answer_that_grows_old_while_others_are_waited_for_is_not_asked_for_anew(monkeypatch):
    monkeypatch.setattr(probes, "DEADLINE_SECONDS", 0.2)
    slow = Probe(Given(lambda: time.sleep(0.3) or {}))
    brief = Probe(Given(), fresh_seconds=0.1)
    brief.result()
    before = asked()

    found = report.report((slow, brief))

    assert [result.status for result in found.results] == [Status.UNHEALTHY, Status.HEALTHY]
    assert asked() - before == 1
