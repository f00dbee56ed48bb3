"""The timeline of a request: everything that happened to it, in order, once each, whoever did it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fba_operators.operators import TrackOrdersOperator, tracking
from fba_operators.shipments.parcels import ToldOrder
from tests.helpers import run
from tests.sending import GOOD, PERSONAL
from tests.stores import SELLER, STORE


def timeline(shop, number="FR-1"):
    rows = shop.sql("SELECT what, source FROM fba.request_event WHERE fr_number = %s ORDER BY n", number)
    return [f"{what} ({source})" for what, source in rows]


def details(shop, what):
    return [detail for (detail,) in shop.sql("SELECT detail FROM fba.request_event WHERE what = %s ORDER BY n", what)]


def track():
    run(TrackOrdersOperator(task_id="track"))


SENT = ["created (merchant)", "waiting (product)", "claimed (product)", "sent (product)", "accepted (feed)"]


def test_from_the_merchants_order_to_the_doorstep(shop):
    shop.add("FR-1")
    shop.amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1)
    shop.send()
    shop.amazon.world.ship_now(SELLER)
    track()
    for status in ("OUT_FOR_DELIVERY", "DELIVERED"):
        shop.amazon.world.set_parcel(SELLER, "FR-1", status=status)
        track()
    told = [each for each in timeline(shop) if each not in ("waiting (product)", "planned (order)")]
    assert told == [
        *(each for each in SENT if each != "waiting (product)"),
        *("shipped (order)", "out_for_delivery (order)", "delivered (order)"),
    ]
    times = shop.sql("SELECT at FROM fba.request_event WHERE what IN ('shipped', 'delivered') ORDER BY n")
    (parcel,) = shop.amazon.world.parcels(SELLER)
    assert [at.isoformat() for (at,) in times] == [parcel["left"], parcel["delivered"]]


def test_what_a_merchant_does_by_hand_is_there(shop):
    shop.add("FR-1", ship_to_postal_code=None)
    shop.send(until="claim")
    assert timeline(shop) == ["created (merchant)", "invalid (product)"]
    shop.sql("UPDATE fba.fulfillment_request SET ship_to_postal_code = '98777'")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending'")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = NULL")
    assert timeline(shop)[2:] == ["set_by_hand (merchant)", "cancel_requested (merchant)", "set_by_hand (merchant)"]
    assert details(shop, "set_by_hand") == ["from invalid to pending", "the cancellation was taken back"]


def test_cancelled_refused_and_sent_again(shop):
    shop.add("FR-1")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now()")
    shop.amazon.world.set_order_status(SELLER, "FR-1", "Processing")
    shop.send(until="settle")
    shop.send(until="settle")
    assert timeline(shop)[-2:] == ["cancel_requested (merchant)", "not_cancelled (order)"], "once, although asked twice"
    shop.amazon.world.set_order_status(SELLER, "FR-1", "Cancelled")
    track()
    assert shop.sql("SELECT fba.resend(%s, 'FR-1')", STORE) == [("FR-1-2",)]
    assert timeline(shop)[-2:] == ["cancelled (order)", "resent (merchant)"]
    assert details(shop, "resent") == ["as FR-1-2"]
    assert timeline(shop, "FR-1-2") == ["created (merchant)"]


def test_a_lost_answer_and_what_became_of_it(shop):
    shop.add("FR-1")
    shop.amazon.world.add_fault("createFeed", "reset_after", times=1)
    shop.send(until="submit")
    assert timeline(shop)[-1] == "unknown (product)"
    shop.amazon.settle()
    track()
    assert timeline(shop)[-1] in ("accepted (order)", "planned (order)")
    assert "accepted (order)" in timeline(shop)


def test_a_request_that_is_quoted_approved_and_sent_as_an_order(shop, fulfillment):
    fulfillment("transport: outbound, approval: {always: true}, shipping_methods: {Standard: Standard}")
    shop.add("FR-1")
    shop.send()
    waits = ["created (merchant)", "quoted (product)", "needs_approval (product)"]
    assert timeline(shop) == waits
    shop.pass_time(61)
    shop.send()
    assert timeline(shop) == waits, "an equal quote is not told again"
    shop.amazon.world.set_tariff("Standard", fees={"FBAPerOrderFulfillmentFee": "9.25"})
    shop.pass_time(61)
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now(), approved_by = 'Wilhelmina'")
    shop.send()
    shop.sql("UPDATE fba.fulfillment_request SET approved_at = now(), approved_by = 'Wilhelmina'")
    shop.send()
    again = ["approved (merchant)", "quoted (product)", "needs_approval (product)", "approved (merchant)"]
    assert timeline(shop) == [*waits, *again, "claimed (product)", "sent (product)", "accepted (order)"]
    assert details(shop, "quoted") == [
        "Expedited for 12.15 USD, Standard for 7.45 USD",
        "Expedited for 12.15 USD, Standard for 9.25 USD",
    ]
    assert details(shop, "approved") == ["for a fee of 7.45", "for a fee of 9.25"]
    assert details(shop, "needs_approval")[0].startswith("needs approval: ")
    assert "Wilhelmina" not in str(shop.sql("SELECT e::text FROM fba.request_event AS e"))
    (sent, intent) = shop.sql(
        "SELECT e.at, o.intent_at FROM fba.request_event AS e, fba.outbound_order AS o WHERE what = 'sent'"
    )[0]
    assert sent == intent


def test_what_is_approved_beforehand_has_its_approval_in_the_timeline(shop, fulfillment):
    fulfillment("transport: outbound, approval: {always: true}")
    shop.add("FR-1", approved_at="2026-01-02")
    shop.send()
    assert timeline(shop)[:3] == ["created (merchant)", "approved (merchant)", "quoted (product)"]
    assert timeline(shop)[3:] == ["claimed (product)", "sent (product)", "accepted (order)"]


def test_an_order_whose_answer_was_lost_is_found_by_tracking(shop, fulfillment):
    fulfillment("transport: outbound")
    shop.add("FR-1")
    shop.amazon.world.add_fault("createFulfillmentOrder", "reset_after", times=1)
    shop.send()
    assert timeline(shop)[-2:] == ["claimed (product)", "unknown (product)"]
    track()
    track()
    assert [each for each in timeline(shop)[-3:] if each != "planned (order)"][-2:] == [
        "sent (product)",
        "accepted (order)",
    ]
    shop.pass_time(11)
    shop.send()
    assert shop.statuses() == {"FR-1": "accepted"}
    assert shop.sql("SELECT count(*) FROM fba.outbound_order WHERE settled_at IS NULL") == [(0,)]
    assert shop.orders_made() == {"FR-1": 1}


HOLD = "transport: outbound, reserve: true, hold_hours: 4, send_automatically: true"


@pytest.mark.parametrize("lost", [False, True])
def test_tracking_does_not_take_an_order_on_hold_for_released(shop, fulfillment, lost):
    fulfillment(HOLD)
    if lost:
        shop.amazon.world.add_fault("createFulfillmentOrder", "reset_after", times=1)
    shop.add("FR-1")
    shop.send("scheduled")
    track()
    assert shop.statuses() == {"FR-1": "unknown" if lost else "submitted"}
    if lost:
        shop.pass_time(11)
        shop.send("scheduled")
        track()
    assert shop.statuses() == {"FR-1": "submitted"}
    shop.send("manual", ignore_hold=True)
    assert [each for each in timeline(shop) if each.split()[0] in ("claimed", "sent", "accepted")] == [
        *("claimed (product)", "sent (product)", "accepted (order)"),
    ]


def test_the_end_of_an_order_that_lapsed_does_not_end_the_one_that_follows(shop, fulfillment, monkeypatch):
    shop.amazon.world.set_order_answers(repeated_id="second_order")
    fulfillment(HOLD)
    shop.add("FR-1")
    shop.send("scheduled")
    shop.pass_time(14.5 * 24 * 60)
    shop.sql("SET fba.writer = 'product'")
    shop.sql("UPDATE fba.fulfillment_request SET status = 'pending'")
    shop.sql("UPDATE fba.outbound_order SET settled_at = now(), lapsed_at = now()")
    shop.sql("RESET fba.writer")
    cancelled = ToldOrder("FR-1", "CANCELLED", datetime.now(UTC) - timedelta(minutes=1), None)
    monkeypatch.setattr(tracking, "told_by_order", lambda order: cancelled)
    track()
    assert shop.sql("SELECT count(*) FROM fba.order_at_amazon") == [(0,)]
    shop.send("manual", ignore_hold=True)
    assert shop.statuses() == {"FR-1": "accepted"}
    track()
    assert shop.statuses() == {"FR-1": "accepted"}
    assert shop.orders_made() == {"FR-1": 2}
    later = ToldOrder("FR-1", "CANCELLED", datetime.now(UTC) + timedelta(minutes=1), None)
    monkeypatch.setattr(tracking, "told_by_order", lambda order: later)
    shop.sql("UPDATE fba.order_cursor SET read_until = now() - interval '1 hour'")
    track()
    assert shop.statuses() == {"FR-1": "cancelled"}


def test_there_is_nothing_personal_in_it(shop):
    shop.add("FR-1")
    shop.add("FR-2", ship_to_postal_code="nowhere at all, 77 Hidden Lane")
    shop.send()
    shop.amazon.world.ship_now(SELLER)
    track()
    text = str(shop.sql("SELECT e::text FROM fba.request_event AS e"))
    assert not [value for name, value in PERSONAL.items() if name != "ship_to_country" and value in text]


def test_events_go_with_their_request_and_follow_its_number(shop):
    shop.add("FR-1")
    shop.sql("DELETE FROM fba.fulfillment_request_item")
    shop.sql("UPDATE fba.fulfillment_request SET fr_number = 'FR-9'")
    assert timeline(shop, "FR-9") == ["created (merchant)"]
    shop.sql("DELETE FROM fba.fulfillment_request")
    assert shop.sql("SELECT count(*) FROM fba.request_event") == [(0,)]


def test_a_parcels_event_is_there_once_however_many_tell_it_at_once(shop):
    shop.add("FR-1")

    def tell(n):
        with psycopg.connect(shop.url) as db:
            db.execute(
                "INSERT INTO fba.package (store, fr_number, package_key, status) VALUES (%s, 'FR-1', 'TBA1', 'DELIVERED')"
                " ON CONFLICT (store, fr_number, package_key) DO UPDATE SET updated_at = clock_timestamp()",
                (STORE,),
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(tell, range(24)))
    assert timeline(shop) == ["created (merchant)", "shipped (order)", "delivered (order)"]


def test_a_number_that_the_report_gets_later_is_the_same_parcel(shop):
    shop.add("FR-1")
    shop.sql(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity) VALUES (%s, 'K', 'S01', 'FR-1', %s, 1)",
        *(STORE, GOOD),
    )
    shop.sql("UPDATE fba.shipment_item SET tracking_number = 'TBA 1'")
    shop.sql("UPDATE fba.shipment_item SET tracking_number = 'TBA 2'")
    assert timeline(shop) == ["created (merchant)", "shipped (report)"]
    shop.sql(
        "INSERT INTO fba.package (store, fr_number, package_key, tracking_number, amazon_tracking_number, status)"
        " VALUES (%s, 'FR-1', 'A1', 'tba2', 'A1', 'IN_TRANSIT')",
        STORE,
    )
    assert timeline(shop) == ["created (merchant)", "shipped (report)"]
    assert shop.sql("SELECT package_key FROM fba.request_event WHERE what = 'shipped'") == [("A1",)]


def test_a_request_that_comes_after_its_shipment_has_it_in_its_timeline(shop):
    shop.sql(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, merchant_order_id, sku, quantity, tracking_number)"
        " VALUES (%s, 'K', 'S01', 'FR-1', %s, 1, 'T1')",
        *(STORE, GOOD),
    )
    shop.add("FR-1")
    assert timeline(shop) == ["created (merchant)", "shipped (report)"]


@pytest.mark.parametrize("at", ["infinity", "1999-12-31", "2100-01-02"])
def test_an_impossible_time_is_refused(shop, at):
    shop.add("FR-1")
    for statement in (
        "INSERT INTO fba.request_event (store, fr_number, at, what, source) VALUES ('amazon_us', 'FR-1', %s, 'shipped', 'order')",
        "INSERT INTO fba.order_cursor (store, read_until) VALUES ('amazon_us', %s)",
        "INSERT INTO fba.package (store, fr_number, package_key, arrives_at) VALUES ('amazon_us', 'FR-1', 'K', %s)",
    ):
        with pytest.raises(psycopg.errors.CheckViolation):
            shop.sql(statement, at)
