"""The sandbox's clock: simulated time for waiting, wall time for timestamps and expiry, and a queue of timed events."""

import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count


class Clock:
    """Simulated seconds, `speed` of them per real second, plus the seconds skipped with `advance`.

    Processing times, cooldowns, caches and rate limits use simulated time (`waited`). Timestamps in answers and the
    expiry of access tokens, signed URLs and page tokens use wall time (`wall`). Ids of reports and feeds count up from
    `started_ms`, so that a restarted sandbox does not reuse ids that a warehouse has already stored.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._since = time.monotonic()
        self._base = 0.0
        self._speed = 1.0
        self.ahead = 0.0
        self._changed = self.wall()
        self.started_ms = int(self._changed * 1000)
        self.set_speed(speed)

    @property
    def speed(self) -> float:
        """Simulated seconds per real second."""
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Set the simulated seconds per real second from now on; ValueError unless `speed` > 0."""
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed}")
        self._base = self.waited()
        self._since = time.monotonic()
        self._speed = float(speed)
        self._changed = self.wall()

    def set_ahead(self, seconds: float) -> None:
        """Let Amazon's clock be this many seconds ahead of this machine's; negative is behind."""
        self.ahead = float(seconds)
        self._changed = self.wall()

    def advance(self, seconds: float) -> None:
        """Skip `seconds` of simulated time; ValueError if negative."""
        if seconds < 0:
            raise ValueError(f"cannot advance the clock by {seconds} s: it must not be negative")
        self._base += seconds
        self._changed = self.wall()

    def waited(self) -> float:
        """Simulated seconds since the start."""
        return self._base + (time.monotonic() - self._since) * self._speed

    def wall_at(self, waited: float) -> float:
        """The wall time at which a simulated second was reached; for a skipped one, when it was skipped."""
        return max(self._changed, self.wall() - (self.waited() - waited) / self._speed)

    def wall(self) -> float:
        """Amazon's wall time in seconds since 1970: this machine's, plus what Amazon's clock is ahead of it."""
        return time.time() + self.ahead


def iso(moment: float) -> str:
    """Format a wall time (seconds since 1970) as Amazon does: `2026-11-23T19:30:00+00:00`."""
    return datetime.fromtimestamp(int(moment), UTC).isoformat()


def iso_z(moment: float) -> str:
    """Format a wall time as most of Amazon's JSON answers do: `2026-11-23T19:30:00Z`."""
    return iso(moment).replace("+00:00", "Z")


def iso_for_country(moment: float, country: str) -> str:
    """Format a wall time as the shipments report does: with `+09:00` in Japan, with `+00:00` elsewhere."""
    if country != "JP":
        return iso(moment)
    return datetime.fromtimestamp(int(moment), timezone(timedelta(hours=9))).isoformat()


Callback = Callable[[float], None]


class EventQueue:
    """Callbacks, each due at a simulated second. Not thread-safe: callers hold the world's lock."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._sequence = count()
        self._entries: list[tuple[float, int, Callback]] = []

    def schedule(self, due: float, callback: Callback) -> None:
        """Call `callback(due)` once the clock reaches `due` (simulated seconds)."""
        heapq.heappush(self._entries, (due, next(self._sequence), callback))

    def run_due(self) -> None:
        """Call everything that is due by now, earliest first."""
        while self._entries and self._entries[0][0] <= self.clock.waited():
            due, _, callback = heapq.heappop(self._entries)
            callback(due)
