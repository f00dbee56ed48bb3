"""The hook: what a connection must have, and the connection test."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from airflow.sdk import Connection

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    ConfigurationError,
)


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
    found = with_days(amazon, monkeypatch, client_secret_created="2026-01-01", authorized_at="2026-01-01T10:00:00Z")
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
    assert "(warning)" in message


def test_connection_test_reports_a_wrong_marketplace(amazon, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, marketplace_id="A1PA6795UKMFR9"))
    passed, message = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert not passed
    assert "this seller does not sell in Germany" in message
