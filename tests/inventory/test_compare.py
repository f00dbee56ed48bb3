"""Reports are compared with what was applied before: nothing is written twice, and nothing is missed."""

from __future__ import annotations

import contextlib
import random

import psycopg
import pytest
from cryptography.fernet import Fernet
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import Download
from fba_operators.errors import DecisionNeededError, UnreadableDocumentError
from fba_operators.inventory import applied, update_pool
from fba_operators.reports.document import Document
from fba_operators.reports.ledger import RawReport
from fba_operators.runs.retention import remove_expired
from fba_operators.settings.models import Retention
from fba_operators.warehouse.encryption import decrypt
from fba_operators.warehouse.statements import execute
from tests.helpers import as_product
from tests.inventory.documents import AFN_HEADER, COPIES, HEADER, Pairs, listing, stock
from tests.stores import AFN, LISTINGS, STORE

pytestmark = pytest.mark.usefixtures("no_real_sleep")

SKUS = [f"SKU-{n}" for n in range(8)]
LISTED = [listing(sku, f"Title {sku}") for sku in SKUS]
STOCKED = [stock(sku, n + 1) for n, sku in enumerate(SKUS)]
LISTINGS_COPY, AFN_COPY = COPIES.values()


def text(header, lines):
    return header + "".join(lines)


BOTH = text(HEADER, LISTED), text(AFN_HEADER, STOCKED)


@pytest.fixture
def pairs(amazon, warehouse, sql):
    return Pairs(warehouse, sql)


@pytest.fixture
def parsed(monkeypatch):
    """The lines of documents that were read."""
    lines = []
    blocks = Document.blocks

    def counted(self):
        for block in blocks(self):
            lines.append(len(block))
            yield block

    monkeypatch.setattr(Document, "blocks", counted)
    return lines


# --- equal documents -------------------------------------------------------------------------------------------------


def test_equal_documents_are_recorded_and_not_read(pairs, sql, parsed):
    first = pairs.apply(*BOTH)
    before = pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]
    parsed.clear()
    ids = pairs.add(*BOTH)
    assert pairs.merge(ids) == {**first, "changed": 0}
    assert parsed == []
    assert (pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]) == before
    rows = sql(
        "SELECT row_count, rejected_row_count, applied_at IS NOT NULL FROM fba.report WHERE report_id = ANY(%s)",
        list(ids.values()),
    )
    assert rows.fetchall() == [(8, 0, True), (8, 0, True)]
    assert sql("SELECT outcome, rows_in, rows_changed FROM fba.run").fetchone() == ("success", 16, 0)


def test_equal_documents_report_the_same_oddities_again(pairs, sql, stores_file):
    stores_file("stores: {amazon_us: {inventory: {max_rejected_share: 0.5}}}")
    odd = (
        text(HEADER, [*LISTED, listing("SKU-9", quantity="many")]),
        text(AFN_HEADER, [*STOCKED, stock("SKU-1", 1, "PECULIAR")]),
    )
    pairs.apply(*odd)
    query = "SELECT attention, rows_rejected, regexp_replace(summary, '^[^\n]*\n(Both[^\n]*\n)?', '') FROM fba.run"
    before = sql(query).fetchone()
    ids = pairs.add(*odd)
    pairs.merge(ids)
    assert sql(query).fetchone() == before
    assert before[0] == {"rejected_lines": 1, "not_added_skus": 1, "report_drift": 1}
    assert sql("SELECT line_number, sku FROM fba.rejected_row WHERE report_id = %s", ids[LISTINGS]).fetchall() == [
        (10, "SKU-9")
    ]


@pytest.mark.parametrize(
    ("listings", "afn", "level"),
    [
        (BOTH[0], BOTH[1], 0),  # the same text, zipped otherwise
        (BOTH[0] + "\n\n", BOTH[1], 6),
        (BOTH[0].replace("\n", "\r\n"), BOTH[1], 6),
        (text(HEADER, LISTED[::-1]), text(AFN_HEADER, STOCKED[::-1]), 6),
    ],
)
def test_the_same_lines_are_recorded_and_not_read(pairs, sql, parsed, listings, afn, level):
    first = pairs.apply(*BOTH)
    before = pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]
    parsed.clear()
    ids = pairs.add(listings, afn, level=level)
    assert pairs.merge(ids) == {**first, "changed": 0}
    assert parsed == []
    assert (pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]) == before
    assert sql("SELECT row_count FROM fba.report WHERE report_id = ANY(%s)", list(ids.values())).fetchall() == [
        (8,),
        (8,),
    ]


