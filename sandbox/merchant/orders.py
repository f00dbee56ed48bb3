"""Fulfillment orders: which are accepted, the stock they take, and what becomes of them with time."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial

from sandbox.clock import Agenda
from sandbox.merchant.merchant import Item, Merchant
from sandbox.merchant.order_request import OrderRequest, Refusal, problems
from sandbox.merchant.shipping import Part, Plan, Shape, make_plan, rows

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
CANCELLABLE = frozenset({"New", "Received", "Planning"})
OPEN = CANCELLABLE | {"Processing"}


@dataclass(slots=True)
class Order:
    """An accepted order.

    `received`, `updated` are wall times. `granted` is how many units of each line (by item id) there is stock for;
    the rest is unfulfillable. `scripted`: its status was set by hand, so time does not change it any more.
    """

    seller_id: str
    amazon_order_id: str
    request: OrderRequest
    received: float
    updated: float
    granted: dict[str, int]
    status: str = "Received"
    plan: Plan | None = None
    scripted: bool = False
    listed_from: float = 0.0

    def shipped(self, item_id: str) -> int:
        """How many units of a line have left."""
        return sum(line.quantity for part in self.shipped_parts() for line in part.lines if line.item_id == item_id)

    def shipped_parts(self) -> list[Part]:
        """The shipments that have left."""
        return [part for part in self.plan.parts if part.shipped is not None] if self.plan else []


@dataclass(slots=True)
class Tally:
    """How often an order id was asked for, how often an order was made for it, and why it was refused."""

    times_received: int = 0
    times_created: int = 0
    refusals: list[str] = field(default_factory=list)


def available(item: Item) -> int:
    """The units Amazon can send of an item: its SELLABLE rows, or what only the FBA Inventory API knows."""
    if item.afn:
        return sum(quantity for condition, quantity in item.afn if condition == "SELLABLE")
    return item.api_stock or 0


def sent_by_amazon(item: Item) -> bool:
    """Whether Amazon has ever heard of the item as one that it fulfils."""
    return bool(item.afn) or item.api_stock is not None or any(c.startswith("AMAZON_") for c, _ in item.offers)


def _take(item: Item, quantity: int, now: float) -> None:
    """Take units out of stock, row by row."""
    left, stock = quantity, []
    for condition, units in item.afn:
        taken = min(left, units) if condition == "SELLABLE" else 0
        stock.append((condition, units - taken))
        left -= taken
    item.afn = tuple(stock)
    if item.api_stock is not None:
        item.api_stock = max(0, item.api_stock - quantity)
    item.changed = now


class OrderDesk:
    """All fulfillment orders. Not locked by itself: the world's lock guards it.

    `seed` decides how orders ship; `list_delay` is for how many waited seconds a new order is not in lists yet.
    """

    def __init__(self, agenda: Agenda, seed: int) -> None:
        self.agenda = agenda
        self.clock = agenda.clock
        self.seed = seed
        self.list_delay = 0.0
        self.page_size = 50
        self.orders: dict[tuple[str, str], Order] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.shapes: dict[tuple[str, str], Shape] = {}

    def of_seller(self, seller_id: str) -> list[Order]:
        """A seller's orders, oldest first."""
        return [order for (owner, _), order in self.orders.items() if owner == seller_id]

    def receive(self, merchant: Merchant, order_id: str, refusals: Iterable[Refusal]) -> list[Refusal]:
        """Count a request that was refused before it could be judged."""
        tally = self.tallies.setdefault((merchant.seller_id, order_id), Tally())
        tally.times_received += 1
        found = list(refusals)
        tally.refusals += [refusal.text for refusal in found]
        return found

    def place(self, merchant: Merchant, request: OrderRequest, due: float) -> list[Refusal]:
        """Judge a request and make its order at `due` (waited seconds); returns why not, or nothing."""
        found = self.receive(merchant, request.order_id, self._against(merchant, request))
        if found:
            return found
        key = (merchant.seller_id, request.order_id)
        self.tallies[key].times_created += 1
        now = self.clock.wall_at(due)
        items = merchant.catalogue(request.marketplace_id).items
        granted = {}
        for line in request.lines:
            granted[line.item_id] = min(line.quantity, available(items[line.sku]))
            _take(items[line.sku], granted[line.item_id], self.clock.wall())
        number = len(self.orders) + 1
        order = Order(
            merchant.seller_id,
            f"S01-{number % 10**7:07d}-{(number * 7919) % 10**7:07d}",
            request,
            now,
            now,
            granted,
            listed_from=due + self.list_delay,
        )
        self.orders[key] = order
        self.agenda.at(due + PLANNING_AFTER, partial(self._move, order, "Received", "Planning"))
        if request.action == "Ship":
            self.agenda.at(due + PROCESSING_AFTER, partial(self._process, merchant, order))
        return []

    def _against(self, merchant: Merchant, request: OrderRequest) -> list[Refusal]:
        if (merchant.seller_id, request.order_id) in self.orders:
            return [Refusal("13001", f"A fulfillment order with the id {request.order_id} already exists.")]
        found = problems(request)
        items = merchant.catalogue(request.marketplace_id).items
        wanted: dict[str, int] = {}
        for line in request.lines:
            item = items.get(line.sku)
            if line.sku and (item is None or not sent_by_amazon(item)):
                text = f"Value {line.sku} for parameter SellerSKU is invalid. Reason: the SellerSKU for Item Id: "
                found.append(Refusal("13040", f"{text}{line.item_id} is invalid.", line.sku))
            elif item is not None:
                wanted[line.sku] = wanted.get(line.sku, 0) + line.quantity
        short = [sku for sku, quantity in wanted.items() if available(items[sku]) < quantity]
        if request.policy != "FillOrKill" and any(available(items[sku]) for sku in wanted):
            short = []
        return found + [Refusal("13050", f"There is not enough sellable stock of {sku}.", sku) for sku in short]

    def cancel(self, merchant: Merchant, order_id: str) -> str | None:
        """Cancel an order; returns why not. Cancelling again changes nothing."""
        order = self.orders.get((merchant.seller_id, order_id))
        if order is None:
            return f"The fulfillment order {order_id} does not exist."
        if order.status == "Cancelled":
            return None
        if order.status not in CANCELLABLE:
            return f"The fulfillment order {order_id} is {order.status} and can no longer be cancelled."
        self.end(merchant, order, "Cancelled")
        return None

    def end(self, merchant: Merchant, order: Order, status: str) -> None:
        """Give an order a status; where it is one without delivery, what has not left goes back into stock."""
        now = self.clock.wall()
        order.status, order.updated = status, now
        if status not in {"Cancelled", "Unfulfillable", "Invalid"}:
            return
        items = merchant.catalogue(order.request.marketplace_id).items
        for line in order.request.lines:
            back = order.granted[line.item_id] - order.shipped(line.item_id)
            order.granted[line.item_id] -= back
            if back and line.sku in items:
                _put_back(items[line.sku], back, now)

    def _move(self, order: Order, before: str, after: str, due: float) -> None:
        if order.status == before and not order.scripted:
            order.status = after
            order.updated = max(order.updated, self.clock.wall_at(due))

    # Shipping.

    def plan(self, order: Order) -> Plan:
        """How an order ships, settled when it is first asked."""
        if order.plan is None:
            shape = self.shapes.get((order.seller_id, order.request.order_id), Shape())
            order.plan = make_plan(f"{self.seed}/{order.request.order_id}", order.request, order.granted, shape)
        return order.plan

    def _process(self, merchant: Merchant, order: Order, due: float) -> None:
        if order.scripted or order.status not in OPEN:
            return
        self._move(order, "Planning", "Processing", due)
        plan = self.plan(order)
        for part in () if plan.never else plan.parts:
            self.agenda.at(due + part.after, partial(self._leave, merchant, order, part))

    def _leave(self, merchant: Merchant, order: Order, part: Part, due: float) -> None:
        if part.shipped is not None or order.scripted or order.status != "Processing":
            return
        shipped = max(order.received, self.clock.wall_at(due))
        self.ship(order, part, shipped)
        self.agenda.at(due + part.reported_after, partial(self._report, merchant, order, part))

    def ship(self, order: Order, part: Part, shipped: float) -> None:
        """Let one part of an order leave at a wall time."""
        part.shipped = shipped
        order.updated = max(order.updated, shipped)
        if all(one.shipped is not None for one in self.plan(order).parts):
            complete = all(order.granted[line.item_id] == line.quantity for line in order.request.lines)
            order.status = "Complete" if complete else "CompletePartialled"
        else:
            order.status = "Processing"

    def _report(self, merchant: Merchant, order: Order, part: Part, due: float) -> None:
        if part.reported is None and part.shipped is not None:
            self.report(merchant, order, part, max(part.shipped, self.clock.wall_at(due)))

    def report(self, merchant: Merchant, order: Order, part: Part, reported: float) -> int:
        """Put the rows of a shipped part into the shipments report as of a wall time; returns how many."""
        part.reported = reported
        made = rows(order.amazon_order_id, order.request, order.received, part, self.plan(order))
        merchant.catalogue(order.request.marketplace_id).shipments += made
        return len(made)


def _put_back(item: Item, quantity: int, now: float) -> None:
    stock = dict(enumerate(item.afn))
    place = next((n for n, (condition, _) in stock.items() if condition == "SELLABLE"), None)
    if place is not None:
        stock[place] = ("SELLABLE", stock[place][1] + quantity)
        item.afn = tuple(stock.values())
    if item.api_stock is not None:
        item.api_stock += quantity
    item.changed = now
