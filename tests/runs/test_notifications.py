"""Notifications of a run: when they are sent and what they contain; delivered by Apprise to an HTTP endpoint."""

from __future__ import annotations

import atexit
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import psycopg
import pytest
from airflow.sdk import DAG
from airflow.sdk._shared.observability.metrics import otel_logger
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics import stats_utils
from opentelemetry import metrics
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from devstack.airflow import store_connection
from fba_operators.errors import CredentialsError, DecisionNeededError
from fba_operators.operators import (
    MergeInventoryOperator,
    PrepareRunOperator,
    RefreshTokenOperator,
    RequestReportOperator,
    SummariseInventoryOperator,
    SummariseRequestsOperator,
    SummariseRunOperator,
    SummariseShipmentsOperator,
    SummariseTrackingOperator,
    WaitForReportOperator,
)
from fba_operators.runs.log import RunLog
from fba_operators.runs.summary import ATTENTION, STANDING, StoreSummary, message
from sandbox.world.world import DEFAULT_MERCHANT
from tests.helpers import context as bare_context
from tests.helpers import run as run_operator
from tests.stores import AFN, LISTINGS, SELLER, US

STORES = """stores: {amazon_us: {inventory: {max_rejected_share: 1.0}}, amazon_other: }
notifications: [{connection: team_chat%s}]"""


