"""Time as the sandbox's Amazon sees it: waiting can be shortened, what is shown and signed cannot."""

import heapq
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from itertools import count


class Clock:
    """Counts the seconds Amazon has been waiting, `speed` of them per real second, plus what was skipped.

    Processing times, cool-downs, caches and rate limits are measured by `waited`. Timestamps in answers and the
    lifetimes of tokens, URLs and page tokens are real and use `wall`. Ids count up from `started_ms`, so that a sandbox
    that is started again does not give out those of before, which a warehouse may know.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._since = time.monotonic()
        self._base = 0.0
        self._speed = 1.0
        self._changed = self.wall()
        self.started_ms = int(self._changed * 1000)
        self.set_speed(speed)

    @property
    def speed(self) -> float:
        """How many waited seconds pass in one real second."""
        return self._speed

    def set_speed(self, speed: float) -> None:
        """Change how fast waiting goes from now on; `speed` > 0, else ValueError."""
        if not speed > 0:
            raise ValueError(f"speed must be more than 0, not {speed}")
        self._base = self.waited()
        self._since = time.monotonic()
        self._speed = float(speed)
        self._changed = self.wall()

    def advance(self, seconds: float) -> None:
        """Let `seconds` ≥ 0 of waiting pass at once, else ValueError."""
        if seconds < 0:
            raise ValueError(f"time only goes forward; cannot advance by {seconds} s")
        self._base += seconds
        self._changed = self.wall()

    def waited(self) -> float:
        """Seconds of waiting since the start."""
        return self._base + (time.monotonic() - self._since) * self._speed

    def wall_at(self, waited: float) -> float:
        """The real time at which a moment of waiting was reached; all that was skipped, when it was skipped."""
        return max(self._changed, self.wall() - (self.waited() - waited) / self._speed)

    @staticmethod
    def wall() -> float:
        """Real time in seconds since 1970."""
        return time.time()


def iso(moment: float) -> str:
    """A moment (seconds since 1970) as Amazon writes it: `2026-11-23T19:30:00+00:00`."""
    return datetime.fromtimestamp(int(moment), UTC).isoformat()


def iso_in(moment: float, country: str) -> str:
    """The same as the shipments report writes it: in Japan with `+09:00`, elsewhere with `+00:00`."""
    if country != "JP":
        return iso(moment)
    return datetime.fromtimestamp(int(moment), timezone(timedelta(hours=9))).isoformat()


Action = Callable[[float], None]


class Agenda:
    """Actions with the waited second at which each is due. Not locked by itself: the world's lock guards it."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._numbers = count()
        self._entries: list[tuple[float, int, Action]] = []

    def at(self, due: float, action: Action) -> None:
        """Note an action; it will be called with `due`, in waited seconds of the clock."""
        heapq.heappush(self._entries, (due, next(self._numbers), action))

    def settle(self) -> None:
        """Do everything that is due by now, in the order in which it was due."""
        while self._entries and self._entries[0][0] <= self.clock.waited():
            due, _, action = heapq.heappop(self._entries)
            action(due)
