"""After acceptance: orders that do not ship are looked up at Amazon, and data is deleted after its retention period."""

from __future__ import annotations

from collections import Counter

import psycopg
import pytest

from fba_operators.errors import UnavailableError
from fba_operators.operators import FollowUpOrdersOperator, RetentionOperator
from fba_operators.shipments.follow_up import summary
from tests.helpers import context, run
from tests.shipping import Reports, add_request, document, orders_at_amazon, row
from tests.stores import OTHER_SELLER, SELLER, STORE

ADDRESS = {
    "ship_to_name": "A Buyer",
    "ship_to_city": "Seattle",
    "ship_to_email": "a@b.example",
    "ship_to_country": "US",
}


def follow_up():
    return run(FollowUpOrdersOperator(task_id="follow_up"))


def days_ago(sql, days, number="%"):
    sql(
        "UPDATE fba.fulfillment_request SET sent_at = now() - make_interval(days => %s) WHERE fr_number LIKE %s",
        days,
        number,
    )


def statuses(sql):
    query = "SELECT fr_number, status, amazon_order_status FROM fba.fulfillment_request"
    return {number: values for number, *values in sql(query)}


def test_orders_that_amazon_will_not_ship_get_their_final_status(amazon, warehouse, sql):
    ends = {"BAD": "Invalid", "NONE": "Unfulfillable", "OFF": "Cancelled", "PART": "CompletePartialled", "WAITS": None}
    for number in ends:
        add_request(sql, number, ("AFN-PLAIN", 2))
    days_ago(sql, 2)
    orders_at_amazon(amazon, list(ends), "AFN-PLAIN", 2)
    for number, status in ends.items():
        if status:
            amazon.world.set_order_status(SELLER, number, status)
    result = follow_up()
    assert result == {
        **{"conn_id": STORE, "asked": 5, "overdue": 1, "named": ["WAITS"]},
        **{
            "rejected": ["BAD", "NONE"],
            "cancelled": ["OFF"],
            "partly": ["PART"],
            "unknown_at_amazon": [],
            "left_out": [],
        },
    }
    assert statuses(sql) == {
        "BAD": ["rejected", "Invalid"],
        "NONE": ["rejected", "Unfulfillable"],
        "OFF": ["cancelled", "Cancelled"],
        "PART": ["accepted", "CompletePartialled"],
        "WAITS": ["accepted", "Received"],
    }
    assert sql(
        "SELECT count(*) FROM fba.fulfillment_request WHERE status = 'rejected' AND status_reason <> ''"
    ).fetchone() == (2,)
    assert follow_up()["asked"] == 0
    sql("UPDATE fba.fulfillment_request SET amazon_order_asked_at = now() - interval '25 hours'")
    assert follow_up()["asked"] == 1
    assert amazon.world.calls()["calls"]["getFulfillmentOrder"] == 6


def test_only_accepted_requests_with_open_units_that_are_a_day_old_are_looked_up(amazon, warehouse, sql):
    for number in ("SHIPPED", "NEW", "OPEN"):
        add_request(sql, number, ("WIDGET", 1))
    add_request(sql, "SUBMITTED", ("WIDGET", 1), status="submitted")
    days_ago(sql, 2)
    sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '23 hours' WHERE fr_number = 'NEW'")
    reports = Reports(warehouse)
    reports.load(reports.add(document(row(amazon_order_id="S01-1", merchant_order_id="SHIPPED"))))
    result = follow_up()
    assert (result["asked"], result["unknown_at_amazon"], result["named"]) == (1, ["OPEN"], ["OPEN"])
    assert statuses(sql)["OPEN"] == ["accepted", None]
    assert follow_up()["asked"] == 0


