"""Which SKUs of the pool are named when a request has one that is not there."""

from __future__ import annotations

import string
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from fba_operators.fulfillment.near_skus import LOOKED_UP, nearest, spellings, worth_a_look
from fba_operators.warehouse.statements import statement
from tests.stores import STORE, US


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("sku-red-m", "SKU-RED-M"),
        ("SKU-RED-M", "sku-red-m"),
        ("sku-red-m", "Sku-Red-M"),
        (" SKU-1 ", "SKU-1"),
        ("SKU 1", "SKU-1"),
        ("SKU  1", "SKU 1"),
        ("S K U 1", "SKU1"),
        ("SKU-1", "SKU-1 "),
        ("SKU-RED-M", "SKU_RED_M"),
        ("SKUREDM", "SKU-REDM"),
        ("SKU-OO1", "SKU-001"),
        ("SKU-001", "SKU-OO1"),
        ("SKU-l1l", "SKU-111"),
        ("SKU-I1", "SKU-l1"),
        ("sku-oo1", "SKU-001"),
        ("SKU-RED-N", "SKU-RED-M"),
        ("SKU-RD-M", "SKU-RED-M"),
        ("SKU-REED-M", "SKU-RED-M"),
        ("SKU-ERD-M", "SKU-RED-M"),
        ("ЖУК-1", "ЖУК-2"),
    ],
)
def test_other_case_blanks_look_alikes_and_slips_are_found(written, meant):
    assert meant in spellings(written)
    assert nearest(written, ["OTHER", meant, written]) == (meant,)


letters = st.sampled_from(string.ascii_uppercase + string.digits + "-_")


@given(
    st.text(letters, min_size=5, max_size=40), letters, st.integers(0, 39), st.sampled_from(["more", "less", "other"])
)
def test_any_slip_of_one_character_is_found(meant, character, place, kind):
    place %= len(meant)
    written = meant[:place] + ("" if kind == "less" else character) + meant[place + (kind != "more") :]
    assume(written != meant and not set(string.ascii_uppercase).isdisjoint(written))
    assert meant in spellings(written)


@given(st.text(max_size=40), st.lists(st.text(max_size=40), max_size=6))
def test_whatever_is_written_at_most_three_others_are_named(written, others):
    found = nearest(written, others)
    assert len(found) == len(set(found)) <= 3
    assert set(found) <= set(others) - {written}
    assert not {"", written} & set(spellings(written))


def test_the_most_alike_come_first():
    assert nearest("SKU-1O", ["SKU-12", "SKU-10", "SKU-11", "SKU-13", "XYZ"]) == ("SKU-10", "SKU-13", "SKU-12")


def test_few_skus_are_looked_up_and_none_that_could_be_no_sku():
    assert worth_a_look(["", " ", "x" * 41, "a\nb", "A"]) == ["A"]
    assert len(worth_a_look(map(str, range(1000)))) == LOOKED_UP
    assert len(spellings("x" * 20 + "Y" * 20)) < 10_000


# In the warehouse


def test_a_waiting_and_then_invalid_request_names_what_was_meant(shop):
    for sku in ("SKU-RED-M", "iPhone-CASE", "BLUE"):
        shop.stock(sku, 5)
    shop.sql("UPDATE fba.global_inventory_pool SET store = 'other_store' WHERE sku = 'BLUE'")
    shop.add("FR-1", [("SKU-RED-M", 1), ("sku-red-m ", 1), ("NOTHING-LIKE-IT", 1), ("blue", 1)])
    shop.send()
    named = "SKU NOTHING-LIKE-IT, blue, 'sku-red-m ' (did you mean 'SKU-RED-M'?)"
    assert sorted(shop.get("FR-1").waiting_reason) == sorted(f"{named}: not in the pool yet")
    for report_type in ("GET_MERCHANT_LISTINGS_ALL_DATA", "GET_AFN_INVENTORY_DATA"):
        shop.sql(
            "INSERT INTO fba.report (request_id, store, report_type, marketplace_id, requested_at, applied_at)"
            " VALUES (gen_random_uuid(), %s, %s, %s, %s, now())",
            *(STORE, report_type, US, datetime.now(UTC) + timedelta(seconds=1)),
        )
    shop.send()
    assert shop.get("FR-1").status == "invalid"
    assert "'sku-red-m ' (did you mean 'SKU-RED-M'?)" in shop.get("FR-1").status_reason


def test_a_pool_of_any_size_is_searched_by_its_primary_key(warehouse, warehouse_url):
    with psycopg.connect(warehouse_url, autocommit=True) as db:
        db.execute(
            "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
            " SELECT store, 'SKU-' || lpad(n::text, 7, '0'), 1, 0, 1, 'afn_report'"
            " FROM generate_series(1, 20000) AS n, unnest(ARRAY[%s, 'other_store']) AS store",
            [STORE],
        )
        db.execute("ANALYZE fba.global_inventory_pool")
        skus = [f"sku-{n:07}" for n in range(LOOKED_UP)]
        values = {"store": STORE, "skus": skus, "spellings": ["\n".join(spellings(sku)) for sku in skus]}
        query = b"EXPLAIN (ANALYZE, FORMAT JSON) " + statement("fulfillment.near_skus")
        [[[plan]]] = db.execute(query, values).fetchall()
    steps = [step for step in _steps(plan["Plan"]) if step.get("Relation Name") == "global_inventory_pool"]
    assert len(steps) == 3
    assert {step["Index Name"] for step in steps} == {"global_inventory_pool_pkey"}
    assert max(step["Actual Rows"] for step in steps) <= 200


def _steps(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from _steps(part)
