"""Every change reaches every destination at least once and in order, and a dead one holds up nothing else."""

from __future__ import annotations

import csv
import importlib
import io
import json
import re
import time
from importlib import import_module

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from devstack.airflow import PROJECT
from fba_operators.errors import ConfigurationError, UnavailableError
from fba_operators.operators import (
    DeliverStockOperator,
    PrepareRunOperator,
    RecordAvailableOperator,
    SummariseRunOperator,
)
from fba_operators.publishing import changes as changes_module
from fba_operators.publishing import destinations
from fba_operators.publishing.batch import signature
from tests.helpers import context, register
from tests.publishing.receiver import SECRET, Receiver
from tests.stores import STORE


@pytest.fixture
def receiver(monkeypatch):
    made = Receiver()
    connection = {"conn_type": "http", "host": made.url, "password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_STOCK", json.dumps(connection))
    yield made
    made.close()


class Stock:
    """A pool, and runs of the tasks of publishing."""

    def __init__(self, sql, stores_file, folder):
        self.sql, self.stores_file, self.folder = sql, stores_file, folder
        self.runs = 0
        self.stores(webhook=True)

    def stores(self, *, webhook=False, file=False, more=""):
        """Write stores.yaml with these destinations."""
        each = ["{name: shop, webhook: shop_stock}"] * webhook + [
            f"{{name: lake, file: 'file://{self.folder}'}}"
        ] * file
        self.stores_file(f"stores: {{{STORE}: , other: }}\npublish: [{', '.join(each)}{more}]")

    def set(self, store=STORE, **units):
        for sku, quantity in units.items():
            self.sql(
                "INSERT INTO fba.global_inventory_pool (store, sku, fba_quantity, fbm_quantity, quantity, quantity_source)"
                " VALUES (%s, %s, %s, 0, %s, 'afn_report') ON CONFLICT (store, sku) DO UPDATE SET quantity = excluded.quantity,"
                " fba_quantity = excluded.fba_quantity",
                *(store, sku, quantity, quantity),
            )

    def record(self, **arguments):
        return RecordAvailableOperator(task_id="record", stores=[STORE], **arguments).execute(context())

    def deliver(self, destination="shop", stores=(STORE,), ctx=None):
        operator = DeliverStockOperator(task_id="deliver", destination=destination, stores=list(stores))
        return operator.execute(ctx or context())

    def publish(self, **units):
        self.set(**units)
        self.record()
        return self.deliver()[STORE]

    def delivered(self, destination="shop"):
        rows = self.sql(
            "SELECT delivered FROM fba.publication WHERE destination = %s AND store = %s", destination, STORE
        )
        return rows.fetchone()[0]

    def newest(self):
        return self.sql("SELECT max(n) FROM fba.available_change").fetchone()[0]


@pytest.fixture
def stock(sql, stores_file, tmp_path, receiver):
    return Stock(sql, stores_file, tmp_path / "lake")


# What is delivered


def test_only_what_changed_is_delivered(stock, receiver):
    assert stock.publish(A=5, B=3) == 2
    assert stock.publish() == 0
    assert stock.publish(A=4, B=3) == 1
    assert receiver.changes == {"A": [5, 4], "B": [3]}
    assert len(receiver.calls) == 2, "no call where there is nothing to say"


def test_what_is_promised_or_held_back_changes_it_too(stock, receiver):
    stock.publish(A=5)
    stock.sql("INSERT INTO fba.fulfillment_request (store, fr_number) VALUES (%s, 'FR-1')", STORE)
    stock.sql("INSERT INTO fba.fulfillment_request_item VALUES (%s, 'FR-1', 1, 'A', 2)", STORE)
    stock.publish()
    stock.sql("INSERT INTO fba.store (store, max_stock_age_hours, buffer_units) VALUES (%s, 6, 1)", STORE)
    stock.publish()
    assert receiver.changes == {"A": [5, 3, 2]}
    change = receiver.calls[-1][2]["changes"][0]
    assert (change["quantity"], change["promised"], change["buffer"]) == (5, 2, 1)


def test_a_sku_that_leaves_the_pool_has_nothing_to_sell(stock, receiver):
    stock.publish(A=5, B=1)
    stock.sql("DELETE FROM fba.global_inventory_pool WHERE sku = 'A'")
    assert stock.publish() == 1
    assert stock.publish() == 0
    assert receiver.available == {"A": 0, "B": 1}
    assert receiver.calls[-1][2]["changes"][0]["quantity"] is None
    stock.publish(A=2)
    assert receiver.available == {"A": 2, "B": 1}


