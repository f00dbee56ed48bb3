"""The stores file: defaults, every kind of mistake, and values that YAML reads as another type."""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from fba_operators.settings.models import Fulfillment, Store, StoresError, StoresFile
from fba_operators.settings.speeds import SpeedWarning, warn_of_speeds
from fba_operators.settings.stores_file import load_stores, stores_path

SHIPPED = Path(__file__).parents[2] / "include" / "stores.yaml"


@pytest.fixture
def read(tmp_path):
    def read(text: str) -> StoresFile:
        path = tmp_path / "stores.yaml"
        path.write_text(text, encoding="utf-8")
        return load_stores(path)

    return read


@pytest.fixture
def refused(read):
    def refused(text: str) -> list[str]:
        with pytest.raises(StoresError) as caught:
            read(text)
        first, *problems = str(caught.value).splitlines()
        assert "stores.yaml" in first
        return problems

    return refused


def in_store(section: str, text: str) -> str:
    return f"stores:\n  de:\n    {section}: {{{text}}}\n"


def test_the_shipped_file_is_one_store_with_every_default(monkeypatch):
    monkeypatch.delenv("FBA_STORES_FILE", raising=False)
    assert stores_path() == SHIPPED
    assert load_stores() == StoresFile(stores={"amazon_us": Store()})


def test_the_shipped_file_shows_every_key_with_its_default(read):
    text = re.sub(r"(?m)^( *)# (?!  )( *)(\w+:( .*)?)$", r"\1\2\3", SHIPPED.read_text(encoding="utf-8"))
    text = re.sub(r"(?m)^( *)#   ( *)(\w+:( .*)?)$", r"\1  \2\3", text)
    shown = yaml.safe_load(text)
    assert set(shown["stores"]["amazon_us"]) == set(Store.model_fields)
    defaults = Store().model_dump()
    for section, keys in shown["stores"]["amazon_us"].items():
        assert set(keys) == set(defaults[section])
    assert set(shown) == set(StoresFile.model_fields)
    assert read(text) == StoresFile(stores={"amazon_us": Store()})


def test_the_environment_can_set_another_file(monkeypatch, tmp_path):
    path = tmp_path / "other.yaml"
    path.write_text("stores: {amazon_de: }\n")
    monkeypatch.setenv("FBA_STORES_FILE", str(path))
    found = load_stores()
    assert list(found.stores) == ["amazon_de"]
    with pytest.raises(StoresError, match=r"no store 'x'.*amazon_de"):
        found.store("x")
    assert found.store("amazon_de") == Store()


