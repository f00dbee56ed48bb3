"""HTTP to Amazon and its storage: one session, time limits, and faults of the network as our errors."""

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
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache
from http.cookiejar import DefaultCookiePolicy
from io import BytesIO
from typing import Any, NoReturn, TypeVar

import requests
import tenacity

from fba_operators import __version__
from fba_operators.amazon.deadline import CALL_SECONDS, BoundedAdapter, end, ends_within, seconds_left
from fba_operators.errors import CredentialsError, LostAnswerError, ThrottledError, UnavailableError

# At DEBUG it logs path and query of every call: ids, and the signature of pre-signed URLs.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)
logging.getLogger("urllib3.connection").setLevel(logging.ERROR)  # its warning of a broken header quotes the whole URL

T = TypeVar("T")

MAX_INLINE_SLEEP = 5.0  # seconds a worker may sleep; longer waits are deferred
TIMEOUT = (10.0, 120.0)  # seconds to connect, seconds between bytes; the whole ends as deadline.py says
CHUNK = 4 * 1024 * 1024  # bytes of a download in memory at a time
LARGEST_ANSWER = (
    64 * 1024 * 1024
)  # bytes of an answer, unzipped; a page of a hundred large orders has less than one million
CONNECTIONS = 32  # kept open to one host; a triggerer has as many calls under way


@dataclass(frozen=True)
class Download:
    """A document that is being downloaded.

    :param charset: of the Content-Type, or None
    :param chunks: the bytes as Amazon sent them, gzip or not
    """

    charset: str | None
    chunks: Iterator[bytes]


class Transport:
    """Makes HTTP requests for one store and counts them.

    :param conn_id: the store, for messages
    :ivar calls: operation → number of requests made
    :ivar clock_offset: Amazon's clock minus this process's, by the Date header of the last answer; None before
    """

    def __init__(self, conn_id: str) -> None:
        self.conn_id = conn_id
        self.calls: Counter[str] = Counter()
        self.clock_offset: timedelta | None = None

    def send(
        self,
        operation: str,
        method: str,
        url: str,
        *,
        idempotent: bool = True,
        fence: Callable[[], None] | None = None,
        **arguments: Any,
    ) -> requests.Response:
        """Make one request; the response may have any status but that of a redirect.

        :param fence: called before connecting, and before the body is written; what it raises is raised
        :param arguments: those of :meth:`requests.Session.request`
        :raises UnavailableError: there was no response
        :raises CredentialsError: there was a redirect, so it is not Amazon that answered
        :raises LostAnswerError: either, of an operation that is not idempotent: it may have had its effect
        """
        if fence:
            fence()
            arguments["data"] = FencedBody(json.dumps(arguments.pop("json")).encode(), fence)
            arguments["headers"] = {"Content-Type": "application/json"}
        kind = UnavailableError if idempotent else LostAnswerError
        response = self._request(kind, operation, method, url, **arguments)
        self.clock_offset = _clock_offset(response) or self.clock_offset
        if is_redirect(response):
            self._refuse_redirect(response, operation, idempotent)
        return response

    def upload(self, url: str, content: bytes, content_type: str) -> requests.Response:
        """Put a document to a pre-signed URL; the response may have any status, also that of a redirect.

        :param content_type: the one that is signed
        """
        headers = {"Content-Type": content_type}
        return self._request(UnavailableError, "upload", "PUT", url, data=content, headers=headers)

    def _request(
        self, kind: type[UnavailableError], operation: str, method: str, url: str, **arguments: Any
    ) -> requests.Response:
        self.calls[operation] += 1
        try:
            with (
                ends_within(CALL_SECONDS),
                session().request(method, url, timeout=_timeout(), stream=True, **arguments) as response,
            ):
                response._content = _all_of(response)
                return response
        except requests.RequestException as error:
            # Not the original text: it holds the URL, which may be pre-signed.
            raise kind(f"{self.conn_id}: no answer from Amazon ({_why(error)})", operation=operation) from None

    def _refuse_redirect(self, response: requests.Response, operation: str, idempotent: bool) -> NoReturn:
        kind = CredentialsError if idempotent else LostAnswerError
        raise kind(
            f"Connection {self.conn_id}: the answer is a redirect to another address, which was not followed. Amazon never "
            "answers so: check host and token_url of the connection, and what stands between here and Amazon",
            operation=operation,
            status=response.status_code,
        )

    def open_download(self, url: str, what: str) -> requests.Response:
        """Start to download from a pre-signed URL; the response may have any status, also that of a redirect.

        It must come, and be read, within the present :func:`ends_within`.

        :param what: the document, for messages
        """
        self.calls["download"] += 1
        try:
            # Pre-signed: storage refuses any other authorisation. identity: gzip must arrive as it was stored. close: were
            # its length stated too short, the rest must not be taken for the next answer.
            headers = {"Accept-Encoding": "identity", "Connection": "close"}
            return session().get(url, timeout=_timeout(), stream=True, headers=headers)
        except requests.RequestException as error:
            raise UnavailableError(
                f"{self.conn_id}: {what} not reachable ({_why(error)})", operation="download"
            ) from None

    def read(self, response: requests.Response, what: str) -> Download:
        """Read an opened download in chunks.

        :raises UnavailableError: while iterating, when the connection breaks or the time is up
        """
        last_moment = end()

        def chunks() -> Iterator[bytes]:
            try:
                with response:
                    # decode_content=False: a Content-Encoding would be undone here and again when the document is read.
                    yield from response.raw.stream(CHUNK, decode_content=False)
            except Exception as error:  # urllib3's own kinds; their text holds the URL
                late = time.monotonic() >= last_moment
                reason = "it took too long" if late else type(error).__name__
                raise UnavailableError(f"{self.conn_id}: {what} broke off ({reason})", operation="download") from None

        return Download(charset_of(response), chunks())


