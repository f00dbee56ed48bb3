"""How an order ships: its shipments and packages, when they leave, and their rows in the shipments report."""

import random
from dataclasses import dataclass, field, replace
from typing import Any

from sandbox.clock import iso_for_country
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.features import required
from sandbox.merchant.order_request import OrderRequest
from sandbox.merchant.parcels import AMAZON_LOGISTICS, CARRIERS, DAY, FATES, HOUR, Parcel, make_parcel

Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class ShippingScript:
    """The scripted part of how an order ships; None leaves an option to the seed.

    `parts`: the number of shipments (at most its number of units). `never`: it stays in Processing. `late`: it is
    reported days after it ships. `shipment_id`, `shipment_item_id`: whether its report rows have these ids. `packages`:
    the number of parcels of each shipment (at most its units). `shared_item_id`: the parts of one line in the parcels
    of a shipment have one shipment item id. `amazon_logistics`: whether it goes out by Amazon Logistics, be it blocked
    or not. `fates`: of its parcels in turn, each one of `FATES`; the others arrive on time.
    """

    parts: int | None = None
    never: bool | None = None
    late: bool | None = None
    shipment_id: bool | None = None
    shipment_item_id: bool | None = None
    packages: int | None = None
    shared_item_id: bool = False
    amazon_logistics: bool | None = None
    fates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("parts", "packages"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, not {value}")
        unknown = set(self.fates) - set(FATES)
        if unknown:
            raise ValueError(f"fate {min(unknown)!r} is not one of {', '.join(FATES)}")


@dataclass(slots=True)
class ShipmentLine:
    """Units of one order line in one package."""

    item_id: str
    sku: str
    quantity: int
    package: int
    shipment_item_id: str


@dataclass(slots=True)
class Shipment:
    """One shipment.

    It leaves `ships_after` simulated seconds after the order is Processing, and is reported `reported_after` simulated
    seconds later; `shipped_at` and `reported_at` are the wall times at which it did. `center` is the id of its
    fulfillment center; its lines name its `packages` by their place, from 1.
    """

    shipment_id: str
    center: str
    ships_after: float
    reported_after: float
    lines: list[ShipmentLine] = field(default_factory=list)
    packages: list[Parcel] = field(default_factory=list)
    shipped_at: float | None = None
    reported_at: float | None = None


@dataclass(slots=True)
class Plan:
    """All shipments of an order; for the flags see `ShippingScript`."""

    shipments: list[Shipment]
    never_ships: bool
    late: bool
    has_shipment_id: bool
    has_shipment_item_id: bool


def plan_shipments(seed: str, request: OrderRequest, reserved: dict[str, int], script: ShippingScript) -> Plan:
    """Plan the shipments of an order: by the seed, except for what `script` sets.

    `reserved` is the number of units to ship of each line (by item id).
    """
    rng = random.Random(seed)
    is_abroad = request.address.get("countryCode") != MARKETPLACES[request.marketplace_id].country
    rolls = [rng.random() for _ in range(5)]
    units = [line for line in request.lines for _ in range(reserved[line.item_id])]
    together = "DELIVER_TOGETHER" in required(request.features)
    usual_parts = 1 if together else 1 + (rolls[0] > 0.6) + (rolls[0] > 0.85)
    parts = usual_parts if script.parts is None else script.parts
    if script.packages is None and together:
        script = replace(script, packages=1)
    if script.amazon_logistics is None and "BLOCK_AMZL" in required(request.features):
        script = replace(script, amazon_logistics=False)
    parcel_rng, fates = random.Random(f"{seed}/parcels"), iter(script.fates)
    late = rolls[1] < 0.15 if script.late is None else script.late
    plan = Plan(
        shipments=[],
        never_ships=rolls[2] < 0.08 if script.never is None else script.never,
        late=late,
        has_shipment_id=not (is_abroad and rolls[3] < 0.5) if script.shipment_id is None else script.shipment_id,
        has_shipment_item_id=rolls[4] >= 0.2 if script.shipment_item_id is None else script.shipment_item_id,
    )
    rng.shuffle(units)
    ships_after = 0.0
    for number in range(min(parts, len(units))):
        ships_after += rng.uniform(3, 30) * HOUR
        reported_after = rng.uniform(2, 7) * DAY if late else rng.uniform(1, 3) * HOUR
        shipment_units = units[number :: min(parts, len(units))]
        shipment = Shipment(
            f"D{_code(rng, 8)}", rng.choice(("BFI4", "HND3", "LEJ1", "YYZ4")), ships_after, reported_after
        )
        for carrier, digits in _pack(shipment, shipment_units, rng, script):
            shipment.packages.append(make_parcel(carrier, digits, next(fates, "on_time"), parcel_rng))
        plan.shipments.append(shipment)
    return plan


def _code(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZbcdfghjkmnpqrstvwxyz0123456789", k=length))


def _pack(
    shipment: Shipment, shipment_units: list[Any], rng: random.Random, script: ShippingScript
) -> list[tuple[str, int]]:
    """Put the units of a shipment into packages; returns the carrier and digits of each.

    There are one or two, unless scripted; sometimes a package has two equal entries for one line.
    """
    packages = 2 if len(shipment_units) > 1 and rng.random() < 0.3 else 1
    if script.packages is not None:
        packages = min(script.packages, len(shipment_units))
    drawn = [(rng.choice(CARRIERS), rng.randrange(10**12)) for _ in range(packages)]
    item_ids: dict[str, str] = {}
    for package in range(1, packages + 1):
        package_units = shipment_units[package - 1 :: packages]
        for line in dict.fromkeys(package_units):
            quantity = package_units.count(line)
            split = quantity % 2 == 0 and rng.random() < 0.1 and not script.shared_item_id
            for entry_quantity in (quantity // 2, quantity // 2) if split else (quantity,):
                item_id = f"D{_code(rng, 9)}"
                if script.shared_item_id:
                    item_id = item_ids.setdefault(line.item_id, item_id)
                shipment.lines.append(ShipmentLine(line.item_id, line.sku, entry_quantity, package, item_id))
    return [(_carrier(carrier, script.amazon_logistics), digits) for carrier, digits in drawn]


def _carrier(drawn: str, amazon_logistics: bool | None) -> str:
    if amazon_logistics is None:
        return drawn
    if amazon_logistics:
        return AMAZON_LOGISTICS
    return "UPS" if drawn == AMAZON_LOGISTICS else drawn


def report_rows(
    amazon_order_id: str, request: OrderRequest, received: float, shipment: Shipment, plan: Plan
) -> list[Row]:
    """Return the rows of one shipment for the shipments report."""
    shipped, reported = shipment.shipped_at or 0.0, shipment.reported_at or 0.0
    marketplace = MARKETPLACES[request.marketplace_id]
    numbers = {line.item_id: n for n, line in enumerate(request.lines)}
    address = request.address
    common = {
        "amazon-order-id": amazon_order_id,
        "merchant-order-id": request.order_id,
        "shipment-id": shipment.shipment_id if plan.has_shipment_id else "",
        "purchase-date": iso_for_country(min(received, shipped), marketplace.country),
        "shipment-date": iso_for_country(shipped, marketplace.country),
        "reporting-date": iso_for_country(reported, marketplace.country),
        "currency": marketplace.currency,
        "ship-service-level": request.speed,
        "recipient-name": address.get("name", ""),
        "ship-address-1": address.get("addressLine1", ""),
        "ship-address-2": address.get("addressLine2", ""),
        "ship-city": "--" if marketplace.country == "JP" else address.get("city", ""),
        "ship-state": address.get("stateOrRegion", ""),
        "ship-postal-code": address.get("postalCode", ""),
        "ship-country": address.get("countryCode", ""),
        "ship-phone-number": address.get("phone", ""),
        "buyer-email": request.emails[0] if request.emails else "",
        "fulfillment-center-id": shipment.center,
        "fulfillment-channel": "AFN",
        "sales-channel": "Non-Amazon",
        "points-granted": "0",
        **dict.fromkeys(_ZERO_AMOUNT_COLUMNS, "0.00"),
    }
    rows = []
    for line in shipment.lines:
        parcel = shipment.packages[line.package - 1]
        rows.append(
            common
            | {
                "shipment-item-id": line.shipment_item_id if plan.has_shipment_item_id else "",
                "amazon-order-item-id": f"{int(amazon_order_id[4:11]) % 10}{numbers[line.item_id]:04d}{amazon_order_id[-7:]}",
                "merchant-order-item-id": line.item_id,
                "sku": line.sku,
                "product-name": f"Article {line.sku}",
                "quantity-shipped": str(line.quantity),
                "carrier": parcel.carrier,
                "tracking-number": parcel.tracking_number,
                "estimated-arrival-date": iso_for_country(parcel.promised or shipped, marketplace.country),
            }
        )
    return rows


_ZERO_AMOUNT_COLUMNS = (
    "shipping-price",
    "shipping-tax",
    "gift-wrap-price",
    "gift-wrap-tax",
    "item-promotion-discount",
    "ship-promotion-discount",
)
