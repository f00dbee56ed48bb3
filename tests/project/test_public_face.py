"""What may be imported from outside: these names are kept stable, so a change here is a change of the interface."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.resources import files

import pytest

PUBLIC = {
    "fba_operators.operators": """
        AS_CONFIGURED AmazonRetryPolicy ClaimRequestsOperator DeliverStockOperator FollowUpOrdersOperator LoadShipmentsOperator
        MergeInventoryOperator PlanWindowsOperator PrepareRequestsOperator PrepareRunOperator PrepareShipmentsOperator ReadBreakdownOperator
        RecordAvailableOperator RecordFeedOperator
        RefreshTokenOperator RequestReportOperator RetentionOperator SellingPartnerOperator SendOrdersOperator SettleFeedsOperator
        SubmitFeedOperator SummariseInventoryOperator SummariseRequestsOperator SummariseRunOperator SummariseShipmentsOperator
        SummariseTrackingOperator TrackOrdersOperator UploadFeedOperator
        WaitForFeedOperator WaitForReportOperator WaitForShipmentsOperator
        WaitForStockReportsOperator
    """,
    "fba_operators.amazon": "SellingPartnerHook",
    "fba_operators.errors": """
        ConfigurationError CredentialsError DamagedDocumentError DecisionNeededError DocumentError EmptyDocumentError
        LostAnswerError MissingColumnsError RequestRefusedError SellingPartnerError ThrottledError UnavailableError
        UnreadableDocumentError
    """,
    "fba_operators.reports": """
        AFN_INVENTORY FULFILLED_SHIPMENTS LISTINGS LoadedReport REPORT_TYPES ReportLedger ReportType copy_rows load_report
        record_applied
    """,
    "fba_operators.assets": "PACKAGES POOL REQUESTS SHIPMENTS",
    "fba_operators.dags": """
        fba_get_inventory fba_get_shipments fba_publish_stock fba_send_fulfillment_requests fba_track_orders
    """,
    "fba_operators.triggers": "ProcessingTrigger",
}


@pytest.mark.parametrize("module", PUBLIC)
def test_the_public_names_are_these(module):
    imported = import_module(module)
    names = sorted(PUBLIC[module].split())
    assert sorted(imported.__all__) == names
    for name in names:
        assert getattr(imported, name) is not None
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = imported.no_such_name


def test_importing_them_loads_neither_pandas_nor_numpy():
    late = {"LoadedReport", "copy_rows", "load_report", "record_applied"}  # of reports; these load pandas
    code = ["import sys"]
    for module, names in PUBLIC.items():
        code += [f"from {module} import {name}" for name in names.split() if name not in late]
        code += [f"print('{module}', *(sys.modules.keys() & {{'pandas', 'numpy', 'apprise'}}))"]
    done = subprocess.run([sys.executable, "-c", "\n".join(code)], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == list(PUBLIC)


def test_the_package_is_typed():
    assert (files("fba_operators") / "py.typed").is_file()


def test_a_task_deferred_by_the_first_version_finds_its_trigger_and_its_method():
    from fba_operators.amazon.trigger import ProcessingTrigger
    from fba_operators.operators import WaitForReportOperator

    arguments = {
        "conn_id": "amazon_us",
        "warehouse_conn_id": "fba_warehouse",
        "kind": "report",
        "amazon_id": "1",
        "patience": 7200.0,
        "since": 1.0,
    }
    old = import_module("fba_operators.triggers").ProcessingTrigger(**arguments)
    assert isinstance(old, ProcessingTrigger)
    assert old.serialize() == ("fba_operators.amazon.trigger.ProcessingTrigger", arguments)
    assert callable(WaitForReportOperator.resume)
