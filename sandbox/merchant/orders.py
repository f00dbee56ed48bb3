"""Fulfillment orders: which are accepted, the stock they reserve, and their status over time."""

from collections.abc import Iterable
from functools import partial

from sandbox.clock import EventQueue
from sandbox.merchant.features import unavailable
from sandbox.merchant.merchant import Catalogue, Item, Merchant
from sandbox.merchant.order import CANCELLABLE_STATUSES, OPEN_STATUSES, Order, Tally
from sandbox.merchant.order_answers import OrderAnswers
from sandbox.merchant.order_request import Line, OrderRequest, Refusal, validate
from sandbox.merchant.parcel_desk import ParcelDesk
from sandbox.merchant.parcels import DAY
from sandbox.merchant.shipping import Plan, Shipment, ShippingScript, plan_shipments, report_rows
from sandbox.merchant.stock import is_fba_item, reserve, restock, sellable_units
from sandbox.merchant.tariffs import default_tariffs

PLANNING_AFTER = 600.0
PROCESSING_AFTER = 3600.0
HOLD_LAPSES_AFTER = 14 * DAY
FILL_ALL_ENDS_AFTER = DAY


def sku_refusals(catalogue: Catalogue, lines: Iterable[Line]) -> list[Refusal]:
    """Return a refusal for each line whose SKU Amazon does not fulfill for this seller."""
    refusals = []
    for line in lines:
        item = catalogue.items.get(line.sku)
        if line.sku and (item is None or not is_fba_item(item)):
            text = f"Value {line.sku} for parameter SellerSKU is invalid. Reason: the SellerSKU for Item Id: "
            refusals.append(Refusal("13040", f"{text}{line.item_id} is invalid.", line.sku))
    return refusals