def test_every_key_can_be_set(read):
    found = read("""
stores:
  amazon_de:
    inventory:
      include_fbm_quantity: true
      fetch_missing_inventory: yes
      import_deleted_skus: false
      fields: {brand: item-note}
      max_zeroed_share: 1
      max_rejected_share: 0.25
    fulfillment:
      send_automatically: true
      hold_hours: 1.5
      business_hours: {timezone: Europe/Berlin, days: [sat], from: "00:00", to: "24:00", holidays: [2026-12-25, "2027-01-01"]}
      transport: outbound
      shipping_methods: {next day: Priority, economy: Cheapest}
      channels: {walmart: {packaging: unbranded, block_amazon_logistics: true}, own: }
      quote: true
      reserve: true
      approval: {above_fee: 20.00, above_value: 500, late: true}
      fulfillment_policy: FillAll
      notify_customer: true
      rules: {minimum_units: 2, minimum_value: 10.10, ship_to_countries: [UK, "NO"], exclude_skus: ["007"]}
      allow_po_boxes: true
    shipments: {lookback_days: 3}
retention: {raw_documents_days: 7, addresses_days: 8, data_months: 12}
notifications: [{connection: chat, on: [change]}, {connection: mail}]
""")
    store = found.store("amazon_de")
    assert store.inventory.fields == {"brand": "item-note"}
    assert store.inventory.fetch_missing_inventory is True
    assert store.fulfillment.hold_hours == 1.5
    assert store.fulfillment.business_hours.holidays == (date(2026, 12, 25), date(2027, 1, 1))
    assert (store.fulfillment.business_hours.opens, store.fulfillment.business_hours.closes) == ("00:00", "24:00")
    assert store.fulfillment.shipping_methods == {"next day": "Priority", "economy": "Cheapest"}
    assert (store.fulfillment.transport, store.fulfillment.quote, store.fulfillment.reserve) == ("outbound", True, True)
    assert store.fulfillment.channels["walmart"].block_amazon_logistics is True
    assert store.fulfillment.channels["own"].packaging is None
    assert store.fulfillment.approval.above_fee == Decimal(20)
    assert store.fulfillment.rules.minimum_value == Decimal("10.1")
    assert store.fulfillment.rules.ship_to_countries == ("GB", "NO")
    assert tuple(found.retention.model_dump().values()) == (7, 8, 12)
    assert [(n.connection, n.on) for n in found.notifications] == [
        ("chat", ("change",)),
        ("mail", ("failure", "attention")),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("reserve: true", "works only with transport: outbound"),
        ("approval: {}", "it names nothing that needs approval"),
        ("approval: {always: false, late: false}", "it names nothing that needs approval"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(refused, text, message):
    (problem,) = refused(in_store("fulfillment", text))
    assert message in problem


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ("", False),
        ("quote: true", True),
        ("approval: {late: true}", True),
        ("shipping_methods: {Standard: Cheapest}", True),
        ("shipping_methods: {Standard: Standard, Economy: Cheapest}", False),
    ],
)
def test_approval_and_cheapest_imply_a_quote(read, text, quotes):
    assert read(in_store("fulfillment", text)).store("de").fulfillment.quotes("Standard") is quotes


def test_sections_without_entries_are_the_defaults(read):
    text = "stores: {de: {inventory: , fulfillment: {rules: , business_hours: }, shipments: }}\nretention:\nnotifications:\npublish:\n"
    assert read(text) == StoresFile(stores={"de": Store()})


def test_settings_cannot_be_changed():
    with pytest.raises(ValueError, match="frozen"):
        Fulfillment().hold_hours = 3