@pytest.mark.parametrize(
    "listings",
    [
        text(HEADER, LISTED[:-1]),
        text(HEADER, [*LISTED, LISTED[0]]),
        text(HEADER, [*LISTED[:-1], LISTED[0]]),
        text(HEADER, [*LISTED, "one field\n"]),
        text(HEADER, [*LISTED[:-1], LISTED[-1].replace("Title", "Ti\0tle")]),
        text(HEADER.replace("item-name", "Artikelbezeichnung"), LISTED),
        text("quantity\tseller-sku\tfulfillment-channel\titem-name\tprice\n", LISTED),
    ],
)
def test_almost_the_same_lines_are_read(pairs, parsed, stores_file, listings):
    stores_file("stores: {amazon_us: {inventory: {max_rejected_share: 0.9}}}")
    pairs.apply(*BOTH)
    parsed.clear()
    with contextlib.suppress(DecisionNeededError):
        pairs.apply(listings, BOTH[1])
    assert parsed


def test_the_time_in_a_gzip_header_makes_no_other_document():
    one, other = b"\x1f\x8b\x08\x00\x01\x02\x03\x04\x00\x03abc", b"\x1f\x8b\x08\x00\x09\x09\x09\x09\x00\x03abc"
    for cut in range(len(one)):
        assert RawReport([one[:cut], one[cut:]], "UTF-8").digest == RawReport([other], "UTF-8").digest
    assert RawReport([one], None).digest != RawReport([one], "UTF-8").digest
    assert RawReport([one], None).digest != RawReport([one[:-1] + b"d"], None).digest


@pytest.mark.parametrize("how", ["settings", "code", "trigger off", "another program's report", "no record"])
def test_equal_documents_are_read_again_where_something_else_differs(pairs, sql, parsed, stores_file, monkeypatch, how):
    pairs.apply(*BOTH)
    parsed.clear()
    if how == "settings":
        stores_file("stores: {amazon_us: {inventory: {include_fbm_quantity: true}}}")
    elif how == "code":
        monkeypatch.setattr(applied, "_code_digest", lambda: b"of another version")
    elif how == "trigger off":
        sql(f"ALTER TABLE fba.{AFN_COPY} DISABLE TRIGGER count_stock_edit")
    elif how == "another program's report":
        ids = pairs.add(*BOTH)
        sql("UPDATE fba.report SET applied_at = now() + interval '1 second' WHERE report_id = %s", ids[AFN])
    else:
        sql("DELETE FROM fba.applied_stock")
    assert pairs.apply(*BOTH)["changed"] == 0
    assert parsed == [8, 8]


def test_equal_documents_are_merged_again_while_the_pool_waits_for_a_second_pair(pairs, parsed, sql):
    """Stock that no report states any more becomes 0 with the second pair, which may be equal to the first."""
    pairs.apply(*BOTH)
    fewer = text(HEADER, LISTED[1:]), text(AFN_HEADER, STOCKED[1:])
    pairs.apply(*fewer)
    assert dict(pairs.pool("sku, fba_quantity"))["SKU-0"] == 1
    pairs.apply(*fewer)
    assert dict(pairs.pool("sku, fba_quantity"))["SKU-0"] == 0
    parsed.clear()
    pairs.apply(*fewer)  # the last pair still wrote, by age and not by what the reports say
    assert pairs.apply(*fewer)["changed"] == 0
    assert len(parsed) <= 2


def test_an_accepted_refusal_is_not_taken_for_the_rule(pairs):
    pairs.apply(*BOTH)
    none = BOTH[0], AFN_HEADER
    with pytest.raises(DecisionNeededError):
        pairs.apply(*none)
    pairs.apply(*none, accept_zeroed_stock=True)
    with pytest.raises(DecisionNeededError):
        pairs.apply(*none)


