"""HTTP to Amazon and its storage: one session, time limits, and faults of the network as our errors."""

from __future__ import annotations

import json
import logging
import platform
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import parsedate_to_datetime
from functools import cache
from io import BytesIO
from typing import Any, TypeVar

import requests
import tenacity
from requests.adapters import HTTPAdapter

from fba_operators import __version__
from fba_operators.errors import LostAnswerError, ThrottledError, UnavailableError

# At DEBUG it logs path and query of every call: ids, and the signature of pre-signed URLs.
logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

T = TypeVar("T")

MAX_INLINE_SLEEP = 5.0  # seconds a worker may sleep; longer waits are deferred
TIMEOUT = (10, 120)  # seconds to connect, seconds between bytes
CHUNK = 4 * 1024 * 1024  # bytes of a download in memory at a time
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
        """Make one request; the response may have any status.

        :param fence: called before connecting, and before the body is written; what it raises is raised
        :param arguments: those of :meth:`requests.Session.request`
        :raises UnavailableError: there was no response
        :raises LostAnswerError: the same of an operation that is not idempotent: it may have had its effect
        """
        if fence:
            fence()
            arguments["data"] = FencedBody(json.dumps(arguments.pop("json")).encode(), fence)
            arguments["headers"] = {"Content-Type": "application/json"}
        self.calls[operation] += 1
        try:
            response = session().request(method, url, timeout=TIMEOUT, **arguments)
            self.clock_offset = _clock_offset(response) or self.clock_offset
            return response
        except requests.RequestException as error:
            kind = UnavailableError if idempotent else LostAnswerError
            # Not the original text: it holds the URL, which may be pre-signed.
            raise kind(f"{self.conn_id}: no answer from Amazon ({type(error).__name__})", operation=operation) from None

    def open_download(self, url: str, what: str) -> requests.Response:
        """Start to download from a pre-signed URL; the response may have any status.

        :param what: the document, for messages
        """
        self.calls["download"] += 1
        try:
            # Pre-signed: storage refuses any other authorisation. identity: gzip must arrive as it was stored.
            return session().get(url, timeout=TIMEOUT, stream=True, headers={"Accept-Encoding": "identity"})
        except requests.RequestException as error:
            raise UnavailableError(f"{self.conn_id}: {what} not reachable ({type(error).__name__})") from None

    def read(self, response: requests.Response, what: str) -> Download:
        """Read an opened download in chunks.

        :raises UnavailableError: while iterating, when the connection breaks
        """

        def chunks() -> Iterator[bytes]:
            try:
                with response:
                    # decode_content=False: a Content-Encoding would be undone here and again when the document is read.
                    yield from response.raw.stream(CHUNK, decode_content=False)
            except Exception as error:  # urllib3's own kinds; their text holds the URL
                raise UnavailableError(f"{self.conn_id}: {what} broke off ({type(error).__name__})") from None

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


@cache
def session() -> requests.Session:
    """The process's one HTTP session."""
    made = requests.Session()
    adapter = HTTPAdapter(pool_maxsize=CONNECTIONS)
    made.mount("https://", adapter)
    made.mount("http://", adapter)
    made.headers["User-Agent"] = user_agent()
    return made


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

    Throttled calls wait as long as the error says, others back off exponentially with jitter. A call that is not
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
        stop=tenacity.stop_after_attempt(5),
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
