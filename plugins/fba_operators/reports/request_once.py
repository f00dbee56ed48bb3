"""Ask Amazon for a report once: reuse an equal one, and reconcile requests whose answer was lost."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import ListedReport
from fba_operators.amazon.processing_status import ProcessingStatus
from fba_operators.errors import DecisionNeededError, RequestRefusedError, ThrottledError
from fba_operators.reports.cooldown import COOLDOWN
from fba_operators.reports.ledger import ReportLedger, ReportRequest
from fba_operators.warehouse.statements import execute

CLOCK_SKEW = timedelta(minutes=5)
LIST_REACH = timedelta(days=89)  # getReports looks back 90 days
LATEST_EFFECT = timedelta(minutes=10)  # of a call whose answer was lost


def request_report(
    hook: SellingPartnerHook, ledger: ReportLedger, request: ReportRequest, *, even_refused: bool = False
) -> str:
    """Return the id of a report equal to the request: one in flight or inside its cool-down, else a new one.

    A report that Amazon has not finished in two hours is asked for anew; should it be finished by now, it is used. One whose
    time is still to come, from a clock that was ahead, has no age, and is neither used nor waited for.

    :param even_refused: reuse also a report whose content was refused
    :raises ThrottledError: Amazon's quota, or the cool-down after a report that failed
    :raises LostAnswerError: Amazon may have made it; calling this again looks there first
    :raises DecisionNeededError: Amazon answers with the id of another report
    """
    marketplace_id = hook.marketplace.id
    # The lock is held while Amazon is asked, so that concurrent runs ask once.
    with ledger.warehouse.connect() as db:
        execute(db, "reports.lock_report_type", store=ledger.store, report_type=request.report_type)
        ledger.correct_impossible_times(request.report_type)
        reconcile_lost_requests(hook, ledger, request.report_type)
        known = ledger.reusable(request, marketplace_id, even_refused=even_refused)
        if known and ProcessingStatus(known["status"]).usable:
            return str(known["report_id"])
        if known:
            raise ThrottledError(
                f"{ledger.store}: {request.report_type} was {known['status']} (report {known['report_id']}) and is asked "
                f"for again only after its cool-down",
                until=min(known["requested_at"], datetime.now(UTC)) + COOLDOWN,
            )
        for report_id in ledger.hanging(request, marketplace_id):
            if ledger.record_state(hook.get_report(report_id)) == ProcessingStatus.DONE:
                return report_id
        request_id = ledger.record_intent(request, marketplace_id)
        try:
            report_id = hook.create_report(
                request.report_type,
                data_start=request.data_start,
                data_end=request.data_end,
                options=request.options,
            )
        except (ThrottledError, RequestRefusedError):
            ledger.delete_intent(request_id)  # refused: nothing was made
            raise
        if ledger.known_ids([report_id]):
            ledger.delete_intent(request_id)
            _check_known(ledger.get(report_id), ledger.store, request, marketplace_id, even_refused=even_refused)
        else:
            ledger.record_id(request_id, report_id)
        return report_id


def _check_known(
    row: dict[str, Any], store: str, request: ReportRequest, marketplace_id: str, *, even_refused: bool
) -> None:
    """Check that a report which Amazon names again is the one asked for; it stays as old as it is.

    :raises DecisionNeededError: it is another one, or of no use
    """
    known = ReportRequest(row["report_type"], row["data_start"], row["data_end"], row["options"])
    is_equal = known == request and row["marketplace_id"] == marketplace_id
    is_of_use = ProcessingStatus(row["status"]).usable and (even_refused or row["refused_at"] is None)
    if not (is_equal and is_of_use):
        raise DecisionNeededError(
            f"{store}: asked for {request.report_type}, Amazon answered with report {row['report_id']}, which it gave before: a "
            f"{row['report_type']}, {row['status']}. It is not used; the next run asks again. If this happens again, ask Amazon's support"
        )


def reconcile_lost_requests(hook: SellingPartnerHook, ledger: ReportLedger, report_type: str) -> None:
    """Reconcile intents without an id: find their reports at Amazon, delete the intents of which nothing came.

    Of any window: the run that lost the answer may have been the last one to ask for its window. The caller holds the
    lock, so none of these calls is still under way here. Amazon may still be at work on a recent one, whose intent is
    kept to be looked for again; so is every one while Amazon lists a report that cannot be read.
    """
    lost = ledger.intents_without_id(report_type, hook.marketplace.id)
    if not lost:
        return
    now = datetime.now(UTC)
    oldest = max(lost[-1]["requested_at"] - CLOCK_SKEW, now - LIST_REACH)
    listed = list(hook.get_reports(report_type, created_since=oldest))
    reports = unknown_reports(ledger, listed)
    for intent in lost:
        request = ReportRequest(report_type, intent["data_start"], intent["data_end"], intent["options"])
        possible = [
            report
            for report in reports
            if request.matches(report, hook.marketplace.id)
            and report.created_time >= intent["requested_at"] - CLOCK_SKEW
        ]
        if possible:
            # The newest that can be used; one that failed is only recorded.
            report = min(possible, key=lambda report: not report.usable)
            reports.remove(report)
            ledger.record_id(intent["request_id"], report.report_id)
            ledger.record_state(report)
        elif None not in listed and intent["requested_at"] < now - LATEST_EFFECT:
            ledger.delete_intent(intent["request_id"])


def unknown_reports(ledger: ReportLedger, listed: Iterable[ListedReport | None]) -> list[ListedReport]:
    """Return those of Amazon's reports that are not in the ledger, newest first."""
    readable = [report for report in listed if report]
    known = ledger.known_ids([report.report_id for report in readable])
    unknown = [report for report in readable if report.report_id not in known]
    return sorted(unknown, key=lambda report: report.created_time, reverse=True)
