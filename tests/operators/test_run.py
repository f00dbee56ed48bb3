"""The first task refuses what it cannot do; what tasks wrote about a store stays readable whatever fails after them."""

from __future__ import annotations

from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, Param

from fba_operators.errors import ConfigurationError, UnavailableError
from fba_operators.operators import PrepareRunOperator, RequestReportOperator
from fba_operators.runs.log import RunLog
from tests.helpers import context, run

LOG = RunLog("fba_send_fulfillment_requests", "run", "amazon_us")


def row(warehouse, columns="outcome, failure, summary"):
    with warehouse.connect() as db:
        return db.execute(f"SELECT {columns} FROM fba.run").fetchone()


@pytest.mark.parametrize(
    ("conf", "words"),
    [
        ({"dryrun": True}, "'dryrun' (did you mean 'dry_run'?)"),
        ({"dry_run": True, "Stores": []}, "'Stores' (did you mean 'stores'?)"),
        ({"anything": 1}, "'anything'"),
    ],
)
def test_a_conf_key_that_is_no_param_stops_the_run(warehouse, conf, words):
    with DAG("some_dag", schedule=None, params={"dry_run": Param(False), "stores": Param([])}) as dag:
        prepare = PrepareRunOperator(task_id="prepare")
    ctx = {**context(), "dag": dag}
    ctx["dag_run"] = SimpleNamespace(run_type="manual", run_id="r", conf=conf)
    with pytest.raises(ConfigurationError) as caught:
        prepare.execute(ctx)
    assert words in str(caught.value)
    assert "Nothing was done" in str(caught.value)
    assert "dry_run, stores" in str(caught.value)
    assert row(warehouse) is None


def test_a_summary_has_lines_and_nothing_else_that_a_terminal_obeys(warehouse):
    with warehouse.connect() as db:
        LOG.begin(db)
        LOG.finish(db, "failed", "one\ntwo\x1b[2J\u202e", failure="\x9b2J")
    assert row(warehouse) == ("failed", r"\x9b2J", "one\ntwo" + r"\x1b[2J\u202e")
    with warehouse.connect() as db:
        LOG.fail(db, "send", ValueError("SKU \x1b[2J"))
    assert row(warehouse, "summary")[0].startswith(r"send: SKU \x1b[2J")


def test_params_that_exist_are_no_reason_to_stop(warehouse):
    with DAG("some_dag", schedule=None, params={"dry_run": Param(False)}) as dag:
        prepare = PrepareRunOperator(task_id="prepare")
    ctx = {**context(), "dag": dag}
    ctx["dag_run"] = SimpleNamespace(run_type="manual", run_id="r", conf={"dry_run": True})
    assert prepare.execute(ctx) == ["amazon_us"]


@pytest.mark.parametrize("limit", [timedelta(minutes=55), None])
def test_a_run_knows_when_airflow_ends_it(warehouse, limit):
    with DAG("some_dag", schedule=None, dagrun_timeout=limit) as dag:
        prepare = PrepareRunOperator(task_id="prepare")
    prepare.execute({**context(), "dag": dag})
    with warehouse.connect() as db:
        assert db.execute("SELECT ends_by - started_at < %s + interval '5 s' FROM fba.run", (limit,)).fetchone() == (
            True if limit else None,
        )
        assert db.execute("SELECT ends_by IS NULL FROM fba.run").fetchone() == (limit is None,)


def test_a_failure_leaves_what_other_tasks_did_in_the_summary(warehouse):
    with warehouse.connect() as db:
        LOG.begin(db)
        LOG.add(db, "settle", "1 order cancelled.")
        LOG.fail(db, "claim", UnavailableError("amazon_us: no answer\nfrom Amazon"))
        LOG.fail(db, "claim", UnavailableError("amazon_us: again no answer"))
    assert row(warehouse) == (
        "failed",
        "claim: amazon_us: again no answer",
        "claim: amazon_us: again no answer\n1 order cancelled.",
    )


def test_a_second_failure_takes_the_place_of_the_first_wherever_that_stands(warehouse):
    with warehouse.connect() as db:
        LOG.fail(db, "deliver to shop", UnavailableError("amazon_us: no answer"))
        LOG.note(db, "deliver to folder", "1 change delivered to folder.")
        LOG.fail(db, "deliver to shop", UnavailableError("amazon_us: again no answer"))
    _, _, summary = row(warehouse)
    assert summary.splitlines() == ["deliver to shop: amazon_us: again no answer", "1 change delivered to folder."]


def test_success_takes_back_the_failure_of_an_earlier_attempt_and_only_that(warehouse):
    with warehouse.connect() as db:
        LOG.begin(db)
        LOG.add(db, "settle", "1 order cancelled.")
        LOG.fail(db, "claim", UnavailableError("amazon_us: no answer"))
        LOG.add_task(db, "token", {}, 0.0, succeeded=True)
    assert row(warehouse)[0] == "failed"
    with warehouse.connect() as db:
        LOG.add_task(db, "claim", {}, 0.0, succeeded=True)
    assert row(warehouse) == (None, None, "1 order cancelled.")
    with warehouse.connect() as db:
        LOG.postpone(db, "Amazon is still making report 1.")
    assert row(warehouse)[0] == "skipped"


def test_what_another_task_adds_does_not_hide_a_failure(warehouse):
    with warehouse.connect() as db:
        LOG.begin(db)
        LOG.fail(db, "settle", UnavailableError("amazon_us: no answer"))
        LOG.add(db, "claim", "2 requests claimed.", outcome="success")
    outcome, failure, summary = row(warehouse)
    assert (outcome, failure) == ("failed", "settle: amazon_us: no answer")
    assert summary == "2 requests claimed.\nsettle: amazon_us: no answer"


def test_a_connection_that_does_not_exist_is_named(warehouse, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_AMAZON_US", raising=False)
    with pytest.raises(ConfigurationError, match="There is no Airflow connection amazon_us"):
        run(RequestReportOperator(task_id="request", report_type="GET_AFN_INVENTORY_DATA"))
    assert "There is no Airflow connection amazon_us" in row(warehouse)[1]


@pytest.mark.parametrize(("minutes", "told"), [(-180, True), (180, True), (1, False)])
def test_clocks_that_differ_are_reported(warehouse, minutes, told):
    from datetime import timedelta

    from fba_operators.runs.log import end_run

    with warehouse.connect() as db:
        LOG.begin(db)
        LOG.add_task(db, "token", {"token": 1}, 0.0, succeeded=True, clock_offset=timedelta(minutes=minutes))
        LOG.finish(db, "success", "Done.")
        summary = end_run(db, LOG.dag_id, LOG.run_id)["amazon_us"]
    assert ("clock_skew" in summary.attention) is told
    if told:
        assert abs(summary.attention["clock_skew"] - 180 * 60) < 60
