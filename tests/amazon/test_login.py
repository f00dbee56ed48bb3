"""Access tokens: one per credential, encrypted at rest, renewed when they expire."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from cryptography.fernet import Fernet

from devstack.airflow import store_connection
from fba_operators.amazon.hook import SellingPartnerHook
from fba_operators.errors import (
    ConfigurationError,
    CredentialsError,
    UnavailableError,
)
from fba_operators.warehouse.tokens_and_rates import shared_access_token
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


# One login at a time, outside of any transaction


def test_tasks_that_start_together_ask_once(amazon, warehouse):
    amazon.world.add_fault("token", "delay", seconds=0.5)
    with ThreadPoolExecutor(8) as pool:
        tokens = set(pool.map(lambda _: SellingPartnerHook().access_token(), range(8)))
    assert len(tokens) == 1
    assert calls_of(amazon, "token") == 1


def test_while_amazon_is_asked_no_session_holds_the_row(amazon, warehouse, sql):
    """A transaction that is idle meanwhile would be cut by the database's own time limit, and the token lost."""
    seen = []

    def fetch():
        open_ones = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
        seen.append((sql(open_ones).fetchone(), sql("SELECT token FROM fba.lwa_token FOR UPDATE NOWAIT").fetchone()))
        return "Atza|x", datetime.now(UTC) + timedelta(hours=1)

    shared_access_token(warehouse, "key", rejected=None, fetch=fetch)
    assert seen == [((0,), (None,))]
    assert shared_access_token(warehouse, "key", rejected=None, fetch=pytest.fail)[0] == "Atza|x"


def test_a_task_that_died_while_it_asked_is_not_waited_for_long(amazon, warehouse, sql, monkeypatch):
    """Its lease lasts a minute; a lease that ends later than that, by a clock that was wrong, is none."""
    SellingPartnerHook().access_token()
    for lease, at_least in {"1 second": 0.5, "1 year": 0.0, "-1 second": 0.0}.items():
        sql("UPDATE fba.lwa_token SET token = NULL, fetching_until = clock_timestamp() + %s::interval", lease)
        began = time.monotonic()
        SellingPartnerHook().access_token()
        assert at_least <= time.monotonic() - began < 40
    assert calls_of(amazon, "token") == 4


def test_who_has_waited_long_enough_asks_himself(amazon, warehouse, sql):
    shared_access_token(warehouse, "key", rejected=None, fetch=lambda: ("Atza|old", datetime.now(UTC)))
    sql("UPDATE fba.lwa_token SET fetching_until = now() + interval '50 seconds'")
    until = datetime.now(UTC) + timedelta(hours=1)
    began = time.monotonic()
    found = shared_access_token(warehouse, "key", rejected=None, fetch=lambda: ("Atza|new", until), patience=0.5)
    assert found == ("Atza|new", until)
    assert 0.4 < time.monotonic() - began < 3
    assert shared_access_token(warehouse, "key", rejected=None, fetch=pytest.fail)[0] == "Atza|new"


def test_a_login_that_fails_ends_its_lease(amazon, warehouse, sql):
    def fetch():
        raise UnavailableError("no")

    with pytest.raises(UnavailableError):
        shared_access_token(warehouse, "key", rejected=None, fetch=fetch)
    assert sql("SELECT fetching_until FROM fba.lwa_token").fetchone() == (None,)


def test_a_token_row_that_somebody_holds_stops_no_task(amazon, warehouse, warehouse_url):
    SellingPartnerHook().access_token()
    with psycopg.connect(warehouse_url) as idle:
        idle.execute("UPDATE fba.lwa_token SET expires_at = expires_at")
        assert SellingPartnerHook().access_token()
        assert calls_of(amazon, "token") == 1
        amazon.world.expire("tokens")
        hook = SellingPartnerHook()
        token = hook.client.login.token()
        shared = shared_access_token(
            warehouse,
            hook.credentials.token_key,
            rejected=token.text,
            fetch=lambda: ("Atza|new", datetime.now(UTC) + timedelta(hours=1)),
            patience=0.2,
        )
        assert shared[0] == "Atza|new"
