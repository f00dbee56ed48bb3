"""Stock that no report states any more is confirmed or kept, and never silently 0."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.errors import DecisionNeededError, UnreadableDocumentError
from fba_operators.operators import (
    MergeInventoryOperator,
    RequestReportOperator,
    WaitForReportOperator,
)
from tests.helpers import run
from tests.stores import AFN, LISTINGS, SELLER, STORE, US

pytestmark = pytest.mark.usefixtures("no_real_sleep")

SKUS = [f"S{n:03d}" for n in range(40)]
LISTED = [(sku, None, "AMAZON_NA") for sku in SKUS]
STOCKED = [(sku, 10, "SELLABLE") for sku in SKUS]


def test_one_missing_row_is_kept_and_becomes_zero_when_a_later_pair_agrees(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    summary = shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)
    assert shop.attention["vanished_skus"] == shop.attention["unconfirmed_skus"] == 1
    assert "kept unconfirmed: S000" in summary
    shop.later(20)  # the same reports again prove nothing
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)
    assert "vanished_skus" not in shop.attention
    shop.later(40)
    shop.serve(LISTED, STOCKED[1:])
    summary = shop.run()
    assert shop.pool()["S000"] == (0, 0, "default_zero", False)
    assert shop.attention["zeroed_skus"] == 1
    assert "1 SKU became 0 although no report states it: S000" in summary


def test_a_sku_that_a_terminal_would_obey_is_shown_written_out_and_kept_as_it_is(shop):
    sku = "\x1b[31mEVIL\u2028x\u202e"
    shop.serve([*LISTED, (sku, None, "AMAZON_NA")], [*STOCKED, (sku, 5, "SELLABLE")])
    shop.run()
    shop.later()
    shop.serve([*LISTED, (sku, None, "AMAZON_NA")], STOCKED)
    assert r"kept unconfirmed: \x1b[31mEVIL\u2028x\u202e." in shop.run()
    assert shop.pool()[sku] == (5, 0, "afn_report", True)


def test_a_sku_that_comes_back_is_confirmed(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    shop.run()
    shop.later()
    shop.serve(LISTED, [("S000", 3, "SELLABLE"), *STOCKED[1:]])
    shop.run()
    assert shop.pool()["S000"] == (3, 0, "afn_report", False)
    assert "zeroed_skus" not in shop.attention


def test_a_stated_zero_is_a_zero_at_once(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, [("S000", 0, "SELLABLE"), ("S001", 4, "UNSELLABLE"), *STOCKED[2:]])
    shop.run()
    assert shop.pool()["S000"] == shop.pool()["S001"] == (0, 0, "afn_report", False)
    assert not {"zeroed_skus", "vanished_skus", "unconfirmed_skus"} & set(shop.attention)


def test_the_api_confirms_most_units_first_in_the_fewest_calls(shop):
    shop.settings(max_vanished_share=0.9, max_zeroed_share=1.0)
    many = [f"T{n:03d}" for n in range(120)]
    stock = [(sku, 10 + n, "SELLABLE") for n, sku in enumerate(many)]
    listed = [(sku, None, "AMAZON_NA") for sku in many]
    shop.serve(listed, stock)
    shop.run()
    shop.at_amazon({sku: n % 3 for n, sku in enumerate(many[:90])})
    shop.later()
    shop.serve(listed, stock[100:])
    before = shop.amazon.world.calls()["calls"].get("getInventorySummaries", 0)
    shop.run()
    assert shop.amazon.world.calls()["calls"]["getInventorySummaries"] - before == 2  # 100 SKUs, 50 a call
    pool = shop.pool()
    assert {sku: pool[sku] for sku in many[:90]} == {
        sku: (n % 3, 0, "fba_api", False) for n, sku in enumerate(many[:90])
    }
    assert {pool[sku][2:] for sku in many[90:100]} == {("afn_report", True)}  # Amazon does not know them: kept
    assert shop.attention["unconfirmed_skus"] == 10
    assert shop.attention["vanished_skus"] == 100


@pytest.mark.parametrize("fault", ["403", "500"])
def test_where_the_api_cannot_be_asked_stock_is_kept_and_the_run_is_green(shop, fault, monkeypatch):
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda seconds: None))
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    body = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied."}]}
    shop.amazon.world.add_fault("getInventorySummaries", "status", status=int(fault), body=body, times=None)
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)
    assert shop.row("outcome") == "success"


def test_of_the_apis_answer_only_what_is_odd_is_not_believed(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.settings(max_vanished_share=0.5)
    listed = [
        {"sellerSku": "S000", "inventoryDetails": {"fulfillableQuantity": "7"}},  # digits are a number
        {"sellerSku": "S001", "inventoryDetails": {"fulfillableQuantity": 5}},
        {"sellerSku": "S002", "inventoryDetails": {"fulfillableQuantity": "many"}},
        {"sellerSku": ["S003"]},
    ]
    body = {"payload": {"inventorySummaries": listed}}
    shop.later()
    shop.serve(LISTED, STOCKED[4:])
    shop.amazon.world.add_fault("getInventorySummaries", "status", status=200, body=body, times=1)
    shop.run()
    pool = shop.pool()
    assert (pool["S000"], pool["S001"]) == ((7, 0, "fba_api", False), (5, 0, "fba_api", False))
    assert (pool["S002"], pool["S003"]) == ((10, 0, "afn_report", True), (10, 0, "afn_report", True))
    assert shop.attention["unconfirmed_skus"] == 2


def test_too_much_vanished_is_refused_and_new_reports_are_asked_for(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    before = shop.pool()
    shop.later()
    shop.serve(LISTED, STOCKED[:22])
    with pytest.raises(
        DecisionNeededError, match=r"18 of 40 SKUs with FBA stock \(180 of 400 units\).*accept_zeroed_stock"
    ):
        shop.run()
    assert shop.pool() == before
    assert shop.db.execute("SELECT count(*) FROM fba.report WHERE refused_at IS NOT NULL").fetchone() == (2,)
    codes = {code for (code,) in shop.db.execute("SELECT code FROM fba.needs_attention").fetchall()}
    assert {"refused_stock", "failed_run"} <= codes
    made = shop.amazon.world.calls()["reports_created"][AFN]
    shop.later(31)
    shop.serve(LISTED, STOCKED)
    shop.run()
    assert shop.amazon.world.calls()["reports_created"][AFN] == made + 1
    assert {code for (code,) in shop.db.execute("SELECT code FROM fba.needs_attention").fetchall()} == set()


def test_a_person_accepts_what_was_refused_without_new_reports(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[:22])
    with pytest.raises(DecisionNeededError):
        shop.run()
    made = shop.amazon.world.calls()["reports_created"][AFN]
    shop.run(accept_zeroed_stock=True)
    assert shop.amazon.world.calls()["reports_created"][AFN] == made
    assert [sku for sku, row in shop.pool().items() if row[0] == 0] == SKUS[22:]
    assert shop.attention["zeroed_skus"] == 18


def test_four_skus_with_nearly_all_units_are_kept(shop):
    big = [(sku, 5000 if n < 4 else 1, "SELLABLE") for n, sku in enumerate(SKUS)]
    shop.serve(LISTED, big)
    shop.run()
    shop.later()
    shop.serve(LISTED, big[4:])
    shop.run()
    assert {shop.pool()[sku] for sku in SKUS[:4]} == {(5000, 0, "afn_report", True)}
    assert shop.attention["unconfirmed_skus"] == 4


def test_few_skus_with_many_units_are_refused_by_units(shop):
    big = [(sku, 500 if n < 5 else 1, "SELLABLE") for n, sku in enumerate([f"X{n:03d}" for n in range(400)])]
    listed = [(sku, None, "AMAZON_NA") for sku, _, _ in big]
    shop.serve(listed, big)
    shop.run()
    shop.later()
    shop.serve(listed, big[5:])
    with pytest.raises(DecisionNeededError, match=r"5 of 400 SKUs with FBA stock \(2500 of 2895 units\)"):
        shop.run()


@pytest.mark.parametrize("include_fbm", [False, True])
def test_fba_and_fbm_are_judged_apart(shop, include_fbm):
    """An AFN report of one row in forty: merchant-fulfilled stock would keep every SKU above 0."""
    shop.settings(include_fbm_quantity=include_fbm)
    both = [*LISTED, *((sku, 7, "DEFAULT") for sku in SKUS)]
    shop.serve(both, STOCKED)
    shop.run()
    before = shop.pool()
    shop.later()
    shop.serve(both, STOCKED[:1])
    with pytest.raises(DecisionNeededError, match="39 of 40 SKUs with FBA stock"):
        shop.run()
    shop.later()
    shop.serve([*LISTED, *((sku, 7, "DEFAULT") for sku in SKUS[:20])], STOCKED)
    with pytest.raises(DecisionNeededError, match="20 of 40 SKUs with merchant-fulfilled stock"):
        shop.run()
    assert shop.pool() == before
    shop.later()
    shop.serve([*LISTED, *((sku, 7, "DEFAULT") for sku in SKUS[1:])], STOCKED)
    shop.run()
    assert shop.pool()["S000"] == (10, 7, "afn_report", True)
    shop.later()
    shop.serve([*LISTED, *((sku, 7, "DEFAULT") for sku in SKUS[1:])], STOCKED)
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", False)


def test_stock_vanishing_hour_after_hour_never_erodes(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    for hour in range(1, 6):
        shop.later()
        shop.serve(LISTED, STOCKED[: 40 - 8 * hour] or STOCKED[:1])
        with pytest.raises(DecisionNeededError):
            shop.run()
    assert {row[0] for row in shop.pool().values()} == {10}


def test_the_literal_rule_can_be_had(shop):
    shop.settings(confirm_vanished=False)
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[2:])
    shop.run()
    assert shop.pool()["S000"] == (0, 0, "default_zero", False)
    assert shop.attention["zeroed_skus"] == 2
    assert shop.amazon.world.calls()["calls"].get("getInventorySummaries", 0) == 0


@pytest.mark.parametrize("fetch", [False, True])
def test_the_api_listing_nothing_for_a_sku_it_gave_stock_for_is_no_zero(shop, fetch):
    shop.settings(fetch_missing_inventory=True)
    odd = "S K U 1"
    shop.serve([*LISTED, (odd, None, "AMAZON_NA")], STOCKED)
    shop.at_amazon({odd: 7})
    shop.run()
    assert shop.pool()[odd] == (7, 0, "fba_api", False)
    shop.settings(fetch_missing_inventory=fetch)
    shop.amazon.world.remove_items(SELLER, US, [odd])
    shop.later()
    shop.serve([*LISTED, (odd, None, "AMAZON_NA")], STOCKED)
    shop.run()
    assert shop.pool()[odd] == (7, 0, "fba_api", True)


@pytest.mark.parametrize("kind", ["doubled", "two_members"])
def test_a_document_that_holds_its_rows_twice_is_refused(shop, kind):
    shop.run()
    before = shop.pool()
    shop.later()
    shop.amazon.world.damage_report(AFN, kind)
    with pytest.raises(UnreadableDocumentError, match=r"second header|repeat another line"):
        shop.run()
    assert shop.pool() == before


def test_a_document_whose_lines_end_in_carriage_returns_is_refused(shop):
    shop.amazon.world.damage_report(AFN, "carriage_returns")
    with pytest.raises(UnreadableDocumentError, match="carriage return"):
        shop.run()


def test_quantities_that_jump_are_reported(shop):
    shop.run()
    for share in (0.5, 1000.0):
        shop.later()
        shop.amazon.world.damage_report(AFN, "quantities_scaled", share=share)
        shop.run()
        assert shop.attention["units_jumped"] == 1
        assert "changed implausibly" in shop.row("summary")


@pytest.mark.parametrize("condition", ["SELLABLE", "UNSELLABLE"])
def test_fba_stock_that_is_stated_0_beside_fbm_is_refused(shop, condition):
    shop.settings(include_fbm_quantity=True)
    both = [*LISTED, *((sku, 30, "DEFAULT") for sku in SKUS)]
    shop.serve(both, STOCKED)
    shop.run()
    shop.later()
    shop.serve(both, [(sku, 0, condition) for sku in SKUS])
    with pytest.raises(DecisionNeededError, match=r"40 of 40 SKUs with FBA stock would lose all of it"):
        shop.run()
    assert shop.pool()["S000"][:2] == (10, 30)
    shop.run(accept_zeroed_stock=True)
    assert shop.pool()["S000"][:2] == (0, 30)


def test_a_listing_that_is_broken_for_good_freezes_no_sku_that_the_afn_report_states(shop):
    listed = [
        *LISTED,
        *((f"N{n:03d}", 1, "DEFAULT") for n in range(200)),
        ("a title that\r\nbreaks", None, "AMAZON_NA"),
    ]
    shop.serve(listed, STOCKED)
    shop.run()
    assert shop.attention["rejected_lines"] == 1
    shop.later()
    shop.serve(listed, [("S000", 2, "UNSELLABLE"), *STOCKED[1:]])
    shop.run()
    assert shop.pool()["S000"][0] == 0


def test_a_wrong_label_of_the_charset_changes_no_sku(shop):
    skus = [f"Größe-{n}" for n in range(20)]
    listed = [(sku, None, "AMAZON_NA") for sku in skus]
    shop.serve(listed, [(sku, 5, "SELLABLE") for sku in skus])
    shop.run()
    before = shop.pool()
    shop.later()
    lines = ["seller-sku\tWarehouse-Condition-code\tQuantity Available", *(f"{sku}\tSELLABLE\t5" for sku in skus)]
    shop.serve(listed, [])
    shop.amazon.world.desk.overrides[AFN].clear()
    shop.amazon.world.override_document(
        AFN, "\r\n".join([*lines, ""]).encode(), content_type="text/plain; charset=Cp1252"
    )
    shop.run()
    assert shop.pool() == before


def test_question_marks_for_letters_find_the_sku_they_stand_for(shop):
    shop.serve(
        [("Gr??e-1", None, "AMAZON_NA"), ("Ta?se", None, "AMAZON_NA"), ("plain", None, "AMAZON_NA")],
        [("Größe-1", 5, "SELLABLE"), ("Tasse", 2, "SELLABLE"), ("plain", 1, "SELLABLE")],
    )
    summary = shop.run()
    assert shop.pool()["Größe-1"] == (5, 0, "afn_report", False)
    assert "Gr??e-1" not in shop.pool()
    assert "1 SKU with ? recognised: Größe-1" in summary
    assert "1 new SKU with ?, perhaps misspelt: Ta?se" in summary


def test_conditions_and_channels_are_compared_without_case_and_undocumented_ones_are_named(shop):
    shop.serve(
        [("A", None, "amazon_na"), ("B", 4, "default"), ("C", None, "AMAZON_NA")],
        [("A", 5, "Sellable"), ("C", 3, "Mystery"), ("C", 2, "SELLABLE")],
    )
    summary = shop.run()
    assert {sku: row[:2] for sku, row in shop.pool().items()} == {"A": (5, 0), "B": (0, 4), "C": (2, 0)}
    assert "1 row of GET_AFN_INVENTORY_DATA with the undocumented value 'Mystery'." in summary


def test_an_undocumented_channel_holds_only_its_own_sku(shop):
    listed = [*LISTED, ("NEW-CHANNEL", 3, "AMAZON_NA"), *((f"N{n:03d}", 1, "DEFAULT") for n in range(200))]
    shop.serve(listed, STOCKED)
    shop.run()
    shop.later()
    changed = [("NEW-CHANNEL", 3, "FLEX_NA") if sku == "NEW-CHANNEL" else (sku, *rest) for sku, *rest in listed]
    shop.serve(changed, [("S000", 9, "SELLABLE"), *STOCKED[1:]])
    shop.run()
    assert shop.pool()["NEW-CHANNEL"][0] == 3
    assert shop.pool()["S000"][0] == 9
    assert shop.attention["kept_skus"] == 1


def test_many_odd_channels_are_rather_shifted_rows(shop):
    shop.settings(max_rejected_share=1.0)
    listed = [*LISTED, *((f"N{n:03d}", 1, "DEFAULT") for n in range(20))]
    shop.serve(listed, STOCKED)
    shop.run()
    shop.later()
    shop.serve([*LISTED, *((f"N{n:03d}", 1, "") for n in range(20))], STOCKED[1:])
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", False), "held, since a row of it may be one of these"


def afn(shop, rows, *, end="\r\n"):
    """Serve these AFN rows in Amazon's own columns, the number last."""
    head = "seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\tQuantity Available\r\n"
    lines = [f"{sku}\tX{sku}\tB{sku}\tNewItem\t{condition}\t{units}" for sku, units, condition in rows]
    shop.amazon.world.desk.overrides.pop(AFN, None)
    shop.amazon.world.override_document(AFN, (head + "\r\n".join(lines) + end).encode())


