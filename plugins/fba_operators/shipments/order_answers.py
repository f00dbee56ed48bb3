"""Amazon's answers about orders, of both versions of Fulfillment Outbound, in the terms of :mod:`.parcels`.

Names, addresses, photos and signatures are in neither: :mod:`fba_operators.amazon.operations` does not read them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from fba_operators.amazon.operations import (
    FulfillmentOrder,
    FulfillmentShipment,
    Order,
    OrderLine,
    OrderShipment,
    PackageTracking,
    ProductIdentifier,
    Quantity,
    ShippedPackage,
)
from fba_operators.shipments.parcels import (
    ARRIVED,
    Parcel,
    ToldOrder,
    number,
    status_of_package,
    status_of_tracking,
    tracking_number,
    url,
)

Item = tuple[str | None, int | None, str | None]  # SKU, units, id of the package that has them


def told_by_order(order: Order) -> ToldOrder:
    """What an order of 2026-07-04 says."""
    shipments = [each for each in order.shipments or () if each]
    lines = order.line_items
    return ToldOrder(
        order.order_id,
        order.status,
        order.status_update_time,
        None if lines is None else tuple(_line(line) for line in lines),
        parcels=tuple(parcel for each in shipments for parcel in _parcels(each)),
        arrives_by=_latest(
            each.delivery_time for each in shipments if not each.packages and not _is(each.status, "CANCELLED")
        ),
        planned=any(_is(each.status, "PROCESSING") for each in shipments),
        cancelled_shipments=tuple(
            each.amazon_shipment_id for each in shipments if each.amazon_shipment_id and _is(each.status, "CANCELLED")
        ),
    )


def _line(line: OrderLine | None) -> tuple[str | None, int | None] | None:
    return (_sku(line.product.product_identifier if line.product else None), _number(line.amount)) if line else None


def _number(amount: Quantity | None) -> int | None:
    return amount.value if amount else None


def _parcels(shipment: OrderShipment) -> Iterable[Parcel]:
    if _is(shipment.status, "CANCELLED"):
        return
    packages = [each for each in shipment.packages or () if each]
    items = [each for each in shipment.items or () if each]
    of_item = {
        item_id: [each.package_id for each in packages if item_id in (each.shipment_item_ids or ())]
        for item_id in (item.shipment_item_id for item in items)
        if item_id
    }
    placed: list[Item] = []
    for item in items:
        owners = [item.package_id] if item.package_id else of_item.get(item.shipment_item_id or "", [])
        sku, quantity = _sku(item.product_identifier), _number(item.amount)
        if quantity and len(owners) > 1:  # each of them has at least one unit
            others = owners[1:quantity]
            placed += [(sku, 1, owner) for owner in others]
            quantity -= len(others)
        placed.append((sku, quantity, owners[0] if owners else None))
    units = _units([each.package_id for each in packages], placed)
    for at, package in enumerate(packages):
        yield _parcel(shipment, package, units[at])


def _parcel(shipment: OrderShipment, package: ShippedPackage, items: Mapping[str, int]) -> Parcel:
    carrier = package.tracking.carrier if package.tracking else None
    amazon = package.tracking.amazon if package.tracking else None
    status = status_of_package(package.status)
    arrival = package.delivery_time or shipment.delivery_time
    return Parcel(
        number(package.package_id),
        number(shipment.amazon_shipment_id),
        carrier=number(carrier.carrier_code if carrier else None),
        tracking_number=tracking_number(carrier.tracking_number if carrier else None),
        tracking_url=url(carrier.tracking_url if carrier else None) or url(amazon.tracking_url if amazon else None),
        amazon_tracking_number=tracking_number(amazon.tracking_number if amazon else None),
        status=status,
        ship_date=shipment.ship_time if _is(shipment.status, "SHIPPED") else None,
        arrives_at=arrival,
        delivered_at=arrival if status == "DELIVERED" else None,
        items=items,
    )


def told_by_fulfillment_order(order: FulfillmentOrder, tracking: Mapping[int, PackageTracking]) -> ToldOrder:
    """What an order of 2020-07-01 says, with what was found out about its packages.

    :param tracking: by package number; of those that were asked for
    """
    header = order.fulfillment_order
    shipments = [each for each in order.fulfillment_shipments or () if each]
    items = order.fulfillment_order_items
    return ToldOrder(
        header.seller_fulfillment_order_id,
        header.fulfillment_order_status,
        header.status_updated_date,
        None if items is None else tuple((item.seller_sku, item.quantity) if item else None for item in items),
        parcels=tuple(parcel for each in shipments for parcel in _parcels_of_2020(each, tracking)),
        arrives_by=_latest(
            each.estimated_arrival_date
            for each in shipments
            if not each.fulfillment_shipment_package and not _is_cancelled_of_2020(each)
        ),
        planned=any(_is(each.fulfillment_shipment_status, "PENDING") for each in shipments),
        cancelled_shipments=tuple(
            each.amazon_shipment_id for each in shipments if each.amazon_shipment_id and _is_cancelled_of_2020(each)
        ),
    )


def packages_to_track(order: FulfillmentOrder) -> list[int]:
    """The numbers of an order's packages that have left Amazon."""
    return [
        package.package_number
        for shipment in order.fulfillment_shipments or ()
        if shipment and _is(shipment.fulfillment_shipment_status, "SHIPPED")
        for package in shipment.fulfillment_shipment_package or ()
        if package and package.package_number is not None
    ]


