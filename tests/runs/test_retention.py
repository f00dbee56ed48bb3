"""What is removed with its age: everything closed, in batches, and nothing that is under way."""

from __future__ import annotations

import itertools
import re

import psycopg
import pytest

from fba_operators.runs import retention
from fba_operators.settings.models import Retention
from tests.helpers import as_product
from tests.stores import LISTINGS, SELLER, SHIPMENTS_REPORT, STORE

OLD, YOUNG = 19, 17  # months
ADDRESS = {"ship_to_name": "A Buyer", "ship_to_address_1": "77 Hidden Lane", "order_comment": "for A Buyer"}
PATHS = {
    "pending": [],
    "invalid": ["invalid"],
    "sending": ["sending"],
    "submitted": ["sending", "submitted"],
    "unknown": ["sending", "unknown"],
    "accepted": ["sending", "submitted", "accepted"],
    "rejected": ["sending", "submitted", "rejected"],
    "cancelled": ["sending", "unknown", "cancelled"],
}
CLOSED = {"invalid", "accepted", "rejected", "cancelled"}
REPORT_NUMBERS = itertools.count(1)


@pytest.fixture
def db(warehouse_url):
    """A connection of the product's."""
    with psycopg.connect(warehouse_url) as connection:
        as_product(connection)
        connection.autocommit = True
        yield connection


@pytest.fixture
def remove(warehouse):
    """Remove what is old; 18 months unless the test says otherwise."""
    return lambda months=18: retention.remove_expired(warehouse, Retention(data_months=months)).removed


def request(db, number, status="accepted", months=OLD, **columns):
    """A request of one line that reached its status so many months ago."""
    columns = {"store": STORE, "fr_number": number, "seller_id": SELLER, **columns}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    db.execute(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})", tuple(columns.values()))
    db.execute("INSERT INTO fba.fulfillment_request_item VALUES (%s, %s, 1, 'SKU', 2)", (STORE, number))
    for step in PATHS[status]:
        db.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (step, number))
    db.execute(
        "UPDATE fba.fulfillment_request SET resolved_at = CASE WHEN resolved_at IS NOT NULL"
        " THEN now() - make_interval(months => %s) END WHERE fr_number = %s",
        (months, number),
    )


def feed(db, name, numbers, months=OLD, *, settled=True):
    """A feed that carried these requests and was settled so many months ago."""
    db.execute(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, settled_at) VALUES"
        " (%s, %s, gen_random_uuid(), 'r', %s, CASE WHEN %s THEN now() - make_interval(months => %s) END)",
        (STORE, name, len(numbers), settled, months),
    )
    for message_id, number in enumerate(numbers, start=1):
        db.execute(
            "INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES (%s, %s, %s, %s)",
            (STORE, name, message_id, number),
        )


def shipment(db, key, months=OLD, number=None):
    """A row of the shipments report, and its item."""
    db.execute(
        "INSERT INTO fba.amazon_fulfilled_shipments_report (store, item_key, report_id, report_requested_at, line_number,"
        " amazon_order_id, shipment_date, sku, quantity_shipped)"
        " VALUES (%s, %s, 'R', now(), 2, 'S01', now() - make_interval(months => %s), 'SKU', 2)",
        (STORE, key, months),
    )
    db.execute(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, merchant_order_id, fr_number, sku, quantity)"
        " VALUES (%s, %s, 'S01', %s, %s, 'SKU', 2)",
        (STORE, key, number, number),
    )


def report(db, months=OLD, status="DONE", *, report_type=SHIPMENTS_REPORT, applied=True, of=STORE):
    """A report, with its raw copy and an unreadable line."""
    report_id = f"R{next(REPORT_NUMBERS)}"
    db.execute(
        "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at)"
        " VALUES (gen_random_uuid(), %s, %s, %s, 'M', %s, now() - make_interval(months => %s), CASE WHEN %s THEN now() END)",
        (of, report_id, report_type, status, months, applied),
    )
    db.execute("INSERT INTO fba.report_document VALUES (%s, %s, 0, 'x')", (of, report_id))
    db.execute("INSERT INTO fba.rejected_row VALUES (%s, %s, 2, 'why', NULL, 'raw')", (of, report_id))
    return report_id