@pytest.fixture
def listener():
    """An HTTP endpoint that collects the bodies it receives; after refuse() it answers 500."""
    received: list[bytes] = []
    refuse: list[bool] = []

    class Service(BaseHTTPRequestHandler):
        def do_POST(self):
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(500 if refuse else 200)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Service)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield SimpleNamespace(received=received, refuse=lambda: refuse.append(True), port=server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


class Chat(SimpleNamespace):
    """A chat service that collects the messages it receives."""

    @property
    def received(self):
        return [json.loads(body) for body in self.listener.received]


@pytest.fixture
def chat(listener, monkeypatch):
    """A chat service behind the connection team_chat."""
    path = f"json://127.0.0.1:{listener.port}/hooks/chat-secret-token"
    connection = {"conn_type": "apprise", "extra": {"config": {"path": path, "tag": "all"}}}
    monkeypatch.setenv("AIRFLOW_CONN_TEAM_CHAT", json.dumps(connection))
    return Chat(listener=listener, refuse=listener.refuse)


@pytest.fixture
def stores(stores_file):
    """Write stores.yaml with recipients of notifications: ``stores(", on: [always]")``."""
    return lambda on="": stores_file(STORES % on)


def context(run_id, **params):
    made = bare_context(run_id, **params)
    made["ti"].log_url = f"https://airflow.example/dags/fba_get_inventory/runs/{run_id}/tasks/summarise?try_number=1"
    return made


def inventory_run(run_id, stores=("amazon_us",)):
    """The tasks of fba_get_inventory for one store; the last one's exception is returned."""
    ctx = context(run_id)
    run_operator(PrepareRunOperator(task_id="prepare", stores=list(stores)), ctx)
    for store in stores:
        try:
            run_operator(RefreshTokenOperator(task_id="token", conn_id=store), ctx)
            ids = {}
            for name, kind in (("listings", LISTINGS), ("afn", AFN)):
                report_id = run_operator(RequestReportOperator(task_id="request", report_type=kind, conn_id=store), ctx)
                wait = WaitForReportOperator(task_id="wait", report_id=report_id, conn_id=store)
                ids[f"{name}_report_id"] = run_operator(wait, ctx)
            run_operator(MergeInventoryOperator(task_id="merge", conn_id=store, **ids), ctx)
        except (CredentialsError, DecisionNeededError):
            pass
    return summarise(ctx, stores)


def summarise(ctx, stores):
    try:
        run_operator(SummariseRunOperator(task_id="summarise", stores=stores if stores is None else list(stores)), ctx)
    except AirflowException as failed:
        return failed
    return None


def test_always_notifies_of_each_run_with_a_link_to_the_desk(amazon, warehouse, stores, chat, monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example/prefix/")
    stores(", on: [always]")
    assert inventory_run("first") is None
    (sent,) = chat.received
    assert ": success" in sent["title"]
    assert "amazon_us: success." in sent["message"]
    assert sent["message"].endswith("\nhttps://airflow.example/prefix/fba/")


def test_a_change_is_notified_once(amazon, warehouse, stores, chat):
    stores(", on: [change]")
    inventory_run("first")
    assert len(chat.received) == 1
    inventory_run("second")  # the same reports, inside their cool-down
    assert len(chat.received) == 1


def test_a_failed_store_is_notified_without_amazons_text(amazon, warehouse, stores, chat, monkeypatch, caplog):
    stores()
    wrong = store_connection(amazon.url, refresh_token="Atzr|revoked-secret")
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_OTHER", wrong)
    assert "1 of 2 stores failed" in str(inventory_run("first", ["amazon_us", "amazon_other"]))
    (sent,) = chat.received
    assert sent["type"] == "failure"
    assert "1 of 2 stores failed" in sent["title"]
    assert "amazon_other: FAILED. token: Connection amazon_other: the refresh token is not valid" in sent["message"]
    assert "invalid_grant" in sent["message"]
    logs = "https://airflow.example/dags/fba_get_inventory/runs/first"
    assert sent["message"].endswith(f"/fba/\nLogs: {logs}"), "for a failure, where its logs are"
    assert "revoked-secret" not in json.dumps(sent) + caplog.text
    assert DEFAULT_MERCHANT.client_secret not in json.dumps(sent)
    assert "chat-secret-token" not in caplog.text


def test_texts_of_amazon_and_of_documents_are_not_sent(amazon, warehouse, sql, stores, chat):
    stores(", on: [failure, attention, change, always]")
    amazon.world.add_fault("createReport", "fatal")
    assert inventory_run("first") is not None
    ((summary, failure),) = sql("SELECT summary, failure FROM fba.run WHERE run_id = 'first'").fetchall()
    assert "Amazon's reason" in summary
    assert "none given" in summary
    assert "none given" not in failure
    assert failure in chat.received[0]["message"]


def test_a_refusal_is_notified_with_counts_and_no_sku(amazon, warehouse, sql, stores, chat):
    stores()
    inventory_run("first")
    sql("UPDATE fba.report SET requested_at = requested_at - interval '40 minutes'")
    amazon.world.advance(40 * 60)
    skus = [sku for (sku,) in sql("SELECT sku FROM fba.global_inventory_pool WHERE quantity > 0")]
    for sku in skus:
        amazon.world.put_item(SELLER, US, sku, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 0)])
    chat.listener.received.clear()
    assert inventory_run("second") is not None
    (sent,) = chat.received
    assert "accept_zeroed_stock" in sent["message"]
    assert not [sku for sku in skus if sku in sent["message"]]
    ((summary,),) = sql("SELECT summary FROM fba.run WHERE run_id = 'second'").fetchall()
    assert [sku for sku in skus if sku in summary]


def test_what_needs_attention_is_notified_once_a_day_while_it_lasts(amazon, warehouse, sql, stores, chat):
    stores(", on: [attention]")
    broken = b"seller-sku\tquantity\tfulfillment-channel\na\t1\tDEFAULT\nb\tmany\tDEFAULT\n"
    amazon.world.override_document(LISTINGS, broken)
    days = (
        "SELECT count(DISTINCT (started_at AT TIME ZONE 'UTC')::date) FROM fba.run"  # two, if the test runs at midnight
    )
    inventory_run("first")
    inventory_run("second")
    sent, *again = chat.received
    assert 1 + len(again) == sql(days).fetchone()[0]
    assert "1 line of a report could not be read" in sent["message"]
    assert sql("SELECT attention FROM fba.run WHERE run_id = 'second'").fetchone()[0]["rejected_lines"] == 1
    sql("UPDATE fba.run SET started_at = started_at - interval '24 hours'")
    inventory_run("third")
    assert len(chat.received) == sql(days).fetchone()[0] > 1 + len(again)


