"""What all operators share: deferring instead of sleeping, counting calls, recording failures, retrying by kind of error."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any, NoReturn

import psycopg
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowSkipException

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.trigger import ProcessingTrigger
from fba_operators.errors import SellingPartnerError, ThrottledError, UnavailableError
from fba_operators.runs.log import RunLog
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse

RETRY_PATIENCE = timedelta(minutes=5)  # for a report or feed, where an earlier attempt has waited already


class AmazonRetryPolicy(RetryPolicy):
    """Retry transient faults; fail at once where only a person can help."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the kind of error; see :mod:`fba_operators.errors`."""
        if isinstance(exception, UnavailableError):
            return RetryDecision.retry(reason="a transient fault")
        if isinstance(exception, (SellingPartnerError, ValueError, TypeError)):
            return RetryDecision.fail(reason="a retry would fail the same way")
        return RetryDecision.default()


def run_type_of(context: Context) -> str:
    """How the run was started: ``manual``, ``scheduled``, ``backfill`` or ``asset_triggered``."""
    run_type = getattr(context["dag_run"], "run_type", "manual")
    return str(getattr(run_type, "value", run_type))


class SellingPartnerOperator(BaseOperator):
    """Base of the operators that work on one store.

    Subclasses write :meth:`work`, and :meth:`work_after_wait` if they wait for something. Both may raise
    :class:`ThrottledError`: the task is then deferred until that time and begins :meth:`work` again. Where that would take
    longer than the error's patience, the store is left to the next run.

    :param conn_id: the store: Airflow connection of type ``amazon_sp_api`` (templated)
    :param warehouse_conn_id: Postgres connection of the warehouse
    """

    template_fields: Sequence[str] = ("conn_id",)
    ui_color = "#fff3d6"

    def __init__(
        self,
        *,
        conn_id: str = SellingPartnerHook.default_conn_name,
        warehouse_conn_id: str = DEFAULT_WAREHOUSE,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("retry_policy", AmazonRetryPolicy())
        kwargs.setdefault("map_index_template", "{{ task.conn_id }}")  # mapped over stores, the grid shows their names
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.warehouse_conn_id = warehouse_conn_id
        self._attempt = 1

    @cached_property
    def hook(self) -> SellingPartnerHook:
        """Amazon, for this store."""
        return SellingPartnerHook(self.conn_id, self.warehouse_conn_id, warehouse=self.warehouse)

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse."""
        return Warehouse(self.warehouse_conn_id)

    def run_log(self, context: Context) -> RunLog:
        """The store's row of this run in ``fba.run``."""
        return RunLog(self.dag_id, str(context["run_id"]), self.conn_id)

    def work(self, context: Context) -> Any:
        """Do the work. Everything it needs is in its arguments and the warehouse, so it can begin again at any time."""
        raise NotImplementedError

    def work_after_wait(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after waiting; by default from the start."""
        return self.work(context)

    def execute(self, context: Context) -> Any:
        """Run :meth:`work`, recording calls and failures."""
        with self.warehouse.session():
            return self._recorded(context, lambda: self.work(context))

    def execute_complete(self, context: Context, event: Any = None) -> Any:
        """Run :meth:`work_after_wait` with the trigger's event."""
        known: dict[str, Any] = event if isinstance(event, dict) else {}
        with self.warehouse.session():
            self._record_task(context, known.get("calls") or {}, known.get("throttled_seconds") or 0.0, succeeded=False)
            return self._recorded(context, lambda: self.work_after_wait(context, known))

    def resume(self, context: Context, event: Any = None) -> Any:
        """What tasks deferred by version 0.1 call."""
        return self.execute_complete(context, event)

    def wait_for(self, kind: str, amazon_id: str, patience: timedelta) -> NoReturn:
        """Defer until Amazon has finished a ``report`` or ``feed``; then :meth:`work_after_wait` gets the event.

        :param patience: for how long; a retry waits for five minutes at most, so that all attempts fit into the run
        """
        if self._attempt > 1:
            patience = min(patience, RETRY_PATIENCE)
        self.defer(
            trigger=ProcessingTrigger(
                conn_id=self.conn_id,
                warehouse_conn_id=self.warehouse_conn_id,
                kind=kind,
                amazon_id=amazon_id,
                patience=patience.total_seconds(),
            ),
            method_name="execute_complete",
        )

    def leave_to_next_run(self, context: Context, reason: str) -> NoReturn:
        """End skipped: the next run goes on."""
        reason = f"{reason.removeprefix(f'{self.conn_id}: ')}; the next run goes on."
        with self.warehouse.connect() as db:
            self.run_log(context).postpone(db, reason)
        raise AirflowSkipException(f"{self.conn_id}: {reason}")

    def _recorded(self, context: Context, work: Callable[[], Any]) -> Any:
        succeeded = False
        self._attempt = getattr(context["ti"], "try_number", 1)
        try:
            result = work()
            succeeded = True
            return result
        except ThrottledError as wait:
            began = getattr(context["ti"], "start_date", None)  # of this attempt, whose waits are in it
            if began and wait.until > began + wait.patience:
                self.leave_to_next_run(context, wait.brief)
            self.log.info("%s. Deferred until %s.", wait, wait.until.isoformat(timespec="seconds"))
            self.defer(trigger=DateTimeTrigger(wait.until), method_name="execute_complete")
        except AirflowSkipException:
            raise  # a decision, which the task has recorded
        except Exception as error:
            with suppress(psycopg.Error), self.warehouse.connect() as db:
                self.run_log(context).fail(db, self.task_id, error)
            raise
        finally:
            self._record_task(context, *self.hook.take_statistics(), succeeded)

    def _record_task(
        self, context: Context, calls: Mapping[str, int], throttled_seconds: float, succeeded: bool
    ) -> None:
        if not (calls or succeeded):
            return
        try:
            with self.warehouse.connect() as db:
                self.run_log(context).add_task(
                    db,
                    self.task_id,
                    calls,
                    throttled_seconds,
                    succeeded=succeeded,
                    clock_offset=self.hook.clock_offset,
                )
        except psycopg.Error as error:
            # Statistics must not hide the outcome of the work, which may have had its effect at Amazon.
            number = Counter(calls).total()
            self.log.warning("The %d calls of this task were not recorded: %s", number, type(error).__name__)
