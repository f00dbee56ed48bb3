"""The parcels of a request as Amazon's order tells them: what each state means, and which parcel is which.

Nothing is taken back because an answer lacks it: a package, a number or a state that is not there says nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

STATUSES = ("PROCESSING", "IN_TRANSIT", "DELAYED", "OUT_FOR_DELIVERY", "DELIVERED", "UNDELIVERABLE", "EXPIRED")
"""ShipmentPackageStatus of Amazon's Fulfillment Outbound 2026-07-04."""
ENDED = ("DELIVERED", "UNDELIVERABLE", "EXPIRED")
"""Statuses of parcels that are not on their way any more."""
# CurrentStatus of getPackageTrackingDetails (2020-07-01). What has no counterpart is not here, and keeps the last state.
_OF_TRACKING = {
    "IN_TRANSIT": "IN_TRANSIT",
    "DELAYED": "DELAYED",
    "OUT_FOR_DELIVERY": "OUT_FOR_DELIVERY",
    "DELIVERED": "DELIVERED",
    "UNDELIVERABLE": "UNDELIVERABLE",
    "RETURNING": "UNDELIVERABLE",
    "RETURNED": "UNDELIVERABLE",
}
ARRIVED = ("EVENT_301", "EVENT_801")
"""Event codes of getPackageTrackingDetails: delivered, delivered to a locker."""
_NEEDIEST = ("UNDELIVERABLE", "EXPIRED", "DELAYED", "PROCESSING", "IN_TRANSIT", "OUT_FOR_DELIVERY", None, "DELIVERED")
MOST = 100  # characters of a number or a carrier's name
MOST_OF_A_URL = 500


@dataclass(frozen=True)
class Parcel:
    """A parcel; what is None was not said.

    :param package_id: Amazon's id of the package, unique in its shipment
    :param ship_date: when it left Amazon
    :param arrives_at: the arrival that Amazon promises
    :param items: units of each SKU in it
    """

    package_id: str | None
    shipment_id: str | None
    carrier: str | None = None
    tracking_number: str | None = None
    tracking_url: str | None = None
    amazon_tracking_number: str | None = None
    status: str | None = None
    ship_date: datetime | None = None
    arrives_at: datetime | None = None
    delivered_at: datetime | None = None
    items: Mapping[str, int] = field(default_factory=dict)

    @property
    def identity(self) -> str | None:
        """Amazon's id of the package, with that of its shipment."""
        return f"{self.shipment_id or ''}/{self.package_id}" if self.package_id else None


@dataclass(frozen=True)
class ToldOrder:
    """What Amazon says of an order, in our terms.

    :param status: Amazon's status of the order, as it stands there
    :param updated_at: when the order's status changed, by Amazon
    :param lines: SKU and units of each line; None where a line cannot be read
    :param arrives_by: the latest arrival promised for shipments without packages
    :param planned: whether a shipment of it is being prepared
    :param cancelled_shipments: Amazon's ids
    """

    fr_number: str
    status: str | None
    updated_at: datetime | None
    lines: tuple[tuple[str | None, int | None] | None, ...] | None
    parcels: tuple[Parcel, ...] = ()
    arrives_by: datetime | None = None
    planned: bool = False
    cancelled_shipments: tuple[str, ...] = ()


def status_of_package(told: str | None) -> str | None:
    """Amazon's status of a package as its model spells it; None for one that it does not document, and for none."""
    return _documented(told, STATUSES)


def status_of_tracking(told: str | None) -> str | None:
    """The status of a package for a state of getPackageTrackingDetails; None where the last one stands."""
    return _OF_TRACKING.get(_documented(told, tuple(_OF_TRACKING)) or "")


def _documented(told: str | None, known: tuple[str, ...]) -> str | None:
    letters = re.sub(r"[\W_]", "", told or "").casefold()
    return next((each for each in known if each.replace("_", "").casefold() == letters), None)


def number(text: str | None, most: int = MOST) -> str | None:
    """A number or name as it is kept: without white space around it; None where nothing is left, or far too much."""
    text = " ".join((text or "").split())
    return text if text.isprintable() and 0 < len(text) <= most else None


