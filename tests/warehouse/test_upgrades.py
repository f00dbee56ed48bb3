"""Migrations: on a warehouse with data, in order, once, however many DAGs start together."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.types.json import Jsonb

from devstack.airflow import warehouse_connection
from fba_operators.errors import ConfigurationError
from fba_operators.warehouse import statements
from fba_operators.warehouse.database import Warehouse
from tests.stock import merge
from tests.stores import SELLER, US

FILES = sorted((statements.SQL_FOLDER / "migrations").glob("*.sql"))
VERSIONS = [int(file.name[:4]) for file in FILES]

# What a merchant has after each version: rows that were possible then.
DATA = {
    1: """
        INSERT INTO fba.report (request_id, store, report_id, report_type, marketplace_id, status, requested_at, applied_at)
        VALUES ('11111111-1111-4111-8111-111111111111', 'amazon_us', 'R1', 'GET_AFN_INVENTORY_DATA', 'ATVPDKIKX0DER',
                'DONE', '2026-01-01', '2026-01-01');
        INSERT INTO fba.report_document (store, report_id, chunk, content) VALUES ('amazon_us', 'R1', 0, 'ciphertext');
        INSERT INTO fba.rejected_row (store, report_id, line_number, reason, sku) VALUES ('amazon_us', 'R1', 7, 'odd', 'A');
        INSERT INTO fba.run (dag_id, run_id, store, outcome, summary, calls, finished_at)
        VALUES ('fba_get_inventory', 'old', 'amazon_us', 'success', 'fine', '{"createReport": 2}', now());
        INSERT INTO fba.rate_limit VALUES ('bucket', 1, 1, 15, now());
    """,
    2: """
        INSERT INTO fba.global_inventory_pool (store, sku, title, quantity, quantity_source, fba_quantity, fbm_quantity)
        VALUES ('amazon_us', 'OLD-SKU', 'An old one', 5, 'afn_report', 5, 0);
        INSERT INTO fba.amazon_afn_inventory_report (store, line_number, report_id, seller_sku)
        VALUES ('amazon_us', 2, 'R1', 'OLD-SKU');
    """,
    3: """
        INSERT INTO fba.fulfillment_request (store, fr_number, shipping_method, ship_to_name) VALUES ('amazon_us', 'FR-1', 'Standard', 'J');
        INSERT INTO fba.fulfillment_request_item (store, fr_number, line, sku, quantity) VALUES ('amazon_us', 'FR-1', 1, 'OLD-SKU', 2);
    """,
    4: """
        INSERT INTO fba.shipment_item (store, item_key, order_id, fr_number, sku, quantity, report_requested_at)
        VALUES ('amazon_us', 'K1', 'S01-1', 'FR-1', 'OLD-SKU', 1, '2026-01-02');
    """,
    5: "UPDATE fba.run SET attention = '{\"overdue\": 1}' WHERE run_id = 'old'",
    6: "UPDATE fba.run SET summary = 'very fine' WHERE run_id = 'old'",
    7: "UPDATE fba.global_inventory_pool SET fba_unconfirmed_since = '2026-01-03' WHERE sku = 'OLD-SKU'",
    8: "INSERT INTO fba.order_at_amazon (store, fr_number) VALUES ('amazon_us', 'FR-9')",
    9: "INSERT INTO fba.lwa_token (credential, fetching_until) VALUES ('hash', '2026-01-06')",
    10: """
        UPDATE fba.report SET content_digest = 'digest', document_report_id = 'R0' WHERE report_id = 'R1';
        INSERT INTO fba.applied_stock (store, listings_report_id, afn_report_id, rules_digest, edits, applied_at)
        VALUES ('amazon_us', 'R2', 'R1', 'digest', '{}', '2026-01-07');
    """,
    11: """
        INSERT INTO fba.fulfillment_quote (store, fr_number, speed, quoted_at, fulfillable) VALUES ('amazon_us', 'FR-1', 'Standard', '2026-01-07', true);
        INSERT INTO fba.feature (store, feature, sku, eligible) VALUES ('amazon_us', 'BLANK_BOX', '', true);
    """,
    12: """
        INSERT INTO fba.package (store, fr_number, package_key, status, ship_date) VALUES ('amazon_us', 'FR-1', 'TBA1', 'IN_TRANSIT', '2026-01-05');
        INSERT INTO fba.package_item (store, fr_number, package_key, sku, quantity) VALUES ('amazon_us', 'FR-1', 'TBA1', 'OLD-SKU', 1);
        INSERT INTO fba.tracked_order (store, fr_number, read_at, changed_at) VALUES ('amazon_us', 'FR-1', '2026-01-06', '2026-01-06');
        INSERT INTO fba.order_cursor (store, read_until) VALUES ('amazon_us', '2026-01-06');
    """,
    13: """
        UPDATE fba.global_inventory_pool SET quantity = 4, fba_quantity = 4 WHERE sku = 'OLD-SKU';
        INSERT INTO fba.stock_breakdown (store, sku, fulfillable, as_of) VALUES ('amazon_us', 'OLD-SKU', 4, '2026-01-07');
        INSERT INTO fba.breakdown_reading VALUES ('amazon_us', '2026-01-07', '2026-01-07', 'ATVPDKIKX0DER');
        INSERT INTO fba.available_change (store, n, sku, available, shares_fnsku_with) VALUES ('amazon_us', 1, 'OLD-SKU', 4, '{}');
        INSERT INTO fba.publication VALUES ('shop', 'amazon_us', 1, '2026-01-07');
    """,
    14: """
        INSERT INTO fba.stock_cover VALUES ('amazon_us', 'OLD-SKU', 4, 0.5, 8, NULL, '2026-01-08', '2026-01-08');
        INSERT INTO fba.conflicting_sku VALUES ('amazon_us', 'OLD-SKU');
        INSERT INTO fba.wholly_shipped SELECT store, fr_number FROM fba.fulfillment_request WHERE status = 'accepted';
    """,
    15: "INSERT INTO fba.request_event (store, fr_number, what, source, actor) VALUES ('amazon_us', 'FR-1', 'approved', 'merchant', 'ann')",
    16: "INSERT INTO fba.order_at_amazon (store, fr_number) VALUES ('amazon_us', 'FR-16')",
    17: "INSERT INTO fba.unanswered_number (store, fr_number) VALUES ('amazon_us', 'FR-1')",
    18: "UPDATE fba.fulfillment_request SET amazon_order_status = 'CompletePartialled' WHERE fr_number = 'FR-1'",
    19: """
        INSERT INTO fba.amazon_fulfilled_shipments_report (store, item_key, report_id, report_requested_at, line_number, amazon_order_id, shipment_date, sku,
            quantity_shipped, extra)
        VALUES ('amazon_us', 'K1', 'R19', '2026-01-02', 2, 'S01-1', '2026-01-02', 'OLD-SKU', 1, '{"payments-date": "soon"}')
    """,
    20: "INSERT INTO fba.wholly_shipped SELECT store, fr_number FROM fba.fulfillment_request WHERE status = 'accepted' ON CONFLICT DO NOTHING",
}


def migrations_in(patch, folder):
    """Take the migrations from this folder."""
    statements.statements_of("warehouse")  # cached, so still today's: the folder has none
    patch.setattr(statements, "SQL_FOLDER", folder)


@pytest.fixture
def old_warehouse(postgres, monkeypatch, tmp_path):
    """Make a warehouse as it was at a version, with the data of its time; afterwards the code is today's."""

    def make(version):
        url = postgres.create_database(f"old_{version}_{tmp_path.name[-12:]}".replace("-", "_").lower())
        monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(url))
        (tmp_path / "migrations").mkdir()
        (tmp_path / "views.sql").write_text("-- views 0\n")
        with monkeypatch.context() as then:
            migrations_in(then, tmp_path)
            for number, file in zip(VERSIONS, FILES, strict=True):
                if number <= version:
                    shutil.copy(file, tmp_path / "migrations")
                    assert Warehouse().migrate() == [number]
                    with psycopg.connect(url) as db:
                        db.execute(DATA[number].encode())
        return url

    return make


