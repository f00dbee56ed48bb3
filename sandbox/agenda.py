"""What is going to happen by itself: actions that wait for a moment of the clock."""

import heapq
from collections.abc import Callable
from itertools import count

from sandbox.clock import Clock

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
