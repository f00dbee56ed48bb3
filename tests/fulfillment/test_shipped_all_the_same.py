"""Cancelled or rejected is not "not shipped": what Amazon does beside what it says, and who is told."""

from __future__ import annotations

import psycopg
import pytest

from fba_operators.fulfillment.cancel import NOT_YET
from fba_operators.operators import SendOrdersOperator, TrackOrdersOperator
from tests.sending import GOOD, claimed, submit, uploaded
from tests.shipping import Reports, document, row
from tests.stores import SELLER, STORE

TOLD = "Units of it have left Amazon all the same: insert what is missing as a new request, and do not send this one again."


def track(shop):
    shop.task(lambda: TrackOrdersOperator(task_id="track"), shop.context())


def needs(shop, number="FR-1"):
    return [code for (code,) in shop.sql("SELECT code FROM fba.needs_attention WHERE subject = %s", number)]


def resend(shop):
    return shop.sql("SELECT fba.resend(%s, 'FR-1')", STORE)


@pytest.fixture
def shop(shop, fulfillment):
    """FR-1 of two units is an order at Amazon."""
    fulfillment("transport: outbound")
    shop.add("FR-1", [(GOOD, 2)])
    shop.send()
    assert shop.get("FR-1").status == "accepted"
    return shop


@pytest.fixture
def cancel(shop):
    def cancel(hours=0.0):
        shop.sql(
            "UPDATE fba.fulfillment_request SET cancel_requested_at = clock_timestamp() - make_interval(secs => %s)",
            hours * 3600,
        )

    return cancel


def taken_without_effect(shop, times=1):
    shop.amazon.world.add_fault("cancelFulfillmentOrder", "status", times=times, status=200, body={})


def test_a_cancellation_is_believed_when_the_order_says_so(shop, cancel):
    cancel()
    taken_without_effect(shop)
    shop.send(until="settle")
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("accepted", NOT_YET)
    assert needs(shop) == []
    shop.send(until="settle")
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("cancelled", None)
    assert needs(shop) == []


def test_a_cancellation_that_amazon_takes_and_does_not_keep_is_told(shop, cancel):
    cancel(hours=7)
    taken_without_effect(shop, times=None)
    shop.send(until="settle")
    assert needs(shop) == ["not_cancelled"]
    shop.amazon.world.ship_now(SELLER)
    track(shop)
    assert shop.get("FR-1").status == "accepted"


def test_a_cancellation_that_no_run_could_ask_for_is_asked_for_once_and_told(shop, cancel):
    cancel(hours=96)
    assert needs(shop) == ["not_cancelled"]
    shop.send(until="settle")
    assert shop.get("FR-1").status == "cancelled"
    assert needs(shop) == []


def test_a_refused_cancellation_is_not_asked_for_after_three_days(shop, cancel):
    shop.amazon.world.ship_now(SELLER)
    cancel(hours=96)
    shop.pass_time(4 * 24 * 60)
    for _ in range(3):
        shop.send(until="settle")
    assert shop.calls_of("cancelFulfillmentOrder") == 1
    assert needs(shop).count("not_cancelled") == 1


def test_an_order_that_amazon_cancels_is_told_until_somebody_has_seen_it(shop):
    shop.amazon.world.set_order_status(SELLER, "FR-1", "Cancelled")
    track(shop)
    assert shop.get("FR-1").status == "cancelled"
    assert needs(shop) == ["cancelled_by_amazon"]
    resend(shop)
    assert needs(shop) == []


def test_a_cancelled_order_that_is_shipped_is_told_and_not_sent_again(shop, cancel):
    cancel()
    shop.send(until="settle")
    assert shop.get("FR-1").status == "cancelled"
    shop.sql(
        "INSERT INTO fba.package (store, fr_number, package_key, status) VALUES (%s, 'FR-1', '1Z1', 'PROCESSING')",
        STORE,
    )
    assert needs(shop) == []
    shop.sql("UPDATE fba.package SET status = 'IN_TRANSIT'")
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("cancelled", TOLD)
    assert needs(shop) == ["cancelled_but_shipped"]
    with pytest.raises(psycopg.errors.RaiseException, match="Units of request FR-1 of amazon_us have left Amazon"):
        resend(shop)
    shop.sql("UPDATE fba.fulfillment_request SET acknowledged_at = clock_timestamp()")
    shop.sql("UPDATE fba.package SET status = 'DELIVERED'")
    assert needs(shop) == []