def everything(url):
    """Every row of every table, as text, by table; columns that came later are left out."""
    with psycopg.connect(url) as db:
        tables = db.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'fba' AND tablename NOT IN ('schema_version', 'schema_views')"
        )
        return {
            name: db.execute(f"SELECT to_jsonb(t) FROM fba.{name} AS t ORDER BY to_jsonb(t)::text").fetchall()
            for (name,) in tables
        }


def test_every_version_has_data_to_upgrade():
    assert list(DATA) == VERSIONS
    assert list(range(1, len(VERSIONS) + 1)) == VERSIONS


@pytest.mark.parametrize("version", VERSIONS)
def test_an_old_warehouse_is_upgraded_and_keeps_its_rows(old_warehouse, version):
    url = old_warehouse(version)
    before = everything(url)
    assert Warehouse().migrate() == [number for number in VERSIONS if number > version]
    assert Warehouse().migrate() == []
    after = everything(url)
    filled = {table: [row for (row,) in rows] for table, rows in before.items() if rows}
    assert len(filled) >= 5
    for table, rows in filled.items():
        assert [{key: value for key, value in row.items() if key in rows[0]} for (row,) in after[table]] == rows


def test_the_past_of_an_upgraded_warehouse_is_in_its_timeline(old_warehouse):
    url = old_warehouse(9)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET fba.writer = 'product'")
        db.execute("""
            INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, claimed_at, uploaded_at, submit_started_at,
                                  submitted_at, feed_id)
            VALUES ('amazon_us', 'D1', '22222222-2222-4222-8222-222222222222', 'r', 1, '2026-01-02 01:00', '2026-01-02 01:01',
                    '2026-01-02 01:02', '2026-01-02 01:03', '77');
            INSERT INTO fba.feed_message (store, document_id, message_id, fr_number) VALUES ('amazon_us', 'D1', 1, 'FR-1');
            UPDATE fba.fulfillment_request SET status = 'sending', claim_id = '22222222-2222-4222-8222-222222222222';
            UPDATE fba.fulfillment_request SET status = 'submitted', sent_at = '2026-01-02 01:02';
            UPDATE fba.fulfillment_request SET status = 'accepted';
            UPDATE fba.shipment_item SET tracking_number = 'TBA1', ship_date = clock_timestamp() + interval '1 second';
        """)
    Warehouse().migrate()
    query = "SELECT what, source, package_key FROM fba.request_event WHERE fr_number = 'FR-1' ORDER BY n"
    with psycopg.connect(url) as db:
        told = db.execute(query).fetchall()
    assert sorted(told[:3]) == [("claimed", "product", None), ("created", "merchant", None), ("sent", "product", None)]
    assert told[3:] == [("accepted", "feed", None), ("shipped", "report", "TBA1")]
    with psycopg.connect(url, autocommit=True) as db:  # what is told again is known already
        db.execute("UPDATE fba.shipment_item SET quantity = quantity")
        assert db.execute(query).fetchall() == told


