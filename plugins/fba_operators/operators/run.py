"""The first and the last task of every DAG: prepare the warehouse, summarise what the run did."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import psycopg
from airflow.sdk import BaseOperator, Context, TriggerRule
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from airflow.sdk.observability import stats

from fba_operators.errors import ConfigurationError
from fba_operators.operators.base import AmazonRetryPolicy, run_type_of
from fba_operators.runs.desk_address import desk_address
from fba_operators.runs.log import RunLog, end_run
from fba_operators.runs.notifications import notify
from fba_operators.runs.retention import remove_expired
from fba_operators.runs.summary import ATTENTION, StoreSummary, counted, message
from fba_operators.settings.stores_file import load_stores, stores_path
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse
from fba_operators.warehouse.statements import execute

NOTIFIED = "notified"  # key of the task's own state, which a retry finds again


class PrepareRunOperator(BaseOperator):
    """Bring the warehouse's schema up to date and return the stores of this run.

    :param stores: connection ids; empty means all of stores.yaml (templated)
    :param present_only: skip backfill runs, because the job knows only the present
    :param migrations: tables of your own: schema → folder of numbered SQL files, which are applied once each
    :param warehouse_conn_id: Postgres connection of the warehouse
    :return: connection ids
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e8e8e8"

    def __init__(
        self,
        *,
        stores: list[str] | None = None,
        present_only: bool = True,
        migrations: Mapping[str, str | Path] | None = None,
        warehouse_conn_id: str = DEFAULT_WAREHOUSE,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores
        self.present_only = present_only
        self.migrations = dict(migrations or {})
        self.warehouse_conn_id = warehouse_conn_id

    def run_log(self, context: Context, store: str) -> RunLog:
        """The row of a store of this run in ``fba.run``."""
        return RunLog(self.dag_id, str(context["run_id"]), store)

    def _check_conf(self, context: Context) -> None:
        """Refuse a conf key that is no param of the DAG: a misspelt dry_run would send orders."""
        if (dag := context.get("dag")) is None:
            return
        params = list(dag.params)
        if unknown := sorted(set(getattr(context["dag_run"], "conf", None) or {}) - set(params)):
            hints = [
                f"{key!r}" + (f" (did you mean {near[0]!r}?)" if (near := get_close_matches(key, params, 1)) else "")
                for key in map(str, unknown)
            ]
            raise ConfigurationError(
                f"The run's conf has what is no param of {self.dag_id}: {', '.join(hints)}. Nothing was done. "
                f"Its params are: {', '.join(params) or 'none'}"
            )

    def execute(self, context: Context) -> list[str]:
        """Check the conf, migrate, check the stores, begin the run's rows."""
        self._check_conf(context)
        if self.present_only and run_type_of(context) == "backfill":
            context["ti"].xcom_push(key="return_value", value=[])
            raise AirflowSkipException(f"{self.dag_id} knows only the present; a backfill of it has nothing to do.")
        settings = load_stores()
        known = list(settings.stores)
        wanted = self.stores or known
        if not isinstance(wanted, list) or not set(wanted) <= set(known):
            raise ConfigurationError(
                f"stores must be a list of connection ids of {stores_path()} ({', '.join(known)}), not {wanted!r}"
            )
        stores = list(dict.fromkeys(wanted))
        warehouse = Warehouse(self.warehouse_conn_id)
        dag = context.get("dag")
        with warehouse.session():
            for version in warehouse.migrate():
                self.log.info("Warehouse schema: version %d applied.", version)
            for schema, folder in self.migrations.items():
                for version in warehouse.migrate_own(schema, Path(folder)):
                    self.log.info("Schema %s: version %d applied.", schema, version)
            with warehouse.connect() as db:
                of_stores = [store.inventory for store in settings.stores.values()]
                execute(
                    db,
                    "runs.set_stores",
                    stores=known,
                    hours=[each.max_stock_age_hours for each in of_stores],
                    buffers=[each.buffer_units for each in of_stores],
                    days=[each.low_stock_days for each in of_stores],
                )
                for store in stores:
                    self.run_log(context, store).begin(db, limit=dag.dagrun_timeout if dag else None)
        return stores


class SummariseRunOperator(BaseOperator):
    """Summarise what the run did for each store, notify the recipients in stores.yaml, and fail if a store failed.

    Runs even if upstream tasks failed, so it must be the last task. Also removes what is older than the retention periods.
    Only what comes before the notifications is retried. A row of ``fba.run`` that another session holds is passed over: its
    store is summarised as the row is.

    :param stores: what :class:`PrepareRunOperator` returned (templated)
    :param warehouse_conn_id: Postgres connection of the warehouse
    :return: store → outcome
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e8e8e8"

    def __init__(self, *, stores: Any, warehouse_conn_id: str = DEFAULT_WAREHOUSE, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        kwargs.setdefault("retries", 2)
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Log and send the summaries; raise if a store failed."""
        if self.stores is None:
            self._notify(context, [StoreSummary("all stores", "failed", failure="the run was not prepared")])
            raise AirflowFailException("The run was not prepared; the first task's log says why.")
        if not self.stores:
            raise AirflowSkipException("This run had nothing to do; the first task's log says why.")
        with Warehouse(self.warehouse_conn_id).connect() as db:
            self.check(db, context)
            rows = end_run(db, self.dag_id, str(context["run_id"]))
        summaries = [rows.get(store) or StoreSummary.of(store, None) for store in self.stores]
        retention = load_stores().retention
        self._notify(context, summaries)
        for summary in summaries:
            for line in summary.lines():
                self.log.info("%s", line)
            self._measure(summary)
        remove_expired(Warehouse(self.warehouse_conn_id), retention)
        failed = [summary for summary in summaries if summary.failed]
        if failed:
            reasons = "\n".join(line for summary in failed for line in summary.lines())
            raise AirflowFailException(f"{len(failed)} of {counted(len(summaries), 'store')} failed.\n{reasons}")
        return {summary.store: summary.outcome for summary in summaries}

    def check(self, db: psycopg.Connection[Any], context: Context) -> None:
        """Add what needs a person to the run's rows; subclasses do."""

    def _measure(self, summary: StoreSummary) -> None:
        """Send the numbers to Airflow's metrics, which are off unless they are configured."""
        tags = {"dag_id": self.dag_id, "store": summary.store}
        stats.incr("fba.runs", tags={**tags, "outcome": summary.outcome})
        for name in ("rows_in", "rows_rejected", "rows_changed", "seconds", "throttled_seconds"):
            stats.gauge(f"fba.{name}", getattr(summary, name), tags=tags)
        for operation, number in summary.calls.items():
            stats.incr("fba.calls", number, tags={**tags, "operation": operation})
        for code in ATTENTION:
            stats.gauge("fba.attention", summary.attention.get(code, 0), tags={**tags, "code": code})

    def _notify(self, context: Context, summaries: list[StoreSummary]) -> None:
        """Notify the recipients, once of the same news: an attempt that was killed after it notified them is retried."""
        recipients = load_stores().notifications
        desk = desk_address()
        run = str(context["ti"].log_url).partition("/tasks/")[0] if recipients else ""
        news = [(each.connection, message(self.dag_id, summaries, each.on, desk, run)) for each in recipients]
        if not any(sent for _, sent in news):
            return
        digest, remembered = hashlib.sha256(repr(news).encode()).hexdigest(), context.get("task_state_store")
        if remembered is not None:
            if remembered.get(NOTIFIED) == digest:
                self.log.info("An earlier attempt of this task has sent the notifications.")
                return
            remembered.set(NOTIFIED, digest)
        notify(recipients, self.dag_id, summaries, desk, run)