# --- edits by hand ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("changed", [False, True])
@pytest.mark.parametrize(
    "edit",
    [
        "UPDATE fba.global_inventory_pool SET quantity = 99, fba_quantity = 99 WHERE sku = 'SKU-3'",
        "UPDATE fba.global_inventory_pool SET title = 'wrong' WHERE sku = 'SKU-3'",
        "DELETE FROM fba.global_inventory_pool WHERE sku = 'SKU-3'",
        "TRUNCATE fba.global_inventory_pool",
        "UPDATE fba.amazon_all_listings_report SET item_name = 'wrong' WHERE seller_sku = 'SKU-3'",
        "UPDATE fba.amazon_afn_inventory_report SET quantity_available = '99' WHERE seller_sku = 'SKU-3'",
        "DELETE FROM fba.amazon_afn_inventory_report WHERE seller_sku = 'SKU-3'",
        "INSERT INTO fba.amazon_all_listings_report (store, report_id, line_number, seller_sku) VALUES ('amazon_us', 'mine', 2, 'GHOST')",
        "TRUNCATE fba.amazon_all_listings_report",
        "SET session_replication_role = replica; UPDATE fba.global_inventory_pool SET quantity = 99; RESET session_replication_role",
    ],
)
def test_what_was_edited_by_hand_is_put_right_by_the_next_run(pairs, sql, edit, changed):
    pairs.apply(*BOTH)
    right = pairs.pool(), pairs.copies()
    for statement in edit.split("; "):
        sql(statement)
    assert (pairs.pool(), pairs.copies()) != right
    pairs.apply(BOTH[0], BOTH[1] + "\n" * changed)
    assert (pairs.pool(), pairs.copies()) == right


def test_an_edit_that_is_committed_only_after_a_run_is_put_right_by_the_one_after_it(pairs, sql, warehouse_url):
    pairs.apply(*BOTH)
    right = pairs.pool()
    with psycopg.connect(warehouse_url) as somebody:
        somebody.execute("UPDATE fba.global_inventory_pool SET quantity = 99, fba_quantity = 99 WHERE sku = 'SKU-3'")
        pairs.apply(BOTH[0], BOTH[1] + "\n")
        somebody.commit()
    assert pairs.pool() != right
    pairs.apply(BOTH[0], BOTH[1] + "\n")
    assert pairs.pool() == right


def test_rows_without_a_digest_are_written_anew(pairs, sql, warehouse_url):
    """As an earlier version leaves them."""
    pairs.apply(*BOTH)
    right = pairs.copies()
    with psycopg.connect(warehouse_url) as db:
        as_product(db).execute(
            "UPDATE fba.amazon_all_listings_report SET line_digest = NULL, item_name = 'old' WHERE seller_sku = 'SKU-2'"
        )
    pairs.apply(BOTH[0] + "\n", BOTH[1])
    assert pairs.copies() == right


# --- lines that differ -----------------------------------------------------------------------------------------------


def written(pairs, table, before):
    """Which rows a run has written, and which it has deleted."""
    after = pairs.versions(table)
    return {key for key, writer in after.items() if before.get(key) != writer}, set(before) - set(after)


def test_a_line_inserted_at_the_top_is_the_only_one_written(pairs):
    first = pairs.add(*BOTH)
    pairs.merge(first)
    before = pairs.versions(LISTINGS_COPY)
    second = pairs.add(text(HEADER, [listing("SKU-NEW"), *LISTED]), BOTH[1])
    assert pairs.merge(second)["changed"] == 1
    assert written(pairs, LISTINGS_COPY, before) == ({(second[LISTINGS], 2)}, set())


def test_lines_in_another_order_write_nothing(pairs):
    pairs.apply(*BOTH)
    before = [pairs.versions(table) for table in COPIES.values()], pairs.pool("*")
    lines = random.Random(1).sample(LISTED, len(LISTED))
    assert pairs.apply(text(HEADER, lines), text(AFN_HEADER, STOCKED[::-1]))["changed"] == 0
    assert ([pairs.versions(table) for table in COPIES.values()], pairs.pool("*")) == before


