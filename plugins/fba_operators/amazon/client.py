"""One call to Amazon: token, rate, retry, and what each answer means. The only code that opens a connection to Amazon."""

from __future__ import annotations

import json
import logging
import platform
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache, cached_property
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import requests
import tenacity
from airflow.sdk import BaseHook
from airflow.sdk.log import mask_secret
from requests.adapters import HTTPAdapter

from fba_operators import __version__
from fba_operators.amazon.answers import misshapen
from fba_operators.amazon.marketplaces import Marketplace, marketplace
from fba_operators.errors import (
    ConfigurationError,
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    SellingPartnerError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse

# At DEBUG it writes the path and query of every call: ids, and the signature of a signed URL.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

T = TypeVar("T")

TOKEN_URL = "https://api.amazon.com/auth/o2/token"  # noqa: S105 - an address, not a secret
TOKEN_LEAD = timedelta(seconds=60)
PATIENCE = 5.0  # seconds a worker may sleep for a rate; longer waits are deferred
TIMEOUT = (10, 120)  # seconds to connect, seconds between bytes
CHUNK = 4 * 1024 * 1024


@dataclass(frozen=True)
class Operation:
    """One of Amazon's operations.

    :param rate: documented calls per second, per seller and application
    :param burst: documented size of the bucket
    :param scarce: so slow, or so often called by many tasks at once, that all must share one bucket
    :param repeatable: calling it twice does what calling it once does
    """

    method: str
    path: str
    rate: float
    burst: int
    scarce: bool = False
    repeatable: bool = True


# Rates and bursts: Amazon's models of the Reports and Feeds API 2021-06-30, FBA Inventory v1, Sellers v1 and
# Fulfillment Outbound 2020-07-01.
OPERATIONS = {
    "createReport": Operation("POST", "/reports/2021-06-30/reports", 0.0167, 15, scarce=True, repeatable=False),
    "getReport": Operation("GET", "/reports/2021-06-30/reports/{}", 2, 15),
    "getReports": Operation("GET", "/reports/2021-06-30/reports", 0.0222, 10, scarce=True),
    "getReportDocument": Operation("GET", "/reports/2021-06-30/documents/{}", 0.0167, 15, scarce=True),
    "createFeedDocument": Operation("POST", "/feeds/2021-06-30/documents", 0.5, 15),
    "createFeed": Operation("POST", "/feeds/2021-06-30/feeds", 0.0083, 15, scarce=True, repeatable=False),
    "getFeed": Operation("GET", "/feeds/2021-06-30/feeds/{}", 2, 15),
    "getFeeds": Operation("GET", "/feeds/2021-06-30/feeds", 0.0222, 10, scarce=True),
    "getFeedDocument": Operation("GET", "/feeds/2021-06-30/documents/{}", 0.0222, 10, scarce=True),
    "getInventorySummaries": Operation("GET", "/fba/inventory/v1/summaries", 2, 2, scarce=True),
    "getMarketplaceParticipations": Operation("GET", "/sellers/v1/marketplaceParticipations", 0.016, 15),
    "listAllFulfillmentOrders": Operation("GET", "/fba/outbound/2020-07-01/fulfillmentOrders", 2, 30),
    "getFulfillmentOrder": Operation("GET", "/fba/outbound/2020-07-01/fulfillmentOrders/{}", 2, 30),
    # Asking twice to cancel an order cancels it once.
    "cancelFulfillmentOrder": Operation("PUT", "/fba/outbound/2020-07-01/fulfillmentOrders/{}/cancel", 2, 30),
}


@dataclass(frozen=True)
class Download:
    """A document on its way in.

    :param charset: of the Content-Type, or None
    :param chunks: the bytes as Amazon sent them, gzip or not
    """

    charset: str | None
    chunks: Iterator[bytes]


def user_agent() -> str:
    """Name this client the way Amazon asks: escaped, at most 500 characters.

    Source: developer-docs.amazon.com/sp-api/docs/include-a-user-agent-header-in-all-requests
    """

    def escaped(text: str) -> str:
        return re.sub(r"([\\/()=;])", r"\\\1", text)

    language = f"Python/{escaped(platform.python_version())}"
    system = escaped(f"{platform.system()} {platform.release()}")[:200]
    return f"airflow-amazon-fba/{__version__} (Language={language}; Platform={system})"


def amazon_time(moment: datetime) -> str:
    """Write a time as Amazon reads it: ISO 8601 in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def without_tokens(text: str) -> str:
    """Remove what looks like one of Amazon's tokens from a text meant for people."""
    return re.sub(r"Atz[\w.]*\|\S+", "(token removed)", text)


@cache
def _session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=32)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = user_agent()
    session.trust_env = True
    return session