def test_each_change_in_order_also_of_a_receiver_that_was_away(stock, receiver):
    for units in (5, 4, 3):
        stock.set(A=units)
        stock.record()
    assert stock.deliver() == {STORE: 3}
    assert receiver.changes == {"A": [5, 4, 3]}
    numbers = [change["n"] for _, _, body in receiver.calls for change in body["changes"]]
    assert numbers == sorted(set(numbers))


def test_a_large_change_goes_in_batches(stock, receiver, monkeypatch):
    monkeypatch.setattr(destinations, "CHANGES_IN_A_CALL", 10)
    assert stock.publish(**{f"S{n}": n for n in range(25)}) == 25
    assert [len(body["changes"]) for _, _, body in receiver.calls] == [10, 10, 5]
    assert receiver.available == {f"S{n}": n for n in range(25)}


def test_everything_is_delivered_again_with_higher_numbers(stock, receiver):
    """After a receiver has lost its data; and one that has not must not take it for old news."""
    stock.publish(A=5, B=3)
    before = stock.newest()
    assert stock.record(everything=True) == {STORE: 2}
    assert stock.deliver() == {STORE: 2}
    assert min(change["n"] for change in receiver.calls[-1][2]["changes"]) > before
    assert stock.record() == {STORE: 0}


def test_numbers_grow_over_a_restored_backup(stock, receiver):
    stock.publish(A=5)
    highest = stock.newest()
    stock.sql("TRUNCATE fba.available_change, fba.publication")
    stock.publish(A=4)
    assert stock.newest() > highest
    assert receiver.available == {"A": 4}


# A receiver that fails


@pytest.mark.parametrize("answer", [500, 503, 429, 404, 302, "cut", "late"])
def test_what_was_not_taken_is_delivered_again(stock, receiver, answer, monkeypatch):
    monkeypatch.setattr(destinations, "TIMEOUT", (1.0, 0.3))
    stock.publish(A=5)
    taken = stock.delivered()
    receiver.answers = [answer]
    with pytest.raises(
        UnavailableError, match=r"publish: shop \(connection shop_stock\): amazon_us: the receiver"
    ) as raised:
        stock.publish(A=4)
    assert receiver.url not in str(raised.value)
    assert stock.delivered() == taken
    assert stock.publish(A=3) == 2
    assert receiver.changes == {"A": [5, 4, 3]}
    assert stock.delivered() == stock.newest()


def test_a_receiver_that_took_it_and_did_not_say_so_gets_the_same_again(stock, receiver):
    receiver.answers = ["taken, but no answer"]
    with pytest.raises(UnavailableError):
        stock.publish(A=5)
    assert stock.publish() == 1
    (_, first, _), (_, second, _) = receiver.calls
    assert first["X-FBA-Delivery"] == second["X-FBA-Delivery"]
    assert receiver.changes == {"A": [5, 5]}
    assert receiver.available == {"A": 5}


@pytest.mark.parametrize("where", ["before the call", "after the call", "after the cursor"])
def test_a_task_killed_between_its_effects_loses_nothing(stock, receiver, monkeypatch, where):
    monkeypatch.setattr(destinations, "CHANGES_IN_A_CALL", 2)
    stock.set(A=1, B=2, C=3)
    stock.record()
    real_call, real_execute = destinations.call_webhook, changes_module.execute

    def call(destination, batch):
        if where == "before the call":
            raise SystemExit
        real_call(destination, batch)
        if where == "after the call":
            raise SystemExit

    def execute(db, name, /, **values):
        done = real_execute(db, name, **values)
        if name == "publishing.record_delivered" and where == "after the cursor":
            db.commit()
            raise SystemExit
        return done

    with monkeypatch.context() as killed:
        killed.setattr(destinations, "call_webhook", call)
        killed.setattr(changes_module, "execute", execute)
        with pytest.raises(SystemExit):
            stock.deliver()
    stock.deliver()
    assert receiver.available == {"A": 1, "B": 2, "C": 3}
    twice = {"A": [1, 1], "B": [2, 2], "C": [3]}
    once = {sku: units[:1] for sku, units in twice.items()}
    assert receiver.changes == (twice if where == "after the call" else once)


