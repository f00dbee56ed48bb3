"""Retention: personal data, raw copies and what is remembered of others are removed when their retention period is over."""

from __future__ import annotations

from typing import Any

import psycopg

from fba_operators.settings.models import Retention
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


def remove_expired(db: psycopg.Connection[Any], retention: Retention) -> dict[str, dict[str, int]]:
    """Remove what is in :data:`KINDS` and whose retention period is over.

    Works on every store of the warehouse, in the caller's transaction.

    :return: store → kind → number removed
    """
    removed: dict[str, dict[str, int]] = {}
    for name, kind in KINDS.items():
        for row in execute(db, name, **retention.model_dump()):
            removed.setdefault(row["store"], {})[kind] = row["count"]
    return removed
