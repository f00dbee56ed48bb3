"""What tests of DAG files share."""

from __future__ import annotations

import pytest

from devstack.airflow import store_connection
from tests.helpers import build_dag
from tests.stores import OTHER_SELLER, US


@pytest.fixture
def dag(request):
    """The DAG of the module's DAG_ID, built for one test only: dag.test() writes the run's conf into it."""
    return build_dag(request.module.DAG_ID)


@pytest.fixture
def two_stores(amazon, stores_file, monkeypatch):
    """Beside amazon_us a store amazon_other, of another seller."""
    stores_file("stores: {amazon_us: {}, amazon_other: {}}")
    other = amazon.world.add_merchant(OTHER_SELLER, [US], listings=60)
    monkeypatch.setenv(
        "AIRFLOW_CONN_AMAZON_OTHER",
        store_connection(amazon.url, refresh_token=other["refresh_token"], seller_id=OTHER_SELLER),
    )