def test_a_part_of_the_afn_report_that_comes_again_counts_once_and_is_told(shop):
    rows = [*STOCKED, ("TWO", 5, "SELLABLE"), ("TWO", 5, "SELLABLE")]
    shop.serve(LISTED, [])
    afn(shop, rows)
    summary = shop.run()
    assert "1 row is equal to the one before of the same SKU" in summary
    assert shop.pool_row("TWO") == (10, 0)
    assert "report_drift" not in shop.attention
    shop.later()
    shop.serve(LISTED, [])
    afn(shop, [*rows, rows[0], *rows[-2:]])
    summary = shop.run()
    assert "3 rows of GET_AFN_INVENTORY_DATA came again elsewhere in it, and counted once." in summary
    assert shop.attention["report_drift"] == 3
    assert [shop.pool_row(sku) for sku in ("S000", "S002", "TWO")] == [(10, 0)] * 3


def test_an_afn_report_that_is_cut_in_its_last_number_is_not_believed(shop):
    shop.settings(max_rejected_share=1.0)
    rows = [(sku, 1234, "SELLABLE") for sku in SKUS]
    shop.serve(LISTED, [])
    afn(shop, rows)
    shop.run()
    shop.later()
    shop.serve(LISTED, [])
    afn(shop, [*rows[:-1], ("S039", 12, "SELLABLE")], end="")
    shop.run()
    assert shop.pool_row("S039") == (1234, 0)
    assert (shop.attention["rejected_lines"], shop.attention["kept_skus"]) == (1, 1)


