"""Quotes: what Amazon says before an order is sent, the cheapest speed in time, and what a person has to approve."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from fba_operators.amazon.operations import Preview
from fba_operators.fulfillment.ask_first import read_quote
from fba_operators.fulfillment.quote import Choice, Quote, choose, is_approved, needs_approval
from fba_operators.operators import SendOrdersOperator
from fba_operators.settings.models import Approval
from tests.fulfillment.examples import GOOD as REQUEST
from tests.sending import GOOD, SKIPPED
from tests.stores import SELLER, US

DAY = datetime(2026, 12, 1, tzinfo=UTC)


def quote(speed="Standard", fee="5.00", days=4, **fields):
    arrival = None if days is None else DAY + timedelta(days=days)
    fields = {"currency": "USD", **fields}
    return Quote(speed, True, None if fee is None else Decimal(fee), arrive_latest=arrival, **fields)


# The choice


def test_the_cheapest_speed_that_arrives_in_time():
    quotes = [quote("Standard", "5.00", 4), quote("Expedited", "9.00", 2), quote("Priority", "20.00", 1)]
    assert choose("Cheapest", quotes, None).quote.speed == "Standard"
    assert choose("Cheapest", quotes, DAY + timedelta(days=4)).quote.speed == "Standard"
    assert choose("Cheapest", quotes, DAY + timedelta(days=3)).quote.speed == "Expedited"
    late = choose("Cheapest", quotes, DAY)
    assert late.quote.speed == "Priority"
    assert late.doubts == ("no speed arrives by 2026-12-01 00:00 UTC; the soonest is Priority for 20.00 USD",)


def test_what_was_not_said_is_neither_cheap_nor_in_time():
    quotes = [quote("Standard", None, 1), quote("Expedited", "9.00", None), quote("Priority", "20.00", 1)]
    assert choose("Cheapest", quotes, DAY + timedelta(days=1)).quote.speed == "Priority"
    unpriced = choose("Cheapest", [quote("Standard", None, 1)], DAY + timedelta(days=1))
    assert unpriced.doubts == (
        "Amazon names no fee of a speed that arrives in time; the soonest is Standard of an unknown fee",
    )
    undated = choose("Cheapest", [quote("Expedited", "9.00", None)], DAY)
    assert undated.doubts
    other = replace(quote("Expedited", "1.00"), currency="CAD")
    assert "several currencies" in choose("Cheapest", [quote(), other], None).doubts[0]


def test_a_speed_is_the_one_that_is_mapped_or_none():
    cannot = Quote(
        "Standard", False, unfulfillable=[{"sku": "A", "reason": "NoStock"}, {"sku": None, "reason": "NoWay"}]
    )
    quotes = [cannot, quote("Expedited", "9.00")]
    assert choose("Expedited", quotes, DAY).quote.speed == "Expedited"
    assert choose("Standard", quotes, DAY).impossible == "Amazon cannot fulfil it: Standard: NoStock (SKU A), NoWay"
    assert choose("Cheapest", quotes, None).quote.speed == "Expedited"
    assert choose("Cheapest", [cannot], None).quote is None
    assert choose("Priority", quotes, None) == Choice(), "Amazon has not said whether it can be had"


# Approval


@pytest.mark.parametrize(
    ("rule", "fields", "reason"),
    [
        ({"always": True}, {}, "every request of the store is approved"),
        ({"above_fee": 4.99}, {}, "fee 5.00 USD is above 4.99"),
        ({"above_fee": 5.00}, {}, None),
        ({"above_fee": 5.00}, {"fee": None}, "the fee is not known"),
        ({"above_fee": 9.00}, {"currency": "KWD"}, "fee 5.00 KWD is not in the store's currency, USD"),
        ({"above_fee": 5.00}, {"currency": "usd"}, None),
        ({"above_value": 25.49}, {}, "value 25.50 is above 25.49"),
        ({"above_value": 25.50}, {}, None),
        ({"late": True}, {"days": 4}, "it may arrive 2026-12-05 00:00 UTC, after 2026-12-04 00:00 UTC"),
        ({"late": True}, {"days": 3}, None),
        ({"late": True}, {"days": None}, "it may arrive at an unknown time, after 2026-12-04 00:00 UTC"),
    ],
)
def test_what_needs_approval(rule, fields, reason):
    request = replace(REQUEST, deliver_by=DAY + timedelta(days=3))
    found = needs_approval(request, quote(**fields), Approval.model_validate(rule), currency="USD")
    assert found == ([reason] if reason else [])


def test_a_value_that_is_not_known_needs_approval():
    request = replace(REQUEST, items=(*REQUEST.items, replace(REQUEST.items[0], line=3, unit_price=None)))
    assert needs_approval(request, quote(), Approval.model_validate({"above_value": 10**6}), currency="USD") == [
        "the value is not known, because a line has no unit_price"
    ]


@pytest.mark.parametrize(
    ("fee", "approved", "holds"),
    [
        ("5.00", "5.00", True),
        ("4.00", "5.00", True),
        ("5.01", "5.00", False),
        (None, "5.00", False),
        (None, "0", True),
        ("0.01", "0", False),
        ("99.00", None, True),
        (None, None, True),
    ],
)
def test_an_approval_holds_for_the_fee_it_was_given_for(fee, approved, holds):
    approved_fee = None if approved is None else Decimal(approved)
    assert is_approved(quote(fee=fee), approved_at=DAY, approved_fee=approved_fee) is holds
    assert not is_approved(quote(fee=fee), approved_at=None, approved_fee=approved_fee)


# Amazon's answer


def read(**fields):
    return read_quote(
        Preview.model_validate(
            {"shippingSpeedCategory": "Standard", "isFulfillable": True, "isCODCapable": False, **fields}
        )
    )


def fee(value, name="PerUnit", currency="USD"):
    return {"name": name, "amount": {"currencyCode": currency, "value": value}}


@pytest.mark.parametrize(
    ("fees", "total"),
    [
        ([fee("3.95"), fee("2.50", "Transport")], Decimal("6.45")),
        ([fee("0.00")], Decimal("0.00")),
        (None, None),
        ([], None),
        ([fee("3.95"), fee(None)], None),
        ([fee("3.95"), {"name": "Transport", "amount": None}], None),
        ([fee("3.95"), fee("NaN")], None),
        ([fee("3.95"), fee("1.00", currency="CAD")], None),
        ([fee("3.95"), "odd"], None),
    ],
)
def test_a_fee_that_was_not_named_is_not_zero(fees, total):
    assert read(estimatedFees=fees).fee == total


def test_a_date_that_was_not_named_is_not_known():
    shipments = [
        {
            "latestArrivalDate": "2026-12-03T00:00:00Z",
            "earliestShipDate": "2026-12-01T00:00:00Z",
            "fulfillmentPreviewItems": [],
        },
        {"latestArrivalDate": "2026-12-05T00:00:00Z", "fulfillmentPreviewItems": []},
    ]
    found = read(fulfillmentPreviewShipments=shipments)
    assert found.arrive_latest == datetime(2026, 12, 5, tzinfo=UTC)
    assert (found.ship_earliest, found.shipments) == (None, 2)
    del shipments[1]["latestArrivalDate"]
    assert read(fulfillmentPreviewShipments=shipments).arrive_latest is None


# With Amazon


@pytest.fixture
def priced(shop, fulfillment):
    def configure(text="quote: true", transport="outbound"):
        fulfillment(f"transport: {transport}, {text}, shipping_methods: {{Standard: Standard, Economy: Cheapest}}")
        return shop

    return configure


def quotes(shop):
    return shop.sql(
        "SELECT speed, fulfillable, fee, currency, shipments, chosen FROM fba.fulfillment_quote ORDER BY speed"
    )


@pytest.mark.parametrize("transport", ["feed", "outbound"])
def test_a_quote_is_kept_for_each_speed_before_the_order_goes(priced, transport):
    shop = priced(transport=transport)
    shop.add("FR-1", [(GOOD, 2)])
    assert shop.send() == {"accepted": 1}
    assert quotes(shop) == [
        ("Expedited", True, Decimal("17.10"), "USD", 1, False),
        ("Standard", True, Decimal("11.40"), "USD", 1, True),
    ]
    assert shop.sql(
        "SELECT ship_earliest < ship_latest, ship_latest < arrive_latest, arrive_earliest < arrive_latest, jsonb_array_length(fees)"
        " FROM fba.fulfillment_quote WHERE chosen"
    ) == [(True, True, True, 3)]
    assert shop.calls_of("getFulfillmentPreview") == 1


def test_a_quote_is_asked_for_again_when_it_is_older_than_an_hour_or_the_request_was_edited(priced):
    shop = priced("approval: {always: true}")
    shop.add("FR-1")
    shop.send()
    shop.send()
    assert shop.calls_of("getFulfillmentPreview") == 1
    shop.pass_time(61)
    shop.send()
    assert shop.calls_of("getFulfillmentPreview") == 2
    shop.sql("UPDATE fba.fulfillment_request_item SET quantity = 3")
    assert quotes(shop) == []
    shop.send()
    assert shop.calls_of("getFulfillmentPreview") == 3


@pytest.mark.parametrize("transport", ["feed", "outbound"])
def test_the_cheapest_is_sent_as_the_speed_that_it_is(priced, transport):
    shop = priced(transport=transport)
    shop.add("FR-1", shipping_method="Economy")
    shop.add("FR-2", shipping_method="Economy", deliver_by=datetime.now(UTC) + timedelta(days=4))
    shop.send()
    assert [shop.get(number).speed for number in ("FR-1", "FR-2")] == ["Standard", "Expedited"]
    orders = shop.amazon.world.order_desk.orders
    assert [orders[SELLER, number].request.speed for number in ("FR-1", "FR-2")] == ["Standard", "Expedited"]


def test_what_amazon_cannot_fulfil_is_invalid_before_an_order_exists(priced):
    shop = priced()
    shop.amazon.world.put_item(SELLER, US, "EMPTY", offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 1)])
    shop.stock("EMPTY", 9)
    shop.add("FR-1", [("EMPTY", 5)])
    shop.add("FR-2")
    shop.send()
    assert shop.statuses() == {"FR-1": "invalid", "FR-2": "accepted"}
    assert "ItemQuantityNotAvailable (SKU EMPTY)" in shop.get("FR-1").status_reason
    assert "FR-1" not in shop.orders_made()


def test_a_request_that_amazon_does_not_quote_waits(priced):
    shop = priced()
    shop.amazon.world.add_fault("getFulfillmentPreview", "503", times=None)
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    assert shop.get("FR-1").status == "pending"
    assert shop.get("FR-1").waiting_reason == "ready; Amazon is asked for its fees and dates first"
    shop.amazon.world.clear_faults()
    assert shop.send() == {"accepted": 1}


def preview(speed, fulfillable=True, **fields):
    return {
        "shippingSpeedCategory": speed,
        "isFulfillable": fulfillable,
        "isCODCapable": False,
        "marketplaceId": US,
    } | fields


UNSAID = "ready; Amazon's quotes do not say whether Standard can be had; every run asks again"
UNASKED = "ready; Amazon is asked for its fees and dates first"


@pytest.mark.parametrize(
    ("method", "previews", "reason"),
    [
        ("Standard", [preview("Standard", "true"), preview("Expedited")], UNSAID),
        ("Standard", [preview(None), preview("Expedited")], UNSAID),
        ("Standard", [preview("Usual"), preview("Expedited", False)], UNSAID),
        ("Standard", [preview("Standard", "true")], UNASKED),
        ("Standard", [], UNASKED),
        ("Economy", [preview("Standard", "true"), preview("Expedited", False)], UNASKED),
        ("Economy", [preview("Standard", "true")], UNASKED),
        ("Economy", [], UNASKED),
    ],
)
def test_what_cannot_be_read_of_a_quote_makes_nothing_invalid(priced, method, previews, reason):
    shop = priced()
    body = {"payload": {"fulfillmentPreviews": previews}}
    shop.amazon.world.add_fault("getFulfillmentPreview", "status", times=2, status=200, body=body)
    shop.add("FR-1", shipping_method=method)
    for asked in (1, 2):
        shop.send()
        assert (shop.get("FR-1").status, shop.get("FR-1").waiting_reason) == ("pending", reason)
        assert shop.calls_of("getFulfillmentPreview") == asked
    assert shop.send() == {"accepted": 1}


def test_speeds_in_capitals_are_the_same(priced):
    shop = priced()
    body = {"payload": {"fulfillmentPreviews": [preview("STANDARD"), preview("EXPEDITED")]}}
    shop.amazon.world.add_fault("getFulfillmentPreview", "status", times=1, status=200, body=body)
    shop.add("FR-1")
    assert shop.send() == {"accepted": 1}
    assert [row[0] for row in quotes(shop)] == ["Expedited", "Standard"]


def test_a_speed_that_amazon_leaves_out_of_a_list_it_says_plainly_is_not_offered(priced):
    shop = priced()
    body = {"payload": {"fulfillmentPreviews": [preview("Expedited"), preview("ScheduledDelivery", False)]}}
    shop.amazon.world.add_fault("getFulfillmentPreview", "status", times=1, status=200, body=body)
    shop.add("FR-1")
    shop.send()
    assert shop.get("FR-1").status_reason == "Amazon cannot fulfil it: Standard: Amazon does not offer this speed"


def test_an_order_does_not_go_with_a_quote_that_has_become_old(priced):
    shop = priced()
    shop.add("FR-1")
    claim_id = shop.send(until="claim")
    shop.pass_time(61)
    shop.task(lambda: SendOrdersOperator(task_id="send", claim_id=claim_id), shop.context())
    assert shop.get("FR-1").status == "pending"
    assert shop.send() == {"accepted": 1}
    assert shop.calls_of("getFulfillmentPreview") == 2


def needs(shop):
    return shop.sql("SELECT subject FROM fba.needs_attention WHERE code = 'needs_approval'")


def told(shop):
    """How many requests the newest run told of."""
    (attention,) = shop.sql("SELECT attention FROM fba.run ORDER BY started_at DESC LIMIT 1")[0]
    return attention.get("needs_approval", 0)


def test_a_request_waits_for_approval_and_is_told_once(priced):
    shop = priced("approval: {above_fee: 10.00}")
    shop.add("FR-1", [(GOOD, 2)])
    shop.add("FR-2", [(GOOD, 1)])
    assert shop.send() == {"accepted": 1}
    row = shop.get("FR-1")
    assert (row.status, row.waiting_reason) == ("pending", "needs approval: fee 11.40 USD is above 10.00")
    assert (needs(shop), told(shop)) == ([("FR-1",)], 1)
    shop.send("scheduled")  # by schedule nothing is sent, so nothing is judged; the question stands
    assert needs(shop) == [("FR-1",)]
    assert shop.get("FR-1").waiting_reason == row.waiting_reason
    shop.send()
    assert (needs(shop), told(shop)) == ([("FR-1",)], 0)
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now(), approved_by = 'Ann' WHERE fr_number = 'FR-1'")
    assert shop.get("FR-1").approved_fee == Decimal("11.40")
    assert needs(shop) == []
    assert shop.send() == {"accepted": 1}


def test_an_approval_ends_when_the_request_is_edited(priced):
    shop = priced("approval: {always: true}")
    shop.add("FR-1")
    shop.send()
    for edit in (
        "UPDATE fba.fulfillment_request SET ship_to_city = 'Tacoma'",
        "UPDATE fba.fulfillment_request_item SET quantity = 2",
        "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES ('amazon_us', 'FR-1', 2, 'GOOD-SKU', 1)",
        "DELETE FROM fba.fulfillment_request_item WHERE line = 2",
    ):
        shop.sql("UPDATE fba.fulfillment_request SET approved_at = now(), approved_by = 'Ann'")
        shop.sql(edit)
        row = shop.get("FR-1")
        assert (row.approved_at, row.approved_by, row.approved_fee) == (None, None, None)
        shop.send()
        assert (shop.get("FR-1").status, told(shop)) == ("pending", 1)


def test_an_approval_ends_when_the_fee_rises(priced):
    shop = priced("approval: {always: true}")
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now()")
    shop.amazon.world.set_tariff("Standard", fees={"FBAPerOrderFulfillmentFee": "99.00"})
    shop.pass_time(61)
    shop.send()
    assert shop.get("FR-1").approved_at is None
    assert (needs(shop), told(shop)) == ([("FR-1",)], 1)
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now()")
    assert shop.send() == {"accepted": 1}


def test_a_request_may_be_approved_beforehand(priced):
    shop = priced("approval: {always: true}")
    shop.add("FR-1", approved_at=datetime.now(UTC))
    assert shop.send() == {"accepted": 1}


def test_without_an_approval_rule_a_late_one_is_sent_and_told(priced):
    shop = priced()
    shop.add("FR-1", deliver_by=datetime.now(UTC) + timedelta(days=2))
    assert shop.send() == {"accepted": 1}
    assert shop.sql("SELECT code, subject FROM fba.needs_attention") == [("late", "FR-1")]
    shop.sql("UPDATE fba.fulfillment_request SET acknowledged_at = now()")
    assert shop.sql("SELECT code FROM fba.needs_attention") == []


def test_fees_that_amazon_withholds_are_unknown(priced):
    shop = priced("approval: {above_fee: 100.00}")
    shop.amazon.world.set_order_answers(preview_fees="null")
    shop.add("FR-1")
    shop.send()
    assert shop.get("FR-1").waiting_reason == "needs approval: the fee is not known"
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now()")
    assert shop.get("FR-1").approved_fee == 0
    assert shop.send() == {"accepted": 1}


def test_the_dry_run_calls_nobody(priced):
    shop = priced()
    shop.add("FR-1", signature=True)
    assert shop.send(validate_only=True, until="claim") is SKIPPED
    assert shop.calls_of("getFulfillmentPreview") == shop.calls_of("getFeatures") == 0