def left(db, column, table):
    """What is left in a table."""
    return {value for (value,) in db.execute(f"SELECT {column} FROM fba.{table}")}


@pytest.mark.parametrize("status", PATHS)
def test_a_closed_request_goes_with_its_age_and_an_open_one_never(db, remove, status):
    request(db, "OLD", status)
    request(db, "YOUNG", status, YOUNG)
    assert remove() == ({STORE: {"closed requests": 1}} if status in CLOSED else {})
    there = {"YOUNG"} | (set() if status in CLOSED else {"OLD"})
    assert left(db, "fr_number", "fulfillment_request") == there
    assert left(db, "fr_number", "fulfillment_request_item") == there
    assert left(db, "fr_number", "removed_request") == {"OLD", "YOUNG"} - there


def test_an_open_request_stays_however_old_it_is(db, remove):
    for number, status in enumerate(("pending", "sending", "submitted", "unknown")):
        request(db, f"FR-{number}", status, created_at="2020-01-01")
    assert remove(12) == {}


def test_what_belongs_together_goes_together(db, remove):
    request(db, "FR-1", "rejected")
    request(db, "FR-2")
    feed(db, "FIRST", ["FR-1", "FR-2"])
    feed(db, "AGAIN", ["FR-1"], YOUNG)
    shipment(db, "K1", number="FR-2")
    shipment(db, "K2")
    shipment(db, "K3", YOUNG)
    assert remove() == {STORE: {"closed requests": 2, "feeds": 1, "shipments": 2}}
    assert left(db, "document_id", "feed") == {"AGAIN"}
    assert left(db, "fr_number", "feed_message") == set()
    assert left(db, "item_key", "shipment_item") == left(db, "item_key", "amazon_fulfilled_shipments_report") == {"K3"}
    assert remove() == {}


def test_nothing_of_a_feed_under_way_is_removed(db, remove):
    """Its processing report is compared with all of its messages."""
    for number in ("FR-1", "FR-2"):
        request(db, number, "unknown" if number == "FR-2" else "accepted")
    feed(db, "OPEN", ["FR-1", "FR-2"], settled=False)
    feed(db, "EARLIER", ["FR-2"])
    assert remove(12) == {}


def test_shipments_of_a_request_that_is_still_there_stay(db, remove):
    request(db, "FR-1", "accepted", YOUNG)
    request(db, "FR-2", "unknown")
    for number in ("FR-1", "FR-2"):
        shipment(db, number, number=number)
    assert remove() == {}
    assert left(db, "status", "fulfillment_progress") == {"complete"}


def test_reports_go_but_not_the_last_applied_one_of_a_type(db, remove):
    last = report(db, OLD, report_type=LISTINGS)
    gone = [
        *(report(db, OLD + 1, report_type=LISTINGS), report(db, OLD), report(db, OLD, "FATAL", applied=False)),
        report(db, OLD + 1, "REQUESTING", applied=False),
    ]
    young, under_way = report(db, YOUNG), report(db, OLD, "IN_PROGRESS", applied=False)
    assert remove() == {STORE: {"reports": len(gone)}}
    for table in ("report", "report_document", "rejected_row"):
        assert left(db, "report_id", table) == {last, young, under_way}


def test_runs_go_after_the_months_that_stores_yaml_says(db, remove):
    for months in (11, 13, 17, 19):
        db.execute(
            "INSERT INTO fba.run (dag_id, run_id, store, started_at) VALUES ('d', %s, %s, now() - make_interval(months => %s))",
            (str(months), STORE, months),
        )
    assert remove() == {STORE: {"runs": 1}}
    assert remove(12) == {STORE: {"runs": 2}}
    assert left(db, "run_id", "run") == {"11"}


