"""Login with Amazon: the access token that every call carries, shared by all tasks of one credential."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import requests
from requests.auth import AuthBase

from fba_operators.amazon.credentials import Credentials
from fba_operators.amazon.deadline import ends_within, seconds_left
from fba_operators.amazon.transport import Transport, json_of, retry_briefly
from fba_operators.errors import CredentialsError, SellingPartnerError, UnavailableError
from fba_operators.warehouse.database import Warehouse
from fba_operators.warehouse.tokens_and_rates import LEASE_SECONDS, shared_access_token
from fba_operators.words import name

TOKEN_LEAD = timedelta(seconds=60)  # before its expiry a token is no longer used
LOGIN_SECONDS = LEASE_SECONDS - 15.0  # a login usually takes less than a second


@dataclass(frozen=True)
class AccessToken(AuthBase):
    """An access token, put into the headers of a request.

    :param expires_at: until when it is used (UTC)
    """

    text: str = field(repr=False)
    expires_at: datetime

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add Amazon's two headers."""
        request.headers["x-amz-access-token"] = self.text
        request.headers["x-amz-date"] = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        return request


class Login:
    """Gets access tokens for one store, about one request an hour for all tasks together.

    :param warehouse: where the token is shared; None keeps it in this object, for a test of the connection
    :param mask: makes Airflow hide a secret in every log
    """

    def __init__(
        self,
        credentials: Credentials,
        transport: Transport,
        warehouse: Warehouse | None,
        mask: Callable[[str], None],
    ) -> None:
        self._credentials = credentials
        self._transport = transport
        self._warehouse = warehouse
        self._mask = mask
        self.current: AccessToken | None = None

    def token(self, *, rejected: AccessToken | None = None) -> AccessToken:
        """Return a valid access token.

        :param rejected: a token that Amazon has just refused
        :raises CredentialsError: Amazon refuses the client or the refresh token
        """
        current = self.current
        if current and current != rejected and current.expires_at > datetime.now(UTC):
            return current
        if self._warehouse:
            text, expires_at = shared_access_token(
                self._warehouse,
                self._credentials.token_key,
                rejected=rejected.text if rejected else None,
                fetch=self._fetch,
                patience=min(LEASE_SECONDS, seconds_left()),
            )
        else:
            text, expires_at = self._fetch()
        self._mask(text)
        self.current = AccessToken(text, expires_at)
        return self.current

    def _fetch(self) -> tuple[str, datetime]:
        with ends_within(LOGIN_SECONDS):
            return retry_briefly(self._fetch_once)

    def _fetch_once(self) -> tuple[str, datetime]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._credentials.refresh_token,
            "client_id": self._credentials.client_id,
            "client_secret": self._credentials.client_secret,
        }
        sent_at = datetime.now(UTC)
        response = self._transport.send("token", "POST", self._credentials.token_url, data=form)
        body = json_of(response) or {}
        if not response.ok:
            raise self._refusal(response, body)
        token, seconds = body.get("access_token"), _number(body.get("expires_in", 3600))
        well_formed = isinstance(token, str) and re.fullmatch(r"[!-~]+", token)
        if not well_formed or not 0 < seconds <= 86400:
            raise UnavailableError("Login with Amazon gave no usable token", operation="token", status=200)
        lifetime = timedelta(seconds=seconds)
        return str(token), sent_at + max(lifetime - TOKEN_LEAD, lifetime / 2)

    def _refusal(self, response: requests.Response, body: dict[str, Any]) -> SellingPartnerError:
        code = body.get("error")
        request_id = body.get("request_id") or response.headers.get("x-amzn-RequestId")
        facts: dict[str, Any] = {
            "operation": "token",
            "status": response.status_code,
            "code": name(code),
            "request_id": name(request_id),
        }
        if (
            response.status_code == 429
            or response.status_code >= 500
            or code in ("server_error", "temporarily_unavailable")
        ):
            return UnavailableError("Login with Amazon is not available now", **facts)
        what_to_do = {
            "invalid_grant": "the refresh token is not valid (revoked, expired after 365 days, or of another client): "
            "authorise the application again and put the new refresh token into the connection",
            "invalid_client": "the LWA client id or the LWA client secret is wrong, or the secret has expired (180 days): "
            "put the current ones into the connection (login and password)",
            "unauthorized_client": "this application may not use this grant: check that the refresh token belongs to this client id",
        }.get(str(code), "Login with Amazon refused the request for a token: check login, password and refresh_token")
        return CredentialsError(f"Connection {self._credentials.conn_id}: {what_to_do}", **facts)


def _number(told: Any) -> float:
    """A number, which may be a text; 0 for anything else."""
    if isinstance(told, str) and re.fullmatch(r"[0-9]{1,6}(?:\.[0-9]+)?", told):
        return float(told)
    return told if type(told) in (int, float) else 0
