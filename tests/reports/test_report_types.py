"""The table of report types agrees with itself and with the warehouse."""

from __future__ import annotations

import re
from pathlib import Path

from fba_operators.reports.report_types import AFN_INVENTORY, FULFILLED_SHIPMENTS, LISTINGS, REPORT_TYPES


def test_report_types_are_consistent():
    assert [len(each.columns) for each in (LISTINGS, AFN_INVENTORY, FULFILLED_SHIPMENTS)] == [29, 6, 49]
    for each in REPORT_TYPES.values():
        columns = set(each.columns)
        assert len(columns) == len(each.amazon_columns)
        assert {each.sku, each.quantity} <= set(each.required) <= columns
        assert each.personal <= columns - set(each.required)
        assert set(each.aliases) <= set(each.amazon_columns)
        assert set(each.pool_mapping.values()) <= columns


def test_parsed_copies_have_the_columns():
    migrations = Path(__file__).parents[2] / "include" / "sql" / "migrations"
    sql = "\n".join(path.read_text() for path in sorted(migrations.glob("*.sql")))
    for table, report_type in (
        ("amazon_all_listings_report", LISTINGS),
        ("amazon_afn_inventory_report", AFN_INVENTORY),
    ):
        found = re.search(rf"CREATE TABLE fba\.{table} \((.*?)\n\);", sql, re.DOTALL)
        assert found, table
        in_table = re.findall(r"^ +(\w+) \w", found[1], re.MULTILINE)
        assert set(report_type.columns) <= set(in_table), table
