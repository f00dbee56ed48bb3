"""How long stock lasts: units sold a day that one large order does not bend, and what is not known is no number."""

from __future__ import annotations

from decimal import Decimal
from itertools import count

import pytest

from fba_operators.operators import SummariseInventoryOperator
from tests.helpers import context
from tests.shipping import add_request
from tests.stores import SHIPMENTS_REPORT, STORE

keys = count(1)


@pytest.fixture
def db(sql):
    sql("INSERT INTO fba.store (store, max_stock_age_hours) VALUES (%s, 6)", STORE)
    return sql


def stock(db, sku="A", fba=10, fbm=0):
    db(
        "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
        " VALUES (%s, %s, %s, %s, %s, 'afn_report')",
        *(STORE, sku, fba, fbm, fba + fbm),
    )


def sold(db, units, days_ago, sku="A", number=None):
    db(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, ship_date)"
        " VALUES (%s, %s, 'O', %s, %s, %s, now() - make_interval(secs => 86400 * %s::float))",
        *(STORE, f"K{next(keys)}", number, sku, units, days_ago),
    )


def outlook(db, sku="A", columns="fba_units, units_a_day, days_of_cover"):
    return db(f"SELECT {columns} FROM fba.stock_outlook WHERE sku = %s", sku).fetchone()


def a_day(db, sku="A"):
    return float(outlook(db, sku, "units_a_day")[0])


def attention(db):
    return {
        code: (number, remedy)
        for code, number, remedy in db(
            "SELECT code, number, remedy FROM fba.needs_attention WHERE right(code, 6) = '_stock' AND store = %s", STORE
        )
    }


def test_the_same_every_day(db):
    stock(db, fba=30)
    for day in range(28):
        sold(db, 2, day)
    assert outlook(db) == (30, Decimal("2.000"), Decimal("15.0"))


@pytest.mark.parametrize("days", [[3], [3, 4]], ids=["in a day", "in two days of a week"])
def test_one_large_order_is_no_trend(db, days):
    stock(db)
    for day in range(28):
        sold(db, 5, day + 0.5)
    for day in days:
        sold(db, 500, day)
    assert a_day(db) == pytest.approx((3 * 35 + 70) / 28, abs=0.01)


def test_a_trend_counts_as_it_is(db):
    stock(db)
    for week, units in enumerate((80, 40, 20, 10)):
        sold(db, units, 7 * week + 3)
    sold(db, 0, 27.9)
    assert a_day(db) == pytest.approx(150 / 28, abs=0.05)


def test_a_single_large_order_of_a_sku_that_never_sells_counts_as_one_unit(db):
    stock(db)
    stock(db, "B")
    sold(db, 500, 3)
    for day in range(28):
        sold(db, 1, day, "B")
    assert a_day(db) == pytest.approx(1 / 28, abs=0.001)


def test_a_store_that_has_just_begun_counts_from_its_first_sale_but_at_least_a_week(db):
    stock(db)
    sold(db, 1, 0)
    sold(db, 6, 2)
    assert a_day(db) == pytest.approx(1, abs=0.01)
    sold(db, 7, 13)
    assert a_day(db) == pytest.approx(1, abs=0.01)


def test_the_days_that_reports_cover_count_also_without_a_sale(db):
    stock(db)
    sold(db, 14, 1)
    sold(db, 14, 8)
    db(
        "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at,"
        " data_start, data_end) VALUES (gen_random_uuid(), %s, 'S', %s, 'M', 'DONE', now(), now(), now() - interval '28 days', now())",
        *(STORE, SHIPMENTS_REPORT),
    )
    assert a_day(db) == pytest.approx(1, abs=0.01)


def test_a_store_without_shipments_has_no_pace_instead_of_zero(db):
    stock(db)
    assert outlook(db) == (10, None, None)
    sold(db, 5, 100)
    assert outlook(db) == (10, None, None)
    assert attention(db) == {}


def test_units_of_requests_count_once_and_until_they_are_shipped(db):
    stock(db, fba=100)
    sold(db, 0, 27.99)
    add_request(db, "FR-1", ("A", 14), status="pending")
    add_request(db, "FR-2", ("A", 14), status="accepted")
    db("UPDATE fba.fulfillment_request SET created_at = now() - interval '8 days' WHERE fr_number = 'FR-1'")
    assert a_day(db) == pytest.approx(1, abs=0.01)
    sold(db, 10, 0, number="FR-2")
    assert a_day(db) == pytest.approx(1, abs=0.01)
    db("SET fba.writer = 'product'")
    db("UPDATE fba.fulfillment_request SET status = 'cancelled' WHERE fr_number = 'FR-2'")
    assert a_day(db) == pytest.approx(24 / 28, abs=0.01)


def test_what_is_promised_and_merchant_fulfilled_stock_is_no_cover(db):
    stock(db, fba=20, fbm=1000)
    for day in range(28):
        sold(db, 1, day)
    add_request(db, "FR-1", ("A", 6), status="pending", created_at="2026-01-01")
    assert outlook(db) == (14, Decimal("1.000"), Decimal("14.0"))


def test_low_and_out_of_stock_are_told_with_what_is_inbound(db):
    for sku, fba in {"LOW": 5, "OUT": 0, "ENOUGH": 50, "DEAD": 0}.items():
        stock(db, sku, fba)
        for day in range(28):
            if sku != "DEAD":
                sold(db, 1, day, sku)
    assert {code: number for code, (number, _) in attention(db).items()} == {"out_of_stock": 1}
    db("UPDATE fba.store SET low_stock_days = 14")
    told = attention(db)
    assert {code: number for code, (number, _) in told.items()} == {"low_stock": 1, "out_of_stock": 1}
    assert "What is inbound is not known" in told["low_stock"][1]
    db(
        "INSERT INTO fba.stock_breakdown (store, sku, inbound_working, inbound_shipped, inbound_receiving, as_of)"
        " VALUES (%s, 'LOW', 1, 2, 4, now()), (%s, 'OUT', 0, 0, 0, now())",
        *(STORE, STORE),
    )
    assert outlook(db, "LOW", "inbound") == (7,)
    assert [remedy.partition(". ")[2] for _, remedy in attention(db).values()] == [
        "1 of them have units inbound.",
        "0 of them have units inbound.",
    ]


def test_a_run_counts_them_where_the_store_wants_to_be_told(db):
    stock(db, fba=0)
    for day in range(28):
        sold(db, 1, day)
    for days, counts in ((None, {}), (14, {"out_of_stock": 1})):
        db("UPDATE fba.store SET low_stock_days = %s", days)
        db(
            "INSERT INTO fba.run (dag_id, run_id, store, outcome, finished_at) VALUES ('adhoc_airflow', %s, %s, 'success', now())",
            f"r{days}",
            STORE,
        )
        summarise = SummariseInventoryOperator(task_id="summarise", stores=[STORE])
        summarise.execute(context(f"r{days}"))
        assert db("SELECT attention FROM fba.run WHERE run_id = %s", f"r{days}").fetchone() == (counts,)
