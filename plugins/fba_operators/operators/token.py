"""The access token, renewed before the work begins."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from fba_operators.operators.base import SellingPartnerOperator
from fba_operators.operators.switch import is_given
from fba_operators.warehouse.statements import execute


class RefreshTokenOperator(SellingPartnerOperator):
    """Make sure that the store has a valid access token, so that wrong credentials fail here and not during the work.

    All tasks of one credential share the token: Login with Amazon is called about once an hour. The token itself is
    encrypted in the warehouse and never passes through XCom.

    :param offline: if true (or a list that is not empty), nothing in this run calls Amazon and no token is needed
        (templated)
    :return: until when the token is used (ISO 8601, UTC)
    :raises CredentialsError: Amazon refuses the client or the refresh token
    """

    template_fields = (*SellingPartnerOperator.template_fields, "offline")

    def __init__(self, *, offline: Any = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.offline = offline

    def work(self, context: Context) -> str | None:
        """Get the token."""
        if is_given("offline", self.offline):
            self.log.info("Nothing in this run calls Amazon; no token is fetched.")
            return None
        self._record_ages()
        expires_at = self.hook.client.login.token().expires_at
        self.log.info(
            "The access token of %s is used until %s.", self.conn_id, expires_at.isoformat(timespec="seconds")
        )
        return expires_at.isoformat()

    def _record_ages(self) -> None:
        """Record when client secret and refresh token expire, before they are used: what has expired is refused."""
        credentials = self.hook.client.credentials
        expiry = {
            "client_secret": credentials.client_secret_expires,
            "refresh_token": credentials.refresh_token_expires,
        }
        with self.warehouse.connect() as db:
            execute(db, "runs.set_credential_ages", store=self.conn_id, **expiry)
