from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from recovery.backups.retention import (
    LONGEST_BREAK,
    Break,
    Candidate,
    Memory,
    Policy,
    Rule,
    decide,
)
from recovery.exceptions import ConfigurationError

NOW = datetime(2026, 11, 23, 3, tzinfo=UTC)
DAY = timedelta(days=1)
DAYS_ONLY = Policy(30, 0, 0)


def backup(days_ago, name=None, **overrides):
    defaults = {"id": name or f"b{days_ago}", "database": "console"}
    return Candidate(taken_at=NOW - days_ago * DAY, **defaults | overrides)


def daily(count, **overrides):
    """One a day, the newest of an hour ago, the second newest verified."""
    return [
        backup(days + 1 / 24, f"b{days}", is_verified=days == 1, **overrides)
        for days in range(count)
    ]


def dropped(backups, policy=DAYS_ONLY, now=NOW, breaks=()):
    return {each.backup.id for each in decide(backups, policy, now, breaks) if not each.is_kept}


def rules(backups, policy=DAYS_ONLY, now=NOW, breaks=()):
    return {
        each.backup.id: [reason.rule for reason in each.reasons]
        for each in decide(backups, policy, now, breaks)
    }


def test_what_is_younger_than_the_days_is_kept_counted_from_the_newest():
    assert dropped(daily(33)) == {"b30", "b31", "b32"}


def test_a_month_without_new_backups_takes_nothing_away():
    backups = daily(30)

    assert dropped(backups, now=NOW + 400 * DAY) == dropped(backups) == set()


def test_the_newest_of_each_of_the_last_weeks_and_months_is_kept():
    backups = daily(100)

    kept = rules(backups, Policy(2, 3, 4))

    # 23 November 2026 is a Monday; the backups are taken at 02:00.
    assert kept["b0"] == [Rule.NEWEST, Rule.YOUNG, Rule.WEEKLY, Rule.MONTHLY]
    assert [name for name, why in kept.items() if Rule.WEEKLY in why] == ["b0", "b1", "b8"]
    assert [name for name, why in kept.items() if Rule.MONTHLY in why] == [
        "b0",
        "b23",
        "b54",
        "b84",
    ]
    assert kept["b9"] == [Rule.EXPIRED]


def test_weeks_are_iso_weeks_in_utc():
    # Sunday evening in New York is Monday in UTC, and 1 January 2027 is in week 53 of 2026.
    sunday = datetime(2026, 12, 27, 20, tzinfo=timezone(timedelta(hours=-5)))
    backups = [
        Candidate("new year", "console", datetime(2027, 1, 1, tzinfo=UTC), is_verified=True),
        Candidate("sunday", "console", sunday),
        Candidate("week before", "console", datetime(2026, 12, 27, 23, 59, tzinfo=UTC)),
    ]

    decisions = decide(backups, Policy(1, 9, 0), datetime(2027, 1, 2, tzinfo=UTC))

    assert [decision.is_kept for decision in decisions] == [True, False, True]
    assert "week 2026-W53" in decisions[0].words
    assert "week 2026-W52" in decisions[2].words


def test_the_last_verified_is_kept_however_old():
    backups = [backup(0), backup(50), backup(900, is_verified=True), backup(901, is_verified=True)]

    assert rules(backups) == {
        "b0": [Rule.NEWEST, Rule.YOUNG],
        "b50": [Rule.EXPIRED],
        "b900": [Rule.LAST_VERIFIED],
        "b901": [Rule.EXPIRED],
    }


def test_without_a_verified_backup_none_of_the_database_is_dropped():
    backups = [backup(0), backup(500), backup(0, "other", database="other", is_verified=True)]

    assert rules(backups)["b500"] == [Rule.UNVERIFIED]
    assert dropped([*backups, backup(500, "gone", database="other")]) == {"gone"}


def test_pins_are_kept():
    backups = [backup(0, is_verified=True), backup(900, is_pinned=True), backup(901)]

    assert rules(backups)["b900"] == [Rule.PINNED]
    assert dropped(backups) == {"b901"}


def test_a_databases_name_is_compared_whole():
    archive = [backup(0, "new", is_verified=True), backup(90, "old")]
    backups = [replace(each, database="audit") for each in archive]
    backups += [replace(each, id=f"a-{each.id}", database="audit_archive") for each in archive[1:]]

    assert dropped(backups) == {"old"}


def test_kinds_do_not_stand_for_each_other():
    base = [backup(0, "base", kind="base", is_verified=True)]

    assert dropped([*base, backup(90, "logical")]) == set()


def test_a_clock_before_the_newest_backup_drops_nothing_and_says_so():
    decisions = decide(daily(90), DAYS_ONLY, NOW - 2 * timedelta(hours=1))

    assert all(decision.is_kept for decision in decisions)
    assert "the clock (2026-11-23T01:00:00Z) is before the newest backup, b0" in decisions[-1].words


def test_forty_days_that_nobody_watched_are_not_counted():
    jumped = [backup(-40, "after the jump")]
    breaks = (Break(NOW, NOW + 40 * DAY),)

    assert dropped(daily(33) + jumped, now=NOW + 41 * DAY) >= {"b0", "b20"}
    decisions = decide(daily(33) + jumped, DAYS_ONLY, NOW + 41 * DAY, breaks)
    assert [each.backup.id for each in decisions if not each.is_kept] == ["b30", "b31", "b32"]
    assert "only 20 of its 60 days are certain" in decisions[21].words


