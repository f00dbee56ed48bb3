"""Documents: any bytes become rows and rejected lines; nothing is lost or changed."""

from __future__ import annotations

import gzip
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.errors import (
    DocumentError,
    EmptyDocumentError,
    MissingColumnsError,
    UnreadableDocumentError,
)
from fba_operators.reports.document import Document
from fba_operators.reports.report_types import AFN_INVENTORY, FULFILLED_SHIPMENTS, LISTINGS
from fba_operators.reports.rows import BLANK
from tests.reports.documents import AFN_HEADER, HEADER, UK_LISTINGS, copied_rows, document, only_block

# --- sample documents ------------------------------------------------------------------------------------------------


def test_listings_in_english():
    doc = document(UK_LISTINGS)
    block = only_block(doc)
    assert (doc.charset, doc.line_count) == ("utf-8", 2)
    assert block.skus == ["1234567", "NA"]
    assert block.quantities.tolist() == [1, BLANK]
    assert block.kinds == ["DEFAULT", "AMAZON_EU"]
    assert block.line_numbers.tolist() == [2, 3]
    assert block.column("item_name") == ["Vest", 'Mug 12" "large"']
    assert block.column("status") == ["Active", "Active"]
    assert doc.copy_columns == ("line_number", *LISTINGS.columns)
    assert block.copy_text(b"50%\t").split(b"\n")[0].startswith(b"50%\t2\tVest\t\t0708QHIDPCS\t1234567\t20\t1\t")


def test_listings_in_german_cp1252():
    data = (
        "Artikelbezeichnung\tHändler-SKU\tMenge\tVersender\tHinzufügen/Löschen\r\n"
        "Kaffeemühle – grün\tSKU-DE-1\t5\tDEFAULT\t\r\n"
    ).encode("cp1252")
    doc = document(data, charset="Cp1252")
    assert doc.charset == "cp1252"
    assert copied_rows(doc) == [
        {
            "line_number": "2",
            "item_name": "Kaffeemühle – grün",
            "seller_sku": "SKU-DE-1",
            "quantity": "5",
            "fulfillment_channel": "DEFAULT",
            "add_delete": "",
        }
    ]


def test_listings_in_chinese_with_repeated_names():
    header = "商品名称\t商品描述\t商品编码\t卖家 SKU\t数量\t不适用项目\t不适用项目\t商品编码\t配送渠道\t不适用项目"
    doc = document(f"{header}\n杯\t\tL-1\tSKU-1\t3\ta\tb\tP-1\tAMAZON_NA\tc\n".encode())
    (row,) = copied_rows(doc)
    assert (row["listing_id"], row["product_id"]) == ("L-1", "P-1")
    assert row["extra"] == {"不适用项目": "a", "不适用项目 2": "b", "不适用项目 3": "c"}


@pytest.mark.parametrize(
    ("header", "quantity", "pending"),
    [
        ("出品者SKU\t在庫数\tフルフィルメント・チャンネル\t数量", "7", "3"),
        ("出品者SKU\t数量\tフルフィルメント・チャンネル\t在庫数", "3", "7"),
    ],
)
def test_japanese_stock_column_is_pending_beside_a_quantity_column(header, quantity, pending):
    block = only_block(document(f"{header}\nS\t3\tDEFAULT\t7\n".encode("cp932"), charset="Shift_JIS", usual="cp932"))
    assert (block.column("quantity"), block.column("pending_quantity")) == ([quantity], [pending])


def test_a_name_whose_meanings_are_all_taken_is_an_extra_column():
    data = "出品者SKU\t数量\tpending-quantity\t在庫数\tフルフィルメント・チャンネル\nS\t3\t0\t9\tDEFAULT\n"
    (row,) = copied_rows(document(data.encode()))
    assert (row["quantity"], row["pending_quantity"], row["extra"]) == ("3", "0", {"在庫数": "9"})


def test_japanese_stock_column_alone_is_the_quantity():
    data = "出品者SKU\t在庫数\tフルフィルメント・チャンネル\nS\t3\tDEFAULT\n".encode("cp932")
    assert only_block(document(data, usual="cp932")).quantities.tolist() == [3]


def test_afn_inventory():
    data = (
        f"{AFN_HEADER}\r\n"
        "SKU-US-1\tX000EXAMP1\tB000EXAMP1\tNew\tSELLABLE\t17\t\r\n"
        "SKU-US-1\t\tB000EXAMP1\tNew\tUNSELLABLE\t2\r\n"
        "SKU-US-2\tX000EXAMP2\tB000EXAMP2\tNew\tSELLABLE\t\r\n"
        "SKU-US-3\tX000EXAMP3\tB000EXAMP3\tNew\t\t4\r\n"
    ).encode()
    block = only_block(document(data, AFN_INVENTORY))
    assert block.skus == ["SKU-US-1", "SKU-US-1"]
    assert block.kinds == ["SELLABLE", "UNSELLABLE"]
    assert block.quantities.tolist() == [17, 2]
    assert [(each.line_number, each.sku) for each in block.rejected] == [(4, "SKU-US-2"), (5, "SKU-US-3")]


