"""Requirements on every DAG file."""

from __future__ import annotations

import subprocess
import sys

import pytest

from devstack.airflow import PROJECT
from tests.helpers import build_dag

DAGS = sorted((PROJECT / "dags").glob("*.py"))


@pytest.mark.parametrize("dag", DAGS, ids=lambda path: path.stem)
def test_a_dag_file_loads_quickly(dag):
    """The process of each task loads its DAG file, which must not import what only some tasks need."""
    code = "import runpy, sys; runpy.run_path(sys.argv[1]); print(*sys.modules)"
    completed = subprocess.run([sys.executable, "-c", code, dag], check=True, capture_output=True, text=True)
    loaded = set(completed.stdout.split())
    assert "airflow.sdk" in loaded
    assert not loaded & {"pandas", "numpy", "apprise"}


def test_file_function_and_dag_have_the_same_name():
    assert DAGS
    for path in DAGS:
        assert build_dag(path.stem).dag_id == path.stem