def test_orders_are_not_looked_up_at_another_seller(amazon, warehouse, sql):
    add_request(sql, "A", ("AFN-PLAIN", 1))
    days_ago(sql, 2)
    sql("SET fba.writer = 'product'")
    sql("UPDATE fba.fulfillment_request SET seller_id = %s", OTHER_SELLER)
    assert (follow_up()["asked"], amazon.world.calls()["calls"]) == (0, {})
    sql("UPDATE fba.fulfillment_request SET seller_id = %s", SELLER)
    assert follow_up()["asked"] == 1


def test_results_before_a_fault_are_kept_and_the_retry_looks_up_the_rest(amazon, warehouse, sql, no_retry_sleep):
    orders_at_amazon(amazon, ["A", "B"], "AFN-PLAIN", 1)
    for number in ("A", "B"):
        add_request(sql, number, ("AFN-PLAIN", 1))
    days_ago(sql, 2)
    amazon.world.add_fault("getFulfillmentOrder", "500", times=None, skip=1)
    with pytest.raises(UnavailableError):
        follow_up()
    assert statuses(sql) == {"A": ["accepted", "Received"], "B": ["accepted", None]}
    amazon.world.clear_faults()
    assert follow_up()["asked"] == 1


@pytest.mark.parametrize("answer", [(500, {"errors": [{"code": "InternalFailure", "message": "x"}]}), (200, {})])
def test_an_order_that_amazon_fails_for_stops_no_other(amazon, warehouse, sql, no_retry_sleep, answer):
    orders_at_amazon(amazon, ["A", "B"], "AFN-PLAIN", 1)
    for number in ("A", "B"):
        add_request(sql, number, ("AFN-PLAIN", 1))
    days_ago(sql, 2)
    amazon.world.set_order_status(SELLER, "B", "Unfulfillable")
    status, body = answer
    amazon.world.add_fault("getFulfillmentOrder", "status", times=None, report_type="A", status=status, body=body)
    result = follow_up()
    assert statuses(sql) == {"A": ["accepted", None], "B": ["rejected", "Unfulfillable"]}
    assert result["unknown_at_amazon"] == ["A"]
    code = "InternalFailure" if status == 500 else "an answer that cannot be read"
    said = f"1 order left out, for which Amazon fails while it answers other questions ({code}): A; a later run asks again."
    assert result["left_out"] == [said]
    counts = Counter(lines=0, new=0, updated=0, repeated=0)
    assert said in summary(0, counts, result, {}, []).splitlines()


def test_two_runs_at_a_time_look_up_an_order_once(amazon, warehouse, sql, warehouse_url):
    add_request(sql, "A", ("AFN-PLAIN", 1))
    days_ago(sql, 2)
    with psycopg.connect(warehouse_url) as other:
        other.execute("SELECT pg_advisory_lock(hashtext('fba.follow_up'), hashtext(%s))", (STORE,))
        result = follow_up()
    assert (result["asked"], result["overdue"]) == (0, 1)


def purge():
    return RetentionOperator(task_id="retention").execute(context())