def test_a_break_is_remembered_and_forgotten_when_the_clock_is_set_right():
    memory = Memory().at(NOW).at(NOW + DAY)
    assert memory == Memory(NOW + DAY)

    ahead = memory.at(NOW + 41 * DAY).at(NOW + 42 * DAY)
    assert ahead.breaks == (Break(NOW + DAY, NOW + 41 * DAY),)

    assert ahead.at(NOW + 2 * DAY) == Memory(NOW + 2 * DAY)


@pytest.mark.parametrize(
    ("days", "weekly", "monthly", "setting"),
    [
        (0, 1, 1, "BACKUP_RETENTION_DAYS"),
        (-1, 1, 1, "BACKUP_RETENTION_DAYS"),
        (10**9, 1, 1, "BACKUP_RETENTION_DAYS"),
        ("thirty", 1, 1, "BACKUP_RETENTION_DAYS"),
        (True, 1, 1, "BACKUP_RETENTION_DAYS"),
        (1, -1, 1, "BACKUP_KEEP_WEEKLY"),
        (1, 1, 1.5, "BACKUP_KEEP_MONTHLY"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_the_settings_name(
    days, weekly, monthly, setting
):
    with pytest.raises(ConfigurationError, match=f"{setting} must be a whole number"):
        Policy(days, weekly, monthly)


# Properties

moments = st.integers(72, 26_000).map(lambda hours: NOW - timedelta(hours=hours))
candidates = st.lists(
    st.builds(
        Candidate,
        id=st.uuids().map(str),
        database=st.sampled_from(["audit", "audit_archive"]),
        taken_at=moments,
        is_verified=st.booleans(),
        is_pinned=st.integers(0, 9).map(lambda one: one == 0),
        kind=st.sampled_from(["logical", "base"]),
    ),
    max_size=40,
    unique_by=lambda each: each.id,
)
policies = st.builds(Policy, st.integers(1, 400), st.integers(0, 20), st.integers(0, 20))
steps = st.timedeltas(min_value=timedelta(days=-2000), max_value=timedelta(days=2000))
gaps = st.lists(
    st.builds(Break, moments, moments).filter(lambda each: each.start <= each.end), max_size=1
)


@given(candidates, policies, steps, gaps)
def test_the_last_verified_the_newest_and_pins_are_never_dropped(backups, policy, step, breaks):
    gone = dropped(backups, policy, NOW + step, breaks)

    for whose in {(each.database, each.kind) for each in backups}:
        alike = [each for each in backups if (each.database, each.kind) == whose]
        verified = [each for each in alike if each.is_verified]
        assert max(alike, key=lambda each: (each.taken_at, each.id)).id not in gone
        if verified:
            assert max(verified, key=lambda each: (each.taken_at, each.id)).id not in gone
        else:
            assert not gone & {each.id for each in alike}
    assert not gone & {each.id for each in backups if each.is_pinned}


@given(candidates, policies, steps, gaps)
def test_a_clock_step_never_drops_more(backups, policy, step, breaks):
    assert dropped(backups, policy, NOW + step, breaks) <= dropped(backups, policy, NOW)


@given(candidates, policies, gaps)
def test_a_second_run_drops_nothing(backups, policy, breaks):
    gone = dropped(backups, policy, breaks=breaks)

    assert (
        dropped([each for each in backups if each.id not in gone], policy, breaks=breaks) == set()
    )


@given(candidates, policies, st.sampled_from(["days", "weekly", "monthly"]), st.integers(0, 50))
def test_a_longer_policy_drops_no_more(backups, policy, name, more):
    longer = replace(policy, **{name: getattr(policy, name) + more})

    assert dropped(backups, longer) <= dropped(backups, policy)


@given(candidates, policies, st.randoms())
def test_neither_order_nor_other_databases_matter(backups, policy, random):
    alone = [each for each in backups if each.database == "audit"]
    shuffled = random.sample(backups, len(backups))

    assert dropped(alone, policy) == dropped(shuffled, policy) & {each.id for each in alone}


@given(
    days=st.integers(5, 40),
    before=st.integers(1, 50),
    after=st.integers(1, 50),
    step=steps,
)
def test_daily_backups_on_a_stepped_clock_are_not_dropped_before_their_time(
    days, before, after, step
):
    """Backups and retention go on after the step; every age is compared with the true one."""
    assume(not timedelta(0) < step <= LONGEST_BREAK - DAY)
    stored, memory, true_times = [], Memory(), {}
    for day in range(before + after):
        truth = NOW + day * DAY
        clock = truth + (step if day >= before else timedelta(0))
        name = f"b{day}"
        true_times[name] = truth
        stored.append(Candidate(name, "console", clock, is_verified=True))
        memory = memory.at(clock)
        gone = dropped(stored, Policy(days, 0, 0), clock, memory.breaks)
        assert all(truth - true_times[name] >= days * DAY for name in gone)
        stored = [each for each in stored if each.id not in gone]
