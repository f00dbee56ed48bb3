"""The hook: what a connection must have, and the connection test."""

from __future__ import annotations

import json
import re
import time
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import Connection

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.amazon import hook as hook_module
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    ConfigurationError,
)
from fba_operators.provider import get_provider_info
from tests.amazon.wire import Wire
from tests.helpers import calls_of


def test_missing_connection_fields_are_listed(amazon, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", '{"conn_type": "amazon_sp_api", "login": "x"}')
    with pytest.raises(ConfigurationError, match=r"lacks password, refresh_token, seller_id, marketplace_id"):
        SellingPartnerHook().access_token()


@pytest.mark.parametrize("extra", ["[1]", "null", "12", '"text"', "{", ""])
def test_an_extra_that_is_not_an_object_counts_as_missing(extra):
    connection = Connection(conn_id="amazon_us", conn_type="amazon_sp_api", login="l", password="p", extra=extra)
    with pytest.raises(ConfigurationError, match="lacks refresh_token, seller_id, marketplace_id"):
        _ = SellingPartnerHook("amazon_us", None, connections={"amazon_us": connection}).credentials


def with_days(amazon, monkeypatch, **days):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, **days))
    return SellingPartnerHook(warehouse_conn_id=None).client.credentials


def test_a_connection_may_say_how_old_its_secrets_are(amazon, monkeypatch):
    found = with_days(
        amazon, monkeypatch, client_secret_created='"2026-01-01"\u200b', authorized_at="2026-01-01T10:00:00Z"
    )
    assert found.client_secret_expires == datetime(2026, 6, 30, tzinfo=UTC)
    assert found.refresh_token_expires == datetime(2027, 1, 1, tzinfo=UTC)
    found = with_days(amazon, monkeypatch, client_secret_created="", authorized_at=None)
    assert (found.client_secret_expires, found.refresh_token_expires) == (None, None)


@pytest.mark.parametrize("text", ["amzn1.oa2-cs.v1.secret", "25.11.2026", "2999-01-01", "1999-12-31", "0"])
def test_a_day_that_cannot_be_is_refused_and_not_repeated(amazon, monkeypatch, text):
    with pytest.raises(ConfigurationError, match="client_secret_created must be a past day such as") as refused:
        with_days(amazon, monkeypatch, client_secret_created=text)
    assert str(text) not in str(refused.value) or text == "0"


def test_connection_test_reports_each_part(amazon):
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert passed, message
    assert "client and refresh token: ok" in message
    assert "United States" in message


def test_connection_test_begins_with_the_outcome(amazon):
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    first, *verdicts = message.split("\n")
    assert first == "OK: client, refresh token, marketplace and both roles"
    assert [verdict.endswith(": ok") for verdict in verdicts] == [True] * 6
    assert calls_of(amazon, "createReport") == 0
    assert passed


DENIED = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}


@pytest.mark.parametrize(
    ("operation", "status", "first"),
    [
        ("getInventorySummaries", 403, "FAILED: role Amazon Fulfillment"),
        ("listAllFulfillmentOrders", 403, "FAILED: role Amazon Fulfillment"),
        ("listOrders", 403, "OK, with a warning: changed orders not allowed"),
        ("listOrders", 500, "FAILED: no usable answer for changed orders"),
        ("getReports", 403, "FAILED: role Inventory and Order Tracking"),
        ("getReports", 500, "FAILED: no usable answer for reports"),
        ("getReports", 429, "OK, with a warning: reports not tried"),
        ("getInventorySummaries", 400, "OK, with a warning: FBA stock not answered"),
        ("getMarketplaceParticipations", 403, "OK, with a warning: marketplace not checked"),
        ("getMarketplaceParticipations", 401, "FAILED: marketplace"),
        ("getMarketplaceParticipations", 429, "OK, with a warning: marketplace not tried"),
        ("token", 500, "FAILED: no usable answer for client and refresh token"),
    ],
)
def test_connection_test_names_what_failed(amazon, no_retry_sleep, operation, status, first):
    amazon.world.add_fault(operation, "status", status=status, body=DENIED, times=None)
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert message.split("\n")[0] == first
    assert passed == first.startswith("OK")
    assert len(first) <= 80
    if "role" in first:  # the others are tried all the same
        assert message.count("\n") == 6


