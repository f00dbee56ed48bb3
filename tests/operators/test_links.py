"""The button on a task that leads to the desk: on which tasks, to which page, with which address."""

from __future__ import annotations

import pytest
from airflow.serialization.serialized_objects import DagSerialization

from fba_operators.operators.links import DeskLink
from fba_operators.provider import get_provider_info
from fba_operators.runs.desk_address import desk_address
from tests.helpers import build_dag

LINKED = {
    "fba_get_inventory": {"store.merge": "stock"},
    "fba_send_fulfillment_requests": {"store.claim": "requests", "store.send": "requests", "store.record": "requests"},
    "fba_get_shipments": {"window.load": "requests"},
    "fba_track_orders": {"store.track": "requests"},
}


def linked_tasks(dag):
    return {
        task.task_id: [type(link).__name__ for link in task.operator_extra_links]
        for task in dag.tasks
        if task.operator_extra_links
    }


@pytest.mark.parametrize("dag_id", LINKED)
def test_these_tasks_have_the_button(dag_id):
    dag = build_dag(dag_id)
    assert set(linked_tasks(dag)) == set(LINKED[dag_id])
    for task_id, page in LINKED[dag_id].items():
        (link,) = dag.get_task(task_id).operator_extra_links
        assert link.page == page


@pytest.mark.parametrize("dag_id", LINKED)
def test_it_is_still_there_after_airflow_has_read_the_dag_from_its_database(dag_id):
    read = DagSerialization.from_dict(DagSerialization.to_dict(build_dag(dag_id)))
    for task_id in LINKED[dag_id]:
        assert read.get_task(task_id).extra_links == ["FBA desk"]


@pytest.mark.parametrize(
    ("base_url", "begins"),
    [
        ("http://localhost:8080", "http://localhost:8080/fba/"),
        ("https://shop.example/airflow", "https://shop.example/airflow/fba/"),
        ("https://shop.example/airflow/", "https://shop.example/airflow/fba/"),
    ],
)
def test_it_leads_to_the_desk_below_airflows_address(monkeypatch, base_url, begins):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", base_url)
    from fba_operators.operators import MergeInventoryOperator

    operator = MergeInventoryOperator(task_id="merge", conn_id="shop & co")
    assert DeskLink("stock").get_link(operator, ti_key=None) == f"{begins}stock?store=shop+%26+co"
    assert desk_address() == begins
    assert desk_address("request", store="a", request="") == f"{begins}request?store=a"


def test_airflow_is_told_of_it():
    from airflow.providers_manager import ProvidersManager

    (name,) = get_provider_info()["extra-links"]
    assert name == f"{DeskLink.__module__}.{DeskLink.__qualname__}"
    assert name in ProvidersManager().extra_links_class_names
