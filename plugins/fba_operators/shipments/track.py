"""Keeping what Amazon's orders say: parcels, statuses, the cursor of the list, and whether report and order agree.

Every answer is kept in one transaction, under the lock of the store's shipments, and only if no answer to a later question
was kept before: a process that slept for an hour takes nothing back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from fba_operators.shipments.parcels import Parcel, ToldOrder, is_finished, keyed, row_of
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import take_lock
from fba_operators.warehouse.statements import execute

LOADS = "fba.shipment_item"  # the lock of the store's loads of shipments reports
FIRST_READING = timedelta(days=60)
OVERLAP = timedelta(minutes=5)
NAMED_WITHIN = timedelta(days=1)
_COLUMNS = (
    *("package_id", "shipment_id", "carrier", "tracking_number", "tracking_url", "amazon_tracking_number", "status"),
    *("ship_date", "arrives_at", "delivered_at"),
)


@dataclass(frozen=True)
class Request:
    """A request and what is known of its order.

    :param ordered: units of each SKU
    :param packages: its rows of ``fba.package`` by package_key
    :param read_at: when the answer that is known was asked for
    :param held: it was sent to be held by Amazon until it is released
    :param lapsed: an earlier order of its number lapsed on hold
    """

    fr_number: str
    status: str
    seller_id: str | None
    claim_id: str | None
    sent_at: datetime | None
    amazon_order_status: str | None
    ordered: Mapping[str, int]
    packages: Mapping[str, Parcel]
    read_at: datetime | None
    updated_at: datetime | None
    held: bool
    lapsed: bool


@dataclass(frozen=True)
class Kept:
    """An order that is kept.

    :param order_status: Amazon's status as its 2020-07-01 model spells it
    :param end: status and reason that it gives the request, or None
    :param nothing_more_ships: whether that status is final
    """

    told: ToldOrder
    request: Request
    order_status: str | None
    end: tuple[str, str] | None
    nothing_more_ships: bool


@dataclass
class Changes:
    """What a reading changed.

    :param new: parcels not known before
    :param parcels: status → parcels that changed and now have it
    :param requests: numbers of requests with a change
    :param moved: status → requests that came to it
    """

    new: int = 0
    parcels: dict[str, int] = field(default_factory=dict)
    requests: set[str] = field(default_factory=set)
    moved: dict[str, int] = field(default_factory=dict)


class Tracking:
    """What is known of the orders of one store.

    :param store: connection id
    """

    def __init__(self, warehouse: Warehouse, store: str) -> None:
        self.warehouse = warehouse
        self.store = store

    def begin_of_reading(self) -> tuple[datetime, datetime]:
        """Where the list is to be read from, and the time by the database's clock."""
        (row,) = self._rows("shipments.cursor")
        now: datetime = row["now"]
        return min(row["read_until"] or now - FIRST_READING, now - OVERLAP), now

    def lock(self, db: psycopg.Connection[Any]) -> None:
        """Keep reports of this store from being loaded until the transaction ends: both write the same timeline.

        :raises ThrottledError: a load has gone on for half a minute
        """
        take_lock(db, LOADS, self.store)

    def requests(self, db: psycopg.Connection[Any], numbers: Sequence[str]) -> dict[str, Request]:
        """The store's requests of these numbers."""
        rows = execute(db, "shipments.requests_of_orders", store=self.store, numbers=list(numbers))
        return {row["fr_number"]: _request(row) for row in rows}

    def keep(self, db: psycopg.Connection[Any], kept: Iterable[Kept], read_at: datetime, changes: Changes) -> None:
        """Keep what orders say, in the caller's transaction, which holds the lock.

        :param read_at: when they were asked for, by the database's clock
        :param changes: collects what changed
        """
        orders, packages, items, cancelled, statuses, planned = [], [], [], [], [], []
        for each in kept:
            told, known, number = each.told, each.request.packages, each.told.fr_number
            parcels = keyed(told.parcels, known)
            all_known = {**known, **{key: _with_last(known.get(key), parcel) for key, parcel in parcels.items()}}
            shipped = each.nothing_more_ships and each.end is None
            finished = is_finished(all_known.values(), nothing_more_ships=each.nothing_more_ships, shipped=shipped)
            moved = (
                each.request.read_at is None
                or told.updated_at not in (None, each.request.updated_at)
                or any(key not in known or known[key].status != all_known[key].status for key in parcels)
            )
            orders.append(
                {
                    "fr_number": number,
                    "updated_at": told.updated_at and told.updated_at.isoformat(),
                    "arrives_by": told.arrives_by and told.arrives_by.isoformat(),
                    "finished": finished,
                    "moved": moved,
                }
            )
            packages += [{"fr_number": number, **row_of(key, parcel)} for key, parcel in parcels.items()]
            items += [
                {"fr_number": number, "package_key": key, "sku": sku, "quantity": quantity}
                for key, parcel in parcels.items()
                for sku, quantity in parcel.items.items()
            ]
            cancelled += [{"fr_number": number, "shipment_id": each_id} for each_id in told.cancelled_shipments]
            planned += [number] if told.planned else []
            if each.order_status:
                status, reason = each.end or (None, None)
                updated = told.updated_at and told.updated_at.isoformat()
                statuses.append(
                    {
                        **{"fr_number": number, "order_status": each.order_status, "status": status, "reason": reason},
                        "updated_at": updated,
                    }
                )
        if not orders:
            return
        self._run(db, "shipments.keep_orders", orders=Jsonb(orders), read_at=read_at)
        self._run(db, "shipments.remove_cancelled_packages", cancelled=Jsonb(cancelled))
        if planned:
            self._run(db, "shipments.record_planned", numbers=planned)
        for row in self._run(db, "shipments.keep_packages", packages=Jsonb(packages)):
            changes.new += row["is_new"]
            changes.requests.add(row["fr_number"])
            if row["status"]:
                changes.parcels[row["status"]] = changes.parcels.get(row["status"], 0) + 1
        self._run(db, "shipments.keep_package_items", items=Jsonb(items))
        for row in self._run(db, "shipments.record_told_statuses", statuses=Jsonb(statuses), read_at=read_at):
            if row["status"] != "accepted":
                changes.moved[row["status"]] = changes.moved.get(row["status"], 0) + 1
                changes.requests.add(row["fr_number"])

    def move_cursor(self, db: psycopg.Connection[Any], read_until: datetime, read_at: datetime) -> None:
        """Record that the list was read to its end, in the transaction that keeps its last page."""
        self._run(db, "shipments.move_cursor", read_until=read_until, read_at=read_at)

    def record_without_list(self) -> bool:
        """Record that the account has no list of changed orders; returns whether that is news."""
        since, _ = self.begin_of_reading()
        return bool(self._rows("shipments.record_without_list", read_until=since))

    def to_ask(self, seller_id: str, unheard_for: timedelta, most: int) -> list[str]:
        """The numbers of unfinished requests of which nothing was heard for so long, the oldest question first."""
        values = {"seller_id": seller_id, "seconds": unheard_for.total_seconds(), "most": most}
        return [row["fr_number"] for row in self._rows("shipments.orders_to_ask", **values)]

    def record_not_shown(self, number: str, read_at: datetime) -> None:
        """Record that Amazon was asked for an order and did not show it.

        :param read_at: when it was asked; earlier, to ask again sooner
        """
        self._rows("shipments.record_not_shown", number=number, read_at=read_at)

    def compare_witnesses(self) -> None:
        """Compare report and orders where one of them has told something new."""
        with self.warehouse.connect() as db:
            self.lock(db)
            self._run(db, "shipments.compare_witnesses")

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            return self._run(db, name, **values)

    def _run(self, db: psycopg.Connection[Any], name: str, **values: Any) -> list[dict[str, Any]]:
        cursor = execute(db, name, store=self.store, **values)
        return cursor.fetchall() if cursor.description else []


def _request(row: dict[str, Any]) -> Request:
    packages = {
        each["package_key"]: Parcel(**{name: _value(name, each[name]) for name in _COLUMNS})
        for each in row["packages"] or ()
    }
    names = (
        *("fr_number", "status", "seller_id", "claim_id", "sent_at", "amazon_order_status", "read_at"),
        *("held", "lapsed"),
    )
    return Request(
        **{name: row[name] for name in names},
        ordered=row["ordered"] or {},
        packages=packages,
        updated_at=row["amazon_updated_at"],
    )


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if value and name in ("ship_date", "arrives_at", "delivered_at") else value


def _with_last(known: Parcel | None, told: Parcel) -> Parcel:
    """A parcel with the status it had, where the answer does not say one."""
    if known is None or told.status:
        return told
    return Parcel(told.package_id, told.shipment_id, status=known.status)
