"""The first and the last task of every DAG: prepare the warehouse, say what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context, TriggerRule
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from airflow.sdk.observability import stats
from psycopg.rows import dict_row

from fba_operators.errors import ConfigurationError
from fba_operators.operators.base import AmazonRetryPolicy
from fba_operators.runs.summary import ATTENTION, StoreSummary, from_row, message
from fba_operators.settings.stores_file import load_stores, stores_path
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse, statements


class PrepareRunOperator(BaseOperator):
    """Bring the warehouse's schema up to date and return the stores of this run.

    :param stores: connection ids; empty means all of stores.yaml (templated)
    :param present_only: skip backfill runs, because the job knows only what is true now
    :param warehouse_conn_id: Postgres connection of the warehouse
    :return: connection ids
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e8e8e8"

    def __init__(
        self,
        *,
        stores: list[str] | str | None = None,
        present_only: bool = True,
        warehouse_conn_id: str = DEFAULT_WAREHOUSE,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        super().__init__(**kwargs)
        self.stores = stores
        self.present_only = present_only
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> list[str]:
        """Migrate, check, begin the run's rows."""
        run_type = getattr(context["dag_run"], "run_type", "manual")
        if self.present_only and str(getattr(run_type, "value", run_type)) == "backfill":
            context["ti"].xcom_push(key="return_value", value=[])
            raise AirflowSkipException(f"{self.dag_id} knows only the present; a backfill of it has nothing to do.")
        known = list(load_stores().stores)
        wanted = self.stores or context["params"].get("stores") or known
        if not isinstance(wanted, list) or not set(wanted) <= set(known):
            raise ConfigurationError(
                f"stores must be a list of connection ids of {stores_path()} ({', '.join(known)}), not {wanted!r}"
            )
        warehouse = Warehouse(self.warehouse_conn_id)
        for version in warehouse.migrate():
            self.log.info("Warehouse schema: version %d applied.", version)
        with warehouse.connect() as db:
            for store in wanted:
                db.execute(
                    statements("ledger")["begin_run"],
                    {"dag_id": self.dag_id, "run_id": context["run_id"], "store": store},
                )
        return list(dict.fromkeys(wanted))


class SummariseRunOperator(BaseOperator):
    """Say for each store what the run did, notify those who want to know, and fail the run if a store failed.

    Runs whatever became of the others, so it must be the last task. Also purges raw copies that are older than
    ``retention.raw_documents_days``.

    :param stores: what :class:`PrepareRunOperator` returned (templated)
    :param warehouse_conn_id: Postgres connection of the warehouse
    """

    template_fields: Sequence[str] = ("stores",)
    ui_color = "#e8e8e8"

    def __init__(self, *, stores: Any, warehouse_conn_id: str = DEFAULT_WAREHOUSE, **kwargs: Any) -> None:
        kwargs.setdefault("trigger_rule", TriggerRule.ALL_DONE)
        kwargs.setdefault("retries", 0)
        super().__init__(**kwargs)
        self.stores = stores
        self.warehouse_conn_id = warehouse_conn_id

    def execute(self, context: Context) -> dict[str, str]:
        """Print and send the summaries; raise if one is missing or bad."""
        if self.stores is None:
            self._notify(context, [StoreSummary("all stores", "failed", failure="the run was not prepared")])
            raise AirflowException("The run was not prepared; the first task's log says why.")
        if not self.stores:
            raise AirflowSkipException("This run had nothing to do; the first task's log says why.")
        key = {"dag_id": self.dag_id, "run_id": context["run_id"]}
        with Warehouse(self.warehouse_conn_id).connect() as db:
            db.execute(statements("ledger")["end_unfinished"], key)
            query = db.cursor(row_factory=dict_row).execute(statements("ledger")["runs"], key)
            rows = {row["store"]: row for row in query}
            keep = load_stores().retention.raw_documents_days
            (purged,) = db.execute(statements("ledger")["purge_documents"], {"days": keep}).fetchone() or (0,)
        if purged:
            self.log.info("Purged the raw copies of %d reports older than %d days.", purged, keep)
        told = [from_row(store, rows.get(store)) for store in self.stores]
        for store in told:
            calls = ", ".join(f"{name} {n}" for name, n in sorted(store.calls.items()))
            self.log.info(
                "%s: %s. %s Calls to Amazon: %s. Waited for quotas: %.0f s.",
                store.store,
                store.outcome,
                store.summary,
                calls or "none",
                store.throttled_seconds,
            )
            self._measure(store)
        self._notify(context, told)
        failed = [store.store for store in told if store.failed]
        if failed:
            raise AirflowException(
                f"{len(failed)} of {len(told)} stores failed: {', '.join(failed)}. The reasons stand above and in fba.run."
            )
        return {store.store: store.outcome for store in told}

    def _measure(self, store: StoreSummary) -> None:
        """Hand the numbers to Airflow's metrics, which do nothing unless they are switched on."""
        tags = {"dag_id": self.dag_id, "store": store.store}
        stats.incr("fba.runs", tags={**tags, "outcome": store.outcome})
        for name in ("rows_in", "rows_rejected", "rows_changed", "seconds", "throttled_seconds"):
            stats.gauge(f"fba.{name}", getattr(store, name), tags=tags)
        for operation, number in store.calls.items():
            stats.incr("fba.calls", number, tags={**tags, "operation": operation})
        for code in ATTENTION:
            stats.gauge("fba.attention", store.attention.get(code, 0), tags={**tags, "code": code})

    def _notify(self, context: Context, told: list[StoreSummary]) -> None:
        """Tell those of stores.yaml who want to know; what cannot be delivered is logged and changes nothing else."""
        if not (notifications := load_stores().notifications):
            return
        import apprise  # noqa: PLC0415 - here, so that only a run that tells somebody loads it
        from airflow.providers.apprise.hooks.apprise import AppriseHook  # noqa: PLC0415

        for wanted in notifications:
            link = str(context["ti"].log_url).partition("/tasks/")[0]
            news = message(self.dag_id, told, wanted.on, link)
            if news is None:
                continue
            title, body, kind = news
            try:
                receiver = apprise.Apprise()
                hook = AppriseHook(wanted.connection)
                hook.set_config_from_conn(hook.get_connection(wanted.connection), receiver)
                # Not AppriseNotifier: it does not say whether the message was delivered.
                delivered = receiver.notify(body=body, title=title, notify_type=apprise.NotifyType(kind))
                why = "" if delivered else "the service did not take it, or the connection names none"
            except Exception as error:  # whatever a messenger's plugin raises; its text may hold the service's token
                why = type(error).__name__
            if why:
                self.log.error("The notification through connection %s was not delivered: %s.", wanted.connection, why)
            else:
                self.log.info("Notified through connection %s: %s.", wanted.connection, title)
