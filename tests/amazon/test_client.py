"""The client: pages, batches, times, and errors without what they repeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fba_operators.amazon.client import Client, amazon_time
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import Report
from fba_operators.errors import (
    CredentialsError,
    RequestRefusedError,
    SellingPartnerError,
    ThrottledError,
    UnavailableError,
)
from tests.hostile import HOSTILE, SECRET_PARTS, hostile_body
from tests.stores import LISTINGS, SELLER, US

DETAILS = "The access token you provided has expired."
EXPIRED = {
    "errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": DETAILS}]
}


def test_get_reports_reads_every_page(amazon, warehouse):
    hook = SellingPartnerHook()
    ids = {hook.create_report(LISTINGS) for _ in range(3)}
    since = datetime.now(UTC) - timedelta(hours=1)
    found = list(hook.get_reports(LISTINGS, created_since=since))
    assert {report.report_id for report in found} == ids


def test_inventory_summaries_are_requested_in_a_form_amazon_accepts(amazon, warehouse):
    truth = amazon.world.truth(SELLER, US, False, True)
    known = {sku: stock["fba"] for sku, stock in truth.items() if stock["source"] == "fba_api"}
    plain = {sku: quantity for sku, quantity in known.items() if "," not in sku}
    assert plain
    assert SellingPartnerHook().get_inventory_summaries([*plain, "no-such-sku"][:50]) == plain
    with pytest.raises(ValueError, match="comma"):
        SellingPartnerHook().get_inventory_summaries(["a,b", "c"])


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC).astimezone()
    assert amazon_time(moment) == "2026-11-23T01:02:03.456Z"


# Lists end


def tokens_of(monkeypatch, *, elements, next_token):
    """Let listAllFulfillmentOrders answer pages: the n-th has these elements and leads on with this token."""
    asked = []

    def call(client, operation, params):
        asked.append(params.get("nextToken"))
        orders = [{"sellerFulfillmentOrderId": "1"}] * elements(len(asked))
        return operation.read({"payload": {"fulfillmentOrders": orders, "nextToken": next_token(len(asked))}})

    monkeypatch.setattr(Client, "call", call)
    return asked


def list_orders():
    return SellingPartnerHook(warehouse_conn_id=None).list_all_fulfillment_orders(since=datetime.now(UTC))


def test_a_list_that_goes_round_in_circles_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: 1, next_token=lambda n: "AB"[n % 2])
    with pytest.raises(UnavailableError, match="leads back"):
        list_orders()
    assert len(asked) == 3


def test_a_list_of_empty_pages_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: int(n == 40), next_token=str)
    with pytest.raises(UnavailableError, match="50 empty pages"):
        list_orders()
    assert len(asked) == 90


def test_a_list_without_end_ends(amazon, monkeypatch):
    asked = tokens_of(monkeypatch, elements=lambda n: 1, next_token=str)
    with pytest.raises(UnavailableError, match="more than 10000 pages"):
        list_orders()
    assert len(asked) == 10_000


def test_some_empty_pages_are_no_end(amazon, monkeypatch):
    tokens_of(monkeypatch, elements=lambda n: n % 40 == 0, next_token=lambda n: str(n) if n < 200 else "")
    assert len(list_orders()) == 5


def throttled_after(monkeypatch, pages):
    """Let getReports be throttled after so many pages of a long list."""

    def call(client, operation, params):
        if int(params.get("nextToken", 0)) >= pages:
            raise ThrottledError("slowly", until=datetime.now(UTC) + timedelta(seconds=45))
        return operation.read({"reports": [], "nextToken": str(int(params.get("nextToken", 0)) + 1)})

    monkeypatch.setattr(Client, "call", call)
    return SellingPartnerHook(warehouse_conn_id=None).get_reports(LISTINGS, created_since=datetime.now(UTC))


@pytest.mark.parametrize(("pages", "seconds"), [(0, 45), (1, 90), (9, 450)])
def test_a_list_that_the_quota_interrupts_is_read_to_its_end_the_next_time(amazon, monkeypatch, pages, seconds):
    with pytest.raises(ThrottledError) as caught:
        list(throttled_after(monkeypatch, pages))
    assert seconds - 2 < (caught.value.until - datetime.now(UTC)).total_seconds() < seconds + 2


@pytest.mark.parametrize(("pages", "seconds"), [(1, 1), (9, 5), (29, 15), (100, 15)])
def test_a_list_of_which_thirty_pages_are_granted_at_once_waits_for_as_many(amazon, monkeypatch, pages, seconds):
    """After half a second, until the next call is granted, it would be interrupted at its second page, again and again."""

    def call(client, operation, params):
        number = int(params.get("nextToken", 0))
        if number >= pages:
            raise ThrottledError("slowly", until=datetime.now(UTC) + timedelta(seconds=0.5))
        order = {"sellerFulfillmentOrderId": "1"}
        return operation.read({"payload": {"fulfillmentOrders": [order], "nextToken": str(number + 1)}})

    monkeypatch.setattr(Client, "call", call)
    with pytest.raises(ThrottledError) as caught:
        list_orders()
    assert seconds - 0.5 < (caught.value.until - datetime.now(UTC)).total_seconds() < seconds + 0.5


def test_a_list_longer_than_the_quota_is_not_begun_for_ever(amazon, monkeypatch):
    with pytest.raises(UnavailableError, match="beyond Amazon's quota"):
        list(throttled_after(monkeypatch, 10))


@pytest.mark.parametrize("status", [400, 403, 404, 429, 500])
def test_a_hostile_error_is_one_short_line_without_what_it_repeats(amazon, warehouse, no_retry_sleep, status):
    headers = {"x-amzn-RequestId": "Atzr|in-a-header hidden@buyer.example"}
    amazon.world.add_fault("getReport", "status", status=status, body=hostile_body(), headers=headers, times=None)
    with pytest.raises(SellingPartnerError) as caught:
        SellingPartnerHook().get_report("50001")
    told = f"{caught.value} {caught.value.brief} {caught.value.code} {caught.value.request_id}"
    assert len(str(caught.value)) < 1000
    assert "\n" not in told
    assert [part for part in SECRET_PARTS if part in told] == []
    assert "Invalid request" in told or status == 429


def test_a_hostile_login_is_not_repeated(amazon, warehouse):
    body = {"error": HOSTILE, "error_description": HOSTILE, "request_id": HOSTILE}
    amazon.world.add_fault("token", "status", status=400, body=body)
    with pytest.raises(CredentialsError) as caught:
        SellingPartnerHook().access_token()
    assert [part for part in SECRET_PARTS if part in str(caught.value)] == []


def test_the_number_asked_for_stays_readable_in_amazons_reason(amazon, warehouse):
    """Whether Amazon has no such order is read from the number in its words, and a number can look like a telephone's."""
    body = {"errors": [{"code": "InvalidInput", "message": "Nothing for 20655501001 here"}]}
    amazon.world.add_fault("getFulfillmentOrder", "status", status=400, body=body)
    assert SellingPartnerHook().find_fulfillment_order("20655501001") is None


