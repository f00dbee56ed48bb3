"""The tracking DAG as Airflow runs it: two stores, the asset's event, params, and no personal data in what it leaves."""

from __future__ import annotations

import pytest

from tests.sending import PERSONAL
from tests.stores import SELLER

pytestmark = pytest.mark.usefixtures("airflow_database")
DAG_ID = "fba_track_orders"


@pytest.fixture
def shipped(shop):
    """A request that Amazon has shipped in one parcel."""
    shop.add("FR-1")
    shop.amazon.world.plan_order(SELLER, "FR-1", parts=1, packages=1)
    shop.send()
    shop.amazon.world.ship_now(SELLER)
    return shop


def events(ask_airflow):
    told = ask_airflow("assets/events", source_dag_id=DAG_ID, order_by="timestamp", limit=100)
    return [event["extra"] for event in told["asset_events"] if event["name"] == "fba_packages"]


def test_a_run_keeps_parcels_makes_an_event_and_leaks_nothing(
    shipped, dag, ask_airflow, kept_by_airflow, capfd, caplog
):
    caplog.set_level("DEBUG")
    before = len(events(ask_airflow))
    assert dag.test().state == "success"
    assert shipped.sql("SELECT fr_number, status FROM fba.package") == [("FR-1", "IN_TRANSIT")]
    (event,) = events(ask_airflow)[before:]
    assert event == {
        **{"store": "amazon_us", "new_packages": 1, "packages": {"IN_TRANSIT": 1}, "requests": {}},
        **{"fr_numbers": ["FR-1"], "more": 0},
    }
    assert dag.test().state == "success"
    assert len(events(ask_airflow)) == before + 1, "nothing has changed"
    summaries = shipped.sql("SELECT outcome, summary, calls FROM fba.run WHERE dag_id = %s ORDER BY started_at", DAG_ID)
    assert [row[0] for row in summaries] == ["success", "success"]
    assert "1 new parcel" in summaries[0][1]
    assert summaries[0][2]["listOrders"] == 1
    output = "".join(capfd.readouterr()) + caplog.text + kept_by_airflow()
    assert not [value for value in PERSONAL.values() if len(value) > 2 and value in output]


def test_since_that_is_no_time_is_refused_before_amazon_is_called(shop, dag):
    assert dag.test(run_conf={"since": "last tuesday"}).state == "failed"
    assert "listOrders" not in shop.amazon.world.calls()["calls"]
    assert "no time in ISO 8601" in shop.sql("SELECT failure || summary FROM fba.run")[0][0]
