"""`truth`, which is computed from the items, against expected values and against what reports and API return."""

from itertools import product
from typing import Any

import pytest

from sandbox.merchant.merchant import AFN, LISTINGS, Catalogue, truth
from sandbox.merchant.seed import catalogue
from sandbox.server.server import Sandbox
from sandbox.world.world import World
from tests.sandbox.client import US, Client

SELLER = "A1SANDBOXSELLER"

# sku: fba and source without the API, fba and source with the API, fbm
EXPECTED: dict[str, tuple[int, str, int, str, int]] = {
    "AFN-PLAIN": (17, "afn_report", 17, "afn_report", 0),
    "AFN-BOTH": (9, "afn_report", 9, "afn_report", 0),
    "AFN-TWICE": (11, "afn_report", 11, "afn_report", 0),
    "AFN-TWICE-EQUAL": (10, "afn_report", 10, "afn_report", 0),
    "AFN-UNSELLABLE": (0, "afn_report", 0, "afn_report", 0),
    "AFN-UNSELLABLE-LISTED": (0, "afn_report", 0, "afn_report", 0),
    "AFN-NOT-LISTED": (21, "afn_report", 21, "afn_report", 0),
    "FBA-KNOWN-TO-API": (0, "default_zero", 13, "fba_api", 0),
    "FBA-ZERO-IN-API": (0, "default_zero", 0, "fba_api", 0),
    "FBA-UNKNOWN": (0, "default_zero", 0, "default_zero", 0),
    "FBA-LISTED-QUANTITY": (6, "listings_report", 6, "listings_report", 0),
    "FBA-LISTED-ZERO": (0, "listings_report", 0, "listings_report", 0),
    "BOTH-CHANNELS": (3, "afn_report", 3, "afn_report", 4),
    "BOTH-CHANNELS-NO-AFN": (0, "default_zero", 2, "fba_api", 8),
    "BOTH-CHANNELS-LISTED": (9, "listings_report", 9, "listings_report", 2),
    "FBM-WITH-AFN": (7, "afn_report", 7, "afn_report", 5),
    "FBM-IN-API": (0, "listings_report", 0, "listings_report", 3),
    "REPEATED-EQUAL": (0, "listings_report", 0, "listings_report", 12),
    "REPEATED-DIFFERENT": (0, "listings_report", 0, "listings_report", 10),
    "REPEATED-FBA": (11, "listings_report", 11, "listings_report", 0),
    "REPEATED-HALF-BLANK": (8, "listings_report", 8, "listings_report", 0),
    "FBM-BLANK": (0, "listings_report", 0, "listings_report", 0),
    "COMMA,ONE": (0, "default_zero", 31, "fba_api", 0),
    " LEADING SPACE": (37, "afn_report", 37, "afn_report", 0),
    "TRAILING SPACE ": (0, "listings_report", 0, "listings_report", 38),
    "00123": (39, "afn_report", 39, "afn_report", 0),
    "123": (0, "listings_report", 0, "listings_report", 41),
    "Case-Sku": (44, "afn_report", 44, "afn_report", 0),
    "CASE-SKU": (0, "listings_report", 0, "listings_report", 45),
    "NA": (46, "afn_report", 46, "afn_report", 0),
}


@pytest.mark.parametrize(("fbm", "api"), list(product([False, True], repeat=2)))
def test_the_truth_equals_quantities_worked_out_by_hand(fbm: bool, api: bool) -> None:
    found = truth(catalogue(US, listings=200, seed=1), include_fbm_quantity=fbm, fetch_missing_inventory=api)
    for sku, (fba_without, source_without, fba_with, source_with, fbm_quantity) in EXPECTED.items():
        fba, source = (fba_with, source_with) if api else (fba_without, source_without)
        expected = {"fba": fba, "fbm": fbm_quantity, "quantity": fba + fbm_quantity * fbm, "source": source}
        assert found[sku] == expected, sku


def test_deleted_skus_can_be_left_out() -> None:
    generated = catalogue(US, listings=200, seed=1)
    flags = {"include_fbm_quantity": False, "fetch_missing_inventory": False}
    everything, listed = truth(generated, **flags), truth(generated, **flags, import_deleted_skus=False)
    left_out = everything.keys() - listed.keys()
    assert left_out == {sku for sku, item in generated.items.items() if not item.offers}
    assert "AFN-NOT-LISTED" in left_out


def _rows(text: str) -> list[dict[str, str]]:
    header, *lines = text.removesuffix("\r\n").split("\r\n")
    names = header.split("\t")
    return [dict(zip(names, line.split("\t"), strict=True)) for line in lines]


