"""The log of runs: the one writer of ``fba.run``, which has a row for each store of each run of a DAG."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import psycopg
from psycopg.types.json import Jsonb

from fba_operators.errors import SellingPartnerError
from fba_operators.runs.summary import StoreSummary
from fba_operators.warehouse.statements import execute
from fba_operators.words import visible

Outcome = Literal["success", "skipped", "failed"]


@dataclass(frozen=True)
class RunLog:
    """The row of one store in one run. Every method works in the caller's transaction."""

    dag_id: str
    run_id: str
    store: str

    @property
    def _key(self) -> dict[str, str]:
        return {"dag_id": self.dag_id, "run_id": self.run_id, "store": self.store}

    def begin(self, db: psycopg.Connection[Any], *, limit: timedelta | None = None) -> None:
        """Begin the row, or begin it anew when the run's first task was cleared.

        :param limit: after how long Airflow ends the run
        """
        execute(db, "runs.begin", limit=limit, **self._key)

    def add_task(
        self,
        db: psycopg.Connection[Any],
        task_id: str,
        calls: Mapping[str, int],
        throttled_seconds: float,
        *,
        succeeded: bool,
        clock_offset: timedelta = timedelta(0),
    ) -> None:
        """Add a task's calls to Amazon, by operation, and the seconds it waited for quotas.

        :param clock_offset: Amazon's clock minus this process's
        :param succeeded: the task succeeded. In a DAG without a PrepareRunOperator that is the row's outcome, unless
            another task failed; in others a later task records the outcome
        """
        now = datetime.now(UTC)
        values = {"task_id": task_id, "throttled_seconds": throttled_seconds, "succeeded": succeeded}
        values |= {"worker_time": now, "amazon_time": now + clock_offset}
        execute(db, "runs.add_task", **self._key, **values, calls=Jsonb(dict(calls)))

    def add(
        self,
        db: psycopg.Connection[Any],
        task_id: str,
        summary: str,
        *,
        outcome: Outcome | None = None,
        rows_in: int = 0,
        rows_rejected: int = 0,
        rows_changed: int = 0,
        attention: Mapping[str, int] | None = None,
    ) -> None:
        """Add a sentence and counts to the row; the newest sentence comes first.

        :param outcome: how the run ended for this store, if this is its last task
        :param attention: what needs a person: code of :data:`fba_operators.runs.summary.ATTENTION` and count
        """
        values = {"rows_in": rows_in, "rows_rejected": rows_rejected, "rows_changed": rows_changed}
        values_json = {"attention": _nonzero(attention)}
        execute(
            db,
            "runs.add",
            **self._key,
            task_id=task_id,
            summary=_visible(summary),
            outcome=outcome,
            **values,
            **values_json,
        )

    def note(
        self, db: psycopg.Connection[Any], task_id: str, summary: str, *, attention: Mapping[str, int] | None = None
    ) -> None:
        """Add a sentence and counts of a task that comes after the one which says how the run ended.

        :param attention: what needs a person: code of :data:`fba_operators.runs.summary.ATTENTION` and count
        """
        texts = {"task_id": task_id, "summary": _visible(summary)}
        execute(db, "runs.note", **self._key, **texts, attention=_nonzero(attention))

    def finish(
        self,
        db: psycopg.Connection[Any],
        outcome: Outcome,
        summary: str,
        *,
        failure: str | None = None,
        rows_in: int = 0,
        rows_rejected: int = 0,
        rows_changed: int = 0,
        attention: Mapping[str, int] | None = None,
    ) -> None:
        """Write the row: how the run ended for this store, and what it did.

        :param failure: task and reason of a failure, fit for a chat room
        :param attention: what needs a person: code of :data:`fba_operators.runs.summary.ATTENTION` and count
        """
        values = {"rows_in": rows_in, "rows_rejected": rows_rejected, "rows_changed": rows_changed}
        texts = {"outcome": outcome, "summary": _visible(summary), "failure": failure and _visible(failure)}
        execute(db, "runs.finish", **self._key, **values, **texts, attention=_nonzero(attention))

    def fail(self, db: psycopg.Connection[Any], task_id: str, error: Exception) -> None:
        """Record that a task failed: the full reason as summary, our own words alone as failure."""
        known = isinstance(error, (SellingPartnerError, ValueError))
        brief = error.brief if isinstance(error, SellingPartnerError) else type(error).__name__
        texts = {
            "task_id": task_id,
            "summary": visible(" ".join(f"{task_id}: {error if known else type(error).__name__}".splitlines())),
            "failure": _visible(f"{task_id}: {brief}"),
        }
        execute(db, "runs.fail", **self._key, **texts)

    def postpone(self, db: psycopg.Connection[Any], summary: str) -> None:
        """Record that the next run goes on with what this one waits for; a failure stays a failure."""
        execute(db, "runs.postpone", **self._key, summary=_visible(summary))


MAX_CLOCK_SKEW = timedelta(minutes=2)


def end_run(db: psycopg.Connection[Any], dag_id: str, run_id: str) -> dict[str, StoreSummary]:
    """Record rows without an outcome as failed, add what needs a person, and return the run's rows by store."""
    execute(db, "runs.end_unfinished", dag_id=dag_id, run_id=run_id)
    execute(db, "runs.add_clock_skew", dag_id=dag_id, run_id=run_id, most=MAX_CLOCK_SKEW.total_seconds())
    execute(db, "runs.add_credentials", dag_id=dag_id, run_id=run_id)
    rows = execute(db, "runs.of_run", dag_id=dag_id, run_id=run_id)
    return {row["store"]: StoreSummary.of(row["store"], row) for row in rows}


def _visible(lines: str) -> str:
    return "\n".join(map(visible, lines.split("\n")))


def _nonzero(counts: Mapping[str, int] | None) -> Jsonb:
    return Jsonb({code: number for code, number in (counts or {}).items() if number})
