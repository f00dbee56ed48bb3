"""What may be offered elsewhere is right at every moment of a send, and units that are promised are promised once."""

from __future__ import annotations

import psycopg
import pytest

from fba_operators.operators import PrepareRunOperator, SubmitFeedOperator, UploadFeedOperator
from tests.helpers import as_product, context
from tests.sending import GOOD
from tests.stores import AFN, LISTINGS, STORE


@pytest.fixture
def db(warehouse_url):
    with psycopg.connect(warehouse_url) as connection:
        as_product(connection)
        connection.autocommit = True
        yield connection


def available(db, sku="A"):
    """Quantity, promised, buffer and available of a SKU."""
    execute = db.execute if hasattr(db, "execute") else db.db.execute
    return execute(
        "SELECT quantity, promised, buffer, available FROM fba.available_to_sell WHERE store = %s AND sku = %s",
        (STORE, sku),
    ).fetchone()


def stock(db, sku="A", units=10, reports=(None, None), **columns):
    db.execute(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source,"
        " afn_report_id, listings_report_id) VALUES (%s, %s, %s, 0, %s, 'afn_report', %s, %s)",
        (STORE, sku, units, units, *reports),
    )


def pair(db, name, asked="0 minutes", *, applied=True):
    """A pair of reports that was asked for so long ago, and has just been applied."""
    for report_type, letter in ((AFN, "A"), (LISTINGS, "L")):
        db.execute(
            "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at)"
            " VALUES (gen_random_uuid(), %s, %s, %s, 'M', 'DONE', clock_timestamp() - %s::interval,"
            " CASE WHEN %s THEN clock_timestamp() END)",
            (STORE, f"{letter}{name}", report_type, asked, applied),
        )


def request(db, number="FR-1", units=3, *steps, sku="A", **columns):
    columns = {"store": STORE, "fr_number": number, **columns}
    names, marks = ", ".join(columns), ", ".join(["%s"] * len(columns))
    db.execute(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})", tuple(columns.values()))
    db.execute("INSERT INTO fba.fulfillment_request_item VALUES (%s, %s, 1, %s, %s)", (STORE, number, sku, units))
    for step in steps:
        move(db, step, number)


def move(db, status, number="FR-1"):
    db.execute("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", (status, number))


ACCEPTED = ("sending", "submitted", "accepted")
PATHS = {
    "pending": ((), 3),
    "invalid": (("invalid",), 0),
    "sending": (("sending",), 3),
    "submitted": (("sending", "submitted"), 3),
    "unknown": (("sending", "unknown"), 3),
    "accepted": (ACCEPTED, 3),
    "rejected": (("sending", "submitted", "rejected"), 0),
    "cancelled": (("sending", "unknown", "cancelled"), 0),
    "pending again": (("sending", "unknown", "pending"), 3),
    "corrected": (("invalid", "pending"), 3),
}


@pytest.mark.parametrize("path", PATHS)
def test_units_are_promised_in_these_states(db, path):
    steps, promised = PATHS[path]
    pair(db, 1)
    stock(db)
    request(db, "FR-1", 3, *steps)
    assert available(db) == (10, promised, 0, 10 - promised)


def test_at_every_moment_of_a_send_and_until_a_later_report(shop):
    """Asked before each task of a run, and after each kind of report."""
    shop.db.execute("UPDATE fba.global_inventory_pool SET quantity = 10, fba_quantity = 10")
    pair(shop.db, 1)
    assert available(shop, GOOD) == (10, 0, 0, 10)
    shop.add("FR-1", [(GOOD, 3)])
    held = (10, 3, 0, 7)
    assert available(shop, GOOD) == held
    pair(shop.db, 2)
    claim_id = shop.send(until="claim")
    assert shop.get("FR-1").status == "sending"
    assert available(shop, GOOD) == held
    for operator in (UploadFeedOperator, SubmitFeedOperator):
        task = operator(task_id="task", claim_id=claim_id)
        claim_id = shop.task(lambda task=task: task, shop.context())
        assert available(shop, GOOD) == held
    assert shop.get("FR-1").status == "submitted"
    pair(shop.db, "asked-meanwhile", applied=False)
    assert available(shop, GOOD) == held
    shop.pass_time(1)
    shop.send(until="settle")
    assert shop.get("FR-1").status == "accepted"
    assert available(shop, GOOD) == held
    shop.db.execute("UPDATE fba.report SET applied_at = clock_timestamp() WHERE report_id ~ 'meanwhile'")
    assert available(shop, GOOD) == held, "the report was asked for before Amazon had accepted it"
    shop.db.execute("UPDATE fba.fulfillment_request SET amazon_order_status = 'Processing'")
    pair(shop.db, "later")
    shop.db.execute("UPDATE fba.global_inventory_pool SET quantity = 7, fba_quantity = 7")
    assert available(shop, GOOD) == (7, 0, 0, 7)