def test_a_backlog_goes_in_batches_and_what_another_transaction_holds_is_left(db, remove, monkeypatch, warehouse_url):
    monkeypatch.setattr(retention, "BATCH", 10)
    monkeypatch.setattr(retention, "MOST_BATCHES", 3)
    for number in range(45):
        shipment(db, f"K{number}")
    with psycopg.connect(warehouse_url) as other:
        other.execute("SELECT FROM fba.amazon_fulfilled_shipments_report WHERE item_key = 'K7' FOR UPDATE")
        assert remove() == {STORE: {"shipments": 30}}
        assert remove() == {STORE: {"shipments": 14}}
    assert remove() == {STORE: {"shipments": 1}}


def test_the_guard_lets_only_the_product_delete_and_only_after_a_year(db, warehouse_url):
    request(db, "OLD", "accepted", 13)
    request(db, "YOUNG", "cancelled", 11)
    request(db, "UNKNOWN", "unknown", created_at="2020-01-01")
    with psycopg.connect(warehouse_url, autocommit=True) as other:
        for who, number in itertools.product((db, other), ("OLD", "YOUNG", "UNKNOWN")):
            if (who, number) == (db, "OLD"):
                continue
            for table, why in (("fulfillment_request_item", "frozen"), ("fulfillment_request", "cannot be deleted")):
                with pytest.raises(psycopg.errors.RaiseException, match=why):
                    who.execute(f"DELETE FROM fba.{table} WHERE fr_number = %s", (number,))
        for change in (
            "UPDATE fba.fulfillment_request_item SET quantity = 9",
            "INSERT INTO fba.fulfillment_request_item",
        ):
            values = (
                f" VALUES ('{STORE}', 'OLD', 2, 'SKU', 1)"
                if change.startswith("INSERT")
                else " WHERE fr_number = 'OLD'"
            )
            with pytest.raises(psycopg.errors.RaiseException, match="frozen"):
                db.execute(change + values)
    db.execute("DELETE FROM fba.fulfillment_request_item WHERE fr_number = 'OLD'")
    assert db.execute("DELETE FROM fba.fulfillment_request WHERE fr_number = 'OLD'").rowcount == 1


def test_a_number_that_comes_again_is_not_sent(shop, db, remove):
    """A shop that puts all its orders in again: Amazon shipped this one long ago."""
    request(db, "FR-1")
    remove()
    shop.add("FR-1")
    shop.add("FR-2")
    assert shop.send() == {"accepted": 1}
    assert shop.statuses() == {"FR-1": "invalid", "FR-2": "accepted"}
    assert "order again under another number" in shop.get("FR-1").status_reason
    assert shop.orders_made() == {"FR-2": 1}


def stock_change(db, sku, months):
    """A change of the pool so many months ago."""
    db.execute(
        "INSERT INTO fba.stock_change (store, sku, at, quantity) VALUES (%s, %s, now() - make_interval(months => %s), 1)",
        (STORE, sku, months),
    )


def test_the_history_of_stock_begins_after_what_was_removed(db, remove):
    db.execute("UPDATE fba.stock_history SET begins_at = now() - interval '30 months'")
    for sku, months in (("A", OLD + 5), ("B", OLD), ("C", YOUNG)):
        stock_change(db, sku, months)
    (newest,) = db.execute("SELECT at FROM fba.stock_change WHERE sku = 'B'").fetchone()
    assert remove() == {STORE: {"changes of stock": 2}}
    assert db.execute("SELECT begins_at FROM fba.stock_history").fetchone() == (newest,)
    assert remove() == {}
    assert left(db, "sku", "stock_change") == {"C"}


def test_a_breakdown_goes_when_amazon_has_not_named_the_sku_for_so_long(db, remove):
    for sku, months in (("A", OLD), ("B", YOUNG)):
        db.execute(
            "INSERT INTO fba.stock_breakdown (store, sku, as_of) VALUES (%s, %s, now() - make_interval(months => %s))",
            (STORE, sku, months),
        )
    assert remove() == {STORE: {"breakdowns of stock": 1}}
    assert left(db, "sku", "stock_breakdown") == {"B"}


