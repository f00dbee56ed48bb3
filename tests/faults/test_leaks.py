"""An Amazon that repeats secrets and addresses in everything it says, and logs at DEBUG: none of it reaches anybody."""

from __future__ import annotations

import logging

import pytest
from airflow.sdk.observability import stats

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.amazon.operations import OPERATIONS
from fba_operators.errors import SellingPartnerError
from sandbox.world import feed_desk
from tests.faults.campaign import COMPLETE, INVENTORY, SEND, SHIPMENTS, TRACK, Campaign, reset
from tests.faults.test_matrix import CALLS, lose_answer
from tests.hostile import HOSTILE, SECRET_PARTS, hostile_body

STORAGE = ("uploadDocument", "downloadDocument")
HEADERS = {"x-amzn-RequestId": "Atzr|in-a-header hidden@buyer.example"}


@pytest.fixture
def campaign(warehouse_url, amazon, monkeypatch, caplog):
    """A store whose logs, metrics and notifications are all kept."""
    caplog.set_level(logging.DEBUG)
    for name in ("urllib3", "requests", "airflow", "fba_operators"):
        caplog.set_level(logging.DEBUG, logger=name)
    reset(warehouse_url, amazon)
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(warehouse_url))
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
    with Campaign(warehouse_url, amazon, monkeypatch) as made:
        for name in ("incr", "gauge"):
            keep = lambda *what, **more: setattr(made, "output", f"{made.output} {what} {more}")  # noqa: E731
            monkeypatch.setattr(stats, name, keep)
        yield made


def assert_nothing_got_through(campaign, capfd, caplog):
    output = "".join(capfd.readouterr()) + caplog.text + "".join(map(str, caplog.records))
    assert campaign.leaks(output) == []
    everything = output + campaign.output
    # Amazon's words about one request are in its row, without what can be recognised.
    everything += str(campaign.sql("SELECT status_reason, waiting_reason FROM fba.fulfillment_request"))
    assert [part for part in SECRET_PARTS if part in everything and part != "\x1b["] == []
    struck = {each["operation"] for each in campaign.amazon.world.faults_listed() if each["struck"]}
    # What it says of one order may name a buyer, and is quoted nowhere but in the row; of a feature nothing is quoted.
    quotable = [
        name
        for name in struck
        if name not in OPERATIONS or not (OPERATIONS[name].about_one_order or name.startswith("getFeature"))
    ]
    if quotable or not struck:
        assert "Invalid request" in everything
    else:
        assert "Invalid request" not in output + str(campaign.sql("SELECT summary, failure FROM fba.run"))


@pytest.mark.parametrize(("dag_id", "path"), list(CALLS))
@pytest.mark.parametrize("status", [400, 403, 500] if COMPLETE else [400, 500])
def test_errors_that_repeat_everything(campaign, capfd, caplog, dag_id, path, status):
    campaign.prepare(dag_id, path)
    if path == "lost":
        lose_answer(campaign, dag_id)
    for operation in CALLS[dag_id, path]:
        body = HOSTILE if operation in STORAGE else hostile_body()
        if operation == "token":
            body = {"error": HOSTILE, "error_description": HOSTILE, "request_id": HOSTILE}
        # Six times: more than the retries of one call.
        campaign.amazon.world.add_fault(operation, "status", status=status, body=body, headers=HEADERS, times=6)
    for _ in range(4 + 4 * len(CALLS[dag_id, path]) * (status < 500)):
        states = campaign.run_dag(dag_id, **campaign.params(dag_id))
        campaign.advance(31)
        if "failed" not in states.values() and not any(
            each["struck"] < 6 for each in campaign.amazon.world.faults_listed() if each["operation"] != "createReport"
        ):
            break
    # A refusal to cancel or to release is in the request's row, one to show an order or a parcel stops no other, and neither does one
    # order or parcel of which Amazon fails.
    left_out = "left out, for which Amazon fails" in str(campaign.sql("SELECT summary FROM fba.run"))
    assert campaign.errors or left_out or path in ("cancel", "held") or (dag_id, status) == (TRACK, 400)
    assert all(isinstance(error, SellingPartnerError) for error in campaign.errors), campaign.errors
    assert_nothing_got_through(campaign, capfd, caplog)


@pytest.mark.parametrize("dag_id", [INVENTORY, SHIPMENTS])
@pytest.mark.parametrize("fate", ["fatal_with_document", None])
def test_a_document_that_is_such_a_sentence(campaign, capfd, caplog, dag_id, fate):
    """As the reason of a FATAL report, and in place of the report."""
    campaign.prepare(dag_id, "plain")
    if fate:
        campaign.amazon.world.add_fault("createReport", fate, times=None)
    campaign.amazon.world.add_fault("downloadDocument", "status", status=200, body=HOSTILE, times=None)
    campaign.run_dag(dag_id, **campaign.params(dag_id))
    if (
        not fate or dag_id == SHIPMENTS
    ):  # a document that may have buyers, and is more than a sentence, is not quoted at all
        campaign.output += "Invalid request"
    assert campaign.errors
    assert_nothing_got_through(campaign, capfd, caplog)


@pytest.mark.parametrize("fate", ["warnings", "message_zero", None])
def test_a_processing_report_that_repeats_everything(campaign, capfd, caplog, monkeypatch, fate):
    hostile = HOSTILE.replace("\x1b", "")  # which XML cannot hold
    real = feed_desk.Result
    monkeypatch.setattr(feed_desk, "Result", lambda number, kind, *_: real(number, kind, hostile[:99], hostile))
    campaign.prepare(SEND, "plain")
    if fate:
        campaign.amazon.world.add_fault("createFeed", fate)
    for _ in range(3):
        campaign.run_dag(SEND)
        campaign.advance(31)
    assert campaign.sql("SELECT 1 FROM fba.feed_message WHERE description <> ''")
    assert_nothing_got_through(campaign, capfd, caplog)