def test_one_report_of_the_two_is_not_enough(db):
    stock(db)
    request(db, "FR-1", 3, *ACCEPTED)
    pair(db, 1)
    db.execute("UPDATE fba.report SET applied_at = NULL WHERE report_id = 'L1'")
    assert available(db) == (10, 3, 0, 7)
    db.execute("UPDATE fba.report SET applied_at = now()")
    assert available(db) == (10, 0, 0, 10)


def test_a_replay_of_older_reports_promises_again_what_they_do_not_know(db):
    pair(db, "old", "1 hour")
    stock(db, units=10)
    request(db, "FR-1", 3, *ACCEPTED)
    pair(db, "new")
    assert available(db)[1] == 0
    db.execute("UPDATE fba.report SET applied_at = clock_timestamp() WHERE report_id IN ('Aold', 'Lold')")
    assert available(db) == (10, 3, 0, 7)


HELD = (
    "INSERT INTO fba.applied_stock (store, listings_report_id, afn_report_id, rules_digest, edits, held, applied_at)"
    " VALUES (%s, 'Lnew', 'Anew', '', '{}', %s, clock_timestamp())"
)


@pytest.mark.parametrize("why", ["unconfirmed", "held"])
def test_a_sku_that_the_newest_reports_do_not_state_keeps_what_was_promised(db, why):
    """Its quantity is that of an earlier report, which may have been asked for before the request was accepted."""
    pair(db, "first", "1 hour")
    for sku in "AB":
        stock(db, sku, 10, ("Afirst", "Lfirst"))
        request(db, f"FR-{sku}", 3, *ACCEPTED, sku=sku)
    pair(db, "new")
    if why == "unconfirmed":
        db.execute("UPDATE fba.global_inventory_pool SET fba_unconfirmed_since = now() WHERE sku = 'A'")
    else:
        db.execute(HELD, (STORE, ["A"]))
    assert available(db) == (10, 3, 0, 7)
    assert available(db, "B") == (10, 0, 0, 10)
    db.execute("UPDATE fba.global_inventory_pool SET afn_report_id = 'Anew', listings_report_id = 'Lnew'")
    assert available(db) == (10, 0, 0, 10)


def test_where_more_skus_are_held_than_are_listed_any_may_be_one_of_them(db):
    pair(db, "first", "1 hour")
    stock(db, "A", 10, ("Afirst", "Lfirst"))
    request(db, "FR-A", 3, *ACCEPTED)
    pair(db, "new")
    db.execute(HELD, (STORE, None))
    assert available(db) == (10, 3, 0, 7)


def test_reports_of_a_clock_that_was_ahead_release_no_promise(db):
    pair(db, "of a day to come", "-3 hours")
    stock(db, units=10)
    request(db, "FR-1", 3, *ACCEPTED)
    assert available(db) == (10, 3, 0, 7)
    pair(db, "before it", "1 hour")
    db.execute("UPDATE fba.report SET applied_at = applied_at - interval '1 minute' WHERE report_id LIKE '%before it'")
    assert available(db) == (10, 3, 0, 7)
    pair(db, "new")
    assert available(db) == (10, 0, 0, 10)


@pytest.mark.parametrize("status", ["Unfulfillable", "UNFULFILLABLE", "Cancelled", "Invalid"])
def test_what_amazon_will_not_ship_is_not_promised(db, status):
    stock(db)
    request(db, "FR-1", 3, *ACCEPTED)
    db.execute("UPDATE fba.fulfillment_request SET amazon_order_status = %s", (status,))
    assert available(db) == (10, 0, 0, 10)


ADDRESS = {"ship_to_name": "J", "ship_to_address_1": "1 Main St"}


