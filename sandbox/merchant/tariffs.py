"""What each shipping speed costs and promises. Fees and days are invented; which marketplace has which speed is not."""

from dataclasses import dataclass, field
from decimal import Decimal

from sandbox.marketplaces import MARKETPLACES
from sandbox.merchant.features import required

SPEEDS = ("Standard", "Expedited", "Priority", "ScheduledDelivery")
FEE_KINDS = ("FBAPerUnitFulfillmentFee", "FBAPerOrderFulfillmentFee", "FBATransportationFee")
SHIPS_WITHIN_HOURS = (4.0, 31.0)
_PER_UNIT, _PER_ORDER, _TRANSPORT = FEE_KINDS
_PRIORITY_COUNTRIES = frozenset({"CA", "IN", "MX"})
_SURCHARGES = {"BLOCK_AMZL": Decimal("1.10"), "SIGNATURE_CONFIRMATION": Decimal("3.40")}
_JPY_PER_UNIT_OF_MONEY = 100


@dataclass(frozen=True, slots=True)
class Tariff:
    """One speed: its fees by kind (per unit, per order, per order), and the days that a parcel is under way.

    `days` are the fewest and the most. `offered` False: no order can have this speed for now.
    """

    fees: dict[str, str] = field(default_factory=dict)
    days: tuple[float, float] = (2.0, 4.0)
    offered: bool = True

    def __post_init__(self) -> None:
        unknown = self.fees.keys() - set(FEE_KINDS)
        if unknown:
            raise ValueError(f"{min(unknown)} is not one of the fees {', '.join(FEE_KINDS)}")
        if not 0 < self.days[0] <= self.days[1]:
            raise ValueError(f"days must be more than 0, the fewest first: {self.days}")


def default_tariffs() -> dict[str, Tariff]:
    """Return the tariff of every speed that the sandbox ships with."""
    return {
        "Standard": Tariff({_PER_UNIT: "3.95", _PER_ORDER: "1.00", _TRANSPORT: "2.50"}, (2.0, 4.0)),
        "Expedited": Tariff({_PER_UNIT: "4.95", _PER_ORDER: "1.00", _TRANSPORT: "6.20"}, (1.0, 2.0)),
        "Priority": Tariff({_PER_UNIT: "5.95", _PER_ORDER: "1.00", _TRANSPORT: "11.80"}, (0.5, 1.0)),
    }


def offered_speeds(marketplace_id: str) -> list[str]:
    """Return the speeds of a marketplace: Priority is in Canada, India and Mexico only."""
    has_priority = MARKETPLACES[marketplace_id].country in _PRIORITY_COUNTRIES
    return ["Standard", "Expedited", *(["Priority"] if has_priority else [])]


def fees(
    tariff: Tariff, marketplace_id: str, units: int, features: dict[str, str], *, is_first: bool = True
) -> dict[str, str]:
    """Return the fee of each kind for a shipment, in the marketplace's currency, e.g. {"FBATransportationFee": "2.50"}.

    Only the first shipment of an order is charged what an order costs once. Surcharges of Required features are part of
    FBATransportationFee.
    """
    amounts = {kind: Decimal(amount) for kind, amount in tariff.fees.items() if is_first or kind == _PER_UNIT}
    if _PER_UNIT in amounts:
        amounts[_PER_UNIT] *= units
    if _TRANSPORT in amounts:
        amounts[_TRANSPORT] += sum(_SURCHARGES.get(name, Decimal(0)) for name in required(features))
    if MARKETPLACES[marketplace_id].currency == "JPY":
        return {kind: str(int(amount * _JPY_PER_UNIT_OF_MONEY)) for kind, amount in amounts.items()}
    return {kind: f"{amount:.2f}" for kind, amount in amounts.items()}
