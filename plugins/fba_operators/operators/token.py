"""The access token, renewed before the work begins."""

from __future__ import annotations

from typing import Any

from airflow.sdk import Context

from fba_operators.operators.base import SellingPartnerOperator, flag


class RefreshTokenOperator(SellingPartnerOperator):
    """Make sure the store has a valid access token, so that wrong credentials show here and not in the middle of the work.

    All tasks and processes of one credential share the token: Login with Amazon is called about once an hour. The
    token itself is encrypted in the warehouse and never leaves it through XCom.

    :param needed: False where nothing in the run calls Amazon (templated)
    :return: until when the token is used (ISO 8601, UTC)
    :raises CredentialsError: Amazon refuses the client or the refresh token
    """

    template_fields = (*SellingPartnerOperator.template_fields, "needed")

    def __init__(self, *, needed: bool | str = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.needed = needed

    def act(self, context: Context) -> str | None:
        """Get the token and forget it."""
        if not flag("needed", self.needed):
            self.log.info("Nothing in this run calls Amazon; no token is fetched.")
            return None
        self.hook.access_token()
        expires_at = self.hook.token_expires_at
        if expires_at is None:
            raise AssertionError("a token was just fetched")
        self.log.info("Access token of %s is used until %s.", self.conn_id, expires_at.isoformat(timespec="seconds"))
        return expires_at.isoformat()
