"""A store whose DAGs run task by task as Airflow would, in a time of the test's own, and what must be true in the end."""

from __future__ import annotations

import os
import traceback
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from types import SimpleNamespace
from typing import Any

from airflow.sdk._shared.secrets_masker import SecretsMasker
from airflow.sdk.exceptions import AirflowSkipException
from jinja2 import Environment

from fba_operators.base import AmazonRetryPolicy
from fba_operators.stores import load_stores
from sandbox.world import DEFAULT_MERCHANT
from tests.helpers import run
from tests.sending import GOOD, PERSONAL, SELLER, STORE, US, Merchant
from tests.shipping import orders_at_amazon

WHOLE = bool(os.environ.get("FBA_FAULTS"))
INVENTORY, SEND, SHIPMENTS = "fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments"
SECRETS = (
    DEFAULT_MERCHANT.client_secret,
    DEFAULT_MERCHANT.refresh_token,
    *("Atza|", "Atzr|", "X-Amz-Signature", "1 Main St", "A Buyer"),
    *(PERSONAL[name] for name in ("ship_to_name", "ship_to_address_1", "ship_to_email", "ship_to_phone")),
)


@cache
def made(dag_id: str) -> Any:
    """The DAG itself, so that what is tried is what runs."""
    from importlib import import_module

    return getattr(import_module(f"dags.{dag_id}"), dag_id)()


