"""Accepted is not shipped: ask after orders that Amazon took and has not sent, and say what came of a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from airflow.sdk import Context
from psycopg.rows import dict_row

from fba_operators.errors import RequestRefusedError
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.run import SummariseRunOperator
from fba_operators.runs import summary as summaries
from fba_operators.warehouse.database import Warehouse, statements

MOST = 500  # orders asked after in one run, about four minutes at Amazon's 2 a second
NAMED = 20  # orders named in a summary
# Amazon's fulfillmentOrderStatus of orders that will not change again (Fulfillment Outbound 2020-07-01).
FINAL = ["Complete", "CompletePartialled"]
MOVES = {
    "Invalid": (
        "rejected",
        "Amazon accepted the request and then found it invalid: wrong address, or not enough stock",
    ),
    "Unfulfillable": ("rejected", "Amazon accepted the request and then found no sellable unit of its items"),
    "Cancelled": ("cancelled", "cancelled at Amazon"),
}


class FollowUpOrdersOperator(SellingPartnerOperator):
    """Ask Amazon about accepted requests of a store that are not all shipped a day later, each at most once a day.

    :return: ``conn_id``; ``asked``: number; ``overdue``: number; and request numbers: ``rejected``, ``cancelled``,
        ``partly`` (the rest will not be shipped), ``unknown_at_amazon``, ``named`` (some of those overdue)
    """

    def act(self, context: Context) -> dict[str, Any]:
        """Ask one after the other; what is known is committed at once."""
        named, found = statements("shipments"), Counter[str]()
        told: dict[str, list[str]] = {kind: [] for kind in ("rejected", "cancelled", "partly", "unknown_at_amazon")}
        with self.warehouse.connect() as db:
            ((free,),) = db.execute(named["lock_follow_up"], {"store": self.conn_id})
            orders = []
            if free:
                values = {"store": self.conn_id, "seller_id": self.hook.seller_id, "final": FINAL, "most": MOST}
                query = db.execute(named["to_follow_up"], values)
                orders = [fr_number for (fr_number,) in query]
            db.commit()  # the lock outlives it; Amazon may be asked for minutes now
            for fr_number in orders:
                status = self._ask(fr_number)
                found["asked"] += 1
                move, reason = MOVES.get(status or "", (None, None))
                told_of = {"fr_number": fr_number, "told": status, "status": move, "reason": reason}
                db.execute(named["note_order_status"], {"store": self.conn_id, **told_of})
                db.commit()
                kind = "unknown_at_amazon" if status is None else "partly" if status == "CompletePartialled" else move
                if kind:
                    told[kind].append(fr_number)
            overdue = db.execute(named["overdue"], {"store": self.conn_id}).fetchall()
        return {
            "conn_id": self.conn_id,
            "asked": found["asked"],
            "overdue": len(overdue),
            "named": [fr_number for fr_number, _ in overdue[:NAMED]],
            **told,
        }

    def _ask(self, fr_number: str) -> str | None:
        try:
            order = self.hook.get_fulfillment_order(fr_number)
        except RequestRefusedError as error:
            self.log.warning("%s: Amazon tells nothing about request %s: %s", self.conn_id, fr_number, error)
            return None
        return str(order["fulfillmentOrder"]["fulfillmentOrderStatus"])


class SummariseShipmentsOperator(SummariseRunOperator):
    """Put together what the tasks of a run say about each store, write it to ``fba.run``, and fail if a store failed.

    :param windows: what :class:`fba_operators.operators.shipments.PlanWindowsOperator` returned (templated)
    :param loaded: what the :class:`fba_operators.operators.shipments.LoadShipmentsOperator` returned (templated)
    :param followed: what the :class:`FollowUpOrdersOperator` returned (templated)
    :param removed: what :class:`fba_operators.operators.retention.RetentionOperator` returned (templated)
    """

    template_fields: Sequence[str] = ("stores", "windows", "loaded", "followed", "removed")

    def __init__(self, *, windows: Any, loaded: Any, followed: Any, removed: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.windows = windows
        self.loaded = loaded
        self.followed = followed
        self.removed = removed

    def execute(self, context: Context) -> dict[str, str]:
        """Write each store's row, then summarise as every DAG does."""
        for store in self.stores or ():
            self._finish(context, store)
        return super().execute(context)

    def _finish(self, context: Context, store: str) -> None:
        planned, loaded, followed = (
            [each for each in _listed(given) if each["conn_id"] == store]
            for given in (self.windows, self.loaded, self.followed)
        )
        counts = sum((Counter(each["counts"]) for each in loaded), Counter[str]())
        told = summary(len(loaded), counts, followed[0] if followed else None, (self.removed or {}).get(store, {}))
        key = {"dag_id": self.dag_id, "run_id": context["run_id"], "store": store}
        with Warehouse(self.warehouse_conn_id).connect() as db:
            why = None
            failed = not planned or len(loaded) < len(planned) or not followed
            if failed:
                rows = db.cursor(row_factory=dict_row).execute(statements("ledger")["runs"], key)
                before = next((row for row in rows if row["store"] == store), {})
                why = before.get("failure")
                missing = f"{len(planned) - len(loaded)} of {len(planned)} windows not loaded."
                reason = (before.get("summary") or "").rstrip(".")
                told = " ".join([missing, *([f"{reason}."] if reason else []), told])
            row = {"rows_in": counts["lines"], "rows_rejected": counts["rejected"]}
            row["rows_changed"] = counts["new"] + counts["updated"] + counts["replaced"]
            outcome = {"outcome": "failed" if failed else "success", "summary": told, "failure": why}
            outcome["attention"] = summaries.counts(_attention(counts, followed[0] if followed else {}))
            db.execute(statements("ledger")["finish_run"], {**key, **row, **outcome})