@pytest.mark.parametrize(
    ("section", "text", "key", "found", "allowed"),
    [
        ("inventory", "include_fbm_quantity: maybe", "include_fbm_quantity", "maybe", "true or false"),
        ("inventory", "max_zeroed_share: 2", "max_zeroed_share", "2", "from 0 to 1"),
        ("inventory", "max_zeroed_share: .nan", "max_zeroed_share", ".nan", "from 0 to 1"),
        ("inventory", 'max_rejected_share: "0.1"', "max_rejected_share", "0.1", "from 0 to 1"),
        (
            "inventory",
            "fields: {quantity: x}",
            "fields.quantity",
            "the key quantity",
            "category3, asin, listing_status",
        ),
        ("inventory", "fields: {brand: }", "fields.brand", "nothing", "pool column: report column"),
        ("inventory", "bogus: 1", "inventory", "the key bogus", "include_fbm_quantity, fetch_missing"),
        ("fulfillment", "hold_hours: -1", "hold_hours", "-1", "hours from 0"),
        ("fulfillment", "hold_hours: true", "hold_hours", "true", "hours from 0"),
        ("fulfillment", "fulfillment_policy: fillorkill", "fulfillment_policy", "fillorkill", "FillOrKill, FillAll,"),
        (
            "fulfillment",
            "shipping_methods: {a: ScheduledDelivery}",
            "shipping_methods.a",
            "ScheduledDelivery",
            "Priority",
        ),
        ("fulfillment", "transport: rest", "transport", "rest", "feed, outbound"),
        ("fulfillment", "shipping_methods: {a: cheapest}", "shipping_methods.a", "cheapest", "Cheapest"),
        ("fulfillment", "channels: {w: {packaging: plain}}", "channels.w.packaging", "plain", "any or unbranded"),
        ("fulfillment", "channels: {w: {signature: 1}}", "channels.w.signature", "1", "true or false"),
        (
            "fulfillment",
            "channels: {w: {box: plain}}",
            "channels.w",
            "the key box",
            "packaging, block_amazon_logistics",
        ),
        ("fulfillment", "channels: walmart", "channels", "walmart", "your channel: {packaging"),
        ("fulfillment", "quote: perhaps", "quote", "perhaps", "true or false"),
        ("fulfillment", "approval: true", "approval", "true", "a section with always, above_fee, above_value, late"),
        ("fulfillment", "approval: {above_fee: -1}", "approval.above_fee", "-1", "at least 0"),
        ("fulfillment", "approval: {above: 1}", "approval", "the key above", "above_fee, above_value"),
        ("fulfillment", "rules: {minimum_units: 0}", "rules.minimum_units", "0", "at least 1"),
        ("fulfillment", "rules: {minimum_value: true}", "rules.minimum_value", "true", "an amount"),
        ("fulfillment", "rules: {ship_to_countries: [XX]}", "ship_to_countries.0", "XX", "ISO 3166"),
        ("fulfillment", "rules: {ship_to_countries: []}", "ship_to_countries", "a list without entries", "ISO 3166"),
        ("fulfillment", "business_hours: 9-17", "business_hours", "9-17", "a section with timezone, days, from, to"),
        ("shipments", "lookback_days: 1.5", "lookback_days", "1.5", "1 to 540"),
        ("shipments", "lookback_days: 0", "lookback_days", "0", "1 to 540"),
    ],
)
def test_a_wrong_value_is_reported_with_store_key_value_and_what_is_allowed(
    refused, section, text, key, found, allowed
):
    [problem] = refused(in_store(section, text))
    assert problem.startswith("  line 3: store de, ")
    assert f"{key}: found {found}; allowed: " in problem
    assert allowed in problem.partition("allowed: ")[2]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timezone: Mars/Base, from: '09:00', to: '17:00'", "timezone: found Mars/Base; allowed: a time zone"),
        ("timezone: ../etc/passwd, from: '09:00', to: '17:00'", "timezone: found ../etc/passwd; allowed: a time zone"),
        ("timezone: UTC, from: '09:00'", "to: it is missing; allowed: a time"),
        ("timezone: UTC, from: '9:00', to: '17:00'", "from: found 9:00; allowed: a time"),
        ("timezone: UTC, from: '24:00', to: '24:00'", "from: found 24:00; allowed: a time"),
        ("timezone: UTC, from: '17:00', to: '09:00'", "business_hours: from must be earlier than to"),
        ("timezone: UTC, from: '09:00', to: '09:00'", "business_hours: from must be earlier than to"),
        ("timezone: UTC, from: '09:00', to: '10:00', days: [monday]", "days.0: found monday; allowed: a list of mon"),
        ("timezone: UTC, from: '09:00', to: '10:00', days: []", "days: found a list without entries; allowed:"),
        ("timezone: UTC, from: '09:00', to: '10:00', holidays: [12]", "holidays.0: found 12; allowed: a list of dates"),
        ("timezone: UTC, from: '09:00', to: '10:00', holidays: ['x']", "holidays.0: found x; allowed: a list of dates"),
        ("timezone: UTC, from: '09:00', to: '10:00', holidays: [2026-02-30]", "found 2026-02-30; allowed: a date that"),
        (
            "timezone: UTC, opens: '09:00', from: '08:00', to: '10:00'",
            "found the key opens; allowed: timezone, days, from",
        ),
    ],
)
def test_wrong_business_hours(refused, text, message):
    [problem] = refused(in_store("fulfillment", f"business_hours: {{{text}}}"))
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stores: {NO: {}}", 'found the key NO, which YAML reads as true or false: put it in quotes, "NO"'),
        ("stores: {123: {}}", 'found the key 123, which YAML reads as a number: put it in quotes, "123"'),
        (
            "stores: {2026-01-01: {}}",
            'found the key 2026-01-01, which YAML reads as a date: put it in quotes, "2026-01-01"',
        ),
        (
            in_store("fulfillment", "rules: {ship_to_countries: [NO]}"),
            "ship_to_countries.0: found NO, which YAML reads as",
        ),
        (
            in_store("fulfillment", "rules: {exclude_skus: [123]}"),
            "found 123, which YAML reads as a number: put it in quotes",
        ),
        (in_store("fulfillment", "rules: {exclude_skus: [0x1F]}"), 'put it in quotes, "0x1F"'),
        (
            in_store("fulfillment", "rules: {minimum_units: 010}"),
            "found 010, which YAML reads as a number: put it in quotes",
        ),
        (
            in_store("fulfillment", "hold_hours: 1:30"),
            "hold_hours: found 1:30, which YAML reads as a number: put it in quotes",
        ),
        (
            in_store("fulfillment", "business_hours: {timezone: UTC, from: '09:00', to: 17:00}"),
            'business_hours.to: found 17:00, which YAML reads as a number: put it in quotes, "17:00"',
        ),
        (in_store("fulfillment", "shipping_methods: {no: Standard}"), "shipping_methods: found the key no, which YAML"),
        (in_store("fulfillment", "shipping_methods: {a: NO}"), 'put it in quotes, "NO"'),
        (
            "stores: {a: }\nnotifications: [{connection: 5}]",
            "connection: found 5, which YAML reads as a number: put it in",
        ),
    ],
)
def test_what_yaml_would_read_as_something_else_must_be_quoted(refused, text, message):
    [problem] = refused(text)
    assert message in problem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stores:\n  a:\n  a:\n", "line 3: stores: found the key a twice"),
        (
            "stores: {a: {shipments: {lookback_days: 1, lookback_days: 2}}}",
            "store a, shipments: found the key lookback_days twice",
        ),
        ("stores: {a: }\nstores: {b: }", "line 2: found the key stores twice"),
    ],
)
def test_a_key_given_twice_is_refused(refused, text, message):
    [problem] = refused(text)
    assert message in problem


