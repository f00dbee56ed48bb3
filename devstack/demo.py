"""The demonstration of `make run`: 200 fulfillment requests to send, and tables of what the DAGs filled."""

from __future__ import annotations

import csv
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from rich.table import Table

from devstack.waiting import console
from sandbox.server.server import Sandbox

SELLER, MARKETPLACE, STORE = "A1SANDBOXSELLER", "ATVPDKIKX0DER", "amazon_us"
DAYS_UNDER_WAY = 4  # that pass in the sandbox after the parcels have left
# The settings of the demonstration's store, first and then; every other setting has its default.
STORES_YAML = """\
stores:
  amazon_us:
    inventory:
      breakdown: true
      buffer_units: 1
      low_stock_days: 14
    fulfillment:
      hold_hours: 1
      rules: {ship_to_countries: [US, CA]}
"""
PUBLISH_YAML = """\
publish: [{{name: folder, file: "file://{folder}"}}]
"""
# It replaces the first while Airflow runs, which reads the DAG files again when it likes: what is published is the same in both.
ORDER_BY_ORDER_YAML = """\
stores:
  amazon_us:
    inventory:
      breakdown: true
      buffer_units: 1
      low_stock_days: 14
    fulfillment:
      transport: outbound
      hold_hours: 1
      shipping_methods: {Standard: Standard, Expedited: Expedited, Priority: Priority, Economy: Cheapest}
      channels:
        walmart: {packaging: unbranded, block_amazon_logistics: true}
      quote: true
      approval: {above_fee: 30.00}
"""


