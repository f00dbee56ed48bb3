"""What the parts of `World` share: its lock, its clock and its desks."""

import threading
from datetime import UTC, datetime

from sandbox.clock import Clock, EventQueue
from sandbox.merchant.merchant import Catalogue, Merchant
from sandbox.merchant.orders import OrderDesk
from sandbox.world.feed_desk import FeedDesk


class WorldPart:
    """The base of the classes that `World` inherits from."""

    lock: threading.RLock
    clock: Clock
    events: EventQueue
    order_desk: OrderDesk
    feed_desk: FeedDesk

    def merchant(self, seller_id: str) -> Merchant:
        """Return a seller; ValueError if there is none with this id."""
        raise NotImplementedError

    def settle(self) -> None:
        """Run every event that is due."""
        raise NotImplementedError

    def _catalogue(self, seller_id: str, marketplace_id: str) -> Catalogue:
        raise NotImplementedError


def timestamp(value: str | datetime) -> float:
    """Return an ISO 8601 text or a datetime in seconds since 1970; without an offset it is in UTC."""
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
