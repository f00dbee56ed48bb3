"""What tests of sending share: a merchant with requests, and a run of the send DAG's tasks for one store."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import count
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from airflow.sdk.exceptions import AirflowSkipException

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.fulfillment.feed_xml import CONTENT_TYPE, FEED_TYPE
from fba_operators.operators import (
    AmazonRetryPolicy,
    ClaimRequestsOperator,
    RecordFeedOperator,
    SendOrdersOperator,
    SettleFeedsOperator,
    SubmitFeedOperator,
    UploadFeedOperator,
    WaitForFeedOperator,
)
from fba_operators.warehouse.database import Warehouse, begin
from tests.helpers import calls_of, context, run
from tests.stores import OTHER_SELLER, SELLER, STORE, US

PERSONAL = {
    "ship_to_name": "Wilhelmina Secret",
    "ship_to_address_1": "77 Hidden Lane",
    "ship_to_address_3": "Third gate on the left",
    "ship_to_city": "Concealville",
    "ship_to_state": "WA",
    "ship_to_postal_code": "98777-0142",  # five digits alone are found in timestamps
    "ship_to_country": "US",
    "ship_to_email": "wilhelmina@secret.example",
    "ship_to_phone": "+1 206 555 0177",
    "order_comment": "Leave it with Grandma",
}
GOOD = "GOOD-SKU"
SKIPPED = object()


class Merchant:
    """One store: its requests, its runs, and the time that passes for it."""

    def __init__(self, url: str, amazon: Any, patch: pytest.MonkeyPatch) -> None:
        self.url = url
        self.idle: list[psycopg.Connection[Any]] = []
        patch.setattr(Warehouse, "connect", lambda warehouse: self._connect())
        self.db = psycopg.connect(url, autocommit=True)
        self.amazon = amazon
        self.runs = count(1)
        self.passed = 0.0  # simulated seconds
        self.patience: timedelta | None = None  # with a feed; None: the operator's own
        # Whether Amazon refuses an order id that it knows is not known, so it must not matter.
        amazon.world.set_order_answers(repeated_id="second_order")
        amazon.world.put_item(SELLER, US, GOOD, offers=[("AMAZON_NA", None)], afn=[("SELLABLE", 1_000_000)])
        self.stock(GOOD, 1_000_000)

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection[Any]]:
        """Connect as the warehouse does, but reuse connections: these tests would open ten thousand."""
        try:
            db = self.idle.pop()
        except IndexError:  # not checked before: another thread may take the last one in between
            db = psycopg.connect(self.url)
        try:
            begin(db)
            yield db
            db.commit()
        finally:
            if not db.closed and not db.broken:
                db.rollback()
                self.idle.append(db)

    def __enter__(self) -> Merchant:
        return self

    def __exit__(self, *_: object) -> None:
        for db in (self.db, *self.idle):
            db.close()

    def sql(self, query: str, *values: Any) -> Any:
        """Run a statement; rows where there are any."""
        cursor = self.db.execute(query, values or None)
        return cursor.fetchall() if cursor.description else None

    def stock(self, sku: str, quantity: int) -> None:
        """Put a SKU into the pool."""
        self.sql(
            "INSERT INTO fba.global_inventory_pool"
            " (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source) VALUES (%s, %s, %s, 0, %s, 'afn_report')",
            STORE,
            sku,
            quantity,
            quantity,
        )

    def add(self, number: str, items: Any = ((GOOD, 1),), *, store: str = STORE, **fields: Any) -> str:
        """Insert a request as another system would, in one transaction."""
        row = {"store": store, "fr_number": number, "shipping_method": "Standard", **PERSONAL, **fields}
        with self.db.transaction():
            names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
            self.sql(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})", *row.values())
            for line, (sku, quantity) in enumerate(items, start=1):
                self.sql(
                    "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity)"
                    " VALUES (%s, %s, %s, %s, %s)",
                    *(store, number, line, sku, quantity),
                )
        return number

    def get(self, number: str) -> SimpleNamespace:
        """Return a request's row."""
        cursor = self.db.execute("SELECT * FROM fba.fulfillment_request WHERE fr_number = %s", (number,))
        return SimpleNamespace(**dict(zip([c.name for c in cursor.description], cursor.fetchone(), strict=True)))

    def statuses(self) -> dict[str, str]:
        """Return the status of every request."""
        return dict(self.sql("SELECT fr_number, status FROM fba.fulfillment_request ORDER BY fr_number"))

    def feeds(self) -> list[tuple[str, bool]]:
        """Return status and whether it is settled of every feed, oldest first."""
        return self.sql("SELECT status, settled_at IS NOT NULL FROM fba.feed ORDER BY claimed_at")

    def orders_made(self) -> dict[str, int]:
        """How often Amazon created an order of each number."""
        return {number: order["times_created"] for number, order in self.amazon.world.orders(SELLER).items()}

    def calls_of(self, operation: str) -> int:
        """How often Amazon was called."""
        return calls_of(self.amazon, operation)

    def fill_quotas(self) -> None:
        """Fill the bucket of every quota, here and at Amazon."""
        self.sql("DELETE FROM fba.rate_limit")
        self.amazon.world.advance(600)

    def pass_time(self, minutes: float) -> None:
        """Let time pass: every timestamp, here and at Amazon, becomes older."""
        seconds = minutes * 60
        self.make_rows_older(seconds)
        self.passed += seconds
        self.fill_quotas()
        world = self.amazon.world
        world.advance(seconds)
        with world.lock:
            world.settle()
            for feed in world.feed_desk.feeds.values():
                feed.created -= seconds
                feed.started = feed.started and feed.started - seconds
                feed.ended = feed.ended and feed.ended - seconds
            for order in (*world.order_desk.orders.values(), *world.order_desk.superseded):
                order.received -= seconds
                order.updated -= seconds

    def make_rows_older(self, seconds: float) -> None:
        """Move every time in the tables of sending into the past."""
        self.sql("SET fba.writer = 'product'")  # nobody else writes some of these columns
        for table, columns in {
            "fba.feed": "claimed_at uploaded_at submit_started_at submitted_at finished_at judged_at settled_at set_aside_at",
            "fba.fulfillment_request": "absent_since sent_at resolved_at cancel_requested_at unknown_since stuck_since"
            " waiting_since looked_up_at inserted_at approved_at approval_asked_at",
            "fba.foreign_feed": "created_at seen_at ended_at cleared_at",
            "fba.feed_check": "checked_until orders_until",
            "fba.outbound_order": "quoted_at claimed_at intent_at answered_at settled_at lapsed_at",
            "fba.fulfillment_quote": "quoted_at",
            "fba.feature": "asked_at",
            "fba.order_at_amazon": "seen_at told_at cleared_at",
            "fba.unanswered_number": "asked_at",
            "fba.order_cursor": "read_until read_at",
            "fba.tracked_order": "read_at changed_at",
        }.items():
            older = ", ".join(f"{name} = {name} - make_interval(secs => {seconds})" for name in columns.split())
            self.sql(f"UPDATE {table} SET {older}")
        self.sql("RESET fba.writer")

    # Runs

    def context(self, run_type: str = "manual") -> Any:
        """What the tasks of a new run get from Airflow."""
        ctx = context(f"run-{next(self.runs)}")
        ctx["dag_run"] = SimpleNamespace(run_type=run_type, run_id=ctx["run_id"], conf=None)
        return ctx

    def task(self, operator: Any, ctx: Any, *, attempts: int = 1, on_wait: Any = None) -> Any:
        """Run a task as Airflow does, with retries after a fault or a kill; returns SKIPPED if it is skipped."""
        policy = AmazonRetryPolicy()
        for attempt in range(1, attempts + 1):
            try:
                return run(operator(), ctx, on_wait=on_wait or (lambda moment: self.fill_quotas()))
            except AirflowSkipException:
                return SKIPPED
            except SystemExit:
                if attempt == attempts:
                    raise
            except Exception as error:
                if attempt == attempts or policy.evaluate(error, attempt, attempts).action.value == "fail":
                    raise
        raise AssertionError

    def send(
        self, run_type: str = "manual", *, attempts: int = 1, until: str = "record", store: str = STORE, **claim: Any
    ) -> Any:
        """Run the tasks of one run, one after another; returns what the last one returned."""
        ctx = self.context(run_type)
        result = claimed = None
        for name, operator in {
            "settle": SettleFeedsOperator,
            "claim": ClaimRequestsOperator,
            "send": SendOrdersOperator,
            "upload": UploadFeedOperator,
            "submit": SubmitFeedOperator,
            "wait": WaitForFeedOperator,
            "record": RecordFeedOperator,
        }.items():
            how = {"settle": {}, "claim": claim, "send": {"claim_id": claimed}, "upload": {"claim_id": claimed}}.get(
                name, {"claim_id": result}
            )
            if name == "wait":
                how["patience"] = self.patience
            result = self.task(
                lambda operator=operator, name=name, how=how: operator(task_id=name, conn_id=store, **how),
                ctx,
                attempts=attempts,
            )
            if name == "claim":
                claimed = result
            if name == "send":
                if result is SKIPPED:
                    continue  # a feed carries the claim
                break
            if result is SKIPPED or name == until:
                break
        return result

    def summary(self) -> str:
        """The summary of the newest run."""
        return self.sql("SELECT summary FROM fba.run ORDER BY started_at DESC LIMIT 1")[0][0]