def _attention(counts: Mapping[str, int], followed: Mapping[str, Any]) -> dict[str, int]:
    return {
        "rejected_lines": counts["rejected"],
        "without_request": counts["without_request"],
        # Those overdue are asked after once a day; in between they are no news.
        "overdue": followed.get("overdue", 0) if followed.get("asked") else 0,
        "rejected": len(followed.get("rejected", ())),
        "partly_shipped": len(followed.get("partly", ())),
        "unknown_at_amazon": len(followed.get("unknown_at_amazon", ())),
    }


def _listed(given: Any) -> list[dict[str, Any]]:
    """What mapped tasks returned; Airflow hands on the value itself where there is only one, and nothing for those that failed."""
    if given is None or isinstance(given, dict):
        given = [given]
    return [each for each in given if each]


def summary(
    reports: int, counts: Mapping[str, int], followed: Mapping[str, Any] | None, removed: Mapping[str, int]
) -> str:
    """Say in a line what was loaded, what is overdue and what was removed."""
    parts = [
        f"{counts['lines']} rows in {reports} reports: {counts['new']} new, {counts['updated']} updated, "
        f"{counts['repeated']} repeated"
    ]
    for kind, text in (
        ("replaced", "rows without an id replaced"),
        ("without_id", "rows without shipment-item-id"),
        ("of_requests", "rows attached to requests"),
        ("without_request", "rows of multi-channel orders that match no request"),
        ("unknown_sku", "rows whose SKU is not in the pool"),
        ("rejected", "lines rejected"),
    ):
        parts += [f"{counts[kind]} {text}"] if counts[kind] else []
    if followed:
        parts += [f"asked Amazon after {followed['asked']} accepted requests"] if followed["asked"] else []
        for kind, text in (
            ("rejected", "now rejected"),
            ("cancelled", "now cancelled"),
            ("partly", "shipped in part, the rest will not be"),
            ("unknown_at_amazon", "Amazon does not tell about"),
        ):
            parts += [f"{len(followed[kind])} {text}: {_some(followed[kind])}"] if followed[kind] else []
        if followed["overdue"]:
            parts.append(f"{followed['overdue']} overdue: {_some(followed['named'], followed['overdue'])}")
    if removed:
        parts.append("removed " + ", ".join(f"{number} {what}" for what, number in removed.items()))
    return "; ".join(parts) + "."


def _some(names: Sequence[str], count: int | None = None) -> str:
    more = (count or len(names)) - len(names[:NAMED])
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")
