"""Parcels: their carriers and numbers, and what happens to them after they leave."""

import random
from dataclasses import dataclass, field

HOUR, DAY = 3600.0, 86400.0
STATUSES = ("PROCESSING", "IN_TRANSIT", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED", "UNDELIVERABLE", "EXPIRED")
# The states of getPackageTrackingDetails, each with the code and text of the event that brings it about, if any.
STATES: dict[str, tuple[str, str] | None] = {
    "IN_TRANSIT": ("EVENT_202", "Departure scan"),
    "DELIVERED": ("EVENT_301", "Delivered"),
    "RETURNING": ("EVENT_408", "Returning to seller"),
    "RETURNED": ("EVENT_309", "Returned to seller"),
    "UNDELIVERABLE": ("EVENT_416", "Undeliverable"),
    "DELAYED": ("EVENT_418", "Shipment delayed"),
    "AVAILABLE_FOR_PICKUP": ("EVENT_308", "Available for pickup"),
    "CUSTOMER_ACTION": ("EVENT_306", "Customer contacted to arrange delivery"),
    "UNKNOWN": None,
    "OUT_FOR_DELIVERY": ("EVENT_302", "Out for delivery"),
    "DELIVERY_ATTEMPTED": ("EVENT_304", "Delivery attempted"),
    "PICKUP_SUCCESSFUL": ("EVENT_804", "Package picked up from locker"),
    "PICKUP_CANCELLED": None,
    "PICKUP_ATTEMPTED": None,
    "PICKUP_SCHEDULED": ("EVENT_307", "Delivery appointment scheduled"),
    "RETURN_REQUEST_ACCEPTED": None,
    "REFUND_ISSUED": None,
    "RETURN_RECEIVED_IN_FC": None,
}
FATES = ("on_time", "late", "lost", "undeliverable")
AMAZON_LOGISTICS = "AMZN_US"
CARRIERS = (AMAZON_LOGISTICS, "UPS", "FEDEX")


@dataclass(slots=True)
class Parcel:
    """One package of a shipment.

    `number` is the integer that API 2020-07-01 knows it by (0 until its order is planned), `package_id` the id of
    2026-07-04, `luck` (0 to 1) where in its promised time it arrives, `fate` one of `FATES`. `status` is one of
    `STATUSES`, `state` one of `STATES`. `left`, `promised` (the latest arrival) and `delivered` are wall times, as are
    those of `history`, which has every status and state since it left. `is_scripted`: a test set its status, so time no
    longer changes it.
    """

    package_id: str
    carrier: str
    tracking_number: str
    amazon_number: str
    luck: float
    fate: str = "on_time"
    number: int = 0
    status: str = "PROCESSING"
    state: str = "UNKNOWN"
    left: float | None = None
    promised: float | None = None
    delivered: float | None = None
    history: list[tuple[str, float]] = field(default_factory=list)
    is_scripted: bool = False

    def move(self, status: str, moment: float) -> None:
        """Enter a status or state at the wall time `moment`; a state that is no status leaves the status as it is."""
        self.history.append((status, moment))
        self.state = status if status in STATES else "UNKNOWN"
        if status in STATUSES:
            self.status = status
            self.delivered = moment if status == "DELIVERED" else None


def tracking_number(carrier: str, digits: int) -> str:
    """Return a number as the carrier writes it; `digits` has at most twelve."""
    return {AMAZON_LOGISTICS: f"TBA{digits:012d}", "UPS": f"1Z{digits:016d}"}.get(carrier, f"{digits:012d}")


def make_parcel(carrier: str, digits: int, fate: str, rng: random.Random) -> Parcel:
    """Return a parcel that has not left; `digits` is the number its carrier gives it."""
    return Parcel(
        package_id=f"PKG-{rng.randrange(16**12):012x}",
        carrier=carrier,
        tracking_number=tracking_number(carrier, digits),
        amazon_number=f"MCF{rng.randrange(10**12):012d}",
        luck=rng.random(),
        fate=fate,
    )


def journey(parcel: Parcel, days: tuple[float, float]) -> list[tuple[float, str]]:
    """Return what happens to a parcel after it leaves, as (seconds after, status); `days` under way were promised."""
    arrives = (days[0] + parcel.luck * (days[1] - days[0])) * DAY
    promised = days[1] * DAY
    if parcel.fate == "late":
        late = promised + 2 * DAY
        return [(promised, "DELAYED"), (late - 6 * HOUR, "OUT_FOR_DELIVERY"), (late, "DELIVERED")]
    if parcel.fate == "lost":
        return [(promised + 30 * DAY, "EXPIRED")]
    end = "DELIVERED" if parcel.fate == "on_time" else "UNDELIVERABLE"
    return [(arrives - min(6 * HOUR, arrives / 2), "OUT_FOR_DELIVERY"), (arrives, end)]
