"""Retention: what is removed when its retention period is over: personal data and raw copies, and in the end everything else.

Amazon's Data Protection Policy (text of November 2025): personal data at most 30 days after delivery, what is not personal at
most 18 months, logs at least 12 months.
"""

from __future__ import annotations

from typing import Any

import psycopg

from fba_operators.settings.models import Retention
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import execute

# In this order: a rejected line goes with the raw copy of its report.
KINDS = {
    "runs.remove_addresses": "addresses",
    "runs.remove_documents": "raw reports",
    "runs.remove_rejected_lines": "rejected lines",
    "runs.remove_processing_reports": "processing reports",
    "runs.remove_orders_at_amazon": "orders of others",
    "runs.remove_foreign_feeds": "feeds of others",
}
# In this order: a request must not outlive its shipments, nor a message its request.
OLD_KINDS = {
    "runs.remove_requests": "closed requests",
    "runs.remove_feeds": "feeds",
    "runs.remove_shipments": "shipments",
    "runs.remove_reports": "reports",
    "runs.remove_runs": "runs",
    "runs.remove_stock_changes": "changes of stock",
    "runs.remove_breakdowns": "breakdowns of stock",
    "runs.remove_available_changes": "delivered changes",
}
BATCH = 2000  # rows removed in one transaction
MOST_BATCHES = 20  # of each kind in one run; the next run goes on

Removed = dict[str, dict[str, int]]
"""Store → kind → number removed."""


def remove_all_expired(warehouse: Warehouse, retention: Retention) -> Removed:
    """Remove everything whose retention period is over, of every store: :func:`remove_expired` and :func:`remove_old`."""
    with warehouse.connect() as db:
        removed = remove_expired(db, retention)
    for store, kinds in remove_old(warehouse, retention).items():
        removed.setdefault(store, {}).update(kinds)
    return removed


def remove_old(warehouse: Warehouse, retention: Retention) -> Removed:
    """Remove what is in :data:`OLD_KINDS` and older than ``data_months``, in batches, each in a transaction of its own.

    Nothing that is under way is removed, however old it is.
    """
    removed: Removed = {}
    for name, kind in OLD_KINDS.items():
        for _ in range(MOST_BATCHES):
            with warehouse.connect() as db:
                rows = execute(db, name, data_months=retention.data_months, most=BATCH).fetchall()
            for row in rows:
                kinds = removed.setdefault(row["store"], {})
                kinds[kind] = kinds.get(kind, 0) + row["count"]
            if sum(row["count"] for row in rows) < BATCH:
                break
    return removed


def remove_expired(db: psycopg.Connection[Any], retention: Retention) -> Removed:
    """Remove what is in :data:`KINDS` and whose retention period is over.

    Works on every store of the warehouse, in the caller's transaction.
    """
    removed: Removed = {}
    for name, kind in KINDS.items():
        for row in execute(db, name, **retention.model_dump()):
            removed.setdefault(row["store"], {})[kind] = row["count"]
    return removed
