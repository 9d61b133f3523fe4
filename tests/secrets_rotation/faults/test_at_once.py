"""Many at once: requests and a tick on one secret, two secrets on one role."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
from django.db import connections

from audit.capture.actors import Actor, acting_as
from secrets_rotation import schedule
from secrets_rotation.models import PolicyOverride, Run, RunState, Secret, Trigger, Version
from secrets_rotation.rotators.base import Answer
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from tests.secrets_rotation.faults.test_targets import answer_of_current, carry_on

REQUESTS = 50


def test_fifty_requests_and_a_tick_make_one_run(
    postgresql_role_secret, console, make_user, token_of
):
    secret = postgresql_role_secret
    PolicyOverride.objects.update(grace=timedelta(days=1))
    machine.advance(start(secret, trigger=Trigger.MANUAL).pk)
    Secret.objects.update(last_rotated_at="2024-01-01T00:00:00Z", anchored_on="2024-01-01")
    headers = {"Authorization": f"Token {token_of(make_user('olivia', 'security_officer'))}"}
    body = {"secretType": "DATABASE", "secretName": secret.name}

    def post(number):
        if number == REQUESTS // 2:
            return tick()
        url = f"{console.url}/secrets/rotation/rotate"
        return httpx.post(url, json=body, headers=headers, timeout=60).json()

    def tick():
        try:
            with acting_as(Actor("task", "secrets_rotation.tick")):
                return [{"runId": run.pk} for run in schedule.begin_due()]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(REQUESTS + 1) as pool:
        answers = list(pool.map(post, range(REQUESTS + 1)))

    run = Run.objects.get(version__number=2)
    assert Version.objects.count() == Run.objects.count() == 2
    refused = [each for each in answers if "error" in each]
    assert {each["error"]["code"] for each in refused} == {"run_in_flight"}
    assert {each["error"]["fields"]["runId"][0] for each in refused} == {str(run.pk)}
    print(f"{REQUESTS} requests and a tick: 1 run, {len(refused)} refused with 409")
    assert carry_on(run).state == RunState.GRACE
    assert answer_of_current(secret) is Answer.WORKS


def test_two_secrets_on_one_role_rotate_one_after_the_other(
    committed_db, add_secret, postgresql, make_role
):
    target = postgresql | {"username": make_role()}
    secrets = [add_secret("postgresql_role", target, name) for name in ("one", "two")]
    runs = [start(secret, trigger=Trigger.MANUAL) for secret in secrets]

    def work(run):
        try:
            with acting_as(Actor("task", "advance")):
                machine.advance(run.pk)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(work, runs))
    for run in runs:
        run.refresh_from_db()
        if run.state == RunState.PENDING:
            assert run.reason == "Another rotation is at work on the same principal."
            carry_on(run)

    assert {run.state for run in Run.objects.all()} == {RunState.REVOKED}
    # The last one set holds; the other secret's owner learns it at the next rotation.
    answers = [answer_of_current(secret) for secret in secrets]
    assert sorted(answers) == [Answer.REFUSED, Answer.WORKS]
