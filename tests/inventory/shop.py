"""A merchant with documents of a test's own, and runs of the inventory DAG's tasks."""

from __future__ import annotations

import psycopg

from fba_operators.operators import (
    MergeInventoryOperator,
    PrepareRunOperator,
    RequestReportOperator,
    SummariseInventoryOperator,
    WaitForReportOperator,
)
from tests.helpers import context, run
from tests.stores import AFN, LISTINGS, SELLER, STORE, US


class Shop:
    """A merchant with documents of the test's own, and runs of the inventory tasks."""

    def __init__(self, amazon, warehouse_url, tmp_path, monkeypatch):
        self.amazon, self.tmp_path, self.monkeypatch = amazon, tmp_path, monkeypatch
        self.db = psycopg.connect(warehouse_url, autocommit=True)
        self.runs = 0

    def settings(self, **inventory):
        path = self.tmp_path / "stores.yaml"
        path.write_text(
            f"stores: {{{STORE}: {{inventory: {inventory!r}}}}}".replace("True", "true").replace("False", "false")
        )
        self.monkeypatch.setenv("FBA_STORES_FILE", str(path))

    def later(self, minutes=60):
        """Let time pass for our clock and Amazon's."""
        for column in ("requested_at", "refused_at"):
            self.db.execute(f"UPDATE fba.report SET {column} = {column} - make_interval(mins => %s)", (minutes,))
        for kind in ("fba", "fbm"):
            column = f"{kind}_unconfirmed_since"
            self.db.execute(
                f"UPDATE fba.global_inventory_pool SET {column} = {column} - make_interval(mins => %s)", (minutes,)
            )
        self.db.execute("DELETE FROM fba.rate_limit")
        self.amazon.world.advance(minutes * 60 + 100)

    def serve(self, listings, afn):
        """Serve these rows: (SKU, quantity or None, channel) and (SKU, quantity, condition)."""
        lines = ["seller-sku\tquantity\tfulfillment-channel\titem-name"]
        lines += [
            f"{sku}\t{'' if quantity is None else quantity}\t{channel}\ttitle" for sku, quantity, channel in listings
        ]
        self.amazon.world.override_document(LISTINGS, "\r\n".join([*lines, ""]).encode())
        lines = ["seller-sku\tWarehouse-Condition-code\tQuantity Available\tasin"]
        lines += [f"{sku}\t{condition}\t{quantity}\tB{n}" for n, (sku, quantity, condition) in enumerate(afn)]
        self.amazon.world.override_document(AFN, "\r\n".join([*lines, ""]).encode())

    def at_amazon(self, stock):
        """What the FBA Inventory API knows; other SKUs it does not."""
        for sku, units in stock.items():
            self.amazon.world.put_item(SELLER, US, sku, offers=[("AMAZON_NA", None)], api_stock=units)

    def run(self, **params):
        """One run of the DAG's tasks; returns the summary of the store's row."""
        self.runs += 1
        ctx = context(f"run-{self.runs}")
        PrepareRunOperator(task_id="prepare").execute(ctx)
        try:
            ids = []
            for report_type, options in ((LISTINGS, {"preferredReportDocumentLocale": "en_US"}), (AFN, None)):
                request = RequestReportOperator(
                    task_id="request",
                    report_type=report_type,
                    report_options=options,
                    even_refused=params.get("accept_zeroed_stock", False),
                )
                ids.append(run(WaitForReportOperator(task_id="wait", report_id=run(request, ctx)), ctx))
            run(MergeInventoryOperator(task_id="merge", listings_report_id=ids[0], afn_report_id=ids[1], **params), ctx)
        finally:
            self.summarise(ctx)
        return self.row("summary")

    def summarise(self, ctx):
        try:
            SummariseInventoryOperator(task_id="summarise", stores=[STORE]).execute(ctx)
        except Exception as error:
            self.failure = error

    def row(self, column):
        return self.db.execute(f"SELECT {column} FROM fba.run ORDER BY started_at DESC LIMIT 1").fetchone()[0]

    @property
    def attention(self):
        return self.row("attention")

    def pool_row(self, sku):
        query = "SELECT fba_quantity, fbm_quantity FROM fba.global_inventory_pool WHERE sku = %s"
        return self.db.execute(query, (sku,)).fetchone()

    def pool(self):
        rows = self.db.execute(
            "SELECT sku, fba_quantity, fbm_quantity, quantity_source, unconfirmed_since IS NOT NULL"
            " FROM fba.global_inventory_pool ORDER BY sku"
        )
        return {sku: tuple(values) for sku, *values in rows}
