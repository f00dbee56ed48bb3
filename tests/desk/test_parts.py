"""The pure parts: cells of a CSV, drawings, and the sentences that explain a number."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from fba_operators.desk.csv_rows import cell, lines
from fba_operators.desk.explain import since_when, why
from fba_operators.desk.plot import bar, plot, top_of
from fba_operators.desk.remedies import WORDS, remedy
from fba_operators.warehouse.statements import SQL_FOLDER

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, ""),
        (0, "0"),
        (-3, "-3"),
        (Decimal("-1.50"), "-1.50"),
        (True, "yes"),
        (date(2026, 1, 2), "2026-01-02"),
        (NOW, "2026-11-28T12:00:00Z"),
        (["a", "b"], "a, b"),
        ("plain", "plain"),
        ("=1+1", "'=1+1"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@A", "'@A"),
        ("\tA", "'\tA"),
        ("\rA", "'\rA"),
        ("  =1", "'  =1"),
        ("\uff1d1", "'\uff1d1"),
    ],
)
def test_a_cell(value, written):
    assert cell(value) == written


def test_a_line_with_quotes_and_line_ends_is_one_row():
    assert list(lines(("a", "b"), [{"a": 'x"y', "b": "l\nm"}])) == ["\ufeffa,b\r\n", '"x""y","l\nm"\r\n']


@pytest.mark.parametrize(
    ("most", "top"), [(0, 4), (4, 4), (5, 8), (9, 12), (99, 100), (101, 120), (1_234_567, 1_600_000)]
)
def test_the_axis_ends_at_a_round_number(most, top):
    assert top_of(most) == top


def test_a_plot_holds_a_value_until_it_changes():
    drawn = plot([(NOW - timedelta(days=2), 4), (NOW - timedelta(days=1), 0)], title="<b>", until=NOW)
    (path,) = re.findall(r'class="line" d="([^"]+)"', drawn)
    assert re.fullmatch(r"M62\.0 8\.0H477\.0V178\.0H892\.0", path)
    assert "<b>" not in drawn
    assert plot([], title="x") == ""
    assert "<svg" in plot([(NOW, 3)], title="one moment")


@pytest.mark.parametrize(("part", "whole", "width"), [(1, 2, "50.0"), (9, 2, "100.0"), (1, 0, "0.0"), (-1, 2, "0.0")])
def test_a_bar_stays_in_its_frame(part, whole, width):
    assert f'width="{width}"' in bar(part, whole)


def sku(**fields):
    row = {
        "fba_quantity": 0,
        "fbm_quantity": 0,
        "quantity": 0,
        "quantity_source": "default_zero",
        "afn_report_id": "A1",
        "unconfirmed_since": None,
        "shares_fnsku_with": [],
    }
    return row | fields


def change(hours_ago, before, after):
    return {"at": NOW - timedelta(hours=hours_ago), "quantity_before": before, "quantity": after}


SELLABLE = {"warehouse_condition_code": "sellable"}
DAMAGED = {"warehouse_condition_code": "UNSELLABLE"}


@pytest.mark.parametrize(
    ("row", "afn", "listings", "says"),
    [
        (sku(quantity_source="afn_report", fba_quantity=5), [SELLABLE, DAMAGED], [], "the sum of 1 SELLABLE line"),
        (sku(quantity_source="afn_report"), [DAMAGED], [], "no line of it is SELLABLE"),
        (sku(quantity_source="afn_report"), [], [], "whose lines are kept no longer"),
        (sku(quantity_source="listings_report", fbm_quantity=3), [], [{}], "one that you ship yourself"),
        (sku(quantity_source="listings_report", fba_quantity=3), [], [{}], "the listings report states it"),
        (sku(quantity_source="fba_api"), [], [], "Inventory API said so"),
        (sku(), [], [], "it has no line in the reports"),
        (sku(), [], [{}], "neither report states a quantity"),
        (sku(unconfirmed_since=NOW), [], [], "No report names its stock any more"),
        (sku(shares_fnsku_with=["B"]), [], [], "same units at Amazon"),
    ],
)
def test_why(row, afn, listings, says):
    assert says in " ".join(why(row, afn, listings, []))


def test_units_that_only_the_inventory_api_has_are_named_with_the_setting_that_counts_them():
    said = " ".join(why(sku(), [], [{}], [], {"fulfillable": 156}))
    assert "has 156 fulfillable units of it, which are not counted" in said
    assert "fetch_missing_inventory" in said
    for breakdown in (None, {"fulfillable": None}, {"fulfillable": 0}):
        said = " ".join(why(sku(), [], [{}], [], breakdown))
        assert "not counted" not in said
        assert "fetch_missing_inventory" in said
    assert "fetch_missing_inventory" not in " ".join(
        why(sku(quantity_source="afn_report"), [], [], [], {"fulfillable": 3})
    )


def test_since_when_is_the_change_that_brought_the_number():
    assert since_when(0, [change(1, 0, 0), change(5, 7, 0), change(9, 1, 7)]) == NOW - timedelta(hours=5)
    assert since_when(0, []) is None
    assert since_when(3, [change(1, 2, 4)]) is None
    assert since_when(2, [change(1, None, 2)]) == NOW - timedelta(hours=1)
    assert "not known" in " ".join(why(sku(), [], [], []))


def test_the_desks_remedies_are_for_codes_that_there_are_and_need_no_sql():
    views = (SQL_FOLDER / "views.sql").read_text()
    for code, words in WORDS.items():
        assert re.search(rf"'{code}'", views), code
        assert "acknowledged_at" not in words, code
    (end,) = re.findall(r"'(, after deliver_by: [^']*)'", views)
    assert remedy({"code": "late", "remedy": f"By its quote it may arrive on 2026-12-01{end}"}).endswith(
        'then choose "Seen" on its page.'
    )
    assert remedy({"code": "late", "remedy": "Not delivered"}) == WORDS["late"]
    assert remedy({"code": "late", "remedy": f"The carrier tells nothing more{end}"}).startswith("The carrier")
    assert "another number" in remedy({"code": "rejected", "remedy": "Insert it under another number."})
    assert remedy({"code": "slow_feed", "remedy": "Wait."}) == "Wait."
