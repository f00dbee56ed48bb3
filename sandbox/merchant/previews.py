"""What Amazon would promise and charge for an order that does not exist yet, for one shipping speed."""

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from sandbox.merchant.features import required, unavailable
from sandbox.merchant.merchant import Catalogue
from sandbox.merchant.order_request import Line, address_errors
from sandbox.merchant.parcels import DAY, HOUR
from sandbox.merchant.stock import sellable_units
from sandbox.merchant.tariffs import SHIPS_WITHIN_HOURS, Tariff, fees, offered_speeds

NO_STOCK = "ItemQuantityNotAvailable"
NO_FEATURE = "FeatureNotAvailable"


@dataclass(frozen=True, slots=True)
class Wish:
    """The order that is asked about; `address` has the Fulfillment Outbound API's field names."""

    marketplace_id: str
    address: dict[str, str]
    lines: tuple[Line, ...]
    features: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlannedShipment:
    """The lines of one shipment, and its fees by kind."""

    lines: tuple[Line, ...]
    fees: dict[str, str]

    @property
    def total(self) -> str:
        """The sum of its fees."""
        return str(sum(map(Decimal, self.fees.values()), Decimal(0)))


@dataclass(frozen=True, slots=True)
class Preview:
    """One speed. With `reasons` or `missing` it cannot be had, and has no shipments.

    `missing` is (line, its units that cannot be had, the reason). `ships` and `arrives` are wall times, earliest first.
    """

    speed: str
    reasons: tuple[str, ...]
    missing: tuple[tuple[Line, int, str], ...]
    shipments: tuple[PlannedShipment, ...]
    ships: tuple[float, float]
    arrives: tuple[float, float]

    @property
    def is_fulfillable(self) -> bool:
        """Whether an order of this speed would be accepted and shipped whole."""
        return not self.reasons and not self.missing

    @property
    def fees(self) -> dict[str, str]:
        """The fees of the whole order by kind."""
        totals: dict[str, Decimal] = {}
        for shipment in self.shipments:
            for kind, amount in shipment.fees.items():
                totals[kind] = totals.get(kind, Decimal(0)) + Decimal(amount)
        return {kind: str(amount) for kind, amount in totals.items()}


def preview(catalogue: Catalogue, wish: Wish, speed: str, tariff: Tariff | None, now: float) -> Preview:
    """Return the preview of one speed at the wall time `now`; `tariff` None: Amazon does not have the speed."""
    reasons = []
    if tariff is None or not tariff.offered or speed not in offered_speeds(wish.marketplace_id):
        reasons.append("DeliverySLAUnavailable")
    if address_errors(wish.address, wish.marketplace_id):
        reasons.append("InvalidDestinationAddress")
    missing = [*_without_feature(catalogue, wish), *_without_stock(catalogue, wish)]
    ships = (now + SHIPS_WITHIN_HOURS[0] * HOUR, now + SHIPS_WITHIN_HOURS[1] * HOUR)
    days = tariff.days if tariff else (0.0, 0.0)
    arrives = (ships[0] + days[0] * DAY, ships[1] + days[1] * DAY)
    shipments = () if reasons or missing or tariff is None else _shipments(wish, tariff)
    return Preview(speed, tuple(reasons), tuple(missing), shipments, ships, arrives)


def _without_feature(catalogue: Catalogue, wish: Wish) -> list[tuple[Line, int, str]]:
    return [
        (line, line.quantity, NO_FEATURE)
        for line in wish.lines
        if unavailable(catalogue.features, wish.marketplace_id, wish.features, [line.sku])
    ]


def _without_stock(catalogue: Catalogue, wish: Wish) -> list[tuple[Line, int, str]]:
    left = Counter({line.sku: sellable_units(catalogue.items[line.sku]) for line in wish.lines})
    missing = []
    for line in wish.lines:
        taken = min(line.quantity, left[line.sku])
        left[line.sku] -= taken
        if taken < line.quantity:
            missing.append((line, line.quantity - taken, NO_STOCK))
    return missing


def _shipments(wish: Wish, tariff: Tariff) -> tuple[PlannedShipment, ...]:
    """Plan one shipment, or two if the order has several lines; what is charged once is charged with the first."""
    parts = 1 if len(wish.lines) == 1 or "DELIVER_TOGETHER" in required(wish.features) else 2
    planned = []
    for number in range(parts):
        lines = wish.lines[number::parts]
        units = sum(line.quantity for line in lines)
        planned.append(
            PlannedShipment(lines, fees(tariff, wish.marketplace_id, units, wish.features, is_first=number == 0))
        )
    return tuple(planned)
