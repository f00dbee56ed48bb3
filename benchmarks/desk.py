"""What a page of the FBA desk costs the database: milliseconds that PostgreSQL itself names for every statement of every page.

The warehouse is made here: SKUs in two stores with their report lines and 90 days of changes, requests with items, parcels, shipments
and timelines. Each page is read by the desk's own code, twice, and the faster time counts, since a merchant reads a page more than once;
each of its statements is then explained with ANALYZE.

    python -m benchmarks.desk [SKUs [requests]]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
from fastapi import Request

from benchmarks.common.loads import DURABLE
from benchmarks.common.processes import migrate_warehouse
from benchmarks.common.summary import print_summary_row
from devstack.airflow import settings
from devstack.postgres import running_postgres
from fba_operators.desk import fulfillment, overview, runs, stock
from fba_operators.desk.reading import PATIENCE
from fba_operators.warehouse.statements import execute

SKUS, REQUESTS = 2_000_000, 100_000
MOST = 300.0  # ms of database time that a page may take
STORE = "amazon_us"

# %(skus)s and %(requests)s; one request in ten and one SKU in ten belong to a second store.
DATA = """
SELECT set_config('fba.writer', 'product', false);
INSERT INTO fba.store (store, max_stock_age_hours, low_stock_days) VALUES ('amazon_us', 6, 14), ('amazon_de', 6, 14);
INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at, finished_at, row_count, rejected_row_count)
SELECT gen_random_uuid(), s, t || h || s, t, 'M', 'DONE', now() - make_interval(hours => h), now() - make_interval(hours => h),
       now() - make_interval(hours => h), {skus}, h % 3
FROM unnest(ARRAY['amazon_us', 'amazon_de']) AS s, unnest(ARRAY['GET_AFN_INVENTORY_DATA', 'GET_MERCHANT_LISTINGS_ALL_DATA',
     'GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL']) AS t, generate_series(1, 2000) AS h;
INSERT INTO fba.global_inventory_pool (store, sku, title, asin, fba_quantity, fbm_quantity, quantity, quantity_source)
SELECT CASE WHEN n % 10 = 0 THEN 'amazon_de' ELSE 'amazon_us' END, 'SKU-' || lpad(n::text, 7, '0'),
       (ARRAY['Blue', 'Red', 'Green', 'Black', 'Steel', 'Oak'])[1 + n % 6] || ' ' || (ARRAY['mug', 'teapot', 'lamp', 'chair', 'cable'])[1 + n % 5]
           || ' model ' || n % 4096 || ' with a title as long as they are on Amazon, pack of ' || n % 12,
       'B0' || upper(left(md5(n::text), 8)), q, 0, q, CASE WHEN q = 0 THEN 'default_zero' ELSE 'afn_report' END
FROM (SELECT n, CASE WHEN n % 3 = 0 THEN 0 ELSE n % 97 END AS q FROM generate_series(1, {skus}) AS n) AS x;
INSERT INTO fba.amazon_afn_inventory_report (store, report_id, line_number, seller_sku, warehouse_condition_code, quantity_available)
SELECT store, 'A', row_number() OVER () + 1, sku, 'SELLABLE', quantity FROM fba.global_inventory_pool WHERE quantity > 0;
INSERT INTO fba.amazon_all_listings_report (store, report_id, line_number, seller_sku, item_name, quantity, fulfillment_channel)
SELECT store, 'L', row_number() OVER () + 1, sku, title, '', 'AMAZON_NA' FROM fba.global_inventory_pool;
UPDATE fba.global_inventory_pool SET fba_unconfirmed_since = now() WHERE sku LIKE 'SKU-00001%%';
INSERT INTO fba.stock_change (store, sku, at, quantity_before, quantity, fba_quantity_before, fba_quantity, fbm_quantity_before, fbm_quantity,
    quantity_source_before, quantity_source)
SELECT store, sku, now() - make_interval(hours => (n * 7919 % 2160 + 1)::int), n % 90, n % 90 + 1, n % 90, n % 90 + 1, 0, 0, 'afn_report', 'afn_report'
FROM (SELECT row_number() OVER () AS n, store, sku FROM fba.global_inventory_pool) AS p;
UPDATE fba.stock_history SET begins_at = now() - interval '90 days';
INSERT INTO fba.stock_total_change (store, at, units, skus_in_stock)
SELECT s, now() - make_interval(hours => h), 1, 0 FROM unnest(ARRAY['amazon_us', 'amazon_de']) AS s, generate_series(1, 2160) AS h;
INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name, created_at, status, status_reason, sent_at, resolved_at, channel,
    transport, amazon_order_status, amazon_order_asked_at)
