"""The store, the seller, the marketplaces and the report types that most tests use."""

from __future__ import annotations

STORE, SELLER, US = "amazon_us", "A1SANDBOXSELLER", "ATVPDKIKX0DER"
CANADA = "A2EUQ1WTGCTBG2"
OTHER_SELLER = "AOTHERSELLER"
LISTINGS, AFN = "GET_MERCHANT_LISTINGS_ALL_DATA", "GET_AFN_INVENTORY_DATA"
SHIPMENTS_REPORT = "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL"