def test_what_another_run_found_and_still_is_so_is_in_the_summary_and_no_news(amazon, warehouse, sql, stores, chat):
    stores(", on: [change]")
    sql(
        "INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, status)"
        " VALUES ('amazon_us', 'FR-1', 'Standard', 'invalid'), ('amazon_us', 'FR-2', 'Standard', 'invalid')"
    )
    inventory_run("first")
    assert "Still needs a person: 2 requests are invalid." in chat.received[0]["message"]
    chat.listener.received.clear()
    inventory_run("second")
    assert chat.received == []


def test_a_run_that_was_killed_is_notified_as_failed(amazon, warehouse, sql, stores, chat):
    stores()
    ctx = context("killed")
    run_operator(PrepareRunOperator(task_id="prepare", stores=["amazon_us"]), ctx)
    assert "amazon_us" in str(summarise(ctx, ["amazon_us"]))
    assert "amazon_us: FAILED. it did not finish" in chat.received[0]["message"]
    assert sql("SELECT outcome FROM fba.run").fetchone() == ("failed",)


@pytest.fixture
def finished_run(warehouse, stores):
    """A run of two stores whose tasks have ended, of which one failed; what the last task gets from Airflow."""
    stores(", on: [always]")
    ctx = context("finished")
    run_operator(PrepareRunOperator(task_id="prepare", stores=["amazon_us", "amazon_other"]), ctx)
    with warehouse.connect() as db:
        dag_id = SummariseRunOperator(task_id="summarise", stores=[]).dag_id
        RunLog(dag_id, "finished", "amazon_us").finish(db, "success", "all done", rows_changed=3)
        RunLog(dag_id, "finished", "amazon_other").finish(db, "failed", "no", failure="load: no")
    return ctx


@pytest.mark.parametrize("unfinished", [False, True])
@pytest.mark.parametrize(
    "operator", [SummariseRunOperator, SummariseInventoryOperator, SummariseRequestsOperator, SummariseTrackingOperator]
)
def test_a_row_that_somebody_holds_does_not_keep_the_other_stores_waiting(
    chat, finished_run, warehouse_url, sql, short_waits, operator, unfinished
):
    sql("UPDATE fba.run SET clock_skew_seconds = 999")
    for store in ("amazon_us", "amazon_other"):
        sql("UPDATE fba.store SET client_secret_expires_at = now() WHERE store = %s", store)
        for report_type in (LISTINGS, AFN):
            sql(
                "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at)"
                " VALUES (gen_random_uuid(), %s, %s, %s, %s, 'DONE', now() - interval '2 days', now())",
                *(store, report_type, report_type, US),
            )
        sql("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES (%s, 'FR-1')", store)
    sql("SET session_replication_role = replica")
    sql(
        "UPDATE fba.fulfillment_request SET created_at = now() - interval '9 hours', inserted_at = now() - interval '9 hours'"
    )
    if unfinished:
        sql(
            "UPDATE fba.run SET outcome = NULL, summary = NULL, failure = NULL, finished_at = NULL WHERE store = 'amazon_other'"
        )
    with psycopg.connect(warehouse_url) as other:
        other.execute("SELECT FROM fba.run WHERE store = 'amazon_other' FOR UPDATE")
        with pytest.raises(AirflowFailException, match="1 of 2 stores failed"):
            run_operator(operator(task_id="summarise", stores=["amazon_us", "amazon_other"]), finished_run)
    (sent,) = chat.received
    assert "amazon_us: success. 0 rows read, 3 changed. Needs a person: " in sent["message"]
    assert "amazon_other: FAILED" in sent["message"]
    attention = dict(
        sql("SELECT store, attention ? 'clock_skew' AND attention ? 'credential_expires' FROM fba.run").fetchall()
    )
    assert attention == {"amazon_us": True, "amazon_other": False}


