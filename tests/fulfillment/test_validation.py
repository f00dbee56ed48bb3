"""What makes a request invalid, what makes it wait for stock data, and what is only a warning."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.fulfillment.request import FulfillmentRequest, RequestItem
from fba_operators.fulfillment.validation import problems, validate
from tests.fulfillment.examples import CREATED, DEFAULT, GOOD, store

STOCK = {"SKU-RED-M": 5, "SKU-BLUE-L": 1}
OPTIONAL = ("displayable_order_number", "ship_to_address_2", "ship_to_address_3", "ship_to_phone", "order_comment")


def check(request, rules=DEFAULT, *, country="US", stock=STOCK, inventory_as_of=None, near_skus=MappingProxyType({})):
    return validate(request, rules, country=country, stock=stock, inventory_as_of=inventory_as_of, near_skus=near_skus)


def items(*quantities: int) -> tuple[RequestItem, ...]:
    return tuple(RequestItem(n, "SKU-RED-M", quantity) for n, quantity in enumerate(quantities, 1))


# --- what is wrong with a request in itself


def test_a_good_request_has_no_problems():
    assert problems(GOOD, DEFAULT) == []
    assert problems(replace(GOOD, **dict.fromkeys(OPTIONAL)), DEFAULT) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fr_number": "WEB 1"}, "fr_number: allowed are 1 to 40"),
        ({"fr_number": "WEB+1"}, "fr_number: allowed"),
        ({"fr_number": "A" * 41}, "fr_number: allowed"),
        ({"fr_number": "WEB-1\n"}, "fr_number: allowed"),
        ({"fr_number": "É"}, "fr_number: allowed"),
        ({"fr_number": ".."}, "fr_number: allowed"),
        ({"shipping_method": None}, "shipping_method is missing; allowed: Standard, Expedited, Priority"),
        ({"shipping_method": "Drone"}, "shipping_method has no mapping"),
        ({"ship_to_name": None}, "(ship_to_name) is missing"),
        ({"ship_to_name": "  "}, "(ship_to_name) is missing"),
        ({"ship_to_name": "x" * 51}, "(ship_to_name) is 51 characters long; allowed: 50"),
        ({"ship_to_name": "Jane\x0bExample"}, "(ship_to_name) has control characters"),
        ({"ship_to_address_1": ""}, "(ship_to_address_1) is missing"),
        ({"ship_to_address_1": "x" * 61}, "(ship_to_address_1) is 61 characters long; allowed: 60"),
        ({"ship_to_address_1": "1 Street\nApt 4"}, "(ship_to_address_1) has control characters or line breaks"),
        ({"ship_to_address_2": "x" * 61}, "(ship_to_address_2) is 61 characters long; allowed: 60"),
        ({"ship_to_address_3": "x" * 61}, "(ship_to_address_3) is 61 characters long; allowed: 60"),
        ({"ship_to_address_3": "Rear\rbuilding"}, "(ship_to_address_3) has control characters"),
        ({"displayable_order_number": "x" * 41}, "displayable_order_number: allowed are 1 to 40 printable characters"),
        ({"displayable_order_number": "1\t2"}, "displayable_order_number: allowed"),
        ({"displayable_order_number": "1\x852"}, "displayable_order_number: allowed"),
        ({"displayable_order_number": "1  2"}, "without two spaces in a row"),
        ({"displayable_order_number": "注文 12"}, "of ISO 8859-1"),
        ({"ship_to_city": None}, "(ship_to_city) is missing"),
        ({"ship_to_city": "Seattle\ufffe"}, "(ship_to_city) has control characters"),
        ({"ship_to_postal_code": None}, "(ship_to_postal_code) is missing"),
        ({"ship_to_phone": "1" * 51}, "(ship_to_phone) is 51 characters long; allowed: 50"),
        ({"ship_to_country": None}, "(ship_to_country) is missing"),
        ({"ship_to_country": "USA"}, "(ship_to_country): allowed is a two-letter ISO 3166 code"),
        ({"ship_to_country": "XX"}, "(ship_to_country): allowed is a two-letter ISO 3166 code"),
        ({"ship_to_state": None}, "(ship_to_state) is missing; allowed: the two-letter code of a state"),
        ({"ship_to_state": "Washington"}, "(ship_to_state) is not one; allowed: the two-letter code of a state"),
        ({"ship_to_state": "ON"}, "(ship_to_state) is not one"),
        (
            {"ship_to_country": "CA", "ship_to_state": "WA"},
            "(ship_to_state) is not one; allowed: the two-letter code of a pro",
        ),
        ({"order_comment": "x" * 751}, "order_comment is 751 characters long; allowed: 750"),
        ({"order_comment": "\x00"}, "order_comment has control characters"),
        ({"order_comment": "\ud800"}, "order_comment has control characters"),
        ({"items": items(*[1] * 101)}, "it has 101 lines; allowed: 100"),
        ({"items": items(250, 1)}, "it has 251 units; allowed: 250"),
        ({"items": items(0)}, "line 1: the quantity is 0; allowed: at least 1"),
        ({"items": items(-3, 5)}, "line 1: the quantity is -3; allowed: at least 1"),
        ({"items": ()}, "it has no items"),
        ({"items": (RequestItem(1, "A", 1), RequestItem(1, "B", 1))}, "two lines have the same number"),
        ({"items": (RequestItem(0, "A", 1),)}, "line 0: allowed are line numbers from 1"),
        ({"items": (RequestItem(1, " ", 1),)}, "line 1: the SKU is missing"),
        ({"items": (RequestItem(1, "x" * 41, 1),)}, "line 1: the SKU is 41 characters long; allowed: 40"),
        ({"items": (RequestItem(1, "A\tB", 1),)}, "line 1: the SKU has control characters"),
    ],
)
def test_one_problem_gives_one_reason_that_says_what_is_allowed(change, message):
    [reason] = problems(replace(GOOD, **change), DEFAULT)
    assert message in reason


@pytest.mark.parametrize(
    "change",
    [
        {"fr_number": "A" * 40},
        {"fr_number": "a.B_c-9"},
        {"ship_to_name": "Ж" * 50},
        {"ship_to_address_1": "𝔸" * 60},
        {"ship_to_address_3": "𝔸" * 60},
        *({"displayable_order_number": text} for text in ("x" * 40, " Nº 12 / Ä-1 ", "#1001", " ", "", None)),
        {"order_comment": "x" * 750},
        {"order_comment": "Two\nlines"},
        {"items": items(*[2] * 100)},
        {"items": items(250)},
        {"items": (RequestItem(1, "x" * 40, 1), RequestItem(2, "x" * 40, 1))},
        {"ship_to_email": "no address"},  # not sent, because notify_customer is off
        *({"ship_to_state": state} for state in ("wa", "DC", "PR", "GU", "VI", "AS", "MP", "AA", "AE", "AP")),
        *({"ship_to_country": "CA", "ship_to_state": state} for state in ("QC", "ON", "YT", "NU", "NL")),
        {"ship_to_country": "de", "ship_to_state": None},
        {"ship_to_country": "FR", "ship_to_state": "anything"},
        {"ship_to_country": "UK", "ship_to_state": None},
        {"ship_to_country": "JP", "ship_to_state": None, "ship_to_city": None},
        {"ship_to_country": "PR", "ship_to_state": None},
    ],
)
def test_everything_amazon_allows_is_allowed(change):
    assert problems(replace(GOOD, **change), DEFAULT) == []


def test_all_problems_come_at_once_and_none_repeats_personal_data():
    secret = "Zyxwvut"
    bad = replace(
        GOOD,
        shipping_method="Drone",
        ship_to_name=secret * 20,
        ship_to_address_1=f"PO Box 1 {secret}\n",
        ship_to_city=f"{secret}\x01{secret}",
        ship_to_address_3=f"{secret}\n{secret}",
        displayable_order_number=f"{secret}\n{secret}",
        ship_to_state=secret,
        ship_to_email=secret,
        ship_to_phone=secret * 20,
        order_comment=secret * 200,
        items=items(0),
    )
    reasons = problems(bad, store(notify_customer=True))
    assert len(reasons) == 11
    assert len(set(reasons)) == 11
    assert secret not in " ".join(reasons)
    assert secret not in repr(bad)
    country = problems(replace(GOOD, ship_to_country=secret), DEFAULT)
    assert secret not in " ".join(country)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        *(
            ({"ship_to_name": text}, "ship-to name (ship_to_name) is missing")
            for text in ("\u200b", "\u00a0", "\u2060 \ufeff")
        ),
        ({"ship_to_city": "\u200b"}, "ship-to city (ship_to_city) is missing"),
        *(
            ({"ship_to_country": text}, "allowed is a two-letter ISO 3166 code")
            for text in ("ß", "ıt", "ＵＳ", "\u212aE")
        ),
        ({"ship_to_state": "ﬂ"}, "ship-to state (ship_to_state) is not one"),
        (
            {"items": (replace(items(1)[0], unit_price=Decimal("-0.01")),)},
            "line 1: unit_price is -0.01; allowed: at least 0, or null",
        ),
    ],
)
def test_what_only_looks_like_something_is_not_taken_for_it(change, reason):
    (found,) = problems(replace(GOOD, **change), DEFAULT)
    assert reason in found


def test_a_price_of_nothing_is_one():
    assert problems(replace(GOOD, items=(replace(items(1)[0], unit_price=Decimal(0)),)), DEFAULT) == []


@pytest.mark.parametrize(
    "line",
    ["PO Box 12", "P.O. Box 12", "p o box 12", "P. O. BOX 12", "POBox 7", "POB 12", "P.O.B. 9", "Post Office Box 1",
     "c/o Jane, PO Box 4", "Postfach 12 34", "Postbus 99", "Apartado de Correos 5", "Casella postale 7",
     "Boîte postale 3", "PO-Box 12", "P.O.-Box 12", "P-O-Box 1", "PO Box12", "Post-Office-Box 3"],
)  # fmt: skip
def test_po_boxes_are_refused_unless_the_store_allows_them(line):
    for column in ("ship_to_address_1", "ship_to_address_2", "ship_to_address_3"):
        request = replace(GOOD, **{column: line})
        [reason] = problems(request, DEFAULT)
        assert "PO box" in reason
        assert problems(request, store(allow_po_boxes=True)) == []


@pytest.mark.parametrize(
    "line",
    [
        "12 Box Hill Road",
        "PSC 1234 Box 567",
        "Unit 5 Apo Boxwood",
        "Tempo Box Lane 2",
        "Pobeda 12",
        "Box 4",
        "1 Post Office Boxer Rd",
        "Po Boxwood Lane 3",
        "Depo-Box 4",
    ],
)
def test_what_only_looks_like_a_po_box_is_not_refused(line):
    assert problems(replace(GOOD, ship_to_address_1=line), DEFAULT) == []


@pytest.mark.parametrize(
    ("email", "good"),
    [
        ("a.b_c-d+e@mail.example.co.uk", True),
        (None, True),
        ("", True),
        ("x" * 52 + "@example.com", True),
        ("x" * 53 + "@example.com", False),
        ("jane@example", False),
        ("jane example.com", False),
        ("Jane <jane@example.com>", False),
        ("jane@example.com,joe@example.com", False),
        ("jané@example.com", False),
    ],
)
def test_the_email_is_checked_only_where_the_customer_is_notified(email, good):
    request = replace(GOOD, ship_to_email=email)
    assert problems(request, DEFAULT) == []
    reasons = problems(request, store(notify_customer=True))
    assert [reason.partition(":")[0] for reason in reasons] == ([] if good else ["ship_to_email"])


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"minimum_units": 3}, None),
        ({"minimum_units": 4}, "it has 3 units, and the store's rules.minimum_units is 4"),
        ({"minimum_value": 25.5}, None),
        ({"minimum_value": 25.51}, "its value is 25.50, and the store's rules.minimum_value is 25.51"),
        ({"ship_to_countries": ["US"]}, None),
        ({"ship_to_countries": ["CA", "GB"]}, "rules.ship_to_countries allows only CA, GB"),
        ({"exclude_skus": ["sku-red-m"]}, None),
        ({"exclude_skus": ["SKU-RED-M", "OTHER"]}, "SKU SKU-RED-M: named in the store's rules.exclude_skus"),
    ],
)
def test_rules_of_the_store(rules, message):
    reasons = problems(GOOD, store(rules=rules))
    assert len(reasons) == (message is not None)
    assert message is None or message in reasons[0]


def test_minimum_value_applies_only_where_every_line_has_a_price():
    request = replace(GOOD, items=(*GOOD.items, RequestItem(3, "SKU-RED-M", 1, None)))
    assert problems(request, store(rules={"minimum_value": 1000})) == []


def test_ship_to_countries_accepts_uk_for_gb():
    request = replace(GOOD, ship_to_country="UK", ship_to_state=None)
    assert problems(request, store(rules={"ship_to_countries": ["UK"]})) == []


# --- what the stock says


def test_a_request_of_known_skus_is_valid():
    found = check(GOOD, stock=STOCK)
    assert (found.reasons, found.waiting, found.warnings) == ((), None, ())


@pytest.mark.parametrize("as_of", [None, CREATED - timedelta(hours=1), CREATED])
def test_an_unknown_sku_waits_for_an_inventory_run_that_began_after_the_request(as_of):
    found = check(GOOD, stock={"SKU-RED-M": 5}, inventory_as_of=as_of)
    assert found.reasons == ()
    assert str(found.waiting) == "SKU SKU-BLUE-L: not in the pool yet"


def test_an_unknown_sku_is_invalid_after_such_a_run():
    found = check(GOOD, stock={}, inventory_as_of=CREATED + timedelta(seconds=1))
    [reason] = found.reasons
    assert reason.startswith("SKU SKU-RED-M, SKU-BLUE-L: ")
    assert found.waiting is None


def test_skus_that_may_have_been_meant_are_named():
    near = {"SKU-RED-M": ("SKU-RED-N",), "SKU-BLUE-L": ("A", "B ", "C")}
    found = check(GOOD, stock={}, near_skus=near)
    assert str(found.waiting) == (
        "SKU 'SKU-RED-M' (did you mean 'SKU-RED-N'?), 'SKU-BLUE-L' (did you mean 'A', 'B ' or 'C'?): not in the pool yet"
    )
    [reason] = check(GOOD, stock={}, near_skus=near, inventory_as_of=CREATED + timedelta(seconds=1)).reasons
    assert reason.startswith("SKU 'SKU-RED-M' (did you mean 'SKU-RED-N'?), 'SKU-BLUE-L' (did")


def test_a_request_with_problems_does_not_wait_for_its_skus():
    found = check(replace(GOOD, ship_to_name=None), stock={})
    assert len(found.reasons) == 1
    assert found.waiting is None


def test_no_stock_is_a_warning():
    found = check(GOOD, stock=STOCK | {"SKU-BLUE-L": 0})
    assert (found.reasons, found.waiting) == ((), None)
    assert found.warnings == ("SKU SKU-BLUE-L: the pool has a quantity of 0",)


@pytest.mark.parametrize(
    ("method", "country", "listed"),
    [
        ("Priority", "US", False),
        ("Priority", "UK", False),
        ("Priority", "CA", True),
        ("Priority", "IN", True),
        ("Priority", "MX", True),
        ("Standard", "US", True),
        ("Expedited", "UK", True),
        ("Drone", "US", True),
    ],
)
def test_a_speed_that_amazon_does_not_list_there_is_a_warning(method, country, listed):
    text = "Amazon lists Priority only in CA, IN and MX; it is sent as it is, and Amazon may refuse it"
    assert check(replace(GOOD, shipping_method=method), country=country).warnings == (() if listed else (text,))
    by_hand = store(shipping_methods={"Air": "Priority"})
    assert check(replace(GOOD, shipping_method="Air"), by_hand).warnings == (text,)


def test_a_request_without_items_waits_whatever_else_is_wrong():
    found = check(replace(GOOD, items=(), ship_to_name=None), stock={}, inventory_as_of=CREATED)
    assert found.reasons == ()
    assert str(found.waiting) == "no items yet"


text = st.text(max_size=70) | st.none()


@settings(max_examples=200, deadline=None)
@given(
    st.builds(
        FulfillmentRequest,
        store=st.just("s"),
        fr_number=st.text(max_size=45),
        created_at=st.datetimes(min_value=datetime(2000, 1, 1), timezones=st.just(UTC)),
        items=st.lists(
            st.builds(RequestItem, line=st.integers(-1, 5), sku=st.text(max_size=45), quantity=st.integers(-5, 300))
        ).map(tuple),
        **{name: text for name in GOOD.__dataclass_fields__ if name.startswith(("ship", "order_", "displayable_"))},
    )
)
def test_any_request_gets_reasons_and_no_exception(request):
    found = check(request, store(notify_customer=True), stock={})
    assert bool(found.reasons) != bool(found.waiting)  # nothing is in stock, so it is one or the other
    assert all(reason.isprintable() for reason in found.reasons)
