"""What tests and the control API may do to fulfillment orders, feeds and shipments, and what is true of them."""

import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from sandbox.clock import Agenda, Clock, iso
from sandbox.merchant.consumer_orders import consumer_rows
from sandbox.merchant.merchant import Catalogue, Merchant
from sandbox.merchant.orders import OPEN, STATUSES, Order, OrderDesk
from sandbox.merchant.shipping import DAY, HOUR, Shape
from sandbox.world.feed_desk import FeedDesk

_IDENTITY = (
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


class Fulfillment:
    """The part of the world that fulfils orders; `World` completes it."""

    lock: threading.RLock
    clock: Clock
    agenda: Agenda
    order_desk: OrderDesk
    feed_desk: FeedDesk

    def merchant(self, seller_id: str) -> Merchant:
        """The seller, or ValueError."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let everything happen that is due."""
        raise NotImplementedError

    def _catalogue(self, seller_id: str, marketplace_id: str) -> Catalogue:
        raise NotImplementedError

    # Feeds and orders.

    @property
    def feed_count(self) -> int:
        """How many feeds createFeed has made, of all sellers."""
        return len(self.feed_desk.feeds)

    def feeds(self, seller_id: str | None = None) -> list[dict[str, Any]]:
        """The feeds of a seller (or of all), newest first, as getFeed shows them, with their order ids and fate."""
        with self.lock:
            self.settle()
            return [
                {
                    **self.feed_desk.shown(feed),
                    "sellerId": feed.merchant.seller_id,
                    "fate": feed.fate_name,
                    "orderIds": list(feed.order_ids),
                }
                for feed in self.feed_desk.of_seller(seller_id)
            ]

    def orders(self, seller_id: str) -> dict[str, dict[str, Any]]:
        """Every order id that Amazon was asked for, accepted or not, with what became of it.

        `{order id: {times_received, times_created, refusals, status, marketplace_id, items, shipped, address, …}}`.
        `times_received` counts each time it was judged, by a feed's message or createFulfillmentOrder. `items` and
        `shipped` are {sku: units}; `status` is None and `items` empty for one that was never accepted.
        """
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            return {
                order_id: {
                    "times_received": tally.times_received,
                    "times_created": tally.times_created,
                    "refusals": list(tally.refusals),
                    **_described(self.order_desk.orders.get((seller_id, order_id))),
                }
                for (owner, order_id), tally in self.order_desk.tallies.items()
                if owner == seller_id
            }

    def set_order_status(self, seller_id: str, order_id: str, status: str) -> None:
        """Give an order a status that time does not change any more; what has not left may go back into stock."""
        if status not in STATUSES:
            raise ValueError(f"status {status!r} is not one of {', '.join(STATUSES)}")
        with self.lock:
            order = self._order(seller_id, order_id)
            order.scripted = True
            self.order_desk.end(self.merchant(seller_id), order, status)

    def set_order_listing(self, page_size: int | None = None, delay: float | None = None) -> None:
        """How many orders a page of listAllFulfillmentOrders holds, and after how many waited seconds it has new ones."""
        if page_size is not None and page_size < 1:
            raise ValueError(f"a page holds at least one order, not {page_size}")
        if delay is not None and delay < 0:
            raise ValueError(f"a list cannot be {delay} s late")
        with self.lock:
            self.settle()
            self.order_desk.page_size = page_size or self.order_desk.page_size
            self.order_desk.list_delay = self.order_desk.list_delay if delay is None else float(delay)

    def _order(self, seller_id: str, order_id: str) -> Order:
        self.merchant(seller_id)
        self.settle()
        if (seller_id, order_id) not in self.order_desk.orders:
            raise ValueError(f"seller {seller_id} has no fulfillment order {order_id}")
        return self.order_desk.orders[seller_id, order_id]

    # Shipments.

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
    ) -> None:
        """Script how an order ships, also before it exists: `parts`, `never`, `late`, with or without the two ids.

        None leaves it to the seed. An order that is Processing already keeps its plan.
        """
        shape = Shape(parts, never, late, shipment_id, shipment_item_id)
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            order = self.order_desk.orders.get((seller_id, order_id))
            if order is not None and order.plan is not None:
                raise ValueError(f"the order {order_id} is being shipped already")
            self.order_desk.shapes[seller_id, order_id] = shape

    def ship_now(
        self,
        seller_id: str,
        order_ids: Iterable[str] | None = None,
        reported_minutes_ago: float = 5.0,
        parts: int | None = None,
    ) -> dict[str, int]:
        """Ship open orders (None: all) as planned, reported in the recent past; returns {order id: new report rows}.

        Orders that never ship or are on hold stay as they are. `parts` lets only so many further shipments leave.
        What has left but is not reported yet is reported too.
        """
        now = self.clock.wall()
        reported = now - 60 * reported_minutes_ago
        if reported > now:
            raise ValueError("reported_minutes_ago cannot be negative")
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            wanted = (
                self.order_desk.of_seller(seller_id)
                if order_ids is None
                else [self._order(seller_id, order_id) for order_id in order_ids]
            )
            return {order.request.order_id: self._ship(order, reported, parts) for order in wanted}

    def _ship(self, order: Order, reported: float, parts: int | None) -> int:
        desk, merchant = self.order_desk, self.merchant(order.seller_id)
        made, left = 0, parts
        if order.status in OPEN and order.request.action == "Ship" and not desk.plan(order).never:
            for part in desk.plan(order).parts:
                if part.shipped is None and left != 0:
                    late = 5 * DAY if desk.plan(order).late else 0.0
                    desk.ship(order, part, reported - late - HOUR)
                    left = None if left is None else left - 1
            order.updated = self.clock.wall()
        for part in order.shipped_parts():
            if part.reported is None:
                made += desk.report(merchant, order, part, reported)
        return made

    def seed_shipments(
        self, seller_id: str, marketplace_id: str, n: int, start: str | datetime, end: str | datetime, seed: int = 1
    ) -> None:
        """Add `n` report rows of ordinary consumer orders, reported between two moments (ISO 8601, no offset = UTC).

        No row comes twice. Some lack the shipment id (cross-border) or the shipment item id, some left days before.
        """
        first, last = (_moment(moment) for moment in (start, end))
        if n < 0 or last < first:
            raise ValueError("n must be at least 0 and start not after end")
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            catalogue.shipments += consumer_rows(catalogue, marketplace_id, n, first, last, f"{seed}/{seller_id}")

    def fill_in_shipment_item_ids(self, seller_id: str, marketplace_id: str) -> int:
        """Give every row without a shipment item id one, as later reports may have it; returns how many got one."""
        with self.lock:
            rows = self._catalogue(seller_id, marketplace_id).shipments
            empty = [place for place, row in enumerate(rows) if not row.get("shipment-item-id")]
            for place in empty:
                rows[place] = rows[place] | {"shipment-item-id": f"Dlate{place:09d}"}
            return len(empty)

    def shipment_truth(
        self,
        seller_id: str,
        marketplace_id: str,
        start: str | datetime | None = None,
        end: str | datetime | None = None,
    ) -> dict[str, Any]:
        """What a reader of all shipments reports between two moments (default: until now) must arrive at.

        `orders`: {merchant-order-id: {sku: {quantity, tracking_numbers, carriers, service_levels}}} of the seller's own
        orders; `rows`: the identity of each row, that is its ids, tracking number, sku, quantity and times.
        """
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            first = 0.0 if start is None else _moment(start)
            sent = catalogue.shipped(first, self.clock.wall() if end is None else _moment(end))
        orders: dict[str, dict[str, dict[str, Any]]] = {}
        for row in sent:
            if not row.get("merchant-order-id"):
                continue
            skus = orders.setdefault(row["merchant-order-id"], {})
            one = skus.setdefault(
                row["sku"], {"quantity": 0, "tracking_numbers": set(), "carriers": set(), "service_levels": set()}
            )
            one["quantity"] += int(row["quantity-shipped"])
            one["tracking_numbers"].add(row["tracking-number"])
            one["carriers"].add(row["carrier"])
            one["service_levels"].add(row["ship-service-level"])
        for skus in orders.values():
            for one in skus.values():
                one.update({name: sorted(value) for name, value in one.items() if isinstance(value, set)})
        identities = [
            {name: row.get(name, "") for name in _IDENTITY} | {"quantity": int(row["quantity-shipped"])} for row in sent
        ]
        return {"orders": orders, "rows": identities}


def _described(order: Order | None) -> dict[str, Any]:
    if order is None:
        return {"status": None, "marketplace_id": None, "items": {}, "shipped": {}}
    items: dict[str, int] = {}
    shipped: dict[str, int] = {}
    for line in order.request.lines:
        items[line.sku] = items.get(line.sku, 0) + line.quantity
        shipped[line.sku] = shipped.get(line.sku, 0) + order.shipped(line.item_id)
    return {
        "status": order.status,
        "marketplace_id": order.request.marketplace_id,
        "items": items,
        "shipped": shipped,
        "amazon_order_id": order.amazon_order_id,
        "speed": order.request.speed,
        "policy": order.request.policy,
        "action": order.request.action,
        "comment": order.request.comment,
        "emails": list(order.request.emails),
        "address": dict(order.request.address),
        "received": iso(order.received),
        "updated": iso(order.updated),
    }


def _moment(value: str | datetime) -> float:
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
