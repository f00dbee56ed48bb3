"""What Airflow learns about this package when it is installed: the connection type and its form."""

from __future__ import annotations

from typing import Any

from fba_operators import __version__
from fba_operators.marketplaces import MARKETPLACES


def get_provider_info() -> dict[str, Any]:
    """Return the description that the entry point ``apache_airflow_provider`` promises."""
    choices = {f"{place.name}: {place.id}" for place in MARKETPLACES.values()}
    return {
        "package-name": "airflow-amazon-fba",
        "name": "Amazon FBA",
        "description": "Amazon FBA stock, fulfillment requests and shipments through the Selling Partner API.",
        "versions": [__version__],
        "connection-types": [
            {
                "connection-type": "amazon_sp_api",
                "hook-class-name": "fba_operators.hook.SellingPartnerHook",
                "hook-name": "Amazon Selling Partner API",
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "port"],
                    "relabeling": {
                        "login": "LWA client id",
                        "password": "LWA client secret",
                        "host": "Endpoint (optional)",
                    },
                    "placeholders": {"host": "only for a sandbox or proxy; empty = the marketplace's own endpoint"},
                },
                "conn-fields": {
                    "refresh_token": {
                        "label": "Refresh token",
                        "description": "Made when the seller authorises your application; make a new one after a role was added.",
                        "schema": {"type": ["string", "null"], "format": "password"},
                    },
                    "seller_id": {
                        "label": "Seller id",
                        "description": "Selling Partner ID, also called merchant token, e.g. A2XXXXXXXXXXXX.",
                        "schema": {"type": ["string", "null"]},
                    },
                    "marketplace_id": {
                        "label": "Marketplace id",
                        "description": "; ".join(sorted(choices)),
                        "schema": {"type": ["string", "null"], "enum": [None, *sorted(MARKETPLACES)]},
                    },
                    "token_url": {
                        "label": "Token URL (optional)",
                        "description": "Only for a sandbox or proxy; empty = Login with Amazon.",
                        "schema": {"type": ["string", "null"]},
                    },
                },
            }
        ],
    }
