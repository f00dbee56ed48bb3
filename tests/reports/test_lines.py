"""Lines: line ends, charsets and gzip."""

from __future__ import annotations

import gzip
import io

import pytest

from fba_operators.errors import (
    DamagedDocumentError,
    UnreadableDocumentError,
)
from fba_operators.reports.lines import codec_name
from tests.reports.documents import HEADER, UK_LISTINGS, copied_rows, document, listing, only_block


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_count_inside_and_not_at_the_end(end):
    row = "A\t1\tDEFAULT"
    data = end.join(["seller-sku\tquantity\tfulfillment-channel", row, "", row, "", "", ""]).encode()
    for pieces in range(1, len(data)):
        doc = document(data, pieces=pieces, block_bytes=1)
        rejected = [each for block in doc.blocks() for each in block.rejected]
        assert doc.line_count == 3
        assert [(each.line_number, each.reason) for each in rejected] == [(3, "the line is empty")]


def test_cr_is_text_unless_the_header_ends_with_it():
    crlf, lf = document(f"{HEADER}\r\n{listing()}\r\n".encode()), document(f"{HEADER}\n{listing()}\r\n".encode())
    assert (only_block(crlf).column("status"), only_block(lf).column("status")) == (["Active"], ["Active\r"])
    title = "a\rb"
    inside = document(f"{HEADER}\r\n{listing(item_name=title)}\r\n".encode())
    assert copied_rows(inside)[0]["item_name"] == "a\rb"


# --- charset and gzip ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        *(("Cp1252", "cp1252"), ("windows-31j", "cp932"), ("Shift_JIS", "cp932"), ("SJIS", "cp932"), ("UTF8", "utf-8")),
        *(
            ("UTF-16", None),
            ("rot13", None),
            ("klingon", None),
            ("", None),
            (None, None),
            ("a\0b", None),
            ("utf-7", None),
        ),
    ],
)
def test_charset_names(name, codec):
    assert codec_name(name) == codec


@pytest.mark.parametrize(
    ("encoded", "declared", "usual", "charset"),
    [
        ("utf-8", None, "cp1252", "utf-8"),
        ("cp1252", None, "cp1252", "cp1252"),
        ("cp1252", "UTF-8", "cp1252", "cp1252"),
        ("cp932", None, "cp932", "cp932"),
        ("cp932", "UTF-8", "cp932", "cp932"),
        ("utf-8", "us-ascii", "cp1252", "utf-8"),
        ("utf-8-sig", "Cp1252", "cp1252", "utf-8"),
        ("iso8859-2", "ISO-8859-2", "cp1252", "iso8859-2"),
    ],
)
def test_charset_decision(encoded, declared, usual, charset):
    title = "ミル①" if usual == "cp932" else "Mühle"
    doc = document(f"{HEADER}\n{listing(item_name=title)}\n".encode(encoded), charset=declared, usual=usual)
    assert doc.charset == charset
    assert only_block(doc).column("item_name") == [title]


def test_a_wrong_bom_falls_back_to_the_declared_charset():
    doc = document(b"\xef\xbb\xbf" + f"{HEADER}\n{listing(item_name='Mühle')}\n".encode("cp1252"), charset="Cp1252")
    assert doc.charset == "cp1252"
    assert only_block(doc).column("item_name") == ["Mühle"]


CUT = "Schöne große Übergröße".encode()[:-2]  # inside its last letter but one


def listings_of(*rows: tuple[str, bytes], encoding: str = "utf-8") -> bytes:
    """A document of these SKUs and titles; the titles stay the bytes that they are."""
    lines = [
        listing(seller_sku=sku, item_name="TITLE").encode(encoding).replace(b"TITLE", title) for sku, title in rows
    ]
    return b"\n".join([HEADER.encode(), *lines, b""])


@pytest.mark.parametrize("declared", ["UTF-8", "Cp1252", "ISO-8859-1", None])
@pytest.mark.parametrize("title", [CUT, "mü".encode()[:-1], "ミル①".encode()[:-1], b"pl\x81in"])
def test_titles_cut_inside_a_letter_change_no_sku(declared, title):
    skus = [f"Größe-{n}" for n in range(20)]
    doc = document(listings_of(*((sku, title) for sku in skus)), charset=declared)
    block = only_block(doc)
    assert block.skus == skus
    assert set(block.column("item_name")) == {title.decode("utf-8", "replace")}
    assert doc.replaced_lines == 20


