"""Amazon's official Python client calls the sandbox, and its models parse the answers."""

import gzip
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from spapi import (
    ApiException,
    FbaInventoryApi,
    FbaOutboundApi,
    FeedsApi,
    ReportsApi,
    SellersApi,
)

from sandbox.server.server import Sandbox
from sandbox.world.world import DEFAULT_MERCHANT
from tests.sandbox.client import ORDERS, US, XML, envelope, order_body, order_xml, read_report

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
    "Feed": ("feed_id", "feed_type", "created_time", "processing_status"),
    "FeedDocument": ("feed_document_id", "url"),
    "CreateFeedDocumentResponse": ("feed_document_id", "url"),
    "FulfillmentOrder": (
        "seller_fulfillment_order_id",
        "marketplace_id",
        "displayable_order_id",
        "displayable_order_date",
        "displayable_order_comment",
        "shipping_speed_category",
        "destination_address",
        "received_date",
        "fulfillment_order_status",
        "status_updated_date",
    ),
    "FulfillmentOrderItem": (
        "seller_sku",
        "seller_fulfillment_order_item_id",
        "quantity",
        "cancelled_quantity",
        "unfulfillable_quantity",
    ),
    "FulfillmentShipment": (
        "amazon_shipment_id",
        "fulfillment_center_id",
        "fulfillment_shipment_item",
        "fulfillment_shipment_status",
    ),
    "FulfillmentShipmentItem": ("seller_sku", "seller_fulfillment_order_item_id", "quantity"),
    "FulfillmentShipmentPackage": ("carrier_code", "package_number"),
    "FulfillmentPreview": ("is_cod_capable", "is_fulfillable", "marketplace_id", "shipping_speed_category"),
    "FulfillmentPreviewShipment": ("fulfillment_preview_items",),
    "PackageTrackingDetails": ("package_number",),
    "TrackingEvent": ("event_date", "event_address", "event_code", "event_description"),
    "TrackingAddress": ("city", "country", "state"),
    "Fee": ("amount", "name"),
    "Feature": ("feature_description", "feature_name"),
    "GetFeatureInventoryResult": ("feature_name", "marketplace_id"),
    "GetFeatureSkuResult": ("feature_name", "is_eligible", "marketplace_id"),
    "Granularity": ("granularity_type", "granularity_id"),
}


def check_required(model: Any) -> Any:
    """Assert that every required field has a value; returns the model."""
    for name in REQUIRED[type(model).__name__]:
        assert getattr(model, name) is not None, name
    return model


def test_reports_from_request_to_document(amazon: Sandbox, api_client: Any) -> None:
    reports = ReportsApi(api_client)
    created, status, headers = reports.create_report_with_http_info(
        {"reportType": AFN, "marketplaceIds": [US], "dataStartTime": datetime.now(UTC) - timedelta(hours=1)}
    )
    assert status == 202
    assert headers["x-amzn-RateLimit-Limit"] == "0.0167"
    waiting = check_required(reports.get_report(created.report_id))
    assert (waiting.processing_status, waiting.report_type) == ("IN_QUEUE", AFN)
    amazon.world.advance(60)
    done = check_required(reports.get_report(created.report_id))
    assert done.processing_status == "DONE"
    assert done.processing_end_time.tzinfo is not None

    document = check_required(reports.get_report_document(done.report_document_id))
    assert document.compression_algorithm == "GZIP"
    content = gzip.decompress(requests.get(document.url, timeout=10).content)
    assert content.startswith(b"seller-sku\t")
    document = check_required(
        reports.get_report_document(done.report_document_id, enable_content_encoding_url_header=True)
    )
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
    assert [check_required(report).report_id for report in page.reports] == ids[:0:-1]
    (last,) = reports.get_reports(next_token=page.next_token).reports
    assert (last.report_id, last.processing_status) == (ids[0], "CANCELLED")


