"""What tests of inventory share: requesting the two reports, merging them, and reading the pool."""

from __future__ import annotations

from typing import Any

from fba_operators.operators import MergeInventoryOperator, RequestReportOperator, WaitForReportOperator
from tests.helpers import run
from tests.stores import AFN, LISTINGS, STORE


def report(report_type: str, conn_id: str = STORE) -> str:
    """Request a report and wait for it; returns its id."""
    report_id = run(RequestReportOperator(task_id="request", report_type=report_type, conn_id=conn_id))
    return run(WaitForReportOperator(task_id="wait", report_id=report_id, conn_id=conn_id))


def merge(listings: str | None = None, afn: str | None = None, conn_id: str = STORE, **arguments: Any) -> Any:
    """Merge these reports, or new ones, into the pool; returns the counts."""
    operator = MergeInventoryOperator(
        task_id="merge",
        conn_id=conn_id,
        listings_report_id=listings or report(LISTINGS, conn_id),
        afn_report_id=afn or report(AFN, conn_id),
        **arguments,
    )
    return run(operator)


def pool(sql: Any, store: str = STORE) -> dict[str, dict[str, Any]]:
    """The pool of a store, in the form of the sandbox's truth."""
    rows = sql(
        "SELECT sku, fba_quantity, fbm_quantity, quantity, quantity_source FROM fba.global_inventory_pool WHERE store = %s",
        store,
    )
    return {sku: {"fba": fba, "fbm": fbm, "quantity": q, "source": source} for sku, fba, fbm, q, source in rows}
