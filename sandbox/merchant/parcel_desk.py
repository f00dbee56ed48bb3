"""All parcels of fulfillment orders: their numbers, and their way over time."""

from functools import partial

from sandbox.clock import EventQueue
from sandbox.merchant.order import Order
from sandbox.merchant.parcels import DAY, Parcel, journey
from sandbox.merchant.shipping import Shipment

_FIRST_NUMBER = 212_000_001


class ParcelDesk:
    """The parcels by the number that API 2020-07-01 knows them by. Not thread-safe: callers hold the world's lock."""

    def __init__(self, events: EventQueue) -> None:
        self.events = events
        self.clock = events.clock
        self._by_number: dict[int, tuple[Order, Parcel]] = {}

    def register(self, order: Order) -> None:
        """Give the parcels of an order their numbers."""
        for parcel in order.parcels:
            parcel.number = _FIRST_NUMBER + len(self._by_number)
            self._by_number[parcel.number] = (order, parcel)

    def find(self, seller_id: str, number: int) -> tuple[Order, Parcel] | None:
        """Return a seller's parcel that has left, and its order; None if there is none of this number."""
        found = self._by_number.get(number)
        if found is None or found[0].seller_id != seller_id or found[1].left is None:
            return None
        return found

    def depart(self, order: Order, shipment: Shipment, days: tuple[float, float], due: float) -> None:
        """Let the parcels of a shipment leave at the simulated second `due`; `days` under way are promised."""
        for parcel in shipment.packages:
            parcel.left = shipment.shipped_at or 0.0
            parcel.promised = parcel.left + days[1] * DAY
            parcel.move("IN_TRANSIT", parcel.left)
            self.events.schedule(due + days[1] * DAY, partial(self._pass_promise, parcel))
            for seconds, status in journey(parcel, days):
                self.events.schedule(due + seconds, partial(self._move_when_due, order, parcel, status))
        order.moved = max(order.moved, shipment.shipped_at or 0.0)

    def _move_when_due(self, order: Order, parcel: Parcel, status: str, due: float) -> None:
        if not parcel.is_scripted:
            parcel.move(status, max(parcel.history[-1][1], self.clock.wall_at(due)))
            order.moved = max(order.moved, self.clock.wall_at(due))

    def _pass_promise(self, parcel: Parcel, due: float) -> None:
        """Let the promise be over by wall time too, where simulated time ran faster."""
        if not parcel.is_scripted and parcel.promised is not None:
            parcel.promised = min(parcel.promised, self.clock.wall_at(due))

    def script(self, order: Order, parcel: Parcel, status: str, moment: float) -> None:
        """Set the status or state of a parcel for good, at the wall time `moment`."""
        parcel.is_scripted = True
        parcel.move(status, moment)
        order.moved = max(order.moved, moment)
