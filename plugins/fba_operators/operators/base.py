"""What every operator of this package does alike: defer instead of sleeping, count calls, record failures, retry by meaning."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import cached_property
from typing import Any, NoReturn

import psycopg
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import BaseOperator, Context
from airflow.sdk.definitions.retry_policy import RetryDecision, RetryPolicy
from airflow.sdk.exceptions import AirflowSkipException
from psycopg.types.json import Jsonb

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.trigger import ProcessingTrigger
from fba_operators.errors import SellingPartnerError, ThrottledError, UnavailableError
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse, statements


class AmazonRetryPolicy(RetryPolicy):
    """Retry what may pass by itself; fail at once what only a person can change."""

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide by the kind of error; see :mod:`fba_operators.errors`."""
        if isinstance(exception, UnavailableError):
            return RetryDecision.retry(reason="a fault that may pass")
        if isinstance(exception, (SellingPartnerError, ValueError, TypeError)):
            return RetryDecision.fail(reason="a retry would fail the same way")
        return RetryDecision.default()


def flag(name: str, value: bool | str | None) -> bool | None:
    """Read a switch that may come out of a template as text; None and empty mean "as configured"."""
    known = {"true": True, "false": False, "none": None, "": None}
    text = "" if value is None else str(value).lower()
    if text not in known:
        raise ValueError(f"{name} must be true, false or nothing, not {value!r}")
    return known[text]


def failure(task_id: str, error: Exception) -> dict[str, str]:
    """Say why a task failed: ``summary`` for those who may see everything, ``failure`` for a chat room."""
    known = isinstance(error, (SellingPartnerError, ValueError))
    brief = error.brief if isinstance(error, SellingPartnerError) else type(error).__name__
    return {
        "summary": f"{task_id}: {error if known else type(error).__name__}",
        "failure": f"{task_id}: {brief}",
    }


class SellingPartnerOperator(BaseOperator):
    """Base of the operators that work on one store.

    Subclasses write :meth:`act`, and :meth:`wake` if they wait for something. Both may raise
    :class:`ThrottledError`: the task is then deferred until that time and begins :meth:`act` again.

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
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.warehouse_conn_id = warehouse_conn_id

    @cached_property
    def hook(self) -> SellingPartnerHook:
        """Amazon, for this store."""
        return SellingPartnerHook(self.conn_id, self.warehouse_conn_id)

    @cached_property
    def warehouse(self) -> Warehouse:
        """The warehouse."""
        return Warehouse(self.warehouse_conn_id)

    def act(self, context: Context) -> Any:
        """Do the work. Everything it needs is in its arguments and the warehouse, so that it can begin again anywhere."""
        raise NotImplementedError

    def wake(self, context: Context, event: dict[str, Any]) -> Any:
        """Go on after waiting; by default from the start."""
        return self.act(context)

    def execute(self, context: Context) -> Any:
        """Run :meth:`act`."""
        return self._accounted(context, lambda: self.act(context))

    def resume(self, context: Context, event: Any = None) -> Any:
        """Run :meth:`wake` with what the trigger has seen."""
        seen: dict[str, Any] = event if isinstance(event, dict) else {}
        self.hook.calls.update(seen.get("calls", {}))
        return self._accounted(context, lambda: self.wake(context, seen))

    def _accounted(self, context: Context, work: Callable[[], Any]) -> Any:
        run = {"dag_id": self.dag_id, "run_id": context["run_id"], "store": self.conn_id}
        try:
            return work()
        except ThrottledError as wait:
            self.log.info("%s. Deferred until %s.", wait, wait.until.isoformat(timespec="seconds"))
            self.defer(trigger=DateTimeTrigger(wait.until), method_name="resume")
        except AirflowSkipException:
            raise  # a decision, not a failure; who makes it writes it down
        except Exception as error:
            with suppress(psycopg.Error), self.warehouse.connect() as db:
                db.execute(statements("ledger")["fail_run"], {**run, **failure(self.task_id, error)})
            raise
        finally:
            self._record_calls(run)

    def _record_calls(self, run: dict[str, str]) -> None:
        calls, seconds = Counter(self.hook.calls), self.hook.throttled_seconds
        self.hook.calls.clear()
        self.hook.throttled_seconds = 0.0
        if not calls:
            return
        try:
            with self.warehouse.connect() as db:
                db.execute(
                    statements("ledger")["add_calls"], {**run, "calls": Jsonb(calls), "throttled_seconds": seconds}
                )
        except psycopg.Error as error:
            # Statistics must not hide the outcome of the work, which may have had its effect at Amazon.
            self.log.warning("The %d calls of this task were not recorded: %s", calls.total(), type(error).__name__)

    def wait_for(self, kind: str, amazon_id: str, patience: timedelta) -> NoReturn:
        """Defer until Amazon has finished a ``report`` or ``feed``; :meth:`wake` then gets the trigger's event."""
        self.defer(
            trigger=ProcessingTrigger(
                conn_id=self.conn_id,
                warehouse_conn_id=self.warehouse_conn_id,
                kind=kind,
                amazon_id=amazon_id,
                patience=patience.total_seconds(),
            ),
            method_name="resume",
        )
