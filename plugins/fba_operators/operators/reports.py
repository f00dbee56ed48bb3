"""Reports: asked for once, and waited for without occupying a worker."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from airflow.sdk import Context

from fba_operators.amazon.operations import Report
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import DecisionNeededError, RequestRefusedError
from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.switch import is_given, is_on
from fba_operators.reports.cooldown import COOLDOWN, REPORT_TIMEOUT
from fba_operators.reports.ledger import ReportLedger, ReportRequest
from fba_operators.reports.lines import unzipped
from fba_operators.reports.report_types import REPORT_TYPES, without_rows
from fba_operators.reports.request_once import request_report, unknown_reports
from fba_operators.words import words


class RequestReportOperator(SellingPartnerOperator):
    """Ask Amazon for a report, once.

    An equal report that is in flight or inside its cool-down is used instead of a new one, whoever asked for it.

    :param report_type: e.g. ``GET_AFN_INVENTORY_DATA``
    :param data_start: begin of the window, ISO 8601 (templated); None where the report has none
    :param data_end: end of the window, ISO 8601 (templated)
    :param report_options: Amazon's ``reportOptions``
    :param replay_report_ids: reports of the ledger; the one of this type is used as it is stored, without a call to
        Amazon (templated)
    :param even_refused: reuse also a report whose content was refused, because a person has accepted it (templated)
    :return: Amazon's report id
    """

    template_fields = ("conn_id", "data_start", "data_end", "replay_report_ids", "even_refused")

    def __init__(
        self,
        *,
        report_type: str,
        data_start: str | None = None,
        data_end: str | None = None,
        report_options: dict[str, str] | None = None,
        replay_report_ids: Sequence[str] = (),
        even_refused: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not report_type or not isinstance(report_type, str):
            raise ValueError(f"report_type must be one of Amazon's report types, not {report_type!r}")
        if report_options is not None and not all(
            isinstance(text, str) for pair in report_options.items() for text in pair
        ):
            raise ValueError("report_options must map strings to strings; Amazon refuses anything else")
        self.report_type = report_type
        self.data_start = data_start
        self.data_end = data_end
        self.report_options = report_options
        self.replay_report_ids = replay_report_ids
        self.even_refused = even_refused

    def work(self, context: Context) -> str:
        """Ask, or reuse."""
        ledger = ReportLedger(self.warehouse, self.conn_id)
        if self.replay_report_ids:
            return self._stored_report(ledger)
        start, end = (_moment(name, getattr(self, name)) for name in ("data_start", "data_end"))
        if start and end and start >= end:
            raise ValueError(f"{self.conn_id}: data_start {start} must be before data_end {end}")
        request = ReportRequest(self.report_type, start, end, self.report_options or {})
        even_refused = is_on("even_refused", self.even_refused)
        report_id = request_report(self.hook, ledger, request, even_refused=even_refused)
        self.log.info("%s: %s is report %s.", self.conn_id, self.report_type, report_id)
        return report_id

    def _stored_report(self, ledger: ReportLedger) -> str:
        rows = [ledger.get(report_id) for report_id in self.replay_report_ids]
        of_type = [row for row in rows if row["report_type"] == self.report_type]
        if len(of_type) != 1:
            found = ", ".join(f"report {row['report_id']} is a {row['report_type']}" for row in rows)
            raise ValueError(f"{self.conn_id}: exactly one report to replay must be a {self.report_type}; {found}")
        report_id, status = str(of_type[0]["report_id"]), of_type[0]["status"]
        if status == ProcessingStatus.DONE and not ledger.has_document(report_id):
            raise RequestRefusedError(
                f"{self.conn_id}: the raw copy of report {report_id} is not stored (any more: retention.raw_documents_days)"
            )
        if status not in (ProcessingStatus.DONE, ProcessingStatus.CANCELLED):
            raise RequestRefusedError(f"{self.conn_id}: report {report_id} is {status}, so it has no content")
        return report_id


class WaitForReportOperator(SellingPartnerOperator):
    """Wait, deferred, until a report is finished.

    CANCELLED does not mean that there is no data: it also means "asked for too soon". Then an equal report that is done
    is used, or the report is asked for once more after its cool-down.

    :param report_id: Amazon's report id (templated)
    :param patience: how long this run waits, at most two hours. A report that takes longer is left to the next run, which
        adopts it and goes on waiting, so that one slow store does not hold up the next run of all others
    :param offline: if true (or a list that is not empty), the report is taken as it is in the ledger, without a call to
        Amazon (templated)
    :return: id of the report that is finished: DONE, or CANCELLED twice
    :raises DecisionNeededError: FATAL (with Amazon's reason, where it gives one), or not finished two hours after it was
        asked for
    """

    template_fields: Sequence[str] = ("conn_id", "report_id", "offline")

    def __init__(
        self, *, report_id: str, patience: timedelta | None = None, offline: Any = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id
        self.patience = REPORT_TIMEOUT if patience is None else min(patience, REPORT_TIMEOUT)
        self.offline = offline

    def work(self, context: Context) -> Any:
        """Go on from wherever this report is according to the ledger."""
        if not self.report_id:
            raise ValueError(f"{self.conn_id}: report_id is empty; the task that asks for the report returned none")
        if is_given("offline", self.offline):
            return self.report_id
        return self._go_on(self.report_id, self._ledger.get(self.report_id)["status"])

    def work_after_wait(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on with the state that the trigger saw."""
        report_id = event.get("id")
        if not report_id:  # the wait was for a cool-down or a quota
            return self.work(context)
        return self._go_on(report_id, self._record_state(context, report_id, event.get("state")))

    def _record_state(self, context: Context, report_id: str, state: dict[str, Any] | None) -> ProcessingStatus:
        """Record what the trigger saw, or else what Amazon says now; a report that is not finished is left for later."""
        status = self._ledger.record_state(Report.model_validate(state) if state else self._poll(report_id))
        if not status.finished:
            if datetime.now(UTC) - self._ledger.get(report_id)["requested_at"] < REPORT_TIMEOUT:
                self.leave_to_next_run(context, f"Amazon is still making report {report_id}")
            raise DecisionNeededError(
                f"{self.conn_id}: Amazon has not finished report {report_id} in {REPORT_TIMEOUT}. The next run asks for a "
                "new one, and uses whichever is finished first; if this happens again, ask Amazon's support with the report id"
            )
        return status

    def _poll(self, report_id: str) -> Report:
        try:
            return self.hook.get_report(report_id)
        except RequestRefusedError:
            self._ledger.record_unknown_at_amazon(report_id)
            raise

    @property
    def _ledger(self) -> ReportLedger:
        return ReportLedger(self.warehouse, self.conn_id)

    def _go_on(self, report_id: str, status: str) -> str:
        if status == ProcessingStatus.DONE:
            return report_id
        if status == ProcessingStatus.FATAL:
            raise DecisionNeededError(
                f"{self.conn_id}: report {report_id} is FATAL. It is asked for again by the next run that begins "
                f"{COOLDOWN.seconds // 60} minutes after it was made. Amazon's reason",
                detail=self._why_fatal(report_id),
            )
        if status == ProcessingStatus.CANCELLED:
            return self._after_cancelled(report_id)
        return self.wait_for("report", report_id, self.patience)

    def _after_cancelled(self, report_id: str) -> str:
        if report_id != self.report_id:
            self.log.warning("%s: report %s was CANCELLED as well.", self.conn_id, report_id)
            return report_id
        newest = self._ledger.newest_equal(report_id)
        if newest["report_id"] != report_id:  # an earlier attempt of this task asked for it again
            return self._go_on(newest["report_id"], newest["status"])
        row = self._ledger.get(report_id)
        request = ReportRequest(row["report_type"], row["data_start"], row["data_end"], row["options"])
        since = row["requested_at"] - COOLDOWN
        listed = self.hook.get_reports(request.report_type, created_since=since)
        for other in unknown_reports(self._ledger, listed):
            if request.matches(other, row["marketplace_id"]) and other.usable:
                used = other.report_id
                self.log.info("%s: report %s was CANCELLED; %s is equal and is used.", self.conn_id, report_id, used)
                self._ledger.record_intent(
                    request, row["marketplace_id"], report_id=used, requested_at=row["requested_at"]
                )
                return self._go_on(used, self._ledger.record_state(other))
        again = request_report(self.hook, self._ledger, request)  # waits out the cool-down first
        return self._go_on(again, self._ledger.get(again)["status"])

    def _why_fatal(self, report_id: str) -> str:
        row = self._ledger.get(report_id)
        if not row["document_id"]:
            return "none given"
        pieces = unzipped(self.hook.download_report(row["document_id"]).chunks)
        text = b"".join(islice(pieces, 2)).decode("utf-8", "replace")  # the first piece may be two bytes
        return words(without_rows(text, REPORT_TYPES.get(row["report_type"])))


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None or text == "":
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{name} must be a time in ISO 8601, e.g. 2026-11-23T10:00:00+00:00, not {text!r}") from None
    if moment.tzinfo is None:
        raise ValueError(f"{name} {text!r} lacks an offset; add +00:00 for UTC")
    return moment