SELECT CASE WHEN n % 10 = 0 THEN 'amazon_de' ELSE 'amazon_us' END, 'FR-' || lpad(n::text, 6, '0'), 'Standard', 'Jane Example', c,
       CASE WHEN n % 200 = 0 THEN 'rejected' WHEN n % 201 = 0 THEN 'invalid' WHEN n > {requests} - 500 THEN 'pending' WHEN n % 5000 = 1 THEN 'unknown'
            ELSE 'accepted' END,
       CASE WHEN n % 200 = 0 THEN 'Jane Example has a bad address' END, c + interval '1 hour', c + interval '2 hours',
       (ARRAY['walmart', 'shopify', NULL])[1 + n % 3], 'feed', CASE WHEN n <= {requests} - 500 THEN 'COMPLETE' END,
       CASE WHEN n <= {requests} - 500 THEN c + interval '3 days' END
FROM (SELECT n, now() - ({requests} - n) * interval '90 days' / {requests} AS c FROM generate_series(1, {requests}) AS n) AS x;
INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity)
SELECT store, fr_number, l, 'SKU-' || lpad(((right(fr_number, 6)::int * 17 + l * 31) %% {skus} + 1)::text, 7, '0'), l
FROM fba.fulfillment_request, generate_series(1, 2) AS l;
INSERT INTO fba.tracked_order (store, fr_number, read_at, changed_at, finished)
SELECT store, fr_number, now(), created_at + interval '3 days', created_at < now() - interval '10 days' FROM fba.fulfillment_request WHERE status = 'accepted';
INSERT INTO fba.package (store, fr_number, package_key, carrier, tracking_number, status, ship_date, arrives_at, delivered_at, first_seen_at, updated_at)
SELECT store, fr_number, '1Z' || fr_number, 'UPS', '1Z' || fr_number, CASE WHEN old THEN 'DELIVERED' ELSE 'IN_TRANSIT' END, created_at + interval '1 day',
       created_at + interval '4 days', CASE WHEN old THEN created_at + interval '4 days' END, created_at, created_at
FROM (SELECT *, created_at < now() - interval '5 days' AS old FROM fba.fulfillment_request WHERE status = 'accepted' AND created_at < now() - interval '2 days') AS r;
INSERT INTO fba.package_item SELECT p.store, p.fr_number, p.package_key, i.sku, sum(i.quantity)
FROM fba.package AS p JOIN fba.fulfillment_request_item AS i USING (store, fr_number) GROUP BY 1, 2, 3, 4;
INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, carrier, tracking_number, ship_date)
SELECT p.store, p.package_key || i.sku, 'O', p.fr_number, i.sku, i.quantity, 'UPS', p.tracking_number, p.ship_date
FROM fba.package AS p JOIN fba.package_item AS i USING (store, fr_number, package_key);
INSERT INTO fba.run (dag_id, run_id, store, started_at, finished_at, outcome, rows_in, calls)
SELECT d, 'run-' || h, s, now() - make_interval(hours => h), now() - make_interval(hours => h), 'success', {skus}, '{{"createReport": 2, "getReport": 10}}'
FROM unnest(ARRAY['amazon_us', 'amazon_de']) AS s, unnest(ARRAY['fba_get_inventory', 'fba_send_fulfillment_requests', 'fba_track_orders',
     'fba_get_shipments']) AS d, generate_series(1, 2000) AS h;