def test_a_drip_of_bytes_does_not_hold_the_task(stock, receiver, monkeypatch):
    import socket
    import threading

    monkeypatch.setattr(destinations, "CALL_SECONDS", 1.0)
    server = socket.create_server(("127.0.0.1", 0))

    def drip():
        connection, _ = server.accept()
        with connection:
            for byte in b"HTTP/1.1 200 OK and a reason that never ends" * 9:
                time.sleep(0.2)
                try:
                    connection.send(bytes([byte]))
                except OSError:
                    return

    threading.Thread(target=drip, daemon=True).start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_STOCK", json.dumps({"conn_type": "http", "host": url, "password": SECRET}))
    began = time.monotonic()
    with server, pytest.raises(UnavailableError, match="gave no answer"):
        stock.publish(A=5)
    assert time.monotonic() - began < 4


def test_a_slow_receiver_leaves_the_rest_to_the_next_run_and_says_so(stock, receiver, monkeypatch):
    from datetime import timedelta

    from fba_operators.operators import publishing as operators

    monkeypatch.setattr(destinations, "CHANGES_IN_A_CALL", 1)
    monkeypatch.setattr(operators, "PATIENCE", timedelta(0))
    stock.set(A=1, B=2)
    stock.record()
    assert stock.deliver() == {STORE: 0}
    summary, attention = stock.sql("SELECT summary, attention FROM fba.run").fetchone()
    assert attention == {"undelivered_changes": 2}
    assert "2 are left to the next run" in summary


# Files


def lines(stock):
    files = sorted(stock.folder.iterdir())
    return [row for file in files for row in csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline=""))]


def test_a_folder_gets_a_file_for_each_delivery(stock):
    stock.stores(file=True)
    odd = 'a "quoted", ,sku\u00fc'
    stock.set(**{"A": 5, odd: 7})
    stock.record()
    assert stock.deliver("lake") == {STORE: 2}
    stock.set(A=4)
    stock.record()
    assert stock.deliver("lake") == {STORE: 1}
    assert stock.deliver("lake") == {STORE: 0}
    assert [(row["sku"], row["available"], row["store"]) for row in lines(stock)] == [
        ("A", "5", STORE),
        (odd, "7", STORE),
        ("A", "4", STORE),
    ]
    names = [file.name for file in stock.folder.iterdir()]
    assert len(names) == 2
    assert all(name.startswith(f"{STORE}.") and name.endswith(".csv") for name in names)


def test_an_object_store_is_written_by_its_address(stock):
    import fsspec

    stock.stores_file(f"stores: {{{STORE}: }}\npublish: [{{name: memory, file: 'memory://lake/stock'}}]")
    stock.set(A=5)
    stock.record()
    assert stock.deliver("memory") == {STORE: 1}
    memory = fsspec.filesystem("memory")
    (file,) = memory.find("/lake/stock") or memory.find("lake/stock")
    assert b",A,5,5,0,0,," in memory.cat(file)


def test_a_folder_that_cannot_be_written_is_named_without_its_address(stock, tmp_path):
    (tmp_path / "lake").write_text("a file where the folder should be")
    stock.stores(file=True)
    stock.set(A=5)
    stock.record()
    with pytest.raises(UnavailableError, match="publish: lake: amazon_us: the file could not be written") as raised:
        stock.deliver("lake")
    assert str(tmp_path) not in str(raised.value)
    assert stock.delivered("lake") == 0


# Several destinations and stores


def test_each_destination_goes_on_from_where_it_is(stock, receiver):
    stock.stores(webhook=True, file=True)
    stock.set(A=5)
    stock.record()
    stock.deliver("lake")
    receiver.answers = [500]
    with pytest.raises(UnavailableError):
        stock.deliver("shop")
    stock.set(A=4)
    stock.record()
    assert stock.deliver("lake") == {STORE: 1}
    assert stock.deliver("shop") == {STORE: 2}
    assert receiver.changes == {"A": [5, 4]}


def test_a_destination_of_some_stores_gets_no_other(stock, receiver):
    stock.stores_file(
        f"stores: {{{STORE}: , other: }}\npublish: [{{name: shop, webhook: shop_stock, stores: [other]}}]"
    )
    stock.set(A=5)
    stock.set("other", B=6)
    RecordAvailableOperator(task_id="record").execute(context())
    assert stock.deliver(stores=[STORE, "other"]) == {"other": 1}
    assert receiver.available == {"B": 6}


def test_a_destination_that_is_gone_from_the_file_begins_anew_when_it_comes_back(stock, receiver):
    stock.publish(A=5)
    stock.stores(file=True)
    stock.record()
    stock.stores(webhook=True)
    assert stock.publish() == 1
    assert receiver.changes == {"A": [5, 5]}


