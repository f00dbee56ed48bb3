"""Where else the units are: only what changed is asked for, all of it once a day, and nothing that was not said is a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon import transport
from fba_operators.amazon.operations import GET_INVENTORY_SUMMARIES
from fba_operators.errors import UnavailableError
from fba_operators.inventory.breakdown import COLUMNS, breakdown_row
from fba_operators.operators import ReadBreakdownOperator
from tests.helpers import calls_of, context, run
from tests.stores import SELLER, STORE, US

CALL = "getInventorySummaries"


@pytest.fixture
def world(amazon, warehouse_url, stores_file, no_retry_sleep):
    """A merchant of seven SKUs, three of which come in a page."""
    stores_file(f"stores: {{{STORE}: {{inventory: {{breakdown: true}}}}}}")
    amazon.world.remove_items(SELLER, US)
    amazon.world.inventory_page_size = 3
    amazon.world.set_clock(speed=100)  # so that only our own quota is waited for
    for n in range(7):
        amazon.world.put_item(SELLER, US, f"SKU-{n}", offers=[("AMAZON_NA", None)], api_stock=10 + n)
    later(amazon.world, minutes=10)
    return amazon.world


@pytest.fixture
def read(amazon, sql):
    def read(ctx=None, **arguments):
        """Read; returns the SKUs named and the calls made."""
        sql("DELETE FROM fba.rate_limit")
        before = calls_of(amazon, CALL)
        counts = run(
            ReadBreakdownOperator(task_id="breakdown", **arguments), ctx, on_wait=lambda _: amazon.world.advance(5)
        )
        return counts["skus"], calls_of(amazon, CALL) - before

    return read


QUANTITIES = ", ".join(COLUMNS[2:])


def row(sql, sku="SKU-0", columns=QUANTITIES):
    return sql(f"SELECT {columns} FROM fba.stock_breakdown WHERE sku = %s", sku).fetchone()


def later(world, sql=lambda *_: None, **delta):
    """Make everything older, at Amazon and in the warehouse."""
    for item in world.merchants[SELLER].catalogue(US).items.values():
        item.changed -= timedelta(**delta).total_seconds()
    sql(
        "UPDATE fba.breakdown_reading SET full_at = full_at - %s, read_until = read_until - %s",
        *[timedelta(**delta)] * 2,
    )


def test_every_quantity_has_its_column(world, sql, read):
    names = (
        *("pendingCustomerOrderQuantity", "pendingTransshipmentQuantity", "fcProcessingQuantity"),
        *("inboundWorkingQuantity", "inboundShippedQuantity", "inboundReceivingQuantity", "totalResearchingQuantity"),
    )
    world.put_item(SELLER, US, "SKU-0", offers=[("AMAZON_NA", None)], afn=[("UNSELLABLE", 9)], api_stock=1)
    world.set_elsewhere(SELLER, US, "SKU-0", **{name: n for n, name in enumerate(names, start=2)})
    assert read() == (7, 3)
    assert row(sql) == (1, 2, 3, 4, 5, 6, 7, 8, 9, None)
    assert row(sql, columns="fnsku")[0].startswith("X00")


def test_only_what_changed_is_asked_for_in_the_fewest_calls(world, sql, read):
    assert read() == (7, 3)
    for minutes in (60, 60):
        later(world, sql, minutes=minutes)
        assert read() == (0, 1)
    for n in range(4):
        world.set_elsewhere(SELLER, US, f"SKU-{n}", fcProcessingQuantity=n + 20)
    later(world, sql, minutes=2)
    assert read() == (4, 2)
    assert [row(sql, f"SKU-{n}", "reserved_processing")[0] for n in range(7)] == [20, 21, 22, 23, 0, 0, 0]
    assert read() == (4, 2), "the five minutes before are read once more"


def test_a_change_of_inbound_units_alone_is_found_by_the_daily_reading(world, sql, read):
    assert read() == (7, 3)
    later(world, sql, minutes=60)
    world.set_elsewhere(SELLER, US, "SKU-0", inboundShippedQuantity=40)
    assert read() == (0, 1)
    assert row(sql, columns="inbound_shipped") == (0,)
    later(world, sql, hours=23)
    assert read() == (7, 3)
    assert row(sql, columns="inbound_shipped") == (40,)
    later(world, sql, minutes=60)
    assert read() == (0, 1)


def test_a_connection_of_another_marketplace_reads_all(world, sql, read):
    read()
    later(world, sql, minutes=60)
    sql("UPDATE fba.breakdown_reading SET marketplace_id = 'another'")
    assert read() == (7, 3)


def test_a_sku_that_is_not_named_keeps_what_was_said_and_when(world, sql, read):
    read()
    before = row(sql, "SKU-3", "fulfillable, as_of")
    world.remove_items(SELLER, US, ["SKU-3"])
    later(world, sql, hours=24)
    assert read() == (6, 2)
    assert row(sql, "SKU-3", "fulfillable, as_of") == before
    summary = sql("SELECT summary FROM fba.run").fetchone()[0]
    assert "Amazon did not name 1 SKU of earlier readings" in summary


def test_a_reading_that_breaks_off_is_no_reading(world, sql, read, monkeypatch):
    """What has arrived is kept, and the next run reads all, not what changed since."""
    from fba_operators.inventory import breakdown

    monkeypatch.setattr(breakdown, "PAGES_AT_ONCE", 1)
    world.add_fault(CALL, 500, skip=2, times=9)
    with pytest.raises(UnavailableError):
        read()
    assert sql("SELECT count(*) FROM fba.stock_breakdown").fetchone() == (6,)
    assert sql("SELECT count(*) FROM fba.breakdown_reading").fetchone() == (0,)
    world.clear_faults()
    assert read() == (7, 3)


def answer(*summaries):
    return GET_INVENTORY_SUMMARIES.read(
        {"payload": {"inventorySummaries": list(summaries)}}
    ).payload.inventory_summaries


def test_what_amazon_does_not_say_is_no_zero():
    (said,) = answer({"sellerSku": "A", "inventoryDetails": {"fulfillableQuantity": 4, "reservedQuantity": {}}})
    assert breakdown_row(said, said.inventory_details) == ("A", None, 4, *[None] * 9)
    odd = {
        "inboundShippedQuantity": "many",
        "reservedQuantity": "none",
        "researchingQuantity": {"totalResearchingQuantity": -1},
    }
    (said,) = answer({"sellerSku": "A", "fnSku": 7, "inventoryDetails": {**odd, "inboundWorkingQuantity": "3"}})
    assert breakdown_row(said, said.inventory_details) == ("A", *[None] * 5, 3, *[None] * 5)
    (said,) = answer(
        {"sellerSku": "A", "inventoryDetails": {"futureSupplyQuantity": {"futureSupplyBuyableQuantity": 6}}}
    )
    assert breakdown_row(said, said.inventory_details)[-1] == 6


def test_what_cannot_be_read_is_counted_and_keeps_its_row(world, sql, read, monkeypatch):
    from fba_operators.amazon.hook import SellingPartnerHook

    read()
    pages = [
        [
            *answer(
                {"sellerSku": "SKU-0", "inventoryDetails": {"fulfillableQuantity": 1}},
                {"sellerSku": ""},
                {"sellerSku": "SKU-1"},
            )
        ]
    ]
    monkeypatch.setattr(SellingPartnerHook, "get_inventory_changes", lambda hook, since: iter(pages))
    run(ReadBreakdownOperator(task_id="breakdown"), context("second"))
    assert [row(sql, f"SKU-{n}", "fulfillable")[0] for n in range(2)] == [1, 11]
    assert sql("SELECT attention FROM fba.run WHERE run_id = 'second'").fetchone() == ({"unread_breakdowns": 2},)


@pytest.mark.parametrize("ahead", [timedelta(hours=3), timedelta(days=365 * 50)])
def test_an_answer_that_is_dated_ahead_leaves_no_change_out(world, sql, read, monkeypatch, ahead):
    with monkeypatch.context() as patch:
        patch.setattr(transport, "_clock_offset", lambda response: ahead)
        read()
    later(world, sql, minutes=60)
    world.set_elsewhere(SELLER, US, "SKU-0", fcProcessingQuantity=21)
    later(world, sql, minutes=2)
    read()
    assert row(sql, "SKU-0", "reserved_processing") == (21,)


def test_a_reading_of_a_clock_that_was_ahead_is_none(world, sql, read):
    read()
    sql("UPDATE fba.breakdown_reading SET full_at = full_at + interval '3 days'")
    assert read()[0] == 7


@pytest.mark.parametrize("ahead", [3600, -3600])
def test_where_the_clocks_differ_changes_are_asked_for_from_the_earlier_time_on(world, sql, read, ahead):
    world.set_clock(ahead=ahead)
    read()
    (until,) = sql("SELECT read_until FROM fba.breakdown_reading").fetchone()
    earlier = min(datetime.fromtimestamp(world.clock.wall(), UTC), datetime.now(UTC))
    assert timedelta(minutes=4) < earlier - until < timedelta(minutes=7)


@pytest.mark.parametrize(
    ("settings", "arguments"), [("breakdown: false", {}), ("breakdown: true", {"offline": ["L", "A"]})]
)
def test_it_is_skipped_where_it_is_off_and_where_amazon_is_not_called(
    amazon, warehouse, stores_file, settings, arguments
):
    stores_file(f"stores: {{{STORE}: {{inventory: {{{settings}}}}}}}")
    with pytest.raises(AirflowSkipException):
        run(ReadBreakdownOperator(task_id="breakdown", **arguments))
    assert calls_of(amazon, CALL) == 0
