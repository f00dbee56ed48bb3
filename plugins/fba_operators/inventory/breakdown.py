"""Where the units of each SKU are beside the one number: reserved, inbound, researched, unfulfillable.

Read from getInventorySummaries: what changed since the last reading, and once a day all SKUs, because Amazon's lists of
changes have been incomplete, and a change of inbound units alone is not in them.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from more_itertools import chunked

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import InventoryDetails, InventorySummary
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import counted
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import locked
from fba_operators.warehouse.statements import execute

OVERLAP = timedelta(minutes=5)  # so that a change which Amazon dates late is not missed
PAGES_AT_ONCE = 20  # written in one transaction

Row = tuple[Any, ...]
COLUMNS = (
    *("sku", "fnsku", "fulfillable", "reserved_customer_order", "reserved_transfer", "reserved_processing"),
    *("inbound_working", "inbound_shipped", "inbound_receiving", "researching", "unfulfillable", "future_supply"),
)


def breakdown_row(summary: InventorySummary, details: InventoryDetails) -> Row:
    """The values of :data:`COLUMNS`; None where Amazon did not say it."""
    reserved, researching = details.reserved_quantity, details.researching_quantity
    unfulfillable, future = details.unfulfillable_quantity, details.future_supply_quantity
    return (
        summary.seller_sku,
        summary.fn_sku,
        details.fulfillable_quantity,
        reserved.pending_customer_order_quantity if reserved else None,
        reserved.pending_transshipment_quantity if reserved else None,
        reserved.fc_processing_quantity if reserved else None,
        details.inbound_working_quantity,
        details.inbound_shipped_quantity,
        details.inbound_receiving_quantity,
        researching.total_researching_quantity if researching else None,
        unfulfillable.total_unfulfillable_quantity if unfulfillable else None,
        future.future_supply_buyable_quantity if future else None,
    )


def read_breakdown(hook: SellingPartnerHook, warehouse: Warehouse, run: RunLog, task_id: str) -> dict[str, int]:
    """Read the breakdown of a store, or what changed of it, and note it in the run.

    A SKU that is not named keeps its row, whose ``as_of`` says how old it is. A reading that is interrupted is begun anew by
    the next one; what it has read is written.

    :param task_id: of the task, for the run's row
    :return: ``skus`` that were read and ``unread`` ones
    :raises UnavailableError: Amazon did not answer, or its list does not end
    """
    store, marketplace_id = run.store, hook.marketplace.id
    with locked(warehouse, "fba.stock_breakdown", store) as lock:
        with warehouse.connect() as db:
            (begin,) = execute(db, "inventory.breakdown_since", store=store, marketplace_id=marketplace_id).fetchall()
        since, started = begin["since"], datetime.now(UTC)
        skus = unread = 0
        for pages in chunked(hook.get_inventory_changes(since), PAGES_AT_ONCE):
            lock.check()
            rows, unreadable = _rows(summary for page in pages for summary in page)
            columns = dict(zip(COLUMNS, map(list, zip(*rows.values(), strict=True)), strict=True)) if rows else {}
            if columns:
                with warehouse.connect() as db:
                    execute(db, "inventory.write_breakdown", store=store, **columns)
            skus, unread = skus + len(rows), unread + unreadable
        lock.check()
        # By Amazon's clock, and no later than by the database's: after an answer that is dated ahead changes would be left out.
        read_until = min(started + hook.clock_offset, begin["begun_at"]) - OVERLAP
        what = f"changed since {since:%Y-%m-%d %H:%M} UTC" if since else "in all"
        summary = f"Breakdown read of {counted(skus, 'SKU')} {what}."
        with warehouse.connect() as db:
            if since is None and (left := _not_named(db, store, begin["begun_at"])):
                summary += f" Amazon did not name {counted(left, 'SKU')} of earlier readings; as_of says since when."
            if unread:
                summary += f" {counted(unread, 'SKU')} could not be read."
            execute(
                db,
                "inventory.record_breakdown_reading",
                store=store,
                marketplace_id=marketplace_id,
                read_until=read_until,
                begun_at=begin["begun_at"],
                everything=since is None,
            )
            run.note(db, task_id, summary, attention={"unread_breakdowns": unread})
        return {"skus": skus, "unread": unread}


def _rows(summaries: Iterable[InventorySummary | None]) -> tuple[dict[str, Row], int]:
    """The rows by SKU, of one that comes twice the later; and how many could not be read."""
    rows: dict[str, Row] = {}
    unread = 0
    for summary in summaries:
        if summary and summary.inventory_details:
            rows[summary.seller_sku] = breakdown_row(summary, summary.inventory_details)
        else:
            unread += 1
    return rows, unread


def _not_named(db: Any, store: str, begun_at: datetime) -> int:
    (row,) = execute(db, "inventory.breakdowns_not_named", store=store, begun_at=begun_at).fetchall()
    return int(row["count"])
