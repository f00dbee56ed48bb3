"""Amazon's words: what must never get through, and what must stay readable."""

from __future__ import annotations

import base64
import hashlib
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fba_operators.words import MOST, visible, words

SEEDS = st.integers(0, 10**9).map(lambda n: hashlib.sha256(str(n).encode()))
HEX = SEEDS.map(lambda each: each.hexdigest())
BASE64 = SEEDS.map(lambda each: base64.b64encode(each.digest()).decode())
URLSAFE = SEEDS.map(lambda each: base64.urlsafe_b64encode(each.digest()).decode().rstrip("="))
SECRETS = st.one_of(
    BASE64.map("Atza|{}".format),
    BASE64.map("Atzr|{}".format),
    BASE64.map("Atzr%7C{}".format),
    HEX.map("amzn1.oa2-cs.v1.{}".format),
    HEX.map("amzn1.application-oa2-client.{}".format),
    HEX,
    HEX.map(lambda text: text[:32]),
    BASE64,
    URLSAFE,
    BASE64.map(lambda text: f"eyJhbGciOi.{text}.{text[::-1]}"),
    st.just("AKIAIOSFODNN7EXAMPLE"),
)
URLS = st.builds(
    "https://{}/{}?X-Amz-Signature={}&Expires=300".format,
    st.sampled_from(["tortuga-prod-na.s3.amazonaws.com", "127.0.0.1:8080", "d.example"]),
    HEX,
    HEX,
)
DIGITS = st.text("0123456789", min_size=4, max_size=4)
PHONES = st.one_of(
    DIGITS.map("206 555 {}".format),
    DIGITS.map("+1 (206) 555-{}".format),
    DIGITS.map("+81-3-5555-{}".format),
    DIGITS.map("206555{}".format),
    DIGITS.map("０３－５５５５－{}".format),
    DIGITS.map("０３−５５５５−{}".format),
    DIGITS.map("03ー5555ー{}".format),
    DIGITS.map("٠٢٠٦٥٥٥{}".format),
)
HOUSES = st.integers(1, 9999)
PLACES = st.one_of(
    HOUSES.map("{} Main St".format),
    HOUSES.map("{} North Pine Street, Springfield, IL 62704".format),
    HOUSES.map("{} RUE DE LA PAIX".format),
    HOUSES.map("Musterstraße {}".format),
    HOUSES.map("Via Roma {}".format),
    HOUSES.map("P.O. Box {}".format),
    HOUSES.map("P.O.B. {}".format),
    HOUSES.map("Postfach {}".format),
    HOUSES.map("Am Markt {}, 10115 Berlin".format),
    HOUSES.map("Unter den Linden {} 10117 Berlin".format),
    HOUSES.map("C/ Mayor {}".format),
    HOUSES.map("Calle de Alcalá, {}".format),
    HOUSES.map("Av. Paulista, {}".format),
    HOUSES.map("Keizersgracht {}".format),
    HOUSES.map("Atatürk Caddesi No: {}".format),
    HOUSES.map("شارع الملك فهد {}".format),
    HOUSES.map("{}&nbsp;Main&nbsp;Street".format),
    HOUSES.map("東京都千代田区丸の内{}".format),
    st.sampled_from(["SW1A 1AA", "K1A 0B1", "WA 98101"]),
)
MAILS = st.builds(
    "{}@{}".format, st.sampled_from(["a.buyer", "x+y", "кот"]), st.sampled_from(["mail.example", "пример.рф"])
)
HIDDEN = st.one_of(SECRETS, URLS, PHONES, PLACES, MAILS)
PLAIN = st.sampled_from(
    [
        "Invalid request.",
        "Error 13013",
        "the SKU A-1 is not known",
        "Feed 50001",
        "2026-11-25T10:00:00Z",
        "'",
        "Zürich",
        "{}",
        "注文",
    ]
)
BETWEEN = st.sampled_from([" ", "\n", "\t", "\r\n", "\x1b[31m ", ' "', "' ", ", ", " (", "; ", "\x00", "\u2028"])


@given(st.lists(st.tuples(st.one_of(HIDDEN.map(lambda text: (text,)), PLAIN), BETWEEN), min_size=1, max_size=12))
def test_no_secret_no_address_and_no_number_gets_through(parts):
    """A hidden part is a tuple, a plain one a text."""
    text = "".join(f"{part[0] if isinstance(part, tuple) else part}{between}" for part, between in parts)
    line = words(text, 100_000)
    for part, _ in parts:
        if isinstance(part, tuple):
            assert part[0] not in line
            assert part[0][:24] not in line
    assert line.isprintable()


