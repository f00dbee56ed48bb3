"""A store's connection: what an Airflow connection of type ``amazon_sp_api`` holds, read in one place."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fba_operators.amazon.marketplaces import Marketplace, marketplace
from fba_operators.errors import ConfigurationError

SECRET_LIFETIME, AUTHORISATION_LIFETIME = timedelta(days=180), timedelta(days=365)  # of client secret, refresh token
TOKEN_URL = "https://api.amazon.com/auth/o2/token"  # noqa: S105 - an address, not a secret


@dataclass(frozen=True)
class Destination:
    """Where calls go; only there can what was sent be found, or be absent."""

    seller_id: str
    marketplace_id: str
    endpoint: str


@dataclass(frozen=True)
class Credentials:
    """Who a store is at Amazon, and where Amazon is.

    :param conn_id: id of the Airflow connection, which is the store's name everywhere
    :param endpoint: base URL of the API
    :param token_url: URL of Login with Amazon
    :param client_secret_created: the day on which the client secret was made, where the connection says it
    :param authorized_at: the day on which the seller authorised the application, where the connection says it
    """

    conn_id: str
    client_id: str
    client_secret: str = field(repr=False)
    refresh_token: str = field(repr=False)
    seller_id: str
    marketplace: Marketplace
    endpoint: str
    token_url: str
    client_secret_created: date | None = None
    authorized_at: date | None = None

    @classmethod
    def of(cls, conn_id: str, connection: Any) -> Credentials:
        """Read an Airflow connection.

        :raises ConfigurationError: a field is missing, or the marketplace does not exist
        """
        extra = _extra_of(connection)
        missing = [
            *(name for name, value in (("login", connection.login), ("password", connection.password)) if not value),
            *(name for name in ("refresh_token", "seller_id", "marketplace_id") if not extra.get(name)),
        ]
        if missing:
            raise ConfigurationError(
                f"Connection {conn_id} lacks {', '.join(missing)}. login and password are the LWA client id and "
                "secret; refresh_token, seller_id and marketplace_id are extras."
            )
        try:
            place = marketplace(str(extra["marketplace_id"]))
        except ValueError as error:
            raise ConfigurationError(f"Connection {conn_id}: {error}") from None
        return cls(
            conn_id=conn_id,
            client_id=connection.login,
            client_secret=connection.password,
            refresh_token=extra["refresh_token"],
            seller_id=str(extra["seller_id"]),
            marketplace=place,
            endpoint=_endpoint(connection.host, place),
            token_url=str(extra.get("token_url") or TOKEN_URL),
            client_secret_created=_day(conn_id, extra, "client_secret_created"),
            authorized_at=_day(conn_id, extra, "authorized_at"),
        )

    @property
    def client_secret_expires(self) -> datetime | None:
        """When Amazon stops to accept the client secret, 180 days after it was made; None where the connection does not say.

        Source: developer-docs.amazon.com/sp-api/docs/rotating-your-application-client-secret
        """
        return _end_of(self.client_secret_created, SECRET_LIFETIME)

    @property
    def refresh_token_expires(self) -> datetime | None:
        """When the seller's authorisation ends, a year after it was given; None where the connection does not say.

        Source: developer-docs.amazon.com/sp-api/docs/authorize-self-authorized-private-applications
        """
        return _end_of(self.authorized_at, AUTHORISATION_LIFETIME)

    @property
    def destination(self) -> Destination:
        """Where calls with these credentials go."""
        return Destination(self.seller_id, self.marketplace.id, self.endpoint)

    @property
    def token_key(self) -> str:
        """What an access token belongs to: a new refresh token works at once, connections of one seller share a token."""
        return "\n".join((self.token_url, self.client_id, self.refresh_token))

    def bucket(self, operation: str) -> str:
        """Name of the token bucket that an operation's calls are taken from: Amazon counts per seller and application."""
        return ":".join((self.client_id, self.seller_id, self.marketplace.region.code, operation))


def _endpoint(host: str | None, place: Marketplace) -> str:
    if not host:
        return place.region.endpoint
    return (host if "://" in host else f"https://{host}").rstrip("/")


def _end_of(day: date | None, lifetime: timedelta) -> datetime | None:
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC) + lifetime


def _day(conn_id: str, extra: dict[str, Any], name: str) -> date | None:
    """Read an optional day; a wrong one is not repeated, because it may be a secret in the wrong field."""
    text = str(extra.get(name) or "").strip()
    if not text:
        return None
    try:
        day = datetime.fromisoformat(text).date()
        if date(2000, 1, 1) <= day <= datetime.now(UTC).date() + timedelta(days=1):
            return day
    except ValueError:
        pass
    raise ConfigurationError(
        f"Connection {conn_id}: {name} must be a past day such as 2026-11-25, or be left out; it is neither"
    )


def _extra_of(connection: Any) -> dict[str, Any]:
    # Not extra_dejson: every access to it masks the secrets again, which in a trigger is a blocking call to the supervisor.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        return {}
    return extra if isinstance(extra, dict) else {}