def test_the_past_of_orders_of_their_own_is_in_the_timeline(old_warehouse):
    url = old_warehouse(11)
    with psycopg.connect(url, autocommit=True) as db:
        db.execute("SET fba.writer = 'product'")
        db.execute("UPDATE fba.fulfillment_quote SET fee = 5.5, currency = 'USD', quoted_at = '2026-01-07'")
        db.execute("UPDATE fba.fulfillment_request SET approval_asked_at = '2026-01-07 01:00'")
        db.execute("UPDATE fba.fulfillment_request SET approved_at = '2026-01-07 02:00'")
        db.execute("""
            INSERT INTO fba.outbound_order (claim_id, batch_id, run_id, store, fr_number, seller_id, marketplace_id, endpoint, features,
                                            held, content_digest, claimed_at, intent_at, answered_at, settled_at)
            VALUES ('22222222-2222-4222-8222-222222222222', '22222222-2222-4222-8222-222222222222', 'r', 'amazon_us', 'FR-1', 'S', 'M',
                    'E', '{}', false, '', '2026-01-07 03:00', '2026-01-07 03:01', '2026-01-07 03:01', '2026-01-07 03:01')
        """)
        db.execute(
            "UPDATE fba.fulfillment_request SET status = 'sending', transport = 'outbound',"
            " claim_id = '22222222-2222-4222-8222-222222222222'"
        )
        db.execute("UPDATE fba.fulfillment_request SET status = 'accepted', sent_at = '2026-01-07 03:01'")
    Warehouse().migrate()
    with psycopg.connect(url) as db:
        query = "SELECT what, source, detail FROM fba.request_event WHERE what NOT IN ('created', 'shipped') ORDER BY n"
        assert db.execute(query).fetchall() == [
            ("quoted", "product", "Standard for 5.5 USD"),
            ("needs_approval", "product", None),
            ("approved", "merchant", None),
            ("claimed", "product", None),
            ("sent", "product", None),
            ("accepted", "order", None),
        ]