def _smallest(values: list[str]) -> int | None:
    numbers = [int(value) for value in values if value != ""]
    return min(numbers) if numbers else None


def _read(client: Client, *, with_api: bool) -> dict[str, tuple[int, int]]:
    """Return {sku: (fba, fbm)} from the reports and the API alone: a second implementation of the rules."""
    listings = _rows(client.text(client.finished(LISTINGS)))
    stored: dict[str, int] = {}
    for row in _rows(client.text(client.finished(AFN))):
        sellable = int(row["Quantity Available"]) if row["Warehouse-Condition-code"] == "SELLABLE" else 0
        stored[row["seller-sku"]] = stored.get(row["seller-sku"], 0) + sellable
    found = {}
    for sku in {row["seller-sku"] for row in listings} | stored.keys():
        rows = [row for row in listings if row["seller-sku"] == sku]
        fba_quantities = [row["quantity"] for row in rows if row["fulfillment-channel"].startswith("AMAZON_")]
        fba = stored.get(sku, _smallest(fba_quantities))
        if fba is None and fba_quantities and with_api:
            client.amazon.world.advance(1)
            answer = client.summaries(sellerSku=sku).json()["payload"]["inventorySummaries"]
            fba = answer[0]["inventoryDetails"]["fulfillableQuantity"] if answer else None
        fbm = _smallest([row["quantity"] for row in rows if row["fulfillment-channel"] == "DEFAULT"])
        found[sku] = (fba or 0, fbm or 0)
    return found


@pytest.mark.parametrize("with_api", [False, True])
def test_the_truth_equals_what_reports_and_api_return(amazon: Sandbox, client: Client, with_api: bool) -> None:
    amazon.world.shape_report(SELLER, US, AFN, hide=["AFN-BOTH"])
    amazon.world.shape_report(SELLER, US, LISTINGS, hide=["REPEATED-EQUAL"])
    for sku, stock in (("00123", {"fba": 5}), ("123", {"fbm": 6}), ("BRAND-NEW", {"fbm": 7, "fba": 8})):
        amazon.world.set_stock(SELLER, US, sku, **stock)
    amazon.world.put_item(SELLER, US, "PUT", offers=[("AMAZON_NA", None)], api_stock=4)
    amazon.world.remove_items(SELLER, US, ["AFN-ZERO"])
    expected = amazon.world.truth(SELLER, US, fetch_missing_inventory=with_api)
    assert {sku: (one["fba"], one["fbm"]) for sku, one in expected.items()} == _read(client, with_api=with_api)
    assert expected["BRAND-NEW"] == {"fba": 8, "fbm": 7, "quantity": 8, "source": "afn_report"}
    assert expected["AFN-BOTH"]["source"] == ("fba_api" if with_api else "default_zero")
    assert not {"REPEATED-EQUAL", "AFN-ZERO"} & expected.keys()


def test_a_refused_sku_is_left_out_if_only_the_api_has_its_quantity() -> None:
    generated = catalogue(US, listings=200, seed=1)
    generated.refused_skus = {"FBA-KNOWN-TO-API", "AFN-PLAIN"}
    without = truth(generated, include_fbm_quantity=False, fetch_missing_inventory=False)
    found = truth(generated, include_fbm_quantity=False, fetch_missing_inventory=True)
    assert without.keys() - found.keys() == {"FBA-KNOWN-TO-API"}


def test_skus_are_keyed_as_they_read_after_encoding() -> None:
    world = World(listings=200, processing_seconds=0)
    try:
        world.set_rendering(SELLER, US, LISTINGS, charset="cp1252")
        found = world.truth(SELLER, US, fetch_missing_inventory=True)
    finally:
        world.close()
    assert found["??-SKU"] == {"fba": 0, "fbm": 0, "quantity": 0, "source": "default_zero"}
    assert "日本-SKU" not in found
    assert found["ÜNÏCÖDE-é"]["fba"] == 51


def test_equal_seeds_generate_equal_merchants() -> None:
    def quantities(generated: Catalogue) -> dict[str, Any]:
        return {sku: (item.offers, item.afn, item.api_stock) for sku, item in generated.items.items()}

    first = quantities(catalogue(US, listings=300, seed=1))
    assert first == quantities(catalogue(US, listings=300, seed=1))
    assert first != quantities(catalogue(US, listings=300, seed=2))
    assert sum(bool(offers) for offers, _, _ in first.values()) == 300
    assert not any(sku.startswith("AFN-") for sku in catalogue(US, listings=20, seed=1, oddities=False).items)
