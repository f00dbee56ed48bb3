"""Which requests are claimed for a feed, which wait, and which are invalid."""

from __future__ import annotations

import logging
import threading
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fba_operators.fulfillment import claim
from fba_operators.fulfillment.validation import Validation
from fba_operators.operators import (
    ClaimRequestsOperator,
    SettleFeedsOperator,
)
from fba_operators.reports import AFN_INVENTORY, LISTINGS
from tests.helpers import context, run
from tests.sending import SKIPPED
from tests.stores import SELLER, STORE, US


def test_invalid_requests_list_every_problem_and_block_no_other_request(shop):
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name=None, ship_to_country="XX")
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid"}
    reason = shop.get("FR-2").status_reason
    assert "ship-to name" in reason
    assert "ship_to_country" in reason


def test_an_invalid_request_corrected_by_hand_is_sent(shop):
    shop.add("FR-1", ship_to_name=None)
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending', ship_to_name = 'Right'")
    assert shop.send() == {"accepted": 1}


def test_a_request_without_items_waits_for_them(shop):
    shop.add("FR-1", [])
    assert shop.send() is SKIPPED
    assert (shop.get("FR-1").status, shop.get("FR-1").waiting_reason) == ("pending", "no items yet")


def test_an_unknown_sku_waits_for_the_next_inventory_run_and_is_then_invalid(shop):
    shop.add("FR-1", [("NEW-SKU", 1)])
    shop.send()
    assert shop.get("FR-1").waiting_reason == "SKU NEW-SKU: not in the pool yet"

    def report(report_type, minutes_ago, *, store=STORE, applied=True):
        shop.sql(
            "INSERT INTO fba.report (request_id, store, report_type, marketplace_id, requested_at, applied_at)"
            " VALUES (gen_random_uuid(), %s, %s, %s, now() - make_interval(mins => %s), CASE WHEN %s THEN now() END)",
            *(store, report_type, US, minutes_ago, applied),
        )

    for report_type in (LISTINGS.name, AFN_INVENTORY.name):
        report(report_type, 60)
        report(report_type, 0, applied=False)
        report(report_type, 0, store="other_store")
    report(LISTINGS.name, 0)  # the age of the pool is that of the older report
    shop.send()
    assert shop.get("FR-1").status == "pending"
    report(AFN_INVENTORY.name, 0)
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    assert "NEW-SKU" in shop.get("FR-1").status_reason


def test_a_sku_of_the_afn_report_counts_as_known_and_zero_stock_is_a_warning(shop, caplog):
    copy = (
        "INSERT INTO fba.amazon_afn_inventory_report (store, line_number, report_id, seller_sku, warehouse_condition_code,"
        " quantity_available) VALUES ('amazon_us', %s, 'r', %s, %s, %s)"
    )
    for line, (sku, condition, quantity) in enumerate(
        [("AFN-PLAIN", "SELLABLE", "5"), ("AFN-PLAIN", "UNSELLABLE", "9"), ("AFN-ZERO", "UNSELLABLE", "7")], start=2
    ):
        shop.sql(copy, line, sku, condition, quantity)
    shop.add("FR-1", [("AFN-PLAIN", 1)])
    shop.add("FR-2", [("AFN-ZERO", 1)])
    with caplog.at_level(logging.WARNING):
        shop.send(until="claim")
    assert shop.statuses() == {"FR-1": "sending", "FR-2": "sending"}
    assert shop.get("FR-1").status_reason is None
    assert "quantity of 0" in shop.get("FR-2").status_reason


def test_a_request_cancelled_while_pending_is_not_sent(shop):
    shop.add("FR-1", cancel_requested_at=datetime.now(UTC))
    shop.send()
    assert (shop.get("FR-1").status, shop.get("FR-1").status_reason) == ("invalid", "cancelled before it was sent")
    assert shop.calls_of("cancelFulfillmentOrder") == 0