def test_a_changed_line_replaces_the_one_before(pairs, sql):
    first = pairs.add(*BOTH)
    pairs.merge(first)
    before = pairs.versions(LISTINGS_COPY)
    second = pairs.add(text(HEADER, [*LISTED[:4], listing("SKU-4", "Another title"), *LISTED[5:]]), BOTH[1])
    assert pairs.merge(second)["changed"] == 1
    assert written(pairs, LISTINGS_COPY, before) == ({(second[LISTINGS], 6)}, {(first[LISTINGS], 6)})
    assert dict(pairs.pool("sku, title"))["SKU-4"] == "Another title"


def test_as_many_equal_lines_are_kept_as_there_are(pairs, sql):
    line = listing("SKU-3", "Title SKU-3")
    count = f"SELECT count(*) FROM fba.{LISTINGS_COPY} WHERE seller_sku = 'SKU-3'"
    for times in (2, 3, 1, 2):
        pairs.apply(text(HEADER, [*LISTED[:3], *LISTED[4:], *[line] * times]), BOTH[1])
        assert sql(count).fetchone() == (times,)


def test_half_a_digest_in_common_is_another_line(pairs, sql, monkeypatch):
    """A 64-bit collision can be made; it must not make one line pass for another."""
    from fba_operators.reports.document import Block

    true = Block.digests.func

    def collide(self):
        digests = true(self)
        each = [digests[n : n + 16] for n in range(0, len(digests), 16)]
        return b"".join(
            b"8 bytes!" + one[8:] if b"SKU-A" in line else one for line, one in zip(self.lines, each, strict=True)
        )

    monkeypatch.setattr(Block, "digests", property(collide))
    one, other = listing("SKU-A", "One"), listing("SKU-A", "Other")
    pairs.apply(text(HEADER, [*LISTED, one]), BOTH[1])
    pairs.apply(text(HEADER, [*LISTED, other]), BOTH[1])
    assert dict(pairs.pool("sku, title"))["SKU-A"] == "Other"


def test_a_replay_of_a_report_whose_lines_are_still_there(pairs):
    first = pairs.add(*BOTH)
    pairs.merge(first)
    right = pairs.copies()
    pairs.apply(text(HEADER, [LISTED[0], *LISTED[2:]]), BOTH[1])
    pairs.merge(first, replay=True)
    assert pairs.copies() == right


@pytest.mark.parametrize(
    "bad", [text(HEADER, [*LISTED, HEADER, *LISTED]), text(HEADER, [*LISTED * 2]), text(HEADER, LISTED[:3])]
)
def test_a_refusal_leaves_copies_and_pool_as_they_were(pairs, sql, bad):
    pairs.apply(*BOTH)
    before = pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]
    afn = BOTH[1] if bad.count(LISTED[5]) != 0 else text(AFN_HEADER, STOCKED[:1])
    with pytest.raises((UnreadableDocumentError, DecisionNeededError)):
        pairs.apply(bad, afn)
    assert (pairs.pool("*"), [pairs.versions(table) for table in COPIES.values()]) == before


def test_a_sku_that_was_held_gets_its_title_when_it_is_free(pairs, sql, stores_file):
    """Its line was there before, so the line alone does not say that the pool lacks it."""
    stores_file("stores: {amazon_us: {inventory: {max_rejected_share: 0.5}}}")
    pairs.apply(*BOTH)
    renamed = text(HEADER, [listing("SKU-0", "New title"), *LISTED[1:]])
    pairs.apply(renamed, text(AFN_HEADER, [stock("SKU-0", "many"), *STOCKED[1:]]))
    assert dict(pairs.pool("sku, title"))["SKU-0"] == "Title SKU-0"
    pairs.apply(renamed, BOTH[1])
    assert dict(pairs.pool("sku, title"))["SKU-0"] == "New title"


def test_the_title_follows_the_first_of_two_rows(pairs):
    """Both lines were there before; which one counts is a matter of their order, or of which is left."""
    one, two = listing("SKU-0", "One"), listing("SKU-0", "Two")
    for lines, title in (([one, two], "One"), ([two, one], "Two"), ([one], "One"), ([one, two], "One"), ([two], "Two")):
        pairs.apply(text(HEADER, [*lines, *LISTED[1:]]), BOTH[1])
        assert dict(pairs.pool("sku, title"))["SKU-0"] == title


