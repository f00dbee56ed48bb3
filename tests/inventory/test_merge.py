"""The merge: each rule by itself, and all of them against a simple reference implementation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.inventory.merge import (
    NOT_GIVEN,
    InventoryAnswers,
    MergeResult,
    merge_inventory,
    missing_skus,
    stock_frame,
    too_many_zeroed,
)
from fba_operators.reports.document import Document
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS
from fba_operators.reports.rows import BLANK

REJECTED = "a row of it was rejected"
UNREADABLE = "a row of it may be the one whose SKU cannot be read"
UNREADABLE_ROWS = {"unreadable_listings": True, "unreadable_afn": True}


def stock(*rows: tuple[str, int, str]) -> pd.DataFrame:
    """Rows of (sku, quantity, kind), on lines 2, 3, …"""
    return pd.DataFrame(
        {
            "line_number": np.arange(2, len(rows) + 2),
            "sku": pd.Series([sku for sku, _, _ in rows], dtype=object),
            "quantity": np.array([quantity for _, quantity, _ in rows], np.int64),
            "kind": pd.Series([kind for _, _, kind in rows], dtype=object).astype("category"),
        }
    )


def pool_of(*rows: tuple[str, int, int, int, str, str | None]) -> pd.DataFrame:
    """Rows of (sku, fba, fbm, quantity, source, channel)."""
    names = ("sku", "fba_quantity", "fbm_quantity", "quantity", "quantity_source", "fulfillment_channel")
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    texts = {"sku", "quantity_source", "fulfillment_channel"}
    return pd.DataFrame(
        {
            name: pd.Series(list(column), dtype=object) if name in texts else np.array(column, np.int64)
            for name, column in zip(names, columns, strict=True)
        }
    )


def merge(listings=(), afn=(), pool=(), **settings) -> MergeResult:
    defaults = {"include_fbm_quantity": False, "fetch_missing_inventory": False, "import_deleted_skus": True}
    return merge_inventory(stock(*listings), stock(*afn), pool_of(*pool), **(defaults | settings))


def written(result: MergeResult) -> dict[str, tuple[int, int, int, str]]:
    frame = result.frame
    return {
        row.sku: (row.fba_quantity, row.fbm_quantity, row.quantity, row.quantity_source)
        for row in frame.itertuples(index=False)
    }


# --- each rule -------------------------------------------------------------------------------------------------------


def test_sellable_afn_rows_are_summed_and_take_precedence_over_the_listing():
    result = merge([("A", 99, "AMAZON_NA")], [("A", 3, "SELLABLE"), ("A", 50, "UNSELLABLE"), ("A", 4, "SELLABLE")])
    assert written(result) == {"A": (7, 0, 7, "afn_report")}


def test_afn_rows_but_none_sellable_is_zero_without_fallback():
    args = ([("A", 9, "AMAZON_NA")], [("A", 50, "UNSELLABLE")])
    assert written(merge(*args)) == {"A": (0, 0, 0, "afn_report")}
    assert missing_skus(stock(*args[0]), stock(*args[1]), pool_of(), fetch_missing_inventory=True) == []


def test_without_afn_row_the_fba_listing_counts_unless_blank():
    result = merge([("A", 5, "AMAZON_EU"), ("B", BLANK, "AMAZON_EU"), ("C", 0, "AMAZON_EU")])
    assert written(result) == {
        "A": (5, 0, 5, "listings_report"),
        "B": (0, 0, 0, "default_zero"),
        "C": (0, 0, 0, "listings_report"),
    }


def test_merchant_fulfilled_skus_have_no_fba_quantity_and_are_not_queried():
    listings = [("A", 5, "DEFAULT"), ("B", BLANK, "DEFAULT")]
    assert written(merge(listings)) == {"A": (0, 5, 0, "listings_report"), "B": (0, 0, 0, "listings_report")}
    assert written(merge(listings, include_fbm_quantity=True))["A"] == (0, 5, 5, "listings_report")
    assert missing_skus(stock(*listings), stock(), pool_of(), fetch_missing_inventory=True) == []


def test_the_fbm_quantity_is_added_to_afn_rows():
    result = merge([("A", 5, "DEFAULT")], [("A", 7, "SELLABLE")], include_fbm_quantity=True)
    assert written(result) == {"A": (7, 5, 12, "afn_report")}


def test_one_sku_sold_both_ways_has_both_quantities():
    result = merge([("A", 5, "DEFAULT"), ("A", 4, "AMAZON_NA")], include_fbm_quantity=True)
    assert written(result) == {"A": (4, 5, 9, "listings_report")}
    assert result.frame.loc[0, ["fulfillment_channel", "listing_line"]].tolist() == ["AMAZON_NA", 3]


def test_of_several_rows_of_one_kind_the_smallest_quantity_counts():
    result = merge(
        [
            *(("A", 5, "DEFAULT"), ("A", 5, "DEFAULT"), ("B", 5, "DEFAULT"), ("B", 2, "DEFAULT")),
            *(("C", 8, "AMAZON_NA"), ("C", 6, "AMAZON_EU"), ("D", 6, "AMAZON_NA"), ("D", BLANK, "AMAZON_NA")),
        ]
    )
    assert written(result) == {
        "A": (0, 5, 0, "listings_report"),
        "B": (0, 2, 0, "listings_report"),
        "C": (6, 0, 6, "listings_report"),
        "D": (6, 0, 6, "listings_report"),
    }
    assert result.conflicts == {"fba": 1, "fbm": 1}


def test_the_api_supplies_quantities_that_no_report_has():
    listings, pool = [("A", BLANK, "AMAZON_NA"), ("B", BLANK, "AMAZON_NA")], [("C", 4, 0, 4, "fba_api", "AMAZON_NA")]
    queried = missing_skus(stock(*listings), stock(), pool_of(*pool), fetch_missing_inventory=True)
    assert queried == ["C", "A", "B"]  # most units first
    answers = InventoryAnswers({"A": 11}, frozenset({"B"}), frozenset({"C"}))
    result = merge(listings, (), pool, fetch_missing_inventory=True, answers=answers)
    assert written(result) == {"A": (11, 0, 11, "fba_api"), "B": (0, 0, 0, "default_zero")}
    assert result.kept[NOT_GIVEN] == ["C"]
    assert result.zeroed == []
    assert result.sources == {"afn_report": 0, "listings_report": 0, "fba_api": 1, "default_zero": 1}


def test_a_missing_answer_never_becomes_zero():
    with pytest.raises(ValueError, match=r"1 SKUs .*have no answer"):
        merge([("A", BLANK, "AMAZON_NA")], fetch_missing_inventory=True)


def test_answers_about_other_skus_change_nothing():
    result = merge([("A", 1, "AMAZON_NA")], fetch_missing_inventory=True, answers=InventoryAnswers({"A": 9, "Z": 9}))
    assert written(result) == {"A": (1, 0, 1, "listings_report")}


def test_a_new_sku_without_a_quantity_is_not_added():
    answers = InventoryAnswers(not_given=frozenset({"A"}))
    result = merge([("A", BLANK, "AMAZON_NA")], fetch_missing_inventory=True, answers=answers)
    assert (written(result), result.kept[NOT_GIVEN], result.not_added[NOT_GIVEN]) == ({}, [], ["A"])


def test_a_pool_sku_in_no_report_is_queried_unless_last_known_as_merchant_fulfilled():
    pool = [
        ("F", 4, 0, 4, "afn_report", "AMAZON_NA"),
        ("M", 0, 3, 3, "listings_report", "DEFAULT"),
        ("N", 1, 0, 1, "afn_report", None),
    ]
    assert missing_skus(stock(), stock(), pool_of(*pool), fetch_missing_inventory=True) == ["F", "N"]
    assert missing_skus(stock(), stock(), pool_of(*pool), fetch_missing_inventory=False) == []
    answers = InventoryAnswers({"F": 2}, frozenset({"N"}))
    result = merge(pool=pool, fetch_missing_inventory=True, answers=answers, include_fbm_quantity=True)
    assert written(result) == {
        "F": (2, 0, 2, "fba_api"),
        "M": (0, 0, 0, "default_zero"),
        "N": (0, 0, 0, "default_zero"),
    }
    assert (result.in_stock, result.zeroed) == (3, ["M", "N"])


def test_afn_skus_without_listing():
    afn = [("NEW", 6, "SELLABLE"), ("NEW", 3, "UNSELLABLE"), ("OLD", 2, "SELLABLE")]
    pool = [("OLD", 1, 0, 1, "afn_report", "AMAZON_NA")]
    assert written(merge((), afn, pool)) == {"NEW": (6, 0, 6, "afn_report"), "OLD": (2, 0, 2, "afn_report")}
    result = merge((), afn, pool, import_deleted_skus=False)
    assert written(result) == {"OLD": (2, 0, 2, "afn_report")}
    assert (result.left_out_skus, result.left_out_units) == (["NEW"], 6)


def test_a_sku_with_a_rejected_row_keeps_its_last_quantities():
    pool = [("A", 4, 1, 5, "fba_api", "AMAZON_NA")]
    result = merge(
        [("A", 0, "DEFAULT"), ("B", 3, "DEFAULT")], [("A", 0, "SELLABLE")], pool, rejected_skus={"A", "B", "C"}
    )
    assert written(result) == {}
    assert result.kept[REJECTED] == ["A"]
    assert result.not_added[REJECTED] == ["B", "C"]
    assert result.zeroed == []
    assert missing_skus(stock(), stock(), pool_of(*pool), rejected_skus={"A"}, fetch_missing_inventory=True) == []


def test_an_unreadable_rejected_row_keeps_everything_from_default_zero():
    pool = [("A", 4, 0, 4, "afn_report", "AMAZON_NA"), ("M", 0, 3, 0, "listings_report", "DEFAULT")]
    result = merge([("B", BLANK, "AMAZON_NA"), ("C", 1, "AMAZON_NA")], (), pool, **UNREADABLE_ROWS)
    assert written(result) == {"C": (1, 0, 1, "listings_report")}
    assert (result.kept[UNREADABLE], result.not_added[UNREADABLE]) == (["A", "M"], ["B"])


def test_a_sku_that_an_unreadable_row_may_belong_to_keeps_its_stock():
    pool = [("A", 4, 0, 4, "afn_report", "AMAZON_NA"), ("B", 1, 5, 6, "afn_report", "AMAZON_NA")]
    afn = [("A", 2, "UNSELLABLE"), ("B", 1, "SELLABLE")]
    result = merge((), afn, pool, **UNREADABLE_ROWS, include_fbm_quantity=True)
    assert result.kept[UNREADABLE] == ["A", "B"]
    readable = merge((), afn, pool, include_fbm_quantity=True)
    assert written(readable) == {
        "A": (0, 0, 0, "afn_report"),
        "B": (1, 0, 1, "afn_report"),
    }


def test_an_unreadable_row_of_one_report_holds_nothing_that_the_other_states():
    pool = [("A", 4, 0, 4, "afn_report", "AMAZON_NA"), ("M", 0, 3, 3, "listings_report", "DEFAULT")]
    afn = [("A", 2, "UNSELLABLE")]
    result = merge((), afn, pool, unreadable_listings=True, include_fbm_quantity=True)
    assert written(result) == {"A": (0, 0, 0, "afn_report")}
    assert result.kept[UNREADABLE] == ["M"]
    result = merge((), afn, pool, unreadable_afn=True, include_fbm_quantity=True)
    assert written(result) == {"M": (0, 0, 0, "default_zero")}
    assert result.kept[UNREADABLE] == ["A"]


JUMPS = {
    "four SKUs halved": ([100] * 4, [50] * 4, True),
    "slow movers halved": ([2] * 40, [1] * 40, True),
    "slow movers fell to a third": ([3] * 40, [1] * 40, True),
    "five SKUs halved": ([4] * 5, [2] * 5, True),
    "beside slow movers that stay": ([4] * 10 + [2] * 15, [2] * 10 + [2] * 15, True),
    "doubled": ([6] * 3, [12] * 3, True),
    "one of two SKUs sold a unit": ([2, 2], [1, 2], False),
    "two SKUs sold a unit each": ([2, 2], [1, 1], False),
    "last units sold": ([1] * 40, [0] * 12 + [1] * 28, False),
    "a third of the SKUs sold half": ([10] * 9, [5] * 3 + [10] * 6, False),
    "one of two SKUs came anew": ([10, 20], [10, 60], False),
}


@pytest.mark.parametrize("jump", JUMPS)
def test_most_skus_halved_or_doubled_is_implausible_and_ordinary_sales_are_not(jump):
    before, after, implausible = JUMPS[jump]
    pool = [(f"S{n}", units, 0, units, "afn_report", "AMAZON_NA") for n, units in enumerate(before)]
    afn = [(f"S{n}", units, "SELLABLE") for n, units in enumerate(after)]
    assert merge((), afn, pool).jumped is implausible


def test_fba_and_fbm_jump_each_for_itself():
    pool = [(f"S{n}", 10, 30, 40, "afn_report", "AMAZON_NA") for n in range(40)]
    listings = [(f"S{n}", 30, "DEFAULT") for n in range(40)]
    for units, zeroed in ((5, 0), (0, 40)):
        afn = [(f"S{n}", units, "SELLABLE") for n in range(40)]
        result = merge(listings, afn, pool, include_fbm_quantity=True)
        assert result.jumped
        assert (len(result.changes["FBA"].zeroed), result.changes["merchant-fulfilled"].zeroed) == (zeroed, [])
        assert result.zeroed == []


def test_a_merchants_sku_whose_fba_stock_may_be_in_an_unreadable_row_keeps_its_stock():
    pool = [("BOTH", 50, 3, 50, "afn_report", "DEFAULT"), ("MINE", 0, 3, 0, "listings_report", "DEFAULT")]
    listings = [("BOTH", 3, "DEFAULT"), ("MINE", 2, "DEFAULT")]
    result = merge(listings, (), pool, **UNREADABLE_ROWS)
    assert result.kept[UNREADABLE] == ["BOTH"]
    assert written(result) == {"MINE": (0, 2, 0, "listings_report")}
    assert written(merge(listings, (), pool))["BOTH"] == (0, 3, 0, "listings_report")


def test_a_replay_keeps_quantities_of_the_api():
    listings = [("A", BLANK, "AMAZON_NA"), ("B", BLANK, "AMAZON_NA")]
    pool = [
        ("A", 8, 0, 8, "fba_api", "AMAZON_NA"),
        ("B", 8, 0, 8, "afn_report", "AMAZON_NA"),
        ("C", 5, 1, 6, "fba_api", None),
    ]
    for fetch in (False, True):
        result = merge(listings, (), pool, replay=True, fetch_missing_inventory=fetch)
        assert written(result) == {"A": (8, 0, 8, "fba_api"), "B": (0, 0, 0, "default_zero"), "C": (5, 0, 5, "fba_api")}


def test_skus_are_compared_exactly():
    skus = ["NA", "nan", "null", "None", "", "a", "A", " a", "a ", "1", "01", "1.0", "é", "e\u0301"]
    pool = [(sku, 0, 0, 0, "default_zero", None) for sku in skus]
    result = merge([(sku, 1, "DEFAULT") for sku in skus], [(sku, n, "SELLABLE") for n, sku in enumerate(skus)], pool)
    assert written(result) == {sku: (n, 1, n, "afn_report") for n, sku in enumerate(skus)}


def test_lines_channels_and_flags_of_the_frame():
    result = merge([("A", 1, "DEFAULT"), ("B", BLANK, "AMAZON_JP"), ("A", 1, "DEFAULT")], [("C", 1, "SELLABLE")])
    frame = result.frame.set_index("sku")
    assert frame["listing_line"].to_dict() == {"A": 2, "B": 3, "C": None}
    assert frame["fulfillment_channel"].astype(object).where(frame["fulfillment_channel"].notna(), None).to_dict() == {
        "A": "DEFAULT",
        "B": "AMAZON_JP",
        "C": None,
    }
    assert frame["in_afn"].to_dict() == {"A": False, "B": False, "C": True}


def test_empty_input():
    result = merge()
    assert (len(result.frame), result.in_stock, result.zeroed) == (0, 0, [])


def test_documents_feed_the_merge():
    def rows(report_type, text: str) -> pd.DataFrame:
        document = Document(lambda: [text.encode()], report_type, charset=None, usual_charset="cp1252", block_bytes=60)
        return stock_frame(document.blocks())

    listings = rows(
        LISTINGS,
        "seller-sku\tquantity\tfulfillment-channel\nNA\t\tAMAZON_NA\nB\t2\tDEFAULT\nbad\tx\tDEFAULT\nC\t9.0\tAMAZON_NA\n",
    )
    header = "seller-sku\tWarehouse-Condition-code\tQuantity Available\n"
    afn = rows(AFN_INVENTORY, header + "NA\tSELLABLE\t5\nNA\tUNSELLABLE\t6\n")
    assert listings["line_number"].tolist() == [2, 3, 5]
    result = merge_inventory(
        *(listings, afn, pool_of()),
        include_fbm_quantity=True,
        fetch_missing_inventory=False,
        import_deleted_skus=True,
    )
    assert written(result) == {
        "NA": (5, 0, 5, "afn_report"),
        "B": (0, 2, 2, "listings_report"),
        "C": (9, 0, 9, "listings_report"),
    }
    assert len(stock_frame([])) == 0


@pytest.mark.parametrize(
    ("in_stock", "zeroed", "share", "refused"),
    [
        (10, 5, 0.5, False),
        (10, 6, 0.5, True),
        (4, 4, 0.5, False),
        (5, 5, 0.5, True),
        (5, 5, 1.0, False),
        (0, 0, 0.0, False),
        (9, 5, 0, True),
    ],
)
def test_the_guard_against_zeroed_stock(in_stock, zeroed, share, refused):
    assert too_many_zeroed(in_stock=in_stock, zeroed=zeroed, max_share=share) is refused


# --- against a reference implementation ------------------------------------------------------------------------------


@dataclass
class Case:
    listings: list[tuple[str, int, str]]
    afn: list[tuple[str, int, str]]
    pool: list[tuple[str, int, int, int, str, str | None]]
    rejected: set[str]
    unreadable_listings: bool
    unreadable_afn: bool
    answers: InventoryAnswers
    replay: bool
    fbm: bool
    fetch: bool
    import_deleted: bool


SKUS = st.sampled_from(["A", "a", "A ", "NA", "nan", "null", "1", "01", "x,y"])
QUANTITY = st.integers(0, 3)


@st.composite
def cases(draw) -> Case:
    channel = st.sampled_from(["DEFAULT", "AMAZON_NA", "AMAZON_EU"])
    listings = draw(st.lists(st.tuples(SKUS, st.one_of(st.just(BLANK), QUANTITY), channel), max_size=9))
    afn = draw(st.lists(st.tuples(SKUS, QUANTITY, st.sampled_from(["SELLABLE", "UNSELLABLE"])), max_size=6))
    source = st.sampled_from(["afn_report", "listings_report", "fba_api", "default_zero"])
    pool_row = st.tuples(SKUS, QUANTITY, QUANTITY, QUANTITY, source, st.one_of(st.none(), channel))
    pool = draw(st.lists(pool_row, max_size=6, unique_by=lambda row: row[0]))
    rejected = draw(st.sets(SKUS, max_size=2))
    fetch = draw(st.booleans())
    quantities, absent, not_given = {}, set(), set()
    queried = missing_skus(
        stock(*listings), stock(*afn), pool_of(*pool), rejected_skus=rejected, fetch_missing_inventory=fetch
    )
    for sku in queried:
        match draw(st.sampled_from(["quantity", "absent", "not given"])):
            case "quantity":
                quantities[sku] = draw(QUANTITY)
            case "absent":
                absent.add(sku)
            case _:
                not_given.add(sku)
    return Case(
        *(listings, afn, pool, rejected, draw(st.booleans()), draw(st.booleans())),
        InventoryAnswers(quantities, frozenset(absent), frozenset(not_given)),
        *(draw(st.booleans()), draw(st.booleans()), fetch, draw(st.booleans())),
    )


def expected_result(case: Case, sku: str):
    """The result for one SKU, straight from the rules: ("write", …), ("kept", why), ("new", why) or ("left out", units)."""
    last = next((row for row in case.pool if row[0] == sku), None)
    listed = [row for row in case.listings if row[0] == sku]
    afn = [row for row in case.afn if row[0] == sku]
    fba_listed = [quantity for _, quantity, kind in listed if kind != "DEFAULT" and quantity != BLANK]
    fbm_listed = [quantity for _, quantity, kind in listed if kind == "DEFAULT" and quantity != BLANK]
    if listed:
        merchant_fulfilled = all(kind == "DEFAULT" for _, _, kind in listed)
    else:
        merchant_fulfilled = last is not None and last[5] == "DEFAULT"

    def unchanged(why: str):
        return ("kept" if last else "new", why)

    if sku in case.rejected:
        return unchanged(REJECTED)
    if afn:
        if not listed and not last and not case.import_deleted:
            return ("left out", sum(quantity for _, quantity, kind in afn if kind == "SELLABLE"))
        fba, source = sum(quantity for _, quantity, kind in afn if kind == "SELLABLE"), "afn_report"
    elif fba_listed:
        fba, source = min(fba_listed), "listings_report"
    elif listed and merchant_fulfilled:
        fba, source = 0, "listings_report"
    elif case.replay and last and last[4] == "fba_api":
        fba, source = last[1], "fba_api"
    elif case.fetch and not case.replay and not merchant_fulfilled and sku in case.answers.not_given:
        return unchanged(NOT_GIVEN)
    elif case.fetch and not case.replay and not merchant_fulfilled and sku in case.answers.quantities:
        fba, source = case.answers.quantities[sku], "fba_api"
    elif (case.unreadable_listings or case.unreadable_afn) and (not last or last[1] > 0):
        return unchanged(UNREADABLE)
    else:
        fba, source = 0, "default_zero"
    sellable = [row for row in afn if row[2] == "SELLABLE"]
    no_fba_row = (source == "afn_report" and not sellable and case.unreadable_afn) or (
        source == "listings_report" and not fba_listed and (case.unreadable_afn or case.unreadable_listings)
    )
    no_fbm_row = all(kind != "DEFAULT" for _, _, kind in listed) and case.unreadable_listings
    if last and ((no_fba_row and last[1] > 0) or (no_fbm_row and last[2] > 0)):
        return unchanged(UNREADABLE)
    fbm = min(fbm_listed, default=0)
    return ("write", fba, fbm, fba + fbm if case.fbm else fba, source, bool(afn))


@settings(max_examples=400, deadline=None)
@given(cases())
def test_the_merge_agrees_with_the_rules_sku_by_sku(case):
    result = merge(
        *(case.listings, case.afn, case.pool),
        rejected_skus=case.rejected,
        unreadable_listings=case.unreadable_listings,
        unreadable_afn=case.unreadable_afn,
        answers=case.answers,
        replay=case.replay,
        include_fbm_quantity=case.fbm,
        fetch_missing_inventory=case.fetch,
        import_deleted_skus=case.import_deleted,
    )
    skus = {row[0] for row in (*case.listings, *case.afn, *case.pool)} | case.rejected
    expected = {sku: expected_result(case, sku) for sku in skus}
    found: dict[str, object] = {}
    for row in result.frame.itertuples(index=False):
        assert row.sku not in found
        found[row.sku] = ("write", row.fba_quantity, row.fbm_quantity, row.quantity, row.quantity_source, row.in_afn)
        lines = [n for n, (sku, _, _) in enumerate(case.listings, start=2) if sku == row.sku]
        fba_lines = [n for n in lines if case.listings[n - 2][2] != "DEFAULT"]
        if lines:
            assert row.listing_line == (fba_lines or lines)[0]
            assert row.fulfillment_channel == case.listings[row.listing_line - 2][2]
        else:
            assert row.listing_line is pd.NA
            assert pd.isna(row.fulfillment_channel)
    for name, groups in (("kept", result.kept), ("new", result.not_added)):
        for why, each in groups.items():
            for sku in each:
                assert sku not in found
                found[sku] = (name, why)
    units = {sku: verdict[1] for sku, verdict in expected.items() if verdict[0] == "left out"}
    assert sorted(result.left_out_skus) == sorted(units)
    assert result.left_out_units == sum(units.values())
    assert found == {sku: verdict for sku, verdict in expected.items() if sku not in units}

    writes = {sku: verdict for sku, verdict in expected.items() if verdict[0] == "write"}
    assert result.sources == {
        source: sum(verdict[4] == source for verdict in writes.values()) for source in result.sources
    }
    before = {row[0]: row[3] for row in case.pool if row[3] > 0}
    assert result.in_stock == len(before)
    assert sorted(result.zeroed) == sorted(sku for sku in before if sku in writes and writes[sku][3] == 0)
    for kind, fbm in (("fba", False), ("fbm", True)):
        listed = {
            sku: {q for s, q, k in case.listings if s == sku and q != BLANK and (k == "DEFAULT") is fbm}
            for sku in writes
        }
        assert result.conflicts[kind] == sum(len(each) > 1 for each in listed.values())