def test_first_reports_that_state_no_stock_of_listings_by_amazon_are_refused(shop):
    shop.serve([(sku, None, "amazon_na") for sku in SKUS], [])
    with pytest.raises(DecisionNeededError, match="is empty, but 40 listings"):
        shop.run()
    shop.later()
    shop.serve(LISTED, [(sku, 10, "SELLABLE_UNITS") for sku in SKUS])
    with pytest.raises(DecisionNeededError, match="has no row in a documented condition, but 40 listings"):
        shop.run()
    assert shop.pool() == {}


def test_a_sku_with_question_marks_in_the_pool_is_repaired_too(shop):
    shop.settings(include_fbm_quantity=True)
    broken = [*LISTED, ("Gr??e-1", None, "AMAZON_NA")]
    shop.serve(broken, STOCKED)
    shop.run()
    assert shop.attention["report_drift"] == 1, "a new SKU that may be misspelt"
    shop.later()
    shop.serve([*broken, ("M?bel", 7, "DEFAULT")], [*STOCKED, ("Größe-1", 5, "SELLABLE")])
    shop.run()
    title = shop.db.execute("SELECT title FROM fba.global_inventory_pool WHERE sku = 'Größe-1'").fetchone()
    assert (shop.pool_row("Größe-1"), title) == ((5, 0), ("title",))


