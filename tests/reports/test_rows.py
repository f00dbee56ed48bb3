"""Rows: which lines are rejected and why, and how the fields of the others are read."""

from __future__ import annotations

import pytest

from fba_operators.reports.rows import BLANK
from tests.reports.documents import HEADER, copied_rows, document, listing, only_block, read_one


@pytest.mark.parametrize(
    ("line", "reason", "sku"),
    [
        ("", "empty", None),
        ("title\tdesc", "ends after 2 fields", None),
        (listing(seller_sku=""), "seller-sku is blank", None),
        (listing(seller_sku="\u00a0 "), "seller-sku is blank", None),
        (listing(seller_sku="A\0B"), "NUL", None),
        (listing(quantity="1.5"), "quantity is neither", "SKU-1"),
        (listing(quantity="-1"), "quantity is neither", "SKU-1"),
        (listing(quantity="+1"), "quantity is neither", "SKU-1"),
        (listing(quantity="1,000"), "quantity is neither", "SKU-1"),
        (listing(quantity="1000000001"), "quantity is neither", "SKU-1"),
        (listing(quantity="9" * 6000), "quantity is neither", "SKU-1"),
        (listing(quantity="٣"), "quantity is neither", "SKU-1"),
        (listing(quantity=r"\N"), "quantity is neither", "SKU-1"),
        *(
            (listing(fulfillment_channel=channel), "fulfillment-channel is neither", "SKU-1")
            for channel in ("", "amazon.na", "Flex-NA", "AMAZON NA", "flex", "Migrated Template")
        ),
        (
            listing(fulfillment_channel="FLEX_NA"),
            "fulfillment-channel is neither",
            "SKU-1",
        ),  # undocumented, not shifted
        (listing(item_name="a\tb"), "30 fields, the header 29", None),
        (
            listing(item_name="a\tb", listing_id="L", status="", merchant_shipping_group=""),
            "fulfillment-channel is neither",
            None,
        ),
    ],
)
def test_rejected_lines(line, reason, sku):
    block = read_one(f"{line}\n{listing(seller_sku='SKU-2')}")
    (rejected,) = block.rejected
    assert reason in rejected.reason
    assert (rejected.line_number, rejected.raw, rejected.sku) == (2, line.encode(), sku)
    assert block.skus == ["SKU-2"]
    assert block.line_numbers.tolist() == [3]


@pytest.mark.parametrize(
    ("text", "quantity"), [("12", 12), ("12.0", 12), ("0", 0), ("1000000000", 10**9), ("007", 7), ("", BLANK)]
)
def test_quantities(text, quantity):
    assert read_one(listing(quantity=text)).quantities.tolist() == [quantity]


@pytest.mark.parametrize(
    "sku", ["NA", "null", "nan", "None", " A ", "a,b", 'x"y', "\\N", "\\", "a\rb", "A\x1c\u2028\x85", "007", "é"]
)
def test_skus_stay_exactly_as_sent(sku):
    doc = document(f"{HEADER}\n{listing(seller_sku=sku)}\n".encode())
    assert only_block(doc).skus == [sku]
    assert copied_rows(doc)[0]["seller_sku"] == sku


def test_nul_outside_the_sku_becomes_a_replacement_character():
    assert read_one(listing(item_name="a\0b")).column("item_name") == ["a\ufffdb"]


def test_fewer_fields_than_names_are_missing_not_blank():
    doc = document(f"{HEADER}\tMinimum order quantity\tSell remainder\n{listing()}\n{listing()}\t2\n".encode())
    assert [row["extra"] for row in copied_rows(doc)] == [{}, {"Minimum order quantity": "2"}]
    doc = document(b"seller-sku\tquantity\tfulfillment-channel\tstatus\nA\t1\tDEFAULT\nB\t1\tDEFAULT\t\n")
    assert [row["status"] for row in copied_rows(doc)] == [None, ""]
    assert only_block(doc).column("status") == [None, ""]
    assert only_block(doc).column("asin1") == [None, None]


def test_extra_columns_are_exact_json():
    name = 'odd "name" \\ 100% '
    value = 'say "hi" \\ \x01 \r 50% é'
    doc = document(f"{name}\t{HEADER}\n{value}\t{listing()}\nplain\t{listing()}\n".encode())
    assert [row["extra"] for row in copied_rows(doc)] == [{name.strip(): value}, {name.strip(): "plain"}]
