"""Shipments: the windows of a run, the wait for their reports, the rows into the warehouse, and overdue requests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, Context

from fba_operators.amazon.operations import ListedReport
from fba_operators.assets import SHIPMENTS
from fba_operators.errors import (
    DecisionNeededError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.fulfillment.amazon_orders import PARTLY_COMPLETE, SHIPPED, documented, end_of_request
from fba_operators.fulfillment.left_out import LeftOut, UnansweredError
from fba_operators.operators.base import AmazonRetryPolicy, SellingPartnerOperator
from fba_operators.operators.lineage import lineage_of
from fba_operators.operators.links import DeskLink
from fba_operators.operators.reports import WaitForReportOperator
from fba_operators.operators.run import PrepareRunOperator, SummariseRunOperator
from fba_operators.reports.cooldown import COOLDOWN
from fba_operators.reports.header import Header
from fba_operators.reports.ledger import ReportLedger, ReportRequest
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from fba_operators.reports.request_once import request_report
from fba_operators.runs.log import RunLog, end_run
from fba_operators.runs.summary import counted, listed
from fba_operators.settings.stores_file import load_stores
from fba_operators.shipments.follow_up import SHOWN, attention, summary
from fba_operators.shipments.windows import pieces, window
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.lock import locked
from fba_operators.warehouse.statements import execute
from fba_operators.words import MOST_OF_A_NAME, words

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors import OperatorLineage

# The longest lookback may need nine hours: 18 windows, of which Amazon takes one every half hour.
CANCELLED_TIMEOUT = timedelta(days=1)
MAX_LOOKUPS = 500  # orders looked up in one run, about four minutes at Amazon's 2 a second


class _Windows(BaseOperator):
    """The params that make a run's windows, see :func:`fba_operators.shipments.windows.window`."""

    template_fields: Sequence[str] = ("stores", "start", "end", "lookback_days")

    def __init__(
        self, *, start: str | None = None, end: str | None = None, lookback_days: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.start = start
        self.end = end
        self.lookback_days = lookback_days

    def windows(self, context: Context, stores: Sequence[str]) -> list[dict[str, str]]:
        """The reports a run has to ask for: store, start and end (ISO 8601, UTC) of each.

        :raises ValueError: start, end and lookback_days make no window
        """
        run, now = context["dag_run"], datetime.now(UTC)
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
                    start=self.start,
                    end=self.end,
                    lookback_days=self.lookback_days,
                )
            )
        ]