def test_a_merchants_own_sku_is_recognised_from_the_pool(shop):
    shop.settings(include_fbm_quantity=True)
    skus = [f"Größe-{n}" for n in range(4)]
    shop.serve([*LISTED, *((sku, 7, "DEFAULT") for sku in skus)], STOCKED)
    shop.run()
    before = shop.pool()
    for _ in range(2):
        shop.later()
        shop.serve([*LISTED, *((f"Gr??e-{n}", 7, "DEFAULT") for n in range(4))], STOCKED)
        shop.run()
        assert shop.pool() == before


def test_an_answer_about_another_marketplace_is_not_used(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    granularity = {"granularityType": "Marketplace", "granularityId": "A2EUQ1WTGCTBG2"}
    summaries = [{"sellerSku": "S000", "inventoryDetails": {"fulfillableQuantity": 0}}]
    body = {"payload": {"granularity": granularity, "inventorySummaries": summaries}}
    shop.amazon.world.add_fault("getInventorySummaries", "status", status=200, body=body, times=1)
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)


def test_an_undocumented_condition_is_no_zero(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, [("S000", 10, "Mystery"), *STOCKED[1:]])
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)
    assert (shop.attention["unconfirmed_skus"], shop.attention["report_drift"]) == (1, 1)


def test_a_report_does_not_confirm_itself_beside_a_newer_one(shop):
    """The second pair has a new listings report and the same AFN report, which Amazon was slow with."""
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    shop.run()
    shop.db.execute(
        "UPDATE fba.report SET requested_at = requested_at - interval '40 minutes' WHERE report_type = %s", (LISTINGS,)
    )
    since = shop.db.execute("SELECT unconfirmed_since FROM fba.global_inventory_pool WHERE sku = 'S000'").fetchone()[0]
    afn = "SELECT max(requested_at) FROM fba.report WHERE report_type = %s"
    assert since == shop.db.execute(afn, (AFN,)).fetchone()[0]
    shop.db.execute("DELETE FROM fba.rate_limit")
    shop.amazon.world.advance(40 * 60)
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)