def test_a_number_used_by_another_store_of_the_seller_is_invalid(shop):
    shop.add("FR-1", store="amazon_ca")
    shop.sql("UPDATE fba.fulfillment_request SET seller_id = %s", SELLER)
    shop.add("FR-1")
    shop.send()
    assert shop.sql("SELECT store, status FROM fba.fulfillment_request ORDER BY store") == [
        ("amazon_ca", "pending"),
        ("amazon_us", "invalid"),
    ]


def test_hold_and_business_hours_wait_with_a_reason_and_can_be_ignored(shop, fulfillment):
    closed = '{timezone: UTC, days: [mon, tue, wed, thu, fri, sat, sun], from: "00:00", to: "24:00", holidays: [%s]}'
    today = datetime.now(UTC).date()
    fulfillment(f"hold_hours: 4, business_hours: {closed % f'{today}, {today + timedelta(days=1)}'}")
    shop.add("FR-1")
    assert shop.send() is SKIPPED
    reason = shop.get("FR-1").waiting_reason
    assert "on hold for 4 h" in reason
    assert "outside business hours" in reason
    assert f"until {today + timedelta(days=2)} 00:00 UTC" in reason
    assert shop.send(ignore_hold=True) is SKIPPED
    assert shop.send(ignore_hold=True, ignore_business_hours=True) == {"accepted": 1}
    assert shop.get("FR-1").waiting_reason is None


def test_only_runs_by_hand_send_unless_configured(shop, fulfillment):
    shop.add("FR-1")
    assert shop.send("scheduled") is SKIPPED
    assert "triggered by hand" in shop.get("FR-1").waiting_reason
    fulfillment("send_automatically: true")
    assert shop.send("scheduled") == {"accepted": 1}


def test_by_schedule_one_feed_in_twenty_minutes(shop, fulfillment):
    fulfillment("send_automatically: true")
    shop.add("FR-1")
    shop.send("scheduled")
    shop.add("FR-2")
    assert shop.send("scheduled") is SKIPPED
    assert "every 20 minutes; until" in shop.get("FR-2").waiting_reason
    shop.pass_time(10)
    assert shop.send("scheduled") is SKIPPED
    assert shop.send("manual") == {"accepted": 1}


def test_a_scheduled_run_that_is_slightly_early_waits_for_its_slot(shop, fulfillment):
    fulfillment("send_automatically: true")
    shop.add("FR-1")
    shop.send("scheduled")
    shop.add("FR-2")
    shop.pass_time(19)
    moments = []

    def later(moment):
        moments.append(moment)
        shop.pass_time(1)

    assert (
        shop.task(lambda: ClaimRequestsOperator(task_id="claim"), shop.context("scheduled"), on_wait=later) != SKIPPED
    )
    assert timedelta(0) < moments[0] - datetime.now(UTC) <= timedelta(minutes=1)
    assert shop.get("FR-2").status == "sending"


def test_only_the_listed_numbers_are_sent(shop):
    for number in ("FR-1", "FR-2", "FR-3"):
        shop.add(number)
    shop.send(fulfillment_request_numbers=["FR-3"])
    shop.send(fulfillment_request_numbers=["FR-1", "FR-3", "FR-9"])
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "pending", "FR-3": "accepted"}
    assert "Asked for, but accepted: FR-3.\nAsked for, but not known to this store: FR-9." in shop.summary()


@pytest.mark.parametrize("numbers", ["FR-1", '{"a": 1}', [1], 5])
def test_numbers_that_are_not_a_list_of_strings_are_refused(shop, numbers):
    with pytest.raises(ValueError, match="must be a list of FR numbers"):
        run(ClaimRequestsOperator(task_id="claim", fulfillment_request_numbers=numbers))


def test_a_dry_run_makes_no_call_and_only_marks_requests_invalid(shop):
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name=None)
    ctx = shop.context()
    shop.task(lambda: SettleFeedsOperator(task_id="settle", offline=True), ctx)
    assert shop.task(lambda: ClaimRequestsOperator(task_id="claim", validate_only=True), ctx) is SKIPPED
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "invalid"}
    assert "1 request would be sent (dry run): FR-1." in shop.summary()
    assert shop.get("FR-1").seller_id is None
    assert shop.feeds() == []
    assert shop.amazon.world.calls()["calls"] == {}


