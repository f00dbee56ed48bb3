"""Login with Amazon: the token endpoint, with its own error format."""

import secrets
from urllib.parse import parse_qsl

from sandbox.api.answers import AmazonError, Answer, json_answer
from sandbox.api.calls import Call, Operation
from sandbox.world.grants import TOKEN_SECONDS, AccessToken

SCOPES = ("sellingpartnerapi::notifications", "sellingpartnerapi::client_credential:rotation")
_FIELDS = {"grant_type", "client_id", "client_secret", "refresh_token", "scope"}


def _invalid_request(description: str) -> AmazonError:
    return AmazonError(400, "invalid_request", description)


def _form(call: Call) -> dict[str, str]:
    media_type = call.incoming.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/x-www-form-urlencoded":
        raise _invalid_request("The request must be sent as application/x-www-form-urlencoded.")
    try:
        pairs = parse_qsl(call.incoming.body.decode(), keep_blank_values=True, strict_parsing=True, errors="strict")
    except ValueError as error:
        raise _invalid_request("The request body cannot be read.") from error
    form = dict(pairs)
    if len(form) != len(pairs):
        raise _invalid_request("The request includes a parameter more than once.")
    unknown = form.keys() - _FIELDS
    if unknown:
        raise _invalid_request(f"The request has an unsupported parameter : {min(unknown)}")
    return form


def _required(form: dict[str, str], name: str) -> str:
    if not form.get(name):
        raise _invalid_request(f"The request is missing a required parameter : {name}")
    return form[name]


def identify_seller(call: Call) -> None:
    """Set the call's seller from the refresh token in the form, for faults and call counts; never raises."""
    form = dict(parse_qsl(call.incoming.body.decode(errors="replace")))
    for merchant in call.world.merchants.values():
        if merchant.refresh_token == form.get("refresh_token"):
            call.merchant_or_none = merchant


def token(call: Call) -> Answer:
    """POST /auth/o2/token: an access token for a refresh token, or a grantless one for a scope."""
    form = _form(call)
    grant_type = _required(form, "grant_type")
    if grant_type not in {"refresh_token", "client_credentials"}:
        raise AmazonError(
            400, "unsupported_grant_type", "The authorization grant type is not supported by the authorization server"
        )
    client_id = _required(form, "client_id")
    client_secret = _required(form, "client_secret")
    world = call.world
    if world.clients.get(client_id) != client_secret:
        raise AmazonError(401, "invalid_client", "Client authentication failed")
    access_token = f"Atza|{secrets.token_urlsafe(96)}"
    answer = {"access_token": access_token, "token_type": "bearer", "expires_in": int(TOKEN_SECONDS)}
    seller_id = None
    if grant_type == "refresh_token":
        refresh_token = _required(form, "refresh_token")
        if "scope" in form:
            raise _invalid_request("refresh_token and scope exclude each other.")
        merchant = call.merchant_or_none
        if merchant is None or merchant.client_id != client_id or merchant.revoked:
            raise AmazonError(
                400,
                "invalid_grant",
                "The request has an invalid grant parameter : refresh_token. "
                "User may have revoked or didn't grant the permission.",
            )
        seller_id = merchant.seller_id
        answer["refresh_token"] = refresh_token
    elif _required(form, "scope") not in SCOPES or "refresh_token" in form:
        raise AmazonError(400, "invalid_scope", "The request has an invalid scope.")
    world.tokens[access_token] = AccessToken(seller_id, world.clock.wall() + TOKEN_SECONDS)
    reply = json_answer(200, answer)
    reply.headers["Cache-Control"] = "no-store"
    return reply


OPERATIONS = (Operation("token", "POST", "/auth/o2/token", token, style="lwa"),)