def test_a_change_to_deliver_goes_when_a_newer_one_has_followed_and_all_have_taken_it(db, remove):
    for n in range(1, 6):
        db.execute(
            "INSERT INTO fba.available_change (store, n, sku, available, shares_fnsku_with, newest) VALUES (%s, %s, 'A', 1, '{}', %s)",
            (STORE, n, n == 5),
        )
    db.execute(
        "INSERT INTO fba.publication VALUES ('fast', %s, 5), ('slow', %s, 2), ('slow', 'other', 0)", (STORE, STORE)
    )
    assert remove() == {STORE: {"delivered changes": 2}}
    assert left(db, "n", "available_change") == {3, 4, 5}
    db.execute("UPDATE fba.available_change SET at = now() - interval '19 months'")
    assert remove() == {STORE: {"delivered changes": 2}}
    assert left(db, "n", "available_change") == {5}


# Texts that may quote an address


def expired(warehouse, **periods):
    return retention.remove_expired(warehouse, Retention(**periods)).removed


def test_texts_that_may_quote_the_address_go_with_it(db, warehouse):
    quoting = "13: 77 Hidden Lane is no address"
    for number, status in (("FR-1", "rejected"), ("FR-2", "accepted"), ("FR-3", "unknown"), ("FR-4", "sending")):
        request(db, number, status, 2, status_reason=quoting, created_at="2020-01-01", **ADDRESS)
    request(db, "NEW", "rejected", 0, status_reason=quoting, **ADDRESS)
    db.execute("UPDATE fba.fulfillment_request SET status_reason = %s", (quoting,))
    db.execute(
        "UPDATE fba.fulfillment_request SET status_reason = 'not cancelled: ' || %s WHERE fr_number = 'FR-2'",
        (quoting,),
    )
    feed(db, "F", ["FR-1", "FR-2", "NEW"], YOUNG)
    db.execute("UPDATE fba.feed_message SET description = %s, result_code = 'Error'", (quoting,))
    assert expired(warehouse) == {STORE: {"addresses": 3}}
    rows = db.execute(
        "SELECT fr_number, ship_to_name, order_comment, status_reason FROM fba.fulfillment_request ORDER BY 1"
    )
    full = ("A Buyer", "for A Buyer", quoting)
    assert {number: tuple(rest) for number, *rest in rows} == {
        "FR-1": (None, None, "removed with the address"),
        "FR-2": (None, None, "not cancelled: removed with the address"),
        "FR-3": (None, None, "removed with the address"),
        "FR-4": full,
        "NEW": full,
    }
    descriptions = dict(db.execute("SELECT fr_number, description FROM fba.feed_message").fetchall())
    assert descriptions == {"FR-1": None, "FR-2": None, "NEW": quoting}
    assert left(db, "result_code", "feed_message") == {"Error"}
    assert expired(warehouse) == {}


@pytest.mark.parametrize(
    ("status", "gone"), [("accepted", True), ("rejected", True), ("sending", False), ("pending", False)]
)
def test_a_gift_message_goes_with_the_address(db, warehouse, status, gone):
    request(db, "FR-1", status, 2 if status != "pending" else 0, **ADDRESS)
    db.execute("SET session_replication_role = replica")
    db.execute("UPDATE fba.fulfillment_request_item SET gift_message = 'Happy birthday, Wilhelmina'")
    if status != "pending":
        db.execute("UPDATE fba.fulfillment_request SET resolved_at = now() - interval '40 days'")
    db.execute("RESET session_replication_role")
    expired(warehouse)
    assert left(db, "gift_message", "fulfillment_request_item") == ({None} if gone else {"Happy birthday, Wilhelmina"})


def test_nobody_else_empties_the_gift_message_of_an_order_at_amazon(db, warehouse_url):
    request(db, "FR-1", "accepted", 0, **ADDRESS)
    with (
        psycopg.connect(warehouse_url) as other,
        pytest.raises(psycopg.errors.RaiseException, match="items are frozen"),
    ):
        other.execute("UPDATE fba.fulfillment_request_item SET gift_message = NULL")