@pytest.mark.parametrize(
    ("wrong", "first"),
    [
        ({"refresh_token": "Atzr|wrong"}, "FAILED: Refresh token"),
        ({"password": "wrong"}, "FAILED: LWA client id or LWA client secret"),
        ({"seller_id": ""}, "FAILED: a field of the connection"),
        ({"marketplace_id": "A1PA6795UKMFR9"}, "FAILED: Marketplace"),
    ],
)
def test_connection_test_uses_the_words_of_the_form(amazon, monkeypatch, wrong, first):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, **wrong))
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert not passed
    assert message.split("\n")[0].startswith(first)
    (kind,) = get_provider_info()["connection-types"]
    labels = {**kind["ui-field-behaviour"]["relabeling"], **{k: v["label"] for k, v in kind["conn-fields"].items()}}
    for name, field in {
        "password": "login",
        "refresh_token": "refresh_token",
        "marketplace_id": "marketplace_id",
    }.items():
        if name in wrong:
            assert labels[field].split(" (")[0] in message.split("\n")[0]


@pytest.mark.parametrize(("days_ago", "warned"), [(149, False), (151, True), (200, True)])
def test_connection_test_tells_the_age_of_the_client_secret(amazon, monkeypatch, days_ago, warned):
    made = datetime.now(UTC).date() - timedelta(days=days_ago)
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, client_secret_created=made.isoformat()))
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert passed
    until = made + timedelta(days=180)
    assert f"until {until}" in message
    assert message.startswith(f"OK, with a warning: LWA client secret until {until}") == warned


def test_connection_test_of_a_server_that_hangs_ends_soon(amazon, monkeypatch):
    monkeypatch.setattr(hook_module, "TEST_SECONDS", 2.0)
    with Wire() as wire:
        wire.answer("/", lambda request: [0.1] * 300)
        monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url).replace(amazon.url, wire.url, 1))
        began = time.monotonic()
        passed, message = SellingPartnerHook().test_connection()
    assert not passed
    assert message.startswith("FAILED: no usable answer for ")
    assert time.monotonic() - began < 20


# What was pasted


@pytest.mark.parametrize(
    "around",
    [" {} ", "{}\n", "\r\n\t{}", '"{}"', "'{}'\n", " \u201c{}\u201d ", "\ufeff{}\u200b", "\u00a0{}", "\"'{}' \""],
)
def test_what_was_pasted_around_a_value_is_left_out(amazon, monkeypatch, around):
    plain = json.loads(store_connection(amazon.url))
    pasted = {**plain, **{name: around.format(plain[name]) for name in ("login", "password", "host")}}
    pasted["extra"] = {name: around.format(value) for name, value in plain["extra"].items()}
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", json.dumps(pasted))
    assert SellingPartnerHook(warehouse_conn_id=None).access_token()
    clean = SellingPartnerHook(warehouse_conn_id=None, connections={"amazon_us": Connection(**_fields(plain))})
    assert SellingPartnerHook(warehouse_conn_id=None).credentials == clean.credentials


def _fields(connection):
    return {**connection, "conn_id": "amazon_us", "extra": json.dumps(connection["extra"])}


@pytest.mark.parametrize("value", ["Atzr|a b", "Atzr|a\nb", "Atzr|\u00e9", 'Atzr|a"', "Atzr|a\x00"])
def test_what_cannot_be_a_value_is_named_and_not_shown(amazon, monkeypatch, value):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, refresh_token=value, password="x y"))
    with pytest.raises(ConfigurationError, match="password, refresh_token holds a blank") as caught:
        SellingPartnerHook().access_token()
    assert "Atzr" not in str(caught.value)
    assert "x y" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("<sEcReT>", "brackets"),
        ("client_secret=sEcReT", "a name before it"),
        ("refresh-token:sEcReT", "a name before it"),
        ("sEcReT,", "a comma or a semicolon"),
        ("sEcReT\\n", "a backslash, as in \\n"),
        ("Atzr%7CsEcReT", "an encoded sign, as %7C is for |"),
        ('secret="sEcReT";', None),
    ],
)
def test_what_was_pasted_along_with_a_value_is_named_and_nothing_is_guessed(amazon, monkeypatch, value, what):
    for field in ("password", "refresh_token"):
        monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, **{field: value}))
        says = f"{field} with {what}. Paste the value alone" if what else f"{field} holds a blank"
        with pytest.raises(ConfigurationError, match=re.escape(says)) as caught:
            SellingPartnerHook().access_token()
        worked, told = SellingPartnerHook().test_connection()
        assert not worked
        assert says in told
        assert "sEcReT" not in str(caught.value) + told