def test_shipments_leave_buyer_and_address_out():
    columns = (*FULFILLED_SHIPMENTS.amazon_columns, "buyer-tax-number", "warehouse-note")
    row = {name: f"<{name}>" for name in columns} | {"quantity-shipped": "2"}
    data = "\t".join(columns) + "\n" + "\t".join(row.values()) + "\n"
    doc = document(data.encode(), FULFILLED_SHIPMENTS)
    (block,) = doc.blocks()
    text = block.copy_text().decode()
    assert not re.search("<(buyer|recipient|bill|ship-(address|city|state|postal|country|phone))", text)
    (found,) = copied_rows(doc)
    assert doc.header.left_out == ("buyer-tax-number", "warehouse-note")
    assert (found["ship_service_level"], found["points_granted"]) == ("<ship-service-level>", "<points-granted>")
    assert set(doc.copy_columns) == {"line_number", *FULFILLED_SHIPMENTS.columns} - FULFILLED_SHIPMENTS.personal


@settings(max_examples=60, deadline=None)
@given(st.permutations(range(len(FULFILLED_SHIPMENTS.columns))), st.integers(0, 3))
def test_buyer_and_address_are_left_out_wherever_they_stand(order, lines):
    names = [FULFILLED_SHIPMENTS.amazon_columns[place] for place in order]
    columns = [FULFILLED_SHIPMENTS.columns[place] for place in order]
    number, time = "quantity_shipped", "shipment_date"
    rows = [[{number: f"{n}", time: "2026-10-01"}.get(each, f"{each} {n}") for each in columns] for n in range(lines)]
    doc = document("".join("\t".join(line) + "\n" for line in [names, *rows]).encode(), FULFILLED_SHIPMENTS)
    kept = [(place, each) for place, each in enumerate(columns) if each not in FULFILLED_SHIPMENTS.personal]
    assert copied_rows(doc) == [
        {"line_number": str(n), **{each: row[place] for place, each in kept}} for n, row in enumerate(rows, start=2)
    ]


def test_a_shipments_document_without_header_shows_no_buyer():
    with pytest.raises(MissingColumnsError) as caught:
        document(b"111-1\tjane@example.com\tJane Doe\n", FULFILLED_SHIPMENTS)
    assert "Jane" not in str(caught.value)


AFN_TEXT = (
    "seller-sku\tasin\tWarehouse-Condition-code\tQuantity Available\r\nA\tB1\tSELLABLE\t1234\r\nB\tB2\tSELLABLE\t1234"
)


@pytest.mark.parametrize(("cut", "sku"), [(0, "B"), (2, "B"), (4, "B"), (6, None), (17, None)])
@pytest.mark.parametrize("block_bytes", [1, 4 << 20])
def test_a_last_line_without_its_end_is_not_believed(cut, sku, block_bytes):
    """Its last number may be a part of one."""
    data = AFN_TEXT[: len(AFN_TEXT) - cut].encode()
    doc = document(data, AFN_INVENTORY, block_bytes=block_bytes)
    blocks = list(doc.blocks())
    assert [each for block in blocks for each in block.skus] == ["A"]
    assert [(each.line_number, each.sku) for block in blocks for each in block.rejected] == [(3, sku)]
    assert doc.line_count == 2
    whole = list(document((AFN_TEXT + "\r\n").encode(), AFN_INVENTORY).blocks())
    assert [each for block in whole for each in block.skus] == ["A", "B"]


def test_of_a_torn_line_that_ends_within_the_sku_no_sku_is_known():
    data = b"quantity\tfulfillment-channel\tseller-sku\n1\tDEFAULT\tA\n1\tDEFAULT\tLONG-SK"
    (block,) = document(data).blocks()
    assert block.skus == ["A"]
    assert [each.sku for each in block.rejected] == [None]


@pytest.mark.parametrize(
    ("rows", "repeated"),
    [
        ("ABAB", [(2, 0), (3, 1)]),
        ("ABABAB", [(2, 0), (3, 1), (4, 0), (5, 1)]),
        ("AABAAB", [(3, 0), (4, 1), (5, 2)]),
        ("AA", []),
        ("AAAA", []),
        ("ABA", []),
        ("ABAC", []),
        ("AABB", []),
    ],
)
def test_of_rows_that_may_be_equal_only_a_whole_body_that_comes_again_is_a_repeat(rows, repeated):
    columns = FULFILLED_SHIPMENTS.columns
    lines = [[{"quantity_shipped": "1"}.get(each, row) for each in columns] for row in rows]
    text = "".join("\t".join(line) + "\n" for line in [FULFILLED_SHIPMENTS.amazon_columns, *lines])
    doc = document(text.encode(), FULFILLED_SHIPMENTS)
    list(doc.blocks())
    assert [tuple(each) for each in doc.repeated_rows.tolist()] == repeated


