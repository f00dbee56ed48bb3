"""What a run keeps so that others need not work it out: conflicts, sums of stock, how long stock lasts, what is wholly shipped."""

from __future__ import annotations

import pytest

from fba_operators.operators import SummariseInventoryOperator
from fba_operators.warehouse.database import Warehouse
from tests.helpers import as_product, context
from tests.stores import STORE


@pytest.fixture
def db(sql):
    sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES (%s, 6)", STORE)
    return sql


def put(db, sku, quantity):
    db(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES (%s, %s, %s, 0, %s, 'afn_report')",
        *(STORE, sku, quantity, quantity),
    )


def total(db):
    return db("SELECT sum(units), sum(skus_in_stock) FROM fba.stock_total_change WHERE store = %s", STORE).fetchone()


def test_the_sum_of_all_changes_is_what_there_is(db):
    for sku, quantity in (("A", 5), ("B", 0), ("C", 7)):
        put(db, sku, quantity)
    assert total(db) == (12, 2)
    db("UPDATE fba.global_inventory_pool SET quantity = 1 WHERE sku IN ('A', 'B')")
    assert total(db) == (9, 3)
    db("UPDATE fba.global_inventory_pool SET title = 'x'")
    db("DELETE FROM fba.global_inventory_pool WHERE sku = 'C'")
    assert total(db) == (2, 2)
    db("TRUNCATE fba.global_inventory_pool")
    assert total(db) == (0, 0)
    assert db("SELECT count(*) FROM fba.stock_total_change WHERE units = 0 AND skus_in_stock = 0").fetchone() == (0,)


def test_old_sums_become_one(db, warehouse):
    from fba_operators.runs.retention import remove_expired
    from fba_operators.settings.models import Retention

    for months, units in ((30, 5), (25, -2), (20, 4), (1, 1)):
        db(
            "INSERT INTO fba.stock_total_change (store, at, units, skus_in_stock)"
            " VALUES (%s, now() - make_interval(months => %s), %s, 1)",
            *(STORE, months, units),
        )
    for _ in range(2):
        remove_expired(warehouse, Retention())
        assert db("SELECT units, skus_in_stock FROM fba.stock_total_change ORDER BY at").fetchall() == [(7, 3), (1, 1)]


def summarise(db):
    db(
        "INSERT INTO fba.run (dag_id, run_id, store) VALUES ('fba_get_inventory', 'run-1', %s) ON CONFLICT DO NOTHING",
        STORE,
    )
    operator = SummariseInventoryOperator(task_id="summarise", stores=[STORE])
    with Warehouse().connect() as session:
        operator.check(session, context("run-1"))


def test_how_long_stock_lasts_is_kept_by_a_run_and_goes_with_the_sales(db):
    put(db, "A", 28)
    put(db, "B", 3)
    db(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, sku, quantity, ship_date)"
        " SELECT %s, n::text, 'O', 'A', 1, now() - make_interval(hours => n * 24 - 12) FROM generate_series(1, 28) AS n",
        STORE,
    )
    summarise(db)
    kept = "SELECT sku, fba_units, round(units_a_day, 1)::text, round(days_of_cover)::int FROM fba.stock_cover"
    assert db(kept).fetchall() == [("A", 28, "1.0", 28)]
    db("UPDATE fba.shipment_item SET ship_date = ship_date - interval '90 days'")
    summarise(db)
    assert db(kept).fetchall() == []


@pytest.fixture
def shipped(db, warehouse_url):
    """A request for two units of which both have left, as the report says."""
    import psycopg

    with psycopg.connect(warehouse_url) as product:
        as_product(product)
        product.execute(
            "INSERT INTO fba.fulfillment_request (store, fr_number, created_at) VALUES (%s, 'FR-1', now() - interval '9 days')",
            (STORE,),
        )
        product.execute(
            "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, 'FR-1', 1, 'A', 2)",
            (STORE,),
        )
        for status in ("sending", "submitted", "accepted"):
            product.execute("UPDATE fba.fulfillment_request SET status = %s", (status,))
        product.execute(
            "UPDATE fba.fulfillment_request SET amazon_order_asked_at = now(), sent_at = now() - interval '9 days'"
        )
        product.execute(
            "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, tracking_number, ship_date)"
            " VALUES (%s, 'K', 'O', 'FR-1', 'A', 2, 'T1', now())",
            (STORE,),
        )
        product.execute(
            "INSERT INTO fba.package (store, fr_number, package_key, tracking_number, status, ship_date)"
            " VALUES (%s, 'FR-1', 'T1', 'T1', 'IN_TRANSIT', now())",
            (STORE,),
        )
    return db


def kept(db):
    return db("SELECT count(*) FROM fba.wholly_shipped").fetchone()[0]


def overdue(db):
    return db("SELECT count(*) FROM fba.needs_attention WHERE code = 'overdue'").fetchone()[0]


@pytest.mark.parametrize(
    ("change", "forgotten"),
    [
        ("UPDATE fba.shipment_item SET quantity = 1", True),
        ("UPDATE fba.shipment_item SET sku = 'B'", True),
        ("DELETE FROM fba.shipment_item", True),
        ("UPDATE fba.package SET tracking_number = 'T2'", True),
        ("UPDATE fba.package SET status = 'DELIVERED', delivered_at = now()", False),
        ("UPDATE fba.shipment_item SET carrier = 'UPS'", False),
    ],
)
def test_what_is_wholly_shipped_is_kept_until_that_could_change(shipped, change, forgotten):
    summarise(shipped)
    assert (kept(shipped), overdue(shipped)) == (1, 0)
    shipped(change)
    assert kept(shipped) == (0 if forgotten else 1)
    units = shipped("SELECT sum(open) FROM fba.fulfillment_progress").fetchone()[0]
    assert overdue(shipped) == (1 if units else 0)


def test_what_is_still_open_is_not_kept(shipped):
    shipped("UPDATE fba.shipment_item SET quantity = 1")
    summarise(shipped)
    assert (kept(shipped), overdue(shipped)) == (0, 1)


def test_a_parcel_of_a_copy_opens_both(shipped):
    shipped("SET fba.writer = 'product'")
    shipped("INSERT INTO fba.fulfillment_request (store, fr_number, resend_of) VALUES (%s, 'FR-1-2', 'FR-1')", STORE)
    shipped("UPDATE fba.shipment_item SET fr_number = 'FR-1-2'")
    summarise(shipped)
    assert kept(shipped) == 1
    shipped("DELETE FROM fba.shipment_item")
    assert kept(shipped) == 0


def test_skus_whose_listings_contradict_each_other_are_kept(amazon, warehouse, sql):
    from sandbox.world.world import DEFAULT_MERCHANT
    from tests.stock import merge
    from tests.stores import US

    def put_item(sku, *quantities):
        offers = [("DEFAULT", quantity) for quantity in quantities]
        amazon.world.put_item(DEFAULT_MERCHANT.seller_id, US, sku, offers=offers)

    names = "SELECT sku FROM fba.conflicting_sku WHERE sku LIKE 'MINE-%'"
    put_item("MINE-1", 3, 5)
    put_item("MINE-2", 4, 4)
    merge(include_fbm_quantity=True)
    assert sql(names).fetchall() == [("MINE-1",)]
