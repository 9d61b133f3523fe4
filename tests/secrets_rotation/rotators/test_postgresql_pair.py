import secrets

import psycopg
import pytest

from secrets_rotation.exceptions import LeaseLostError, TargetUnknownError
from secrets_rotation.rotators.base import Answer
from secrets_rotation.rotators.postgresql.pair import PostgresqlPair
from tests.secrets_rotation.rotators.conftest import Lease, built, credential


@pytest.fixture
def pair(cluster, make_role):
    """The names of two roles and their group, set up as documented."""
    tag = secrets.token_hex(6)
    group = make_role(f"group_{tag}", "NOLOGIN")
    names = [make_role(f"app_a_{tag}", "LOGIN"), make_role(f"app_b_{tag}", "NOLOGIN")]
    for name in names:
        cluster.execute("GRANT {} TO {}", group, name)
        cluster.execute("ALTER ROLE {} SET ROLE {}", name, group)
    return *names, group


@pytest.fixture
def rotator(cluster, pair):
    settings = {"usernames": list(pair[:2]), "group": pair[2]}
    return built(PostgresqlPair, cluster.target | settings)


@pytest.fixture
def first(pair):
    return credential("the-First.password-1", pair[0], 1)


@pytest.fixture
def second(pair):
    return credential("the-Second.password-2", pair[1], 2)


@pytest.fixture
def overlapping(rotator, first, second):
    """Both passwords work: the second was set while the first is current."""
    rotator.set(first, None, Lease())
    rotator.set(second, first, Lease())
    return rotator


def test_the_roles_take_turns(rotator, pair):
    a, b, _ = pair

    assert [rotator.next_username(name) for name in ("", a, b, "adopted")] == [a, b, a, a]


def test_both_work_until_the_old_one_is_revoked(overlapping, first, second):
    assert [overlapping.probe(each) for each in (first, second)] == [Answer.WORKS] * 2

    for _ in range(2):
        overlapping.revoke(first, second, Lease())

        assert [overlapping.probe(each) for each in (first, second)] == [
            Answer.REFUSED,
            Answer.WORKS,
        ]


def test_setting_twice_ends_as_setting_once(overlapping, first, second):
    overlapping.set(second, first, Lease())

    assert [overlapping.probe(each) for each in (first, second)] == [Answer.WORKS] * 2


def test_what_one_makes_the_other_may_use(cluster, overlapping, first, second, pair):
    with cluster.connect(first.username, first.value.reveal()) as session:
        session.execute(f"CREATE TEMPORARY TABLE made_{pair[2]} ()")
        owner = session.execute("SELECT tableowner FROM pg_tables WHERE tablename LIKE 'made_%'")
        assert owner.fetchone() == (pair[2],)
    with cluster.connect(second.username, second.value.reveal()) as session:
        assert session.execute("SELECT current_user").fetchone() == (pair[2],)


def test_revoking_ends_the_old_sessions_and_leaves_the_others(cluster, overlapping, first, second):
    with (
        cluster.connect(
            first.username, first.value.reveal(), application_name="shop"
        ) as old_session,
        cluster.connect(second.username, second.value.reveal()) as new_session,
    ):
        (usage,) = overlapping.in_use(first)
        assert usage.session == str(old_session.info.backend_pid)
        assert usage.who.startswith("shop from ")
        assert usage.since is not None

        overlapping.revoke(first, second, Lease())

        assert overlapping.in_use(first) == []
        assert new_session.execute("SELECT 1").fetchone() == (1,)
        with pytest.raises(psycopg.OperationalError):
            old_session.execute("SELECT 1")


def test_discarding_locks_the_pending_half_out(cluster, overlapping, first, second):
    with cluster.connect(second.username, second.value.reveal()):
        overlapping.discard(second, first, Lease())

        assert overlapping.in_use(second) == []
    assert overlapping.probe(second) is Answer.REFUSED
    assert overlapping.probe(first) is Answer.WORKS


def test_discarding_what_was_never_set_ends_nobodys_sessions(cluster, overlapping, first, second):
    never_set = credential("never-Set.password", second.username, 3)

    with cluster.connect(second.username, second.value.reveal()) as session:
        overlapping.discard(never_set, first, Lease())

        assert session.execute("SELECT 1").fetchone() == (1,)


