"""The deadline of a batch, and whether another picture would be finished by then."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from ..errors import SettingsError

MAX_HOURS: Final = 8784  # a leap year
_CLOCK: Final = "%H:%M"
_DATE: Final = "%Y-%m-%d %H:%M"


@dataclass
class Deadline:
    """The end of a batch, and how long its pictures took so far.

    Attributes
    ----------
    at : datetime or None
        With time zone; None if there is no hurry.
    megapixels, seconds : float
        Of all pictures finished so far. A picture's seconds are those between its start and its end, so they hold
        whatever was painted beside it; a picture that is started now shares the machine with as many.
    """

    at: datetime | None
    megapixels: float = 0.0
    seconds: float = 0.0

    @classmethod
    def parse(cls, finish_by: str | None, max_hours: float | None, now: datetime) -> "Deadline":
        """Read `--finish-by` and `--max-hours`; of both, the earlier counts.

        Parameters
        ----------
        finish_by : str, optional
            The next `07:00`, or `2026-11-22 07:00`; local time.
        now : datetime
            Local if it has no time zone.

        Raises
        ------
        SettingsError
            If there is no such time, or it has passed.
        """
        now = now.astimezone()
        ends = []
        if finish_by is not None:
            ends.append(_moment(finish_by, now))
        if max_hours is not None:
            ends.append(now + _hours(max_hours))
        return cls(min(ends, default=None))

    def learn(self, megapixels: float, seconds: float) -> None:
        """Take note of a finished picture."""
        self.megapixels += megapixels
        self.seconds += seconds

    def allows(self, megapixels: float, now: datetime) -> bool:
        """Say whether a picture would be finished in time, judged by those before it; the first only has to start."""
        if self.at is None:
            return True
        needed = megapixels * self.seconds / self.megapixels if self.megapixels else 0.0
        return now.astimezone() < self.at and needed <= (self.at - now.astimezone()).total_seconds()


def _moment(text: str, now: datetime) -> datetime:
    for form, resolve in ((_CLOCK, _next), (_DATE, _local)):
        try:
            found = resolve(datetime.strptime(text.strip(), form), now)
        except (ValueError, OverflowError):  # OverflowError: a year that local time does not reach
            continue
        if found <= now:
            raise SettingsError(f"--finish-by: got {text!r}, which has passed; wanted a time in the future")
        return found
    raise SettingsError(f"--finish-by: got {text!r}, wanted a time such as 07:00 or '2026-11-22 07:00'")


def _next(clock: datetime, now: datetime) -> datetime:
    """When the clock shows this next; the day is added before the time zone, which may change at night."""
    today = datetime.combine(now.date(), clock.time())
    return today.astimezone() if today.astimezone() > now else (today + timedelta(days=1)).astimezone()


def _local(found: datetime, _now: datetime) -> datetime:
    return found.astimezone()


def _hours(hours: float) -> timedelta:
    if not (math.isfinite(hours) and 0 < hours <= MAX_HOURS):
        raise SettingsError(f"--max-hours: got {hours:g}, wanted a number above 0 and at most {MAX_HOURS}")
    return timedelta(hours=hours)