def test_all_problems_are_reported_at_once_in_the_order_of_the_file(refused):
    problems = refused("""
stores:
  a: {inventory: {max_zeroed_share: 7}}
  b:
    shipments:
      lookback_days: x
    fulfillment: {business_hours: {timezone: UTC, from: 9:00, to: '10:00'}}
  c d: {}
retention: 5
bogus: 1
""")
    assert [problem.split(":")[0].strip() for problem in problems] == [f"line {n}" for n in (3, 6, 7, 8, 9, 10)]


@pytest.mark.parametrize("months", [11, 19, 0, "12", 12.5, None])
def test_data_is_kept_as_long_as_logs_must_be_and_no_longer_than_amazon_allows(refused, months):
    [problem] = refused(f"stores: {{a: }}\nretention: {{data_months: {months!r}}}")
    assert "a whole number of months from 12 to 18" in problem


def test_shipments_are_not_read_further_back_than_they_are_kept(read, refused):
    text = "stores: {{a: {{shipments: {{lookback_days: {}}}}}}}\nretention: {{data_months: 12}}"
    read(text.format(360))
    [problem] = refused(text.format(361))
    assert "lookback_days of a is 361" in problem
    assert "at most 360 days" in problem


@pytest.mark.parametrize("text", ["", "# nothing", "[]", "stores:", "stores: {}", "stores: []", "stores: 5"])
def test_a_file_without_stores_is_refused(refused, text):
    [problem] = refused(text)
    assert "allowed:" in problem


@pytest.mark.parametrize(
    "text", ["stores: [", "a: b: c", "!!python/object:os.x {}", "? [a]\n: b", "a: &x [*x", "*nope", "\x01"]
)
def test_what_is_not_yaml_is_refused(refused, text):
    refused(text)


def test_anchors_and_merge_keys_work(read):
    found = read("stores:\n  a: &base {shipments: {lookback_days: 4}}\n  b: *base\n  c: {<<: *base, inventory: }\n")
    assert {store.shipments.lookback_days for store in found.stores.values()} == {4}