class SellingPartnerClient(BaseHook):
    """Makes calls for one store, the seller account of an Airflow connection.

    :param conn_id: Airflow connection of type ``amazon_sp_api``
    :param warehouse_conn_id: Postgres connection where tasks share tokens and rates; None works alone, for a test of the
        connection
    :param connections: resolved connections by id, where looking them up would block (in a trigger)
    """

    conn_name_attr = "conn_id"
    default_conn_name = "amazon_us"
    conn_type = "amazon_sp_api"
    hook_name = "Amazon Selling Partner API"

    def __init__(
        self,
        conn_id: str = default_conn_name,
        warehouse_conn_id: str | None = DEFAULT_WAREHOUSE,
        *,
        connections: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.conn_id = conn_id
        self._connections = connections or {}
        self._warehouse = (
            Warehouse(warehouse_conn_id, connection=self._connections.get(warehouse_conn_id))
            if warehouse_conn_id
            else None
        )
        self._token: tuple[str, datetime] | None = None
        self.calls: Counter[str] = Counter()
        self.throttled_seconds = 0.0

    # The connection

    @cached_property
    def connection(self) -> Any:
        """The Airflow connection, checked for the fields every call needs."""
        connection = self._connections.get(self.conn_id) or self.get_connection(self.conn_id)
        extra = _extra_of(connection)
        missing = [
            *(name for name, value in (("login", connection.login), ("password", connection.password)) if not value),
            *(name for name in ("refresh_token", "seller_id", "marketplace_id") if not extra.get(name)),
        ]
        if missing:
            raise ConfigurationError(
                f"Connection {self.conn_id} lacks {', '.join(missing)}. login and password are the LWA client id and "
                "secret; refresh_token, seller_id and marketplace_id are extras."
            )
        self._mask(connection.password)
        self._mask(extra["refresh_token"])
        return connection

    @cached_property
    def _extra(self) -> dict[str, Any]:
        return _extra_of(self.connection)

    @cached_property
    def seller_id(self) -> str:
        """Amazon's Selling Partner ID."""
        return str(self._extra["seller_id"])

    @cached_property
    def marketplace(self) -> Marketplace:
        """The marketplace of this store."""
        try:
            return marketplace(str(self._extra["marketplace_id"]))
        except ValueError as error:
            raise ConfigurationError(f"Connection {self.conn_id}: {error}") from None

    @cached_property
    def endpoint(self) -> str:
        """Base URL of the API: the connection's host if it has one, else that of the marketplace's region."""
        host = self.connection.host
        if not host:
            return self.marketplace.region.endpoint
        return str(host if "://" in host else f"https://{host}").rstrip("/")

    # Tokens

    def access_token(self, *, rejected: str | None = None) -> str:
        """Return an access token, shared by every task of the same credential: one call to Amazon an hour.

        :param rejected: a token Amazon has just refused
        :raises CredentialsError: Amazon refuses the client or the refresh token
        """
        if self._token and self._token[0] != rejected and self._token[1] > datetime.now(UTC):
            return self._token[0]
        if self._warehouse:
            self._token = self._warehouse.access_token(
                "\n".join((self._token_url, self.connection.login, self._extra["refresh_token"])),
                rejected=rejected,
                fetch=self._fetch_token,
            )
        else:
            self._token = self._fetch_token()
        self._mask(self._token[0])
        return self._token[0]

    def _mask(self, secret: str | None) -> None:
        # Not in a trigger: Airflow's masker forgets nothing, and compiles all it knows again for each new secret. In a
        # triggerer, which lives for weeks and sees a token for each seller and hour, that would stop all triggers for seconds.
        if not self._connections:
            mask_secret(secret)

    @property
    def token_expires_at(self) -> datetime | None:
        """Until when the token in hand is used (UTC)."""
        return self._token[1] if self._token else None

    @cached_property
    def _token_url(self) -> str:
        return str(self._extra.get("token_url") or TOKEN_URL)

    def _fetch_token(self) -> tuple[str, datetime]:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self._extra["refresh_token"],
            "client_id": self.connection.login,
            "client_secret": self.connection.password,
        }

        def ask() -> tuple[str, datetime]:
            asked_at = datetime.now(UTC)
            response = self._send("token", "POST", self._token_url, data=form)
            body = _json_of(response) or {}
            if response.ok:
                token, seconds = body.get("access_token"), body.get("expires_in", 3600)
                sound = isinstance(token, str) and re.fullmatch(r"[!-~]+", token)
                if not sound or type(seconds) not in (int, float) or not 0 < seconds <= 86400:
                    raise UnavailableError("Login with Amazon gave no usable token", operation="token", status=200)
                lifetime = timedelta(seconds=seconds)
                return str(token), asked_at + max(lifetime - TOKEN_LEAD, lifetime / 2)
            raise self._token_refused(response, body)

        return _patiently(ask)

    def _token_refused(self, response: requests.Response, body: dict[str, Any]) -> SellingPartnerError:
        code = str(body.get("error") or f"HTTP {response.status_code}")
        facts: dict[str, Any] = {
            "operation": "token",
            "status": response.status_code,
            "code": code,
            "request_id": body.get("request_id") or response.headers.get("x-amzn-RequestId"),
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
            "invalid_client": "the client id or client secret is wrong, or the secret has expired (180 days): "
            "put the current ones into login and password of the connection",
            "unauthorized_client": "this application may not use this grant: check that the refresh token belongs to this client id",
        }.get(code, "Login with Amazon refused the request for a token: check login, password and refresh_token")
        return CredentialsError(f"Connection {self.conn_id}: {what_to_do}", **facts)

    # One call

    def _listed(self, name: str, key: str, params: dict[str, Any], created_since: datetime) -> Iterator[dict[str, Any]]:
        params = {
            **params,
            "marketplaceIds": self.marketplace.id,
            "createdSince": amazon_time(created_since),
            "pageSize": 100,
        }
        while True:
            page = self._call(name, params=params)
            yield from page.get(key, [])
            if not (token := self._next_token(page, params)):
                return
            params = {"nextToken": token}  # Amazon refuses anything beside it

    def _next_token(self, page: dict[str, Any] | None, params: dict[str, Any]) -> str | None:
        token = (page or {}).get("nextToken")
        if token and token == params.get("nextToken"):
            raise UnavailableError(f"{self.conn_id}: Amazon gives the same page of a list again and again")
        return token

    def _call(self, name: str, *path: str, **arguments: Any) -> dict[str, Any]:
        """Make one call and return Amazon's answer, waiting and trying again where that is safe and short."""
        operation = OPERATIONS[name]
        url = self.endpoint + operation.path.format(*(quote(part, safe="") for part in path))
        if operation.repeatable:
            return _patiently(lambda: self._call_once(name, operation, url, arguments))
        return self._call_once(name, operation, url, arguments)

    def _call_once(self, name: str, operation: Operation, url: str, arguments: dict[str, Any]) -> dict[str, Any]:
        rejected = None
        while True:
            token = self.access_token(rejected=rejected)
            bucket = self._take(name, operation)
            response = self._send(
                name,
                operation.method,
                url,
                repeatable=operation.repeatable,
                headers={"x-amz-access-token": token, "x-amz-date": datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")},
                **arguments,
            )
            if bucket and self._warehouse and (rate := _rate_of(response)):
                self._warehouse.correct_bucket(bucket, rate=rate)
            if response.ok:
                answer = _json_of(response)
                wrong = misshapen(name, answer)
                if wrong or answer is None:
                    kind = UnavailableError if operation.repeatable else LostAnswerError
                    said = f"{self.conn_id}: Amazon said yes, but its {wrong} is missing or not as documented"
                    raise kind(said, operation=name, status=response.status_code)
                return answer
            if rejected is None and response.status_code in (401, 403) and _is_about_the_token(response):
                rejected = token
                continue
            self._refuse(name, operation, bucket, response)

    def _take(self, name: str, operation: Operation) -> str | None:
        """Take a scarce call from the shared bucket, sleeping only briefly."""
        if not (operation.scarce and self._warehouse):
            return None
        bucket = ":".join((self.connection.login, self.seller_id, self.marketplace.region.code, name))
        while (wait := self._warehouse.take_from_bucket(bucket, operation.rate, operation.burst)) > 0:
            if wait > PATIENCE:
                self._throttled(name, wait)
            self.throttled_seconds += wait
            time.sleep(wait)
        return bucket

    def _throttled(self, name: str, seconds: float, request_id: str | None = None) -> NoReturn:
        self.throttled_seconds += seconds
        raise ThrottledError(
            f"{self.conn_id}: the quota of {name} is used up; the next call may be made in {seconds:.0f} s",
            until=datetime.now(UTC) + timedelta(seconds=seconds),
            operation=name,
            request_id=request_id,
        )

    def _send(
        self, name: str, method: str, url: str, *, repeatable: bool = True, **arguments: Any
    ) -> requests.Response:
        self.calls[name] += 1
        try:
            return _session().request(method, url, timeout=TIMEOUT, **arguments)
        except requests.RequestException as error:
            kind = UnavailableError if repeatable else LostAnswerError
            # The original text holds the URL, which may be signed.
            raise kind(f"{self.conn_id}: no answer from Amazon ({type(error).__name__})", operation=name) from None

    def _refuse(self, name: str, operation: Operation, bucket: str | None, response: requests.Response) -> NoReturn:
        """Raise what an answer other than success means."""
        status, request_id = response.status_code, response.headers.get("x-amzn-RequestId")
        first: dict[str, Any] = next(iter(_errors_of(response)), {})
        said = without_tokens(" ".join(str(first[key]) for key in ("message", "details") if first.get(key)))
        facts: dict[str, Any] = {
            "operation": name,
            "status": status,
            "code": first.get("code"),
            "request_id": request_id,
        }
        if status == 429:
            wait = 1 / operation.rate
            if bucket and self._warehouse:
                wait = self._warehouse.correct_bucket(bucket, empty=True)
            self._throttled(name, wait, request_id)
        if status >= 500:
            kind = UnavailableError if operation.repeatable else LostAnswerError
            raise kind(f"{self.conn_id}: Amazon failed", detail=said or "no reason given", **facts)
        if status in (401, 403):
            raise CredentialsError(
                f"Connection {self.conn_id}: Amazon denies access. Usual causes: the application lacks the role "
                "(Amazon Fulfillment, Inventory and Order Tracking) or got it after this refresh token was made, which "
                "then must be made anew; or the marketplace belongs to another region or seller. Amazon's reason",
                detail=said or "none given",
                **facts,
            )
        raise RequestRefusedError(
            f"{self.conn_id}: Amazon refuses the request", detail=said or "no reason given", **facts
        )

    def _download(self, operation: str, document_id: str, what: str) -> Download:
        response = self._opened(str(self._call(operation, document_id)["url"]), what)
        if response.status_code == 403:  # the URL lived its five minutes, perhaps while we waited for the connection
            response.close()
            response = self._opened(str(self._call(operation, document_id)["url"]), what)
        if not response.ok:
            response.close()
            raise UnavailableError(
                f"{self.conn_id}: Amazon's storage refuses the {what}",
                operation="download",
                status=response.status_code,
            )
        charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", response.headers.get("Content-Type", ""), re.IGNORECASE)

        def chunks() -> Iterator[bytes]:
            try:
                with response:
                    # decode_content=False: a Content-Encoding would otherwise be undone here, and again later.
                    yield from response.raw.stream(CHUNK, decode_content=False)
            except Exception as error:  # urllib3's own kinds; the text holds the URL
                raise UnavailableError(f"{self.conn_id}: {what} broke off ({type(error).__name__})") from None

        return Download(charset.group(1) if charset else None, chunks())

    def _opened(self, url: str, what: str) -> requests.Response:
        self.calls["download"] += 1
        try:
            # Signed URL: Amazon's storage refuses any other authorisation, and gzip must arrive as it was stored.
            return _session().get(url, timeout=TIMEOUT, stream=True, headers={"Accept-Encoding": "identity"})
        except requests.RequestException as error:
            raise UnavailableError(f"{self.conn_id}: {what} not reachable ({type(error).__name__})") from None


def _extra_of(connection: Any) -> dict[str, Any]:
    # Not extra_dejson, which masks anew at each look: in a trigger a message for whose answer the thread has to wait.
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        return {}
    return extra if isinstance(extra, dict) else {}


def _is_about_the_token(response: requests.Response) -> bool:
    details = " ".join(str(error.get("details")) for error in _errors_of(response))
    return "access token" in details.lower()


def _errors_of(response: requests.Response) -> list[dict[str, Any]]:
    errors = (_json_of(response) or {}).get("errors")
    return [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []


def _rate_of(response: requests.Response) -> float | None:
    """Calls per second that Amazon grants; None for what is no such number, which would stop every later call."""
    told = response.headers.get("x-amzn-RateLimit-Limit", "")
    return float(told) if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", told) and float(told) > 0 else None


def _json_of(response: requests.Response) -> dict[str, Any] | None:
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _patiently(ask: Callable[[], T]) -> T:
    """Try again after faults that pass by themselves, for seconds, not minutes; Airflow's retries do the rest."""

    def passes_soon(error: BaseException) -> bool:
        if isinstance(error, ThrottledError):
            return error.until - datetime.now(UTC) <= timedelta(seconds=PATIENCE)
        return isinstance(error, UnavailableError) and not isinstance(error, LostAnswerError)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(passes_soon),
        wait=tenacity.wait_exponential_jitter(multiplier=0.5, max=PATIENCE),
        stop=tenacity.stop_after_attempt(5),
        reraise=True,
    )(ask)