def test_the_row_of_a_store_whose_shipments_are_loaded_may_be_held_too(
    chat, finished_run, warehouse_url, sql, short_waits
):
    sql("UPDATE fba.run SET outcome = NULL, summary = NULL, failure = NULL, finished_at = NULL")
    both = ["amazon_us", "amazon_other"]
    operator = SummariseShipmentsOperator(
        task_id="summarise",
        stores=both,
        windows=[{"conn_id": store} for store in both],
        loaded=[{"conn_id": store, "counts": {**dict.fromkeys(COUNTS, 0), "lines": 4, "new": 4}} for store in both],
        followed=[
            {"conn_id": store, "asked": 0, "overdue": 0, "named": [], **{kind: [] for kind in KINDS}} for store in both
        ],
        removed={},
    )
    with psycopg.connect(warehouse_url) as other:
        other.execute("SELECT FROM fba.run WHERE store = 'amazon_other' FOR UPDATE")
        with pytest.raises(AirflowFailException, match="1 of 2 stores failed"):
            run_operator(operator, finished_run)
    (sent,) = chat.received
    assert "amazon_us: success. 4 rows read, 4 changed." in sent["message"]
    assert "amazon_other: FAILED" in sent["message"]


COUNTS = (
    *("lines", "rejected", "rows", "new", "updated", "repeated", "replaced", "without_id", "without_request"),
    *("of_requests", "unknown_sku"),
)
KINDS = ("rejected", "cancelled", "partly", "unknown_at_amazon")


class Remembered(dict):
    """The state that Airflow keeps for a task over its attempts."""

    set = dict.__setitem__


def test_an_attempt_that_was_killed_after_the_notifications_does_not_send_them_again(
    chat, finished_run, sql, monkeypatch
):
    finished_run["task_state_store"] = Remembered()

    def kill(*_):
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        patch.setattr("fba_operators.operators.run.remove_expired", kill)
        with pytest.raises(SystemExit):
            summarise(finished_run, ["amazon_us", "amazon_other"])
    summarise(finished_run, ["amazon_us", "amazon_other"])
    assert len(chat.received) == 1
    sql("UPDATE fba.run SET failure = 'load: another reason' WHERE store = 'amazon_other'")  # its tasks were cleared
    summarise(finished_run, ["amazon_us", "amazon_other"])
    assert "another reason" in chat.received[1]["message"]


def test_a_warehouse_that_does_not_answer_is_tried_again_before_anything_is_sent(chat, finished_run, monkeypatch):
    with DAG("d", schedule=None, default_args={"retries": 9}):
        operator = SummariseRunOperator(task_id="summarise", stores=["amazon_us", "amazon_other"])
    with monkeypatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", "postgres://nobody@127.0.0.1:9/nothing")
        with pytest.raises(psycopg.OperationalError) as away:
            operator.execute(finished_run)
    assert chat.received == []
    assert operator.retries == 2
    assert operator.retry_policy.evaluate(away.value, 1, 2).action.value != "fail"


def test_a_run_that_could_not_be_prepared_is_notified(warehouse, stores, chat):
    stores()
    assert "not prepared" in str(summarise(context("unprepared"), None))
    assert "the run was not prepared" in chat.received[0]["message"]


@pytest.mark.parametrize(
    "connection",
    [
        None,
        {"conn_type": "apprise", "extra": {}},
        {"conn_type": "apprise", "extra": {"config": {"path": "nonsense"}}},
        {"conn_type": "apprise", "extra": {"config": {"path": "json://127.0.0.1:9/chat-secret-token"}}},
    ],
)
def test_a_notification_that_cannot_be_delivered_is_only_logged(
    amazon, warehouse, stores, monkeypatch, caplog, capfd, connection
):
    stores(", on: [always]")
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_TEAM_CHAT", json.dumps(connection))
    assert inventory_run("first") is None
    logged = caplog.text + "".join(capfd.readouterr())
    assert "connection team_chat was not delivered" in logged
    assert "chat-secret-token" not in logged