def test_a_request_and_its_resend_are_promised_once(db):
    stock(db)
    request(db, "FR-1", 3, "sending", "submitted", "rejected", **ADDRESS)
    assert available(db)[1] == 0
    second = db.execute("SELECT fba.resend(%s, 'FR-1')", (STORE,)).fetchone()[0]
    assert available(db)[1] == 3
    for step in ("sending", "submitted", "accepted"):
        move(db, step, second)
        assert available(db)[1] == 3
    move(db, "rejected", second)
    assert available(db)[1] == 0
    third = db.execute("SELECT fba.resend(%s, %s)", (STORE, second)).fetchone()[0]
    assert (second, third) == ("FR-1-2", "FR-1-3")
    assert available(db)[1] == 3
    move(db, "sending", third)
    move(db, "unknown", third)
    move(db, "cancelled", third)
    assert available(db)[1] == 0
    move(db, "pending", "FR-1")
    assert available(db)[1] == 3, "the copies are dead, so the first one is promised again"


def test_of_an_accepted_request_that_was_sent_again_only_the_copy_counts(db):
    stock(db)
    request(db, "FR-1", 3, *ACCEPTED)
    request(db, "FR-1-2", 3, resend_of="FR-1")
    assert available(db)[1] == 3
    request(db, "FR-1-3", 3, resend_of="FR-1")
    assert available(db)[1] == 3
    move(db, "invalid", "FR-1-3")
    assert available(db)[1] == 3


def test_it_is_never_negative_and_a_buffer_is_held_back(db):
    db.execute("INSERT INTO fba.store (store, max_stock_age_hours, buffer_units) VALUES (%s, 6, 2)", (STORE,))
    stock(db, "A", 10)
    stock(db, "B", 1)
    request(db, "FR-1", 3)
    request(db, "FR-2", 4)
    assert available(db) == (10, 7, 2, 1)
    request(db, "FR-3", 40)
    assert available(db) == (10, 47, 2, 0)
    assert available(db, "B") == (1, 0, 2, 0)


def test_the_buffer_is_that_of_stores_yaml(stores_file, db):
    stock(db)
    for settings, buffer in (("buffer_units: 4, low_stock_days: 7.5", 4), ("buffer_units: 1", 1)):
        stores_file(f"stores: {{{STORE}: {{inventory: {{{settings}}}}}}}")
        PrepareRunOperator(task_id="prepare").execute(context())
        assert available(db) == (10, 0, buffer, 10 - buffer)
    assert db.execute("SELECT low_stock_days FROM fba.store").fetchall() == [(None,)]


def test_requests_that_hold_units_are_named(db):
    stock(db)
    request(db, "FR-1", 3)
    request(db, "FR-2", 4, "sending")
    rows = db.execute("SELECT fr_number, units, status FROM fba.promised_units WHERE sku = 'A' ORDER BY 1").fetchall()
    assert rows == [("FR-1", 3, "pending"), ("FR-2", 4, "sending")]


def afn_line(db, sku, fnsku, line):
    db.execute(
        "INSERT INTO fba.amazon_afn_inventory_report (store, line_number, report_id, seller_sku, fulfillment_channel_sku)"
        " VALUES (%s, %s, 'A1', %s, %s)",
        (STORE, line, sku, fnsku),
    )


def test_skus_of_one_fnsku_are_named_beside_each_other_and_counted_once(db):
    for line, (sku, fnsku, units) in enumerate(
        [("A", "X1", 10), ("B", "X1", 10), ("C", "X1", 0), ("D", "X2", 5), ("D", "X2", 5), ("E", "", 4)], start=2
    ):
        if line != 6:
            stock(db, sku, units)
        afn_line(db, sku, fnsku, line)
    stock(db, "F", 3)
    request(db, "FR-1", 2, sku="A")
    request(db, "FR-2", 1, sku="B")
    shared = dict(db.execute("SELECT sku, shares_fnsku_with FROM fba.available_to_sell").fetchall())
    assert shared == {"A": ["B", "C"], "B": ["A", "C"], "C": ["A", "B"], "D": [], "E": [], "F": []}
    rows = db.execute(
        "SELECT fnsku, skus, quantity, promised, available FROM fba.available_by_fnsku ORDER BY skus"
    ).fetchall()
    assert rows == [
        ("X1", ["A", "B", "C"], 10, 3, 7),
        ("X2", ["D"], 5, 0, 5),
        (None, ["E"], 4, 0, 4),
        (None, ["F"], 3, 0, 3),
    ]
