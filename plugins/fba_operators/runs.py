"""The first and the last task of every DAG: prepare the warehouse, say what came of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow.sdk import BaseOperator, Context, TriggerRule
from airflow.sdk.exceptions import AirflowException, AirflowSkipException
from psycopg.rows import dict_row

from fba_operators.base import AmazonRetryPolicy
from fba_operators.errors import ConfigurationError
from fba_operators.stores import load_stores, stores_path
from fba_operators.warehouse import DEFAULT_WAREHOUSE, Warehouse, statements


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
    """Say for each store what the run did, and fail the run if a store failed.

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
        """Print the summaries; raise if one is missing or bad."""
        if self.stores is None:
            raise AirflowException("The run was not prepared; the first task's log says why.")
        if not self.stores:
            raise AirflowSkipException("This run had nothing to do; the first task's log says why.")
        with Warehouse(self.warehouse_conn_id).connect() as db:
            rows = {
                row["store"]: row
                for row in db.cursor(row_factory=dict_row).execute(
                    statements("ledger")["runs"], {"dag_id": self.dag_id, "run_id": context["run_id"]}
                )
            }
            keep = load_stores().retention.raw_documents_days
            (purged,) = db.execute(statements("ledger")["purge_documents"], {"days": keep}).fetchone() or (0,)
        if purged:
            self.log.info("Purged the raw copies of %d reports older than %d days.", purged, keep)
        outcomes = {}
        for store in self.stores:
            row = rows.get(store) or {}
            outcomes[store] = row.get("outcome") or "did not finish"
            calls = ", ".join(f"{name} {n}" for name, n in sorted((row.get("calls") or {}).items()))
            self.log.info(
                "%s: %s. %s Calls to Amazon: %s. Waited for quotas: %.0f s.",
                store,
                outcomes[store],
                row.get("summary") or "See the logs of its tasks.",
                calls or "none",
                row.get("throttled_seconds") or 0,
            )
        failed = [store for store, outcome in outcomes.items() if outcome not in ("success", "skipped")]
        if failed:
            raise AirflowException(
                f"{len(failed)} of {len(outcomes)} stores failed: {', '.join(failed)}. The others are complete. "
                "The reasons stand above and in fba.run."
            )
        return outcomes