def test_a_full_feed_leaves_the_rest_pending(shop, monkeypatch):
    monkeypatch.setattr(claim.assemble_order_feed, "__kwdefaults__", {"max_messages": 2, "max_bytes": 10**6})
    monkeypatch.setattr(claim, "PAGE", 2)
    for number in range(5):
        shop.add(f"FR-{number}")
    assert shop.send() == {"accepted": 2}
    assert list(shop.statuses().values()) == ["accepted", "accepted", "pending", "pending", "pending"]
    assert "the next feed is full" in shop.get("FR-4").waiting_reason
    shop.send()
    shop.send()
    assert set(shop.statuses().values()) == {"accepted"}
    assert set(shop.orders_made().values()) == {1}


def test_a_request_locked_by_a_writer_is_left_for_the_next_run(shop, warehouse_url):
    shop.add("FR-1")
    shop.add("FR-2")
    with psycopg.connect(warehouse_url) as other:
        other.execute("UPDATE fba.fulfillment_request SET ship_to_name = 'New' WHERE fr_number = 'FR-1'")
        shop.send()
    assert shop.statuses() == {"FR-1": "pending", "FR-2": "accepted"}


def test_what_xml_cannot_represent_is_invalid_and_blocks_no_other_request(shop, monkeypatch):
    """A request that passes the rules but not the schema: the rules may have a gap, and the other requests must be sent."""
    monkeypatch.setattr(claim, "validate", lambda *arguments, **settings: Validation())
    shop.add("FR-1")
    shop.add("FR-2", ship_to_name="Secret " * 20)
    shop.add("FR-3", ship_to_city="Con\x01cealville")
    shop.add("FR-4")
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted", "FR-2": "invalid", "FR-3": "invalid", "FR-4": "accepted"}
    assert "schema at /AmazonEnvelope/Message[2]" in shop.get("FR-2").status_reason
    assert "Secret" not in shop.get("FR-2").status_reason
    assert shop.get("FR-3").status_reason == "it has characters that XML cannot hold"


def test_two_claims_at_the_same_time_make_one_feed(shop):
    for number in range(20):
        shop.add(f"FR-{number}")
    results = []

    def claim_as(run_id):
        results.append(shop.task(lambda: ClaimRequestsOperator(task_id="claim"), context(run_id)))

    threads = [threading.Thread(target=claim_as, args=(f"run-{n}",)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result is SKIPPED for result in results) == [False, True]
    assert len(shop.feeds()) == 1
    assert shop.sql("SELECT count(*) FROM fba.feed_message") == [(20,)]


def test_a_speed_that_amazon_does_not_list_is_sent_as_mapped_with_a_warning(shop, caplog, capfd):
    shop.add("FR-1", shipping_method="Priority")
    shop.add("FR-2")
    with caplog.at_level(logging.WARNING):
        shop.send(until="claim")
    warning = "Amazon lists Priority only in CA, IN and MX; it is sent as it is, and Amazon may refuse it"
    assert shop.get("FR-1").status_reason == warning
    assert shop.get("FR-2").status_reason is None
    assert f"request FR-1: {warning}" in caplog.text + "".join(capfd.readouterr())
    shop.send()
    assert shop.amazon.world.orders(SELLER)["FR-1"]["speed"] == "Priority"


def test_amazon_gets_the_third_address_line_and_the_number_of_the_packing_slip(shop):
    shop.add("FR-1", ship_to_address_3="Rear building", displayable_order_number="Shop 12")
    shop.send()
    order = shop.amazon.world.order_desk.orders[SELLER, "FR-1"].request
    assert (order.address["addressLine3"], order.displayable_id) == ("Rear building", "Shop 12")
