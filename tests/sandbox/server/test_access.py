"""Access tokens, user agents, rate limits and response headers."""

import time
from types import SimpleNamespace

import pytest

from sandbox.server.server import Sandbox
from sandbox.world.faults import OPERATIONS as FAULTABLE
from tests.sandbox.client import Client, error

PARTICIPATIONS = "/sellers/v1/marketplaceParticipations"
EXPIRED = "The access token you provided has expired."
INVALID = "The access token you provided is revoked, malformed or invalid."
MISSING = "Access token is missing in the request header."


def test_a_token_answer_has_the_format_of_login_with_amazon(amazon: Sandbox, client: Client) -> None:
    answer = client.token()
    assert answer.status_code == 200
    body = answer.json()
    assert body.keys() == {"access_token", "token_type", "expires_in", "refresh_token"}
    assert body["access_token"].startswith("Atza|")
    assert (body["token_type"], body["expires_in"]) == ("bearer", 3600)
    assert body["refresh_token"] == client.credentials["refresh_token"]
    assert answer.headers["x-amzn-RequestId"]
    assert "x-amzn-RateLimit-Limit" not in answer.headers


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"refresh_token": "Atzr|wrong"}, 400, "invalid_grant"),
        ({"client_secret": "wrong"}, 401, "invalid_client"),
        ({"client_id": "wrong"}, 401, "invalid_client"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"scope": "x"}, 400, "invalid_request"),
        ({"audience": "x"}, 400, "invalid_request"),
    ],
)
def test_token_errors_have_the_format_of_login_with_amazon(
    client: Client, changes: dict[str, str], status: int, code: str
) -> None:
    answer = client.token(**changes)
    assert (answer.status_code, answer.json()["error"]) == (status, code)
    assert answer.json()["error_description"]
    assert "errors" not in answer.json()


def test_a_token_request_must_be_form_encoded(client: Client) -> None:
    answer = client.session.post(client.amazon.token_url, json={"grant_type": "refresh_token"}, timeout=10)
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_refresh_token_belongs_to_one_application(client: Client, seller: object) -> None:
    other = seller(client_id="amzn1.application-oa2-client.other")  # type: ignore[operator]
    answer = client.token(refresh_token=other.credentials["refresh_token"])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")


def test_a_grantless_token_has_no_access_to_a_seller(client: Client) -> None:
    scope = "sellingpartnerapi::notifications"
    answer = client.token(grant_type="client_credentials", refresh_token="", scope=scope)
    assert answer.status_code == 200
    refused = client.call("GET", PARTICIPATIONS, headers={"x-amz-access-token": answer.json()["access_token"]})
    assert (refused.status_code, error(refused)["details"]) == (403, "")


def test_calls_without_a_valid_token_are_rejected(amazon: Sandbox, client: Client) -> None:
    for token, details in ((None, MISSING), ("Atza|guessed", INVALID)):
        answer = client.call("GET", PARTICIPATIONS, headers={"x-amz-access-token": token})
        assert answer.status_code == 403
        assert error(answer) == {
            "code": "Unauthorized",
            "message": "Access to requested resource is denied.",
            "details": details,
        }
        assert "x-amzn-RateLimit-Limit" not in answer.headers
        assert answer.headers["x-amzn-RequestId"]
    amazon.world.expire("tokens")
    assert error(client.call("GET", PARTICIPATIONS))["details"] == EXPIRED
    assert client.login().call("GET", PARTICIPATIONS).status_code == 200
    amazon.world.revoke(client.credentials["seller_id"])
    assert error(client.call("GET", PARTICIPATIONS))["details"] == INVALID
    assert client.token().json()["error"] == "invalid_grant"


def test_new_credentials_replace_the_old_ones(amazon: Sandbox, client: Client) -> None:
    new = amazon.world.change_credentials(
        client.credentials["seller_id"], refresh_token="Atzr|new", client_secret="new-secret"
    )
    assert client.token().json()["error"] == "invalid_client"
    client.credentials = {**client.credentials, "client_secret": "new-secret"}
    assert client.token().json()["error"] == "invalid_grant"
    client.credentials = new
    assert client.token().status_code == 200


@pytest.mark.parametrize(
    "user_agent",
    [
        "App/1.0 (Language=Python)",
        "App/1.0 (Language=Python/3.11)",
        "App/1.0 (Language=Python/3.11; Platform=Linux 6.1; Host=a)",
        r"My\/App \(EU\)/1\=0 (Language=C\;\=)",
        "amazon-selling-partner-api-sdk/1.13.0/python",
        "A" * 472 + "/1 (Language=Python/3.11.12)",
    ],
)
def test_user_agents_in_amazons_format_are_accepted(client: Client, user_agent: str) -> None:
    assert len(user_agent) <= 500
    assert client.call("GET", PARTICIPATIONS, headers={"user-agent": user_agent}).status_code == 200


