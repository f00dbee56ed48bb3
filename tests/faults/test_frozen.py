"""Frozen: a process is stopped by SIGSTOP for longer than every quiet time, other runs go on, and then it is continued."""

from __future__ import annotations

from contextlib import suppress
from itertools import count
from pathlib import Path

import psycopg
import pytest

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.errors import SellingPartnerError
from sandbox.server.server import Sandbox
from tests.faults.campaign import COMPLETE, SEND, TRACK, Campaign, reset
from tests.faults.isolated import run_isolated
from tests.stores import SELLER

TASKS = [
    *(("plain", f"store.{name}") for name in ("settle", "claim", "upload", "submit", "record")),
    *(("orders", f"store.{name}") for name in ("settle", "claim", "send")),
]
SAMPLE = [("plain", "store.submit"), ("orders", "store.send")]
STRIDE = 1 if COMPLETE else 18


class FreezeCampaign(Campaign):
    """A campaign in which one task of the first run is stopped before one of its effects, for hours."""

    planned: tuple[str, int] | None = None
    stopped = False
    dag_id = SEND

    def _try(self, task, ctx, done):
        if not self.planned or self.planned[0] != task.task_id:
            return super()._try(task, ctx, done)
        (_, at), self.planned = self.planned, None
        result = run_isolated(self.job(task, ctx, done), "stopped", at, while_stopped=self.go_on_without)
        assert result is not None
        if result["state"] in ("success", "skipped"):
            return result["state"], result["value"]
        return "failed", None  # Airflow gave the task up long ago: it is not tried again

    def go_on_without(self, process_id):
        """Hours pass: the server ends idle transactions, Airflow has given up the task, and later runs follow."""
        self.stopped = True
        assert Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] == "T"
        self.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND state LIKE 'idle in transaction%%'"
        )
        for _ in range(4):
            self.advance(31)
            self.run_dag(self.dag_id)


class TrackingFreezeCampaign(FreezeCampaign):
    """Meanwhile both parcels are delivered, and other runs have read that."""

    dag_id = TRACK

    def go_on_without(self, process_id):
        for parcel in (1, 2):
            self.amazon.world.set_parcel(SELLER, "FR-1", parcel, status="DELIVERED")
        self.sql("UPDATE fba.tracked_order SET read_at = read_at - interval '25 hours'")
        super().go_on_without(process_id)
        assert self.wrong_after_fault(TRACK, "plain") == []
        # The clock of these tests moves rows, not the time that the stopped process remembers.
        self.sql("UPDATE fba.tracked_order SET read_at = clock_timestamp()")


@pytest.fixture(scope="module")
def amazon():
    with Sandbox(listings=30, processing_seconds=0.01) as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def url(postgres, migrated_template):
    return postgres.create_database("frozen", template=migrated_template)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    "lost", [False, True] if COMPLETE else [True], ids=lambda lost: "an answer was lost" if lost else ""
)
@pytest.mark.parametrize(("path", "task_id"), TASKS if COMPLETE else SAMPLE)
def test_a_worker_frozen_before_any_effect_of_a_task(url, amazon, monkeypatch, record_property, path, task_id, lost):
    stops = 0
    for at in count(1, STRIDE):
        reset(url, amazon)
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
            patch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
            with FreezeCampaign(url, amazon, patch) as campaign:
                campaign.prepare(SEND, path)
                if lost:
                    amazon.world.add_fault(
                        "createFeed" if path == "plain" else "createFulfillmentOrder", "reset_before"
                    )
                    campaign.run_dag(SEND)
                    campaign.advance(31)
                    campaign.run_dag(SEND)
                    campaign.advance(11)
                campaign.planned = (task_id, at)
                states = campaign.run_dag(SEND)
                assert campaign.planned is None, "the task never ran"
                assert campaign.wrong_during_fault(SEND, states) == []
                campaign.add_new_work(SEND)
                for _ in range(4):
                    campaign.advance(31)
                    with suppress(SellingPartnerError, psycopg.Error):
                        states = campaign.run_dag(SEND)
                assert "failed" not in states.values()
                assert campaign.wrong_after_fault(SEND, path) == []
                if not campaign.stopped:
                    break
                stops += 1
    record_property("stops", stops)
    assert stops > (20 if COMPLETE else 2)


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("path", ["plain", "lost", "old"] if COMPLETE else ["plain"])
def test_a_frozen_reading_takes_nothing_back(url, amazon, monkeypatch, record_property, path):
    stops = 0
    for at in count(1, STRIDE):
        reset(url, amazon)
        with monkeypatch.context() as patch:
            patch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
            patch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
            with TrackingFreezeCampaign(url, amazon, patch) as campaign:
                campaign.prepare(TRACK, path)
                campaign.planned = ("store.track", at)
                campaign.run_dag(TRACK)
                assert campaign.planned is None, "the task never ran"
                if not campaign.stopped:
                    break
                assert campaign.wrong_after_fault(TRACK, path) == []
                stops += 1
    record_property("stops", stops)
    assert stops > 2
