"""Scripted hangs: which of the feeds to come stay unfinished until they are released."""

from dataclasses import dataclass

from sandbox.documents.feed_xml import PAYLOADS

UNFINISHED = ("IN_QUEUE", "IN_PROGRESS")


@dataclass(slots=True)
class Hang:
    """The next `times` feeds (None: all that follow) of a seller and type (None: of any) stay in `status`.

    `blocks`: later feeds of the same seller and type wait behind a hung one; otherwise they pass it. `struck` counts
    the feeds that it was applied to.
    """

    status: str = "IN_PROGRESS"
    blocks: bool = False
    seller_id: str | None = None
    feed_type: str | None = None
    times: int | None = 1
    struck: int = 0

    def __post_init__(self) -> None:
        if self.status not in UNFINISHED:
            raise ValueError(f"status {self.status!r} is not one of {', '.join(UNFINISHED)}")
        if self.feed_type is not None and self.feed_type not in PAYLOADS:
            raise ValueError(f"feed type {self.feed_type!r} is not one of {', '.join(PAYLOADS)}")
        if self.times is not None and self.times < 1:
            raise ValueError(f"times must be at least 1, not {self.times}")


class Hangs:
    """The scripted hangs, in the order they were given."""

    def __init__(self) -> None:
        self._hangs: list[Hang] = []

    def add(self, hang: Hang) -> None:
        """Add a hang."""
        self._hangs.append(hang)

    def take_due(self, seller_id: str, feed_type: str) -> Hang | None:
        """Return the hang of a feed that is being created, or None; it counts as struck."""
        for hang in self._hangs:
            is_left = hang.times is None or hang.struck < hang.times
            if is_left and hang.seller_id in (None, seller_id) and hang.feed_type in (None, feed_type):
                hang.struck += 1
                return hang
        return None

    def clear(self) -> None:
        """Remove all hangs; feeds that hang already are not released."""
        self._hangs.clear()
