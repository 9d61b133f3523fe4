import contextlib
import threading
import time
from datetime import timedelta

import psycopg
import pytest
from django.utils import timezone

from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError, ValueRefusedError
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql import probe
from secrets_rotation.rotators.postgresql.role import PostgresqlRole
from tests.secrets_rotation.rotators.conftest import Lease, built, credential
from tests.secrets_rotation.rotators.test_postgresql_probe import frozen, wait_for

OLD, NEW = credential("the-Old.password-1"), credential("the-New.password-2", version_id=2)
OPEN_TRANSACTIONS = """
SELECT pid FROM pg_stat_activity
WHERE application_name = 'compliance-console' AND state = 'idle in transaction'
"""
HOSTILE = [
    'a"; DROP ROLE postgres; --',
    "it's; \\ $$ %s {}",
    "Größe 🔑 名前",
    "current_user",
    "x" * 63,
    "ü" * 31,
]


@pytest.fixture
def role(make_role):
    return make_role(options=f"LOGIN PASSWORD '{OLD.value.reveal()}'")


@pytest.fixture
def rotator(cluster, role):
    return built(PostgresqlRole, cluster.target | {"username": role})


def test_setting_twice_ends_as_setting_once(rotator):
    for _ in range(2):
        rotator.set(NEW, OLD, Lease())

        assert rotator.probe(NEW) is Answer.WORKS
        assert rotator.probe(OLD) is Answer.REFUSED


def test_discarding_gives_the_current_password_back(rotator):
    rotator.set(NEW, OLD, Lease())

    for _ in range(2):
        rotator.discard(NEW, OLD, Lease())

        assert (rotator.probe(NEW), rotator.probe(OLD)) == (Answer.REFUSED, Answer.WORKS)


def test_a_first_password_that_is_discarded_leaves_none(rotator):
    rotator.set(NEW, None, Lease())
    rotator.discard(NEW, None, Lease())

    assert rotator.probe(NEW) is Answer.REFUSED


def test_a_first_password_that_was_never_set_takes_nothing_with_it(rotator):
    rotator.set(OLD, None, Lease())

    rotator.discard(NEW, None, Lease())

    assert rotator.probe(OLD) is Answer.WORKS


@pytest.mark.parametrize("name", HOSTILE)
def test_a_role_is_changed_whatever_it_is_called(cluster, make_role, name):
    make_role(name)
    rotator = built(PostgresqlRole, cluster.target | {"username": name})

    rotator.set(NEW, None, Lease())

    assert PostgresqlRole.problems(rotator.target) == {}
    assert rotator.probe(NEW) is Answer.WORKS


@pytest.mark.parametrize("value", ["Grüße-aus-Köln-42", "пароль-Пароль-77", "quote'quote\"\\$"])
def test_a_password_beyond_ascii_works(cluster, role, rotator, value):
    new = credential(value)

    rotator.set(new, OLD, Lease())

    assert rotator.probe(new) is Answer.WORKS
    cluster.connect(role, value).close()


@pytest.mark.parametrize("value", ["", "ﬁne ligature", "soft\u00adhyphen", "zero\0byte", "🔑🔑🔑"])
def test_a_password_on_which_drivers_disagree_is_refused_before_anything(rotator, value):
    with pytest.raises(ValueRefusedError, match="SASLprep") as refused:
        rotator.set(credential(value), OLD, Lease())

    assert not value or value not in str(refused.value)
    assert rotator.probe(OLD) is Answer.WORKS


@pytest.mark.parametrize("confirmation", [1, 2])
def test_a_lost_lease_changes_nothing(cluster, role, rotator, confirmation):
    before = cluster.password_of(role)

    with pytest.raises(LeaseLostError):
        rotator.set(NEW, OLD, Lease(lost_at=confirmation))

    assert cluster.password_of(role) == before


