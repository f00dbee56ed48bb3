"""Access tokens: one per credential, encrypted at rest, renewed when they expire."""

from __future__ import annotations

import psycopg
import pytest
from cryptography.fernet import Fernet

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    ConfigurationError,
    CredentialsError,
)
from tests.helpers import calls_of
from tests.stores import SELLER


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


def test_a_token_stored_with_a_lost_fernet_key_is_replaced(amazon, warehouse, warehouse_url):
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


def test_a_token_refused_repeatedly_is_an_error(amazon, warehouse):
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
