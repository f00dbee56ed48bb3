"""Every change of the pool is in its history, whoever made it; the pool as it was at any moment can be had back."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.stores import STORE

SOURCES = ["afn_report", "listings_report", "fba_api", "default_zero"]
numbers = count(1)


@pytest.fixture
def db(warehouse_url):
    with psycopg.connect(warehouse_url, autocommit=True) as connection:
        yield connection


def put(db, sku, fba, fbm=0, source="afn_report", store=STORE, reports=("A1", "L1")):
    db.execute(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source,"
        " afn_report_id, listings_report_id) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)"
        " ON CONFLICT (store, sku) DO UPDATE SET fba_quantity = excluded.fba_quantity, fbm_quantity = excluded.fbm_quantity,"
        " quantity = excluded.quantity, quantity_source = excluded.quantity_source, afn_report_id = excluded.afn_report_id,"
        " listings_report_id = excluded.listings_report_id",
        (store, sku, fba, fbm, fba + fbm, source, *reports),
    )


def changes(db, sku="A"):
    return db.execute(
        "SELECT quantity_before, quantity, quantity_source_before, quantity_source, afn_report_id FROM fba.stock_change"
        " WHERE store = %s AND sku = %s ORDER BY at",
        (STORE, sku),
    ).fetchall()


def now(db):
    return db.execute("SELECT clock_timestamp()").fetchone()[0]


def at(db, moment, store=STORE):
    rows = db.execute("SELECT * FROM fba.stock_at(%s, %s)", (store, moment)).fetchall()
    return {sku: tuple(values) for sku, *values in rows}


def test_a_run_writes_the_changes_of_its_skus_and_the_reports_that_said_so(shop):
    shop.serve([("A", None, "AMAZON_NA"), ("B", None, "AMAZON_NA")], [("A", 5, "SELLABLE"), ("B", 3, "SELLABLE")])
    shop.run()
    before = now(shop.db)
    shop.later()
    shop.serve([("A", None, "AMAZON_NA"), ("B", None, "AMAZON_NA")], [("A", 0, "SELLABLE"), ("B", 3, "SELLABLE")])
    shop.run()
    (afn_report,) = shop.db.execute("SELECT afn_report_id FROM fba.global_inventory_pool WHERE sku = 'A'").fetchone()
    first, second = changes(shop.db)
    assert first[:4] == (None, 5, None, "afn_report")
    assert second == (5, 0, "afn_report", "afn_report", afn_report)
    assert len(changes(shop.db, "B")) == 1
    assert at(shop.db, before) == {"A": (5, 5, 0, "afn_report"), "B": (3, 3, 0, "afn_report")}


def test_a_run_that_is_refused_leaves_no_history(shop):
    skus = [f"S{n}" for n in range(20)]
    shop.serve([(sku, None, "AMAZON_NA") for sku in skus], [(sku, 5, "SELLABLE") for sku in skus])
    shop.run()
    shop.later()
    shop.serve([(sku, None, "AMAZON_NA") for sku in skus], [(sku, 0, "SELLABLE") for sku in skus])
    with pytest.raises(Exception, match="would drop to 0"):
        shop.run()
    assert shop.db.execute("SELECT count(*) FROM fba.stock_change").fetchone() == (20,)


def test_what_is_done_by_hand_is_in_the_history_too(db):
    put(db, "A", 5)
    db.execute("UPDATE fba.global_inventory_pool SET quantity = 4 WHERE sku = 'A'")
    db.execute("UPDATE fba.global_inventory_pool SET title = 'Another', afn_report_id = 'A2' WHERE sku = 'A'")
    db.execute("UPDATE fba.global_inventory_pool SET sku = 'B' WHERE sku = 'A'")
    put(db, "A", 9)
    db.execute("DELETE FROM fba.global_inventory_pool WHERE sku = 'A'")
    whole = now(db)
    db.execute("TRUNCATE fba.global_inventory_pool")
    assert [row[:2] for row in changes(db)] == [(None, 5), (5, 4), (4, None), (None, 9), (9, None)]
    assert [row[:2] for row in changes(db, "B")] == [(None, 4), (4, None)]
    assert at(db, whole) == {"B": (4, 5, 0, "afn_report")}
    assert at(db, now(db)) == {}


def test_what_is_rolled_back_is_not_in_the_history(db):
    with db.transaction(force_rollback=True):
        put(db, "A", 5)
        assert len(changes(db)) == 1
    assert changes(db) == []


def test_two_changes_in_the_same_microsecond_are_one(db):
    """As when the clock is set back onto a moment that was there already: the load must not fail because of that."""
    put(db, "A", 5)
    db.execute("DELETE FROM fba.stock_change")
    db.execute(
        "CREATE TEMPORARY TABLE due AS SELECT clock_timestamp() + interval '3 seconds' AS at;"
        "INSERT INTO fba.stock_change (store, sku, at, quantity_before, quantity)"
        " SELECT %s, 'A', due.at + n * interval '1 microsecond', 1, 2 FROM due, generate_series(0, 150000) AS n".replace(
            "%s", f"'{STORE}'"
        )
    )
    db.execute(
        "DO $$ BEGIN PERFORM pg_sleep_until(at + interval '10 ms') FROM due;"
        " UPDATE fba.global_inventory_pool SET quantity = 7; END $$"
    )
    assert db.execute("SELECT quantity_before, quantity FROM fba.stock_change WHERE quantity = 7").fetchall() == [
        (1, 7)
    ]


def test_what_was_before_the_history_is_an_error_and_no_empty_pool(db):
    put(db, "A", 5)
    (begins_at,) = db.execute("SELECT begins_at FROM fba.stock_history").fetchone()
    assert at(db, begins_at) == {}
    for moment in (begins_at - timedelta(seconds=1), now(db) + timedelta(hours=1), None):
        with pytest.raises(psycopg.errors.RaiseException, match="is not known: its history begins at"):
            at(db, moment)


def test_other_stores_are_left_out(db):
    put(db, "A", 5, store="other")
    before = now(db)
    put(db, "A", 6)
    put(db, "A", 7, store="other")
    assert at(db, before) == {}
    assert at(db, before, "other") == {"A": (5, 5, 0, "afn_report")}


SKU = st.sampled_from("ABCDE")
STEP = st.one_of(
    st.tuples(st.just("put"), SKU, st.integers(0, 3), st.integers(0, 1), st.sampled_from(SOURCES)),
    st.tuples(st.just("delete"), SKU),
    st.tuples(st.just("rename"), SKU, SKU),
    st.just(("all",)),
    st.just(("truncate",)),
)


def apply(db, model, store, step):
    """Make a step in the database and in the model, a dict of what the pool holds."""
    match step:
        case ("put", sku, fba, fbm, source):
            put(db, sku, fba, fbm, source, store)
            model[sku] = (fba + fbm, fba, fbm, source)
        case ("delete", sku):
            db.execute("DELETE FROM fba.global_inventory_pool WHERE store = %s AND sku = %s", (store, sku))
            model.pop(sku, None)
        case ("rename", old, new) if new not in model and old in model:
            db.execute("UPDATE fba.global_inventory_pool SET sku = %s WHERE store = %s AND sku = %s", (new, store, old))
            model[new] = model.pop(old)
        case ("all",):
            db.execute(
                "UPDATE fba.global_inventory_pool SET quantity = quantity + 1, fba_quantity = fba_quantity + 1 WHERE store = %s",
                (store,),
            )
            model.update({sku: (q + 1, fba + 1, fbm, source) for sku, (q, fba, fbm, source) in model.items()})
        case ("truncate",):
            db.execute("TRUNCATE fba.global_inventory_pool")
            model.clear()


def test_the_pool_at_every_moment_is_what_a_model_says(db):
    @given(st.lists(st.lists(STEP, max_size=3), max_size=12))
    @settings(max_examples=60)
    def check(transactions):
        store = f"store_{next(numbers)}"
        model, moments = {}, [(now(db), {})]
        for steps in transactions:
            with db.transaction():
                for step in steps:
                    apply(db, model, store, step)
            moments.append((now(db), dict(model)))
        for moment, was in moments:
            assert at(db, moment, store) == was

    check()
