"""The windows of a run, computed from its end and its params."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fba_operators.shipments.windows import LONGEST, MARGIN, MAX_LOOKBACK_DAYS, Window, moment, pieces, window

NOW = datetime(2026, 11, 23, 12, 15, 40, 123456, tzinfo=UTC)
DAY = timedelta(days=1)


def planned_window(run_end=NOW - DAY, **given_params):
    return window(run_end, now=NOW, configured_days=15, **given_params)


def test_a_run_of_the_past_plans_its_own_interval():
    end = datetime(2026, 9, 1, tzinfo=UTC)
    assert planned_window(end) == Window(end - 15 * DAY, end)
    assert planned_window(end, lookback_days=1) == Window(end - DAY, end)


def test_the_end_is_clamped_to_the_present_and_the_start_is_not_moved():
    end = datetime(2026, 11, 23, 12, 15, tzinfo=UTC)
    cut = datetime(2026, 11, 23, 12, 13, 40, tzinfo=UTC)
    assert planned_window(end) == Window(end - 15 * DAY, cut)
    assert planned_window(end, end="2026-11-24", start="2026-11-20") == Window(datetime(2026, 11, 20, tzinfo=UTC), cut)


@pytest.mark.parametrize(
    ("params", "start", "end"),
    [
        ({"start": "2026-11-01"}, "2026-11-01T00:00:00+00:00", "2026-11-22T12:15:40+00:00"),
        ({"end": "2026-11-01T06:00"}, "2026-10-17T06:00:00+00:00", "2026-11-01T06:00:00+00:00"),
        ({"end": "2026-11-01", "lookback_days": 2}, "2026-10-30T00:00:00+00:00", "2026-11-01T00:00:00+00:00"),
        (
            {"start": "2026-11-01T09:00:00+09:00", "end": "2026-11-02T00:00:00Z"},
            "2026-11-01T00:00:00+00:00",
            "2026-11-02T00:00:00+00:00",
        ),
        ({"start": "", "end": None, "lookback_days": None}, "2026-11-07T12:15:40+00:00", "2026-11-22T12:15:40+00:00"),
    ],
)
def test_start_and_end(params, start, end):
    planned = planned_window(**params)
    assert (planned.start.isoformat(), planned.end.isoformat()) == (start, end)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"start": "2026-11-20", "end": "2026-11-20"}, "must be before end"),
        ({"start": "2026-11-23"}, "start 2026-11-23T00:00:00.* must be before end 2026-11-22"),
        ({"start": "yesterday"}, "start 'yesterday' is no time in ISO 8601"),
        ({"end": "20.11.2026"}, "end '20.11.2026' is no time"),
        ({"end": 20261120}, "end 20261120 is no time"),
        ({"start": "2026-11-01T09:00:00+09:00", "end": "2026-11-02Z"}, "end '2026-11-02Z' is no time in ISO 8601"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "is no time"),
        ({"start": "2025-01-01"}, "start 2025-01-01.* too long ago: .* 18 months"),
        ({"end": "0001-01-02"}, "end 0001-01-02.* too long ago"),
        ({"start": "2026-12-01", "end": "2026-12-02"}, "has not begun yet"),
        ({"end": "2027-12-01"}, "has not begun yet"),
        ({"start": "2026-11-01", "lookback_days": 3}, "give one of them"),
        ({"lookback_days": 0}, "from 1 to 540, not 0"),
        ({"lookback_days": 541}, "from 1 to 540"),
        ({"lookback_days": "1"}, "from 1 to 540, not '1'"),
        ({"lookback_days": True}, "from 1 to 540"),
    ],
)
def test_an_invalid_window_is_refused_with_a_message(params, message):
    with pytest.raises(ValueError, match=message):
        planned_window(**params)


def test_the_longest_lookback_is_possible_in_a_run_that_begins_late():
    late = planned_window(NOW - timedelta(hours=20), lookback_days=MAX_LOOKBACK_DAYS)
    assert late.end - late.start == MAX_LOOKBACK_DAYS * DAY
    with pytest.raises(ValueError, match="too long ago"):
        planned_window(NOW, start=(NOW - 541 * DAY - timedelta(seconds=1)).isoformat())


@given(st.timedeltas(timedelta(seconds=1), 541 * DAY))
def test_pieces_cover_the_window_and_share_their_boundaries(length):
    full = Window(NOW - length, NOW)
    cut = list(pieces(full))
    assert (cut[0].start, cut[-1].end) == (full.start, full.end)
    assert all(one.end == other.start for one, other in itertools.pairwise(cut))
    assert all(timedelta(0) < each.end - each.start <= LONGEST for each in cut)
    assert len(cut) == -(-length // LONGEST)


@given(st.datetimes(datetime(2025, 6, 1), NOW.replace(tzinfo=None)), st.integers(1, 540))
def test_a_window_ends_before_the_present_or_is_refused(run_end, days):
    run_end = run_end.replace(tzinfo=UTC)
    try:
        planned = planned_window(run_end, lookback_days=days)
    except ValueError as error:
        assert "too long ago" in str(error)
        assert run_end - days * DAY < NOW - 540 * DAY
    else:
        assert planned.start < planned.end <= min(run_end, NOW - MARGIN)
        assert planned.start == run_end.replace(microsecond=0) - days * DAY


def test_a_time_without_an_offset_is_utc():
    assert moment("start", " 2026-11-23T10:00:00.5 ") == datetime(2026, 11, 23, 10, tzinfo=UTC)
    assert moment("start", "2026-11-23T10:00:00-05:00") == datetime(2026, 11, 23, 15, tzinfo=UTC)
    assert moment("start", None) is None
