"""Retention: what is removed when its retention period is over: personal data and raw copies, and in the end everything else.

Amazon's Data Protection Policy (text of November 2025): personal data at most 30 days after delivery, what is not personal at
most 18 months, logs at least 12 months.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from fba_operators.errors import UnavailableError
from fba_operators.settings.models import Retention
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.statements import compose, statement

# Kind → the statements that select and remove it. In this order: a rejected line goes with the raw copy of its report, a request
# must not outlive its shipments, nor a message its request.
KINDS = {
    "addresses": ("runs.expired_addresses", "runs.remove_addresses"),
    "raw reports": ("runs.expired_documents", "runs.remove_documents"),
    "rejected lines": ("runs.expired_rejected_lines", "runs.remove_rejected_lines"),
    "processing reports": ("runs.expired_processing_reports", "runs.remove_processing_reports"),
    "orders of others": ("runs.expired_orders_at_amazon", "runs.remove_orders_at_amazon"),
    "feeds of others": ("runs.expired_foreign_feeds", "runs.remove_foreign_feeds"),
    "comparisons of orders": ("runs.expired_order_checks", "runs.remove_order_checks"),
    "features": ("runs.expired_features", "runs.remove_features"),
    "closed requests": ("runs.expired_requests", "runs.remove_requests"),
    "feeds": ("runs.expired_feeds", "runs.remove_feeds"),
    "shipments": ("runs.expired_shipments", "runs.remove_shipments"),
    "reports": ("runs.expired_reports", "runs.remove_reports"),
    "runs": ("runs.expired_runs", "runs.remove_runs"),
    "changes of stock": ("runs.expired_stock_changes", "runs.remove_stock_changes"),
    "sums of stock": ("runs.expired_stock_totals", "runs.remove_stock_totals"),
    "breakdowns of stock": ("runs.expired_breakdowns", "runs.remove_breakdowns"),
    "delivered changes": ("runs.expired_available_changes", "runs.remove_available_changes"),
}
BATCH = 2000  # rows removed in one transaction
MOST_BATCHES = 20  # of each kind in one run; the next run goes on
log = logging.getLogger(__name__)


@dataclass
class Removal:
    """What was removed and what was not.

    :param removed: store → kind → number
    :param held: kind → number of rows that are due and that another session holds
    :param failed: kinds of which not all could be tried
    """

    removed: dict[str, dict[str, int]] = field(default_factory=dict)
    held: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)


def remove_expired(warehouse: Warehouse, retention: Retention) -> Removal:
    """Remove everything whose retention period is over, of every store, and log it.

    In batches, each in a transaction of its own. Nothing that is under way is removed, however old it is. What another
    session holds is left to the next run, and a kind that fails stops no other.
    """
    removal = Removal()
    with warehouse.session():
        for kind in KINDS:
            try:
                _remove(warehouse, retention, kind, removal)
            except (psycopg.Error, UnavailableError) as error:
                log.error("Not all %s whose retention period is over were removed: %s", kind, type(error).__name__)
                removal.failed.append(kind)
    for store, kinds in removal.removed.items():
        log.info("%s: removed after its retention period: %s.", store, _listed(kinds))
    if removal.held:
        log.warning("Left to the next run, because another session holds it: %s.", _listed(removal.held))
    return removal


def _remove(warehouse: Warehouse, retention: Retention, kind: str, removal: Removal) -> None:
    expired, remove = KINDS[kind]
    values = retention.model_dump()
    for _ in range(MOST_BATCHES):
        with warehouse.connect() as db:
            removed = db.execute(removal_of(expired, remove), values).fetchall()
        if not removed:
            break
        for store, number in removed:
            kinds = removal.removed.setdefault(store, {})
            kinds[kind] = kinds.get(kind, 0) + number
    else:
        return
    with warehouse.connect() as db:
        counting = compose("runs.count_expired", expired=sql.SQL(statement(expired).decode()))
        ((left,),) = db.execute(counting, values).fetchall()
    if left:
        removal.held[kind] = left


def removal_of(expired: str, remove: str) -> sql.Composed:
    """The statement that removes one batch.

    :param expired: statement that selects what is due
    :param remove: statement that removes what it is given
    """
    free = compose("runs.free", expired=sql.SQL(statement(expired).decode()), most=sql.Literal(BATCH))
    return compose(remove, due=free)


def _listed(kinds: dict[str, int]) -> str:
    return ", ".join(f"{number} {kind}" for kind, number in kinds.items())
