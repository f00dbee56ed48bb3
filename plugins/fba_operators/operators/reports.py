"""Reports: asked for once, and waited for without a worker."""

from __future__ import annotations

import zlib
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.trigger import UNFINISHED
from fba_operators.errors import DecisionNeededError, RequestRefusedError, ThrottledError
from fba_operators.operators.base import SellingPartnerOperator, flag
from fba_operators.reports.ledger import COOLDOWN, ReportLedger, ReportRequest
from fba_operators.warehouse.database import statements

PATIENCE = timedelta(hours=2)  # until a report is given up
CLOCK_SKEW = timedelta(minutes=5)
LISTED = timedelta(days=89)  # getReports looks back 90 days
LATEST_EFFECT = timedelta(minutes=10)  # of a call whose answer was lost
USABLE = (*UNFINISHED, "DONE")


def request_report(hook: SellingPartnerHook, ledger: ReportLedger, request: ReportRequest) -> str:
    """Return the id of a report equal to the request: one in flight or inside its cool-down, else a new one.

    :raises ThrottledError: Amazon's quota, or the cool-down after a report that failed
    :raises LostAnswerError: Amazon may have made it; calling this again looks there first
    """
    marketplace_id = hook.marketplace.id
    # Held while Amazon is asked, so that two runs at the same time ask once.
    with ledger.warehouse.connect() as lock:
        lock.execute(
            b"SELECT pg_advisory_xact_lock(hashtext('fba.report'), hashtext(%s))",
            (f"{ledger.store} {request.report_type}",),
        )
        _find_lost(hook, ledger, request.report_type)
        known = ledger.newest(request, marketplace_id)
        if known and known["status"] in USABLE:
            return str(known["report_id"])
        if known:
            raise ThrottledError(
                f"{ledger.store}: {request.report_type} was {known['status']} (report {known['report_id']}) and is asked "
                f"for again only after its cool-down",
                until=known["requested_at"] + COOLDOWN,
            )
        request_id = ledger.intend(request, marketplace_id)
        try:
            report_id = hook.create_report(
                request.report_type,
                data_start=request.data_start,
                data_end=request.data_end,
                options=request.options,
            )
        except (ThrottledError, RequestRefusedError):
            ledger.forget_intent(request_id)  # refused: nothing was made
            raise
        ledger.created(request_id, report_id)
        return report_id


def _find_lost(hook: SellingPartnerHook, ledger: ReportLedger, report_type: str) -> None:
    """Write down what came of every createReport whose answer was lost; forget those of which nothing came.

    Of any window: the run that lost the answer may have been the last one to ask for its window. The caller holds the
    lock, so we no longer wait for any of these calls. Amazon may still be at work on a recent one, which is kept to be
    looked for again.
    """
    lost = ledger.lost(report_type, hook.marketplace.id)
    if not lost:
        return
    now = datetime.now(UTC)
    oldest = max(lost[-1]["requested_at"] - CLOCK_SKEW, now - LISTED)
    reports = new_at_amazon(hook, ledger, report_type, since=oldest)
    for intent in lost:
        request = ReportRequest(report_type, intent["data_start"], intent["data_end"], intent["options"])
        possible = [
            report
            for report in reports
            if request.matches(report, hook.marketplace.id)
            and _created_at(report) >= intent["requested_at"] - CLOCK_SKEW
        ]
        if possible:
            # The newest that can be used; one that failed is only written down.
            report = min(possible, key=lambda report: report["processingStatus"] not in USABLE)
            reports.remove(report)
            ledger.created(intent["request_id"], report["reportId"])
            ledger.note(report)
        elif intent["requested_at"] < now - LATEST_EFFECT:
            ledger.forget_intent(intent["request_id"])


def new_at_amazon(
    hook: SellingPartnerHook, ledger: ReportLedger, report_type: str, *, since: datetime
) -> list[dict[str, Any]]:
    """Return the reports at Amazon that the ledger does not know, newest first."""
    listed = list(hook.get_reports(report_type, created_since=since))
    known = ledger.known([report["reportId"] for report in listed])
    return sorted((report for report in listed if report["reportId"] not in known), key=_created_at, reverse=True)