def test_a_sku_that_only_the_api_knows_vanishes_once(shop):
    shop.settings(fetch_missing_inventory=True)
    listed = [*LISTED, ("ONLY-API", None, "AMAZON_NA")]
    shop.at_amazon({"ONLY-API": 7})
    for _ in range(3):
        shop.serve(listed, STOCKED)
        shop.run()
        assert shop.pool()["ONLY-API"] == (7, 0, "fba_api", False)
        assert "vanished_skus" not in shop.attention
        shop.later()


def test_two_answers_about_one_sku_that_differ_say_nothing(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    shop.later()
    shop.serve(LISTED, STOCKED[1:])
    listed = [{"sellerSku": "S000", "inventoryDetails": {"fulfillableQuantity": units}} for units in (10, 0)]
    body = {"payload": {"inventorySummaries": listed}}
    shop.amazon.world.add_fault("getInventorySummaries", "status", status=200, body=body, times=1)
    shop.run()
    assert shop.pool()["S000"] == (10, 0, "afn_report", True)


def test_skus_that_share_an_fnsku_are_named(shop):
    """Each reports all the units, so their sum would be offered twice."""
    rows = [("S000", "X1", "SELLABLE", 5), ("S001", "X1", "Sellable", 5), ("S002", "X2", "SELLABLE", 5)]
    rows += [("S003", "X3", "SELLABLE", 5), ("S004", "X3", "SELLABLE", 0)]  # the second has nothing to sell
    rows += [
        ("S005", "X5", "SELLABLE", 5),
        ("S006", "X5", "UNSELLABLE", 5),
        ("S007", "", "SELLABLE", 1),
        ("S008", "", "SELLABLE", 1),
    ]
    header = "seller-sku\tfulfillment-channel-sku\tasin\tcondition-type\tWarehouse-Condition-code\tQuantity Available"
    lines = [header, *(f"{sku}\t{fnsku}\tB\tNew\t{condition}\t{units}" for sku, fnsku, condition, units in rows), ""]
    shop.amazon.world.override_document(AFN, "\r\n".join(lines).encode())
    shop.serve(LISTED, STOCKED)  # the AFN document above is served first
    summary = shop.run()
    assert "1 FNSKU is shared by SKUs that each report its whole stock: X1 (S000, S001)." in summary
    assert shop.attention["shared_fnsku"] == 1
    assert shop.pool_row("S000") == (5, 0)


def test_other_columns_and_many_other_rows_are_named_and_counted(shop):
    shop.run()
    shop.later()
    shop.amazon.world.damage_report(AFN, "column_added")
    summary = shop.run()
    assert shop.attention["report_drift"] == 1
    assert "GET_AFN_INVENTORY_DATA has other columns than before (new: new)" in summary
    shop.later()
    summary = shop.run()
    assert "(gone: new)" in summary
    shop.later()
    shop.run()
    assert "report_drift" not in shop.attention


def test_a_report_that_hangs_is_asked_for_anew_and_whichever_ends_first_counts(shop):
    shop.amazon.world.set_clock(processing_seconds=4 * 3600)
    first = run(RequestReportOperator(task_id="request", report_type=AFN))
    assert run(RequestReportOperator(task_id="request", report_type=AFN)) == first
    shop.db.execute("UPDATE fba.report SET requested_at = requested_at - interval '121 minutes'")
    second = run(RequestReportOperator(task_id="request", report_type=AFN))
    assert second != first
    shop.db.execute("UPDATE fba.report SET requested_at = requested_at - interval '121 minutes'")
    shop.amazon.world.advance(4 * 3600 + 60)
    assert run(RequestReportOperator(task_id="request", report_type=AFN)) in (first, second)
    assert shop.amazon.world.calls()["reports_created"][AFN] == 2


def test_a_report_that_amazon_describes_as_another_one_is_not_used(shop):
    report_id = run(RequestReportOperator(task_id="request", report_type=AFN))
    body = {
        "reportId": report_id,
        "reportType": LISTINGS,
        "marketplaceIds": [US],
        "processingStatus": "DONE",
        "createdTime": "2026-11-01T00:00:00Z",
        "reportDocumentId": "x",
    }
    shop.amazon.world.add_fault("getReport", "status", status=200, body=body)
    with pytest.raises(DecisionNeededError, match=r"describes report .* as another one"):
        run(WaitForReportOperator(task_id="wait", report_id=report_id))


def test_amazons_clock_is_no_age(shop):
    """An answer that says 2099 must not be reused for ever, nor deferred to 2099."""
    report_id = run(RequestReportOperator(task_id="request", report_type=AFN))
    run(WaitForReportOperator(task_id="wait", report_id=report_id))
    body = {
        "reportId": report_id,
        "reportType": AFN,
        "marketplaceIds": [US],
        "processingStatus": "DONE",
        "createdTime": "2099-01-01T00:00:00Z",
        "reportDocumentId": "x",
    }
    from fba_operators.amazon.operations import Report
    from fba_operators.reports.ledger import ReportLedger
    from fba_operators.warehouse.database import Warehouse

    ReportLedger(Warehouse(), STORE).record_state(Report.model_validate(body))
    ((requested, at_amazon),) = shop.db.execute(
        "SELECT requested_at < now(), amazon_created_at::date::text FROM fba.report"
    ).fetchall()
    assert (requested, at_amazon) == (True, "2099-01-01")
    shop.later(31)
    assert run(RequestReportOperator(task_id="request", report_type=AFN)) != report_id


AHEAD = "UPDATE fba.report SET {0} = {0} + interval '3 hours'"


@pytest.mark.parametrize("status", ["DONE", "FATAL", "IN_PROGRESS"])
def test_a_time_of_ours_that_is_still_to_come_is_no_age(shop, status):
    """The database's clock was three hours ahead and was set right: no report of then is taken for one of now."""
    shop.serve(LISTED, STOCKED)
    shop.run()
    for column in ("requested_at", "applied_at", "finished_at"):
        shop.db.execute(AHEAD.format(column))
    needs = shop.db.execute("SELECT code, remedy LIKE '%clock%' FROM fba.needs_attention_at_once").fetchall()
    assert needs == [("stale_stock", True)]
    if status != "DONE":
        shop.db.execute("UPDATE fba.report SET status = %s, applied_at = NULL", (status,))
    for units in (3, 2):
        shop.amazon.world.advance(3700)
        shop.db.execute("DELETE FROM fba.rate_limit")
        shop.serve(LISTED, [("S000", units, "SELLABLE"), *STOCKED[1:]])
        shop.run()
        assert shop.pool_row("S000")[0] == units
        assert "stale_stock" not in shop.attention
        shop.db.execute("UPDATE fba.report SET requested_at = requested_at - interval '1 hour'")
    assert shop.db.execute("SELECT count(*) FROM fba.needs_attention_at_once").fetchone() == (0,)


def test_a_report_of_a_clock_that_was_ahead_replaces_none_whose_age_is_known(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    known = [
        shop.db.execute("SELECT report_id FROM fba.report WHERE report_type = %s", (name,)).fetchone()[0]
        for name in (LISTINGS, AFN)
    ]
    shop.later()
    ids = [
        run(WaitForReportOperator(task_id="wait", report_id=run(RequestReportOperator(task_id="r", report_type=name))))
        for name in (LISTINGS, AFN)
    ]
    assert not {*ids} & {*known}
    shop.db.execute(AHEAD.format("requested_at") + " WHERE report_id = ANY (%s)", (ids,))
    with pytest.raises(AirflowSkipException):
        run(MergeInventoryOperator(task_id="merge", listings_report_id=ids[0], afn_report_id=ids[1]))


def test_stock_that_is_unconfirmed_since_a_time_to_come_is_confirmed_all_the_same(shop):
    shop.serve(LISTED, STOCKED)
    shop.run()
    for ahead in ("3 days", "0", "0"):
        shop.later()
        shop.serve(LISTED, STOCKED[1:])
        shop.run()
        shop.db.execute(
            "UPDATE fba.global_inventory_pool SET fba_unconfirmed_since = fba_unconfirmed_since + %s::interval",
            (ahead,),
        )
    assert shop.pool()["S000"] == (0, 0, "default_zero", False)


def test_old_stock_needs_a_person_also_when_the_run_fails(shop):
    shop.run()
    assert "stale_stock" not in shop.attention
    shop.later(7 * 60)
    shop.amazon.world.add_fault("createReport", "fatal", report_type=AFN)
    with pytest.raises(DecisionNeededError):
        shop.run()
    assert shop.attention["stale_stock"] == 1
    shop.later(31)
    shop.run()
    assert "stale_stock" not in shop.attention


def test_thousands_of_rejected_lines_are_counted_and_some_are_kept(shop):
    shop.settings(max_rejected_share=1.0)
    shop.serve([*LISTED, *((f"R{n}", "x", "DEFAULT") for n in range(3000))], STOCKED)
    shop.run()
    assert shop.attention["rejected_lines"] == 3000
    assert shop.db.execute("SELECT count(*) FROM fba.rejected_row").fetchone() == (1000,)
    assert shop.db.execute("SELECT max(rejected_row_count) FROM fba.report").fetchone() == (3000,)
