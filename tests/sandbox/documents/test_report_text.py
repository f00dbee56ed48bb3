"""Report documents in every charset, language and irregularity that `Rendering` has."""

from typing import Any

import pytest

from sandbox.documents.report_text import REQUIRED_COLUMNS, listing_rows, render
from sandbox.merchant.headers import LANGUAGES, LISTING_COLUMNS, LISTING_HEADERS, language_of
from sandbox.merchant.merchant import AFN, LISTINGS
from sandbox.merchant.rendering import Rendering
from sandbox.merchant.seed import catalogue
from sandbox.server.server import Sandbox
from tests.sandbox.client import US, Client

ITEMS = list(catalogue(US, listings=200, seed=1).items.values())


def written(language: str | None = None, **options: Any) -> bytes:
    rendering = Rendering().with_options(options)
    return render(LISTINGS, listing_rows(ITEMS, rendering), rendering, language or rendering.language)


def lines(document: bytes, charset: str = "utf-8") -> list[str]:
    return document.decode(charset).removesuffix("\r\n").split("\r\n")


@pytest.mark.parametrize(
    ("options", "content_type", "charset", "title"),
    [
        ({}, "text/plain; charset=UTF-8", "utf-8", "スチームオーブン"),
        ({"charset": "cp1252"}, "text/plain; charset=Cp1252", "cp1252", "????????"),
        ({"charset": "cp932"}, "text/plain; charset=windows-31j", "cp932", "スチームオーブン"),
        ({"bom": True}, "text/plain; charset=UTF-8", "utf-8-sig", "スチームオーブン"),
        ({"charset": "cp1252", "declared_charset": "UTF-8"}, "text/plain; charset=UTF-8", "cp1252", "????????"),
        ({"charset": "cp932", "declared_charset": ""}, "text/plain", "cp932", "スチームオーブン"),
    ],
)
def test_a_document_is_encoded_in_its_charset(
    amazon: Sandbox, client: Client, *, options: dict[str, Any], content_type: str, charset: str, title: str
) -> None:
    amazon.world.set_rendering("A1SANDBOXSELLER", US, **options)
    done = client.finished(LISTINGS)
    assert client.download(done).headers["Content-Type"] == content_type
    text = client.text(done, charset)
    assert text.startswith("item-name\t")
    assert f"\n{title}\tAbout" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_has_the_columns_that_quantities_require(language: str) -> None:
    header, *rows = lines(written(language))
    names = header.split("\t")
    assert names == [name for _, name in LISTING_HEADERS[language]]
    assert {len(row.split("\t")) for row in rows} == {len(names)}
    columns = {column for column, _ in LISTING_HEADERS[language]}
    assert columns >= {"seller-sku", "quantity", "fulfillment-channel", "price", "item-name"}
    assert columns <= set(LISTING_COLUMNS)
    assert language == "en" or header != "\t".join(LISTING_COLUMNS)


def test_the_chinese_header_repeats_names() -> None:
    names = lines(written("zh"))[0].split("\t")
    assert len(names) == 29
    assert [place for place, name in enumerate(names) if name == "商品编码"] == [2, 22]
    assert names.count("不适用项目") > 5


def test_the_locale_selects_the_language() -> None:
    assert [language_of(locale) for locale in ("en_US", "en_GB", "de_DE", "ja_JP", "sv_SE")] == [
        "en",
        "en_GB",
        "de",
        "ja",
        "en",
    ]


def test_a_cached_locale_overrides_the_requested_one(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_rendering("A1SANDBOXSELLER", US, LISTINGS, language="fr", locale_cached=True)
    text = client.text(client.finished(LISTINGS, reportOptions={"preferredReportDocumentLocale": "en_US"}))
    assert text.startswith("nom-produit\t")


def test_columns_can_be_reversed_or_shuffled() -> None:
    plain = lines(written())[1].split("\t")
    assert lines(written(column_order="reversed"))[1].split("\t") == plain[::-1]
    header, first, *_ = lines(written(column_order="shuffled"))
    assert header.split("\t") != list(LISTING_COLUMNS)
    assert dict(zip(header.split("\t"), first.split("\t"), strict=True)) == dict(
        zip(LISTING_COLUMNS, plain, strict=True)
    )


def test_the_header_can_have_more_or_fewer_fields_than_the_rows() -> None:
    header, *rows = lines(written(headers_only=["Minimum order quantity", "Sell remainder"]))
    assert len(header.split("\t")) == 31
    assert {len(row.split("\t")) for row in rows} == {29}
    header, *rows = lines(written(trailing_tab=True))
    assert len(header.split("\t")) == 29
    assert all(row.endswith("\t") and len(row.split("\t")) == 30 for row in rows)


def test_columns_can_be_repeated_missing_or_extra() -> None:
    names = lines(written(unused_header="not-applicable"))[0].split("\t")
    assert (len(names), names.count("not-applicable")) == (29, 9)
    header, row, *_ = lines(written(missing_columns=["asin1", "price"], extra_columns=["Business Price"]))
    names = header.split("\t")
    assert not {"asin1", "price"} & set(names)
    assert dict(zip(names, row.split("\t"), strict=True))["Business Price"] == "extra"


def test_ragged_rows_keep_the_required_columns() -> None:
    lengths = [len(row.split("\t")) for row in lines(written(ragged_every=3))[1:]]
    assert lengths[:6] == [29, 29, 27, 29, 29, 27]
    assert set(LISTING_COLUMNS[:27]) >= REQUIRED_COLUMNS & set(LISTING_COLUMNS)


def test_control_characters_quotes_and_line_ends_are_written_unchanged() -> None:
    document = written()
    assert "\u2028".encode() in document
    assert b"A carriage\rreturn\t" in document
    assert b'19" monitor, 27" deep\t' in document
    assert b"\0" not in document
    assert b"Sellable only\0\t" in written(nul_in_text=True)
    assert b"\r\n" not in written(crlf=False)


def test_afn_reports_are_always_in_english(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_rendering("A1SANDBOXSELLER", US, language="de")
    assert client.text(client.finished(AFN)).startswith("seller-sku\t")


@pytest.mark.parametrize(
    "options",
    [{"charset": "latin-1"}, {"language": "xx"}, {"column_order": "x"}, {"x": 1}, {"bom": True, "charset": "cp932"}],
)
def test_unknown_options_are_rejected(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"not one of|unknown|BOM"):
        Rendering().with_options(options)