class OrderDesk:
    """All fulfillment orders, keyed by (seller id, order id). Not thread-safe: callers hold the world's lock.

    `seed` determines how orders ship. `list_delay` is the simulated seconds until a new order is listed, `lost_ids` are never listed. `orders` has
    the newest order of each id, `superseded` those whose id a later order took: they ship, but Amazon shows and cancels
    only the newest. `shown_statuses` are shown in place of the actual ones. `tariffs` are those of the speeds.
    """

    def __init__(self, events: EventQueue, seed: int) -> None:
        self.events = events
        self.clock = events.clock
        self.seed = seed
        self.list_delay = 0.0
        self.page_size = 50
        self.lost_ids: frozenset[str] = frozenset()
        self.answers = OrderAnswers()
        self.tariffs = default_tariffs()
        self.parcels = ParcelDesk(events)
        self.orders: dict[tuple[str, str], Order] = {}
        self.superseded: list[Order] = []
        self.shown_statuses: dict[tuple[str, str], str] = {}
        self.tallies: dict[tuple[str, str], Tally] = {}
        self.shipping_scripts: dict[tuple[str, str], ShippingScript] = {}

    def of_seller(self, seller_id: str) -> list[Order]:
        """A seller's orders, oldest first."""
        return [order for (owner, _), order in self.orders.items() if owner == seller_id]

    def listed(self, seller_id: str) -> list[Order]:
        """The orders of a seller that the lists name by now, oldest first."""
        now = self.clock.waited()
        return [
            order
            for order in self.of_seller(seller_id)
            if order.listed_from <= now and order.request.order_id not in self.lost_ids
        ]

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
        number = len(self.orders) + len(self.superseded) + 1
        if key in self.orders:
            self.superseded.append(self.orders.pop(key))
        order = Order(
            merchant.seller_id,
            f"S01-{number % 10**7:07d}-{(number * 7919) % 10**7:07d}",
            request,
            now,
            now,
            self._reserve(merchant, request),
            listed_from=due + self.list_delay,
            nth=self.tallies[key].times_created,
        )
        self.orders[key] = order
        self.events.schedule(due + PLANNING_AFTER, partial(self._plan, merchant, order))
        self.events.schedule(due + HOLD_LAPSES_AFTER, partial(self._lapse_hold, merchant, order))
        if request.action == "Ship":
            self._schedule_shipping(merchant, order, due)
        return []

    def _schedule_shipping(self, merchant: Merchant, order: Order, due: float) -> None:
        self.events.schedule(due + PROCESSING_AFTER, partial(self._start_processing, merchant, order))
        if order.request.policy == "FillAll" and not order.is_filled:
            order.waits_for_stock = True
            self.events.schedule(due + FILL_ALL_ENDS_AFTER, partial(self._stop_looking, merchant, order))

    def _reserve(self, merchant: Merchant, request: OrderRequest) -> dict[str, int]:
        """Take the units of a request out of stock, as far as its policy takes them; returns them by item id."""
        items = merchant.catalogue(request.marketplace_id).items
        if request.policy == "FillOrKill" and self._short_skus(items, request):
            return {line.item_id: 0 for line in request.lines}
        reserved = {}
        for line in request.lines:
            reserved[line.item_id] = min(line.quantity, sellable_units(items[line.sku]))
            reserve(items[line.sku], reserved[line.item_id], self.clock.wall())
        return reserved

    def _refusals(self, merchant: Merchant, request: OrderRequest) -> list[Refusal]:
        if self.answers.repeated_id == "refuse" and (merchant.seller_id, request.order_id) in self.orders:
            return [Refusal("13001", f"A fulfillment order with the id {request.order_id} already exists.")]
        refusals = self._content_refusals(merchant, request)
        items = merchant.catalogue(request.marketplace_id).items
        if refusals or self.answers.short_stock == "unfulfillable":
            return refusals
        short_skus = self._short_skus(items, request)
        if request.policy != "FillOrKill" and any(sellable_units(items[line.sku]) for line in request.lines):
            short_skus = []
        return [Refusal("13050", f"There is not enough sellable stock of {sku}.", sku) for sku in short_skus]

    def _content_refusals(self, merchant: Merchant, request: OrderRequest) -> list[Refusal]:
        """Return what is wrong with a request apart from its id and the stock."""
        catalogue = merchant.catalogue(request.marketplace_id)
        refusals = validate(request) + sku_refusals(catalogue, request.lines)
        skus = [line.sku for line in request.lines]
        missing = unavailable(catalogue.features, request.marketplace_id, request.features, skus)
        return refusals + [Refusal("13070", sentence) for sentence in missing]

    def _short_skus(self, items: dict[str, Item], request: OrderRequest) -> list[str]:
        quantities: dict[str, int] = {}
        for line in request.lines:
            quantities[line.sku] = quantities.get(line.sku, 0) + line.quantity
        return [sku for sku, quantity in quantities.items() if sellable_units(items[sku]) < quantity]

    def update(self, merchant: Merchant, order: Order, request: OrderRequest) -> list[Refusal]:
        """Replace the request of an order on hold, and ship it if `request` says so; returns the refusals, if any.

        An update that releases an order released before has no effect, or is refused, as `answers` say.
        """
        order_id = order.request.order_id
        if order.request.action == "Ship" and request == order.request and self.answers.second_release == "accept":
            return []
        if order.request.action != "Hold" or order.status not in CANCELLABLE_STATUSES:
            text = f"The fulfillment order {order_id} is {order.status} and not on hold, so it cannot be updated."
            return [Refusal("13061", text)]
        refusals = self._content_refusals(merchant, request)
        if refusals:
            return refusals
        items = merchant.catalogue(request.marketplace_id).items
        self._release(merchant, order)
        short_skus = self._short_skus(items, request)
        if short_skus and request.policy == "FillOrKill" and order.request.lines != request.lines:
            order.reserved = self._reserve(merchant, order.request)
            return [Refusal("13050", f"There is not enough sellable stock of {sku}.", sku) for sku in short_skus]
        order.reserved = self._reserve(merchant, request)
        order.request, order.updated = request, self.clock.wall()
        if request.action == "Ship":
            self._schedule_shipping(merchant, order, self.clock.waited())
        return []

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
        order.status, order.updated = status, self.clock.wall()
        if status in {"Cancelled", "Unfulfillable", "Invalid"}:
            self._release(merchant, order)

    def _release(self, merchant: Merchant, order: Order) -> None:
        """Put the reserved units of an order that have not shipped back into stock."""
        items = merchant.catalogue(order.request.marketplace_id).items
        for line in order.request.lines:
            unshipped = order.reserved[line.item_id] - order.shipped_units(line.item_id)
            order.reserved[line.item_id] -= unshipped
            if unshipped and line.sku in items:
                restock(items[line.sku], unshipped, self.clock.wall())

    def _plan(self, merchant: Merchant, order: Order, due: float) -> None:
        """Send an order to planning, or end one for which nothing is in stock."""
        if not any(order.reserved.values()) and not order.waits_for_stock and order.status == "Received":
            self._end(merchant, order, "Unfulfillable")
        self._advance_status(order, "Received", "Planning", due)

    def _lapse_hold(self, merchant: Merchant, order: Order, due: float) -> None:
        if order.request.action == "Hold" and order.status in CANCELLABLE_STATUSES:
            self._end(merchant, order, "Cancelled")

    def _stop_looking(self, merchant: Merchant, order: Order, due: float) -> None:
        """End the search for the missing units of a FillAll order."""
        order.waits_for_stock = False
        if order.status not in OPEN_STATUSES:
            return
        if not any(order.reserved.values()):
            self._end(merchant, order, "Unfulfillable")
        elif order.plan is not None and all(one.shipped_at is not None for one in order.plan.shipments):
            self._end(merchant, order, "CompletePartialled")

    def _end(self, merchant: Merchant, order: Order, status: str) -> None:
        if not order.status_is_scripted:
            self.set_status(merchant, order, status)

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
            self.parcels.register(order)
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
        self.ship(order, shipment, shipped, due)
        self.events.schedule(due + shipment.reported_after, partial(self._report_when_due, merchant, order, shipment))

    def ship(self, order: Order, shipment: Shipment, shipped: float, due: float) -> None:
        """Ship one shipment of an order, at the wall time `shipped` and the simulated second `due`."""
        shipment.shipped_at = shipped
        tariff = self.tariffs.get(order.request.speed, self.tariffs["Standard"])
        self.parcels.depart(order, shipment, tariff.days, due)
        order.updated = max(order.updated, shipped)
        if all(each.shipped_at is not None for each in self.plan_for(order).shipments):
            missing = "Processing" if order.waits_for_stock else "CompletePartialled"
            order.status = "Complete" if order.is_filled else missing
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