class FencedBody(BytesIO):
    """A request's body that is given out only if the fence lets it pass: after connecting, the last moment at which Amazon has got nothing.

    A process can be stopped for an hour at any point. With its headers alone, a request has no effect.
    """

    def __init__(self, content: bytes, fence: Callable[[], None]) -> None:
        super().__init__(content)
        self._fence = fence

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as a file does, once the fence has let it pass."""
        if self.tell() == 0:
            self._fence()
        return super().read(size)


class _Session(requests.Session):
    """A session that keeps no cookies, which could be another seller's, takes no password from ``.netrc``, and follows no redirect.

    With a redirect the access token would go on to the other address, and with 307 the client secret too.
    """

    def __init__(self) -> None:
        super().__init__()
        self.auth = _no_password
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        adapter = BoundedAdapter(pool_maxsize=CONNECTIONS)
        self.mount("https://", adapter)
        self.mount("http://", adapter)
        self.headers["User-Agent"] = user_agent()

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        """No response leads anywhere."""
        return None


def _no_password(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


@cache
def session() -> requests.Session:
    """The process's one HTTP session."""
    return _Session()


def is_redirect(response: requests.Response) -> bool:
    """Whether a response says to look elsewhere."""
    return 300 <= response.status_code < 400


class _TooLargeError(requests.RequestException):
    """An answer that no operation of Amazon's has."""


def _all_of(response: requests.Response) -> bytes:
    content = bytearray()
    for piece in response.iter_content(CHUNK // 64):
        content += piece
        if len(content) > LARGEST_ANSWER:
            raise _TooLargeError
    return bytes(content)


def _timeout() -> tuple[float, float]:
    if not (left := seconds_left()):
        raise requests.Timeout
    return min(TIMEOUT[0], left), min(TIMEOUT[1], left)


def _why(error: requests.RequestException) -> str:
    if isinstance(error, _TooLargeError):
        return f"it is larger than {LARGEST_ANSWER >> 20} MB"
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted, or TLS fails: SSLError"
    return type(error).__name__


def user_agent() -> str:
    """Return the User-Agent in the form Amazon requires: escaped, at most 500 characters.

    Source: developer-docs.amazon.com/sp-api/docs/include-a-user-agent-header-in-all-requests
    """

    def escaped(text: str) -> str:
        return re.sub(r"([\\/()=;])", r"\\\1", text)

    language = f"Python/{escaped(platform.python_version())}"
    system = escaped(f"{platform.system()} {platform.release()}")[:200]
    return f"airflow-amazon-fba/{__version__} (Language={language}; Platform={system})"


def retry_briefly(call: Callable[[], T]) -> T:
    """Retry after transient faults for seconds, not minutes; Airflow's retries are for longer ones.

    Not beyond :func:`ends_within`. Throttled calls wait as long as the error says, others back off exponentially with jitter. A call that is not
    idempotent must not be passed in.
    """

    def is_brief(error: BaseException) -> bool:
        if isinstance(error, ThrottledError):
            return _seconds_until_allowed(error) <= MAX_INLINE_SLEEP
        return isinstance(error, UnavailableError) and not isinstance(error, LostAnswerError)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception(is_brief),
        wait=tenacity.wait_exception(_seconds_until_allowed)
        + tenacity.wait_exponential_jitter(multiplier=0.5, max=MAX_INLINE_SLEEP),
        stop=lambda state: state.attempt_number >= 5 or state.upcoming_sleep >= seconds_left(),
        reraise=True,
    )(call)


def _seconds_until_allowed(error: BaseException) -> float:
    return max((error.until - datetime.now(UTC)).total_seconds(), 0.0) if isinstance(error, ThrottledError) else 0.0


def _clock_offset(response: requests.Response) -> timedelta | None:
    """Amazon's clock minus ours; None where the answer has no Date or one that cannot be."""
    try:
        moment = parsedate_to_datetime(response.headers.get("Date", ""))
    except ValueError:
        return None
    return moment - datetime.now(UTC) if moment.tzinfo and 2000 <= moment.year < 2100 else None


def charset_of(response: requests.Response) -> str | None:
    """The charset that the Content-Type names, or None."""
    header = Message()
    header["Content-Type"] = response.headers.get("Content-Type", "")
    return header.get_content_charset()


def json_of(response: requests.Response) -> dict[str, Any] | None:
    """The body as a JSON object, or None."""
    try:
        body = response.json()
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def errors_of(response: requests.Response) -> list[dict[str, Any]]:
    """Amazon's error objects in a response."""
    errors = (json_of(response) or {}).get("errors")
    return [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