# First steps of the tests of feeds


def claimed(shop, *numbers):
    for number in numbers or ("FR-1",):
        shop.add(number)
    return shop.send(until="claim")


def uploaded(shop, *numbers):
    claim_id = claimed(shop, *numbers)
    return shop.task(lambda: UploadFeedOperator(task_id="upload", claim_id=claim_id), shop.context())


def submit(shop, claim_id):
    return shop.task(lambda: SubmitFeedOperator(task_id="submit", claim_id=claim_id), shop.context())


def look_up_unknown(shop, times=2):
    """Let the runs of the next hour look up unknown requests at Amazon."""
    shop.pass_time(31)
    for _ in range(times):
        shop.send(until="settle")
        shop.pass_time(11)


def foreign_feed(content=b"<x/>"):
    """Another program of the same seller submits a feed of the same type; returns its id."""
    hook = SellingPartnerHook()
    document_id, url = hook.create_feed_document(CONTENT_TYPE)
    hook.upload_feed_document(url, content, CONTENT_TYPE)
    return hook.create_feed(FEED_TYPE, document_id)


@contextmanager
def other_seller(shop):
    """Let the connection have another seller's credentials meanwhile."""
    added = shop.amazon.world.add_merchant(OTHER_SELLER, [US], listings=5)
    secrets = {"refresh_token": added["refresh_token"], "seller_id": OTHER_SELLER}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(shop.amazon.url, **secrets))
        yield
