"""What ends in the middle: a worker, PostgreSQL, the space on its disk, the triggerer. Later all is right."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.errors import SellingPartnerError
from sandbox.server import Sandbox
from tests.faults.campaign import INVENTORY, SEND, SHIPMENTS, WHOLE, Campaign, made
from tests.faults.doomed import work

TASKS = [(dag_id, task_id) for dag_id in (INVENTORY, SEND, SHIPMENTS) for task_id in made(dag_id).task_ids]
FAST = [(SEND, "store.submit")]  # and of it every sixth effect
numbers = count(1)


class DoomedCampaign(Campaign):
    """A campaign in which one task of the first run is struck, and then tried again, in processes of its own."""

    doomed: tuple[str, str, int] | None = None
    struck = False

    def strike(self, task_id: str, doom: str, at: int) -> None:
        """Strike this task before its nth effect, the next time it runs."""
        self.doomed, self.struck, self.failures = (task_id, doom, at), False, []

    def _try(self, task: Any, ctx: Any, done: dict[str, Any]) -> tuple[str, Any]:
        if not self.doomed or self.doomed[0] != task.task_id:
            return super()._try(task, ctx, done)
        _, doom, at = self.doomed
        self.doomed = None
        job = {
            "dag_id": task.dag_id,
            "task_id": task.task_id,
            "run_id": ctx["run_id"],
            "run_after": datetime.now(UTC).isoformat(),
            "params": ctx["params"],
            "done": done,
        }
        told = work(job, doom, at)
        if told is None:
            self.struck = True
            told = work(job)
        assert told is not None
        if told["state"] in ("success", "skipped"):
            return told["state"], told["value"]
        if told["state"] == "failed":
            assert told["retried"], told
            self.failures.append(told["error"])
        return super()._try(task, ctx, done)  # it waits, or is tried again, in the test's time


@contextmanager
def fresh(postgres, patch):
    """A store with Amazon and warehouse of its own."""
    url = postgres.create_database(f"crashes_{next(numbers)}", template="warehouse_template")
    with Sandbox(listings=30, processing_seconds=0.01) as amazon, patch.context() as within:
        within.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        within.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url))
        with DoomedCampaign(url, amazon, within) as campaign:
            yield campaign


def finish(campaign, dag_id):
    """Let later runs come; all must be right in the end."""
    for _ in range(8):
        campaign.later(31)
        campaign.decide()
        states = campaign.play(dag_id, **campaign.params(dag_id))
        if "failed" not in states.values() and not campaign.wrong(dag_id, "plain"):
            break
    assert "failed" not in states.values(), campaign.told[-3000:]
    assert campaign.wrong(dag_id, "plain") == []
    assert campaign.leaked("") == []


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("dag_id", "task_id"), TASKS if WHOLE else FAST)
def test_a_worker_killed_before_any_effect_of_a_task(postgres, migrated_template, monkeypatch, dag_id, task_id):
    for at in count(1, 1 if WHOLE else 6):
        with fresh(postgres, monkeypatch) as campaign:
            campaign.prepare(dag_id, "plain")
            campaign.strike(task_id, "killed", at)
            campaign.play(dag_id, **campaign.params(dag_id))
            assert campaign.doomed is None, "the task never ran"
            for error in campaign.errors:
                assert isinstance(error, SellingPartnerError), repr(error)
            finish(campaign, dag_id)
            if not campaign.struck:
                break
            print(f"{dag_id} {task_id}: killed before effect {at}, then {campaign.failures or 'fine'}")
    assert at > 1