def _created_at(report: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(report["createdTime"])


class RequestReportOperator(SellingPartnerOperator):
    """Ask Amazon for a report, once.

    An equal report that is in flight or inside its cool-down is used instead of a new one, whoever asked for it.

    :param report_type: e.g. ``GET_AFN_INVENTORY_DATA``
    :param data_start: begin of the window, ISO 8601 (templated); None where the report has none
    :param data_end: end of the window, ISO 8601 (templated)
    :param report_options: Amazon's ``reportOptions``
    :param known_report_id: use this report of the ledger, as it is kept here, instead of asking for one (templated)
    :return: Amazon's report id
    """

    template_fields = ("conn_id", "data_start", "data_end", "known_report_id")

    def __init__(
        self,
        *,
        report_type: str,
        data_start: str | None = None,
        data_end: str | None = None,
        report_options: dict[str, str] | None = None,
        known_report_id: str | None = None,
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
        self.known_report_id = known_report_id

    def act(self, context: Context) -> str:
        """Ask, or adopt."""
        if self.known_report_id:
            self._check_known(ReportLedger(self.warehouse, self.conn_id), self.known_report_id)
            return self.known_report_id
        start, end = (_moment(name, getattr(self, name)) for name in ("data_start", "data_end"))
        if start and end and start >= end:
            raise ValueError(f"{self.conn_id}: data_start {start} must be before data_end {end}")
        request = ReportRequest(self.report_type, start, end, self.report_options or {})
        report_id = request_report(self.hook, ReportLedger(self.warehouse, self.conn_id), request)
        self.log.info("%s: %s is report %s.", self.conn_id, self.report_type, report_id)
        return report_id

    def _check_known(self, ledger: ReportLedger, report_id: str) -> None:
        known = ledger.get(report_id)
        if known["report_type"] != self.report_type:
            raise ValueError(
                f"{self.conn_id}: report {report_id} is a {known['report_type']}, not a {self.report_type}"
            )
        if known["status"] == "DONE" and not ledger.keeps(report_id):
            raise RequestRefusedError(
                f"{self.conn_id}: the raw copy of report {report_id} is not kept (any more: retention.raw_documents_days)"
            )
        if known["status"] not in ("DONE", "CANCELLED"):
            raise RequestRefusedError(f"{self.conn_id}: report {report_id} is {known['status']}, so it holds nothing")


class WaitForReportOperator(SellingPartnerOperator):
    """Wait, deferred, until a report is finished.

    CANCELLED is not data: it also means "asked for too soon". Then an equal report that is done is used, or the report
    is asked for once more after its cool-down.

    :param report_id: Amazon's report id (templated)
    :param patience: how long this run waits, at most two hours. A report that takes longer is left to the next run, which adopts it and goes
        on waiting, so that one slow store does not hold up the next run of all others
    :param known: the report is one of the ledger's and taken as it stands there, without a call to Amazon (templated)
    :return: id of the report that is finished: DONE, or CANCELLED twice
    :raises DecisionNeededError: FATAL (with Amazon's reason, where it gives one), or not finished two hours after it was
        asked for
    """

    template_fields = ("conn_id", "report_id", "known")

    def __init__(
        self, *, report_id: str, patience: timedelta | None = None, known: bool | str = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.report_id = report_id
        self.patience = PATIENCE if patience is None else patience
        self.known = known

    def act(self, context: Context) -> str:
        """Go on from wherever the ledger says this report is."""
        if not self.report_id:
            raise ValueError(f"{self.conn_id}: report_id is empty; the task that asks for the report returned none")
        if flag("known", self.known):
            return self.report_id
        return self._go_on(self.report_id, self._ledger.get(self.report_id)["status"])

    def wake(self, context: Context, event: dict[str, Any]) -> str:
        """Go on with what the trigger saw."""
        report_id = event.get("id")
        if not report_id:  # a cool-down or a quota was waited for
            return self.act(context)
        report = event.get("state") or self._ask(report_id)
        status = self._ledger.note(report)
        if status in UNFINISHED:
            if datetime.now(UTC) - self._ledger.get(report_id)["requested_at"] < PATIENCE:
                self._leave_to_next_run(context, report_id)
            raise DecisionNeededError(
                f"{self.conn_id}: Amazon has not finished report {report_id} in {PATIENCE}. The next run takes it up if "
                "it finishes; if this goes on, ask Amazon's support with the report id"
            )
        return self._go_on(report_id, status)

    def _ask(self, report_id: str) -> dict[str, Any]:
        try:
            return self.hook.get_report(report_id)
        except RequestRefusedError:
            # Amazon does not know it, as after a change of the seller: like FATAL, so that it is not waited for again.
            self._ledger.note({"reportId": report_id, "processingStatus": "FATAL"})
            raise

    def _leave_to_next_run(self, context: Context, report_id: str) -> NoReturn:
        told = f"Amazon is still making report {report_id}; the next run goes on waiting for it."
        key = {"dag_id": self.dag_id, "run_id": context["run_id"], "store": self.conn_id}
        with self.warehouse.connect() as db:
            db.execute(statements("ledger")["put_off_run"], {**key, "summary": told})
        raise AirflowSkipException(f"{self.conn_id}: {told}")

    @property
    def _ledger(self) -> ReportLedger:
        return ReportLedger(self.warehouse, self.conn_id)

    def _go_on(self, report_id: str, status: str) -> str:
        if status == "DONE":
            return report_id
        if status == "FATAL":
            raise DecisionNeededError(
                f"{self.conn_id}: report {report_id} is FATAL. It is asked for again by the next run that begins "
                f"{COOLDOWN.seconds // 60} minutes after it was made. Amazon's reason",
                detail=self._why_fatal(report_id),
            )
        if status == "CANCELLED":
            return self._after_cancelled(report_id)
        return self.wait_for("report", report_id, self.patience)

    def _after_cancelled(self, report_id: str) -> str:
        if report_id != self.report_id:
            self.log.warning("%s: report %s was CANCELLED as well.", self.conn_id, report_id)
            return report_id
        row = self._ledger.get(report_id)
        request = ReportRequest(row["report_type"], row["data_start"], row["data_end"], row["options"])
        since = row["requested_at"] - COOLDOWN
        for other in new_at_amazon(self.hook, self._ledger, request.report_type, since=since):
            if request.matches(other, row["marketplace_id"]) and other["processingStatus"] in USABLE:
                used = other["reportId"]
                self.log.info("%s: report %s was CANCELLED; %s is the same and is used.", self.conn_id, report_id, used)
                self._ledger.intend(request, row["marketplace_id"], report_id=used)
                return self._go_on(used, self._ledger.note(other))
        again = request_report(self.hook, self._ledger, request)  # waits out the cool-down first
        return self._go_on(again, self._ledger.get(again)["status"])

    def _why_fatal(self, report_id: str) -> str:
        document_id = self._ledger.get(report_id)["document_id"]
        if not document_id:
            return "none given"
        head = b"".join(self.hook.download_report(document_id).chunks)[:100_000]
        if head[:2] == b"\x1f\x8b":
            head = zlib.decompressobj(wbits=31).decompress(head, 4000)
        return head[:1000].decode("utf-8", "replace")


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
