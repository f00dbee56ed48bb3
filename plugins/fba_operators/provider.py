"""What Airflow learns about this package when it is installed: the connection type and its form."""

from __future__ import annotations

from typing import Any

from fba_operators import __version__
from fba_operators.amazon.marketplaces import MARKETPLACES

INTEGRATION = "Amazon Selling Partner API"
TEXT = {"type": ["string", "null"]}


def get_provider_info() -> dict[str, Any]:
    """Return the description that the entry point ``apache_airflow_provider`` promises."""
    places = {place.id: f"{place.name} ({place.id})" for place in sorted(MARKETPLACES.values(), key=lambda m: m.name)}
    return {
        "package-name": "airflow-amazon-fba",
        "name": "Amazon FBA",
        "description": "Amazon FBA stock, fulfillment requests and shipments through the Selling Partner API.",
        "versions": [__version__],
        "extra-links": ["fba_operators.operators.links.DeskLink"],
        "integrations": [
            {
                "integration-name": INTEGRATION,
                "external-doc-url": "https://developer-docs.amazon.com/sp-api/",
                "tags": ["service"],
            }
        ],
        "operators": [{"integration-name": INTEGRATION, "python-modules": ["fba_operators.operators"]}],
        "hooks": [{"integration-name": INTEGRATION, "python-modules": ["fba_operators.amazon.hook"]}],
        "triggers": [{"integration-name": INTEGRATION, "python-modules": ["fba_operators.amazon.trigger"]}],
        "connection-types": [
            {
                "connection-type": "amazon_sp_api",
                "hook-class-name": "fba_operators.amazon.hook.SellingPartnerHook",
                "hook-name": INTEGRATION,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "login": "LWA client id",
                        "password": "LWA client secret",
                        "host": "Endpoint (optional)",
                        # Airflow 3.3.2's Test button sends port 0 for a connection without one and then refuses it, because
                        # 0 is not what is stored (apache/airflow#73298, mended after 3.3.2). A stored 0 passes.
                        "port": "Port: enter 0",
                    },
                    # The form draws no help text below its standard fields, only these inside them.
                    "placeholders": {
                        "login": "amzn1.application-oa2-client.… (Login with Amazon, of your application)",
                        "password": "amzn1.oa2-cs.v1.… (expires after 180 days)",
                        "host": "empty = the marketplace's own; a URL only for a sandbox or proxy",
                        "port": "0, or Airflow's Test Connection button answers Bad Request",
                    },
                },
                "conn-fields": {
                    "refresh_token": {
                        "label": "Refresh token",
                        "description": "Starts with Atzr|. Made when the seller authorises your application; it lives 365 "
                        "days. Make a new one after a role was added to the application.",
                        "schema": {**TEXT, "format": "password"},
                    },
                    "seller_id": {
                        "label": "Seller id",
                        "description": "Selling Partner ID, also called merchant token, such as A2XXXXXXXXXXXX "
                        "(Seller Central, Settings, Account Info, Your Merchant Token).",
                        "schema": TEXT,
                    },
                    "marketplace_id": {
                        "label": "Marketplace",
                        "description": "The one shop this store sells in; a second shop is a second connection. Its region "
                        "picks Amazon's endpoint.",
                        "schema": {**TEXT, "enum": list(places), "values_display": places},
                    },
                    "client_secret_created": {
                        "label": "Client secret made on (optional)",
                        "description": "The day on which the client secret was made, such as 2026-11-25. Runs warn 30 days "
                        "before its 180 days are over.",
                        "schema": {**TEXT, "format": "date"},
                    },
                    "authorized_at": {
                        "label": "Authorised on (optional)",
                        "description": "The day on which the seller authorised your application, such as 2026-11-25. Runs "
                        "warn 30 days before the refresh token's 365 days are over.",
                        "schema": {**TEXT, "format": "date"},
                    },
                    "token_url": {
                        "label": "Token URL (optional)",
                        "description": "Empty = Login with Amazon; a URL only for a sandbox or proxy.",
                        "schema": TEXT,
                    },
                },
            }
        ],
    }