class PrepareShipmentsOperator(_Windows, PrepareRunOperator):
    """Begin a run of the shipments DAG, of any date, and refuse params that make no window.

    :param start: begin of the window, ISO 8601 (templated)
    :param end: end of the window, ISO 8601 (templated)
    :param lookback_days: days before the end at which the window begins (templated)
    :return: connection ids
    :raises ValueError: start, end or lookback_days make no window
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(present_only=False, **kwargs)

    def execute(self, context: Context) -> list[str]:
        """Prepare, then try the params before anything is asked of Amazon."""
        stores = super().execute(context)
        try:
            self.windows(context, stores)
        except ValueError as error:
            with Warehouse(self.warehouse_conn_id).connect() as db:
                for store in stores:
                    self.run_log(context, store).fail(db, self.task_id, error)
            raise
        return stores


class PlanWindowsOperator(_Windows):
    """List the windows of each store to ask for, one report each.

    The end is cut to the present here and nowhere else: a retry of the tasks after it asks for the same windows.

    :param stores: connection ids (templated)
    :param start: begin of the window, ISO 8601 (templated)
    :param end: end of the window, ISO 8601 (templated)
    :param lookback_days: days before the end at which the window begins (templated)
    :return: list of ``conn_id``, ``start`` and ``end``
    """

    ui_color = "#e8e8e8"

    def __init__(self, *, stores: Any, **kwargs: Any) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores

    def execute(self, context: Context) -> list[dict[str, str]]:
        """Make the list."""
        planned = self.windows(context, self.stores)
        for each in planned:
            self.log.info("%s: shipments reported from %s to %s.", each["conn_id"], each["start"], each["end"])
        return planned


class WaitForShipmentsOperator(WaitForReportOperator):
    """Wait for a shipments report; CANCELLED means "no shipments" only where it cannot mean anything else.

    Amazon also cancels a report that is asked for too soon after another one. So it is asked for again after the
    cool-down while another report of this type was asked for up to 30 minutes before it, or when rows are known that
    were reported in its window.

    :return: id of the finished report: DONE, or CANCELLED because nothing was shipped
    :raises DecisionNeededError: CANCELLED again, although rows of this window are known, or repeatedly for a day
    """

    def _after_cancelled(self, report_id: str) -> str:
        ledger = self._ledger
        newest = ledger.newest_equal(report_id)
        if newest["report_id"] != report_id:  # an earlier attempt of this task asked for it again
            return self._go_on(newest["report_id"], newest["status"])
        row = ledger.get(report_id)
        request = ReportRequest(row["report_type"], row["data_start"], row["data_end"], row["options"])
        others = self._reports_before(row)
        for other in others:
            if request.matches(other, row["marketplace_id"]) and not ledger.known_ids([other.report_id]):
                self.log.info("%s: %s is equal to the CANCELLED %s.", self.conn_id, other.report_id, report_id)
                ledger.record_intent(
                    request, row["marketplace_id"], report_id=other.report_id, requested_at=row["requested_at"]
                )
                return self._go_on(other.report_id, ledger.record_state(other))
        (known,) = self._rows("shipments.rows_in_window", data_start=row["data_start"], data_end=row["data_end"])
        if not others and not known["count"]:
            self.log.info("%s: report %s was CANCELLED because nothing was shipped.", self.conn_id, report_id)
            return report_id
        if not others and report_id != self.report_id:
            raise DecisionNeededError(
                f"{self.conn_id}: Amazon cancelled report {report_id} again, as if nothing had been shipped from "
                f"{row['data_start']} to {row['data_end']}, but {counted(known['count'], 'row of that time is', 'rows of that time are')} known. "
                "Nothing was changed. The next run asks again; if this happens again, check whether another program keeps "
                "asking for this report"
            )
        if datetime.now(UTC) - ledger.get(self.report_id)["requested_at"] > CANCELLED_TIMEOUT:
            raise DecisionNeededError(
                f"{self.conn_id}: for more than a day Amazon has cancelled every report of {row['data_start']} to "
                f"{row['data_end']}, each asked for soon after another of this type. Check whether another program keeps "
                "asking for them, then clear this window's tasks from request on"
            )
        again = request_report(self.hook, ledger, request)  # waits out the cool-down first
        return self._go_on(again, ledger.get(again)["status"])

    def _reports_before(self, row: dict[str, Any]) -> list[ListedReport]:
        """Reports of this type at Amazon, of any window, that may be why this one came too soon."""
        ours = row["requested_at"]
        reports = list(self.hook.get_reports(row["report_type"], created_since=ours - COOLDOWN))
        if None in reports:
            raise UnavailableError(
                f"{self.conn_id}: a report in Amazon's list cannot be read, and may be why report {row['report_id']} was CANCELLED"
            )
        listed = [report for report in reports if report and report.report_id != row["report_id"] and report.usable]
        rows = self._rows("shipments.requested_at", report_ids=[report.report_id for report in listed])
        requested_at = {each["report_id"]: each["requested_at"] for each in rows}

        def asked_at(report: ListedReport) -> datetime:
            moment: datetime = requested_at.get(report.report_id) or report.created_time
            return moment.replace(microsecond=0)  # as precise as Amazon's times

        return [report for report in listed if ours - COOLDOWN <= asked_at(report) <= ours]

    def _rows(self, name: str, **values: Any) -> list[dict[str, Any]]:
        with self.warehouse.connect() as db:
            return execute(db, name, store=self.conn_id, **values).fetchall()


class LoadShipmentsOperator(SellingPartnerOperator):
    """Load the rows of a shipments report into the warehouse, each once, whatever was loaded before.

    :param report_id: a finished ``GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL`` (templated)
    :return: the store, the counts of this report, and the names of columns that are left out and were not in the one before
    :raises DecisionNeededError: the readable rows are written, but more than ``max_rejected_share`` of the lines are not
    """

    operator_extra_links = (DeskLink("requests"),)

    template_fields = ("conn_id", "report_id")

    def __init__(self, *, report_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id
        self._written: dict[str, int] = {}

    def work(self, context: Context) -> dict[str, Any]:
        """Load, or find that there is nothing."""
        if not self.report_id:
            raise ValueError(f"{self.conn_id}: report_id is empty; the task that waits for the report returned none")
        from fba_operators.shipments.load_rows import load_shipments  # noqa: PLC0415 - loads numpy

        counts = load_shipments(self.hook, ReportLedger(self.warehouse, self.conn_id), self.report_id)
        if counts:  # both tables have one row for each row of the report
            rows = counts["new"] + counts["updated"]
            self._written = {"amazon_fulfilled_shipments_report": rows, "shipment_item": rows}
        if (events := context.get("outlet_events")) is not None and SHIPMENTS in self.outlets:
            events[SHIPMENTS].extra = {"store": self.conn_id, **counts}
        self.log.info("%s: report %s: %s.", self.conn_id, self.report_id, dict(counts) or "no shipments")
        self._check_rejected(counts)
        result = {"conn_id": self.conn_id, "report_id": self.report_id, "counts": dict(counts)}
        return {**result, "left_out": left_out} if (left_out := self._newly_left_out()) else result

    def _newly_left_out(self) -> list[str]:
        """Columns that are not known, so that nobody knows whether they are a buyer's, and that the report before did not have."""
        with self.warehouse.connect() as db:
            key = {"store": self.conn_id, "report_id": self.report_id}
            now, before = (execute(db, name, **key).fetchone() for name in ("reports.by_id", "reports.applied_before"))
        names = [words(name, MOST_OF_A_NAME) for name in _left_out(now) if name not in _left_out(before)]
        if names:
            self.log.warning("%s: columns that are not known are left out: %s.", self.conn_id, listed(names, SHOWN))
        return names

    def get_openlineage_facets_on_complete(self, task_instance: Any) -> OperatorLineage[Any, Any]:
        """The report, and what became of it in its parsed copy and ``shipment_item``."""
        return lineage_of(self.hook, self.warehouse, [self.report_id], self._written)

    def _check_rejected(self, counts: Counter[str]) -> None:
        most = load_stores().store(self.conn_id).shipments.max_rejected_share
        if counts["rejected"] > most * counts["lines"]:
            raise DecisionNeededError(
                f"{self.conn_id}: {counts['rejected']} of {counted(counts['lines'], 'line')} of report {self.report_id} "
                f"could not be read, more than max_rejected_share {most:.2%}. All others are written. The lines and reasons "
                "are in fba.rejected_row; raise shipments.max_rejected_share in stores.yaml if they can be done without"
            )


