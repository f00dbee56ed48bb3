"""Amazon's official client drives the sandbox, and its models read the answers."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from sandbox_client import US
from spapi import (
    ApiException,
    FbaInventoryApi,
    FbaOutboundApi,
    ReportsApi,
    SellersApi,
    SPAPIClient,
    SPAPIConfig,
)

from sandbox.server import Sandbox
from sandbox.world import DEFAULT_MERCHANT

AFN = "GET_AFN_INVENTORY_DATA"
# The required fields of Amazon's models (reports_2021-06-30, fbaInventory, sellers).
REQUIRED = {
    "Report": ("report_id", "report_type", "created_time", "processing_status"),
    "ReportDocument": ("report_document_id", "url"),
    "Marketplace": (
        "id",
        "name",
        "country_code",
        "default_currency_code",
        "default_language_code",
        "domain_name",
    ),
    "Participation": ("is_participating", "has_suspended_listings"),
    "Granularity": ("granularity_type", "granularity_id"),
}


def check(model: Any) -> Any:
    """Every required field is there."""
    for name in REQUIRED[type(model).__name__]:
        assert getattr(model, name) is not None, name
    return model


@pytest.fixture
def api_client(amazon: Sandbox) -> Any:
    config = SPAPIConfig(
        client_id=DEFAULT_MERCHANT.client_id,
        client_secret=DEFAULT_MERCHANT.client_secret,
        refresh_token=DEFAULT_MERCHANT.refresh_token,
        region="NA",
    )
    return SPAPIClient(config, oauth_endpoint=amazon.token_url, endpoint=amazon.url).api_client


def test_reports_from_request_to_document(amazon: Sandbox, api_client: Any) -> None:
    reports = ReportsApi(api_client)
    created, status, headers = reports.create_report_with_http_info(
        {"reportType": AFN, "marketplaceIds": [US], "dataStartTime": datetime.now(UTC) - timedelta(hours=1)}
    )
    assert status == 202
    assert headers["x-amzn-RateLimit-Limit"] == "0.0167"
    waiting = check(reports.get_report(created.report_id))
    assert (waiting.processing_status, waiting.report_type) == ("IN_QUEUE", AFN)
    amazon.world.advance(60)
    done = check(reports.get_report(created.report_id))
    assert done.processing_status == "DONE"
    assert done.processing_end_time.tzinfo is not None

    document = check(reports.get_report_document(done.report_document_id))
    assert document.compression_algorithm == "GZIP"
    content = gzip.decompress(requests.get(document.url, timeout=10).content)
    assert content.startswith(b"seller-sku\t")
    document = check(reports.get_report_document(done.report_document_id, enable_content_encoding_url_header=True))
    assert requests.get(document.url, timeout=10).content == content


def test_reports_are_listed_and_cancelled(amazon: Sandbox, api_client: Any) -> None:
    reports = ReportsApi(api_client)
    ids = [reports.create_report({"reportType": AFN, "marketplaceIds": [US]}).report_id for _ in range(3)]
    assert reports.cancel_report(ids[0]) is None
    page = reports.get_reports(
        report_types=[AFN],
        processing_statuses=["IN_QUEUE", "CANCELLED"],
        marketplace_ids=[US],
        page_size=2,
        created_since=datetime.now(UTC) - timedelta(days=1),
    )
    assert [check(report).report_id for report in page.reports] == ids[:0:-1]
    (last,) = reports.get_reports(next_token=page.next_token).reports
    assert (last.report_id, last.processing_status) == (ids[0], "CANCELLED")


def test_inventory_summaries(api_client: Any) -> None:
    answer = FbaInventoryApi(api_client).get_inventory_summaries(
        "Marketplace", US, [US], details=True, seller_skus=["AFN-BOTH", "FBA-KNOWN-TO-API"]
    )
    check(answer.payload.granularity)
    quantities = {s.seller_sku: s.inventory_details.fulfillable_quantity for s in answer.payload.inventory_summaries}
    assert quantities == {"AFN-BOTH": 9, "FBA-KNOWN-TO-API": 13}
    first = answer.payload.inventory_summaries[0]
    assert first.inventory_details.unfulfillable_quantity.total_unfulfillable_quantity == 4
    assert first.last_updated_time.tzinfo is not None
    assert first.asin
    assert first.fn_sku


def test_a_sku_with_a_comma_is_asked_alone(api_client: Any) -> None:
    inventory = FbaInventoryApi(api_client)
    together = inventory.get_inventory_summaries("Marketplace", US, [US], details=True, seller_skus=["COMMA,ONE"])
    assert together.payload.inventory_summaries == []
    alone = inventory.get_inventory_summaries("Marketplace", US, [US], details=True, seller_sku="COMMA,ONE")
    assert alone.payload.inventory_summaries[0].inventory_details.fulfillable_quantity == 31


def test_participations(api_client: Any) -> None:
    payload = SellersApi(api_client).get_marketplace_participations().payload
    assert [check(entry.marketplace).id for entry in payload] == list(DEFAULT_MERCHANT.marketplace_ids)
    assert all(check(entry.participation).is_participating for entry in payload)
    assert all(entry.store_name for entry in payload)


def test_fulfillment_orders(api_client: Any) -> None:
    answer = FbaOutboundApi(api_client).list_all_fulfillment_orders(query_start_date="2026-01-01T00:00:00Z")
    assert answer.payload.fulfillment_orders == []


def test_refusals_arrive_as_api_exceptions(amazon: Sandbox, api_client: Any) -> None:
    reports = ReportsApi(api_client)
    with pytest.raises(ApiException) as caught:
        reports.get_report("1")
    assert caught.value.status == 404
    assert '"code": "NotFound"' in caught.value.body
    with pytest.raises(ApiException) as caught:
        reports.create_report({"reportType": AFN, "marketplaceIds": ["A1PA6795UKMFR9"]})
    assert caught.value.status == 403
    amazon.world.add_fault("createReport", 429)
    with pytest.raises(ApiException) as caught:
        reports.create_report({"reportType": AFN, "marketplaceIds": [US]})
    assert caught.value.status == 429
    assert "x-amzn-RateLimit-Limit" not in caught.value.headers