def test_the_row_of_a_run_says_which_destination_failed(stock, receiver, monkeypatch):
    """Also when another one succeeds after it, and it is taken back when the retry succeeds."""
    stock.stores(webhook=True, file=True)
    stock.set(A=5)
    ctx = context("one")
    PrepareRunOperator(task_id="prepare", stores=[STORE]).execute(ctx)
    RecordAvailableOperator(task_id="record", stores=[STORE]).execute(ctx)
    receiver.answers = [500]
    with pytest.raises(UnavailableError):
        stock.deliver("shop", ctx=ctx)
    stock.deliver("lake", ctx=ctx)
    outcome, failure = stock.sql("SELECT outcome, failure FROM fba.run").fetchone()
    assert outcome == "failed"
    assert failure.startswith("deliver to shop: publish: shop (connection shop_stock)")
    stock.deliver("shop", ctx=ctx)
    assert SummariseRunOperator(task_id="summarise", stores=[STORE]).execute(ctx) == {STORE: "success"}
    summary = stock.sql("SELECT summary FROM fba.run").fetchone()[0]
    assert summary.splitlines() == [
        "1 change delivered to shop.",
        "1 change delivered to lake.",
        "What can be sold changed for 1 SKU.",
    ]


# Mistakes


def test_without_a_destination_the_task_is_skipped(stock):
    stock.stores()
    stock.set(A=5)
    with pytest.raises(AirflowSkipException, match="publish"):
        stock.record()
    assert stock.newest() is None


@pytest.mark.parametrize(
    ("connection", "says"),
    [
        (None, "Airflow has no connection shop_stock"),
        ({"host": "https://shop.example/stock"}, "has no password"),
        ({"host": "", "password": "x"}, "is no URL"),
        ({"host": "ftp://shop.example", "password": "x"}, "is no URL"),
    ],
)
def test_a_connection_that_cannot_be_used_is_explained(stock, monkeypatch, connection, says):
    stock.set(A=5)
    stock.record()
    monkeypatch.delenv("AIRFLOW_CONN_SHOP_STOCK")
    if connection:
        monkeypatch.setenv("AIRFLOW_CONN_SHOP_STOCK", json.dumps({"conn_type": "http", **connection}))
    with pytest.raises(ConfigurationError, match=says):
        stock.deliver()


def test_a_hostname_alone_is_called_by_https(stock, monkeypatch):
    sent = {}

    def post(session, url, **arguments):
        sent.update(url=url, **arguments)
        raise destinations.requests.ConnectionError

    monkeypatch.setattr(destinations.requests.Session, "post", post)
    connection = {"conn_type": "http", "host": "shop.example", "port": 8443, "password": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_SHOP_STOCK", json.dumps(connection))
    with pytest.raises(UnavailableError):
        stock.publish(A=5)
    assert sent["url"] == "https://shop.example:8443"
    assert sent["allow_redirects"] is False


def test_the_signature_is_that_of_the_documentation():
    [example] = re.findall(r"sha256=[0-9a-f]{64}", (PROJECT / "docs" / "stock.md").read_text())
    assert signature("secret", "1800000000", b'{"a": 1}') == example


# In Airflow


def publish_dag():
    """The DAG as its file is now read: the destinations are those of stores.yaml."""
    return importlib.reload(import_module("dags.fba_publish_stock")).fba_publish_stock()


def test_the_dag_delivers_after_a_change_and_a_dead_destination_makes_it_red(airflow_database, stock, receiver):
    stock.stores_file(
        f"stores: {{{STORE}: }}\npublish: [{{name: shop, webhook: shop_stock}}, {{name: dead, webhook: nobody}}]"
    )
    stock.set(A=5)
    dag = publish_dag()
    for task in dag.tasks:
        task.retries = 0
    register(dag)
    assert str(dag.test().state) == "failed"
    assert receiver.available == {"A": 5}


def test_the_dag_without_a_destination_is_not_scheduled_and_does_nothing(airflow_database, stock):
    stock.stores()
    stock.set(A=5)
    dag = publish_dag()
    assert type(dag.timetable).__name__ == "NullTimetable"
    register(dag)
    assert str(dag.test().state) == "success"
    assert stock.sql("SELECT outcome FROM fba.run").fetchall() == [("skipped",), ("skipped",)]
    stock.stores(webhook=True)
    assert publish_dag().timetable.asset_condition is not None
