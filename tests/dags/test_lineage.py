"""Lineage as Airflow's openlineage provider emits it: report → parsed copy → pool, with counts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from fba_operators.errors import DecisionNeededError
from fba_operators.operators import (
    LoadShipmentsOperator,
    MergeInventoryOperator,
    RequestReportOperator,
    WaitForReportOperator,
)
from fba_operators.reports.report_types import FULFILLED_SHIPMENTS
from sandbox.world.world import DEFAULT_MERCHANT
from tests.helpers import context, run
from tests.stores import AFN, LISTINGS, SELLER, US

pytestmark = pytest.mark.usefixtures("airflow_database")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def emitted(tmp_path, amazon, warehouse_url):
    """Run a DAG in a process whose openlineage provider is switched on; returns the events of a task that ended so."""

    def emit(dag_id, task_id):
        path = tmp_path / "events.jsonl"
        path.unlink(missing_ok=True)
        transport = {"type": "file", "log_file_path": str(path), "append": True}
        subprocess.run(
            [sys.executable, "-c", f"from tests.helpers import build_dag\nbuild_dag({dag_id!r}).test()"],
            cwd=ROOT,
            env={**os.environ, "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(transport)},
            check=True,
            capture_output=True,
            timeout=120,
        )
        emit.text = path.read_text()
        events = [json.loads(line) for line in emit.text.splitlines()]
        return [
            event for event in events if event["eventType"] == "COMPLETE" and event["job"]["name"].endswith(task_id)
        ]

    return emit


def tables(event, warehouse_url):
    """Table of this warehouse → rows written."""
    address = urlsplit(warehouse_url)
    assert {data["namespace"] for data in event["outputs"]} <= {f"postgres://{address.hostname}:{address.port}"}
    rows = {data["name"]: data["outputFacets"]["outputStatistics"]["rowCount"] for data in event["outputs"]}
    assert all(name.startswith(f"{address.path[1:]}.fba.") for name in rows)
    return {name.rpartition(".")[2]: number for name, number in rows.items()}


def reports(event):
    """Report type → id and lines."""
    assert {data["namespace"] for data in event["inputs"]} == {f"amazon-sp-api://{SELLER}"}
    return {
        data["name"]: (
            data["facets"]["version"]["datasetVersion"],
            data["inputFacets"]["inputStatistics"]["rowCount"],
        )
        for data in event["inputs"]
    }


def request(report_type, **window):
    asked = run(RequestReportOperator(task_id="request", report_type=report_type, **window))
    return run(WaitForReportOperator(task_id="wait", report_id=asked))


def test_the_merge_tells_what_became_of_two_reports(emitted, amazon, sql, warehouse_url):
    (event,) = emitted("fba_get_inventory", "merge")
    ledger = "SELECT report_id, row_count + rejected_row_count FROM fba.report WHERE report_type = %s"
    (listings,), (afn,) = (sql(ledger, each).fetchall() for each in (LISTINGS, AFN))
    assert listings[1] > afn[1] > 100
    assert reports(event) == {f"{US}/{LISTINGS}": listings, f"{US}/{AFN}": afn}
    (pool,) = sql("SELECT count(*) FROM fba.global_inventory_pool").fetchone()
    assert tables(event, warehouse_url) == {
        "amazon_all_listings_report": sql("SELECT count(*) FROM fba.amazon_all_listings_report").fetchone()[0],
        "amazon_afn_inventory_report": sql("SELECT count(*) FROM fba.amazon_afn_inventory_report").fetchone()[0],
        "global_inventory_pool": pool,
    }
    assert pool > 100
    for secret in (DEFAULT_MERCHANT.client_secret, DEFAULT_MERCHANT.refresh_token, "Atza|"):
        assert secret not in emitted.text


def test_a_merge_that_is_refused_tells_what_it_read_and_that_nothing_was_written(amazon, sql, warehouse):
    amazon.world.override_document(LISTINGS, b"seller-sku\tquantity\tfulfillment-channel\r\n")
    ids = [request(each) for each in (LISTINGS, AFN)]
    merge = MergeInventoryOperator(task_id="merge", listings_report_id=ids[0], afn_report_id=ids[1])
    with pytest.raises(DecisionNeededError):
        merge.execute(context())
    told = merge.get_openlineage_facets_on_complete(None)
    assert [data.facets["version"].datasetVersion for data in told.inputs] == ids
    assert told.outputs == []


def test_the_load_of_shipments_tells_the_rows_of_its_report(amazon, sql, warehouse):
    start, end = ((datetime.now(UTC) - timedelta(days=days)).isoformat() for days in (20, 1))
    amazon.world.seed_shipments(SELLER, US, 40, start, end)
    report_id = request(FULFILLED_SHIPMENTS.name, data_start=start, data_end=end)
    load = LoadShipmentsOperator(task_id="load", report_id=report_id)
    counts = load.execute(context())["counts"]
    told = load.get_openlineage_facets_on_complete(None)
    assert [data.inputFacets["inputStatistics"].rowCount for data in told.inputs] == [counts["lines"]]
    for data, table in zip(told.outputs, ("amazon_fulfilled_shipments_report", "shipment_item"), strict=True):
        assert data.name.endswith(f".fba.{table}")
        (rows,) = sql(f"SELECT count(*) FROM fba.{table}").fetchone()
        assert data.outputFacets["outputStatistics"].rowCount == rows == counts["new"] > 0
