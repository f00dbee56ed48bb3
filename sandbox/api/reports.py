"""Reports API 2021-06-30: reports created, polled, listed, cancelled, and their documents."""

from typing import Any

from sandbox.api import listing, storage
from sandbox.api.answers import Answer, invalid_input, json_answer, not_found
from sandbox.api.calls import Call, Operation, parse_timestamp, require_string_values, require_text_list
from sandbox.merchant.merchant import REPORT_TYPES
from sandbox.world.report_desk import Report, Request

_BASE = "/reports/2021-06-30"
_CLOCK_SKEW_SECONDS = 1.0


def _parse_request(call: Call) -> Request:
    body = call.json_fields({"reportType", "marketplaceIds"}, {"dataStartTime", "dataEndTime", "reportOptions"})
    report_type = body["reportType"]
    if report_type not in (*REPORT_TYPES, *call.world.desk.overrides):
        raise invalid_input(f"Report type {report_type} is not allowed or not known.")
    marketplace_ids = require_text_list("marketplaceIds", body["marketplaceIds"], 25)
    call.check_marketplaces(marketplace_ids)
    times = {
        name: parse_timestamp(name, body[name]) if name in body else None for name in ("dataStartTime", "dataEndTime")
    }
    start, end = times["dataStartTime"], times["dataEndTime"]
    now = call.world.clock.wall()
    if any(time is not None and time > now + _CLOCK_SKEW_SECONDS for time in (start, end)):
        raise invalid_input("dataStartTime and dataEndTime must not be in the future.")
    if start is not None and start > (now if end is None else end):
        raise invalid_input("dataStartTime must not be after dataEndTime.")
    options = require_string_values("reportOptions", body.get("reportOptions", {}))
    return Request(report_type, tuple(marketplace_ids), start, end, options)


def create_report(call: Call) -> Answer:
    """POST /reports/2021-06-30/reports."""
    request = _parse_request(call)
    fate = call.take_due_fault(fate=True)
    report = call.world.desk.create(call.merchant, request, fate.fault if fate else None)
    call.world.count_report(report.seller_id, report.report_type)
    return json_answer(202, {"reportId": report.report_id})


def _report(call: Call) -> Report:
    report_id = call.incoming.path_params["reportId"]
    report = call.world.desk.reports.get((call.merchant.seller_id, report_id))
    if report is None:
        raise not_found(f"The report {report_id} does not exist.")
    return report


def get_report(call: Call) -> Answer:
    """GET /reports/2021-06-30/reports/{reportId}."""
    return json_answer(200, call.world.desk.shown(_report(call)))


def cancel_report(call: Call) -> Answer:
    """DELETE /reports/2021-06-30/reports/{reportId}: possible while it is IN_QUEUE."""
    report = _report(call)
    if call.world.desk.status(report) != "IN_QUEUE":
        raise invalid_input("Only a report that is IN_QUEUE can be cancelled.")
    report.cancelled_by_seller = True
    return json_answer(200, {})


def get_reports(call: Call) -> Answer:
    """GET /reports/2021-06-30/reports: newest first; nextToken must be the only parameter."""
    desk, seller_id = call.world.desk, call.merchant.seller_id

    def find(filters: listing.Filters) -> list[str]:
        return [
            report.report_id
            for report in desk.of_seller(seller_id)
            if filters.match(report.report_type, report.marketplace_ids, report.created)
            and filters.match_status(desk.status(report))
        ]

    def show(report_id: str) -> dict[str, Any]:
        return desk.shown(desk.reports[seller_id, report_id])

    return listing.answer_page(call, "reportTypes", "reports", find, show)


def get_report_document(call: Call) -> Answer:
    """GET /reports/2021-06-30/documents/{reportDocumentId}: a signed URL that expires in five minutes."""
    with_content_encoding = call.query_boolean("enableContentEncodingUrlHeader")
    document_id = call.incoming.path_params["reportDocumentId"]
    document = call.world.desk.documents.get(document_id)
    if document is None or not _is_visible(call, document_id):
        raise not_found(f"The report document {document_id} does not exist.")
    return json_answer(
        200, {"reportDocumentId": document_id, **storage.download_url(call, document, with_content_encoding)}
    )


def _is_visible(call: Call, document_id: str) -> bool:
    """Whether a finished report of this seller has the document; before that, getReportDocument answers 404."""
    desk = call.world.desk
    return any(
        report.document is not None
        and report.document.document_id == document_id
        and desk.status(report) in {"DONE", "FATAL"}
        for report in desk.of_seller(call.merchant.seller_id)
    )


def _document_type(call: Call) -> str | None:
    document = call.world.desk.documents.get(call.incoming.path_params["reportDocumentId"])
    return document.report_type if document else None


def _report_type(call: Call) -> str | None:
    if call.merchant_or_none is None:
        return None
    report = call.world.desk.reports.get((call.merchant.seller_id, call.incoming.path_params["reportId"]))
    return report.report_type if report else None


OPERATIONS = (
    Operation(
        "createReport",
        "POST",
        f"{_BASE}/reports",
        create_report,
        rate=0.0167,
        burst=15,
        subject=lambda call: call.peek_body("reportType"),
    ),
    Operation(
        "getReports",
        "GET",
        f"{_BASE}/reports",
        get_reports,
        query=listing.query_parameters("reportTypes"),
        rate=0.0222,
        burst=10,
    ),
    Operation(
        "getReport", "GET", f"{_BASE}/reports/{{reportId}}", get_report, rate=2.0, burst=15, subject=_report_type
    ),
    Operation(
        "cancelReport",
        "DELETE",
        f"{_BASE}/reports/{{reportId}}",
        cancel_report,
        rate=0.0222,
        burst=10,
        subject=_report_type,
    ),
    Operation(
        "getReportDocument",
        "GET",
        f"{_BASE}/documents/{{reportDocumentId}}",
        get_report_document,
        query=frozenset({"enableContentEncodingUrlHeader"}),
        rate=0.0167,
        burst=15,
        subject=_document_type,
    ),
)