INSERT INTO fba.order_cursor (store, read_until, read_at) VALUES ('amazon_us', now(), now());
"""


class Explained(psycopg.Cursor[Any]):
    """A cursor that adds up what PostgreSQL needs for its statements."""

    milliseconds: list[tuple[float, bytes]] = []  # noqa: RUF012 - of all cursors together

    def execute(self, query: Any, params: Any = None, **how: Any) -> Any:
        """Run a statement, and explain it."""
        text = query if isinstance(query, bytes) else query.as_bytes(None)
        if b"set_config" not in text:
            explained = psycopg.Cursor(self.connection)
            explained.execute(b"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + text, params)
            ((plan,),) = explained.fetchall()
            self.milliseconds.append((plan[0]["Planning Time"] + plan[0]["Execution Time"], text))
        return super().execute(query, params, **how)


def asked(path: str, **query: str) -> Request:
    """What the API server gives a page."""
    text = "&".join(f"{key}={value}" for key, value in query.items())
    return Request({"type": "http", "method": "GET", "path": path, "query_string": text.encode(), "headers": []})


def pages(db: psycopg.Connection[Any], skus: int, requests: int) -> dict[str, Callable[[], object]]:
    """Every page in the form in which it has most to do."""
    middle = f"SKU-{skus // 2 + 1:07d}"
    number = f"FR-{requests // 2 + 1:06d}"

    def list_(**choice: Any) -> Callable[[], object]:
        return lambda: stock.stock(asked("/stock"), db, store=STORE, **choice)

    def found(**choice: Any) -> Callable[[], object]:
        return lambda: fulfillment.requests(asked("/requests"), db, **choice)

    return {
        "Overview": lambda: overview.overview(asked("/"), db, True),
        "Stock, first screen": list_(),
        "Stock, a screen in the middle": list_(after=middle),
        "Stock, most units first": list_(sort="most"),
        "Stock, fewest first, in the middle": list_(sort="fewest", after=middle, after_units=50),
        "Stock, at zero": list_(only="zero"),
        "Stock, low": list_(only="low"),
        "Stock, changed": list_(only="changed"),
        "Stock, unconfirmed": list_(only="unconfirmed"),
        "Stock, search: a letter that all begin with": list_(q="s"),
        "Stock, search: a word that all have": list_(q="model"),
        "Stock, search: two words": list_(q="blue mug"),
        "One SKU": lambda: stock.sku(asked("/sku", store=STORE, sku=middle), db, True, store=STORE, sku=middle),
        "Requests, first screen": found(),
        "Requests of a status": found(status="unknown"),
        "Requests by number": found(q=number[:-2]),
        "Requests of a SKU": found(sku=middle),
        "One request": lambda: fulfillment.one(asked("/request"), db, True, store=STORE, number=number),
        "Reports and runs": lambda: runs.reports(asked("/reports"), db),
    }


def main(skus: int, requests: int) -> None:
    """Make the warehouse and print what each page costs."""
    with tempfile.TemporaryDirectory() as folder, running_postgres(DURABLE) as server:
        url = server.create_database("warehouse")
        migrate_warehouse(settings(Path(folder), "sqlite://", url, "http://127.0.0.1:9"))
        with psycopg.connect(url, autocommit=True) as db:
            # The triggers that write timelines and history would write those of a single moment.
            db.execute("SET session_replication_role = 'replica'")
            db.execute(DATA.replace("%%", "%").format(skus=skus, requests=requests).encode())
            db.execute("SET session_replication_role = 'origin'")
            db.execute("VACUUM ANALYZE")
        with psycopg.connect(url) as db:
            for name in ("runs.keep_cover", "runs.keep_shipped"):
                execute(db, name, most=requests)
        print(
            f"\n| page, with {skus:,} SKUs and {requests:,} requests | database, ms | slowest statement, ms |\n|---|---:|---:|"
        )
        worst = 0.0
        with psycopg.connect(url, cursor_factory=Explained) as db:
            db.prepare_threshold = None
            execute(db, "desk.begin", patience=f"{PATIENCE}s")
            for title, read in pages(db, skus, requests).items():
                best: list[tuple[float, bytes]] | None = None
                for _ in range(2):
                    Explained.milliseconds.clear()
                    read()
                    if best is None or sum(t for t, _ in Explained.milliseconds) < sum(t for t, _ in best):
                        best = list(Explained.milliseconds)
                total = sum(t for t, _ in best or [])
                worst = max(worst, total)
                print(f"| {title} | {total:,.0f} | {max(t for t, _ in best or [(0.0, b'')]):,.0f} |", flush=True)
    print()
    print_summary_row("a page of the desk, the slowest", f"{worst:,.0f} ms", f"{MOST:,.0f} ms", worst / MOST)


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(*(numbers + [SKUS, REQUESTS][len(numbers) :]))