def test_the_inventory_merge_works_after_an_upgrade_from_the_first_schema(old_warehouse, amazon):
    url = old_warehouse(1)
    Warehouse().migrate()
    merge()
    with psycopg.connect(url) as db:
        pool = dict(db.execute("SELECT sku, quantity FROM fba.global_inventory_pool").fetchall())
    truth = amazon.world.truth(SELLER, US, False, False)
    assert pool == {sku: each["quantity"] for sku, each in truth.items()}


def views_say(patch, tmp_path, text, number, versions=None):
    """Today's code with other views, as an install that knows these versions."""
    folder = tmp_path / f"install_{len(list(tmp_path.glob('install_*')))}"
    (folder / "migrations").mkdir(parents=True)
    for file in FILES[:versions]:
        shutil.copy(file, folder / "migrations")
    (folder / "views.sql").write_text(f"-- views {number}\n{text}")
    migrations_in(patch, folder)


def test_changed_views_are_made_again_but_not_by_an_older_install(old_warehouse, monkeypatch, tmp_path):
    def answer():
        with psycopg.connect(url) as db:
            return db.execute("SELECT says FROM fba.answer").fetchone()[0]

    url = old_warehouse(1)
    newest = len(VERSIONS)
    view = "CREATE OR REPLACE VIEW fba.answer AS SELECT {} AS says"
    for text, number, install, says in (
        ("1", 1, newest, 1),
        ("2", 1, newest, 2),
        ("3", 2, newest, 3),
        ("4", 1, newest, 3),
        ("5", 1, newest - 1, 3),
        ("6 AS says, 7 AS more -- ", 3, newest, 6),
        ("8", 2, newest, 6),  # would drop a column, which CREATE OR REPLACE cannot
        ("9 AS says, 7 AS more -- ", 10, newest, 9),
    ):
        views_say(monkeypatch, tmp_path, view.format(text), number, install)
        Warehouse().migrate()
        assert answer() == says
        assert Warehouse().migrate() == []


def test_views_without_a_number_are_refused(old_warehouse, monkeypatch, tmp_path):
    url = old_warehouse(1)
    before = everything(url)
    views_say(monkeypatch, tmp_path, "", "")
    with pytest.raises(ConfigurationError, match="must begin with a line like '-- views 1'"):
        Warehouse().migrate()
    assert everything(url) == before


def test_views_that_cannot_be_made_leave_the_warehouse_as_it_was(old_warehouse, monkeypatch, tmp_path):
    url = old_warehouse(2)
    before = everything(url)
    views_say(monkeypatch, tmp_path, "CREATE VIEW fba.broken AS SELECT 1/0 AS n FROM fba.nothing", 1)
    with pytest.raises(psycopg.errors.UndefinedTable):
        Warehouse().migrate()
    assert everything(url) == before


@pytest.mark.parametrize("version", [1, VERSIONS[-1] - 1])
def test_dags_that_start_together_apply_each_version_once(old_warehouse, version):
    old_warehouse(version)
    with ThreadPoolExecutor(8) as pool:
        applied = [number for done in pool.map(lambda _: Warehouse().migrate(), range(8)) for number in done]
    assert applied == [number for number in VERSIONS if number > version]


def test_a_version_of_another_name_is_refused(old_warehouse, monkeypatch, tmp_path):
    """A fork's 0003 is not ours: to go on from it would leave the schema in no known state."""
    url = old_warehouse(2)
    with psycopg.connect(url) as db:
        db.execute("INSERT INTO fba.schema_version (version, name) VALUES (3, '0003_of_a_fork')")
    before = everything(url)
    with pytest.raises(ConfigurationError, match="0003_of_a_fork"):
        Warehouse().migrate()
    assert everything(url) == before


