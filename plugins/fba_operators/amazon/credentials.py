"""A store's connection: what an Airflow connection of type ``amazon_sp_api`` holds, read in one place."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

from fba_operators.amazon.marketplaces import Marketplace, marketplace
from fba_operators.errors import ConfigurationError

SECRET_LIFETIME, AUTHORISATION_LIFETIME = timedelta(days=180), timedelta(days=365)  # of client secret, refresh token
TOKEN_URL = "https://api.amazon.com/auth/o2/token"  # noqa: S105 - an address, not a secret

_QUOTES = "\"'`\u2018\u2019\u201c\u201d\u201e\u00ab\u00bb"
_NEVER = re.compile(r"[^!-~]|[\"'`]")
# What is left of the place that a value was copied from; Amazon uses none of it in these fields.
_LEFTOVERS = (
    (
        re.compile(r"[A-Za-z_-]*(?:client|secret|password|login|token|seller|marketplace)[A-Za-z_-]*[=:]"),
        "a name before it",
    ),
    (re.compile(r".*[<>(){}\[\]]"), "brackets"),
    (re.compile(r".*[,;]"), "a comma or a semicolon"),
    (re.compile(r".*\\"), "a backslash, as in \\n"),
    (re.compile(r".*%[0-9A-Fa-f]{2}"), "an encoded sign, as %7C is for |"),
)
_INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"  # copied along from web pages, and no blanks to Python


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
        """Read an Airflow connection, without the blanks, line ends and quotes that were pasted along with a value.

        :raises ConfigurationError: a field is missing or cannot be, or the marketplace does not exist
        """
        extra = _extra_of(connection)
        given = {
            "login": _pasted(connection.login),
            "password": _pasted(connection.password),
            **{name: _pasted(extra.get(name)) for name in ("refresh_token", "seller_id", "marketplace_id")},
        }
        if missing := [name for name, value in given.items() if not value]:
            raise ConfigurationError(
                f"Connection {conn_id} lacks {', '.join(missing)}. login and password are the LWA client id and "
                "secret; refresh_token, seller_id and marketplace_id are extras."
            )
        if odd := [name for name, value in given.items() if _NEVER.search(value)]:
            raise ConfigurationError(
                f"Connection {conn_id}: {', '.join(odd)} holds a blank, a line end, a quote or another character that "
                "Amazon never uses there: paste it again, in one piece"
            )
        if odd := [f"{name} with {what}" for name, value in given.items() if (what := _pasted_with(value))]:
            raise ConfigurationError(f"Connection {conn_id} looks pasted: {', '.join(odd)}. Paste the value alone")
        try:
            place = marketplace(given["marketplace_id"])
            endpoint = _endpoint(connection, place)
            token_url = _web_address("token_url", _pasted(extra.get("token_url")) or TOKEN_URL)
        except ValueError as error:
            raise ConfigurationError(f"Connection {conn_id}: {error}") from None
        return cls(
            conn_id=conn_id,
            client_id=given["login"],
            client_secret=given["password"],
            refresh_token=given["refresh_token"],
            seller_id=given["seller_id"],
            marketplace=place,
            endpoint=endpoint,
            token_url=token_url,
            client_secret_created=_day(conn_id, extra, "client_secret_created"),
            authorized_at=_day(conn_id, extra, "authorized_at"),
        )

    @property
    def names_endpoint(self) -> bool:
        """Whether the connection names an endpoint other than Amazon's, such as a sandbox or a proxy."""
        return self.endpoint != self.marketplace.region.endpoint

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


def _endpoint(connection: Any, place: Marketplace) -> str:
    host = _pasted(connection.host)
    if not host:
        return place.region.endpoint
    address = _web_address("host", host if "://" in host else f"https://{host}")
    port = connection.port or None  # Airflow's form needs a 0 where there is none
    found = parse_url(address)
    if port and found.port and port != found.port:
        raise ValueError(f"host names port {found.port}, and port is {port}: give it once")
    return found._replace(port=port).url if port else address


def _web_address(name: str, text: str) -> str:
    """Read the address of a server, with or without a path.

    :raises ValueError: it is none
    """
    try:
        found = parse_url(text)
    except LocationParseError:
        found = None
    if (
        found is None
        or found.scheme not in ("http", "https")
        or not found.host
        or found.auth
        or found.query is not None
        or found.fragment is not None
        or not re.fullmatch(r"[!-~]+", text)
    ):
        raise ValueError(f"{name} is no address like https://example.com or http://example.com:8765/path")
    return found.url.rstrip("/")


def _pasted(value: Any) -> str:
    """A pasted value without the blanks, line ends and quotes around it."""
    text, before = str(value if value is not None else ""), None
    while text != before:
        before, text = text, text.strip().strip(_INVISIBLE)
        if len(text) > 1 and text[0] in _QUOTES and text[-1] in _QUOTES:
            text = text[1:-1]
    return text


def _pasted_with(value: str) -> str:
    """What was pasted along with a value, in words that do not show it; empty if nothing was."""
    return " and ".join(what for leftover, what in _LEFTOVERS if leftover.match(value))


def _end_of(day: date | None, lifetime: timedelta) -> datetime | None:
    return None if day is None else datetime(day.year, day.month, day.day, tzinfo=UTC) + lifetime


def _day(conn_id: str, extra: dict[str, Any], name: str) -> date | None:
    """Read an optional day; a wrong one is not repeated, because it may be a secret in the wrong field."""
    text = _pasted(extra.get(name))
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