class FollowUpOrdersOperator(SellingPartnerOperator):
    """Look up accepted requests of a store that are not all shipped a day later, each at most once a day.

    :return: ``conn_id``; ``asked``: number looked up; ``overdue``: number; and request numbers: ``rejected``,
        ``cancelled``, ``partly`` (the rest will not be shipped), ``unknown_at_amazon``, ``named`` (some of those overdue);
        ``left_out``: sentences about those for which Amazon fails
    """

    def work(self, context: Context) -> dict[str, Any]:
        """Look one up after the other; each result is committed at once."""
        numbers: dict[str, list[str]] = {kind: [] for kind in ("rejected", "cancelled", "partly", "unknown_at_amazon")}
        asked = 0
        left_out = LeftOut()
        try:
            with locked(self.warehouse, "fba.follow_up", self.conn_id, patience=timedelta(seconds=1)) as lock:
                for fr_number in self._due():
                    lock.check()
                    if kind := self._record(fr_number, self._look_up(fr_number, left_out)):
                        numbers[kind].append(fr_number)
                    asked += 1
        except ThrottledError as error:
            if error.operation:  # Amazon's quota
                raise
            self.log.info("%s: another run looks up overdue orders.", self.conn_id)
        with self.warehouse.connect() as db:
            overdue = execute(db, "shipments.overdue", store=self.conn_id).fetchall()
        return {
            "conn_id": self.conn_id,
            "asked": asked,
            "overdue": len(overdue),
            "named": [row["fr_number"] for row in overdue[:SHOWN]],
            "left_out": left_out.sentences(),
            **numbers,
        }

    def _due(self) -> list[str]:
        """FR numbers to look up."""
        values = {"seller_id": self.hook.seller_id, "final": SHIPPED, "most": MAX_LOOKUPS}
        with self.warehouse.connect() as db:
            rows = execute(db, "shipments.to_follow_up", store=self.conn_id, **values).fetchall()
        return [row["fr_number"] for row in rows]

    def _record(self, fr_number: str, order_status: str | None) -> str | None:
        """Record Amazon's status of an order; returns under what it is counted."""
        status, reason = end_of_request(order_status) or (None, None)
        values = {"fr_number": fr_number, "order_status": order_status, "status": status, "reason": reason}
        with self.warehouse.connect() as db:
            execute(db, "shipments.record_order_status", store=self.conn_id, **values)
        if order_status is None:
            return "unknown_at_amazon"
        return "partly" if order_status == PARTLY_COMPLETE else status

    def _look_up(self, fr_number: str, left_out: LeftOut) -> str | None:
        try:
            with left_out.asking(self.hook, fr_number):
                order = self.hook.find_fulfillment_order(fr_number)
        except (RequestRefusedError, UnansweredError) as error:
            self.log.warning("%s: Amazon does not show the order of request %s: %s", self.conn_id, fr_number, error)
            return None
        told = order.fulfillment_order.fulfillment_order_status if order else None
        status = documented(told)
        if told and not status:
            self.log.warning(
                "%s: the order of request %s has a status that Amazon does not document: %s",
                *(self.conn_id, fr_number, ascii(words(told, MOST_OF_A_NAME))),
            )
        return status or words(told or "", MOST_OF_A_NAME) or None


