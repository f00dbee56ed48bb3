"""The windows of time a run asks Amazon's shipments for, from the run's own times and params."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

# "Up to one month of data in a single report" (developer-docs.amazon.com/sp-api/docs/report-type-values-fba).
LONGEST = timedelta(days=30)
# Amazon refuses an end in the future, and its clock is not ours.
MARGIN = timedelta(minutes=2)
MAX_LOOKBACK_DAYS = 540
# Amazon gives 18 months; a day more than the longest lookback, for a run that begins late.
OLDEST = timedelta(days=MAX_LOOKBACK_DAYS + 1)
_REACH = f"Amazon reports shipments of the last 18 months ({MAX_LOOKBACK_DAYS} days)"


@dataclass(frozen=True)
class Window:
    """A stretch of time, both ends included (UTC)."""

    start: datetime
    end: datetime


def moment(name: str, text: object) -> datetime | None:
    """Read a time given as a param; None and blank mean not given.

    :param name: of the param, for the error
    :param text: ISO 8601; without an offset it is UTC
    :raises ValueError: it is no such time
    """
    if text is None or text == "":
        return None
    if isinstance(text, str):
        try:
            read = datetime.fromisoformat(text.strip()).replace(microsecond=0)
            return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    raise ValueError(
        f"{name} {text!r} is no time in ISO 8601, e.g. 2026-11-23 or 2026-11-23T10:00:00+00:00 (without an offset: UTC)"
    )


def window(
    run_end: datetime,
    *,
    now: datetime,
    configured_days: int,
    start: str | None = None,
    end: str | None = None,
    lookback_days: int | None = None,
) -> Window:
    """The window of a run, cut to the present.

    :param run_end: end of the run's data interval, or when it was to run
    :param now: the present
    :param configured_days: the store's lookback, used without ``start`` and ``lookback_days``
    :param start: begin of the window
    :param end: end of the window instead of ``run_end``
    :param lookback_days: days before the end at which the window begins
    :raises ValueError: there is no such window; the message is for whoever set the params
    """
    if lookback_days is not None and (
        not isinstance(lookback_days, int)
        or isinstance(lookback_days, bool)
        or not 1 <= lookback_days <= MAX_LOOKBACK_DAYS
    ):
        raise ValueError(
            f"lookback_days must be a whole number of days from 1 to {MAX_LOOKBACK_DAYS}, not {lookback_days!r}"
        )
    begins, ends = moment("start", start), moment("end", end) or run_end.astimezone(UTC).replace(microsecond=0)
    if begins and lookback_days is not None:
        raise ValueError("start and lookback_days both set where the window begins; give one of them")
    if ends < now - OLDEST:
        raise ValueError(f"end {_iso(ends)} is too long ago: {_REACH}")
    begins = begins or ends - timedelta(days=configured_days if lookback_days is None else lookback_days)
    if begins >= ends:
        raise ValueError(f"start {_iso(begins)} must be before end {_iso(ends)}")
    cut = min(ends, (now - MARGIN).astimezone(UTC).replace(microsecond=0))
    if begins >= cut:
        raise ValueError(
            f"the window from {_iso(begins)} to {_iso(ends)} has not begun yet; it is now {_iso(now)} "
            "and Amazon knows no shipments of the future"
        )
    if begins < now - OLDEST:
        raise ValueError(f"start {_iso(begins)} is too long ago: {_REACH}")
    return Window(begins, cut)


def pieces(full: Window) -> Iterator[Window]:
    """Cut a window into pieces one report can hold, which share their boundary instants so that no row falls between."""
    start = full.start
    while full.end - start > LONGEST:
        yield Window(start, start + LONGEST)
        start += LONGEST
    yield Window(start, full.end)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="seconds")
