"""Every operation with every fault that the sandbox can script for it, in every DAG that calls it: each DAG recovers."""

from __future__ import annotations

from typing import Any

import pytest

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.errors import (
    CredentialsError,
    DecisionNeededError,
    RequestRefusedError,
    SellingPartnerError,
    UnavailableError,
)
from sandbox.server.server import Sandbox
from sandbox.world import faults
from tests import timing
from tests.faults.campaign import COMPLETE, INVENTORY, SEND, SHIPMENTS, Campaign, reset

REPORTS = ("token", "createReport", "getReport", "getReportDocument", "downloadDocument")
# What each DAG calls, by path; checked below. "lost": an answer was lost before; "again": there is stock; "cancel": an order is cancelled.
CALLS: dict[tuple[str, str], tuple[str, ...]] = {
    (INVENTORY, "plain"): (*REPORTS, "getInventorySummaries"),
    (INVENTORY, "again"): ("createReport", "getReport", "downloadDocument"),
    (INVENTORY, "lost"): ("getReports",),
    (SEND, "plain"): (
        *(
            "token",
            "createFeedDocument",
            "uploadDocument",
            "createFeed",
            "getFeed",
            "getFeedDocument",
            "downloadDocument",
        ),
    ),
    (SEND, "lost"): ("getFeeds", "listAllFulfillmentOrders", "getFulfillmentOrder"),
    (SEND, "cancel"): ("cancelFulfillmentOrder",),
    (SEND, "orders"): (
        *("createFulfillmentOrder", "getFulfillmentOrder", "listAllFulfillmentOrders", "getFeeds", "token"),
    ),
    (SEND, "quotes"): ("getFulfillmentPreview", "getFeatures", "getFeatureSKU"),
    (SEND, "held"): ("updateFulfillmentOrder",),
    (SHIPMENTS, "plain"): (*REPORTS, "getFulfillmentOrder"),
    (SHIPMENTS, "lost"): ("getReports",),
}
NOT_CALLED = {
    "cancelReport": "we never cancel a report, it may be shared",
    "cancelFeed": "we never cancel a feed",
    **dict.fromkeys(
        ("listOrders", "getOrder", "createOrder", "updateOrder", "cancelOrder", "getOrderPreview"),
        "Fulfillment Outbound 2026-07-04 is not used",
    ),
    "getFeatureInventory": "each SKU is asked for by getFeatureSKU",
    "getPackageTrackingDetails": "parcels are read from reports",
    "getMarketplaceParticipations": "only the connection test calls it; see tests/amazon/test_hook.py",
}
REFUSAL = {"errors": [{"code": "InvalidInput", "message": "Invalid Request Parameters"}]}
DENIAL = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
# The fault "status" can be any answer; these are examples of each kind.
STATUSES: dict[str, dict[str, Any]] = {
    "400": {"status": 400, "body": REFUSAL},
    "403": {"status": 403, "body": DENIAL},
    "502 HTML": {"status": 502, "body": "<html>Bad gateway</html>"},
    "200 HTML": {"status": 200, "body": "<html>Welcome</html>"},
    "200 {}": {"status": 200, "body": {}},
    "400 odd": {"status": 400, "body": {"errors": "no"}},
    "403 odd": {"status": 403, "body": {"errors": [None]}},
}
TEMPORARY = ("429", "500", "503", "502 HTML", "delay", "reset_before", "reset_after", "error_after", "expired_token")
DONE = ("cancelFulfillmentOrder", "createFulfillmentOrder", "updateFulfillmentOrder")
TIMES = {"once": 1, "six times": 6, "throughout": None}


def why_impossible(operation: str, fault: str) -> str | None:
    """Why a fault cannot occur on an operation, in the sandbox's words, or None."""
    try:
        faults.Fault(operation, fault, status=400, body={})
    except ValueError as why:
        return str(why)
    return None


def cases() -> list[Any]:
    found = []
    for (dag_id, path), operations in CALLS.items():
        for operation in operations:
            kinds = [kind for kind in faults.KINDS if not why_impossible(operation, kind)]
            kinds[kinds.index("status") : kinds.index("status") + 1] = STATUSES
            for fault in kinds:
                for often, times in TIMES.items():
                    if fault == "delay" and times != 1:
                        continue  # a server that is always late is like one that never answers: reset_before
                    if fault == "429" and times is None and operation not in ("token", "uploadDocument"):
                        continue  # a task defers without a deadline for a quota that is never granted
                    if operation in ("getReport", "getFeed") and times is None and fault[0] != "4":
                        continue  # the trigger waits for two or four hours, without a worker
                    if operation in ("uploadDocument", "downloadDocument") and fault in ("200 HTML", "200 {}"):
                        continue  # whatever storage sends is the document
                    if operation in DONE and fault == "200 {}":
                        continue  # this is Amazon's answer to success
                    found.append((dag_id, path, operation, fault, often))
    return found