@pytest.mark.parametrize(
    "user_agent",
    [
        "python-requests/2.32",
        "App (Language=Python)",
        "App/1.0",
        "App/1.0 (Platform=Linux)",
        "App/1.0 (Language=Python",
        "My/App/1.0 (Language=Python)",
        "App(EU)/1.0 (Language=Python)",
        "App/1.0 (Language=Python; Platform=a/b)",
        r"App\x/1.0 (Language=Python)",
        "A" * 473 + "/1 (Language=Python/3.11.12)",
        "",
    ],
)
def test_other_user_agents_are_rejected(client: Client, user_agent: str) -> None:
    answer = client.call("GET", PARTICIPATIONS, headers={"user-agent": user_agent})
    assert (answer.status_code, error(answer)["code"]) == (400, "InvalidInput")


@pytest.mark.parametrize(
    "path", ["/", "/reports/2021-06-30/unknown", "/orders/v0/orders", "/feeds/2021-06-30/schedules"]
)
def test_an_unknown_path_is_forbidden(client: Client, path: str) -> None:
    for headers in ({}, {"x-amz-access-token": None, "user-agent": "curl"}):
        answer = client.call("GET", path, headers=headers)
        assert (answer.status_code, error(answer)["code"], error(answer)["details"]) == (403, "Unauthorized", "")


def test_a_wrong_method_is_forbidden(client: Client) -> None:
    assert client.call("PUT", "/reports/2021-06-30/reports").status_code == 403


def test_a_burst_is_used_up_and_refills(amazon: Sandbox, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()  # a fixed time: else a slow machine lets the bucket of two per second refill between calls
    monkeypatch.setattr("sandbox.clock.time", SimpleNamespace(monotonic=lambda: now, time=time.time))
    answers = [client.summaries(sellerSkus="AFN-PLAIN") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].headers["x-amzn-RateLimit-Limit"] == "2.0"
    assert error(answers[2]) == {
        "code": "QuotaExceeded",
        "message": "You exceeded your quota for the requested resource.",
        "details": "",
    }
    assert "x-amzn-RateLimit-Limit" not in answers[2].headers
    assert answers[2].headers["x-amzn-RequestId"]
    amazon.world.advance(0.5)
    assert client.summaries(sellerSkus="AFN-PLAIN").status_code == 200


def test_each_seller_and_operation_has_its_own_bucket(client: Client, seller: object) -> None:
    while client.summaries().status_code == 200:
        pass
    assert client.call("GET", PARTICIPATIONS).status_code == 200
    assert seller().summaries().status_code == 200  # type: ignore[operator]


def test_the_clock_speed_raises_the_rate_header(amazon: Sandbox, client: Client) -> None:
    amazon.world.set_clock(speed=100)
    answer = client.create("GET_AFN_INVENTORY_DATA")
    assert answer.headers["x-amzn-RateLimit-Limit"] == "1.67"


def test_a_rejected_request_has_the_rate_header(client: Client) -> None:
    answer = client.create("GET_NOTHING")
    assert (answer.status_code, answer.headers["x-amzn-RateLimit-Limit"]) == (400, "0.0167")


def test_participations_list_the_sellers_marketplaces(client: Client, seller: object) -> None:
    payload = client.call("GET", PARTICIPATIONS).json()["payload"]
    assert [entry["marketplace"]["countryCode"] for entry in payload] == ["US", "CA", "MX"]
    japan = seller("A3JAPAN", ("A1VC38T7YXB528",))  # type: ignore[operator]
    (entry,) = japan.call("GET", PARTICIPATIONS).json()["payload"]
    assert entry["marketplace"]["defaultCurrencyCode"] == "JPY"
    assert entry["participation"] == {"isParticipating": True, "hasSuspendedListings": False}
    assert client.call("GET", PARTICIPATIONS, params={"x": "1"}).status_code == 400


def test_a_new_seller_has_no_fulfillment_orders(client: Client) -> None:
    path = "/fba/outbound/2020-07-01/fulfillmentOrders"
    answer = client.call("GET", path, params={"queryStartDate": "2026-01-01T00:00:00Z"})
    assert (answer.status_code, answer.json()) == (200, {"payload": {"fulfillmentOrders": []}})
    for query in ({"queryStartDate": "yesterday"}, {"nextToken": "x"}, {"queryStartDate": "2999-01-01T00:00:00Z"}):
        assert client.call("GET", path, params=query).status_code == 400


def test_every_operation_accepts_faults() -> None:
    from sandbox.server.app import OPERATIONS

    assert sorted(FAULTABLE) == sorted(operation.name for operation in OPERATIONS)
