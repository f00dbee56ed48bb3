"""The header: which names are understood, and what a header without a required column is."""

from __future__ import annotations

import unicodedata

import pytest

from fba_operators.errors import (
    MissingColumnsError,
)
from fba_operators.reports.report_types import LISTINGS
from tests.reports.documents import copied_rows, document, only_block


@pytest.mark.parametrize(
    "header",
    [
        "SELLER-SKU\tQuantity \t FULFILMENT-CHANNEL",
        "SKU venditore\tQuantit?\tCanale di gestione",
        "SKU venditore\tQuantit??\tCanale di gestione",
        "sku-sprzedawcy\tilo??\tkana?-realizacji",
        "sku-vendeur\t" + unicodedata.normalize("NFD", "quantité") + "\tcanal-traitement",
        "seller-sku\tquantity\tfulfillment-channel\t\t",
    ],
)
def test_header_names_that_are_understood(header):
    doc = document(f"{header}\nS\t4\tDEFAULT\n".encode())
    assert doc.copy_columns == ("line_number", "seller_sku", "quantity", "fulfillment_channel")
    assert only_block(doc).quantities.tolist() == [4]


def test_an_english_name_takes_precedence_over_a_localised_one():
    data = b"SKU\tseller-sku\tquantity\tfulfillment-channel\nA\tA\t1\tDEFAULT\nA\tB\t1\tDEFAULT\n"
    block = only_block(document(data))
    assert block.skus == ["A"]
    assert block.document.header.fields["seller_sku"] == 1
    (rejected,) = block.rejected
    assert (rejected.line_number, rejected.sku) == (3, None)
    assert "differ" in rejected.reason


def test_repeated_quantities_must_agree():
    data = b"seller-sku\tquantity\tquantity\tfulfillment-channel\nA\t1\t1\tDEFAULT\nB\t1\t2\tDEFAULT\n"
    doc = document(data)
    block = only_block(doc)
    assert block.skus == ["A"]
    assert [each.sku for each in block.rejected] == ["B"]
    assert copied_rows(doc)[0]["extra"] == {"quantity": "1"}


def test_a_name_that_is_too_damaged_is_not_guessed():
    with pytest.raises(MissingColumnsError, match="quantity"):
        document("出品者SKU\t??\tフルフィルメント・チャンネル\n".encode())


def test_a_missing_required_column_is_reported_with_the_header():
    with pytest.raises(
        MissingColumnsError, match=r"lacks the column fulfillment-channel.*3 fields: seller-sku \| quantity \| color"
    ) as caught:
        document(b"seller-sku\tquantity\tcolor\nA\t1\tred\n")
    assert caught.value.found == ("seller-sku", "quantity", "color")


def test_every_localised_name_is_understood():
    for english, names in LISTINGS.aliases.items():
        for name in names:
            header = {"seller_sku": "seller-sku", "quantity": "quantity", "fulfillment_channel": "fulfillment-channel"}
            header.pop(english.replace("-", "_"), None)
            fields = document("\t".join([*header.values(), name]).encode()).header.fields
            assert len(header) in fields.values(), name
            if name not in ("商品编码", "在庫数"):
                assert fields[english.replace("-", "_")] == len(header)
