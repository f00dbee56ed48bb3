"""A merchant of the sandbox as an Airflow connection of the type amazon_sp_api."""

import json

from sandbox.world.world import DEFAULT_MERCHANT


def store_connection(amazon_url: str, **extra: str) -> str:
    """Return the Airflow connection to a merchant of the sandbox, as the value of a variable AIRFLOW_CONN_{ID}.

    `extra` is what differs from the default merchant: login, password, refresh_token, seller_id, marketplace_id.
    """
    merchant = {
        "login": DEFAULT_MERCHANT.client_id,
        "password": DEFAULT_MERCHANT.client_secret,
        "refresh_token": DEFAULT_MERCHANT.refresh_token,
        "seller_id": DEFAULT_MERCHANT.seller_id,
        "marketplace_id": "ATVPDKIKX0DER",
        **extra,
    }
    return json.dumps(
        {
            "conn_type": "amazon_sp_api",
            "login": merchant.pop("login"),
            "password": merchant.pop("password"),
            "host": amazon_url,
            "extra": {**merchant, "token_url": f"{amazon_url}/auth/o2/token"},
        }
    )