class SummariseShipmentsOperator(SummariseRunOperator):
    """Combine the results of a run's tasks for each store, write them to ``fba.run``, and fail if a store failed.

    :param windows: what :class:`PlanWindowsOperator` returned (templated)
    :param loaded: what the :class:`LoadShipmentsOperator` returned (templated)
    :param followed: what the :class:`FollowUpOrdersOperator` returned (templated)
    :param removed: what :class:`fba_operators.operators.RetentionOperator` returned (templated)
    """

    template_fields: Sequence[str] = ("stores", "windows", "loaded", "followed", "removed")

    def __init__(self, *, windows: Any, loaded: Any, followed: Any, removed: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.windows = windows
        self.loaded = loaded
        self.followed = followed
        self.removed = removed

    def execute(self, context: Context) -> dict[str, str]:
        """Write each store's row, then summarise as every DAG does. A row that another session holds has no outcome: it failed."""
        for store in self.stores or ():
            try:
                self._finish(context, store)
            except UnavailableError as error:
                self.log.error("%s: what was loaded is not in the run's row: %s", store, error)
        return super().execute(context)

    def _finish(self, context: Context, store: str) -> None:
        planned, loaded, followed = (
            [each for each in _results(given) if each["conn_id"] == store]
            for given in (self.windows, self.loaded, self.followed)
        )
        counts = sum((Counter(each["counts"]) for each in loaded), Counter[str]())
        left_out = sorted({name for each in loaded for name in each.get("left_out", ())})
        removed = (self.removed or {}).get(store, {})
        lines = [summary(len(loaded), counts, followed[0] if followed else None, removed, left_out)]
        failed = not planned or len(loaded) < len(planned) or not followed
        with Warehouse(self.warehouse_conn_id).connect() as db:
            failure = None
            if failed:
                before = end_run(db, self.dag_id, str(context["run_id"])).get(store)
                failure = before.failure if before else None
                missing = f"{len(planned) - len(loaded)} of {counted(len(planned), 'window')} not loaded."
                reason = [f"{before.summary.rstrip('.')}."] if before else []
                lines = [missing, *reason, *lines]
            RunLog(self.dag_id, str(context["run_id"]), store).finish(
                db,
                "failed" if failed else "success",
                "\n".join(lines),
                failure=failure,
                rows_in=counts["lines"],
                rows_rejected=counts["rejected"],
                rows_changed=counts["new"] + counts["updated"] + counts["replaced"],
                attention=attention(counts, followed[0] if followed else {}, left_out),
            )


def _left_out(report: dict[str, Any] | None) -> tuple[str, ...]:
    """Names of the columns of a report of the ledger that are not kept."""
    columns = report["columns"] if report else None
    return Header.parse("\t".join(columns), FULFILLED_SHIPMENTS).left_out if columns else ()


def _results(given: Any) -> list[dict[str, Any]]:
    """The results of mapped tasks: Airflow passes the value itself where there is only one, and nothing for those that failed."""
    if given is None or isinstance(given, dict):
        given = [given]
    return [each for each in given if each]
