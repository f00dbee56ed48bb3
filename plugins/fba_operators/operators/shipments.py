"""Shipments: the windows of a run, the wait for their reports, and the rows into the warehouse."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import Asset, BaseOperator, Context

from fba_operators.amazon.trigger import UNFINISHED
from fba_operators.errors import DecisionNeededError
from fba_operators.operators.base import AmazonRetryPolicy, SellingPartnerOperator, failure
from fba_operators.operators.reports import WaitForReportOperator, request_report
from fba_operators.operators.run import PrepareRunOperator
from fba_operators.reports.ledger import COOLDOWN, ReportLedger, ReportRequest
from fba_operators.settings.stores_file import load_stores
from fba_operators.shipments.windows import pieces, window
from fba_operators.warehouse.database import Warehouse, statements

SHIPMENTS = Asset("fba_shipments")
# The longest lookback may need nine hours: 18 windows, of which Amazon takes one every half hour.
GIVE_UP = timedelta(days=1)


def windows_of_run(context: Context, stores: Sequence[str]) -> list[dict[str, str]]:
    """The reports a run has to ask for: store, start and end (ISO 8601, UTC) of each.

    :raises ValueError: the run's params name no window
    """
    run, params, now = context["dag_run"], context["params"], datetime.now(UTC)
    run_end = getattr(run, "data_interval_end", None) or run.run_after
    settings = load_stores()
    return [
        {"conn_id": store, "start": piece.start.isoformat(), "end": piece.end.isoformat()}
        for store in stores
        for piece in pieces(
            window(
                run_end,
                now=now,
                configured_days=settings.store(store).shipments.lookback_days,
                start=params.get("start"),
                end=params.get("end"),
                lookback_days=params.get("lookback_days"),
            )
        )
    ]


class PrepareShipmentsOperator(PrepareRunOperator):
    """Begin a run of the shipments DAG, of any date, and refuse params that name no window.

    :return: connection ids
    :raises ValueError: start, end or lookback_days make no window
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(present_only=False, **kwargs)

    def execute(self, context: Context) -> list[str]:
        """Prepare, then try the params before anything is asked of Amazon."""
        stores = super().execute(context)
        try:
            windows_of_run(context, stores)
        except ValueError as error:
            with Warehouse(self.warehouse_conn_id).connect() as db:
                for store in stores:
                    key = {"dag_id": self.dag_id, "run_id": context["run_id"], "store": store}
                    db.execute(statements("ledger")["fail_run"], {**key, **failure(self.task_id, error)})
            raise
        return stores


class PlanWindowsOperator(BaseOperator):
    """Say which windows of which stores to ask for, one report each.

    The end is cut to the present here and nowhere else: a retry of the tasks behind it asks for the same windows.

    :param stores: connection ids (templated)
    :return: list of ``conn_id``, ``start`` and ``end``
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e8e8e8"

    def __init__(self, *, stores: Any, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Make the list."""
        planned = windows_of_run(context, self.stores)
        for each in planned:
            self.log.info("%s: shipments reported from %s to %s.", each["conn_id"], each["start"], each["end"])
        return planned