def test_a_missing_or_undecodable_file_is_refused(tmp_path):
    with pytest.raises(StoresError, match=r"none\.yaml"):
        load_stores(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("stores: {ä: }".encode("latin-1"))
    with pytest.raises(StoresError, match=r"latin\.yaml"):
        load_stores(tmp_path / "latin.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
keys = st.sampled_from(
    ["inventory", "fulfillment", "shipments", "rules", "business_hours", "fields", "from", "on", "x"]
)


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["stores", "retention", "notifications", "x"]),
        st.dictionaries(st.text(max_size=3), st.dictionaries(keys, st.dictionaries(keys, values) | values)) | values,
    )
)
def test_any_yaml_is_read_or_refused_with_a_message(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "any_stores.yaml"
    path.write_text(yaml.safe_dump(data, allow_unicode=True), encoding="utf-8")
    try:
        found = load_stores(path)
    except StoresError as error:
        assert str(path) in str(error)
    else:
        assert set(found.stores) == set(data["stores"])


def test_a_speed_that_amazon_has_only_in_some_countries_is_warned_of_and_no_mistake(read):
    found = read("""
stores:
  amazon_us: {fulfillment: {shipping_methods: {next day: Priority, Ground: Standard}}}
  amazon_ca: {fulfillment: {shipping_methods: {Priority: Priority}}}
  amazon_de: {fulfillment: {shipping_methods: {Standard: Standard, Expedited: Expedited, Priority: Priority}}}
  amazon_uk:
""")
    with pytest.warns(SpeedWarning) as caught:
        warn_of_speeds(found)
    assert [
        str(warning.message).partition(": Amazon lists Priority only in CA, IN and MX; ")[0] for warning in caught
    ] == [
        "stores.yaml: store amazon_us, fulfillment.shipping_methods.next day",
        "stores.yaml: store amazon_ca, fulfillment.shipping_methods.Priority",
    ]
    assert {warning.filename for warning in caught} == {__file__}


def test_destinations_of_stock_are_read(read):
    found = read("""
stores: {us: , de: {inventory: {breakdown: true, buffer_units: 3, low_stock_days: 10}}}
publish:
  - {name: shop, webhook: shop_stock}
  - {name: lake, file: "s3://lake/stock", connection: aws_default, stores: [de]}
""")
    assert found.destination("shop").webhook == "shop_stock"
    assert found.destination("lake").stores == ("de",)
    with pytest.raises(StoresError, match=r"no destination 'x' below publish. It has: shop, lake"):
        found.destination("x")
    inventory = found.store("de").inventory
    assert (inventory.breakdown, inventory.buffer_units, inventory.low_stock_days) == (True, 3, 10.0)


@pytest.mark.parametrize(
    ("publish", "problem"),
    [
        ("[{webhook: w}]", "publish.0.name: it is missing; allowed: a name of your own"),
        ("[{name: a b, webhook: w}]", "publish.0.name: found a b; allowed: a name of your own"),
        ("[{name: a}]", "publish.0: a must have either file or webhook, one of them"),
        ("[{name: a, webhook: w, file: 's3://b'}]", "publish.0: a must have either file or webhook, one of them"),
        ("[{name: a, webhook: w, connection: c}]", "publish.0: a has a connection, which only a file can have"),
        ("[{name: a, file: /srv/stock}]", "publish.0.file: found /srv/stock; allowed: the address of a folder"),
        (
            "[{name: a, webhook: w, url: x}]",
            "publish.0: found the key url; allowed: name, file, connection, webhook, stores",
        ),
        ("[{name: a, webhook: w, stores: [fr]}]", "publish: a names the store fr; allowed: de"),
        (
            "[{name: a, webhook: w}, {name: a, webhook: v}]",
            "publish has two destinations named a; allowed: a name of its own",
        ),
        ("{name: a}", "publish: found a section; allowed: a list of {name: a name"),
    ],
)
def test_a_mistake_in_a_destination_is_explained(refused, publish, problem):
    (line,) = refused(f"stores: {{de: }}\npublish: {publish}\n")
    assert problem in line


@pytest.mark.parametrize(
    "setting", ["buffer_units: -1", "buffer_units: 1.5", "low_stock_days: 0", "low_stock_days: 400", "breakdown: 1"]
)
def test_a_wrong_number_of_stock_is_explained(refused, setting):
    (line,) = refused(in_store("inventory", setting))
    assert f"store de, inventory.{setting.partition(':')[0]}: found" in line
