"""Rate limits: the buckets that all tasks of a seller share."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from fba_operators.amazon.hook import SellingPartnerHook
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
