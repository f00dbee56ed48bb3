"""Undocumented answers of Amazon: each is read or becomes one of our errors, never another error, a hang or an invented number."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from io import BytesIO
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from airflow.sdk import Connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fba_operators.amazon import transport
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.login import AccessToken
from fba_operators.errors import DocumentError, LostAnswerError, SellingPartnerError, UnavailableError
from fba_operators.fulfillment.processing_report import ReportError, judge_messages, parse_processing_report
from fba_operators.reports.document import Document
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS
from sandbox.documents.processing_report import Result, processing_report
from tests import timing
from tests.faults.campaign import COMPLETE
from tests.stores import US

settings.register_profile("faults", max_examples=1000 if COMPLETE else 30, deadline=None, derandomize=True)
BOUNDED = settings(settings.get_profile("faults"), suppress_health_check=list(HealthCheck))
NOW = datetime(2026, 11, 1, tzinfo=UTC)
TIME = "2026-11-01T00:00:00+00:00"
REPORT = {"reportId": "1", "reportType": "X", "processingStatus": "DONE", "createdTime": TIME, "reportDocumentId": "d"}
FEED = {"feedId": "1", "feedType": "X", "processingStatus": "DONE", "createdTime": TIME, "processingEndTime": TIME}
ORDER = {"sellerFulfillmentOrderId": "FR-1", "marketplaceId": US, "fulfillmentOrderStatus": "Processing"}
STOCK = {"sellerSku": "A", "inventoryDetails": {"fulfillableQuantity": 3}}
# Operation → a good answer, and the call that reads it.
ANSWERS: dict[str, tuple[Any, Any]] = {
    "createReport": ({"reportId": "1"}, lambda hook: hook.create_report("X")),
    "getReport": (REPORT, lambda hook: hook.get_report("1")),
    "getReports": ({"reports": [REPORT]}, lambda hook: list(hook.get_reports("X", created_since=NOW))),
    "createFeedDocument": ({"feedDocumentId": "d", "url": "u"}, lambda hook: hook.create_feed_document("text/xml")),
    "createFeed": ({"feedId": "1"}, lambda hook: hook.create_feed("X", "d")),
    "getFeed": (FEED, lambda hook: hook.get_feed("1")),
    "getFeeds": ({"feeds": [FEED]}, lambda hook: list(hook.get_feeds("X", created_since=NOW))),
    "getInventorySummaries": (
        {"payload": {"inventorySummaries": [STOCK]}},
        lambda hook: hook.get_inventory_summaries(["A"]),
    ),
    "listAllFulfillmentOrders": (
        {"payload": {"fulfillmentOrders": [ORDER]}},
        lambda hook: hook.list_all_fulfillment_orders(since=NOW),
    ),
    "getFulfillmentOrder": (
        {"payload": {"fulfillmentOrder": ORDER, "fulfillmentOrderItems": [{"sellerSku": "A", "quantity": 1}]}},
        lambda hook: hook.get_fulfillment_order("FR-1"),
    ),
    "cancelFulfillmentOrder": ({}, lambda hook: hook.cancel_fulfillment_order("FR-1") or "cancelled"),
    "getMarketplaceParticipations": (
        {"payload": [{"marketplace": {"id": "A"}}]},
        lambda hook: hook.get_marketplace_participations(),
    ),
    "token": ({"access_token": "Atza|x", "expires_in": 3600}, lambda hook: hook.access_token()),
}
ODD = st.sampled_from(
    [None, "", "x", "x\0", "é\n", 0, -1, 1.5, 10**30, float("inf"), True, [], [None], ["x"], {}, {"x": None}, [[]]]
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        found += places(inner, (*path, key))
    return found


@st.composite
def malformed(draw, good):
    """A good answer in which one or two values are replaced or missing."""
    value = {"": copy.deepcopy(good)}
    for _ in range(draw(st.integers(1, 2))):
        *way, last = draw(st.sampled_from(places(value)[1:]))
        inner: Any = value
        for key in way:
            inner = inner[key]
        if draw(st.booleans()) and isinstance(inner, dict) and last:
            del inner[last]
        else:
            inner[last] = copy.deepcopy(draw(ODD))
    return value[""]


def answer_always(monkeypatch, body: bytes, status: int, headers: dict[str, str]):
    """Let every request have this answer."""

    def answer(*_, **__):
        response = requests.Response()
        response.status_code, response.raw = status, BytesIO(body)
        response.headers.update(headers)
        return response

    monkeypatch.setattr(transport, "session", lambda: SimpleNamespace(request=answer))


def hook_answered_with(monkeypatch, body: bytes, status: int = 200, headers: dict[str, str] | None = None):
    """A hook that gets this answer to every call."""
    answer_always(monkeypatch, body, status, headers or {})
    timing.replace_retry_sleep(monkeypatch, lambda seconds: None)
    extra = {"refresh_token": "r", "seller_id": "S", "marketplace_id": US}
    connection = Connection(
        conn_id="amazon_us",
        conn_type="amazon_sp_api",
        host="http://127.0.0.1:9",
        login="l",
        password="p",
        extra=json.dumps(extra),
    )
    return SellingPartnerHook("amazon_us", None, connections={"amazon_us": connection})


def call(operation: str, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        hook = hook_answered_with(patch, body, status, headers)
        if operation != "token":
            hook.client.login.current = AccessToken("Atza|x", datetime(2099, 1, 1, tzinfo=UTC))
        return ANSWERS[operation][1](hook)


@pytest.mark.parametrize("operation", list(ANSWERS))
def test_a_good_answer_is_read(operation):
    assert call(operation, json.dumps(ANSWERS[operation][0]).encode())


@pytest.mark.parametrize("operation", list(ANSWERS))
def test_a_malformed_answer_is_one_of_our_errors(operation):
    good, _ = ANSWERS[operation]

    @BOUNDED
    @given(malformed(good))
    def check(answer):
        body = json.dumps(answer).encode()
        try:
            result = call(operation, body)
        except UnavailableError as error:
            assert isinstance(error, LostAnswerError) == (operation in ("createReport", "createFeed"))
        else:
            assert result != "None"
            if operation == "getInventorySummaries":
                assert all(
                    quantity is None or (type(quantity) is int and quantity >= 0) for quantity in result.values()
                )

    check()


@pytest.mark.parametrize("operation", list(ANSWERS))
@pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 429, 500, 503])
@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"null", b"[]", b'{"errors": 5}', b'{"errors": [null]}', b'{"errors": "x"}']
)
def test_an_answer_that_is_not_a_json_object_is_one_of_our_errors(operation, status, body):
    with pytest.raises(SellingPartnerError):
        call(operation, body, status)


@pytest.mark.parametrize("rate", ["0", "0.0", "-1", "nan", "inf", "soon", "1e999"])
def test_an_invalid_rate_is_ignored(amazon, warehouse, warehouse_url, monkeypatch, rate):
    """A rate of 0 in the shared bucket would make every later call divide by zero."""
    hook = SellingPartnerHook()
    hook.access_token()
    answer_always(monkeypatch, b'{"reportId": "1"}', 202, {"x-amzn-RateLimit-Limit": rate})
    for _ in range(3):
        assert hook.create_report("X") == "1"


# --- documents -------------------------------------------------------------------------------------------------------

ROWS = "".join(f"SKU-{n}\tFN{n}\tB00{n}\tNew\tSELLABLE\t{n}\r\n" for n in range(20))
GOOD = ("\t".join(AFN_INVENTORY.amazon_columns) + "\r\n" + ROWS).encode()
BITS = st.sampled_from([b"\0", b"\r", b'"', b"\t", b"\n", b"\\", b"\xff\xfe", b"\x85", b"\xe2\x80\xa8", b"x" * 70_000])


@st.composite
def mutated(draw, good):
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 6))):
        at, to = sorted(draw(st.tuples(st.integers(0, len(data)), st.integers(0, len(data)))))
        how = draw(st.sampled_from(["cut", "double", "insert"]))
        if how == "cut":
            del data[at : at + min(to - at, 40)]
        elif how == "double":
            data[at:at] = data[at : at + min(to - at, 200)]
        else:
            data[at:at] = draw(BITS)
    return bytes(data)


@BOUNDED
@given(
    mutated(GOOD),
    st.sampled_from([None, "UTF-8", "Cp1252", "Shift_JIS", "nonsense"]),
    st.sampled_from([AFN_INVENTORY, LISTINGS]),
)
def test_no_line_of_a_damaged_document_is_lost(data, charset, report_type):
    try:
        document = Document(lambda: [data], report_type, charset=charset, usual_charset="cp1252")
        counts = [(len(block), len(block.rejected)) for block in document.blocks()]
    except DocumentError:
        return
    kept = data.rstrip(b"\r\n")  # empty lines at the very end do not count
    assert sum(map(sum, counts)) == document.line_count
    assert document.line_count >= kept.count(b"\n")


# --- processing reports ----------------------------------------------------------------------------------------------

PROCESSING_REPORT = processing_report(
    "S", "1", 3, [Result(2, "Error", "13050", "no stock", "A"), Result(3, "Warning", "1", "w")]
)


@BOUNDED
@given(mutated(PROCESSING_REPORT))
def test_a_damaged_processing_report_has_a_verdict_on_every_message(data):
    try:
        verdicts = judge_messages(parse_processing_report(data), [1, 2, 3])
    except ReportError:
        return
    assert verdicts.keys() == {1, 2, 3}


@pytest.mark.parametrize(
    "prologue",
    [
        "<!DOCTYPE a [" + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 10}">' for n in range(9)) + '<!ENTITY e0 "x">]>',
        '<!DOCTYPE a [<!ENTITY e9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a [<!ENTITY e9 SYSTEM "http://127.0.0.1:9/">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/a.dtd">',
    ],
)
def test_entities_are_neither_expanded_nor_fetched(prologue):
    body = PROCESSING_REPORT.partition(b"?>")[2].replace(
        b"no stock", b"&e9;" if b"e9" in prologue.encode() else b"no stock"
    )
    with pytest.raises(ReportError) as caught:
        parse_processing_report(b'<?xml version="1.0"?>' + prologue.encode() + body)
    assert "root:" not in str(caught.value)