def test_orders_and_quotes_go_with_their_request_and_open_ones_never(db, remove):
    for number in ("FR-1", "FR-2"):
        request(db, number)
        db.execute(
            "INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint,"
            " features, held, content_digest, settled_at) VALUES (gen_random_uuid(), gen_random_uuid(), 'r', %s, %s, 'S', 'M', 'E',"
            " '{}', false, '', %s)",
            (STORE, number, "2020-01-01" if number == "FR-1" else None),
        )
        db.execute(
            "INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable) VALUES (%s, %s, 'Standard', now(), true)",
            (STORE, number),
        )
    assert remove() == {STORE: {"closed requests": 1}}
    assert left(db, "fr_number", "outbound_order") == left(db, "fr_number", "fulfillment_quote") == {"FR-2"}


def test_a_reason_written_when_the_address_was_gone_can_be_read_for_the_same_time(db, warehouse):
    request(db, "FR-1", "invalid", 0, created_at="2020-01-01")
    db.execute("UPDATE fba.fulfillment_request SET status_reason = 'ship_to_name is missing'")
    assert expired(warehouse) == {}
    db.execute("UPDATE fba.fulfillment_request SET resolved_at = now() - interval '31 days'")
    assert expired(warehouse) == {STORE: {"addresses": 1}}


@pytest.mark.parametrize("status", ["sending", "submitted", "unknown", "accepted", "cancelled"])
def test_only_the_product_empties_a_comment_and_not_while_it_is_being_sent(db, warehouse_url, status):
    request(db, "FR-1", status, **ADDRESS)
    empty = b"UPDATE fba.fulfillment_request SET order_comment = NULL"
    with (
        psycopg.connect(warehouse_url, autocommit=True) as other,
        pytest.raises(psycopg.errors.RaiseException, match=r"frozen \(order_comment\)"),
    ):
        other.execute(empty)
    with pytest.raises(psycopg.errors.RaiseException, match=r"frozen \(order_comment\)"):
        db.execute("UPDATE fba.fulfillment_request SET order_comment = 'another'")
    if status == "sending":
        with pytest.raises(psycopg.errors.RaiseException, match=r"frozen \(order_comment\)"):
            db.execute(empty)
    else:
        db.execute(empty)


# Cost


def plan(db, kind, **values):
    query = retention.removal_of(*retention.KINDS[kind])
    return "\n".join(row for (row,) in db.execute(b"EXPLAIN " + query.as_bytes(db), values))


@pytest.mark.parametrize(
    ("kind", "index"),
    [
        ("closed requests", "fulfillment_request_by_age"),
        ("feeds", "feed_by_age"),
        ("shipments", "shipments_by_age"),
        ("reports", "report_by_age"),
        ("runs", "run_by_age"),
        ("changes of stock", "stock_change_by_time"),
        ("breakdowns of stock", "stock_breakdown_by_age"),
        ("addresses", "fulfillment_request_personal"),
        ("processing reports", "feed_with_document"),
    ],
)
def test_what_is_old_is_found_by_an_index(db, kind, index):
    """In every run: a search of millions of rows that have nothing to remove would cost more than the run's work."""
    for number in range(300):
        feed(db, f"F{number}", [], YOUNG)
    if kind == "closed requests":  # or, of a table that was analysed when it was empty, another index is as good
        for number in range(100):
            request(db, f"FR-{number}", months=YOUNG)
    db.execute("ANALYZE fba.feed, fba.fulfillment_request")
    db.execute("SET enable_seqscan = off")
    found = plan(db, kind, **Retention().model_dump())
    bounded = "" if kind == "addresses" else r"[^\n]*\n *(Recheck Cond[^\n]*\n[^\n]*\n *)?Index Cond"
    assert re.search(rf"(Index Scan using|Bitmap Index Scan on) {index}{bounded}", found), found
