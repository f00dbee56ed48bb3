"""How an order leaves Amazon: in which shipments and packages, when, and as which rows of the shipments report."""

import random
from dataclasses import dataclass, field
from typing import Any

from sandbox.clock import iso_in
from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.order_request import OrderRequest

HOUR, DAY = 3600.0, 86400.0
Row = dict[str, str]


@dataclass(frozen=True, slots=True)
class Shape:
    """What is scripted about how an order ships; None leaves it to the seed.

    `parts`: in how many shipments (never more than it has units). `never`: it stays in Processing. `late`: its rows
    are reported days after it left. `shipment_id`, `shipment_item_id`: whether its rows carry them.
    """

    parts: int | None = None
    never: bool | None = None
    late: bool | None = None
    shipment_id: bool | None = None
    shipment_item_id: bool | None = None

    def __post_init__(self) -> None:
        if self.parts is not None and self.parts < 1:
            raise ValueError(f"an order leaves in at least one part, not {self.parts}")


@dataclass(slots=True)
class PartLine:
    """Units of one order line in one package."""

    item_id: str
    sku: str
    quantity: int
    package: int
    shipment_item_id: str


@dataclass(slots=True)
class Part:
    """One shipment.

    It leaves `after` waited seconds from Processing and is reported `reported_after` later; `shipped` and `reported`
    are the wall times at which that happened. `packages`: (carrier, tracking number), numbered from 1.
    """

    shipment_id: str
    center: str
    after: float
    reported_after: float
    lines: list[PartLine] = field(default_factory=list)
    packages: list[tuple[str, str]] = field(default_factory=list)
    shipped: float | None = None
    reported: float | None = None


@dataclass(slots=True)
class Plan:
    """All shipments of an order, and what is odd about them."""

    parts: list[Part]
    never: bool
    late: bool
    shipment_id: bool
    shipment_item_id: bool


def make_plan(seed: str, request: OrderRequest, granted: dict[str, int], shape: Shape) -> Plan:
    """Settle how an order ships: by the seed, except for what its shape says. `granted` units of each line go."""
    rng = random.Random(seed)
    abroad = request.address.get("countryCode") != MARKETPLACES[request.marketplace_id].country
    dice = [rng.random() for _ in range(5)]
    units = [line for line in request.lines for _ in range(granted[line.item_id])]
    parts = 1 + (dice[0] > 0.6) + (dice[0] > 0.85) if shape.parts is None else shape.parts
    late = dice[1] < 0.15 if shape.late is None else shape.late
    plan = Plan(
        parts=[],
        never=dice[2] < 0.08 if shape.never is None else shape.never,
        late=late,
        shipment_id=not (abroad and dice[3] < 0.5) if shape.shipment_id is None else shape.shipment_id,
        shipment_item_id=dice[4] >= 0.2 if shape.shipment_item_id is None else shape.shipment_item_id,
    )
    rng.shuffle(units)
    after = 0.0
    for number in range(min(parts, len(units))):
        after += rng.uniform(3, 30) * HOUR
        reported_after = rng.uniform(2, 7) * DAY if late else rng.uniform(1, 3) * HOUR
        share = units[number :: min(parts, len(units))]
        part = Part(f"D{_code(rng, 8)}", rng.choice(("BFI4", "HND3", "LEJ1", "YYZ4")), after, reported_after)
        _pack(part, share, rng)
        plan.parts.append(part)
    return plan


def _code(rng: random.Random, length: int) -> str:
    return "".join(rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZbcdfghjkmnpqrstvwxyz0123456789", k=length))


def _pack(part: Part, share: list[Any], rng: random.Random) -> None:
    """Put the units of a shipment into one or two packages; sometimes one line makes two equal entries of a package."""
    wanted = 2 if len(share) > 1 and rng.random() < 0.3 else 1
    for _ in range(wanted):
        carrier = rng.choice(("AMZN_US", "UPS", "FEDEX"))
        part.packages.append((carrier, f"TBA{rng.randrange(10**12):012d}"))
    for package in range(1, wanted + 1):
        held = share[package - 1 :: wanted]
        for line in dict.fromkeys(held):
            quantity = held.count(line)
            split = quantity % 2 == 0 and rng.random() < 0.1
            for piece in (quantity // 2, quantity // 2) if split else (quantity,):
                part.lines.append(PartLine(line.item_id, line.sku, piece, package, f"D{_code(rng, 9)}"))


def rows(amazon_order_id: str, request: OrderRequest, received: float, part: Part, plan: Plan) -> list[Row]:
    """The report's rows of one shipped part."""
    shipped, reported = part.shipped or 0.0, part.reported or 0.0
    place = MARKETPLACES[request.marketplace_id]
    numbers = {line.item_id: n for n, line in enumerate(request.lines)}
    address = request.address
    base = {
        "amazon-order-id": amazon_order_id,
        "merchant-order-id": request.order_id,
        "shipment-id": part.shipment_id if plan.shipment_id else "",
        "purchase-date": iso_in(min(received, shipped), place.country),
        "shipment-date": iso_in(shipped, place.country),
        "reporting-date": iso_in(reported, place.country),
        "currency": place.currency,
        "ship-service-level": request.speed,
        "recipient-name": address.get("name", ""),
        "ship-address-1": address.get("addressLine1", ""),
        "ship-address-2": address.get("addressLine2", ""),
        "ship-city": "--" if place.country == "JP" else address.get("city", ""),
        "ship-state": address.get("stateOrRegion", ""),
        "ship-postal-code": address.get("postalCode", ""),
        "ship-country": address.get("countryCode", ""),
        "ship-phone-number": address.get("phone", ""),
        "buyer-email": request.emails[0] if request.emails else "",
        "estimated-arrival-date": iso_in(shipped + 2 * DAY, place.country),
        "fulfillment-center-id": part.center,
        "fulfillment-channel": "AFN",
        "sales-channel": "Non-Amazon",
        "points-granted": "0",
        **dict.fromkeys(_NO_MONEY, "0.00"),
    }
    made = []
    for line in part.lines:
        carrier, tracking = part.packages[line.package - 1]
        made.append(
            base
            | {
                "shipment-item-id": line.shipment_item_id if plan.shipment_item_id else "",
                "amazon-order-item-id": f"{int(amazon_order_id[4:11]) % 10}{numbers[line.item_id]:04d}{amazon_order_id[-7:]}",
                "merchant-order-item-id": line.item_id,
                "sku": line.sku,
                "product-name": f"Article {line.sku}",
                "quantity-shipped": str(line.quantity),
                "carrier": carrier,
                "tracking-number": tracking,
            }
        )
    return made


_NO_MONEY = (
    "shipping-price",
    "shipping-tax",
    "gift-wrap-price",
    "gift-wrap-tax",
    "item-promotion-discount",
    "ship-promotion-discount",
)