@pytest.mark.parametrize(("status", "times"), [(403, 1), (409, 1), (500, 6)])
def test_what_amazon_says_of_one_order_is_no_part_of_the_error_s_text(amazon, warehouse, no_retry_sleep, status, times):
    """It may name the buyer, whom no pattern can know. Who writes the row of the request reads it beside the text."""
    body = {"errors": [{"code": "InvalidInput", "message": "Wilhelmina does not live there"}]}
    amazon.world.add_fault("getFulfillmentOrder", "status", status=status, body=body, times=times)
    with pytest.raises(SellingPartnerError, match=f"getFulfillmentOrder, HTTP {status}, InvalidInput") as caught:
        SellingPartnerHook().get_fulfillment_order("FR-1")
    assert "Wilhelmina" not in str(caught.value)
    assert caught.value.detail == "Wilhelmina does not live there"


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("get_report", {"reportId": "2", "reportType": "T", "processingStatus": "DONE"}),
        ("get_feed", {"feedId": "2", "feedType": "T", "processingStatus": "DONE"}),
        ("find_fulfillment_order", {"payload": {"fulfillmentOrder": {"sellerFulfillmentOrderId": "2"}}}),
    ],
)
def test_an_answer_about_something_else_is_no_answer(amazon, warehouse, operation, body):
    name = {"find_fulfillment_order": "getFulfillmentOrder", "get_report": "getReport", "get_feed": "getFeed"}[
        operation
    ]
    amazon.world.add_fault(name, "status", status=200, body=body, times=None)
    ask = getattr(SellingPartnerHook(), operation)
    with pytest.raises(UnavailableError, match="was asked for 1 and answered about another one"):
        ask("1")
    assert ask(" 2 ")


def test_what_may_be_made_once_is_not_repeated_with_a_new_token(amazon, warehouse):
    """Amazon calls the token expired in the answer, which does not prove that it made nothing."""
    hook, fenced = SellingPartnerHook(), []
    hook.access_token()
    amazon.world.add_fault("createFulfillmentOrder", "status", status=403, times=1, body=EXPIRED)
    with pytest.raises(UnavailableError, match="refused the access token"):
        hook.create_fulfillment_order({"sellerFulfillmentOrderId": "FR-1", "items": []}, fence=lambda: fenced.append(1))
    assert amazon.world.calls()["calls"]["createFulfillmentOrder"] == 1
    amazon.world.add_fault("getReport", "status", status=403, times=1, body=EXPIRED)
    with pytest.raises(RequestRefusedError):
        hook.get_report("1")
    assert amazon.world.calls()["calls"]["getReport"] == 2


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("2026-11-28T10:00:00Z", True),
        ("2026-11-28T10:00:00", False),
        ("2000-01-01T00:00:00+14:00", False),  # in UTC it is still 1999
        ("2099-12-31T23:59:59-12:00", False),
        ("0001-01-01T00:00:00+14:00", False),
        ("9999-12-31T23:59:59-12:00", False),
    ],
)
def test_a_time_that_the_warehouse_does_not_take_counts_as_not_said(text, kept):
    body = {"reportId": "1", "reportType": "T", "processingStatus": "DONE", "createdTime": text}
    assert (Report.model_validate(body).created_time is not None) == kept
