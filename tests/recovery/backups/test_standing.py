from datetime import timedelta

import pytest

from recovery.backups.standing import Standing, age_text

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("standing", "known_for", "problems"),
    [
        (Standing(), 26 * HOUR, []),
        (Standing(), 27 * HOUR, ["There is no backup."]),
        (Standing(26 * HOUR, 26 * HOUR), 90 * DAY, []),
        (Standing(27 * HOUR, 27 * HOUR), 90 * DAY, ["The newest backup is 27 hours old."]),
        (Standing(HOUR), 8 * DAY, []),
        (Standing(HOUR, 8 * DAY), 90 * DAY, []),
        (Standing(HOUR, 9 * DAY), 90 * DAY, ["The newest verified backup is 9 days old."]),
        (Standing(HOUR, HOUR, failure=""), 90 * DAY, ["The last attempt failed."]),
        (Standing(HOUR, HOUR, failure="No room."), DAY, ["The last attempt failed: No room."]),
        (
            Standing(HOUR, HOUR, damage="3 rows are missing."),
            DAY,
            ["The newest backup failed its verification: 3 rows are missing."],
        ),
    ],
)
def test_what_is_amiss_is_said(standing, known_for, problems):
    assert standing.problems(known_for) == problems


def test_who_does_not_ask_for_patience_is_told_at_once():
    assert Standing().problems() == ["There is no backup."]
    assert Standing(HOUR).problems() == [
        "No backup was ever restored to check it: nobody knows that one can be."
    ]


@pytest.mark.parametrize(
    ("age", "words"),
    [
        (timedelta(0), "a minute"),
        (timedelta(minutes=2), "2 minutes"),
        (119 * timedelta(minutes=1), "119 minutes"),
        (47 * HOUR, "47 hours"),
        (2 * DAY, "2 days"),
    ],
)
def test_an_age_is_said_in_the_largest_unit_of_which_there_are_two(age, words):
    assert age_text(age) == words
