"""Targets that are down, frozen, full, strict or broken: the current value stays usable.

An old value is never ended before a new one was verified and its grace is over.
"""

import time
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from secrets_rotation.models import Run, RunState, Trigger, VersionState
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql.pair import PostgresqlPair
from secrets_rotation.rotators.registry import rotator_of
from secrets_rotation.runs import machine
from secrets_rotation.runs.start import start
from secrets_rotation.runs.work import credential_of
from tests.secrets_rotation.faults.conftest import settings_of
from tests.secrets_rotation.rotators.test_postgresql_probe import frozen

pytestmark = pytest.mark.django_db


@pytest.fixture
def role(own_cluster):
    name = f"role_{time.monotonic_ns()}"
    own_cluster.execute("CREATE ROLE {} LOGIN", name)
    yield name
    own_cluster.execute("DROP ROLE {}", name)


@pytest.fixture
def secret(own_cluster, role, add_secret):
    """A role on a server that may be mistreated, with a value that the console knows."""
    secret = add_secret("postgresql_role", settings_of(own_cluster) | {"username": role})
    assert rotate(secret).state == RunState.REVOKED
    return secret


@pytest.fixture
def pair(own_cluster, add_secret):
    tag = time.monotonic_ns()
    group, names = f"group_{tag}", [f"app_a_{tag}", f"app_b_{tag}"]
    own_cluster.execute("CREATE ROLE {} NOLOGIN", group)
    for name in names:
        own_cluster.execute("CREATE ROLE {} LOGIN IN ROLE {}", name, group)
        own_cluster.execute("ALTER ROLE {} SET ROLE {}", name, group)
    target = settings_of(own_cluster) | {"group": group, "usernames": names}
    secret = add_secret("postgresql_pair", target)
    assert rotate(secret).state == RunState.REVOKED
    yield secret
    for name in (*names, group):
        own_cluster.execute("DROP ROLE {}", name)


def rotate(secret, **arguments):
    return carry_on(start(secret, trigger=Trigger.MANUAL, **arguments))


def carry_on(run):
    Run.objects.filter(pk=run.pk).update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    machine.advance(run.pk)
    run.refresh_from_db()
    return run


def current_of(secret):
    return credential_of(secret.versions.get(state=VersionState.CURRENT))


def answer_of_current(secret):
    return rotator_of(secret).probe(current_of(secret))


def test_a_frozen_target_is_waited_for_and_nothing_is_concluded(own_cluster, secret):
    with frozen(own_cluster):
        run = rotate(secret)

    assert (run.state, run.attempts) == (RunState.SETTING, 1)
    assert answer_of_current(secret) is Answer.WORKS
    assert carry_on(run).state == RunState.REVOKED
    assert answer_of_current(secret) is Answer.WORKS


def test_a_full_target_is_waited_for(own_cluster, secret, role):
    own_cluster.execute("ALTER ROLE {} CONNECTION LIMIT 0", role)
    run = rotate(secret)
    assert (run.state, run.attempts) == (RunState.SETTING, 1)

    own_cluster.execute("ALTER ROLE {} CONNECTION LIMIT -1", role)

    assert answer_of_current(secret) is Answer.WORKS
    assert carry_on(run).state == RunState.REVOKED


def test_a_target_that_is_down_ends_with_a_person_and_a_usable_value(own_cluster, secret, settings):
    settings.ROTATION_ATTEMPTS = 1
    port, secret.target["port"] = secret.target["port"], 1
    secret.save()

    run = carry_on(rotate(secret))

    assert run.state == RunState.ATTENTION
    secret.target["port"] = port
    secret.save()
    assert answer_of_current(secret) is Answer.WORKS


def test_a_role_that_may_not_log_in_is_rolled_back_and_asked_about(own_cluster, secret, role):
    """NOLOGIN between set and verification: no value opens it, so a person must decide."""
    own_cluster.execute("ALTER ROLE {} NOLOGIN", role)

    run = rotate(secret)
    for _ in range(3):
        run = carry_on(run)

    assert run.state == RunState.ATTENTION
    assert run.reason == "The target refuses the current value as well."
    own_cluster.execute("ALTER ROLE {} LOGIN", role)
    # It was put back before the person was asked.
    assert answer_of_current(secret) is Answer.WORKS


def test_the_half_in_use_is_untouched_when_the_other_cannot_log_in(own_cluster, pair, monkeypatch):
    current = current_of(pair)
    idle = rotator_of(pair).next_username(current.username)
    before = own_cluster.password_of(current.username)
    set_value = PostgresqlPair.set

    def set_and_forbid(*arguments):
        set_value(*arguments)
        own_cluster.execute("ALTER ROLE {} NOLOGIN", idle)

    monkeypatch.setattr(PostgresqlPair, "set", set_and_forbid)
    run = rotate(pair)
    while run.ended_at is None:
        run = carry_on(run)

    assert run.state == RunState.ROLLED_BACK
    assert own_cluster.password_of(current.username) == before
    assert answer_of_current(pair) is Answer.WORKS


def test_sessions_of_the_old_half_end_with_the_grace_and_not_before(own_cluster, pair):
    old = current_of(pair)
    with own_cluster.connect(old.username, old.value.reveal()) as session:
        pair.override.grace = timedelta(hours=1)
        pair.override.save()
        run = rotate(pair)
        assert run.state == RunState.GRACE
        assert session.execute("SELECT 1").fetchone() == (1,)
        assert rotator_of(pair).probe(old) is Answer.WORKS

        Run.objects.update(grace_until=timezone.now())
        assert carry_on(run).state == RunState.REVOKED
        with pytest.raises(psycopg.OperationalError):
            session.execute("SELECT 1")
    assert rotator_of(pair).probe(old) is Answer.REFUSED
