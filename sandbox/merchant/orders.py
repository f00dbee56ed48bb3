"""Fulfillment orders: which are accepted, the stock they reserve, and their status over time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from sandbox.clock import EventQueue
from sandbox.merchant.merchant import Item, Merchant
from sandbox.merchant.order_answers import OrderAnswers
from sandbox.merchant.order_request import OrderRequest, Refusal, validate
from sandbox.merchant.shipping import Plan, Shipment, ShippingScript, plan_shipments, report_rows

PLANNING_AFTER = 600.0
PROCESSING_AFTER = 3600.0
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

    `received` and `updated` are wall times. `reserved` is the number of units in stock for each line (by item id); the
    rest is unfulfillable. `status_is_scripted`: a test set its status, so time no longer changes it. `listed_from`: the
    simulated second from which listAllFulfillmentOrders has it. `nth`: how many orders were made under its id by then.
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

    def shipped_units(self, item_id: str) -> int:
        """Return how many units of a line have shipped."""
        return sum(
            line.quantity
            for shipment in self.departed_shipments()
            for line in shipment.lines
            if line.item_id == item_id
        )

    def departed_shipments(self) -> list[Shipment]:
        """Return the shipments that have left."""
        return [shipment for shipment in self.plan.shipments if shipment.shipped_at is not None] if self.plan else []


@dataclass(slots=True)
class Tally:
    """For one order id: the number of requests, the number of orders created, and the reasons for refusals."""

    times_received: int = 0
    times_created: int = 0
    refusals: list[str] = field(default_factory=list)


def sellable_units(item: Item) -> int:
    """Return the units of an item that can ship: of its SELLABLE rows, or, without rows, of the FBA Inventory API."""
    if item.afn:
        return sum(quantity for condition, quantity in item.afn if condition == "SELLABLE")
    return item.api_stock or 0


def is_fba_item(item: Item) -> bool:
    """Whether Amazon fulfills the item: it has warehouse rows, FBA Inventory stock or an FBA listing."""
    return bool(item.afn) or item.api_stock is not None or any(c.startswith("AMAZON_") for c, _ in item.offers)


def _reserve(item: Item, quantity: int, now: float) -> None:
    """Remove units from stock, row by row."""
    remaining, stock = quantity, []
    for condition, units in item.afn:
        taken = min(remaining, units) if condition == "SELLABLE" else 0
        stock.append((condition, units - taken))
        remaining -= taken
    item.afn = tuple(stock)
    if item.api_stock is not None:
        item.api_stock = max(0, item.api_stock - quantity)
    item.changed = now


class OrderDesk:
    """All fulfillment orders, keyed by (seller id, order id). Not thread-safe: callers hold the world's lock.

    `seed` determines how orders ship. `list_delay` is the simulated seconds until a new order is listed. `orders` has
    the newest order of each id, `superseded` those whose id a later order took: they ship, but Amazon shows and cancels
    only the newest. `shown_statuses` are shown in place of the actual ones.
    """

    def __init__(self, events: EventQueue, seed: int) -> None:
        self.events = events
        self.clock = events.clock
        self.seed = seed
        self.list_delay = 0.0
        self.page_size = 50
        self.answers = OrderAnswers()
        self.orders: dict[tuple[str, str], Order] = {}
        self.superseded: list[Order] = []
        self.shown_statuses: dict[tuple[str, str], str] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.shipping_scripts: dict[tuple[str, str], ShippingScript] = {}

    def of_seller(self, seller_id: str) -> list[Order]:
        """A seller's orders, oldest first."""
        return [order for (owner, _), order in self.orders.items() if owner == seller_id]

    def made_under(self, order: Order) -> list[Order]:
        """Every order that was made under the id of this one, oldest first."""
        key = (order.seller_id, order.request.order_id)
        return [one for one in self.superseded if (one.seller_id, one.request.order_id) == key] + [self.orders[key]]

    def shown_status(self, order: Order) -> str:
        """Return the status of an order as Amazon shows it."""
        scripted = self.shown_statuses.get((order.seller_id, order.request.order_id))
        return self.answers.status(order.status) if scripted is None else scripted

    def record_request(self, merchant: Merchant, order_id: str, refusals: Iterable[Refusal]) -> list[Refusal]:
        """Count a request for an order and its refusals, which are returned."""
        tally = self.tallies.setdefault((merchant.seller_id, order_id), Tally())
        tally.times_received += 1
        recorded = list(refusals)
        tally.refusals += [refusal.text for refusal in recorded]
        return recorded

    def place(self, merchant: Merchant, request: OrderRequest, due: float) -> list[Refusal]:
        """Validate a request and create its order at `due` (simulated seconds); returns the refusals, if any."""
        refusals = self.record_request(merchant, request.order_id, self._refusals(merchant, request))
        if refusals:
            return refusals
        key = (merchant.seller_id, request.order_id)
        self.tallies[key].times_created += 1
        now = self.clock.wall_at(due)
        items = merchant.catalogue(request.marketplace_id).items
        reserved = {}
        for line in request.lines:
            reserved[line.item_id] = min(line.quantity, sellable_units(items[line.sku]))
            _reserve(items[line.sku], reserved[line.item_id], self.clock.wall())
        number = len(self.orders) + len(self.superseded) + 1
        if key in self.orders:
            self.superseded.append(self.orders.pop(key))
        order = Order(
            merchant.seller_id,
            f"S01-{number % 10**7:07d}-{(number * 7919) % 10**7:07d}",
            request,
            now,
            now,
            reserved,
            listed_from=due + self.list_delay,
            nth=self.tallies[key].times_created,
        )
        self.orders[key] = order
        self.events.schedule(due + PLANNING_AFTER, partial(self._advance_status, order, "Received", "Planning"))
        if request.action == "Ship":
            self.events.schedule(due + PROCESSING_AFTER, partial(self._start_processing, merchant, order))
        return []

    def _refusals(self, merchant: Merchant, request: OrderRequest) -> list[Refusal]:
        if self.answers.repeated_id == "refuse" and (merchant.seller_id, request.order_id) in self.orders:
            return [Refusal("13001", f"A fulfillment order with the id {request.order_id} already exists.")]
        refusals = validate(request)
        items = merchant.catalogue(request.marketplace_id).items
        quantities: dict[str, int] = {}
        for line in request.lines:
            item = items.get(line.sku)
            if line.sku and (item is None or not is_fba_item(item)):
                text = f"Value {line.sku} for parameter SellerSKU is invalid. Reason: the SellerSKU for Item Id: "
                refusals.append(Refusal("13040", f"{text}{line.item_id} is invalid.", line.sku))
            elif item is not None:
                quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
        short_skus = [sku for sku, quantity in quantities.items() if sellable_units(items[sku]) < quantity]
        if request.policy != "FillOrKill" and any(sellable_units(items[sku]) for sku in quantities):
            short_skus = []
        return refusals + [Refusal("13050", f"There is not enough sellable stock of {sku}.", sku) for sku in short_skus]

    def cancel(self, merchant: Merchant, order_id: str) -> str | None:
        """Cancel an order; returns None, or the reason why it cannot be cancelled. Idempotent, unless set otherwise."""
        order = self.orders.get((merchant.seller_id, order_id))
        if order is None:
            return f"The fulfillment order {order_id} does not exist."
        if order.status == "Cancelled":
            refused = f"The fulfillment order {order_id} is Cancelled already."
            return None if self.answers.second_cancel == "accept" else refused
        if order.status not in CANCELLABLE_STATUSES:
            return f"The fulfillment order {order_id} is {order.status} and can no longer be cancelled."
        self.set_status(merchant, order, "Cancelled")
        return None

    def set_status(self, merchant: Merchant, order: Order, status: str) -> None:
        """Set the status of an order.

        With Cancelled, Unfulfillable and Invalid, the reserved units that have not shipped return to stock.
        """
        now = self.clock.wall()
        order.status, order.updated = status, now
        if status not in {"Cancelled", "Unfulfillable", "Invalid"}:
            return
        items = merchant.catalogue(order.request.marketplace_id).items
        for line in order.request.lines:
            unshipped = order.reserved[line.item_id] - order.shipped_units(line.item_id)
            order.reserved[line.item_id] -= unshipped
            if unshipped and line.sku in items:
                _restock(items[line.sku], unshipped, now)

    def _advance_status(self, order: Order, before: str, after: str, due: float) -> None:
        if order.status == before and not order.status_is_scripted:
            order.status = after
            order.updated = max(order.updated, self.clock.wall_at(due))

    # Shipping

    def plan_for(self, order: Order) -> Plan:
        """Return the shipping plan of an order, created on the first call."""
        if order.plan is None:
            script = self.shipping_scripts.get((order.seller_id, order.request.order_id), ShippingScript())
            seed = f"{self.seed}/{order.request.order_id}" + (f"/{order.nth}" if order.nth > 1 else "")
            order.plan = plan_shipments(seed, order.request, order.reserved, script)
        return order.plan

    def _start_processing(self, merchant: Merchant, order: Order, due: float) -> None:
        if order.status_is_scripted or order.status not in OPEN_STATUSES:
            return
        self._advance_status(order, "Planning", "Processing", due)
        plan = self.plan_for(order)
        for shipment in () if plan.never_ships else plan.shipments:
            self.events.schedule(due + shipment.ships_after, partial(self._ship_when_due, merchant, order, shipment))

    def _ship_when_due(self, merchant: Merchant, order: Order, shipment: Shipment, due: float) -> None:
        if shipment.shipped_at is not None or order.status_is_scripted or order.status != "Processing":
            return
        shipped = max(order.received, self.clock.wall_at(due))
        self.ship(order, shipment, shipped)
        self.events.schedule(due + shipment.reported_after, partial(self._report_when_due, merchant, order, shipment))

    def ship(self, order: Order, shipment: Shipment, shipped: float) -> None:
        """Ship one shipment of an order; `shipped` is the wall time at which it leaves."""
        shipment.shipped_at = shipped
        order.updated = max(order.updated, shipped)
        if all(each.shipped_at is not None for each in self.plan_for(order).shipments):
            complete = all(order.reserved[line.item_id] == line.quantity for line in order.request.lines)
            order.status = "Complete" if complete else "CompletePartialled"
        else:
            order.status = "Processing"

    def _report_when_due(self, merchant: Merchant, order: Order, shipment: Shipment, due: float) -> None:
        if shipment.reported_at is None and shipment.shipped_at is not None:
            self.add_report_rows(merchant, order, shipment, max(shipment.shipped_at, self.clock.wall_at(due)))

    def add_report_rows(self, merchant: Merchant, order: Order, shipment: Shipment, reported: float) -> int:
        """Add the rows of a shipment to the shipments report and return their number; `reported` is a wall time."""
        shipment.reported_at = reported
        rows = report_rows(order.amazon_order_id, order.request, order.received, shipment, self.plan_for(order))
        merchant.catalogue(order.request.marketplace_id).shipment_rows += rows
        return len(rows)


def _restock(item: Item, quantity: int, now: float) -> None:
    stock = dict(enumerate(item.afn))
    index = next((n for n, (condition, _) in stock.items() if condition == "SELLABLE"), None)
    if index is not None:
        stock[index] = ("SELLABLE", stock[index][1] + quantity)
        item.afn = tuple(stock.values())
    if item.api_stock is not None:
        item.api_stock += quantity
    item.changed = now