def url(text: str | None) -> str | None:
    """An address that a browser can open; None for anything else."""
    text = number(text, MOST_OF_A_URL)
    return text if text and re.match(r"https?://[^\s<>\"']+$", text) else None


def tracking_number(text: str | None) -> str | None:
    """The number of a parcel; None also for what stands where there is none, such as N/A, - or 0000."""
    return number(text) if _comparable(text) else None


def merged(parcels: Iterable[Parcel]) -> list[Parcel]:
    """Packages that cannot be told apart as one: what is told twice, and one without an id that has another's number.

    Units of packages without an id add up; what is told twice counts once. Of two states the one that needs somebody stands.
    """
    found: list[Parcel] = []
    for parcel in parcels:
        same = next((i for i, other in enumerate(found) if _cannot_be_told_apart(parcel, other)), None)
        if same is None:
            found.append(parcel)
        else:
            found[same] = _one_of(found[same], parcel)
    return found


def _cannot_be_told_apart(one: Parcel, other: Parcel) -> bool:
    return one.identity == other.identity if one.identity and other.identity else _has_same_number(one, other)


def _one_of(one: Parcel, other: Parcel) -> Parcel:
    neediest = min(one, other, key=lambda parcel: _NEEDIEST.index(parcel.status))
    state = {name: getattr(neediest, name) for name in ("status", "arrives_at", "delivered_at")}
    if one.identity and one.identity == other.identity:
        return replace(one, **state)
    return replace(one, **state, items=dict(Counter(one.items) + Counter(other.items)))


def keyed(told: Sequence[Parcel], known: Mapping[str, Parcel]) -> dict[str, Parcel]:
    """Find the rows of parcels: first by Amazon's ids, then by numbers, which several parcels may share.

    :param known: the request's rows by package_key
    :return: package_key → parcel; a known one keeps its key, whatever numbers it has got
    """
    found: dict[str, Parcel] = {}
    fresh = merged(told)
    for is_same in (_has_same_id, _has_same_number):
        left, fresh = fresh, []
        for parcel in left:
            rows = (key for key, row in known.items() if key not in found and is_same(parcel, row))
            key = next(rows, None)
            if key is None:
                fresh.append(parcel)
            else:
                found[key] = parcel
    for parcel in fresh:
        names = (parcel.amazon_tracking_number, parcel.tracking_number, parcel.package_id, parcel.identity)
        key = next((name for name in names if name and name not in found and name not in known), None)
        if key:
            found[key] = parcel
    return found


def _has_same_id(one: Parcel, other: Parcel) -> bool:
    return bool(one.identity) and one.identity == other.identity


def _has_same_number(one: Parcel, other: Parcel) -> bool:
    for name in ("amazon_tracking_number", "tracking_number"):
        mine, its = (_comparable(getattr(each, name)) for each in (one, other))
        if mine and its:
            return mine == its
    return False


def _comparable(text: str | None) -> str:
    """A number in one spelling; "" for what is none: every carrier's has a digit that is not 0."""
    return re.sub(r"\s", "", text or "").upper() if re.search(r"[1-9]", text or "") else ""


def is_finished(parcels: Iterable[Parcel], *, nothing_more_ships: bool, shipped: bool) -> bool:
    """Whether Amazon need not be asked for an order any more: nothing more ships, and no parcel is on its way.

    :param parcels: all that are known
    :param nothing_more_ships: the order's status says so
    :param shipped: it also says that something was shipped, so there must be parcels
    """
    statuses = [parcel.status for parcel in parcels]
    return nothing_more_ships and (bool(statuses) or not shipped) and all(status in ENDED for status in statuses)


def row_of(key: str, parcel: Parcel) -> dict[str, Any]:
    """A parcel as the columns of ``fba.package``; times as ISO 8601."""
    times = {name: getattr(parcel, name) for name in ("ship_date", "arrives_at", "delivered_at")}
    texts = {
        name: getattr(parcel, name)
        for name in (
            *("carrier", "tracking_number", "tracking_url", "amazon_tracking_number", "package_id", "shipment_id"),
            "status",
        )
    }
    return {"package_key": key, **texts, **{name: moment and moment.isoformat() for name, moment in times.items()}}