def test_addresses_are_deleted_after_their_retention_period(warehouse, sql):
    for number, status in (
        ("SHIPPED", "accepted"),
        ("JUST", "accepted"),
        ("OLD", "rejected"),
        ("WAITS", "pending"),
        ("GOES", "sending"),
    ):
        sent = status if status in ("pending", "accepted", "rejected") else "pending"
        add_request(sql, number, ("WIDGET", 1), status=sent, **ADDRESS)
    add_request(sql, "ANCIENT", ("WIDGET", 1), status="pending", created_at="2020-01-01", **ADDRESS)
    add_request(sql, "SENDING", ("WIDGET", 1), status="pending", created_at="2020-01-01", **ADDRESS)
    sql("SET fba.writer = 'product'")
    sql("UPDATE fba.fulfillment_request SET status = 'sending' WHERE fr_number IN ('SENDING', 'GOES')")
    sql(
        "UPDATE fba.fulfillment_request SET resolved_at = now() - interval '31 days' WHERE fr_number IN ('JUST', 'OLD')"
    )
    reports = Reports(warehouse)
    ours = {"amazon_order_id": "S01-1", "shipment_date": "2026-08-01T00:00:00+00:00"}
    reports.load(
        reports.add(
            document(row(**ours, merchant_order_id="SHIPPED"), row(shipment_item_id="2", merchant_order_id="JUST"))
        )
    )
    sql("UPDATE fba.shipment_item SET ship_date = now() - interval '31 days' WHERE merchant_order_id = 'SHIPPED'")
    sql("UPDATE fba.shipment_item SET ship_date = now() - interval '29 days' WHERE merchant_order_id = 'JUST'")
    assert purge() == {STORE: {"addresses": 3}}
    left = sql("SELECT fr_number, ship_to_name, ship_to_email, ship_to_country FROM fba.fulfillment_request ORDER BY 1")
    full = ("A Buyer", "a@b.example", "US")
    assert {number: tuple(values) for number, *values in left} == {
        **dict.fromkeys(("SHIPPED", "OLD", "ANCIENT"), (None, None, None)),
        **dict.fromkeys(("JUST", "WAITS", "GOES", "SENDING"), full),
    }
    assert purge() == {}


def test_an_address_of_which_only_the_third_line_is_left_is_removed(sql):
    add_request(sql, "OLD", status="pending", created_at="2020-01-01", ship_to_address_3="Rear building")
    assert purge() == {STORE: {"addresses": 1}}
    assert sql("SELECT ship_to_address_3 FROM fba.fulfillment_request").fetchall() == [(None,)]


def test_raw_copies_are_deleted_after_their_retention_period(warehouse, sql):
    reports = Reports(warehouse)
    old, new = (reports.add(document(row(shipment_item_id=name))) for name in ("OLD", "NEW"))
    for report_id in (old, new):
        sql("INSERT INTO fba.rejected_row VALUES (%s, %s, 2, 'why', NULL, 'raw')", STORE, report_id)
    sql("UPDATE fba.report_document SET stored_at = now() - interval '31 days' WHERE report_id = %s", old)
    for number, days in (("F1", 31), ("F2", 29)):
        sql(
            "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, claimed_at, settled_at, result_document)"
            " VALUES (%s, %s, gen_random_uuid(), 'r', 1, now() - make_interval(days => %s), now(), 'x')",
            *(STORE, number, days),
        )
    assert purge() == {STORE: {"raw reports": 1, "rejected lines": 1, "processing reports": 1}}
    assert sql("SELECT report_id FROM fba.report_document").fetchall() == [(new,)]
    assert sql("SELECT report_id FROM fba.rejected_row").fetchall() == [(new,)]
    assert sql("SELECT document_id FROM fba.feed WHERE result_document IS NULL").fetchall() == [("F1",)]


def test_orders_and_feeds_of_others_are_forgotten_when_amazon_does_not_list_them_any_more(warehouse, sql):
    for number, days in (("OLD", 91), ("WAITS", 91), ("NEW", 89)):
        sql("INSERT INTO fba.order_at_amazon VALUES (%s, %s, now() - make_interval(days => %s))", STORE, number, days)
    add_request(sql, "WAITS", ("WIDGET", 1), status="pending")
    for feed_id, seen, cleared in (("OLD", 92, 91), ("NEW", 92, 89), ("OPEN", 92, None)):
        sql(
            "INSERT INTO fba.foreign_feed (store, feed_id, seen_at, cleared_at)"
            " VALUES (%s, %s, now() - make_interval(days => %s), now() - make_interval(days => %s))",
            *(STORE, feed_id, seen, cleared),
        )
    assert purge() == {STORE: {"orders of others": 1, "feeds of others": 1}}
    assert sql("SELECT fr_number FROM fba.order_at_amazon ORDER BY 1").fetchall() == [("NEW",), ("WAITS",)]
    assert sql("SELECT feed_id FROM fba.foreign_feed ORDER BY 1").fetchall() == [("NEW",), ("OPEN",)]
