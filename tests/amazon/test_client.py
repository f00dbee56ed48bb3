"""The client: pages, batches, times, and errors without what they repeat."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from fba_operators.amazon.client import amazon_time
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import CredentialsError, SellingPartnerError
from tests.hostile import HOSTILE, SECRET_PARTS, hostile_body
from tests.stores import LISTINGS, SELLER, US


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