def insert_requests(warehouse_url: str) -> None:
    """Insert 200 requests, as an order system would: most can be sent; some are on hold, invalid or out of stock."""
    with psycopg.connect(warehouse_url) as db:
        in_stock = [
            sku
            for (sku,) in db.execute(
                "SELECT sku FROM fba.global_inventory_pool WHERE fba_quantity >= 20 AND sku LIKE 'SKU-%' ORDER BY sku LIMIT 150"
            )
        ]
        empty = [
            sku
            for (sku,) in db.execute(
                "SELECT sku FROM fba.global_inventory_pool WHERE quantity_source = 'default_zero' AND sku LIKE 'SKU-%'"
                " ORDER BY sku LIMIT 10"
            )
        ]
        hours_ago = datetime.now(UTC) - timedelta(hours=3)
        for n in range(200):
            number = f"FR-{n + 1:05d}"
            request: dict[str, Any] = {
                "created_at": hours_ago,
                "shipping_method": ("Standard", "Expedited", "Priority")[n % 3],
                "ship_to_country": "US",
                "ship_to_state": "WA",
                "ship_to_address_1": f"{n + 1} Example Street",
            }
            lines = [(in_stock[n % len(in_stock)], n % 3 + 1)]
            if n % 4 == 0:
                lines.append((in_stock[(n + 7) % len(in_stock)], 1))
            if n % 20 == 3:  # still on hold
                request["created_at"] = datetime.now(UTC)
            elif n % 40 == 5:
                request |= {"ship_to_state": None, "shipping_method": "Pigeon"}
            elif n % 40 == 15:
                request["ship_to_address_1"] = "PO Box 12"
            elif n % 40 == 25:
                request["ship_to_country"] = "FR"
            elif n % 20 == 7:  # Amazon knows the SKU and has none in stock
                lines = [(empty[n // 20 % len(empty)], 2)]
            _insert(db, number, request, lines)


def insert_orders(warehouse_url: str) -> None:
    """Insert 20 requests that go out order by order: some of a channel with wishes, some as cheap as possible, some expensive."""
    with psycopg.connect(warehouse_url) as db:
        query = "SELECT sku FROM fba.global_inventory_pool WHERE fba_quantity >= 60 AND sku LIKE 'SKU-%' ORDER BY sku LIMIT 20"
        in_stock = [sku for (sku,) in db.execute(query)]
        for n in range(20):
            request: dict[str, Any] = {
                "created_at": datetime.now(UTC) - timedelta(hours=3),
                "shipping_method": "Economy" if n % 2 else "Standard",
                "ship_to_country": "US",
                "ship_to_state": "WA",
                "ship_to_address_1": f"{n + 1} Example Street",
                "channel": "walmart" if n % 4 == 0 else None,
                "deliver_by": datetime.now(UTC) + timedelta(days=4 if n % 4 == 1 else 7),
            }
            _insert(db, f"WM-{n + 1:05d}", request, [(in_stock[n % len(in_stock)], 9 if n % 10 == 9 else 1)])


def _insert(db: psycopg.Connection[Any], number: str, request: dict[str, Any], lines: list[tuple[str, int]]) -> None:
    db.execute(
        "INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name, ship_to_address_1,"
        " ship_to_city, ship_to_state, ship_to_postal_code, ship_to_country, created_at, channel, deliver_by)"
        " VALUES (%(store)s, %(number)s, %(shipping_method)s, 'Jane Example', %(ship_to_address_1)s, 'Seattle',"
        " %(ship_to_state)s, '98101', %(ship_to_country)s, %(created_at)s, %(channel)s, %(deliver_by)s)",
        {"store": STORE, "number": number, "channel": None, "deliver_by": None, **request},
    )
    for line, (sku, quantity) in enumerate(lines, 1):
        db.execute(
            "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, %s, %s, %s)",
            (STORE, number, line, sku, quantity),
        )


def show(title: str, query: str, warehouse_url: str) -> None:
    """Print the rows of a query as a table."""
    with psycopg.connect(warehouse_url) as db:
        cursor = db.execute(query.encode())
        table = Table(*[column.name for column in cursor.description or []], title=title, title_justify="left")
        for row in cursor:
            table.add_row(*["" if cell is None else str(cell) for cell in row])
    console.print(table)


def show_inventory(warehouse_url: str) -> None:
    """Print the pool that fba_get_inventory filled."""
    show(
        "Where the quantities come from",
        "SELECT quantity_source, count(*) AS skus, sum(quantity) AS units FROM fba.global_inventory_pool"
        " GROUP BY 1 ORDER BY 2 DESC",
        warehouse_url,
    )
    show(
        "fba.global_inventory_pool, the first of each source",
        "SELECT sku, left(title, 40) AS title, quantity, quantity_source FROM ("
        " SELECT *, row_number() OVER (PARTITION BY quantity_source ORDER BY sku) AS n FROM fba.global_inventory_pool"
        ") AS pool WHERE n <= 4 ORDER BY quantity_source, sku",
        warehouse_url,
    )


def wrong_quantities(warehouse_url: str, amazon: Sandbox) -> str | None:
    """Compare the pool with the stock in the sandbox; returns the difference as a sentence, or None."""
    truth = amazon.world.truth(SELLER, MARKETPLACE, False, False)
    with psycopg.connect(warehouse_url) as db:
        pool: dict[str, int] = dict(db.execute("SELECT sku, quantity FROM fba.global_inventory_pool").fetchall())
    right = sum(pool.get(sku) == stock["quantity"] for sku, stock in truth.items())
    if right != len(truth) or len(pool) != len(truth):
        return f"Only {right} of {len(truth)} SKUs have the quantity the merchant really has."
    console.print(f"[green]✓[/] all {right} SKUs have the quantity the merchant really has")
    return None


def show_requests(warehouse_url: str) -> None:
    """Print the status of the requests after fba_send_fulfillment_requests."""
    show(
        "Status of the requests (fba.fulfillment_request)",
        "SELECT status, coalesce(status_reason, waiting_reason) AS reason, count(*) AS requests, min(fr_number) AS first"
        " FROM fba.fulfillment_request GROUP BY 1, 2 ORDER BY 1, 3 DESC",
        warehouse_url,
    )


def show_quotes(warehouse_url: str) -> None:
    """Print what Amazon said each order would cost and when it would arrive, and which speed was chosen."""
    show(
        "Requests sent order by order (transport: outbound)",
        "SELECT status, coalesce(status_reason, waiting_reason) AS reason, count(*) AS requests, min(fr_number) AS first"
        " FROM fba.fulfillment_request WHERE fr_number LIKE 'WM-%' GROUP BY 1, 2 ORDER BY 1, 3 DESC",
        warehouse_url,
    )
    show(
        "Their quotes and fees, some of them (fba.fulfillment_quote)",
        "SELECT q.fr_number AS request, r.shipping_method AS method, q.speed, q.fee, to_char(q.arrive_latest, 'MM-DD') AS arrives,"
        " to_char(r.deliver_by, 'MM-DD') AS by, CASE WHEN q.chosen THEN r.status ELSE '' END AS chosen"
        " FROM fba.fulfillment_quote AS q JOIN fba.fulfillment_request AS r USING (store, fr_number)"
        " WHERE fr_number IN ('WM-00001', 'WM-00002', 'WM-00003', 'WM-00004', 'WM-00010') ORDER BY 1, q.fee",
        warehouse_url,
    )


def wrong_orders(warehouse_url: str, amazon: Sandbox) -> str | None:
    """Compare the accepted requests with the orders in the sandbox; returns the difference as a sentence, or None."""
    with psycopg.connect(warehouse_url) as db:
        accepted = {
            number
            for (number,) in db.execute("SELECT fr_number FROM fba.fulfillment_request WHERE status = 'accepted'")
        }
    orders = amazon.world.orders(SELLER)
    created = {number for number, order in orders.items() if order["times_created"]}
    twice = [number for number, order in orders.items() if order["times_received"] > 1]
    if twice or created != accepted:
        return (
            f"{len(twice)} orders were sent twice; {len(created ^ accepted)} differ between Amazon and the warehouse."
        )
    console.print(f"[green]✓[/] all {len(created)} accepted requests are orders at Amazon, each received once")
    return None


def show_shipments(warehouse_url: str) -> None:
    """Print how many units of the accepted requests are shipped, and their tracking numbers."""
    show(
        "Progress of the accepted requests (fba.fulfillment_progress)",
        "SELECT status, count(DISTINCT fr_number) AS requests, sum(ordered) AS ordered, sum(shipped) AS shipped,"
        " sum(open) AS open FROM fba.fulfillment_progress GROUP BY 1 ORDER BY 1",
        warehouse_url,
    )
    show(
        "Some of them, with their tracking numbers",
        "SELECT fr_number, sku, ordered, shipped, status, array_to_string(carriers, ', ') AS carriers,"
        " array_to_string(tracking_numbers, ', ') AS tracking FROM (SELECT *, row_number() OVER (PARTITION BY status"
        " ORDER BY fr_number) AS n FROM fba.fulfillment_progress) AS progress WHERE n <= 4 ORDER BY status, fr_number",
        warehouse_url,
    )


def wrong_shipments(warehouse_url: str, amazon: Sandbox) -> str | None:
    """Compare the shipped units in the warehouse with those in the sandbox; returns the difference as a sentence, or None."""
    truth = amazon.world.shipment_truth(SELLER, MARKETPLACE)["orders"]
    shipped = {(number, sku): line["quantity"] for number, skus in truth.items() for sku, line in skus.items()}
    with psycopg.connect(warehouse_url) as db:
        rows = db.execute("SELECT fr_number, sku, shipped FROM fba.fulfillment_progress WHERE shipped > 0")
        recorded = {(number, sku): units for number, sku, units in rows}
    if recorded != shipped:
        return f"{len(recorded.items() ^ shipped.items())} of {len(shipped)} shipped lines differ from what Amazon shipped."
    console.print(f"[green]✓[/] all {len(shipped)} request lines that Amazon shipped have their shipped quantity")
    return None


def show_parcels(warehouse_url: str) -> None:
    """Print where the parcels are, and the timeline of a request whose parcels were delivered."""
    show(
        "Parcels of the requests (fba.package)",
        "SELECT status, count(*) AS parcels, count(DISTINCT fr_number) AS requests, min(carrier) AS carrier,"
        " min(tracking_number) AS for_example FROM fba.package GROUP BY 1 ORDER BY 2 DESC",
        warehouse_url,
    )
    show(
        "Timeline of a request (fba.request_event)",
        "SELECT fr_number, to_char(at, 'HH24:MI:SS') AS at, what, package_key AS parcel, detail, source FROM fba.request_event"
        " WHERE fr_number = (SELECT min(fr_number) FROM fba.package WHERE status = 'DELIVERED') ORDER BY n",
        warehouse_url,
    )


def wrong_parcels(warehouse_url: str, amazon: Sandbox) -> str | None:
    """Compare the parcels in the warehouse with the sandbox's; returns the difference as a sentence, or None."""
    with psycopg.connect(warehouse_url) as db:
        kept = db.execute("SELECT fr_number, tracking_number, status FROM fba.package").fetchall()
    told = {
        (each["order_id"], each["tracking_number"]): {status for status, _ in each["history"]}
        for each in amazon.world.parcels(SELLER)
    }
    wrong = [number for number, tracking, status in kept if status not in told.get((number, tracking), ())]
    delivered = sum(status == "DELIVERED" for _, _, status in kept)
    if wrong or len(kept) != len(told):
        return f"{len(wrong)} of {len(kept)} parcels are not where the sandbox has its {len(told)}."
    if not delivered:
        return "No parcel was delivered."
    console.print(f"[green]✓[/] all {len(kept)} parcels are where the sandbox has them, {delivered} of them delivered")
    return None


def show_stock(warehouse_url: str) -> None:
    """Print what is known beyond the one number: what can be promised, where the rest is, a history."""
    show(
        "What can be promised (fba.available_to_sell), where the rest is (fba.stock_breakdown)",
        "SELECT sku, quantity, promised, buffer, available, reserved_customer_order AS reserved, inbound_shipped AS inbound,"
        " unfulfillable FROM fba.available_to_sell JOIN fba.stock_breakdown USING (store, sku)"
        " WHERE promised > 0 ORDER BY promised DESC, sku LIMIT 5",
        warehouse_url,
    )
    show(
        "The history of SKUs (fba.stock_change), and how long they last (fba.stock_outlook)",
        "SELECT sku, to_char(at AT TIME ZONE 'UTC', 'HH24:MI:SS') AS at, quantity_before AS before, quantity, quantity_source,"
        " units_a_day, days_of_cover FROM fba.stock_change JOIN fba.stock_outlook USING (store, sku)"
        " WHERE units_a_day > 0 AND quantity > 0 ORDER BY days_of_cover, sku, at LIMIT 5",
        warehouse_url,
    )


def wrong_deliveries(warehouse_url: str, folder: Path) -> str | None:
    """Compare what was delivered as files with the warehouse; returns the difference as a sentence, or None."""
    delivered: dict[str, int] = {}
    for file in sorted(folder.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            delivered |= {row["sku"]: int(row["available"]) for row in csv.DictReader(lines)}
    with psycopg.connect(warehouse_url) as db:
        available: dict[str, int] = dict(db.execute("SELECT sku, available FROM fba.available_to_sell").fetchall())
    if delivered != available:
        return f"{len(delivered.items() ^ available.items())} SKUs were delivered wrongly, or not at all."
    console.print(f"[green]✓[/] a file has told what can be promised of all {len(available)} SKUs")
    return None


def show_runs(warehouse_url: str) -> None:
    """Print how many calls each run made, and its summary."""
    show(
        "Calls to Amazon",
        "SELECT dag_id, operation, n AS calls FROM fba.run CROSS JOIN jsonb_each_text(calls) AS c (operation, n)"
        " ORDER BY started_at, 2",
        warehouse_url,
    )
    show(
        "Summaries of the runs (fba.run)",
        "SELECT dag_id, outcome, summary FROM fba.run ORDER BY started_at",
        warehouse_url,
    )