class Campaign(Merchant):
    """One store, its DAGs, and a clock of its own: waiting costs nothing and is seen by the warehouse and by Amazon."""

    def __init__(self, url: str, amazon: Any, patch: Any) -> None:
        super().__init__(url, amazon, patch)
        waiting = SimpleNamespace(sleep=self.pause)
        patch.setattr("fba_operators.client.time", waiting)
        patch.setattr("tenacity.nap.time", waiting)
        patch.setattr("fba_operators.client.TIMEOUT", (5, 0.3))
        patch.setattr("fba_operators.triggers.SOONEST", 0.005)
        # What we say must be clean by itself, not because Airflow masks it.
        patch.setattr(SecretsMasker, "add_mask", lambda *_: None)
        self.errors: list[Exception] = []
        self.told = ""

    @contextmanager
    def _connect(self):
        with super()._connect() as db:
            try:
                yield db
                db.commit()
            finally:
                db.rollback()
                db.execute("SELECT pg_advisory_unlock_all()")  # as closing the connection does

    # Time

    def pause(self, seconds: float) -> None:
        """Let some seconds pass for quotas."""
        self.sql(f"UPDATE fba.rate_limit SET refilled_at = refilled_at - make_interval(secs => {seconds + 0.01})")
        self.amazon.world.advance(seconds + 0.01)

    def later(self, minutes: float) -> None:
        """Let minutes pass for everything: what Amazon is still at work on is done by then."""
        self.amazon.settle()
        self.sql(f"UPDATE fba.report SET requested_at = requested_at - make_interval(secs => {minutes * 60})")
        with self.amazon.world.lock:
            for report in self.amazon.world.desk.reports.values():
                report.created -= minutes * 60
        self.pass_time(minutes)

    def until(self, moment: datetime) -> None:
        """Wait as a triggerer does."""
        self.later(max((moment - datetime.now(UTC)).total_seconds(), 0) / 60 + 1)

    # Runs

    def play(self, dag_id: str, **params: Any) -> dict[str, str]:
        """Run a DAG for this store; returns the state of each task."""
        dag = made(dag_id)
        ctx = self.context()
        ctx["params"] = {name: params.get(name, dag.params.get(name)) for name in dag.params}
        ctx["dag_run"].run_after = datetime.now(UTC)
        states: dict[str, str] = {}
        done: dict[str, Any] = {}
        for task in dag.topological_sort():
            before = {states[name] for name in task.upstream_task_ids}
            if task.trigger_rule.value == "all_success" and before - {"success"}:
                states[task.task_id] = "skipped" if before <= {"success", "skipped"} else "upstream_failed"
                continue
            states[task.task_id], done[task.task_id] = self._try(task, ctx, done)
        return states

    def _try(self, task: Any, ctx: Any, done: dict[str, Any]) -> tuple[str, Any]:
        policy = AmazonRetryPolicy()
        for attempt in range(1, task.retries + 2):
            operator = self.ready(task, ctx, done)
            try:
                if hasattr(operator, "resume"):
                    return "success", run(operator, ctx, on_wait=self.until)
                return "success", operator.execute(ctx)
            except AirflowSkipException:
                return "skipped", None
            except Exception as error:
                self.told += "".join(traceback.format_exception(error))
                if task.task_id != "summarise":
                    self.errors.append(error)
                if policy.evaluate(error, attempt, task.retries).action.value == "fail":
                    break
                self.later(1)
        return "failed", None

    @staticmethod
    def ready(task: Any, ctx: Any, done: dict[str, Any]) -> Any:
        """A fresh copy of a task with its arguments filled in."""
        if type(task).__name__ == "MappedOperator":
            return task.unmap({"conn_id": STORE})
        operator = task.prepare_for_execution()
        for name in operator.template_fields:
            value = getattr(operator, name)
            kind = type(value).__name__
            if kind == "MappedArgument":
                value = {"conn_id": STORE, **(done.get("windows") or [{}])[0]}[value._key]
            elif kind == "PlainXComArg":
                value = done.get(value.operator.task_id)
            elif kind == "str":
                value = Environment().from_string(value).render(params=SimpleNamespace(**ctx["params"]))
            setattr(operator, name, value)
        return operator

    # What there is to do

    def prepare(self, dag_id: str, path: str) -> None:
        """Give a DAG something to do."""
        world = self.amazon.world
        if dag_id == INVENTORY:
            self.sql("DELETE FROM fba.global_inventory_pool")
        elif dag_id == SEND:
            self.stock("NOT-AT-AMAZON", 5)
            self.good = [self.add("FR-1"), self.add("FR-2", [(GOOD, 2), (GOOD, 3)])]
            self.bad = [self.add("FR-3", [("NOT-AT-AMAZON", 1)])]
            if path == "cancel":
                self.play(SEND)
                self.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1'")
        else:
            for number in ("FR-1", "FR-2"):
                self.add(number, [("AFN-PLAIN", 3)])
                world.plan_order(SELLER, number, parts=2, never=number == "FR-2", late=False)
            orders_at_amazon(self.amazon, ["FR-1", "FR-2"], "AFN-PLAIN", 3)
            for status in ("sending", "submitted", "accepted"):
                self.sql("UPDATE fba.fulfillment_request SET status = %s", status)
            self.sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
            world.ship_now(SELLER)
            now = datetime.now(UTC)
            world.seed_shipments(SELLER, US, 30, (now - timedelta(days=5)).isoformat(), now.isoformat())
        self.sql("DELETE FROM fba.lwa_token")
        world.clear_calls()

    def params(self, dag_id: str) -> dict[str, Any]:
        """Params of its runs."""
        return {"fetch_missing_inventory": True} if dag_id == INVENTORY else {}

    def decide(self) -> None:
        """A person looks at Amazon for requests that stay unknown, and decides."""
        if all(done for _, done in self.feeds()):
            for number, status in self.statuses().items():
                if status == "unknown":
                    decided = "accepted" if self.made().get(number) else "pending"
                    self.sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = %s", decided, number)
                elif status == "rejected" and number in getattr(self, "good", ()) and not self.made().get(number):
                    self.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = %s", number)

    # What must be true

    def wrong(self, dag_id: str, path: str) -> list[str]:
        """Everything that is not as it must be once the fault is over."""
        found = {INVENTORY: self._wrong_pool, SEND: self._wrong_requests, SHIPMENTS: self._wrong_shipments}[dag_id](
            path
        )
        return [*found, *self._wrong_ledger()]

    def _wrong_pool(self, path: str) -> list[str]:
        truth = self.amazon.world.truth(SELLER, US, fetch_missing_inventory=True)
        pool = dict(self.sql("SELECT sku, quantity FROM fba.global_inventory_pool"))
        return [] if pool == {sku: told["quantity"] for sku, told in truth.items()} else ["the pool is not the truth"]

    def _wrong_requests(self, path: str) -> list[str]:
        statuses, made, orders = self.statuses(), self.made(), self.amazon.world.orders(SELLER)
        wanted = dict.fromkeys(self.good, "accepted") | dict.fromkeys(self.bad, "rejected")
        if path == "cancel":
            wanted["FR-1"] = "cancelled"
        problems = [f"statuses {statuses}"] if statuses != wanted else []
        if {number: made.get(number) for number in self.good} != dict.fromkeys(self.good, 1):
            problems.append(f"orders made {made}")
        if any(made.get(number) for number in self.bad) or orders.keys() != wanted.keys():
            problems.append(f"orders {sorted(orders)}")
        if not all(done for _, done in self.feeds()):
            problems.append(f"feeds {self.feeds()}")
        return problems

    def _wrong_shipments(self, path: str) -> list[str]:
        columns = ("amazon-order-id", "sku", "quantity", "tracking-number")
        truth = sorted(
            tuple(row[name] for name in columns) for row in self.amazon.world.shipment_truth(SELLER, US)["rows"]
        )
        stored = sorted(
            self.sql("SELECT order_id, sku, quantity, coalesce(tracking_number, '') FROM fba.shipment_item")
        )
        problems = [] if truth == stored else [f"{len(stored)} shipment rows stored of {len(truth)}"]
        if ("FR-1", "complete") not in self.sql("SELECT fr_number, status FROM fba.fulfillment_progress"):
            problems.append("FR-1 is not complete")
        return problems

    def _wrong_ledger(self) -> list[str]:
        problems = []
        ledger = dict(self.sql("SELECT report_id, status FROM fba.report"))
        if None in ledger:
            problems.append("a report without an id")
        unknown = {report.report_id for report in self.amazon.world.desk.of_seller(SELLER)} - ledger.keys()
        if unknown:
            problems.append(f"{len(unknown)} reports at Amazon that the ledger does not know")
        applied = self.sql(
            "SELECT document_id, row_count, rejected_row_count FROM fba.report WHERE applied_at IS NOT NULL"
        )
        for document_id, rows, rejected in applied:
            if document_id is None:
                continue
            lines = _lines(self.amazon.world.desk.documents[document_id].content.result())
            if rows + rejected != lines:
                problems.append(f"{lines} lines in, {rows} rows and {rejected} rejected")
        return problems

    def leaked(self, spoken: str) -> list[str]:
        """Secrets and personal texts in what was said."""
        spoken += self.told + str(self.sql("SELECT summary, calls::text FROM fba.run"))
        return [secret for secret in SECRETS if secret in spoken]


def _lines(content: bytes) -> int:
    import gzip

    return gzip.decompress(content).rstrip(b"\r\n").count(b"\n")


__all__ = ["INVENTORY", "SEND", "SHIPMENTS", "WHOLE", "Campaign", "load_stores", "made"]
