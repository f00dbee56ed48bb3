"""Fulfillment requests: what makes one invalid, what makes it wait, and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.fulfillment.release import due, is_open, next_opening
from fba_operators.fulfillment.request import FulfillmentRequest, RequestItem, iso_country
from fba_operators.fulfillment.validation import problems, validate
from fba_operators.settings.models import BusinessHours, Fulfillment

CREATED = datetime(2026, 11, 20, 9, 30, tzinfo=UTC)
GOOD = FulfillmentRequest(
    store="amazon_us",
    fr_number="WEB-100045",
    created_at=CREATED,
    items=(RequestItem(1, "SKU-RED-M", 2, Decimal("10.00")), RequestItem(2, "SKU-BLUE-L", 1, Decimal("5.50"))),
    shipping_method="Standard",
    ship_to_name="Jane Example",
    ship_to_address_1="100 Example Street",
    ship_to_address_2="Apt 4",
    ship_to_city="Seattle",
    ship_to_state="WA",
    ship_to_postal_code="98101",
    ship_to_country="US",
    ship_to_email="jane@example.com",
    ship_to_phone="206 555 0100",
    order_comment="Thanks!",
)
DEFAULT = Fulfillment()
STOCK = {"SKU-RED-M": 5, "SKU-BLUE-L": 1}


def store(**keys) -> Fulfillment:
    return Fulfillment.model_validate(keys)


def hours(timezone="America/New_York", start="09:00", end="17:00", **keys) -> BusinessHours:
    return BusinessHours.model_validate({"timezone": timezone, "from": start, "to": end, **keys})


def items(*quantities: int) -> tuple[RequestItem, ...]:
    return tuple(RequestItem(n, "SKU-RED-M", quantity) for n, quantity in enumerate(quantities, 1))


# --- what is wrong with a request in itself


def test_a_good_request_has_no_problems():
    assert problems(GOOD, DEFAULT) == []
    assert problems(replace(GOOD, ship_to_address_2=None, ship_to_phone=None, order_comment=None), DEFAULT) == []


@pytest.mark.parametrize(
    ("change", "said"),
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
def test_one_problem_gives_one_reason_that_says_what_is_allowed(change, said):
    [reason] = problems(replace(GOOD, **change), DEFAULT)
    assert said in reason


@pytest.mark.parametrize(
    "change",
    [
        {"fr_number": "A" * 40},
        {"fr_number": "a.B_c-9"},
        {"ship_to_name": "Ж" * 50},
        {"ship_to_address_1": "𝔸" * 60},
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
def test_what_amazon_allows_is_allowed(change):
    assert problems(replace(GOOD, **change), DEFAULT) == []


def test_all_problems_come_at_once_and_none_repeats_personal_data():
    secret = "Zyxwvut"
    bad = replace(
        GOOD,
        shipping_method="Drone",
        ship_to_name=secret * 20,
        ship_to_address_1=f"PO Box 1 {secret}\n",
        ship_to_city=f"{secret}\x01{secret}",
        ship_to_state=secret,
        ship_to_email=secret,
        ship_to_phone=secret * 20,
        order_comment=secret * 200,
        items=items(0),
    )
    reasons = problems(bad, store(notify_customer=True))
    assert len(reasons) == 9
    assert len(set(reasons)) == 9
    assert secret not in " ".join(reasons)
    assert secret not in repr(bad)
    country = problems(replace(GOOD, ship_to_country=secret), DEFAULT)
    assert secret not in " ".join(country)


@pytest.mark.parametrize(
    "line",
    ["PO Box 12", "P.O. Box 12", "p o box 12", "P. O. BOX 12", "POBox 7", "POB 12", "P.O.B. 9", "Post Office Box 1",
     "c/o Jane, PO Box 4", "Postfach 12 34", "Postbus 99", "Apartado de Correos 5", "Casella postale 7",
     "Boîte postale 3"],
)  # fmt: skip
def test_po_boxes_are_refused_unless_the_store_allows_them(line):
    for column in ("ship_to_address_1", "ship_to_address_2"):
        request = replace(GOOD, **{column: line})
        [reason] = problems(request, DEFAULT)
        assert "PO box" in reason
        assert problems(request, store(allow_po_boxes=True)) == []


@pytest.mark.parametrize(
    "line", ["12 Box Hill Road", "PSC 1234 Box 567", "Unit 5 Apo Boxwood", "Tempo Box Lane 2", "Pobeda 12", "Box 4"]
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
def test_the_email_counts_only_where_the_customer_is_notified(email, good):
    request = replace(GOOD, ship_to_email=email)
    assert problems(request, DEFAULT) == []
    reasons = problems(request, store(notify_customer=True))
    assert [reason.partition(":")[0] for reason in reasons] == ([] if good else ["ship_to_email"])


@pytest.mark.parametrize(
    ("code", "iso"), [("UK", "GB"), ("gb", "GB"), (" us ", "US"), ("EU", None), ("", None), (None, None)]
)
def test_countries_become_iso(code, iso):
    assert iso_country(code) == iso


@pytest.mark.parametrize(
    ("rules", "said"),
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
def test_rules_of_the_store(rules, said):
    reasons = problems(GOOD, store(rules=rules))
    assert len(reasons) == (said is not None)
    assert said is None or said in reasons[0]


def test_minimum_value_counts_only_where_every_line_has_a_price():
    request = replace(GOOD, items=(*GOOD.items, RequestItem(3, "SKU-RED-M", 1, None)))
    assert problems(request, store(rules={"minimum_value": 1000})) == []


def test_ship_to_countries_knows_uk_as_gb():
    request = replace(GOOD, ship_to_country="UK", ship_to_state=None)
    assert problems(request, store(rules={"ship_to_countries": ["UK"]})) == []


# --- what the stock says


def test_a_request_of_known_skus_is_fit():
    found = validate(GOOD, DEFAULT, stock=STOCK, inventory_as_of=None)
    assert (found.reasons, found.waiting, found.warnings) == ((), None, ())


@pytest.mark.parametrize("as_of", [None, CREATED - timedelta(hours=1), CREATED])
def test_an_unknown_sku_waits_for_an_inventory_run_that_began_after_the_request(as_of):
    found = validate(GOOD, DEFAULT, stock={"SKU-RED-M": 5}, inventory_as_of=as_of)
    assert found.reasons == ()
    assert str(found.waiting) == "SKU SKU-BLUE-L: not in the pool yet"


def test_an_unknown_sku_is_invalid_after_such_a_run():
    found = validate(GOOD, DEFAULT, stock={}, inventory_as_of=CREATED + timedelta(seconds=1))
    [reason] = found.reasons
    assert reason.startswith("SKU SKU-RED-M, SKU-BLUE-L: ")
    assert found.waiting is None


def test_a_request_with_problems_does_not_wait_for_its_skus():
    found = validate(replace(GOOD, ship_to_name=None), DEFAULT, stock={}, inventory_as_of=None)
    assert len(found.reasons) == 1
    assert found.waiting is None


def test_no_stock_is_a_warning():
    found = validate(GOOD, DEFAULT, stock=STOCK | {"SKU-BLUE-L": 0}, inventory_as_of=None)
    assert (found.reasons, found.waiting) == ((), None)
    assert found.warnings == ("SKU SKU-BLUE-L: the pool has a quantity of 0",)


def test_a_request_without_items_waits_whatever_else_is_wrong():
    found = validate(replace(GOOD, items=(), ship_to_name=None), DEFAULT, stock={}, inventory_as_of=CREATED)
    assert found.reasons == ()
    assert str(found.waiting) == "no items yet"


# --- when it is sent

NY, BERLIN = ZoneInfo("America/New_York"), ZoneInfo("Europe/Berlin")
AUTO = {"send_automatically": True}


def test_what_is_not_sent_automatically_waits_for_a_run_by_hand():
    waiting = due(GOOD, DEFAULT, CREATED, manual=False)
    assert "triggered by hand" in waiting.reason
    assert waiting.until is None
    assert due(GOOD, DEFAULT, CREATED, manual=True) is None
    assert due(GOOD, store(**AUTO), CREATED, manual=False) is None


def test_a_clock_that_is_behind_the_database_does_not_hold_anything_back():
    assert due(GOOD, store(**AUTO), CREATED - timedelta(seconds=2), manual=False) is None


def test_hold_counts_hours_from_creation():
    held = store(**AUTO, hold_hours=1.5)
    end = CREATED + timedelta(minutes=90)
    waiting = due(GOOD, held, end - timedelta(seconds=1), manual=False)
    assert str(waiting) == "on hold for 1.5 h after it was created; until 2026-11-20 11:00 UTC"
    assert waiting.until == end
    assert due(GOOD, held, end, manual=False) is None
    assert due(GOOD, held, CREATED, manual=False, ignore_hold=True) is None
    assert due(GOOD, held, CREATED, manual=True) == due(GOOD, held, CREATED, manual=False)


@pytest.mark.parametrize(
    ("zone", "created", "ends"),
    [
        (NY, datetime(2026, 3, 7, 12), datetime(2026, 3, 8, 13)),  # the night is an hour shorter
        (NY, datetime(2026, 10, 31, 12), datetime(2026, 11, 1, 11)),
        (BERLIN, datetime(2026, 3, 28, 12), datetime(2026, 3, 29, 13)),
        (BERLIN, datetime(2026, 10, 24, 12), datetime(2026, 10, 25, 11)),
    ],
)
def test_a_hold_of_24_hours_is_24_hours_over_a_change_of_the_clocks(zone, created, ends):
    request = replace(GOOD, created_at=created.replace(tzinfo=zone))
    waiting = due(request, store(**AUTO, hold_hours=24), created.replace(tzinfo=zone), manual=False)
    assert waiting.until == ends.replace(tzinfo=zone)
    assert waiting.until - request.created_at.astimezone(UTC) == timedelta(hours=24)


@pytest.mark.parametrize(
    ("zone", "now", "opens"),
    [
        # both sides of both changes of the clocks: 09:00 on the wall is another hour in UTC each time
        (NY, "2026-03-06 22:00", "2026-03-09 13:00"),
        (NY, "2026-03-07 14:00", "2026-03-09 13:00"),
        (NY, "2026-10-30 21:00", "2026-11-02 14:00"),
        (NY, "2026-11-01 05:30", "2026-11-02 14:00"),
        (BERLIN, "2026-03-27 16:00", "2026-03-30 07:00"),
        (BERLIN, "2026-10-23 15:00", "2026-10-26 08:00"),
        (BERLIN, "2026-10-25 00:30", "2026-10-26 08:00"),
        # across midnight, in the store's day and not in UTC's
        (NY, "2026-11-24 03:00", "2026-11-24 14:00"),
        (BERLIN, "2026-11-23 23:30", "2026-11-24 08:00"),
        # Christmas Eve evening; 25 December is a holiday and a Friday
        (NY, "2026-12-24 22:30", "2026-12-28 14:00"),
        (BERLIN, "2026-12-25 10:00", "2026-12-28 08:00"),
    ],
)
def test_business_hours_are_those_of_the_clock_on_the_wall(zone, now, opens):
    now, opens = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, opens))
    rules = store(**AUTO, business_hours=hours(zone.key, holidays=["2026-12-25"]))
    waiting = due(GOOD, rules, now, manual=False)
    assert waiting.until == opens
    assert waiting.reason == f"outside business hours (mon, tue, wed, thu, fri 09:00-17:00 {zone.key})"
    assert opens.astimezone(zone).strftime("%H:%M") == "09:00"
    assert due(GOOD, rules, opens, manual=False) is None
    assert due(GOOD, rules, now, manual=False, ignore_business_hours=True) is None


@pytest.mark.parametrize(
    ("at", "is_it"),
    [
        ("2026-11-23 13:59:59", False),
        ("2026-11-23 14:00:00", True),
        ("2026-11-23 21:59:59", True),
        ("2026-11-23 22:00:00", False),
        ("2026-11-22 15:00:00", False),
        ("2026-11-26 15:00:00", False),
    ],
)
def test_open_from_the_first_minute_to_before_the_last(at, is_it):
    calendar = hours(holidays=["2026-11-26"])
    assert is_open(calendar, datetime.fromisoformat(at).replace(tzinfo=UTC)) is is_it


@pytest.mark.parametrize(
    ("zone", "start", "end", "now", "opens"),
    [
        # 02:30 does not exist that night: the store opens when the clock jumps to 03:00
        ("America/New_York", "02:30", "04:00", "2026-03-08 06:00", "2026-03-08 07:00"),
        ("Europe/Berlin", "02:30", "04:00", "2026-03-29 00:00", "2026-03-29 01:00"),
        # 01:00-01:59 (02:00-02:59) comes twice, and so do the business hours in it
        ("America/New_York", "01:15", "01:45", "2026-11-01 05:45", "2026-11-01 06:15"),
        ("Europe/Berlin", "02:15", "02:45", "2026-10-25 00:45", "2026-10-25 01:15"),
        ("America/New_York", "00:30", "01:30", "2026-11-01 05:30", "2026-11-01 06:00"),
        # a whole day, to midnight
        ("Europe/Berlin", "00:00", "24:00", "2026-10-25 22:59", "2026-10-25 22:59"),
        ("Europe/Berlin", "00:00", "24:00", "2026-10-25 23:00", "2026-10-31 23:00"),
    ],
)
def test_hours_inside_a_change_of_the_clocks(zone, start, end, now, opens):
    calendar = hours(zone, start, end, days=["sun"])
    now, opens = (datetime.fromisoformat(text).replace(tzinfo=UTC) for text in (now, opens))
    assert next_opening(calendar, now) == opens


def test_a_hold_that_ends_at_night_waits_for_the_morning_and_says_both():
    both = store(**AUTO, hold_hours=12, business_hours=hours("UTC", holidays=["2026-11-23"]))
    waiting = due(GOOD, both, CREATED, manual=False)
    assert waiting.until == datetime(2026, 11, 24, 9, tzinfo=UTC)  # Friday 21:30 is over, Monday a holiday
    assert waiting.reason == (
        "on hold for 12 h after it was created and outside business hours (mon, tue, wed, thu, fri 09:00-17:00 UTC)"
    )
    assert due(GOOD, both, CREATED, manual=False, ignore_hold=True) is None
    held = due(GOOD, both, CREATED, manual=False, ignore_business_hours=True)
    assert held.until == CREATED + timedelta(hours=12)


def test_business_hours_that_never_come_have_no_end_to_wait_for():
    days = [(datetime(2026, 1, 1) + timedelta(days=n)).date() for n in range(5 * 366)]
    never = store(**AUTO, business_hours=hours(holidays=days))
    waiting = due(GOOD, never, CREATED, manual=False)
    assert "outside business hours" in waiting.reason
    assert waiting.until is None


WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
clock = st.times().map("{:%H:%M}".format)


@settings(max_examples=80, deadline=None)
@given(
    zone=st.sampled_from(
        ["America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "America/Havana", "Asia/Kolkata"]
    ),
    window=st.tuples(clock, clock | st.just("24:00")).filter(lambda pair: pair[0] < pair[1]),
    days=st.lists(st.sampled_from(WEEKDAYS), min_size=1, unique=True),
    change=st.sampled_from(["2026-03-08", "2026-03-29", "2026-04-05", "2026-10-04", "2026-10-25", "2026-11-01"]),
    away=st.timedeltas(min_value=timedelta(days=-3), max_value=timedelta(days=2)),
    hold=st.integers(0, 48),
)
def test_until_is_the_first_moment_at_which_it_is_due(*, zone, window, days, change, away, hold):
    now = datetime.fromisoformat(change).replace(tzinfo=UTC) + away
    rules = store(**AUTO, hold_hours=hold, business_hours=hours(zone, *window, days=days))
    request = replace(GOOD, created_at=now - timedelta(hours=12))
    waiting = due(request, rules, now, manual=False)
    if waiting is None:
        return
    assert waiting.until > now
    assert due(request, rules, waiting.until, manual=False) is None
    for sample in range(1, 16):
        between = now + (waiting.until - now) * sample / 16
        assert due(request, rules, between, manual=False).until == waiting.until
    assert due(request, rules, waiting.until - timedelta(microseconds=1), manual=False) is not None


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
        **{name: text for name in GOOD.__dataclass_fields__ if name.startswith("ship") or name == "order_comment"},
    )
)
def test_any_request_gets_reasons_and_no_exception(request):
    found = validate(request, store(notify_customer=True), stock={}, inventory_as_of=None)
    assert bool(found.reasons) != bool(found.waiting)  # nothing is in stock, so it is one or the other
    assert all(reason.isprintable() for reason in found.reasons)
