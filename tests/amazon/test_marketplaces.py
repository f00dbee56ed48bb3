"""Marketplaces: the table and its two lookups."""

from __future__ import annotations

import re

import pytest

from fba_operators.amazon.marketplaces import MARKETPLACES, marketplace, marketplace_in


def test_a_marketplace_has_its_country_and_endpoint():
    found = marketplace("ATVPDKIKX0DER")
    assert (found.country, found.name, found.region.code) == ("US", "United States", "NA")
    assert found.region.endpoint == "https://sellingpartnerapi-na.amazon.com"


def test_every_marketplace_is_listed_once():
    assert len(MARKETPLACES) == len({m.country for m in MARKETPLACES.values()}) == 23
    for key, found in MARKETPLACES.items():
        assert key == found.id
        assert re.fullmatch(r"A[A-Z0-9]{11,13}", key)
        assert found.region.endpoint == f"https://sellingpartnerapi-{found.region.code.lower()}.amazon.com"
        assert marketplace_in(found.country) is found


@pytest.mark.parametrize("code", ["UK", "GB", "gb"])
def test_britain_is_found_by_both_codes(code):
    found = marketplace_in(code)
    assert (found.id, found.country, found.iso_country) == ("A1F83G8C2ARO7P", "UK", "GB")


def test_usual_charset_is_that_of_windows_in_the_country():
    assert {m.country for m in MARKETPLACES.values() if m.usual_charset == "cp932"} == {"JP"}
    assert marketplace_in("DE").usual_charset == "cp1252"


@pytest.mark.parametrize(("look_up", "wrong"), [(marketplace, "US"), (marketplace, ""), (marketplace_in, "CH")])
def test_an_unknown_marketplace_is_an_error_that_lists_the_choices(look_up, wrong):
    with pytest.raises(ValueError, match=rf"'{wrong}'.*ATVPDKIKX0DER \(US\).*A1VC38T7YXB528 \(JP\)"):
        look_up(wrong)