def test_a_migration_that_fails_leaves_the_version_before_it(old_warehouse, monkeypatch, tmp_path):
    url = old_warehouse(2)
    before = everything(url)
    (tmp_path / "migrations" / "0003_broken.sql").write_text("DROP TABLE fba.run;\nSELECT no_such_column")
    migrations_in(monkeypatch, tmp_path)
    with pytest.raises(
        ConfigurationError, match=r'0003_broken, line 2: column "no_such_column" does not exist\. Nothing'
    ):
        Warehouse().migrate()
    assert everything(url) == before
    monkeypatch.undo()


def digests(url, schema="fba"):
    with psycopg.connect(url) as db:
        return dict(db.execute(f"SELECT version, digest FROM {schema}.schema_version").fetchall())


def test_a_version_with_other_content_is_refused(old_warehouse, monkeypatch, tmp_path):
    url = old_warehouse(3)
    applied = tmp_path / "migrations" / "0002_inventory.sql"
    applied.write_bytes(applied.read_bytes().replace(b"\n", b"\r\n"))  # a checkout on Windows: the same file
    with monkeypatch.context() as then:
        migrations_in(then, tmp_path)
        assert Warehouse().migrate() == []
        applied.write_text(f"{applied.read_text()}\nDROP TABLE fba.run;")
        before = everything(url)
        with pytest.raises(
            ConfigurationError, match=r"0002_inventory of the schema fba was applied with other content"
        ):
            Warehouse().migrate()
        assert everything(url) == before
    assert Warehouse().migrate() == VERSIONS[3:]


def test_a_warehouse_without_digests_gets_them(old_warehouse):
    url = old_warehouse(VERSIONS[-1])
    right = digests(url)
    assert all(right.values())
    with psycopg.connect(url) as db:
        db.execute("ALTER TABLE fba.schema_version DROP COLUMN digest")
    assert Warehouse().migrate() == []
    assert digests(url) == right
    with psycopg.connect(url) as db:  # an earlier version of the code has applied the last one
        db.execute("UPDATE fba.schema_version SET digest = NULL WHERE version = %s", (VERSIONS[-1],))
    assert Warehouse().migrate() == []
    assert digests(url) == right


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "0001_a_table.sql").write_text("CREATE TABLE acme.a_table (n integer)")
    (folder / "0003_another.sql").write_text("CREATE TABLE acme.another (n integer)")
    return folder


def test_tables_of_ones_own_have_numbers_of_their_own(warehouse_url, own):
    before = digests(warehouse_url)
    with ThreadPoolExecutor(4) as pool:
        applied = list(pool.map(lambda _: Warehouse().migrate_own("acme", own), range(4)))
    assert sorted(applied) == [[], [], [], [1, 3]]
    assert list(digests(warehouse_url, "acme")) == [1, 3]
    (own / "0002_later.sql").write_text("INSERT INTO acme.a_table VALUES (2)")
    assert Warehouse().migrate_own("acme", own) == [2]
    assert digests(warehouse_url) == before
    assert Warehouse().migrate() == []
    (own / "0001_a_table.sql").write_text("CREATE TABLE acme.a_table (n bigint)")
    with pytest.raises(ConfigurationError, match="0001_a_table of the schema acme was applied with other content"):
        Warehouse().migrate_own("acme", own)
    (own / "0001_a_table.sql").rename(own / "0001_renamed.sql")
    with pytest.raises(ConfigurationError, match="migration 1 named '0001_a_table', here it is '0001_renamed'"):
        Warehouse().migrate_own("acme", own)


@pytest.mark.parametrize("schema", ["fba", "public", "pg_acme", "Acme", "a.b", 'a"b', ""])
def test_ones_own_schema_is_neither_ours_nor_postgresqls(warehouse_url, own, schema):
    with pytest.raises(ConfigurationError, match="cannot be kept in a schema"):
        Warehouse().migrate_own(schema, own)


def test_files_that_are_no_migrations_are_named(warehouse_url, own):
    (own / "0003_twice.sql").write_text("SELECT 1")
    with pytest.raises(ConfigurationError, match=r"0003_twice.sql: 0003_another.sql beside it has the same number"):
        Warehouse().migrate_own("acme", own)
    (own / "0003_twice.sql").rename(own / "4.sql")
    with pytest.raises(ConfigurationError, match=r"4.sql: a migration is named like 0001_a_table.sql"):
        Warehouse().migrate_own("acme", own)
    with pytest.raises(ConfigurationError, match="nowhere has no migrations"):
        Warehouse().migrate_own("acme", own / "nowhere")
    with psycopg.connect(warehouse_url) as db:
        assert db.execute("SELECT to_regnamespace('acme')").fetchone() == (None,)