def test_no_rows_is_no_error():
    doc = document(HEADER.encode())
    assert (doc.line_count, list(doc.blocks())) == (0, [])


@pytest.mark.parametrize("data", [b"", b"\n\n\r", b"\xef\xbb\xbf", gzip.compress(b"", mtime=0)])
def test_a_document_without_a_header_is_an_error(data):
    with pytest.raises(DocumentError):
        document(data)


def test_an_empty_document_has_its_own_error():
    with pytest.raises(EmptyDocumentError):
        document(b"\n\n")


def test_a_document_that_changes_between_passes_is_detected():
    versions = [UK_LISTINGS, UK_LISTINGS + UK_LISTINGS.splitlines()[1]]
    doc = Document(lambda: [versions.pop(0)], LISTINGS, charset=None, usual_charset="cp1252")
    with pytest.raises(UnreadableDocumentError, match="2 lines came in"):
        list(doc.blocks())


# --- properties ------------------------------------------------------------------------------------------------------

CHARSETS = {
    "utf-8": ("UTF-8", "cp1252"),
    "utf-8-sig": ("Cp1252", "cp1252"),
    "cp1252": ("Cp1252", "cp1252"),
    "cp932": ("Shift_JIS", "cp932"),
    "gb18030": ("GB18030", "cp1252"),
}
SEPARATORS = {"\t", "\n"}


@st.composite
def documents(draw):
    """Rows, and a document that holds them: (columns, rows, declared charset, usual charset, bytes)."""
    encoding = draw(st.sampled_from(sorted(CHARSETS)))
    codec = encoding.removesuffix("-sig")

    def fits(text: str) -> bool:
        try:
            return text.encode(codec).decode(codec) == text and not SEPARATORS & set(text)
        except UnicodeError:
            return False

    def header_name(column: str) -> str:
        english = LISTINGS.amazon_name(column)
        names = [
            n for n in (english, *LISTINGS.aliases.get(english, ())) if fits(n) and n not in ("商品编码", "在庫数")
        ]
        return draw(st.sampled_from(names))

    optional = draw(st.sets(st.sampled_from(sorted(set(LISTINGS.columns) - set(LISTINGS.required))), max_size=6))
    columns = draw(
        st.permutations([*LISTINGS.required, *sorted(optional), *(["Mystery"] if draw(st.booleans()) else [])])
    )
    names = [column if column == "Mystery" else header_name(column) for column in columns]
    alphabet = st.sampled_from("aZ0 \",\\N\r\0\x1c\x85\u2028'éßミソ表能杯①€😀").filter(fits)
    texts = st.text(alphabet, max_size=6)
    fields = {
        "seller_sku": texts.filter(lambda text: bool(text.strip()) and "\0" not in text),
        "quantity": st.one_of(st.just(""), st.integers(0, 10**9).map(str), st.integers(0, 99).map(lambda n: f"{n}.0")),
        "fulfillment_channel": st.sampled_from(["DEFAULT", "AMAZON_NA", "AMAZON_EU"]),
    }
    row = st.tuples(*(fields.get(column, texts) for column in columns))
    rows = draw(st.lists(row, max_size=8))
    end = draw(st.sampled_from(["\n", "\r\n"]))
    tab = draw(st.sampled_from(["", "\t"]))
    text = end.join(["\t".join(names), *("\t".join(values) + tab for values in rows), ""])
    data = text.encode(encoding)
    if draw(st.booleans()):
        data = gzip.compress(data)
    return columns, rows, *CHARSETS[encoding], data


@settings(max_examples=150, deadline=None)
@given(documents(), st.integers(1, 50), st.sampled_from([1, 20, 4 << 20]))
def test_any_rows_are_read_back_unchanged(made, pieces, block_bytes):
    columns, rows, declared, usual, data = made
    doc = document(data, charset=declared, usual=usual, pieces=pieces, block_bytes=block_bytes)
    blocks = list(doc.blocks())
    assert [each for block in blocks for each in block.rejected] == []
    expected = [dict(zip(columns, (value.replace("\0", "\ufffd") for value in row), strict=True)) for row in rows]
    assert [sku for block in blocks for sku in block.skus] == [row["seller_sku"] for row in expected]
    for column in set(columns) - {"Mystery"}:
        assert [text for block in blocks for text in block.column(column)] == [row[column] for row in expected]
    found = copied_rows(doc, b"a%b\t7\t")
    for number, (got, want) in enumerate(zip(found, expected, strict=True), start=2):
        assert got.pop("line_number") == str(number)
        extra = got.pop("extra", None)
        assert extra == ({"Mystery": want.pop("Mystery")} if "Mystery" in want else None)
        assert got == want


LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"", b"\r", b"\t", b"\0", b"A\t1\tDEFAULT", b"A\t1\tDEFAULT\t", b"\xe9\t1\tDEFAULT", b"B\tx\tDEFAULT"]
        ),
    ),
    max_size=12,
)


# --- a document that is no report ------------------------------------------------------------------------------------

SENTENCE = "The date range is too long: a report of this type covers thirty days at most."


@pytest.mark.parametrize("report_type", [LISTINGS, AFN_INVENTORY, FULFILLED_SHIPMENTS])
@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r"])
def test_a_document_that_is_a_sentence_is_quoted(report_type, end):
    with pytest.raises(UnreadableDocumentError, match="no report") as caught:
        document((SENTENCE + end).encode(), report_type)
    assert str(caught.value).endswith(SENTENCE)
    assert SENTENCE not in caught.value.brief


@pytest.mark.parametrize(
    "data",
    [
        b"111-1,Wilhelmina Secret,Concealville",
        b"111-1;Wilhelmina Secret",
        b"amazon-order-id|buyer-name",
        b"order 111-1\nWilhelmina Secret\n",
        b"111-1\tsku\tWilhelmina Secret\n",
        b"sku\tcarrier\tWilhelmina Secret\n",
        b"Wilhelmina Secret Am Markt 5 Concealville",
        b"111-0000001-0000001 Wilhelmina Secret Concealville.",
    ],
)
def test_of_a_document_that_may_be_rows_with_buyers_nothing_is_quoted(data):
    with pytest.raises(UnreadableDocumentError) as caught:
        document(data, FULFILLED_SHIPMENTS)
    assert "not shown" in str(caught.value)
    assert "Wilhelmina" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        ("a\x1b[31mb\x1b[0m\r\nc\x00\x07d\x85e\u202ef".encode(), "ab c d ef"),
        ("Größe".encode("cp1252"), "Größe"),
        (("x " * 151).encode(), "x " * 149 + "x…"),
        (("ü" * 5000).encode(), "ü" * 299 + "…"),
        (b"see https://x.example/?X-Amz-Signature=1 for a@b.example", "(address removed)"),
        (b"one\n\ntwo\n", "one two"),
    ],
)
def test_of_such_a_document_300_characters_without_controls_are_shown(data, shown):
    with pytest.raises(UnreadableDocumentError) as caught:
        document(data, AFN_INVENTORY, charset="Cp1252")
    assert str(caught.value).endswith(f"Amazon says in it: {shown}")


@settings(max_examples=300, deadline=None)
@given(
    LINES,
    st.sampled_from([b"\n", b"\r\n"]),
    st.sampled_from(["cp1252", "cp932", "utf-8"]),
    st.integers(1, 30),
    st.integers(1, 60),
)
def test_no_line_below_a_header_is_lost(lines, end, usual, pieces, block_bytes):
    data = b"seller-sku\tquantity\tfulfillment-channel" + end + end.join(lines)
    doc = document(data, usual=usual, pieces=pieces, block_bytes=block_bytes)
    text = data.replace(b"\r\n", b"\n") if end == b"\r\n" else data
    expected = text.rstrip(b"\n").split(b"\n")[1:]
    blocks = list(doc.blocks())
    numbers = [
        n for block in blocks for n in (*block.line_numbers.tolist(), *(each.line_number for each in block.rejected))
    ]
    assert sorted(numbers) == list(range(2, len(expected) + 2))
    assert doc.line_count == len(expected)
    for block in blocks:
        for each in block.rejected:
            assert each.raw == expected[each.line_number - 2]
            assert each.reason
    assert len(copied_rows(doc)) == sum(map(len, blocks))


@settings(max_examples=300, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=200),
        st.binary(max_size=200).map(lambda data: b"\x1f\x8b" + data),
        st.binary(max_size=99).map(gzip.compress),
    ),
    st.sampled_from([None, "Cp1252", "UTF-8", "windows-31j", "nonsense"]),
    st.sampled_from([LISTINGS, AFN_INVENTORY, FULFILLED_SHIPMENTS]),
)
def test_any_bytes_raise_nothing_but_a_document_error(data, declared, report_type):
    with pytest.raises(DocumentError):
        for _ in document(data, report_type, charset=declared).blocks():
            pass
