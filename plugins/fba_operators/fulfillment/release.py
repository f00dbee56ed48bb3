"""When a request may be sent: hold, business hours, and who started the run."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from fba_operators.fulfillment.request import FulfillmentRequest
from fba_operators.settings.models import BusinessHours, Fulfillment


@dataclass(frozen=True)
class Waiting:
    """Why a request is not sent now, and when it can be (UTC; None where no time is set)."""

    reason: str
    until: datetime | None = None

    def __str__(self) -> str:
        return f"{self.reason}; until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else self.reason


def due(
    request: FulfillmentRequest,
    settings: Fulfillment,
    now: datetime,
    *,
    manual: bool,
    ignore_hold: bool = False,
    ignore_business_hours: bool = False,
) -> Waiting | None:
    """Decide whether a request may be sent now: None, or why not and the first moment at which it may.

    :param now: the clock at claiming, with a time zone
    :param manual: the run was triggered by hand
    """
    if not settings.send_automatically and not manual:
        return Waiting("this store sends only in runs triggered by hand (fulfillment.send_automatically is false)")
    now = now.astimezone(UTC)
    free = now
    reasons = []
    if settings.hold_hours and not ignore_hold:
        free = max(now, request.created_at.astimezone(UTC) + timedelta(hours=settings.hold_hours))
        if free > now:
            reasons.append(f"on hold for {settings.hold_hours:g} h after it was created")
    opening: datetime | None = free
    if settings.business_hours and not ignore_business_hours:
        opening = next_opening(settings.business_hours, free)
        if opening != free:
            reasons.append(f"outside business hours ({describe(settings.business_hours)})")
    return Waiting(" and ".join(reasons), opening) if reasons else None


def describe(hours: BusinessHours) -> str:
    """Business hours in short, e.g. ``mon, tue 09:00-17:00 America/New_York``."""
    return f"{', '.join(hours.days)} {hours.opens}-{hours.closes} {hours.timezone}"


def is_open(hours: BusinessHours, moment: datetime) -> bool:
    """Whether the store is open at a moment, in its local time."""
    local = moment.astimezone(ZoneInfo(hours.timezone))
    return _is_business_day(hours, local.date()) and hours.opens <= f"{local:%H:%M}" < hours.closes


def _is_business_day(hours: BusinessHours, day: date) -> bool:
    return ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()] in hours.days and day not in hours.holidays


@lru_cache(maxsize=256)  # thousands of requests wait for the same opening
def _first_open_minute(hours: BusinessHours, minute: datetime) -> datetime | None:
    zone = ZoneInfo(hours.timezone)
    end = minute + timedelta(days=3 * 366)
    while minute < end:
        if is_open(hours, minute):
            return minute
        day = minute.astimezone(zone).date()
        midnight = datetime.combine(day + timedelta(days=1), time.min, zone).astimezone(UTC)
        # Minute by minute inside a business day: near a change to or from summer time a local time can be missing or occur twice.
        minute = minute + timedelta(minutes=1) if _is_business_day(hours, day) or midnight <= minute else midnight
    return None


def next_opening(hours: BusinessHours, moment: datetime) -> datetime | None:
    """The first moment (UTC), not before the given one, at which the store is open; None if that is over three years away."""
    moment = moment.astimezone(UTC)
    if is_open(hours, moment):
        return moment
    minute = moment.replace(second=0, microsecond=0)
    return _first_open_minute(hours, minute + timedelta(minutes=1) if minute < moment else minute)
