"""A merchant's warehouse with a little of everything that the desk shows."""

from __future__ import annotations

STORE = "amazon_us"
REQUEST = {
    "ship_to_name": "Wilhelmina Secret",
    "ship_to_address_1": "77 Hidden Lane",
    "ship_to_address_2": "Rear house",
    "ship_to_address_3": "Third gate on the left",
    "ship_to_city": "Concealville",
    "ship_to_state": "WA",
    "ship_to_postal_code": "98777-0142",
    "ship_to_country": "US",
    "ship_to_email": "wilhelmina@secret.example",
    "ship_to_phone": "+1 206 555 0177",
    "order_comment": "Leave it with Grandma",
}
PERSONAL = [value for key, value in REQUEST.items() if key not in ("ship_to_state", "ship_to_country")]


def fill(sql) -> None:
    """Fill the warehouse; everything is of the store amazon_us."""
    sql("SET fba.writer = 'product'")
    sql("INSERT INTO fba.store (store, max_stock_age_hours, low_stock_days) VALUES (%s, 6, 14)", STORE)
    for kind, report, ago in (("GET_AFN_INVENTORY_DATA", "A1", 2), ("GET_MERCHANT_LISTINGS_ALL_DATA", "L1", 2)):
        sql(
            "INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at,"
            " row_count, rejected_row_count) VALUES (gen_random_uuid(), %s, %s, %s, 'M', 'DONE', now() - make_interval(hours => %s),"
            " now() - make_interval(hours => %s), 3, 1)",
            *(STORE, report, kind, ago, ago),
        )
    for sku, title, fba, source in (
        ("BLUE-MUG", "Blue mug", 7, "afn_report"),
        ("RED-MUG", "Red mug", 0, "default_zero"),
        ("TEAPOT", None, 120, "fba_api"),
    ):
        sql(
            "INSERT INTO fba.global_inventory_pool (store, sku, title, asin, fba_quantity, fbm_quantity, quantity, quantity_source,"
            " afn_report_id, listings_report_id) VALUES (%s, %s, %s, %s, %s, 0, %s, %s, 'A1', 'L1')",
            *(STORE, sku, title, f"B0{sku[:4]}", fba, fba, source),
        )
    sql("UPDATE fba.global_inventory_pool SET fba_quantity = 5, quantity = 5 WHERE sku = 'BLUE-MUG'")
    for line, code, quantity in ((2, "SELLABLE", "5"), (3, "UNSELLABLE", "2")):
        sql(
            "INSERT INTO fba.amazon_afn_inventory_report (store, report_id, line_number, seller_sku, fulfillment_channel_sku,"
            " warehouse_condition_code, quantity_available) VALUES (%s, 'A1', %s, 'BLUE-MUG', 'X00BLUE', %s, %s)",
            *(STORE, line, code, quantity),
        )
    sql(
        "INSERT INTO fba.amazon_all_listings_report (store, report_id, line_number, seller_sku, item_name, quantity,"
        " fulfillment_channel, status) VALUES (%s, 'L1', 2, 'BLUE-MUG', 'Blue mug', '', 'AMAZON_NA', 'Active')",
        STORE,
    )
    sql("INSERT INTO fba.rejected_row VALUES (%s, 'A1', 9, 'quantity is no number', 'RED-MUG')", STORE)
    sql(
        "INSERT INTO fba.stock_breakdown (store, sku, fnsku, fulfillable, inbound_shipped, as_of)"
        " VALUES (%s, 'BLUE-MUG', 'X00BLUE', 5, 40, now())",
        STORE,
    )
    add_request(sql, "FR-1")
    add_request(sql, "FR-2", channel="walmart")
    for status in ("sending", "submitted", "rejected"):
        sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = 'FR-2'", status)
    words = "Address of wilhelmina SECRET, 77 hidden  lane, was refused; call +1 206 555 0177"
    sql("UPDATE fba.fulfillment_request SET status_reason = %s WHERE fr_number = 'FR-2'", words)
    sql(
        "INSERT INTO fba.feed (store, document_id, claim_id, run_id, feed_id, status, message_count, uploaded_at, submit_started_at,"
        " submitted_at, finished_at, judged_at, settled_at) VALUES (%s, 'D1', gen_random_uuid(), 'run', '5001', 'DONE', 1, now(), now(),"
        " now(), now(), now(), now())",
        STORE,
    )
    sql("INSERT INTO fba.feed_message VALUES (%s, 'D1', 1, 'FR-2', 'Error', '8066', %s)", STORE, words)
    add_request(sql, "FR-3")
    for status in ("sending", "submitted", "accepted"):
        sql("UPDATE fba.fulfillment_request SET status = %s WHERE fr_number = 'FR-3'", status)
    sql(
        "INSERT INTO fba.package (store, fr_number, package_key, carrier, tracking_number, tracking_url, status, ship_date)"
        " VALUES (%s, 'FR-3', '1Z999', 'UPS', '1Z999', 'https://www.ups.com/track?n=1Z999', 'IN_TRANSIT', now())",
        STORE,
    )
    sql("INSERT INTO fba.package_item VALUES (%s, 'FR-3', '1Z999', 'BLUE-MUG', 2)", STORE)
    sql(
        "INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, carrier, tracking_number, ship_date)"
        " VALUES (%s, 'K1', 'O-1', 'FR-3', 'BLUE-MUG', 2, 'UPS', '1Z999', now())",
        STORE,
    )
    sql(
        "INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable, fee, currency, arrive_earliest,"
        " arrive_latest, shipments, chosen) VALUES (%s, 'FR-1', 'Standard', now(), true, 5.40, 'USD', now(), now(), 1, true)",
        STORE,
    )
    sql(
        "INSERT INTO fba.run (dag_id, run_id, store, finished_at, outcome, rows_in, calls, attention)"
        """ VALUES ('fba_get_inventory', 'run-1', %s, now(), 'success', 6, '{"createReport": 2}', '{"rejected_lines": 1}')""",
        STORE,
    )
    sql(
        "INSERT INTO fba.run (dag_id, run_id, store, finished_at, outcome, failure)"
        " VALUES ('fba_get_shipments', 'run-2', %s, now(), 'failed', 'The report was refused')",
        STORE,
    )
    sql("RESET fba.writer")


def add_request(sql, number, sku="BLUE-MUG", **fields) -> None:
    """A request with one item, as another system inserts it."""
    row = {"store": STORE, "fr_number": number, "shipping_method": "Standard", **REQUEST, **fields}
    names, marks = ", ".join(row), ", ".join(["%s"] * len(row))
    sql(f"INSERT INTO fba.fulfillment_request ({names}) VALUES ({marks})", *row.values())
    sql(
        "INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES (%s, %s, 1, %s, 2)",
        *(STORE, number, sku),
    )
