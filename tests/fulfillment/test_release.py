"""When a request is sent: automatic sending, the hold, and business hours."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.fulfillment.release import due, is_open, next_opening
from fba_operators.settings.models import BusinessHours
from tests.fulfillment.examples import CREATED, DEFAULT, GOOD, store


def hours(timezone="America/New_York", start="09:00", end="17:00", **keys) -> BusinessHours:
    return BusinessHours.model_validate({"timezone": timezone, "from": start, "to": end, **keys})


NY, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
AUTO = {"send_automatically": True}


def test_what_is_not_sent_automatically_waits_for_a_run_by_hand():
    waiting = due(GOOD, DEFAULT, CREATED, manual=False)
    assert "triggered by hand" in waiting.reason
    assert waiting.until is None
    assert due(GOOD, DEFAULT, CREATED, manual=True) is None
    assert due(GOOD, store(**AUTO), CREATED, manual=False) is None


def test_a_clock_that_is_behind_the_database_does_not_hold_anything_back():
    assert due(GOOD, store(**AUTO), CREATED - timedelta(seconds=2), manual=False) is None


def test_hold_counts_hours_from_creation():
    held = store(**AUTO, hold_hours=1.5)
    end = CREATED + timedelta(minutes=90)
    waiting = due(GOOD, held, end - timedelta(seconds=1), manual=False)
    assert str(waiting) == "on hold for 1.5 h after it was created; until 2026-11-20 11:00 UTC"
    assert waiting.until == end
    assert due(GOOD, held, end, manual=False) is None
    assert due(GOOD, held, CREATED, manual=False, ignore_hold=True) is None
    assert due(GOOD, held, CREATED, manual=True) == due(GOOD, held, CREATED, manual=False)


@pytest.mark.parametrize(
    ("zone", "created", "ends"),
    [
        (NY, datetime(2026, 3, 7, 12), datetime(2026, 3, 8, 13)),  # one hour is skipped that night
        (NY, datetime(2026, 10, 31, 12), datetime(2026, 11, 1, 11)),
        (BERLIN, datetime(2026, 3, 28, 12), datetime(2026, 3, 29, 13)),
        (BERLIN, datetime(2026, 10, 24, 12), datetime(2026, 10, 25, 11)),
    ],
)
def test_a_hold_of_24_hours_is_24_hours_across_a_clock_change(zone, created, ends):
    request = replace(GOOD, created_at=created.replace(tzinfo=zone))
    waiting = due(request, store(**AUTO, hold_hours=24), created.replace(tzinfo=zone), manual=False)
    assert waiting.until == ends.replace(tzinfo=zone)
    assert waiting.until - request.created_at.astimezone(UTC) == timedelta(hours=24)


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        # before and after both clock changes: 09:00 local time is another hour in UTC each time
        (NY, "2026-03-06 22:00", "2026-03-09 13:00"),
        (NY, "2026-03-07 14:00", "2026-03-09 13:00"),
        (NY, "2026-10-30 21:00", "2026-11-02 14:00"),
        (NY, "2026-11-01 05:30", "2026-11-02 14:00"),
        (BERLIN, "2026-03-27 16:00", "2026-03-30 07:00"),
        (BERLIN, "2026-10-23 15:00", "2026-10-26 08:00"),
        (BERLIN, "2026-10-25 00:30", "2026-10-26 08:00"),
        # across midnight, in the store's day and not in UTC's
        (NY, "2026-11-24 03:00", "2026-11-24 14:00"),
        (BERLIN, "2026-11-23 23:30", "2026-11-24 08:00"),
        # Christmas Eve evening; 25 December is a holiday and a Friday
        (NY, "2026-12-24 22:30", "2026-12-28 14:00"),
        (BERLIN, "2026-12-25 10:00", "2026-12-28 08:00"),
    ],
)
def test_business_hours_are_in_local_time(zone, now, opens):
    now, opens = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, opens))
    rules = store(**AUTO, business_hours=hours(zone.key, holidays=["2026-12-25"]))
    waiting = due(GOOD, rules, now, manual=False)
    assert waiting.until == opens
    assert waiting.reason == f"outside business hours (mon, tue, wed, thu, fri 09:00-17:00 {zone.key})"
    assert opens.astimezone(zone).strftime("%H:%M") == "09:00"
    assert due(GOOD, rules, opens, manual=False) is None
    assert due(GOOD, rules, now, manual=False, ignore_business_hours=True) is None


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-23 13:59:59", False),
        ("2026-11-23 14:00:00", True),
        ("2026-11-23 21:59:59", True),
        ("2026-11-23 22:00:00", False),
        ("2026-11-22 15:00:00", False),
        ("2026-11-26 15:00:00", False),
    ],
)
def test_open_from_the_first_minute_to_before_the_last(at, expected):
    calendar = hours(holidays=["2026-11-26"])
    assert is_open(calendar, datetime.fromisoformat(at).replace(tzinfo=UTC)) is expected


@pytest.mark.parametrize(
    ("zone", "start", "end", "now", "opens"),
    [
        # 02:30 does not exist that night: the store opens when the clock jumps to 03:00
        ("America/New_York", "02:30", "04:00", "2026-03-08 06:00", "2026-03-08 07:00"),
        ("Europe/Berlin", "02:30", "04:00", "2026-03-29 00:00", "2026-03-29 01:00"),
        # 01:00-01:59 (02:00-02:59) comes twice, and so do the business hours in it
        ("America/New_York", "01:15", "01:45", "2026-11-01 05:45", "2026-11-01 06:15"),
        ("Europe/Berlin", "02:15", "02:45", "2026-10-25 00:45", "2026-10-25 01:15"),
        ("America/New_York", "00:30", "01:30", "2026-11-01 05:30", "2026-11-01 06:00"),
        # a full day, to midnight
        ("Europe/Berlin", "00:00", "24:00", "2026-10-25 22:59", "2026-10-25 22:59"),
        ("Europe/Berlin", "00:00", "24:00", "2026-10-25 23:00", "2026-10-31 23:00"),
    ],
)
def test_business_hours_during_a_clock_change(zone, start, end, now, opens):
    calendar = hours(zone, start, end, days=["sun"])
    now, opens = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, opens))
    assert next_opening(calendar, now) == opens


def test_a_hold_that_ends_at_night_waits_for_the_morning_with_both_reasons():
    both = store(**AUTO, hold_hours=12, business_hours=hours("UTC", holidays=["2026-11-23"]))
    waiting = due(GOOD, both, CREATED, manual=False)
    assert waiting.until == datetime(2026, 11, 24, 9, tzinfo=UTC)  # Friday 21:30 is over, Monday a holiday
    assert waiting.reason == (
        "on hold for 12 h after it was created and outside business hours (mon, tue, wed, thu, fri 09:00-17:00 UTC)"
    )
    assert due(GOOD, both, CREATED, manual=False, ignore_hold=True) is None
    held = due(GOOD, both, CREATED, manual=False, ignore_business_hours=True)
    assert held.until == CREATED + timedelta(hours=12)


def test_a_store_that_never_opens_gives_no_time_to_wait_for():
    days = [(datetime(2026, 1, 1) + timedelta(days=n)).date() for n in range(5 * 366)]
    never = store(**AUTO, business_hours=hours(holidays=days))
    waiting = due(GOOD, never, CREATED, manual=False)
    assert "outside business hours" in waiting.reason
    assert waiting.until is None


WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
clock = st.times().map("{:%H:%M}".format)


@settings(max_examples=80, deadline=None)
@given(
    zone=st.sampled_from(
        ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata"]
    ),
    window=st.tuples(clock, clock | st.just("24:00")).filter(lambda pair: pair[0] < pair[1]),
    days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True),
    change=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"]),
    away=st.timedeltas(min_value=timedelta(days=-3), max_value=timedelta(days=2)),
    hold=st.integers(0, 48),
)
def test_until_is_the_first_moment_at_which_it_is_due(*, zone, window, days, change, away, hold):
    now = datetime.fromisoformat(change).replace(tzinfo=UTC) + away
    rules = store(**AUTO, hold_hours=hold, business_hours=hours(zone, *window, days=days))
    request = replace(GOOD, created_at=now - timedelta(hours=12))
    waiting = due(request, rules, now, manual=False)
    if waiting is None:
        return
    assert waiting.until > now
    assert due(request, rules, waiting.until, manual=False) is None
    for sample in range(1, 16):
        between = now + (waiting.until - now) * sample / 16
        assert due(request, rules, between, manual=False).until == waiting.until
    assert due(request, rules, waiting.until - timedelta(microseconds=1), manual=False) is not None