def test_inventory_summaries(api_client: Any) -> None:
    answer = FbaInventoryApi(api_client).get_inventory_summaries(
        "Marketplace", US, [US], details=True, seller_skus=["AFN-BOTH", "FBA-KNOWN-TO-API"]
    )
    check_required(answer.payload.granularity)
    quantities = {s.seller_sku: s.inventory_details.fulfillable_quantity for s in answer.payload.inventory_summaries}
    assert quantities == {"AFN-BOTH": 9, "FBA-KNOWN-TO-API": 13}
    first = answer.payload.inventory_summaries[0]
    assert first.inventory_details.unfulfillable_quantity.total_unfulfillable_quantity == 4
    assert first.last_updated_time.tzinfo is not None
    assert first.asin
    assert first.fn_sku


def test_a_sku_with_a_comma_must_be_sent_alone(api_client: Any) -> None:
    inventory = FbaInventoryApi(api_client)
    together = inventory.get_inventory_summaries("Marketplace", US, [US], details=True, seller_skus=["COMMA,ONE"])
    assert together.payload.inventory_summaries == []
    alone = inventory.get_inventory_summaries("Marketplace", US, [US], details=True, seller_sku="COMMA,ONE")
    assert alone.payload.inventory_summaries[0].inventory_details.fulfillable_quantity == 31


def test_participations(api_client: Any) -> None:
    payload = SellersApi(api_client).get_marketplace_participations().payload
    assert [check_required(entry.marketplace).id for entry in payload] == list(DEFAULT_MERCHANT.marketplace_ids)
    assert all(check_required(entry.participation).is_participating for entry in payload)
    assert all(entry.store_name for entry in payload)


def test_feeds_from_upload_to_result(amazon: Sandbox, api_client: Any) -> None:
    feeds = FeedsApi(api_client)
    upload_target, status, _ = feeds.create_feed_document_with_http_info({"contentType": XML})
    assert status == 201
    check_required(upload_target)
    upload = requests.put(
        upload_target.url, data=envelope(order_xml()).encode(), headers={"Content-Type": XML}, timeout=10
    )
    assert upload.status_code == 200
    created, status, headers = feeds.create_feed_with_http_info(
        {"feedType": ORDERS, "marketplaceIds": [US], "inputFeedDocumentId": upload_target.feed_document_id}
    )
    assert (status, headers["x-amzn-RateLimit-Limit"]) == (202, "0.0083")
    waiting = check_required(feeds.get_feed(created.feed_id))
    assert (waiting.processing_status, waiting.feed_type, waiting.marketplace_ids) == (
        "IN_QUEUE",
        ORDERS,
        [US],
    )
    amazon.world.advance(60)
    done = check_required(feeds.get_feed(created.feed_id))
    assert done.processing_status == "DONE"
    assert done.processing_end_time.tzinfo is not None
    document = check_required(feeds.get_feed_document(done.result_feed_document_id))
    assert document.compression_algorithm == "GZIP"
    content = gzip.decompress(requests.get(document.url, timeout=10).content)
    assert read_report(content)["counts"] == (1, 1, 0, 0)


def test_feeds_are_listed_and_cancelled(api_client: Any) -> None:
    feeds = FeedsApi(api_client)
    upload_target = feeds.create_feed_document({"contentType": XML})
    requests.put(upload_target.url, data=b"x", headers={"Content-Type": XML}, timeout=10)
    body = {
        "feedType": ORDERS,
        "marketplaceIds": [US],
        "inputFeedDocumentId": upload_target.feed_document_id,
    }
    ids = [feeds.create_feed(body).feed_id for _ in range(3)]
    assert feeds.cancel_feed(ids[1]) is None
    page = feeds.get_feeds(
        feed_types=[ORDERS],
        marketplace_ids=[US],
        processing_statuses=["IN_QUEUE", "CANCELLED"],
        page_size=2,
        created_since=datetime.now(UTC) - timedelta(days=1),
    )
    assert [check_required(feed).feed_id for feed in page.feeds] == [ids[2], ids[1]]
    (last,) = feeds.get_feeds(next_token=page.next_token).feeds
    assert last.feed_id == ids[0]