def test_a_copy_waits_when_units_of_the_first_are_seen_to_leave(shop, cancel, warehouse):
    cancel()
    shop.send(until="settle")
    resend(shop)
    reported(warehouse)
    shop.send()
    assert shop.get("FR-1-2").status == "pending"
    assert shop.get("FR-1-2").waiting_reason.startswith("units of FR-1, which is cancelled here, have left Amazon")
    assert shop.orders_made() == {"FR-1": 1}


def reported(warehouse):
    reports = Reports(warehouse)
    order = {"amazon_order_id": "S01-1", "merchant_order_id": "FR-1", "sku": GOOD, "tracking_number": "1Z1"}
    reports.load(reports.add(document(row(**order, quantity_shipped="2"))))


def test_a_shipments_report_tells_it_too(shop, cancel, warehouse):
    cancel()
    shop.send(until="settle")
    reported(warehouse)
    assert needs(shop) == ["cancelled_but_shipped"]


@pytest.mark.parametrize("status", ["Unfulfillable", "Invalid"])
def test_the_rest_of_an_order_that_amazon_does_not_ship(shop, status):
    shop.amazon.world.plan_order(SELLER, "FR-1", parts=2)
    shop.amazon.world.ship_now(SELLER)
    track(shop)
    shop.amazon.world.set_order_status(SELLER, "FR-1", status)
    track(shop)
    assert shop.get("FR-1").status == "rejected"
    assert shop.get("FR-1").status_reason.startswith(f"{TOLD} Before: Amazon accepted the request")
    assert needs(shop) == ["rejected"]
    with pytest.raises(psycopg.errors.RaiseException, match="have left Amazon"):
        resend(shop)
    shop.amazon.world.set_parcel(SELLER, "FR-1", 1, status="UNDELIVERABLE")
    track(shop)
    assert sorted(needs(shop)) == ["rejected", "undeliverable"]


def test_an_order_of_which_only_a_part_is_shipped_is_told(shop):
    shop.amazon.world.ship_now(SELLER)
    shop.amazon.world.set_order_status(SELLER, "FR-1", "CompletePartialled")
    track(shop)
    assert (shop.get("FR-1").status, shop.get("FR-1").amazon_order_status) == ("accepted", "CompletePartialled")
    assert "partly_shipped" in needs(shop)
    shop.sql("UPDATE fba.fulfillment_request SET acknowledged_at = clock_timestamp()")
    assert "partly_shipped" not in needs(shop)


def test_a_cancellation_after_the_upload_keeps_the_request_out_of_the_feed(shop, fulfillment):
    fulfillment("transport: feed")
    claim_id = uploaded(shop, "FR-2", "FR-3")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = clock_timestamp() WHERE fr_number = 'FR-2'")
    submit(shop, claim_id)
    assert (shop.get("FR-2").status, shop.get("FR-3").status) == ("pending", "pending")
    shop.send()
    assert (shop.get("FR-2").status, shop.get("FR-3").status) == ("invalid", "accepted")
    assert shop.orders_made() == {"FR-1": 1, "FR-3": 1}


def test_an_order_is_looked_for_before_it_is_repeated_after_a_429(shop, fulfillment, monkeypatch):
    monkeypatch.setattr("fba_operators.amazon.transport.MAX_INLINE_SLEEP", 5.0)
    shop.amazon.world.set_order_answers(repeated_id="second_order")
    claim_id = claimed(shop, "FR-2")
    shop.amazon.world.add_fault("createFulfillmentOrder", "error_after", times=1, status=429)
    shop.task(lambda: SendOrdersOperator(task_id="send", claim_id=claim_id), shop.context())
    shop.send()
    assert shop.get("FR-2").status == "accepted"
    assert shop.orders_made() == {"FR-1": 1, "FR-2": 1}