ALL = cases()
SAMPLE = ALL[::61]  # spread over all


@pytest.fixture(scope="module")
def servers(postgres, migrated_template):
    """One warehouse and one Amazon for all cases."""
    with Sandbox(listings=30, processing_seconds=0.01) as amazon:
        yield postgres.create_database("warehouse_of_the_matrix", template=migrated_template), amazon


@pytest.fixture
def campaign(servers, monkeypatch):
    url, amazon = servers
    reset(url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    with Campaign(url, amazon, monkeypatch) as made:
        yield made


def lose_answer(campaign: Campaign, dag_id: str) -> None:
    campaign.amazon.world.add_fault("createFeed" if dag_id == SEND else "createReport", "reset_after")
    campaign.amazon.world.set_order_listing(delay=45 * 60)  # so that our order is missing from the first list


@pytest.mark.parametrize(("dag_id", "path"), list(CALLS))
def test_the_matrix_has_every_call(campaign, dag_id, path):
    campaign.prepare(dag_id, path)
    if path == "lost":
        lose_answer(campaign, dag_id)
    for _ in range(3):
        campaign.run_dag(dag_id, **campaign.params(dag_id))
        campaign.advance(31)
    seen = set(campaign.amazon.world.calls()["calls"])
    known = {operation for (one, _), each in CALLS.items() if one == dag_id for operation in each}
    assert set(CALLS[dag_id, path]) <= seen <= known, campaign.output[-3000:]
    assert campaign.wrong_after_fault(dag_id, path) == []


def test_every_operation_is_in_the_matrix_or_excluded():
    assert {operation for each in CALLS.values() for operation in each} | NOT_CALLED.keys() == set(faults.OPERATIONS)


@pytest.mark.parametrize(("dag_id", "path", "operation", "fault", "often"), ALL if COMPLETE else SAMPLE)
def test_a_dag_recovers_from_a_fault(campaign, monkeypatch, caplog, capfd, dag_id, path, operation, fault, often):
    caplog.set_level("DEBUG")
    campaign.prepare(dag_id, path)
    if path == "lost":
        lose_answer(campaign, dag_id)
    how = STATUSES.get(fault, {})
    if fault == "delay":  # only here: a slow machine needs the usual timeout for the other faults
        timing.http_timeout(monkeypatch, connect=5, read=1.0)
        how = {"seconds": 1.5}
    campaign.amazon.world.add_fault(operation, "status" if fault in STATUSES else fault, times=TIMES[often], **how)
    states = {}
    for _ in range(3 if path == "lost" else 2):
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        assert campaign.wrong_during_fault(dag_id, states, nothing=fault == "cancelled") == []
        campaign.advance(31)
    for error in campaign.errors:
        assert isinstance(error, SellingPartnerError), repr(error)
    if fault in TEMPORARY and often == "once":
        assert all(isinstance(error, UnavailableError) for error in campaign.errors), campaign.errors
        assert "failed" not in states.values()
        assert path != "cancel" or campaign.get("FR-1").status == "cancelled"
    if fault == "403" and operation not in ("uploadDocument", "downloadDocument"):
        # The trigger leaves a denied poll to the task, which polls once more.
        assert campaign.errors or (often == "once" and operation in ("getReport", "getFeed"))
        assert all(isinstance(error, (CredentialsError, UnavailableError)) for error in campaign.errors)
    if fault == "400":
        kinds = (RequestRefusedError, CredentialsError, UnavailableError, DecisionNeededError)
        assert all(isinstance(error, kinds) for error in campaign.errors)
    assert any(each["struck"] for each in campaign.amazon.world.faults_listed() if each["operation"] == operation)

    campaign.amazon.world.clear_faults()
    campaign.add_new_work(dag_id)
    for _ in range(8):
        if fault == "message_zero" or operation in ("createFulfillmentOrder", "getFulfillmentPreview"):
            campaign.resend_rejected()
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        campaign.advance(31)
        if "failed" not in states.values() and not campaign.wrong_after_fault(dag_id, path):
            break
    assert "failed" not in states.values()
    assert campaign.wrong_after_fault(dag_id, path) == []
    assert campaign.leaks("".join(capfd.readouterr()) + caplog.text) == []