def test_fulfillment_orders(amazon: Sandbox, api_client: Any) -> None:
    outbound = FbaOutboundApi(api_client)
    for order_id in ("FR-1", "FR-2"):
        _, status, _ = outbound.create_fulfillment_order_with_http_info(order_body(order_id))
        assert status == 200
    amazon.world.set_order_listing(page_size=1)
    first = outbound.list_all_fulfillment_orders(query_start_date="2026-01-01T00:00:00Z").payload
    second = outbound.list_all_fulfillment_orders(next_token=first.next_token).payload
    listed = [
        check_required(order).seller_fulfillment_order_id
        for order in (*first.fulfillment_orders, *second.fulfillment_orders)
    ]
    assert (listed, second.next_token) == (["FR-1", "FR-2"], None)
    _, status, _ = outbound.create_fulfillment_order_with_http_info(
        order_body("FR-3", fulfillmentAction="Hold", featureConstraints=[{"featureName": "BLANK_BOX"}])
    )
    assert status == 200
    outbound.update_fulfillment_order("FR-3", {"fulfillmentAction": "Ship", "displayableOrderComment": "Changed."})
    updated = check_required(outbound.get_fulfillment_order("FR-3").payload.fulfillment_order)
    assert (updated.fulfillment_action, updated.displayable_order_comment) == ("Ship", "Changed.")
    assert [one.feature_name for one in updated.feature_constraints] == ["BLANK_BOX"]
    outbound.cancel_fulfillment_order("FR-2")
    assert outbound.get_fulfillment_order("FR-2").payload.fulfillment_order.fulfillment_order_status == "Cancelled"
    amazon.world.plan_order(DEFAULT_MERCHANT.seller_id, "FR-1", never=False)
    amazon.world.ship_now(DEFAULT_MERCHANT.seller_id, ["FR-1"])
    payload = outbound.get_fulfillment_order("FR-1").payload
    assert check_required(payload.fulfillment_order).fulfillment_order_status == "Complete"
    assert [check_required(item).quantity for item in payload.fulfillment_order_items] == [1]
    (shipment,) = payload.fulfillment_shipments
    assert check_required(shipment).fulfillment_shipment_status == "SHIPPED"
    assert [check_required(item).seller_sku for item in shipment.fulfillment_shipment_item] == ["AFN-PLAIN"]
    assert [check_required(package).tracking_number for package in shipment.fulfillment_shipment_package]
    package = shipment.fulfillment_shipment_package[0]
    assert package.estimated_arrival_date.tzinfo is not None
    amazon.world.set_parcel(DEFAULT_MERCHANT.seller_id, "FR-1", status="OUT_FOR_DELIVERY")
    details = check_required(outbound.get_package_tracking_details(package.package_number).payload)
    assert (details.current_status, details.tracking_number) == ("OUT_FOR_DELIVERY", package.tracking_number)
    assert details.delivery_window.latest.tzinfo is not None
    check_required(details.ship_to_address)
    assert [check_required(event).event_code for event in details.tracking_events] == ["EVENT_302", "EVENT_202"]


def test_previews_and_features(amazon: Sandbox, api_client: Any) -> None:
    outbound = FbaOutboundApi(api_client)
    body = order_body()
    asked = {"address": body["destinationAddress"], "items": body["items"], "marketplaceId": US}
    standard, _, priority = (
        check_required(one) for one in outbound.get_fulfillment_preview(asked).payload.fulfillment_previews
    )
    assert (standard.is_fulfillable, priority.is_fulfillable) == (True, False)
    assert priority.order_unfulfillable_reasons == ["DeliverySLAUnavailable"]
    assert [check_required(fee).amount.currency_code for fee in standard.estimated_fees] == ["USD"] * 3
    (shipment,) = map(check_required, standard.fulfillment_preview_shipments)
    assert shipment.latest_arrival_date > shipment.earliest_ship_date
    amazon.world.set_order_answers(preview_fees="null")
    assert outbound.get_fulfillment_preview(asked).payload.fulfillment_previews[0].estimated_fees is None
    features = outbound.get_features(US).payload.features
    assert "BLANK_BOX" in [check_required(one).feature_name for one in features]
    inventory = check_required(outbound.get_feature_inventory(US, "BLANK_BOX").payload)
    assert inventory.next_token
    assert {one.seller_sku: one.sku_count for one in inventory.feature_skus}["AFN-PLAIN"] == 17
    sku = check_required(outbound.get_feature_sku(US, "BLANK_BOX", "AFN-PLAIN").payload)
    assert (sku.is_eligible, sku.sku_count) == (True, 17)


def test_error_answers_raise_api_exceptions(amazon: Sandbox, api_client: Any) -> None:
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