def test_the_half_in_use_is_never_touched(cluster, overlapping, first, second):
    before = [cluster.password_of(each.username) for each in (first, second)]
    again = credential("another.Password-3", first.username, 3)

    with pytest.raises(TargetUnknownError, match="is the role in use"):
        overlapping.set(again, first, Lease())
    with pytest.raises(TargetUnknownError, match="is the role in use"):
        overlapping.discard(again, first, Lease())
    with pytest.raises(TargetUnknownError, match="is the role in use"):
        overlapping.revoke(first, again, Lease())
    with pytest.raises(TargetUnknownError, match="is none of the pair"):
        overlapping.set(credential("x", "postgres"), first, Lease())

    assert [cluster.password_of(each.username) for each in (first, second)] == before


def test_a_half_that_should_be_idle_and_is_not_stays_as_it_is(cluster, overlapping, first, second):
    before = cluster.password_of(second.username)

    with (
        cluster.connect(second.username, second.value.reveal(), application_name="cron"),
        pytest.raises(TargetUnknownError, match="should be idle and has sessions: cron from"),
    ):
        overlapping.set(credential("another.Password-3", second.username), first, Lease())

    assert cluster.password_of(second.username) == before


@pytest.mark.parametrize("confirmation", [1, 2])
def test_a_lost_lease_changes_nothing(cluster, overlapping, first, second, confirmation):
    before = cluster.password_of(first.username)

    with pytest.raises(LeaseLostError):
        overlapping.revoke(first, second, Lease(lost_at=confirmation))

    assert cluster.password_of(first.username) == before


@pytest.mark.parametrize(
    ("spoil", "mend", "problem"),
    [
        ("REVOKE {group} FROM {b}", "SELECT", "{b} is not a member of {group}"),
        ("ALTER ROLE {b} RESET ROLE", "SELECT", "{b} does not SET ROLE {group} at login"),
        ("ALTER ROLE {a} SUPERUSER", "SELECT", "{a} is a superuser"),
        ("ALTER ROLE {group} LOGIN", "SELECT", "{group} may log in itself"),
        ("CREATE SCHEMA {b} AUTHORIZATION {b}", "DROP SCHEMA {b}", "{b} owns something itself"),
    ],
)
def test_roles_that_are_no_pair_are_told_why(
    cluster, rotator, first, second, pair, spoil, mend, problem
):
    names = dict(zip(("a", "b", "group"), pair, strict=True))
    cluster.execute(spoil.format(**names))
    try:
        with pytest.raises(TargetUnknownError) as raised:
            rotator.set(second, first, Lease())
    finally:
        cluster.execute(mend.format(**names))

    assert raised.value.reason == (
        f"no pair of roles: {problem.format(**names)} (see docs/security-officer.md)"
    )
    assert cluster.password_of(second.username) is None


def test_roles_that_are_not_there_are_named(cluster, first, second, pair):
    a, b, _ = pair
    settings = {"usernames": [a, b], "group": "no_such_group"}

    with pytest.raises(TargetUnknownError, match=f"no role no_such_group; {a} is not a member"):
        built(PostgresqlPair, cluster.target | settings).set(second, first, Lease())


def test_settings_that_cannot_work_are_named(rotator, pair):
    a, b, _ = pair
    target = rotator.target

    assert PostgresqlPair.problems(target) == {}
    assert PostgresqlPair.problems(target | {"usernames": [a]}).keys() == {"usernames"}
    assert PostgresqlPair.problems(target | {"usernames": [a, a]}).keys() == {"usernames"}
    assert PostgresqlPair.problems(target | {"usernames": [a, 7]}).keys() == {"usernames"}
    assert PostgresqlPair.problems(target | {"group": b}).keys() == {"group"}


def test_the_principal_is_the_same_in_either_order(cluster, rotator, pair):
    a, b, group = pair
    turned = built(PostgresqlPair, cluster.target | {"usernames": [b, a], "group": group})

    assert turned.principal() == rotator.principal()
