"""Knows Airflow: every operator a DAG file uses, their common base and their retry policy.

Importing a name here loads neither pandas nor numpy: a DAG file is parsed every half minute.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fba_operators.operators.base import AmazonRetryPolicy, SellingPartnerOperator
    from fba_operators.operators.feeds import (
        RecordFeedOperator,
        SubmitFeedOperator,
        UploadFeedOperator,
        WaitForFeedOperator,
    )
    from fba_operators.operators.fulfillment import (
        ClaimRequestsOperator,
        PrepareRequestsOperator,
        SettleFeedsOperator,
        SummariseRequestsOperator,
    )
    from fba_operators.operators.inventory import (
        MergeInventoryOperator,
        SummariseInventoryOperator,
        WaitForStockReportsOperator,
    )
    from fba_operators.operators.orders import SendOrdersOperator
    from fba_operators.operators.publishing import DeliverStockOperator, RecordAvailableOperator
    from fba_operators.operators.reports import RequestReportOperator, WaitForReportOperator
    from fba_operators.operators.retention import RetentionOperator
    from fba_operators.operators.run import PrepareRunOperator, SummariseRunOperator
    from fba_operators.operators.shipments import (
        FollowUpOrdersOperator,
        LoadShipmentsOperator,
        PlanWindowsOperator,
        PrepareShipmentsOperator,
        SummariseShipmentsOperator,
        WaitForShipmentsOperator,
    )
    from fba_operators.operators.stock import ReadBreakdownOperator
    from fba_operators.operators.switch import AS_CONFIGURED
    from fba_operators.operators.token import RefreshTokenOperator
    from fba_operators.operators.tracking import SummariseTrackingOperator, TrackOrdersOperator

_FILES = {
    "AS_CONFIGURED": "switch",
    "AmazonRetryPolicy": "base",
    "ClaimRequestsOperator": "fulfillment",
    "DeliverStockOperator": "publishing",
    "FollowUpOrdersOperator": "shipments",
    "LoadShipmentsOperator": "shipments",
    "MergeInventoryOperator": "inventory",
    "PlanWindowsOperator": "shipments",
    "PrepareRequestsOperator": "fulfillment",
    "PrepareRunOperator": "run",
    "PrepareShipmentsOperator": "shipments",
    "ReadBreakdownOperator": "stock",
    "RecordAvailableOperator": "publishing",
    "RecordFeedOperator": "feeds",
    "RefreshTokenOperator": "token",
    "RequestReportOperator": "reports",
    "RetentionOperator": "retention",
    "SellingPartnerOperator": "base",
    "SendOrdersOperator": "orders",
    "SettleFeedsOperator": "fulfillment",
    "SubmitFeedOperator": "feeds",
    "SummariseInventoryOperator": "inventory",
    "SummariseRequestsOperator": "fulfillment",
    "SummariseRunOperator": "run",
    "SummariseShipmentsOperator": "shipments",
    "SummariseTrackingOperator": "tracking",
    "TrackOrdersOperator": "tracking",
    "UploadFeedOperator": "feeds",
    "WaitForFeedOperator": "feeds",
    "WaitForReportOperator": "reports",
    "WaitForShipmentsOperator": "shipments",
    "WaitForStockReportsOperator": "inventory",
}

__all__ = [
    "AS_CONFIGURED",
    "AmazonRetryPolicy",
    "ClaimRequestsOperator",
    "DeliverStockOperator",
    "FollowUpOrdersOperator",
    "LoadShipmentsOperator",
    "MergeInventoryOperator",
    "PlanWindowsOperator",
    "PrepareRequestsOperator",
    "PrepareRunOperator",
    "PrepareShipmentsOperator",
    "ReadBreakdownOperator",
    "RecordAvailableOperator",
    "RecordFeedOperator",
    "RefreshTokenOperator",
    "RequestReportOperator",
    "RetentionOperator",
    "SellingPartnerOperator",
    "SendOrdersOperator",
    "SettleFeedsOperator",
    "SubmitFeedOperator",
    "SummariseInventoryOperator",
    "SummariseRequestsOperator",
    "SummariseRunOperator",
    "SummariseShipmentsOperator",
    "SummariseTrackingOperator",
    "TrackOrdersOperator",
    "UploadFeedOperator",
    "WaitForFeedOperator",
    "WaitForReportOperator",
    "WaitForShipmentsOperator",
    "WaitForStockReportsOperator",
]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
