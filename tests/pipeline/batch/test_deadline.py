"""Deadlines: which moment is meant, and which pictures are still taken. The time zone is that of Berlin."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muralist.pipeline.batch.deadline import Deadline
from muralist.pipeline.errors import SettingsError

EVENING = datetime(2026, 11, 21, 22, 30)
WINTER, SUMMER = timezone(timedelta(hours=1)), timezone(timedelta(hours=2))


@pytest.fixture(scope="module", autouse=True)
def berlin():
    """Clocks are put forward on 29 March 2026 and back on 25 October."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "now", "at"),
    [
        ("07:00", EVENING, datetime(2026, 11, 22, 7, tzinfo=WINTER)),
        ("7:00", EVENING, datetime(2026, 11, 22, 7, tzinfo=WINTER)),
        ("23:00", EVENING, datetime(2026, 11, 21, 23, tzinfo=WINTER)),
        ("22:30", EVENING, datetime(2026, 11, 22, 22, 30, tzinfo=WINTER)),
        (" 2026-11-23 07:05 ", EVENING, datetime(2026, 11, 23, 7, 5, tzinfo=WINTER)),
        ("07:00", datetime(2026, 12, 31, 8), datetime(2027, 1, 1, 7, tzinfo=WINTER)),
        ("07:00", datetime(2026, 3, 28, 22), datetime(2026, 3, 29, 7, tzinfo=SUMMER)),
        ("07:00", datetime(2026, 10, 24, 22), datetime(2026, 10, 25, 7, tzinfo=WINTER)),
        ("07:00", datetime(2026, 11, 21, 21, 30, tzinfo=UTC), datetime(2026, 11, 22, 7, tzinfo=WINTER)),
    ],
)
def test_a_time_is_the_next_one(text, now, at):
    """Local time, today or tomorrow, also over the end of a year and of summer; or on a day that is named."""
    assert Deadline.parse(text, None, now).at == at


def test_hours_count_from_now():
    """They are hours that pass, also in a night in which the clocks are changed."""
    assert Deadline.parse(None, 1.5, EVENING).at == datetime(2026, 11, 22, tzinfo=WINTER)
    assert Deadline.parse(None, 9, datetime(2026, 3, 28, 22)).at == datetime(2026, 3, 29, 8, tzinfo=SUMMER)


def test_the_earlier_one_counts():
    """If both are given."""
    assert Deadline.parse("07:00", 2, EVENING) == Deadline.parse(None, 2, EVENING)
    assert Deadline.parse("07:00", 20, EVENING) == Deadline.parse("07:00", None, EVENING)


@pytest.mark.parametrize(
    "text", ["25:00", "07:60", "7", "07.00", "07:00:00", "tomorrow", "", "2026-02-30 07:00", "0001-01-01 00:00"]
)
def test_what_is_no_time_is_refused(text):
    """With examples of what is; a year that no clock reaches counts as none or as passed."""
    with pytest.raises(SettingsError, match=rf"^--finish-by: got {text!r}, "):
        Deadline.parse(text, None, EVENING)


@pytest.mark.parametrize("text", ["2026-11-21 22:30", "2025-11-22 07:00"])
def test_a_time_that_has_passed_is_refused(text):
    """A batch that would paint nothing was not meant."""
    with pytest.raises(SettingsError, match=rf"^--finish-by: got {text!r}, (?!.*07:00 or )"):
        Deadline.parse(text, None, EVENING)


@pytest.mark.parametrize("hours", [0, -1, float("nan"), float("inf"), 1e300])
def test_hours_that_are_none_are_refused(hours):
    """Nothing, less than nothing, and more than a year."""
    with pytest.raises(SettingsError, match=r"^--max-hours: got .*\b8784$"):
        Deadline.parse(None, hours, EVENING)


def test_without_a_deadline_everything_is_taken():
    """However large."""
    deadline = Deadline.parse(None, None, EVENING)
    deadline.learn(1, 1e9)
    assert deadline.allows(1e9, EVENING)


def test_a_picture_is_taken_if_it_will_be_finished():
    """At the rate of those before: here ten seconds a megapixel."""
    deadline = Deadline.parse(None, 1, EVENING)
    deadline.learn(2, 15)
    deadline.learn(1, 15)
    assert deadline.allows(360, EVENING)
    assert not deadline.allows(361, EVENING)
    later = EVENING + timedelta(minutes=59)
    assert deadline.allows(6, later)
    assert not deadline.allows(7, later)


def test_without_experience_there_only_has_to_be_time():
    """The first pictures are taken whatever their size, until the end."""
    deadline = Deadline.parse(None, 1, EVENING)
    assert deadline.allows(1e6, EVENING + timedelta(minutes=59))
    assert not deadline.allows(1e-6, EVENING + timedelta(minutes=60))
    assert not deadline.allows(1e-6, EVENING + timedelta(hours=5))


@given(st.floats(0.01, 1e3), st.floats(0, 1e5), st.floats(0.01, 1e3), st.floats(0.01, 100), st.floats(0, 100))
def test_smaller_and_earlier_is_never_worse(megapixels, seconds, size, hours, passed):
    """A picture that is taken would also be taken if it were smaller, or earlier in the night."""
    deadline = Deadline.parse(None, hours, EVENING)
    deadline.learn(megapixels, seconds)
    if deadline.allows(size, EVENING + timedelta(hours=passed)):
        assert deadline.allows(size / 2, EVENING + timedelta(hours=passed))
        assert deadline.allows(size, EVENING + timedelta(hours=passed / 2))
