"""Rate limits: the buckets that all tasks of a seller share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import psycopg
import pytest

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.operations import CREATE_REPORT
from fba_operators.errors import (
    ThrottledError,
)
from tests.helpers import calls_of
from tests.stores import AFN, LISTINGS


def test_calls_of_a_shared_bucket_never_exceed_it(amazon, warehouse):
    hooks = [SellingPartnerHook() for _ in range(3)]
    for number in range(15):
        hooks[number % 3].create_report(LISTINGS)
    for _ in range(2):
        with pytest.raises(ThrottledError) as caught:
            hooks[0].create_report(LISTINGS)
        assert timedelta(seconds=40) < caught.value.until - datetime.now(UTC) < timedelta(seconds=61)
    assert calls_of(amazon, "createReport") == 15


def test_stores_that_request_stock_at_once_share_amazons_rate(amazon, warehouse):
    """Otherwise each would be throttled, fail before its end and start again; with a long list, without end."""

    def request_stock(_):
        for _ in range(3):
            SellingPartnerHook().get_inventory_summaries(["A", "B"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(request_stock, range(4)))
    answers = amazon.world.calls()["outcomes"]["getInventorySummaries"]
    assert answers["200"] == 12
    assert answers.get("429", 0) < 3  # calls may overtake each other on the network


def test_amazons_429_empties_the_bucket(amazon, warehouse):
    amazon.world.add_fault(operation="createReport", fault="429")
    with pytest.raises(ThrottledError) as caught:
        SellingPartnerHook().create_report(AFN)
    assert caught.value.until - datetime.now(UTC) > timedelta(seconds=40)
    with pytest.raises(ThrottledError):
        SellingPartnerHook().create_report(AFN)
    assert calls_of(amazon, "createReport") == 1


def test_amazon_may_grant_another_rate(amazon, warehouse, warehouse_url):
    amazon.world.set_clock(speed=60)
    SellingPartnerHook().create_report(AFN)
    with psycopg.connect(warehouse_url) as db:
        ((rate,),) = db.execute("SELECT rate FROM fba.rate_limit").fetchall()
    assert rate == pytest.approx(0.0167 * 60)


@pytest.mark.parametrize(
    ("told", "rate"), [("0.000000001", 0.0167 / 100), ("999999999", 1.67), ("0", 0.0167), ("x", 0.0167)]
)
def test_a_rate_that_cannot_be_is_not_believed(amazon, warehouse, sql, told, rate):
    response = SimpleNamespace(headers={"x-amzn-RateLimit-Limit": told})
    hook = SellingPartnerHook()
    hook.client.quota.take(CREATE_REPORT)
    hook.client.quota.learn(CREATE_REPORT, response)
    assert sql("SELECT rate FROM fba.rate_limit").fetchone() == (pytest.approx(rate),)


@pytest.mark.parametrize(
    "odd", ["rate = 1e-12", "refilled_at = now() + interval '3 years'", "tokens = -1e9", "rate = 0.0000167"]
)
def test_no_wait_is_longer_than_a_bucket_takes_to_fill(amazon, warehouse, sql, odd):
    """Whatever the table holds: the task looks again after 15 minutes at most, and then goes on."""
    hook = SellingPartnerHook()
    hook.create_report(AFN)
    sql("UPDATE fba.rate_limit SET tokens = 0")
    sql(f"UPDATE fba.rate_limit SET {odd}")
    with pytest.raises(ThrottledError) as caught:
        hook.create_report(LISTINGS)
    assert caught.value.until - datetime.now(UTC) <= timedelta(seconds=15 / 0.0167)
    rate, tokens, ago = sql("SELECT rate, tokens, now() - refilled_at FROM fba.rate_limit").fetchone()
    assert rate >= 0.000167
    assert tokens >= 0
    assert ago >= timedelta(0)


def test_a_bucket_whose_row_is_held_by_somebody_stops_no_call(amazon, warehouse, warehouse_url, sql):
    hook = SellingPartnerHook()
    hook.create_report(AFN)
    with psycopg.connect(warehouse_url) as idle:
        idle.execute("SELECT FROM fba.rate_limit FOR UPDATE")
        hook.create_report(LISTINGS)
    assert calls_of(amazon, "createReport") == 2