@given(st.text(max_size=6000), st.integers(20, 400))
def test_whatever_comes_is_one_short_printable_line_and_stays_as_it_is(text, most):
    line = words(text, most)
    assert len(line) <= most
    assert line == "".join(line.splitlines())
    assert all(each.isprintable() or each.isspace() for each in line)
    assert "\x1b" not in line


@pytest.mark.parametrize(
    "text",
    [
        "Unable to get order info for: FR-1",
        "Error 13013 in MessageID 1: the SKU SHIRT-RED-XL-2024-COTTON is not at Amazon",
        "order 111-1234567-1234567 of 2026-11-25T10:00:00Z, id 0f8fad5b-d9cb-469f-a165-70867728950e",
        "Field ShippingSpeedCategory of Item[1]/DeliverySLA must be one of Standard, Expedited",
        "GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL, getMarketplaceParticipations",
        "Invalid marketplaceIds ATVPDKIKX0DER for seller A2EXAMPLE12345",
        "2 of 40 messages were sent this way",
        "配送先の市区町村が無効です",
        "Line 5, 90012 Fatal",
        "MessageID 1 13013 Error in the String 5",
        "AT&T; R&D, x < y & z",
        "Le numéro de référence n'est pas valide",
    ],
)
def test_ordinary_words_stay(text):
    assert words(text) == text


def test_an_order_number_of_ours_stays_readable_but_not_inside_of_something_else():
    number = "20655501001"
    assert words(f"no order {number}.", ours=[number]) == f"no order {number}."
    assert words(f"no order {number}") == "no order (number removed)"
    assert number not in words(f"https://x.example/{number} and a{number}@x.example", ours=[number])
    assert words("no order A B", ours=["A B", "", "FR-9"]) == "no order A B"


@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        ("john&#64;example.com", "john"),
        ("john&#x40;example.com", "john"),
        ("john&amp;#64;example.com", "john"),
        ("john.doe (at) example.com", "john"),
        ("123&nbsp;Main&nbsp;Street", "Main"),
        ("Max Mustermann, Am Markt 5, 10115 Berlin", "Mustermann"),
        ("Jan Jansen, Keizersgracht 123, 1015 CJ Amsterdam", "Jansen"),
        ("Jan Kowalski, Rynek 5/2, 00-590 Warszawa", "590"),
        ("call ０３−１２３４−５６７８", "5678"),
        ("call ٠١٢٣٤٥٦٧٨٩", "٠١٢٣"),
    ],
)
def test_what_is_written_in_other_signs_is_recognised(text, hidden):
    assert hidden not in words(text)
    assert "removed)" in words(text)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("SKU-1", "SKU-1"),
        ("リビング　扇風機\u00a0é", "リビング　扇風機\u00a0é"),
        ("\x1b[31mEVIL\x9b\r\n", r"\x1b[31mEVIL\x9b\r\n"),
        ("a\u202eb\u2066c\u200bd\u2028e\U000e0041", r"a\u202eb\u2066c\u200bd\u2028e\U000e0041"),
    ],
)
def test_a_name_that_is_shown_controls_nothing(name, shown):
    assert visible(name) == shown == visible(shown)


def test_what_is_written_as_an_entity_is_read():
    assert words("O&#39;Neil &amp; Sons &#x2014;; &#106;ane&#64;x.example") == "O'Neil & Sons —; (address removed)"
    assert words("a&#xE000;b&#8203;c&#8238;") == "abc"


def test_what_invisible_characters_divide_is_recognised():
    assert words("At\u200bzr|\u00adabc") == "(token removed)"
    assert words("\x1b]0;title\x07\x1b[1;31mred\x1b[0m") == "red"
    assert words("a\u202eb\ue000c") == "abc"


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "-",
        "a.b",
        "1 ",
        "1 a ",
        "x@",
        "1 aa bb cc ",
        "区",
        "A1b2",
        "?",
        "\x1b",
        "(",
        "\u200b",
        "Atzr|x ",
        "&",
        "&amp;",
        "&#39;",
        "a 1 ",
        "C/ ",
    ],
)
def test_a_hundred_kilobytes_cost_milliseconds(unit):
    start = time.process_time()
    assert len(words(unit * (100_000 // len(unit)))) <= MOST
    assert time.process_time() - start < 0.5
