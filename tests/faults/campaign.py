"""A store whose DAGs run task by task as in Airflow, with a simulated clock, and the conditions its data must meet."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
from airflow.sdk._shared.secrets_masker import SecretsMasker
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException
from jinja2 import Environment
from psycopg import sql

from fba_operators.operators import AmazonRetryPolicy
from fba_operators.settings.stores_file import load_stores
from fba_operators.warehouse.check import check
from fba_operators.warehouse.database import Warehouse
from sandbox.documents import report_text as documents
from sandbox.world.world import DEFAULT_MERCHANT
from tests import timing
from tests.helpers import build_dag, run
from tests.sending import GOOD, PERSONAL, Merchant
from tests.shipping import orders_at_amazon
from tests.stores import AFN, LISTINGS, SELLER, SHIPMENTS_REPORT, STORE, US

COMPLETE = bool(os.environ.get("FBA_FAULTS"))
INVENTORY, SEND, SHIPMENTS = "fba_get_inventory", "fba_send_fulfillment_requests", "fba_get_shipments"
TRACK = "fba_track_orders"
SECRETS = (
    DEFAULT_MERCHANT.client_secret,
    DEFAULT_MERCHANT.refresh_token,
    *("Atza|", "Atzr|", "X-Amz-Signature", "1 Main St", "A Buyer", "@marketplace."),
    *(PERSONAL[name] for name in ("ship_to_name", "ship_to_address_1", "ship_to_email", "ship_to_phone")),
)
# How the store sends, by the path of the send DAG.
SENDING = {
    "orders": "transport: outbound",
    "quotes": "transport: outbound, quote: true, channels: {neutral: {packaging: unbranded}}",
    "held": "transport: outbound, reserve: true, hold_hours: 4",
}
# One unreadable line for each report.
BROKEN = {
    LISTINGS: {"seller-sku": "BROKEN", "quantity": "many", "fulfillment-channel": "DEFAULT"},
    AFN: {**{"seller-sku": "BROKEN", "Warehouse-Condition-code": "SELLABLE", "Quantity Available": "many"}},
    SHIPMENTS_REPORT: {
        **{"amazon-order-id": "111-1", "sku": "BROKEN", "quantity-shipped": "many", "buyer-email": "x@marketplace.x"}
    },
}


@cache
def shipped_dag(dag_id: str) -> Any:
    """The DAG as shipped, so that the tests run what users run."""
    return build_dag(dag_id)


def reset(url: str, amazon: Any) -> None:
    """Empty a warehouse and an Amazon; creating new ones would take longer than a test."""
    amazon.settle()
    amazon.world.reset()
    with psycopg.connect(url) as db:
        db.execute("SET session_replication_role = replica")  # the triggers that forbid deletion are off
        kept = "'schema_version', 'schema_views', 'stock_history', 'stock_edit'"  # what a migration has written
        tables = f"SELECT tablename FROM pg_tables WHERE schemaname = 'fba' AND tablename NOT IN ({kept})".encode()
        for (table,) in db.execute(tables).fetchall():
            db.execute(sql.SQL("DELETE FROM fba.{}").format(sql.Identifier(table)))


class Campaign(Merchant):
    """One store, its DAGs, and a simulated clock that the warehouse and Amazon follow."""

    def __init__(self, url: str, amazon: Any, patch: Any) -> None:
        super().__init__(url, amazon, patch)
        timing.replace_quota_sleep(patch, self.sleep)
        timing.replace_retry_sleep(patch, self.sleep)
        timing.poll_every(patch, 0.005)
        # Our messages must be free of secrets without Airflow's masking.
        patch.setattr(SecretsMasker, "add_mask", lambda *_: None)
        patch.setenv("FBA_STORES_FILE", str(Path(__file__).with_name("stores.yaml")))
        render = documents.render
        patch.setattr(
            documents,
            "render",
            lambda report_type, rows, *how, **more: render(
                report_type, chain(rows, [BROKEN[report_type]]), *how, **more
            ),
        )
        self.errors: list[Exception] = []
        self.output = ""
        self.patch, self.path = patch, "plain"
        self.folder: tempfile.TemporaryDirectory[str] | None = None

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

    def sleep(self, seconds: float) -> None:
        """Let seconds pass for quotas, instead of sleeping."""
        self.sql(f"UPDATE fba.rate_limit SET refilled_at = refilled_at - make_interval(secs => {seconds + 0.01})")
        self.amazon.world.advance(seconds + 0.01)

    def advance(self, minutes: float) -> None:
        """Let minutes pass everywhere; Amazon finishes what it is processing."""
        self.amazon.settle()
        self.sql(f"UPDATE fba.report SET requested_at = requested_at - make_interval(secs => {minutes * 60})")
        with self.amazon.world.lock:
            for report in self.amazon.world.desk.reports.values():
                report.created -= minutes * 60
        self.pass_time(minutes)

    def wait_until(self, moment: datetime) -> None:
        """Let the time until this moment pass, instead of a triggerer."""
        self.advance(max((moment - datetime.now(UTC)).total_seconds(), 0) / 60 + 1)

    # Runs

    def run_dag(self, dag_id: str, **params: Any) -> dict[str, str]:
        """Run a DAG for this store; returns the state of each task."""
        dag = shipped_dag(dag_id)
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
        self.output += f"{list(done.values())} {ctx['ti'].pushed}"
        return states

    def _try(self, task: Any, ctx: Any, done: dict[str, Any]) -> tuple[str, Any]:
        policy = AmazonRetryPolicy()
        for attempt in range(1, task.retries + 2):
            operator = self.prepared(task, ctx, done)
            try:
                if hasattr(operator, "execute_complete"):
                    return "success", run(operator, ctx, on_wait=self.wait_until)
                return "success", operator.execute(ctx)
            except AirflowSkipException:
                return "skipped", None
            except Exception as error:
                self.output += "".join(traceback.format_exception(error))
                if task.task_id != "summarise":
                    self.errors.append(error)
                decision = policy.evaluate(error, attempt, task.retries)
                if isinstance(error, AirflowFailException) or decision.action.value == "fail":
                    break
                self.advance(1)
        return "failed", None

    @staticmethod
    def job(task: Any, ctx: Any, done: dict[str, Any]) -> dict[str, Any]:
        """What a separate process needs to run a task; see :mod:`tests.faults.isolated`."""
        return {
            "dag_id": task.dag_id,
            "task_id": task.task_id,
            "run_id": ctx["run_id"],
            "run_after": ctx["dag_run"].run_after.isoformat(),
            "params": ctx["params"],
            "done": done,
        }

    @staticmethod
    def prepared(task: Any, ctx: Any, done: dict[str, Any]) -> Any:
        """A copy of a task with its template fields resolved."""
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
            elif kind == "DagParam":
                value = value.resolve(ctx)
            elif kind == "str":
                value = Environment().from_string(value).render(params=SimpleNamespace(**ctx["params"]))
            setattr(operator, name, value)
        return operator

    # Work for the DAGs

    def prepare(self, dag_id: str, path: str) -> None:
        """Create the first work of a DAG.

        :param path: which of its ways is gone
        """
        world, self.path = self.amazon.world, path
        if dag_id == INVENTORY:
            self.sql("DELETE FROM fba.global_inventory_pool")
            if path == "again":
                self.run_dag(INVENTORY, **self.params(INVENTORY))
                self.advance(31)
        elif dag_id == SEND:
            if path in SENDING:
                self._configure(SENDING[path])
            self.stock("NOT-AT-AMAZON", 5)
            wish = {"channel": "neutral"} if path == "quotes" else {}
            self.good = {self.add("FR-1", **wish): 1, self.add("FR-2", [(GOOD, 2), (GOOD, 3)]): 5}
            self.bad = [self.add("FR-3", [("NOT-AT-AMAZON", 1)])]
            if path in ("cancel", "held"):
                self.run_dag(SEND)
            if path == "cancel":
                self.sql("UPDATE fba.fulfillment_request SET cancel_requested_at = now() WHERE fr_number = 'FR-1'")
        else:
            for number in ("FR-1", "FR-2"):
                self.add(number, [("AFN-PLAIN", 3)])
                world.plan_order(SELLER, number, parts=2, packages=1, never=number == "FR-2", late=False)
            orders_at_amazon(self.amazon, ["FR-1", "FR-2"], "AFN-PLAIN", 3)
            self.sql("SET fba.writer = 'product'")
            for status in ("sending", "submitted", "accepted"):
                self.sql("UPDATE fba.fulfillment_request SET status = %s", status)
            self.sql("RESET fba.writer")
            self.sql("UPDATE fba.fulfillment_request SET sent_at = now() - interval '2 days'")
            world.ship_now(SELLER)
            if dag_id == TRACK:
                for parcel, status in ((1, "OUT_FOR_DELIVERY"), (2, "DELAYED")):
                    world.set_parcel(SELLER, "FR-1", parcel, status=status)
                world.set_outbound_2026(SELLER, path != "old")
                world.set_order_listing(lost=["FR-1", "FR-2"] if path == "lost" else [])
            now = datetime.now(UTC)
            since, until = now - timedelta(days=5), now - timedelta(hours=2)
            world.seed_shipments(SELLER, US, 30, since.isoformat(), until.isoformat())
        self.sql("DELETE FROM fba.lwa_token")
        world.clear_calls()

    def _configure(self, fulfillment: str) -> None:
        """Write a stores.yaml for this campaign."""
        self.folder = tempfile.TemporaryDirectory(prefix="fba-campaign-")
        file = Path(self.folder.name) / "stores.yaml"
        file.write_text(f"stores: {{{STORE}: {{fulfillment: {{{fulfillment}}}}}}}")
        self.patch.setenv("FBA_STORES_FILE", str(file))

    def __exit__(self, *error: object) -> None:
        if self.folder:
            self.folder.cleanup()
        super().__exit__(*error)

    def params(self, dag_id: str) -> dict[str, Any]:
        """The params of a DAG's runs."""
        if dag_id == SEND and self.path == "held":
            return {"ignore_hold": True}
        return {"fetch_missing_inventory": True} if dag_id == INVENTORY else {}

    def add_new_work(self, dag_id: str) -> None:
        """Create more work, so that a result that is right by accident does not stay right."""
        world, now = self.amazon.world, datetime.now(UTC)
        if dag_id == INVENTORY:
            world.set_stock(SELLER, US, "AFN-PLAIN", fba=23)
        elif dag_id == SEND:
            self.good[self.add("FR-4", [(GOOD, 4)])] = 4
        elif dag_id == TRACK:
            world.set_parcel(SELLER, "FR-1", 2, status="DELIVERED")
            self.sql("UPDATE fba.tracked_order SET read_at = read_at - interval '25 hours'")  # what no page names
        else:
            since, until = now - timedelta(hours=2), now - timedelta(hours=1)
            world.seed_shipments(SELLER, US, 5, since.isoformat(), until.isoformat(), 4)

    def resend_rejected(self) -> None:
        """Send again, as a person would, good requests that Amazon rejected or would not quote."""
        for number, status in self.statuses().items():
            if status in ("rejected", "invalid") and number in self.good and not self.orders_made().get(number):
                self.sql("UPDATE fba.fulfillment_request SET status = 'pending' WHERE fr_number = %s", number)

    # Conditions

    def wrong_during_fault(self, dag_id: str, states: dict[str, str], *, nothing: bool = False) -> list[str]:
        """What must not happen even while a fault lasts: a wrong quantity, or a successful run that did not do its work.

        :param nothing: Amazon keeps reporting that there is no data, so a run without data may succeed
        """
        green = not nothing and set(states.values()) == {"success"}
        if dag_id == INVENTORY:
            pool, truth = self._pool(), self._true_pool()
            wrong = [f"{sku} has {n}, not {truth.get(sku)}" for sku, n in pool.items() if n != truth.get(sku)]
            return wrong + (["green, but SKUs are missing"] if green and pool.keys() != truth.keys() else [])
        if dag_id == SHIPMENTS:
            truth, stored = Counter(self._true_shipments()), Counter(self._shipments())
            wrong = [f"shipped {row}" for row in stored - truth]
            return wrong + (["green, but shipments are missing"] if green and stored != truth else [])
        if dag_id == TRACK:
            histories = {
                each["tracking_number"]: {None, *(status for status, _ in each["history"])}
                for each in self.amazon.world.parcels(SELLER)
            }
            return [f"parcel {key} is {status}" for key, status in self._parcels() if status not in histories[key]]
        statuses, orders = self.statuses(), self.amazon.world.orders(SELLER)
        without_order = ("pending", "invalid", "rejected")
        return [
            f"{number} is {status}, made {made} times"
            for number, status in statuses.items()
            for made in [orders.get(number, {}).get("times_created", 0)]
            if made > 1 or (status == "accepted" and not made) or (status in without_order and made)
        ]

    def wrong_after_fault(self, dag_id: str, path: str) -> list[str]:
        """What is wrong after the fault has ended."""
        checks = {SEND: self._wrong_requests, SHIPMENTS: self._wrong_shipments, TRACK: self._wrong_parcels}
        found = checks.get(dag_id, self._wrong_pool)(path)
        return [*found, *self._wrong_ledger(), *check(Warehouse())]

    def _pool(self) -> dict[str, int]:
        return dict(self.sql("SELECT sku, quantity FROM fba.global_inventory_pool"))

    def _true_pool(self) -> dict[str, int]:
        truth = self.amazon.world.truth(SELLER, US, fetch_missing_inventory=True)
        return {sku: stock["quantity"] for sku, stock in truth.items()}

    def _wrong_pool(self, path: str) -> list[str]:
        return [] if self._pool() == self._true_pool() else ["the pool differs from Amazon's stock"]

    def _wrong_requests(self, path: str) -> list[str]:
        statuses, made, orders = self.statuses(), self.orders_made(), self.amazon.world.orders(SELLER)
        wanted = dict.fromkeys(self.good, "accepted") | dict.fromkeys(
            self.bad, "invalid" if path == "quotes" else "rejected"
        )
        if path == "cancel":  # after half an hour Amazon would not cancel it any more
            wanted["FR-1"] = "cancelled" if orders["FR-1"]["status"] == "Cancelled" else "accepted"
        problems = [f"statuses {statuses}"] if statuses != wanted else []
        if {number: made.get(number) for number in self.good} != dict.fromkeys(self.good, 1):
            problems.append(f"orders made {made}")
        if any(made.get(number) for number in self.bad) or orders.keys() - wanted.keys():
            problems.append(f"orders {sorted(orders)}")
        elif any(orders[number]["items"] != {GOOD: units} for number, units in self.good.items() if number in orders):
            problems.append(f"units {orders}")
        if not all(done for _, done in self.feeds()):
            problems.append(f"feeds {self.feeds()}")
        if open_orders := self.sql("SELECT fr_number FROM fba.outbound_order WHERE settled_at IS NULL"):
            problems.append(f"open orders {open_orders}")
        return problems

    def _shipments(self) -> list[tuple[str, ...]]:
        columns = "order_id, sku, quantity::text, coalesce(tracking_number, '')"
        return sorted(self.sql(f"SELECT {columns} FROM fba.shipment_item"))

    def _true_shipments(self) -> list[tuple[str, ...]]:
        columns = ("amazon-order-id", "sku", "quantity", "tracking-number")
        rows = self.amazon.world.shipment_truth(SELLER, US)["rows"]
        return sorted(tuple(str(row[name]) for name in columns) for row in rows)

    def _wrong_shipments(self, path: str) -> list[str]:
        truth, stored = self._true_shipments(), self._shipments()
        problems = [] if truth == stored else [f"{len(stored)} shipment rows stored of {len(truth)}"]
        if ("FR-1", "complete") not in self.sql("SELECT fr_number, status FROM fba.fulfillment_progress"):
            problems.append("FR-1 is not complete")
        return problems

    def _parcels(self) -> list[tuple[str, str]]:
        return sorted(self.sql("SELECT tracking_number, status FROM fba.package"))

    def _wrong_parcels(self, path: str) -> list[str]:
        told = self.amazon.world.parcels(SELLER)
        truth = sorted((each["tracking_number"], each["status"]) for each in told)
        problems = [] if truth == self._parcels() else [f"parcels {self._parcels()}, not {truth}"]
        if ("FR-1", 3) not in self.sql("SELECT fr_number, shipped FROM fba.fulfillment_progress"):
            problems.append("FR-1 is not shipped")
        events = Counter(self.sql("SELECT package_key, what FROM fba.request_event WHERE package_key IS NOT NULL"))
        if events.total() != len(events) or sum(what == "shipped" for _, what in events) != len(truth):
            problems.append(f"events {events}")
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
            "SELECT document_id, row_count, rejected_row_count, (SELECT count(*) FROM fba.rejected_row AS line"
            " WHERE line.store = r.store AND line.report_id = r.report_id) FROM fba.report AS r"
            " WHERE applied_at IS NOT NULL AND document_id IS NOT NULL"
        )
        if ledger and not applied:
            problems.append("no report was ever applied")
        for document_id, rows, rejected, kept in applied:
            lines = _lines(self.amazon.world.desk.documents[document_id].content.result())
            if rows + rejected != lines or not rejected == kept == 1:
                problems.append(f"{lines} lines in, {rows} rows and {rejected} rejected, of which {kept} are kept")
        return problems

    def leaks(self, output: str) -> list[str]:
        """Secrets and personal data in the output, in XComs, and in every table but that of the requests."""
        tables = "SELECT tablename FROM pg_tables WHERE schemaname = 'fba' AND tablename <> 'fulfillment_request'"
        for (table,) in self.sql(tables):
            query = sql.SQL("SELECT t::text FROM fba.{} AS t").format(sql.Identifier(table))
            output += "".join(row for (row,) in self.db.execute(query))
        return [secret for secret in SECRETS if secret in output + self.output]


def _lines(content: bytes) -> int:
    import gzip

    return gzip.decompress(content).rstrip(b"\r\n").count(b"\n")


__all__ = ["COMPLETE", "INVENTORY", "SEND", "SHIPMENTS", "TRACK", "Campaign", "load_stores", "reset", "shipped_dag"]
