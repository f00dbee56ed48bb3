"""Fulfillment requests as read from the warehouse."""

from __future__ import annotations

import pytest

from fba_operators.fulfillment.request import iso_country


@pytest.mark.parametrize(
    ("code", "iso"), [("UK", "GB"), ("gb", "GB"), (" us ", "US"), ("EU", None), ("", None), (None, None)]
)
def test_countries_become_iso(code, iso):
    assert iso_country(code) == iso