def test_a_service_that_refuses_is_logged(amazon, warehouse, stores, chat, caplog, capfd):
    stores(", on: [always]")
    chat.refuse()
    inventory_run("first")
    assert "connection team_chat was not delivered" in caplog.text + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    ("now", "before", "is_news"),
    [
        ({}, {}, False),
        ({"overdue": 2}, {}, True),
        ({"overdue": 2}, {"overdue": 2}, False),
        ({"overdue": 3}, {"overdue": 2}, True),
        ({"rejected": 1}, {"rejected": 1}, True),  # other requests than before
    ],
)
def test_attention_is_news_only_when_a_standing_count_changes_or_an_event_happens(now, before, is_news):
    assert ("attention" in StoreSummary("s", "success", attention=now, previous_attention=before).events) == is_news


def test_stores_without_news_are_only_counted():
    stores = [StoreSummary("quiet", "success"), StoreSummary("busy", "success", rows_changed=3)]
    title, body, kind = message("dag", stores, ["change"], "desk", "run")
    assert (title, kind) == ("dag: success", "info")
    assert body == "busy: success. 0 rows read, 3 changed.\n1 other store has no news.\ndesk"
    assert message("dag", stores[:1], ["change", "failure", "attention"], "desk", "run") is None


def test_every_standing_code_has_a_text():
    assert set(ATTENTION) >= STANDING


def test_counts_add_up_in_the_warehouse(sql):
    query = "SELECT fba.add_counts('{\"a\": 1, \"b\": 2}', '{\"b\": 3}'), fba.add_counts('{}', '{}')"
    assert sql(query).fetchone() == ({"a": 1, "b": 5}, {})


def test_a_run_that_is_cleared_begins_with_empty_counts(warehouse, sql):
    log = RunLog("d", "r", "amazon_us")
    with warehouse.connect() as db:
        log.fail(db, "token", ValueError("no"))
        log.begin(db)
    assert sql("SELECT outcome, summary, failure, attention, finished_at FROM fba.run").fetchone() == (
        (None, None, None, {}, None)
    )


def test_a_collector_receives_the_metrics_of_the_run(amazon, warehouse, stores, listener, monkeypatch):
    """Airflow's own OpenTelemetry, switched on as docs/runbook.md says, to an endpoint that decodes what arrives."""
    stores()
    monkeypatch.setenv("AIRFLOW__METRICS__OTEL_ON", "True")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{listener.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    stats.initialize(factory=stats_utils.get_stats_factory(), export_legacy_names=False)
    try:
        inventory_run("measured")
        metrics.get_meter_provider().shutdown()
    finally:
        stats.initialize(factory=NoStatsLogger, export_legacy_names=False)
        atexit.unregister(otel_logger.flush_otel_metrics)  # which only the process of a task needs
    received = {}
    for body in listener.received:
        for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
            for metric in (metric for scope in resource.scope_metrics for metric in scope.metrics):
                received[metric.name] = [
                    (point.as_double or point.as_int, {each.key: each.value.string_value for each in point.attributes})
                    for point in (*metric.sum.data_points, *metric.gauge.data_points)
                ]
    ours = {
        name.removeprefix("airflow."): points for name, points in received.items() if name.startswith("airflow.fba.")
    }
    assert set(ours) == {
        *("fba.runs", "fba.rows_in", "fba.rows_rejected", "fba.rows_changed", "fba.seconds", "fba.throttled_seconds"),
        *("fba.calls", "fba.attention"),
    }
    assert all(tags["store"] == "amazon_us" for points in ours.values() for _, tags in points)
    ((runs, tags),) = ours["fba.runs"]
    assert (runs, tags["outcome"]) == (1, "success")
    assert ours["fba.rows_changed"][0][0] > 100
    assert {tags["operation"]: number for number, tags in ours["fba.calls"]}["createReport"] == 2
    assert {tags["code"] for _, tags in ours["fba.attention"]} == set(ATTENTION)