def test_a_document_in_another_charset_than_it_began_in_is_read_again(pairs, sql, warehouse):
    """Half of it could be UTF-8; then it is not. Nothing that was copied before stays."""
    import gzip

    from fba_operators.reports import document
    from fba_operators.warehouse.encryption import encrypt

    block = document.BLOCK_BYTES
    filler = "x" * 1000
    lines = [listing("SKU-0", "Ã©")] + [listing(f"F-{n}", filler) for n in range(block // 1000 + 10)]
    lines += [listing(f"C-{n}", "Café") for n in range(5)]
    ids = pairs.add(text(HEADER, lines), BOTH[1])
    with warehouse.connect() as db:
        content = encrypt(gzip.compress(text(HEADER, lines).encode("cp1252")))
        db.execute(
            "UPDATE fba.report_document SET content = %s, charset = 'Cp1252' WHERE report_id = %s",
            (content, ids[LISTINGS]),
        )
    pairs.merge(ids)
    assert sql(f"SELECT count(*) FROM fba.{LISTINGS_COPY}").fetchone() == (len(lines),)
    titles = dict(pairs.pool("sku, title"))
    assert (titles["SKU-0"], titles["C-4"]) == ("Ã©", "Café")


# --- raw copies ------------------------------------------------------------------------------------------------------


@pytest.fixture
def downloads(pairs, sql, monkeypatch):
    """Make a pair as if its reports were downloaded only now."""

    def serve(hook, document_id):
        return Download("UTF-8", iter([bytes.fromhex(document_id)]))

    monkeypatch.setattr(SellingPartnerHook, "download_report", serve)

    def add(*texts):
        ids = pairs.add(*texts)
        for report_id in ids.values():
            (content,) = sql(
                "DELETE FROM fba.report_document WHERE report_id = %s RETURNING content", report_id
            ).fetchone()
            sql(
                "UPDATE fba.report SET document_id = %s, requested_at = now() WHERE report_id = %s",
                decrypt(content).hex(),
                report_id,
            )
        return ids

    return add


def stored(sql):
    return [report_id for (report_id,) in sql("SELECT DISTINCT report_id FROM fba.report_document ORDER BY 1")]


def test_equal_documents_are_stored_once_and_each_can_be_replayed(pairs, downloads, sql):
    first = downloads(*BOTH)
    pairs.merge(first)
    sql("UPDATE fba.report_document SET stored_at = now() - interval '29 days'")
    second = downloads(*BOTH)
    pairs.merge(second)
    assert stored(sql) == list(first.values())
    assert sql("SELECT min(stored_at) > now() - interval '1 day' FROM fba.report_document").fetchone() == (True,)
    assert pairs.merge(second, replay=True)["changed"] == 0
    # The older report goes with its age, the raw copy stays for the younger one.
    sql("UPDATE fba.report SET requested_at = '2024-01-01' WHERE report_id = ANY(%s)", list(first.values()))
    remove_expired(pairs.warehouse, Retention())
    assert sql("SELECT count(*) FROM fba.report").fetchone() == (2,)
    assert pairs.merge(second, replay=True)["changed"] == 0
    sql("DELETE FROM fba.report_document")
    pairs.merge(second, replay=True)
    assert stored(sql) == list(second.values())


@pytest.mark.parametrize("why", ["another text", "another charset", "a week old", "a lost key", "no copy"])
def test_a_raw_copy_that_is_not_equal_or_may_be_lost_is_not_shared(pairs, downloads, sql, monkeypatch, why):
    first = downloads(*BOTH)
    pairs.merge(first)
    if why == "a week old":
        sql("UPDATE fba.report SET requested_at = now() - interval '8 days'")
    elif why == "a lost key":
        sql("UPDATE fba.report_document SET content = %s", Fernet(Fernet.generate_key()).encrypt(b"x"))
    elif why == "no copy":
        sql("DELETE FROM fba.report_document")
    elif why == "another charset":
        serve = SellingPartnerHook.download_report
        monkeypatch.setattr(
            SellingPartnerHook, "download_report", lambda *which: Download("ascii", serve(*which).chunks)
        )
    second = downloads(*(BOTH if why != "another text" else (BOTH[0] + "\n", BOTH[1] + "\n")))
    pairs.merge(second)
    assert set(second.values()) <= set(stored(sql))
    assert pairs.merge(second, replay=True)["changed"] == 0


def test_readers_see_the_report_before_until_the_one_after_is_whole(pairs, sql, monkeypatch):
    pairs.apply(*BOTH)
    before = pairs.copies(), pairs.pool()
    seen = []
    write = update_pool.write_unconfirmed

    def look(*arguments):
        seen.append((pairs.copies(), pairs.pool()))
        write(*arguments)

    monkeypatch.setattr(update_pool, "write_unconfirmed", look)
    pairs.apply(text(HEADER, [*LISTED[1:], listing("SKU-NEW")]), text(AFN_HEADER, [stock("SKU-0", 5), *STOCKED[1:]]))
    assert seen == [before]
    assert (pairs.copies(), pairs.pool()) != before


# --- any sequence ----------------------------------------------------------------------------------------------------

LINE = st.builds(
    listing,
    st.sampled_from(SKUS),
    st.sampled_from(["One", "Two", "Drei ü"]),
    st.sampled_from(["", "3", "4", "many"]),
    st.sampled_from(["AMAZON_NA", "DEFAULT"]),
)
STOCK_LINE = st.builds(
    stock, st.sampled_from(SKUS), st.sampled_from([0, 2, 5, "many"]), st.sampled_from(["SELLABLE", "UNSELLABLE"])
)


def documents(lines, last):
    """Documents of five lines and more, one line at most twice, the last of a SKU of its own so that none is empty."""
    return st.tuples(
        st.lists(lines, min_size=3, max_size=9, unique=True), st.integers(0, 3), st.permutations(range(6))
    ).map(lambda made: [*made[0], *made[0][: made[1] == 0], *last])


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.lists(
        st.tuples(
            documents(LINE, [listing("LAST", "Last", "1", "DEFAULT"), listing("FBA")]),
            documents(STOCK_LINE, [stock("FBA", 9)]),
        ),
        min_size=2,
        max_size=5,
    ),
    st.booleans(),
)
def test_any_sequence_of_documents_gives_what_the_last_one_alone_gives(pairs, stores_file, sequence, again):
    stores_file(
        "stores: {amazon_us: {inventory: {max_rejected_share: 0.9, confirm_vanished: false, max_zeroed_share: 1.0,"
        " max_vanished_share: 1.0, include_fbm_quantity: true}}}"
    )
    texts = [(text(HEADER, listed), text(AFN_HEADER, stocked)) for listed, stocked in sequence]
    texts += [texts[-1]] * again
    pairs.forget()
    for each in texts:
        pairs.apply(*each)
    copies, pool = pairs.copies(), {row[0]: row for row in pairs.pool()}
    for table in COPIES.values():  # every row is the line that its key names
        for report_id, number, sku in pairs.sql(
            f"SELECT report_id, line_number, seller_sku FROM fba.{table}"
        ).fetchall():
            of_run = texts[int(report_id) % 1_000_000 - (pairs.count - len(texts)) - 1]
            document = of_run[table == AFN_COPY]
            assert document.split("\n")[number - 1].split("\t")[0] == sku
    pairs.forget()
    pairs.apply(*texts[-1])
    assert pairs.copies() == copies
    held = {
        line.split("\t")[0] for document in texts[-1] for line in document.split("\n") if "many" in line.split("\t")[1:]
    }
    listed = {line.split("\t")[0] for line in texts[-1][0].split("\n")}
    for row in pairs.pool():
        if row[0] not in held:
            assert (pool[row[0]] if row[0] in listed else pool[row[0]][4:]) == (row if row[0] in listed else row[4:])


def test_of_partitioned_tables_every_report_is_compared(warehouse, sql):
    """An edit of one partition fires no trigger of the whole table."""

    def watched():
        with warehouse.connect() as db:
            (row,) = execute(db, "inventory.applied", store=STORE, report_types=[]).fetchall()
        return row["watched"]

    assert watched() is True
    sql("CREATE TABLE fba.part_of_the_pool () INHERITS (fba.global_inventory_pool)")
    assert watched() is False
