"""The control functions for fulfillment orders and shipments: scripting, shipping, and the expected results."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sandbox.clock import iso
from sandbox.merchant.consumer_orders import consumer_rows
from sandbox.merchant.order import OPEN_STATUSES, STATUSES, Order
from sandbox.merchant.parcels import DAY, HOUR
from sandbox.merchant.shipping import ShippingScript
from sandbox.world.world_part import WorldPart, timestamp

_IDENTITY_COLUMNS = (
    "amazon-order-id",
    "merchant-order-id",
    "amazon-order-item-id",
    "shipment-id",
    "shipment-item-id",
    "tracking-number",
    "sku",
    "carrier",
    "ship-service-level",
    "shipment-date",
    "reporting-date",
)


class Fulfillment(WorldPart):
    """The part of `World` that tests use to read and change orders and shipments; `World` inherits from it."""

    # Orders

    def orders(self, seller_id: str) -> dict[str, dict[str, Any]]:
        """Return every order id that was submitted, accepted or not, with its state.

        `{order id: {times_received, times_created, refusals, status, marketplace_id, items, shipped, address, …}}`.
        `times_received` counts the feed messages and the calls to create an order with this id, `times_created` the
        orders made under it; the rest is of the newest. `items` and `shipped` are {sku: units}. For an id that was
        never accepted, `status` is None and `items` is empty.
        """
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            return {
                order_id: {
                    "times_received": tally.times_received,
                    "times_created": tally.times_created,
                    "refusals": list(tally.refusals),
                    **_order_summary(self.order_desk.orders.get((seller_id, order_id))),
                }
                for (owner, order_id), tally in self.order_desk.tallies.items()
                if owner == seller_id
            }

    def set_order_status(self, seller_id: str, order_id: str, status: str) -> None:
        """Set the status of an order for good: time no longer changes it.

        With Cancelled, Unfulfillable and Invalid, the units that have not shipped return to stock.
        """
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(STATUSES)}")
        with self.lock:
            order = self._order(seller_id, order_id)
            order.status_is_scripted = True
            self.order_desk.set_status(self.merchant(seller_id), order, status)

    def set_order_listing(
        self, page_size: int | None = None, delay: float | None = None, lost: Iterable[str] | None = None
    ) -> None:
        """Set the page size of listAllFulfillmentOrders and listOrders, and what they do not list.

        `delay` is the simulated seconds until they list a new order, `lost` the ids that no page ever names. None leaves
        a setting unchanged.
        """
        if page_size is not None and page_size < 1:
            raise ValueError(f"page_size must be at least 1, not {page_size}")
        if delay is not None and delay < 0:
            raise ValueError(f"delay must not be negative: {delay} s")
        with self.lock:
            self.settle()
            self.order_desk.page_size = page_size or self.order_desk.page_size
            self.order_desk.list_delay = self.order_desk.list_delay if delay is None else float(delay)
            self.order_desk.lost_ids = self.order_desk.lost_ids if lost is None else frozenset(lost)

    def set_order_answers(
        self,
        *,
        repeated_id: str | None = None,
        second_cancel: str | None = None,
        second_release: str | None = None,
        unknown_number: str | None = None,
        short_stock: str | None = None,
        create_answer: str | None = None,
        preview_fees: str | None = None,
        capitals: bool | None = None,
        leave_out: Iterable[str] | None = None,
        leave_out_of: Iterable[str] | None = None,
        quantities_as_text: bool | None = None,
    ) -> None:
        """Set how Amazon answers about orders, of every seller; None leaves a setting unchanged.

        `repeated_id` is refuse (default) or second_order: an order id that exists already makes a second order. Both
        reserve stock and ship; get, list and cancel then find the newest only. `second_cancel` is accept (default) or
        refuse: to cancel a cancelled order is an error. `second_release` is refuse (default) or accept: to release an
        order from hold again is an error. `short_stock` is refuse (default) or unfulfillable: an order for which stock is
        missing is made and then cannot be fulfilled. `preview_fees` is given (default), null or missing. `unknown_number` is not_found (default) or invalid_input:
        getFulfillmentOrder of an unknown order answers 400. `capitals`: statuses read as in Amazon's examples, e.g.
        COMPLETE_PARTIALLED. `create_answer` is order (default) or accepted: createOrder answers 202. `leave_out`: fields
        that are missing in the answers of `leave_out_of` (default: getFulfillmentOrder, listAllFulfillmentOrders,
        getOrder and listOrders). `quantities_as_text`: quantities are JSON strings.
        """
        with self.lock:
            self.settle()
            self.order_desk.answers = self.order_desk.answers.with_options(
                repeated_id=repeated_id,
                second_cancel=second_cancel,
                second_release=second_release,
                unknown_number=unknown_number,
                short_stock=short_stock,
                create_answer=create_answer,
                preview_fees=preview_fees,
                capitals=capitals,
                leave_out=leave_out,
                leave_out_of=leave_out_of,
                quantities_as_text=quantities_as_text,
            )

    def show_order_status(self, seller_id: str, order_id: str, status: str | None) -> None:
        """Show any text as the status of an order, whatever its actual status is; None: the actual one again.

        The order need not exist yet. Nothing else changes: it is planned, cancelled and shipped as without this.
        """
        with self.lock:
            self.merchant(seller_id)
            if status is None:
                self.order_desk.shown_statuses.pop((seller_id, order_id), None)
            else:
                self.order_desk.shown_statuses[seller_id, order_id] = str(status)

    def _order(self, seller_id: str, order_id: str) -> Order:
        self.merchant(seller_id)
        self.settle()
        if (seller_id, order_id) not in self.order_desk.orders:
            raise ValueError(f"seller {seller_id} has no fulfillment order {order_id}")
        return self.order_desk.orders[seller_id, order_id]

    # Shipments

    def plan_order(
        self,
        seller_id: str,
        order_id: str,
        *,
        parts: int | None = None,
        never: bool | None = None,
        late: bool | None = None,
        shipment_id: bool | None = None,
        shipment_item_id: bool | None = None,
        packages: int | None = None,
        shared_item_id: bool = False,
        amazon_logistics: bool | None = None,
        fates: Iterable[str] = (),
    ) -> None:
        """Script how an order ships; the order need not exist yet.

        `parts` is the number of shipments, `packages` that of the parcels of each. `never`: it stays in Processing.
        `late`: it is reported days after it ships. `shipment_id`, `shipment_item_id`: whether its report rows have these
        ids; `shared_item_id`: the parcels of a shipment share the shipment item id of a line. `amazon_logistics`:
        whether it goes out by Amazon Logistics, True although the order blocks it. `fates` of its parcels in turn:
        on_time (those that are not named), late, lost or undeliverable. None leaves an option to the seed. ValueError if
        the shipments of the order are planned already.
        """
        script = ShippingScript(
            parts,
            never,
            late,
            shipment_id,
            shipment_item_id,
            packages=packages,
            shared_item_id=shared_item_id,
            amazon_logistics=amazon_logistics,
            fates=tuple(fates),
        )
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            order = self.order_desk.orders.get((seller_id, order_id))
            if order is not None and order.plan is not None:
                raise ValueError(f"the shipments of the order {order_id} are planned already")
            self.order_desk.shipping_scripts[seller_id, order_id] = script

    def ship_now(
        self,
        seller_id: str,
        order_ids: Iterable[str] | None = None,
        reported_minutes_ago: float = 5.0,
        parts: int | None = None,
    ) -> dict[str, int]:
        """Ship open orders (None: all) as planned and report them; returns {order id: number of new report rows}.

        `reported_minutes_ago` sets the reporting date, `parts` limits the number of shipments per order. Shipments that
        have left but are not reported yet are reported too. Orders that never ship or are on hold do not change.
        """
        now = self.clock.wall()
        reported = now - 60 * reported_minutes_ago
        if reported > now:
            raise ValueError("reported_minutes_ago must not be negative")
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            orders = (
                self.order_desk.of_seller(seller_id)
                if order_ids is None
                else [self._order(seller_id, order_id) for order_id in order_ids]
            )
            row_counts: Counter[str] = Counter()
            for order in (one for newest in orders for one in self.order_desk.made_under(newest)):
                row_counts[order.request.order_id] += self._ship(order, reported, parts)
            return dict(row_counts)

    def _ship(self, order: Order, reported: float, parts: int | None) -> int:
        desk, merchant = self.order_desk, self.merchant(order.seller_id)
        row_count, shipments_left = 0, parts
        if order.status in OPEN_STATUSES and order.request.action == "Ship" and not desk.plan_for(order).never_ships:
            for shipment in desk.plan_for(order).shipments:
                if shipment.shipped_at is None and shipments_left != 0:
                    late = 5 * DAY if desk.plan_for(order).late else 0.0
                    desk.ship(order, shipment, reported - late - HOUR, self.clock.waited())
                    shipments_left = None if shipments_left is None else shipments_left - 1
            order.updated = self.clock.wall()
        for shipment in order.departed_shipments():
            if shipment.reported_at is None:
                row_count += desk.add_report_rows(merchant, order, shipment, reported)
        return row_count

    def seed_shipments(
        self, seller_id: str, marketplace_id: str, n: int, start: str | datetime, end: str | datetime, seed: int = 1
    ) -> None:
        """Add `n` report rows of orders by Amazon's customers, reported from `start` to `end` (ISO 8601).

        Times without an offset are in UTC. All rows differ. Some lack the shipment id (cross-border) or the shipment
        item id, some shipped days before.
        """
        first_moment, last_moment = (timestamp(moment) for moment in (start, end))
        if n < 0 or last_moment < first_moment:
            raise ValueError("n must not be negative, and start must not be after end")
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            catalogue.shipment_rows += consumer_rows(
                catalogue, marketplace_id, n, first_moment, last_moment, f"{seed}/{seller_id}"
            )

    def fill_in_shipment_item_ids(self, seller_id: str, marketplace_id: str) -> int:
        """Add missing shipment item ids to report rows, as later reports may; returns the number of rows changed."""
        with self.lock:
            rows = self._catalogue(seller_id, marketplace_id).shipment_rows
            missing = [index for index, row in enumerate(rows) if not row.get("shipment-item-id")]
            for index in missing:
                rows[index] = rows[index] | {"shipment-item-id": f"Dlate{index:09d}"}
            return len(missing)

    def shipment_truth(
        self,
        seller_id: str,
        marketplace_id: str,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
    ) -> dict[str, Any]:
        """Return what must be known after reading the shipments reports of a period (default: everything until now).

        `orders`: {merchant-order-id: {sku: {quantity, tracking_numbers, carriers, service_levels}}} of the seller's own
        orders. `rows`: of each report row the ids, tracking number, sku, carrier, service level, quantity and times.
        """
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            first_moment = 0.0 if start is None else timestamp(start)
            rows = catalogue.shipment_rows_between(first_moment, self.clock.wall() if end is None else timestamp(end))
        orders: dict[str, dict[str, dict[str, Any]]] = {}
        for row in rows:
            if not row.get("merchant-order-id"):
                continue
            skus = orders.setdefault(row["merchant-order-id"], {})
            totals = skus.setdefault(
                row["sku"], {"quantity": 0, "tracking_numbers": set(), "carriers": set(), "service_levels": set()}
            )
            totals["quantity"] += int(row["quantity-shipped"])
            totals["tracking_numbers"].add(row["tracking-number"])
            totals["carriers"].add(row["carrier"])
            totals["service_levels"].add(row["ship-service-level"])
        for skus in orders.values():
            for totals in skus.values():
                totals.update({name: sorted(value) for name, value in totals.items() if isinstance(value, set)})
        identities = [
            {name: row.get(name, "") for name in _IDENTITY_COLUMNS} | {"quantity": int(row["quantity-shipped"])}
            for row in rows
        ]
        return {"orders": orders, "rows": identities}


def _order_summary(order: Order | None) -> dict[str, Any]:
    if order is None:
        return {"status": None, "marketplace_id": None, "items": {}, "shipped": {}}
    items: dict[str, int] = {}
    shipped: dict[str, int] = {}
    for line in order.request.lines:
        items[line.sku] = items.get(line.sku, 0) + line.quantity
        shipped[line.sku] = shipped.get(line.sku, 0) + order.shipped_units(line.item_id)
    return {
        "status": order.status,
        "marketplace_id": order.request.marketplace_id,
        "items": items,
        "shipped": shipped,
        "amazon_order_id": order.amazon_order_id,
        "speed": order.request.speed,
        "policy": order.request.policy,
        "action": order.request.action,
        "features": dict(order.request.features),
        "channel": order.request.channel,
        "comment": order.request.comment,
        "emails": list(order.request.emails),
        "address": dict(order.request.address),
        "received": iso(order.received),
        "updated": iso(order.updated),
    }