def _is_cancelled_of_2020(shipment: FulfillmentShipment) -> bool:
    return any(
        _is(shipment.fulfillment_shipment_status, each) for each in ("CANCELLED_BY_FULFILLER", "CANCELLED_BY_SELLER")
    )


def _parcels_of_2020(shipment: FulfillmentShipment, tracking: Mapping[int, PackageTracking]) -> Iterable[Parcel]:
    if _is_cancelled_of_2020(shipment):
        return
    packages = [each for each in shipment.fulfillment_shipment_package or () if each]
    items = [each for each in shipment.fulfillment_shipment_item or () if each]
    placed: list[Item] = [
        (item.seller_sku, item.quantity, None if item.package_number is None else str(item.package_number))
        for item in items
    ]
    ids = [None if each.package_number is None else str(each.package_number) for each in packages]
    left = _is(shipment.fulfillment_shipment_status, "SHIPPED")
    for package, package_id, units in zip(packages, ids, _units(ids, placed), strict=True):
        seen = tracking.get(package.package_number) if package.package_number is not None else None
        status = status_of_tracking(seen.current_status) if seen else None
        arrived = [
            event.event_date
            for event in (seen.tracking_events if seen else None) or ()
            if event and event.event_code in ARRIVED and event.event_date
        ]
        yield Parcel(
            package_id,
            number(shipment.amazon_shipment_id),
            carrier=number(package.carrier_code),
            tracking_number=tracking_number(package.tracking_number),
            tracking_url=url(seen.customer_tracking_link) if seen else None,
            amazon_tracking_number=tracking_number(package.amazon_fulfillment_tracking_number),
            status=status or ("PROCESSING" if _is(shipment.fulfillment_shipment_status, "PENDING") else None),
            ship_date=shipment.shipping_date if left else None,
            arrives_at=(seen and seen.estimated_arrival_date)
            or package.estimated_arrival_date
            or shipment.estimated_arrival_date,
            delivered_at=max(arrived, default=None) if status == "DELIVERED" else None,
            items=units,
        )


def _units(package_ids: Sequence[str | None], items: Iterable[Item]) -> list[dict[str, int]]:
    """Units of each SKU in each package of a shipment.

    Where an item does not say in which of several packages it is, it counts with the first: how much was shipped stays right.
    """
    units: list[Counter[str]] = [Counter() for _ in package_ids]
    for sku, quantity, owner in items:
        if sku and quantity and units:
            units[package_ids.index(owner) if owner in package_ids else 0][sku] += quantity
    return [dict(each) for each in units]


def _sku(product: ProductIdentifier | None) -> str | None:
    return product.amazon_sku if product else None


def _latest(moments: Iterable[datetime | None]) -> datetime | None:
    return max((moment for moment in moments if moment), default=None)


def _is(told: str | None, status: str) -> bool:
    return (told or "").replace("_", "").casefold() == status.replace("_", "").casefold()
