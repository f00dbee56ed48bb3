"""The client: tokens, user agent, rates, and what each answer of Amazon means."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from airflow.sdk import Connection
from cryptography.fernet import Fernet

from devstack.airflow import store_connection, warehouse_connection
from fba_operators.amazon.client import amazon_time, without_tokens
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.amazon.transport import user_agent
from fba_operators.errors import (
    ConfigurationError,
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from tests.helpers import calls_of
from tests.stores import AFN, LISTINGS, SELLER, US


def test_user_agent_has_amazons_form_and_length():
    assert user_agent().startswith("airflow-amazon-fba/0.1.0 (Language=Python/3.")
    assert user_agent().endswith(")")
    assert len(user_agent()) <= 500


def test_user_agent_escapes_what_amazon_reserves(monkeypatch):
    monkeypatch.setattr("platform.release", lambda: r"6.1(a;b)=/\ " + "x" * 900)
    assert r"6.1\(a\;b\)\=\/\\" in user_agent()
    assert len(user_agent()) <= 500


def test_one_token_call_for_all_hooks_of_a_credential(amazon, warehouse):
    for _ in range(3):
        SellingPartnerHook().get_marketplace_participations()
    assert calls_of(amazon, "token") == 1


def test_token_is_encrypted_at_rest(amazon, warehouse, warehouse_url):
    token = SellingPartnerHook().access_token()
    with psycopg.connect(warehouse_url) as db:
        ((credential, stored),) = db.execute("SELECT credential, token FROM fba.lwa_token").fetchall()
    assert token.encode() not in stored
    assert "amzn1" not in credential


def test_without_a_fernet_key_nothing_is_stored(amazon, warehouse, warehouse_url, monkeypatch):
    class NoKey:
        is_encrypted = False

    monkeypatch.setattr("fba_operators.warehouse.encryption.get_fernet", NoKey)
    with pytest.raises(ConfigurationError, match="FERNET_KEY"):
        SellingPartnerHook().access_token()
    with psycopg.connect(warehouse_url) as db:
        assert db.execute("SELECT count(token) FROM fba.lwa_token").fetchone() == (0,)


def test_a_token_kept_with_a_lost_fernet_key_is_replaced(amazon, warehouse, warehouse_url):
    SellingPartnerHook().access_token()
    with psycopg.connect(warehouse_url) as db:
        db.execute("UPDATE fba.lwa_token SET token = %s", (Fernet(Fernet.generate_key()).encrypt(b"Atza|old"),))
    SellingPartnerHook().get_marketplace_participations()
    assert calls_of(amazon, "token") == 2


def test_a_new_refresh_token_works_at_once(amazon, warehouse, monkeypatch):
    SellingPartnerHook().access_token()
    renewed = amazon.world.change_credentials(SELLER, refresh_token="Atzr|renewed")
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, refresh_token=renewed["refresh_token"]))
    SellingPartnerHook().access_token()
    assert calls_of(amazon, "token") == 2


def test_an_expired_token_is_renewed_once(amazon, warehouse):
    hook = SellingPartnerHook()
    hook.get_marketplace_participations()
    amazon.world.add_fault(operation="getMarketplaceParticipations", fault="expired_token")
    hook.get_marketplace_participations()
    assert calls_of(amazon, "token") == 2


def test_a_token_refused_again_and_again_is_an_error(amazon, warehouse):
    amazon.world.add_fault(operation="getMarketplaceParticipations", fault="expired_token", times=None)
    with pytest.raises(CredentialsError, match="denies access"):
        SellingPartnerHook().get_marketplace_participations()
    assert calls_of(amazon, "token") == 2


@pytest.mark.parametrize(
    ("wrong", "advice"),
    [({"refresh_token": "Atzr|wrong"}, "authorise the application again"), ({"password": "wrong"}, "secret")],
)
def test_wrong_credentials_say_what_to_do_and_show_no_secret(amazon, warehouse, monkeypatch, wrong, advice):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, **wrong))
    with pytest.raises(CredentialsError, match=advice) as caught:
        SellingPartnerHook().access_token()
    assert "Atzr|" not in str(caught.value)
    assert calls_of(amazon, "token") == 1


def test_a_connection_without_fields_says_which(amazon, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", '{"conn_type": "amazon_sp_api", "login": "x"}')
    with pytest.raises(ConfigurationError, match=r"lacks password, refresh_token, seller_id, marketplace_id"):
        SellingPartnerHook().access_token()


@pytest.mark.parametrize("extra", ["[1]", "null", "12", '"text"', "{", ""])
def test_an_extra_that_is_no_object_is_a_missing_one(extra):
    connection = Connection(conn_id="amazon_us", conn_type="amazon_sp_api", login="l", password="p", extra=extra)
    with pytest.raises(ConfigurationError, match="lacks refresh_token, seller_id, marketplace_id"):
        _ = SellingPartnerHook("amazon_us", None, connections={"amazon_us": connection}).credentials


def test_a_role_that_is_missing_is_explained(amazon, warehouse):
    denied = {"errors": [{"code": "Unauthorized", "message": "Access to requested resource is denied.", "details": ""}]}
    amazon.world.add_fault(operation="createReport", fault="status", status=403, body=denied)
    with pytest.raises(CredentialsError, match="role") as caught:
        SellingPartnerHook().create_report(AFN)
    assert caught.value.request_id
    assert calls_of(amazon, "token") == 1


def test_a_fault_that_passes_is_waited_out(amazon, warehouse):
    hook = SellingPartnerHook()
    report_id = hook.create_report(AFN)
    for fault in ("503", "reset_before", "429"):
        amazon.world.add_fault(operation="getReport", fault=fault)
    assert hook.get_report(report_id).report_id == report_id
    assert hook.calls["getReport"] == 4


@pytest.mark.parametrize("fault", ["500", "503", "reset_before", "reset_after", "error_after"])
def test_create_report_is_never_repeated_blindly(amazon, warehouse, fault):
    amazon.world.add_fault(operation="createReport", fault=fault)
    with pytest.raises(LostAnswerError):
        SellingPartnerHook().create_report(AFN)
    assert calls_of(amazon, "createReport") == 1


def test_what_amazon_refuses_is_not_repeated(amazon, warehouse):
    with pytest.raises(RequestRefusedError, match="HTTP 400") as caught:
        SellingPartnerHook().create_report("GET_NO_SUCH_REPORT")
    assert caught.value.code == "InvalidInput"
    assert calls_of(amazon, "createReport") == 1


def test_scarce_calls_share_one_bucket_and_never_go_into_debt(amazon, warehouse):
    hooks = [SellingPartnerHook() for _ in range(3)]
    for number in range(15):
        hooks[number % 3].create_report(LISTINGS)
    for _ in range(2):
        with pytest.raises(ThrottledError) as caught:
            hooks[0].create_report(LISTINGS)
        assert timedelta(seconds=40) < caught.value.until - datetime.now(UTC) < timedelta(seconds=61)
    assert calls_of(amazon, "createReport") == 15


def test_stores_that_ask_for_stock_at_once_share_amazons_rate(amazon, warehouse):
    """Each would otherwise meet 429 after 429, give up in the middle and begin again, for ever if the list is long."""

    def ask(_):
        for _ in range(3):
            SellingPartnerHook().get_inventory_summaries(["A", "B"])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(ask, range(4)))
    answers = amazon.world.calls()["outcomes"]["getInventorySummaries"]
    assert answers["200"] == 12
    assert answers.get("429", 0) < 3  # one may overtake another on its way


def test_amazons_429_empties_the_bucket(amazon, warehouse):
    amazon.world.add_fault(operation="createReport", fault="429")
    with pytest.raises(ThrottledError) as caught:
        SellingPartnerHook().create_report(AFN)
    assert caught.value.until - datetime.now(UTC) > timedelta(seconds=40)
    with pytest.raises(ThrottledError):
        SellingPartnerHook().create_report(AFN)
    assert calls_of(amazon, "createReport") == 1


def test_amazon_may_grant_another_rate(amazon, warehouse, warehouse_url):
    amazon.world.set_clock(speed=60)
    SellingPartnerHook().create_report(AFN)
    with psycopg.connect(warehouse_url) as db:
        ((rate,),) = db.execute("SELECT rate FROM fba.rate_limit").fetchall()
    assert rate == pytest.approx(0.0167 * 60)


def test_get_reports_reads_every_page(amazon, warehouse):
    hook = SellingPartnerHook()
    ids = {hook.create_report(LISTINGS) for _ in range(3)}
    since = datetime.now(UTC) - timedelta(hours=1)
    found = list(hook.get_reports(LISTINGS, created_since=since))
    assert {report.report_id for report in found} == ids


def test_a_cut_download_is_an_error_that_shows_no_url(amazon, warehouse):
    with pytest.raises(UnavailableError) as caught:
        SellingPartnerHook().client.transport.open_download(
            "http://127.0.0.1:9/document?X-Amz-Signature=secret", "report document"
        )
    assert "secret" not in str(caught.value)
    assert "secret" not in str(caught.value.__cause__)


def test_stock_is_asked_in_the_way_amazon_can_answer(amazon, warehouse):
    truth = amazon.world.truth(SELLER, US, False, True)
    known = {sku: told["fba"] for sku, told in truth.items() if told["source"] == "fba_api"}
    plain = {sku: quantity for sku, quantity in known.items() if "," not in sku}
    assert plain
    assert SellingPartnerHook().get_inventory_summaries([*plain, "no-such-sku"][:50]) == plain
    with pytest.raises(ValueError, match="comma"):
        SellingPartnerHook().get_inventory_summaries(["a,b", "c"])


def test_connection_test_gives_a_verdict_for_each_part(amazon):
    good, words = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert good, words
    assert "client and refresh token: ok" in words
    assert "United States" in words


def test_connection_test_works_before_there_is_a_warehouse(amazon, postgres, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_FBA_WAREHOUSE", warehouse_connection(postgres.create_database("no_schema_yet")))
    good, words = SellingPartnerHook().test_connection()
    assert good, words


def test_connection_test_sees_a_wrong_secret_behind_a_kept_token(amazon, warehouse, monkeypatch):
    SellingPartnerHook().access_token()
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, password="wrong"))
    good, words = SellingPartnerHook().test_connection()
    assert not good
    assert "secret is wrong" in words
    assert "amazon_us" not in words


def test_connection_test_of_a_seller_without_fba_stock_is_good(amazon):
    refused = {"errors": [{"code": "InvalidInput", "message": "no FBA inventory"}]}
    amazon.world.add_fault("getInventorySummaries", "status", status=400, body=refused)
    good, words = SellingPartnerHook().test_connection()
    assert good, words
    assert "(warning)" in words


def test_connection_test_tells_a_wrong_marketplace(amazon, monkeypatch):
    monkeypatch.setenv("AIRFLOW_CONN_AMAZON_US", store_connection(amazon.url, marketplace_id="A1PA6795UKMFR9"))
    good, words = SellingPartnerHook(warehouse_conn_id=None).test_connection()
    assert not good
    assert "this seller does not sell in Germany" in words


def test_times_are_written_in_utc():
    moment = datetime(2026, 11, 23, 1, 2, 3, 456000, tzinfo=UTC).astimezone()
    assert amazon_time(moment) == "2026-11-23T01:02:03.456Z"


def test_tokens_are_removed_from_texts():
    assert without_tokens("bad Atza|IwEB and Atz.sprdt|x.") == "bad (token removed) and (token removed)"
