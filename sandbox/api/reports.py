"""Reports API 2021-06-30."""

from typing import Any

from sandbox.api import pages, storage
from sandbox.api.answers import Answer, invalid_input, json_answer, not_found
from sandbox.api.calls import Call, Operation, moment, text_list
from sandbox.merchant.merchant import REPORT_TYPES
from sandbox.world.report_desk import Report, Request

STATUSES = ("CANCELLED", "DONE", "FATAL", "IN_PROGRESS", "IN_QUEUE")
_BASE = "/reports/2021-06-30"
_FIELDS = {"reportType", "marketplaceIds", "dataStartTime", "dataEndTime", "reportOptions"}
_CREATED_SINCE_DEFAULT = 90 * 86400.0
_PAGE_TOKEN_SECONDS = 3600.0
_LAG = 1.0


def _checked(call: Call) -> Request:
    body = call.json_object()
    unknown = body.keys() - _FIELDS
    if unknown:
        raise invalid_input(f"Unknown field in the request body: {min(unknown)}")
    for name in ("reportType", "marketplaceIds"):
        if name not in body:
            raise invalid_input(f"Missing required field: {name}")
    report_type = body["reportType"]
    if report_type not in REPORT_TYPES:
        raise invalid_input(f"Report type {report_type} is not allowed or not known.")
    marketplace_ids = text_list("marketplaceIds", body["marketplaceIds"], 25)
    call.check_marketplaces(marketplace_ids)
    times = {name: moment(name, body[name]) if name in body else None for name in ("dataStartTime", "dataEndTime")}
    start, end = times["dataStartTime"], times["dataEndTime"]
    now = call.world.clock.wall()
    if any(time is not None and time > now + _LAG for time in (start, end)):
        raise invalid_input("dataStartTime and dataEndTime must not be in the future.")
    if start is not None and start > (now if end is None else end):
        raise invalid_input("dataStartTime must not be after dataEndTime.")
    options = body.get("reportOptions", {})
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise invalid_input("reportOptions must be an object whose values are strings.")
    return Request(report_type, tuple(marketplace_ids), start, end, options)


def create_report(call: Call) -> Answer:
    """POST /reports/2021-06-30/reports."""
    request = _checked(call)
    fate = call.strike_fate()
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
    report.withdrawn = True
    return json_answer(200, {})


def get_reports(call: Call) -> Answer:
    """GET /reports/2021-06-30/reports: newest first; a nextToken must come alone."""
    token = call.text("nextToken")
    if token is not None:
        if len(call.query) > 1:
            raise invalid_input("nextToken must be the only parameter.")
        state = pages.take_in(call, token)
        return _page(call, state["left"], state["size"])
    types = call.texts("reportTypes", most=10, required=True) or []
    statuses = call.texts("processingStatuses", most=len(STATUSES))
    marketplace_ids = call.texts("marketplaceIds", most=10)
    size = call.integer("pageSize", least=1, most=100, default=10)
    now = call.world.clock.wall()
    since, until = call.moment("createdSince"), call.moment("createdUntil")
    if statuses is not None and not set(statuses) <= set(STATUSES):
        raise invalid_input(f"processingStatuses must be among {', '.join(STATUSES)}.")
    if marketplace_ids is not None:
        call.check_marketplaces(marketplace_ids)
    since = now - _CREATED_SINCE_DEFAULT if since is None else since
    found = [
        report.report_id
        for report in call.world.desk.of_seller(call.merchant.seller_id)
        if report.report_type in types
        and (statuses is None or call.world.desk.status(report) in statuses)
        and (marketplace_ids is None or set(report.marketplace_ids) & set(marketplace_ids))
        and since <= report.created
        and (until is None or report.created <= until)
    ]
    return _page(call, found, size)


def _page(call: Call, found: list[str], size: int) -> Answer:
    desk = call.world.desk
    reports = [desk.reports[call.merchant.seller_id, report_id] for report_id in found[:size]]
    answer: dict[str, Any] = {"reports": [desk.shown(report) for report in reports]}
    if found[size:]:
        answer["nextToken"] = pages.give_out(call, {"left": found[size:], "size": size}, _PAGE_TOKEN_SECONDS)
    return json_answer(200, answer)


def get_report_document(call: Call) -> Answer:
    """GET /reports/2021-06-30/documents/{reportDocumentId}: a URL that lives for five minutes."""
    wants_encoding = call.boolean("enableContentEncodingUrlHeader")
    document_id = call.incoming.path_params["reportDocumentId"]
    document = call.world.desk.documents.get(document_id)
    if document is None or not _released(call, document_id):
        raise not_found(f"The report document {document_id} does not exist.")
    return json_answer(200, {"reportDocumentId": document_id, **storage.download_url(call, document, wants_encoding)})


def _released(call: Call, document_id: str) -> bool:
    """Whether a report of this seller shows the document; its id is nobody's business before."""
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
        query=frozenset(
            {
                "reportTypes",
                "processingStatuses",
                "marketplaceIds",
                "pageSize",
                "createdSince",
                "createdUntil",
                "nextToken",
            }
        ),
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
