"""The control functions for parcels: what is true of each, and how one is made to differ from its plan."""

from datetime import datetime
from typing import Any

from sandbox.clock import iso
from sandbox.merchant.order import Order
from sandbox.merchant.parcels import STATES, STATUSES, Parcel
from sandbox.merchant.shipping import Shipment
from sandbox.world.world_part import WorldPart, timestamp


class ParcelControls(WorldPart):
    """The part of `World` that tests use to read and change parcels; `World` inherits from it."""

    def parcels(self, seller_id: str) -> list[dict[str, Any]]:
        """Return every parcel of a seller's orders that has left, in the order in which the orders were made.

        Each has its `order_id`, `amazon_order_id`, `shipment_id`, `package_id`, `number` (of getPackageTrackingDetails),
        `carrier`, `tracking_number`, `amazon_number`, `status` (of API 2026-07-04), `state` (of 2020-07-01), `items`
        ({sku: units}), `shipment_item_ids`, the times `left`, `promised` and `delivered` (None unless it is), and
        `history`: [status or state, time].
        """
        with self.lock:
            self.merchant(seller_id)
            self.settle()
            newest = self.order_desk.of_seller(seller_id)
            return [
                _truth(order, shipment, number)
                for order in (one for each in newest for one in self.order_desk.made_under(each))
                for shipment in order.departed_shipments()
                for number in range(1, len(shipment.packages) + 1)
            ]

    def set_parcel(
        self,
        seller_id: str,
        order_id: str,
        parcel: int = 1,
        *,
        status: str | None = None,
        happened: str | datetime | None = None,
        promised: str | datetime | None = None,
        carrier: str | None = None,
        tracking_number: str | None = None,
        amazon_number: str | None = None,
    ) -> None:
        """Change a parcel that has left; `parcel` counts those of the order from 1. None leaves a value unchanged.

        `status` is a status of API 2026-07-04 or a state of getPackageTrackingDetails, entered at `happened` (ISO 8601,
        default: now); time no longer changes it. A state that is no status leaves the status as it is. `promised` is the
        latest arrival. An empty `tracking_number` or `amazon_number` is not shown.
        """
        if status is not None and status not in {*STATUSES, *STATES}:
            raise ValueError(f"status {status!r} is not one of {', '.join(dict.fromkeys((*STATUSES, *STATES)))}")
        with self.lock:
            order, found = self._parcel(seller_id, order_id, parcel)
            if status is not None:
                moment = self.clock.wall() if happened is None else timestamp(happened)
                self.order_desk.parcels.script(order, found, status, moment)
            else:
                order.moved = self.clock.wall()
            if promised is not None:
                found.promised = timestamp(promised)
            found.carrier = found.carrier if carrier is None else carrier
            found.tracking_number = found.tracking_number if tracking_number is None else tracking_number
            found.amazon_number = found.amazon_number if amazon_number is None else amazon_number

    def _parcel(self, seller_id: str, order_id: str, parcel: int) -> tuple[Order, Parcel]:
        self.merchant(seller_id)
        self.settle()
        order = self.order_desk.orders.get((seller_id, order_id))
        left = [one for one in order.parcels if one.left is not None] if order else []
        if order is None or not 1 <= parcel <= len(left):
            raise ValueError(f"the order {order_id} of seller {seller_id} has no parcel {parcel} that has left")
        return order, left[parcel - 1]


def _truth(order: Order, shipment: Shipment, number: int) -> dict[str, Any]:
    parcel = shipment.packages[number - 1]
    lines = [line for line in shipment.lines if line.package == number]
    items: dict[str, int] = {}
    for line in lines:
        items[line.sku] = items.get(line.sku, 0) + line.quantity
    return {
        "order_id": order.request.order_id,
        "amazon_order_id": order.amazon_order_id,
        "shipment_id": shipment.shipment_id,
        "package_id": parcel.package_id,
        "number": parcel.number,
        "carrier": parcel.carrier,
        "tracking_number": parcel.tracking_number,
        "amazon_number": parcel.amazon_number,
        "status": parcel.status,
        "state": parcel.state,
        "items": items,
        "shipment_item_ids": [line.shipment_item_id for line in lines],
        "left": iso(parcel.left or 0.0),
        "promised": iso(parcel.promised or 0.0),
        "delivered": None if parcel.delivered is None else iso(parcel.delivered),
        "history": [[status, iso(moment)] for status, moment in parcel.history],
    }