# Host and port


def endpoint_of(host, port=None, **extra):
    fields = json.loads(store_connection("", **extra))
    fields["host"], fields["port"] = host, port
    fields["extra"].pop("token_url")
    fields["extra"].update(extra)
    connection = Connection(**_fields(fields))
    return SellingPartnerHook("amazon_us", None, connections={"amazon_us": connection}).credentials


@pytest.mark.parametrize(
    ("host", "port", "endpoint"),
    [
        (None, None, "https://sellingpartnerapi-na.amazon.com"),
        ("", 0, "https://sellingpartnerapi-na.amazon.com"),
        (None, 8765, "https://sellingpartnerapi-na.amazon.com"),
        ("sandbox", None, "https://sandbox"),
        ("sandbox", 8765, "https://sandbox:8765"),
        ("sandbox:8765", 0, "https://sandbox:8765"),
        ("http://sandbox", 8765, "http://sandbox:8765"),
        ("http://sandbox:8765/", 8765, "http://sandbox:8765"),
        ("http://sandbox/amazon/", 8765, "http://sandbox:8765/amazon"),
        ("HTTPS://Sandbox/A", None, "https://sandbox/A"),
        ("http://[::1]", 8765, "http://[::1]:8765"),
    ],
)
def test_host_and_port_make_the_endpoint(host, port, endpoint):
    assert endpoint_of(host, port).endpoint == endpoint


@pytest.mark.parametrize(
    ("host", "port"),
    [
        ("http://sandbox:8765", 9000),
        ("ftp://sandbox", None),
        ("https://", None),
        ("https://user:secret@sandbox", None),
        ("https://sandbox?x=1", None),
        ("https://sandbox#x", None),
        ("https://san dbox", None),
        ("https://[", None),
        ("http://sandbox:port", None),
    ],
)
def test_a_host_that_cannot_be_is_named(host, port):
    with pytest.raises(ConfigurationError, match="Connection amazon_us: host") as caught:
        endpoint_of(host, port)
    assert "secret@" not in str(caught.value)


def test_a_token_url_that_cannot_be_is_named():
    assert endpoint_of(None).token_url == "https://api.amazon.com/auth/o2/token"
    assert endpoint_of(None, token_url=" http://sandbox/token/ ").token_url == "http://sandbox/token"
    with pytest.raises(ConfigurationError, match="token_url is no address"):
        endpoint_of(None, token_url="api.amazon.com/auth/o2/token")


def test_connection_test_works_before_there_is_a_warehouse(amazon, postgres, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(postgres.create_database("no_schema_yet")))
    passed, message = SellingPartnerHook().test_connection()
    assert passed, message


def test_connection_test_detects_a_wrong_secret_despite_a_stored_token(amazon, warehouse, monkeypatch):
    SellingPartnerHook().access_token()
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, password="wrong"))
    passed, message = SellingPartnerHook().test_connection()
    assert not passed
    assert "secret is wrong" in message
    assert "amazon_us" not in message


def test_connection_test_of_a_seller_without_fba_stock_passes(amazon):
    refused = {"errors": [{"code": "InvalidInput", "message": "no FBA inventory"}]}
    amazon.world.add_fault("getInventorySummaries", "status", status=400, body=refused)
    passed, message = SellingPartnerHook().test_connection()
    assert passed, message
    assert message.startswith("OK, with a warning")


def test_connection_test_reports_a_wrong_marketplace(amazon, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, marketplace_id="A1PA6795UKMFR9"))
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert not passed
    assert "this seller does not sell in Germany" in message
