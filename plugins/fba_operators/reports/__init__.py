"""Knows reports: which there are, how one is asked for once, and how its document becomes rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from fba_operators.reports.report_types import AFN_INVENTORY, FULFILLED_SHIPMENTS, LISTINGS, REPORT_TYPES, ReportType

if TYPE_CHECKING:
    from fba_operators.reports.ledger import ReportLedger
    from fba_operators.reports.load import LoadedReport, copy_rows, load_report, record_applied

__all__ = [
    "AFN_INVENTORY",
    "FULFILLED_SHIPMENTS",
    "LISTINGS",
    "REPORT_TYPES",
    "LoadedReport",
    "ReportLedger",
    "ReportType",
    "copy_rows",
    "load_report",
    "record_applied",
]


def __getattr__(name: str) -> Any:  # lazy, so that a DAG file can name a report type without loading numpy
    if name == "ReportLedger":
        from fba_operators.reports import ledger  # noqa: PLC0415

        return ledger.ReportLedger
    if name in __all__:
        from fba_operators.reports import load as module  # noqa: PLC0415

        return getattr(module, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
