"""Requirements on every DAG file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devstack.airflow import PROJECT
from tests.helpers import build_dag

DAGS = sorted((PROJECT / "dags").glob("*.py"))


def test_a_dag_file_loads_quickly():
    """The process of each task loads its DAG file, which must not import what only some tasks need."""
    code = """
import runpy, sys
for path in sys.argv[1:]:
    assert runpy.run_path(path)["dag"].task_ids
    print(path, *(sys.modules.keys() & {"pandas", "numpy", "apprise"}))
"""
    done = subprocess.run([sys.executable, "-c", code, *DAGS], check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == list(map(str, DAGS))


def test_file_function_and_dag_have_the_same_name():
    assert DAGS
    for path in DAGS:
        assert build_dag(path.stem).dag_id == path.stem


def test_a_mapping_to_a_speed_that_amazon_has_only_in_some_countries_is_an_import_warning(
    fulfillment, airflow_database
):
    from airflow.dag_processing.dagbag import DagBag

    fulfillment("shipping_methods: {Air: Priority, Ground: Standard, Rush: Priority}")
    path = str(PROJECT / "dags" / "fba_send_fulfillment_requests.py")
    with pytest.warns(UserWarning, match="Amazon lists Priority only in CA, IN and MX"):
        bag = DagBag(path)
    assert bag.import_errors == {}
    assert list(bag.dags) == ["fba_send_fulfillment_requests"]
    found = bag.captured_warnings[path]
    assert [sum(f"shipping_methods.{name}:" in text for text in found) for name in ("Air", "Ground", "Rush")] == [
        1,
        0,
        1,
    ]
    assert all("SpeedWarning" in text for text in found)
    fulfillment("send_automatically: true")
    assert DagBag(path).captured_warnings == {}