def test_one_sku_beyond_ascii_says_more_than_all_titles():
    rows = [
        ("Größe-1", b"plain"),
        ("A", CUT),
        ("B", "é".encode()[:-1]),
        ("C", "Mühle".encode("cp1252")),
        ("D", b"\x81\x82"),
    ]
    assert only_block(document(listings_of(*rows), charset="Cp1252")).skus == ["Größe-1", *"ABCD"]


@pytest.mark.parametrize(("declared", "charset"), [("UTF-8", "utf-8"), ("Cp1252", "cp1252"), (None, "cp1252")])
def test_where_nothing_but_cut_letters_is_beyond_ascii_the_declared_charset_counts(declared, charset):
    assert document(listings_of(("A", "mü".encode()[:-1])), charset=declared).charset == charset


def test_texts_that_are_utf8_but_for_cut_letters_are_utf8_whatever_is_declared():
    assert document(listings_of(("A", CUT), ("B", CUT)), charset="Cp1252").charset == "utf-8"


@pytest.mark.parametrize("declared", ["UTF-8", "Cp1252", None])
def test_skus_that_are_no_utf8_contradict_what_is_declared(declared):
    doc = document(listings_of(("CAFÉ", "Menü".encode("cp1252")), encoding="cp1252"), charset=declared)
    assert only_block(doc).skus == ["CAFÉ"]


def test_one_damaged_sku_makes_no_other_charset():
    data = listings_of(*((f"S{n}", "Mühle".encode()) for n in range(3)), ("Größe", "Mühle".encode()))
    block = only_block(document(data.replace("Größe".encode(), b"Gr\xf6\xdfe"), charset="Cp1252"))
    assert block.column("item_name") == ["Mühle"] * 3
    assert "seller-sku does not decode as utf-8" in block.rejected[0].reason


def test_lines_that_no_charset_decodes_are_rejected_alone():
    bad_title = listing(item_name="X", seller_sku="B").encode().replace(b"X", b"\x81")
    bad_sku = listing(seller_sku="X").encode().replace(b"X", b"C\x81")
    data = b"\n".join([HEADER.encode(), listing(item_name="Mühle").encode("cp1252"), bad_title, bad_sku, b""])
    doc = document(data)
    block = only_block(doc)
    assert block.column("item_name") == ["Mühle", "\ufffd"]  # a title is not worth a row
    assert block.skus[1] == "B"
    assert doc.replaced_lines == 1
    assert [(each.line_number, each.raw, each.sku) for each in block.rejected] == [(4, bad_sku, None)]
    assert "seller-sku does not decode as cp1252" in block.rejected[0].reason


def test_gzip_is_decompressed_once_in_pieces_of_any_size():
    assert only_block(document(gzip.compress(UK_LISTINGS), pieces=1)).skus == ["1234567", "NA"]
    two_members = gzip.compress(UK_LISTINGS[:300]) + gzip.compress(UK_LISTINGS[300:]) + b"\0" * 9
    assert only_block(document(two_members, pieces=7)).skus == ["1234567", "NA"]
    with pytest.raises(UnreadableDocumentError, match="gzip inside gzip"):
        document(gzip.compress(gzip.compress(UK_LISTINGS)))


def test_truncated_or_corrupt_gzip_is_reported_as_such():
    complete = gzip.compress(UK_LISTINGS)
    for length in range(2, len(complete)):
        with pytest.raises(DamagedDocumentError, match="truncated"):
            document(complete[:length])
    broken = bytearray(complete)
    broken[-6] ^= 0xFF
    with pytest.raises(DamagedDocumentError, match="corrupt"):
        document(bytes(broken))


def test_a_gzip_bomb_is_refused():
    data = io.BytesIO()
    with gzip.open(data, "wb") as out:
        out.write(HEADER.encode() + b"\n")
        for _ in range(40):
            out.write(b"x" * (1 << 20))
    with pytest.raises(UnreadableDocumentError, match="no report"):
        document(data.getvalue())