def test_what_cannot_be_is_put_right_when_a_warehouse_is_upgraded(old_warehouse):
    """Times that no calendar has and prices that are no numbers: version 8 refuses them, and older ones let them in."""
    url = old_warehouse(7)
    with psycopg.connect(url) as db:
        db.execute(
            "INSERT INTO fba.fulfillment_request (store, fr_number, created_at, resolved_at) VALUES"
            " ('amazon_us', 'INF', 'infinity', NULL), ('amazon_us', 'OLD', '0001-01-01', NULL), ('amazon_us', 'OK', '2026-01-05', '9999-01-01')"
        )
        db.execute("INSERT INTO fba.fulfillment_request_item VALUES ('amazon_us', 'OK', 1, 'A', 1, 'NaN')")
        db.execute(
            "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count, finished_at)"
            " VALUES ('amazon_us', 'd', gen_random_uuid(), 'r', 1, '9999-12-31')"
        )
    Warehouse().migrate()
    with psycopg.connect(url) as db:
        rows = db.execute(
            "SELECT fr_number, status, status_reason LIKE 'created_at was %', created_at > now() - interval '1 minute', resolved_at IS NULL"
            " FROM fba.fulfillment_request WHERE fr_number <> 'FR-1' ORDER BY fr_number"
        ).fetchall()
        assert rows == [
            ("INF", "invalid", True, True, False),
            ("OK", "pending", None, False, True),
            ("OLD", "invalid", True, True, False),
        ]
        assert db.execute("SELECT unit_price FROM fba.fulfillment_request_item WHERE fr_number = 'OK'").fetchone() == (
            None,
        )
        assert db.execute("SELECT finished_at FROM fba.feed").fetchone() == (None,)


def test_columns_that_may_be_a_buyers_are_gone_after_an_upgrade(old_warehouse):
    """Version 19 keeps nothing that the shipments report is not known to have; earlier ones kept whatever came."""
    url = old_warehouse(17)
    kept = {
        "A": {"Ship Address 1": "77 Hidden Lane", "payments-date": "soon"},
        "B": {"phone": "206"},
        "C": {"purchase-date": "x"},
    }
    with psycopg.connect(url) as db:
        for key, extra in {**kept, "D": None}.items():
            db.execute(
                "INSERT INTO fba.amazon_fulfilled_shipments_report (store, item_key, report_id, report_requested_at, line_number,"
                " amazon_order_id, shipment_date, sku, quantity_shipped, extra)"
                " VALUES ('amazon_us', %s, 'R', '2026-01-02', 2, 'S01-1', '2026-01-02', 'A', 1, %s)",
                (key, extra and Jsonb(extra)),
            )
    Warehouse().migrate()
    with psycopg.connect(url) as db:
        rows = db.execute("SELECT item_key, extra FROM fba.amazon_fulfilled_shipments_report").fetchall()
    assert dict(rows) == {"A": {"payments-date": "soon"}, "B": None, "C": {"purchase-date": "x"}, "D": None}


def test_requests_in_flight_know_their_feed_after_an_upgrade(old_warehouse):
    url = old_warehouse(7)
    with psycopg.connect(url) as db:
        for status in ("sending", "submitted"):
            db.execute("UPDATE fba.fulfillment_request SET status = %s", (status,))
        db.execute(
            "INSERT INTO fba.feed (store, document_id, claim_id, run_id, message_count)"
            " VALUES ('amazon_us', 'd', '22222222-2222-4222-8222-222222222222', 'r', 1)"
        )
        db.execute("INSERT INTO fba.feed_message VALUES ('amazon_us', 'd', 1, 'FR-1')")
    Warehouse().migrate()
    with psycopg.connect(url) as db:
        (claim_id,) = db.execute("SELECT claim_id::text FROM fba.fulfillment_request").fetchone()
        assert claim_id == "22222222-2222-4222-8222-222222222222"
