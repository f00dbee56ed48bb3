"""Every damage that a report document can be served with."""

import gzip

import pytest

from sandbox.documents.damage import KINDS, damage
from sandbox.merchant.merchant import LISTINGS
from sandbox.server.server import Sandbox
from tests.sandbox.client import Client

HEADER = b"seller-sku\tquantity\tfulfillment-channel"
ROWS = [b"S%d\t10\tDEFAULT" % n for n in range(100)]
DOCUMENT = b"\r\n".join([HEADER, *ROWS, b""])


def damaged(kind: str, share: float = 0.5) -> tuple[bytes, list[bytes]]:
    """The header and the rows of the damaged document."""
    content, _ = damage(DOCUMENT, kind, share=share, seed=1)
    header, *rows = content.removesuffix(b"\r\n").split(b"\r\n")
    return header, rows


def test_some_rows_are_lost() -> None:
    header, rows = damaged("rows_lost", 0.3)
    assert header == HEADER
    assert 50 < len(rows) < 90
    assert set(rows) < set(ROWS)


def test_rows_are_there_twice() -> None:
    assert damaged("doubled") == (HEADER, ROWS + ROWS)
    content, _ = damage(DOCUMENT, "two_members")
    assert gzip.decompress(content) == DOCUMENT + DOCUMENT


def test_rows_are_in_another_order() -> None:
    header, rows = damaged("shuffled")
    assert header == HEADER
    assert rows != ROWS
    assert sorted(rows) == sorted(ROWS)


def test_quantities_are_multiplied() -> None:
    assert damaged("quantities_scaled", 0.5)[1] == [row.replace(b"\t10\t", b"\t5\t") for row in ROWS]


def test_columns_are_others() -> None:
    header, rows = damaged("column_renamed")
    assert header.count(b"renamed ") == 1
    assert rows == ROWS
    header, rows = damaged("column_added")
    assert header == HEADER + b"\tnew"
    assert {len(row.split(b"\t")) for row in rows} == {4}


def test_the_charset_is_wrong() -> None:
    assert damage(DOCUMENT, "mislabelled") == (DOCUMENT, "Cp1252")
    assert 0 < sum(row.endswith(b"\x81") for row in damaged("undecodable")[1]) < 100


def test_the_document_ends_early() -> None:
    content, _ = damage(DOCUMENT, "cut", share=0.25)
    assert content == DOCUMENT[: len(DOCUMENT) // 4]
    assert damage(DOCUMENT, "empty")[0] == HEADER + b"\r\n"
    assert b"\n" not in damage(DOCUMENT, "carriage_returns")[0]


def test_the_same_seed_damages_the_same_rows() -> None:
    assert damage(DOCUMENT, "rows_lost", seed=3) == damage(DOCUMENT, "rows_lost", seed=3)
    assert damage(DOCUMENT, "rows_lost", seed=3) != damage(DOCUMENT, "rows_lost", seed=4)


@pytest.mark.parametrize("kind", KINDS)
def test_the_next_report_is_damaged_and_the_one_after_it_is_not(amazon: Sandbox, client: Client, kind: str) -> None:
    good = client.text(client.finished(LISTINGS))
    amazon.world.damage_report(LISTINGS, kind)
    answer = client.download(client.finished(LISTINGS))
    content = gzip.decompress(answer.content)
    assert (content != good.encode()) == (kind != "mislabelled")
    assert answer.headers["Content-Type"].endswith("Cp1252") == (kind == "mislabelled")
    assert client.text(client.finished(LISTINGS)) == good


def test_an_unknown_damage_is_refused(amazon: Sandbox) -> None:
    with pytest.raises(ValueError, match="kind 'burnt' is not one of rows_lost"):
        amazon.world.damage_report(LISTINGS, "burnt")
