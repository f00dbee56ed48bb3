"""A fulfillment order, and the tally of what was asked under its id."""

from dataclasses import dataclass, field

from sandbox.merchant.order_request import Line, OrderRequest
from sandbox.merchant.parcels import Parcel
from sandbox.merchant.shipping import Plan, Shipment

STATUSES = (
    "New",
    "Received",
    "Planning",
    "Processing",
    "Cancelled",
    "Complete",
    "CompletePartialled",
    "Unfulfillable",
    "Invalid",
)
CANCELLABLE_STATUSES = frozenset({"New", "Received", "Planning"})
OPEN_STATUSES = CANCELLABLE_STATUSES | {"Processing"}


@dataclass(slots=True)
class Order:
    """An accepted order.

    `received`, `updated` (its status) and `moved` (its parcels) are wall times. `reserved` is the number of units in stock for each line (by item id); the
    rest is unfulfillable. `status_is_scripted`: a test set its status, so time no longer changes it. `listed_from`: the
    simulated second from which the lists have it. `nth`: how many orders were made under its id by then.
    `waits_for_stock`: its policy is FillAll, and units are missing for which Amazon still looks.
    """

    seller_id: str
    amazon_order_id: str
    request: OrderRequest
    received: float
    updated: float
    reserved: dict[str, int]
    status: str = "Received"
    plan: Plan | None = None
    status_is_scripted: bool = False
    listed_from: float = 0.0
    nth: int = 1
    waits_for_stock: bool = False
    moved: float = 0.0

    def shipped_units(self, item_id: str) -> int:
        """Return how many units of a line have shipped."""
        return sum(
            line.quantity
            for shipment in self.departed_shipments()
            for line in shipment.lines
            if line.item_id == item_id
        )

    @property
    def changed(self) -> float:
        """The wall time of the last change of its status or of a parcel."""
        return max(self.updated, self.moved)

    @property
    def parcels(self) -> list[Parcel]:
        """Its parcels, those that have not left included, in the order of its shipments; none until it is planned."""
        return [parcel for shipment in (self.plan.shipments if self.plan else ()) for parcel in shipment.packages]

    @property
    def is_filled(self) -> bool:
        """Whether every unit is in stock for it."""
        return all(self.reserved[line.item_id] == line.quantity for line in self.request.lines)

    def lost_units(self, line: Line) -> tuple[int, int]:
        """Return how many units of a line were cancelled, and how many cannot be fulfilled."""
        if self.status in {"Cancelled", "Unfulfillable", "Invalid"}:
            missing = line.quantity - self.shipped_units(line.item_id)
            return (missing, 0) if self.status == "Cancelled" else (0, missing)
        return 0, 0 if self.waits_for_stock else line.quantity - self.reserved[line.item_id]

    def visible_shipments(self) -> list[Shipment]:
        """Return the shipments that Amazon shows: those that have left, and all while the order is Processing."""
        if self.plan is None:
            return []
        shows_all = self.status == "Processing" and not self.plan.never_ships
        return [one for one in self.plan.shipments if shows_all or one.shipped_at is not None]

    def departed_shipments(self) -> list[Shipment]:
        """Return the shipments that have left."""
        return [shipment for shipment in self.plan.shipments if shipment.shipped_at is not None] if self.plan else []


@dataclass(slots=True)
class Tally:
    """For one order id: the number of requests, the number of orders created, and the reasons for refusals."""

    times_received: int = 0
    times_created: int = 0
    refusals: list[str] = field(default_factory=list)