class WaitForShipmentsOperator(WaitForReportOperator):
    """Wait for a shipments report; CANCELLED is believed to mean "no shipments" only where it cannot mean anything else.

    Amazon also cancels a report that is asked for too soon after another one. So it is asked for again after the
    cool-down while another report of this type was asked for up to 30 minutes before it, or when rows are known that
    were reported in its window.

    :return: id of the finished report: DONE, or CANCELLED because nothing was shipped
    :raises DecisionNeededError: CANCELLED again, although rows of this window are known, or again and again for a day
    """

    def _after_cancelled(self, report_id: str) -> str:
        ledger = self._ledger
        (newest,) = self._rows("newest_of_window", report_id=report_id)
        if newest[0] != report_id:  # it was asked for again before this task began anew
            return self._go_on(*newest)
        row = ledger.get(report_id)
        request = ReportRequest(row["report_type"], row["data_start"], row["data_end"], row["options"])
        others = self._reports_before(row)
        for other in others:
            if request.matches(other, row["marketplace_id"]) and not ledger.known([other["reportId"]]):
                self.log.info("%s: %s is the same as the CANCELLED %s.", self.conn_id, other["reportId"], report_id)
                ledger.intend(request, row["marketplace_id"], report_id=other["reportId"])
                return self._go_on(other["reportId"], ledger.note(other))
        ((known,),) = self._rows("rows_in_window", data_start=row["data_start"], data_end=row["data_end"])
        if not others and not known:
            self.log.info("%s: report %s was CANCELLED because nothing was shipped.", self.conn_id, report_id)
            return report_id
        if not others and report_id != self.report_id:
            raise DecisionNeededError(
                f"{self.conn_id}: Amazon cancelled report {report_id} again, as if nothing had been shipped from "
                f"{row['data_start']} to {row['data_end']}, but {known} rows of that time are known. Nothing was changed. "
                "The next run asks again; if this goes on, see whether another program asks for this report all the time"
            )
        if datetime.now(UTC) - ledger.get(self.report_id)["requested_at"] > GIVE_UP:
            raise DecisionNeededError(
                f"{self.conn_id}: for more than a day Amazon has cancelled every report of {row['data_start']} to "
                f"{row['data_end']}, each asked for soon after another of this type. See whether another program asks for "
                "them all the time, then clear this window's tasks from request on"
            )
        again = request_report(self.hook, ledger, request)  # waits out the cool-down first
        return self._go_on(again, ledger.get(again)["status"])

    def _reports_before(self, row: dict[str, Any]) -> list[dict[str, Any]]:
        """Reports of this type at Amazon, of any window, that may be why this one came too soon."""
        ours = row["requested_at"]
        listed = [
            report
            for report in self.hook.get_reports(row["report_type"], created_since=ours - COOLDOWN)
            if report["reportId"] != row["report_id"] and report.get("processingStatus") in (*UNFINISHED, "DONE")
        ]
        known = dict(self._rows("requested_at", report_ids=[report["reportId"] for report in listed]))
        asked_at = [known.get(each["reportId"]) or datetime.fromisoformat(each["createdTime"]) for each in listed]
        # Amazon's times are whole seconds.
        return [
            report
            for report, moment in zip(listed, asked_at, strict=True)
            if ours - COOLDOWN <= moment.replace(microsecond=0) <= ours
        ]

    def _rows(self, name: str, **values: Any) -> list[tuple[Any, ...]]:
        with self.warehouse.connect() as db:
            return db.execute(statements("shipments")[name], {"store": self.conn_id, **values}).fetchall()


class LoadShipmentsOperator(SellingPartnerOperator):
    """Bring the rows of a shipments report into the warehouse, each once, whatever was loaded before.

    :param report_id: a finished ``GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL`` (templated)
    :return: the store and the counts of this report
    :raises DecisionNeededError: the readable rows are written, but more than ``max_rejected_share`` of the lines are not
    """

    template_fields = ("conn_id", "report_id")

    def __init__(self, *, report_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id

    def act(self, context: Context) -> dict[str, Any]:
        """Load, or see that there is nothing."""
        if not self.report_id:
            raise ValueError(f"{self.conn_id}: report_id is empty; the task that waits for the report returned none")
        from fba_operators.shipments.load_rows import load_shipments  # noqa: PLC0415 - pandas costs every task that reads this file half a second

        counts = load_shipments(self.hook, ReportLedger(self.warehouse, self.conn_id), self.report_id)
        if (events := context.get("outlet_events")) is not None and SHIPMENTS in self.outlets:
            events[SHIPMENTS].extra = {"store": self.conn_id, **counts}
        self.log.info("%s: report %s: %s.", self.conn_id, self.report_id, dict(counts) or "no shipments")
        self._refuse_to_be_quiet(counts)
        return {"conn_id": self.conn_id, "report_id": self.report_id, "counts": dict(counts)}

    def _refuse_to_be_quiet(self, counts: Counter[str]) -> None:
        most = load_stores().store(self.conn_id).inventory.max_rejected_share
        if counts["rejected"] > most * counts["lines"]:
            raise DecisionNeededError(
                f"{self.conn_id}: {counts['rejected']} of {counts['lines']} lines of report {self.report_id} could not be "
                f"read, more than max_rejected_share {most:.2%}. All others are written. The lines and reasons are in "
                "fba.rejected_row; raise max_rejected_share in stores.yaml if they can be done without"
            )
