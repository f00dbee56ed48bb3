"""Wishes: of a request or its channel, which transport can say them, and whether Amazon kept them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fba_operators.fulfillment.validation import problems
from fba_operators.fulfillment.wishes import FEATURES, features_of
from tests.fulfillment.examples import GOOD as REQUEST
from tests.fulfillment.examples import store
from tests.sending import GOOD
from tests.stores import SELLER, STORE, US

CHANNELS = {"walmart": {"packaging": "unbranded", "block_amazon_logistics": True}, "shopify": {}}


@pytest.mark.parametrize(
    ("fields", "features"),
    [
        ({}, ()),
        ({"channel": "shopify"}, ()),
        ({"channel": "walmart"}, ("BLANK_BOX", "BLOCK_AMZL")),
        ({"channel": "walmart", "packaging": "any", "block_amazon_logistics": False}, ()),
        ({"channel": "walmart", "signature": True}, ("BLANK_BOX", "BLOCK_AMZL", "SIGNATURE_CONFIRMATION")),
        ({"deliver_together": True}, ("DELIVER_TOGETHER",)),
        ({"signature": False}, ()),
    ],
)
def test_the_requests_own_wish_wins_over_its_channels(fields, features):
    settings = store(transport="outbound", channels=CHANNELS)
    assert features_of(replace(REQUEST, **fields), settings) == features
    assert problems(replace(REQUEST, **fields), settings) == []


def test_a_channel_that_nobody_has_described_is_refused():
    (found,) = problems(replace(REQUEST, channel="wallmart"), store(transport="outbound", channels=CHANNELS))
    assert "walmart, shopify" in found
    (found,) = problems(replace(REQUEST, channel="walmart"), store())
    assert "there are: none" in found


@pytest.mark.parametrize("wish", FEATURES)
def test_the_feed_refuses_each_wish_and_names_the_transport_that_can_say_it(wish):
    wished = replace(REQUEST, **{wish: FEATURES[wish][0]})
    (found,) = problems(wished, store())
    assert wish in found
    assert "transport: outbound" in found
    assert problems(wished, store(transport="outbound")) == []


def test_a_wish_that_amazon_does_not_offer_is_invalid_before_an_order_exists(shop, fulfillment):
    fulfillment("transport: outbound, channels: {walmart: {packaging: unbranded}}")
    shop.stock("BRANDED", 5)
    shop.amazon.world.put_item(SELLER, US, "BRANDED", offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 9)])
    shop.amazon.world.set_feature(SELLER, US, "BLANK_BOX", lacking=["BRANDED"])
    shop.amazon.world.set_feature(SELLER, US, "DELIVER_TOGETHER", enrolled=False)
    shop.add("FR-1", channel="walmart")
    shop.add("FR-2", [("BRANDED", 1)], channel="walmart")
    shop.add("FR-3", deliver_together=True)
    shop.add("FR-4", [("BRANDED", 1)])
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid", "FR-3": "invalid", "FR-4": "accepted"}
    assert shop.get("FR-2").status_reason == "SKU BRANDED: Amazon does not offer BLANK_BOX (SKU_NOT_ELIGIBLE)"
    assert shop.get("FR-3").status_reason == "Amazon does not offer DELIVER_TOGETHER to this seller"
    assert shop.calls_of("createFulfillmentOrder") == 2
    asked = shop.calls_of("getFeatureSKU")
    shop.add("FR-5", channel="walmart")
    shop.send()
    assert (shop.calls_of("getFeatures"), shop.calls_of("getFeatureSKU")) == (1, asked)


@pytest.mark.parametrize("status", [400, 404])
def test_what_amazon_does_not_say_about_its_features_stops_no_order(shop, fulfillment, status):
    fulfillment("transport: outbound")
    answer = {"status": status, "body": {"errors": [{"code": "InvalidInput", "message": "No."}]}}
    for operation in ("getFeatures", "getFeatureSKU"):
        shop.amazon.world.add_fault(operation, "status", times=None, **answer)
    shop.add("FR-1", packaging="unbranded")
    assert shop.send() == {"accepted": 1}


@pytest.mark.parametrize(
    ("carrier", "tracking", "used"),
    [
        ("AMZN_US", "TBA123456789012", True),
        ("Amazon Logistics", None, True),
        ("AMZL", "1", True),
        ("UPS", "TBA123456789012", True),
        (None, " tba123456789012", True),
        ("SWA_AMZN", "1", True),
        ("Shamzlow", "1", False),
        ("UPS", "1Z999AA10123456784", False),
        (None, None, False),
    ],
)
def test_a_blocked_carrier_that_was_used_needs_a_person(shop, fulfillment, carrier, tracking, used):
    fulfillment("transport: outbound")
    shop.add("FR-1", [(GOOD, 1)], block_amazon_logistics=True)
    shop.add("FR-2", [(GOOD, 1)])
    shop.send()
    for number in ("FR-1", "FR-2"):
        shop.sql(
            "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, carrier, tracking_number, ship_date,"
            " report_requested_at) VALUES (%s, %s, 'S01', %s, %s, 1, %s, %s, now(), now())",
            *(STORE, number, number, GOOD, carrier, tracking),
        )
    expected = [("blocked_carrier_used", "FR-1", 1)] if used else []
    assert shop.sql("SELECT code, subject, number FROM fba.needs_attention") == expected
    shop.sql("UPDATE fba.fulfillment_request SET acknowledged_at = now()")
    assert shop.sql("SELECT code FROM fba.needs_attention") == []