def test_a_lease_that_is_about_to_end_changes_nothing(cluster, role, rotator):
    before = cluster.password_of(role)

    with pytest.raises(TargetUnknownError, match="lease"):
        rotator.set(NEW, OLD, Lease(2.5))

    assert cluster.password_of(role) == before


def test_the_server_ends_the_transaction_of_a_paused_process(cluster, role, rotator):
    """The process is paused between its last look at the lease and the commit."""
    before = cluster.password_of(role)
    lease = Lease()

    def seconds_left():
        # The second confirmation is the last; the server waits for half of these seconds.
        if lease.confirmed == 2:
            wait_for(lambda: not cluster.execute(OPEN_TRANSACTIONS))
        return 3.2

    lease.seconds_left = seconds_left
    with pytest.raises(TargetUnknownError):
        rotator.set(NEW, OLD, lease)

    assert lease.confirmed == 2
    assert cluster.password_of(role) == before


def test_two_changes_of_one_role_at_once_end_with_the_password_of_one(cluster, role):
    rotators = [built(PostgresqlRole, cluster.target | {"username": role}) for _ in range(2)]
    news = [credential("password-Of-one"), credential("password-Of-the-other")]
    together = threading.Barrier(2, timeout=20)
    succeeded = []

    def change(rotator, new):
        together.wait()
        with contextlib.suppress(TargetUnknownError):
            rotator.set(new, OLD, Lease())
            succeeded.append(new)

    threads = [
        threading.Thread(target=change, args=pair) for pair in zip(rotators, news, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(rotators[0].probe(new) for new in news) == [Answer.REFUSED, Answer.WORKS]
    assert any(rotators[0].probe(new) is Answer.WORKS for new in succeeded)


def test_a_change_that_collides_says_so(cluster, role, rotator):
    with psycopg.connect(cluster.admin_url) as other:
        other.execute(f"ALTER ROLE {role} CONNECTION LIMIT 7")
        waits = threading.Timer(0.5, other.commit)
        waits.start()
        with pytest.raises(TargetUnknownError) as raised:
            rotator.set(NEW, OLD, Lease())
        waits.join()

    assert raised.value.reason == (
        "another session changed the role at the same moment (SQLSTATE XX000)"
    )
    assert rotator.probe(OLD) is Answer.WORKS


def test_errors_name_the_cause_and_hold_neither_value_nor_verifier(cluster, role):
    gone = built(PostgresqlRole, cluster.target | {"username": "no_such_role"})
    wrong = built(PostgresqlRole, cluster.target | {"username": role, "adminUser": role})
    away = built(PostgresqlRole, cluster.target | {"username": role, "port": 1})
    reasons = []

    for rotator in (gone, wrong, away):
        with pytest.raises(TargetUnknownError) as raised:
            rotator.set(NEW, OLD, Lease())
        assert raised.value.__suppress_context__ or raised.value.__context__ is None
        reasons.append(raised.value.reason)

    host = f"{cluster.target['host']}:{cluster.target['port']}"
    assert reasons == [
        "SQLSTATE 42704 (UndefinedObject)",
        f"{host} refuses the credential of {role}",
        f"no connection to {cluster.target['host']}:1 as {cluster.target['adminUser']}",
    ]


def test_the_servers_own_rules_refuse_a_value(own_cluster):
    own_cluster.execute("CREATE ROLE same_password_42 LOGIN")
    own_cluster.execute("ALTER SYSTEM SET session_preload_libraries = 'passwordcheck'")
    own_cluster.reload("session_preload_libraries", "passwordcheck")
    rotator = built(PostgresqlRole, own_cluster.target | {"username": "same_password_42"})
    try:
        with pytest.raises(ValueRefusedError) as refused:
            rotator.set(credential("same_password_42"), None, Lease())
    finally:
        own_cluster.execute("ALTER SYSTEM RESET session_preload_libraries")
        own_cluster.reload("session_preload_libraries", "")
        own_cluster.execute("DROP ROLE same_password_42")

    assert refused.value.rule == "the server's own rules, SQLSTATE 22023 (InvalidParameterValue)"


def test_neither_log_nor_statistics_hold_a_password(own_cluster):
    first, second = credential("first-Of-the.log-test"), credential("second-Of-the.log-test")
    own_cluster.execute("CREATE ROLE logged_role LOGIN")
    own_cluster.execute("CREATE EXTENSION pg_stat_statements")
    rotator = built(PostgresqlRole, own_cluster.target | {"username": "logged_role"})
    try:
        rotator.set(first, None, Lease())
        rotator.discard(first, second, Lease())
        assert rotator.probe(second) is Answer.WORKS
        statements = str(own_cluster.execute("SELECT query FROM pg_stat_statements"))
    finally:
        own_cluster.execute("DROP ROLE logged_role; DROP EXTENSION pg_stat_statements")

    log = (own_cluster.home.path / "postgres.log").read_text()
    for text in (log, statements):
        assert 'ALTER ROLE "logged_role"' in text
        assert "Of-the.log-test" not in text


def test_a_server_that_freezes_at_the_commit_ends_the_wait(own_cluster):
    own_cluster.execute(f"CREATE ROLE frozen_role LOGIN PASSWORD '{OLD.value.reveal()}'")
    rotator = built(PostgresqlRole, own_cluster.target | {"username": "frozen_role"})
    freezer = frozen(own_cluster)
    lease = Lease(4.5, meanwhile=lambda number: freezer.__enter__() if number == 2 else None)
    try:
        with pytest.raises(TargetUnknownError, match="did not answer in time"):
            rotator.set(NEW, OLD, lease)
        assert lease.seconds_left() > 0
    finally:
        freezer.__exit__(None, None, None)

    # Thawed, the server ends the transaction: what was to commit came too late.
    own_cluster.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE application_name = 'compliance-console'"
    )
    assert (rotator.probe(OLD), rotator.probe(NEW)) == (Answer.WORKS, Answer.REFUSED)
    own_cluster.execute("DROP ROLE frozen_role")


def test_a_session_does_not_hide_behind_our_own_name(cluster, role, rotator):
    with cluster.connect(role, OLD.value.reveal(), application_name=probe.NAME) as thief:
        rotator.set(NEW, OLD, Lease())
        assert len(rotator.in_use(OLD)) == 1

        rotator.revoke(OLD, NEW, Lease())

        with pytest.raises(psycopg.OperationalError):
            thief.execute("SELECT 1")


def test_a_commit_needs_more_of_the_lease_than_the_server_waits(cluster, role, rotator):
    before = cluster.password_of(role)
    lease = Lease()

    def shorten(number):
        if number == 2:
            lease.ends_at = time.monotonic() + 5

    lease.meanwhile = shorten
    with pytest.raises(TargetUnknownError, match="lease"):
        rotator.set(NEW, OLD, lease)

    assert cluster.password_of(role) == before


@pytest.mark.django_db
def test_old_sessions_are_seen_and_ended_and_new_ones_survive(cluster, role, rotator):
    with (
        cluster.connect(role, OLD.value.reveal(), application_name="shop") as old_session,
        cluster.connect(cluster.target["adminUser"], cluster.target["adminPassword"].reveal()),
    ):
        rotator.set(NEW, OLD, Lease())
        old = credential(OLD.value.reveal(), superseded_at=timezone.now())
        # Whoever gets the new password logs in later than that.
        cluster.execute("SELECT pg_sleep(0.5)")
        with cluster.connect(role, NEW.value.reveal()) as new_session:
            (usage,) = rotator.in_use(old)
            assert usage.session == str(old_session.info.backend_pid)
            assert usage.who.startswith("shop from ")

            for _ in range(2):
                rotator.revoke(old, NEW, Lease())

            assert rotator.in_use(old) == []
            assert new_session.execute("SELECT 1").fetchone() == (1,)
            with pytest.raises(psycopg.OperationalError):
                old_session.execute("SELECT 1")


@pytest.mark.django_db
def test_ages_are_compared_not_clocks(cluster, role, rotator):
    with cluster.connect(role, OLD.value.reveal()):
        an_hour_ago = timezone.now() - timedelta(hours=1)

        assert rotator.in_use(credential("x", superseded_at=an_hour_ago)) == []
        assert len(rotator.in_use(credential("x", superseded_at=timezone.now()))) == 1


def test_a_password_is_changed_through_verified_encryption(encrypted_cluster, certificate):
    encrypted_cluster.execute("CREATE ROLE over_tls LOGIN")
    settings = {"username": "over_tls", "sslmode": "verify-full"}
    settings |= {"sslRootCert": str(certificate.certificate)}
    rotator = built(PostgresqlRole, encrypted_cluster.target | settings)
    try:
        rotator.set(NEW, None, Lease())
        assert rotator.probe(NEW) is Answer.WORKS
    finally:
        encrypted_cluster.execute("DROP ROLE over_tls")

    stranger = built(PostgresqlRole, rotator.target | {"sslRootCert": None})
    with pytest.raises(TargetUnknownError, match="no connection"):
        stranger.set(NEW, None, Lease())


@pytest.fixture
def administrator(cluster, make_role):
    """One with no more rights than the documentation gives it."""
    name = make_role(options="LOGIN CREATEROLE PASSWORD 'the-Administrators.own'")
    return name, credential("the-Administrators.own").value


def test_an_administrator_who_cannot_see_sessions_does_not_call_them_none(
    cluster, role, administrator
):
    target = cluster.target | {"adminUser": administrator[0], "adminPassword": administrator[1]}
    rotator = built(PostgresqlRole, target | {"username": role})

    with (
        cluster.connect(role, OLD.value.reveal()),
        pytest.raises(TargetUnknownError, match="pg_read_all_stats"),
    ):
        rotator.in_use(OLD)


def test_an_administrator_needs_no_superuser(cluster, role, administrator):
    name, password = administrator
    cluster.execute("GRANT pg_read_all_stats, pg_signal_backend TO {}", name)
    cluster.execute("GRANT {} TO {} WITH ADMIN OPTION", role, name)
    target = cluster.target | {"adminUser": name, "adminPassword": password, "username": role}
    rotator = built(PostgresqlRole, target)

    with cluster.connect(role, OLD.value.reveal()):
        rotator.set(NEW, OLD, Lease())
        assert len(rotator.in_use(OLD)) == 1
        rotator.revoke(OLD, NEW, Lease())

    assert rotator.in_use(OLD) == []
    assert rotator.probe(NEW) is Answer.WORKS


def test_an_administrator_without_the_right_is_told_so(cluster, role, administrator):
    cluster.execute("ALTER ROLE {} NOCREATEROLE", administrator[0])
    target = cluster.target | {"adminUser": administrator[0], "adminPassword": administrator[1]}

    with pytest.raises(TargetUnknownError, match=r"^SQLSTATE 42501 \(InsufficientPrivilege\)$"):
        built(PostgresqlRole, target | {"username": role}).set(NEW, OLD, Lease())


def test_settings_that_cannot_work_are_named(cluster):
    target = built(PostgresqlRole, cluster.target | {"username": "app"}).target
    wrong = {"host": "a,b", "port": 0, "sslmode": "verify-ca", "username": "ü" * 32}

    assert PostgresqlRole.problems(target) == {}
    assert set(PostgresqlRole.problems(target | wrong)) == {*wrong, "sslRootCert"} - {"sslmode"}
    assert set(PostgresqlRole.problems(target | {"sslmode": "maybe"})) == {"sslmode"}
    assert set(PostgresqlRole.problems(target | {"username": target["adminUser"]})) == {"username"}


def test_the_principal_is_the_role_on_its_server_and_no_secret(cluster, rotator, role):
    host = f"{cluster.target['host']}:{cluster.target['port']}"

    assert rotator.principal() == f"postgresql://{host}/{role}"
    assert rotator.next_username("another") == role
