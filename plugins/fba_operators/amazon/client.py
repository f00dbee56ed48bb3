"""One call to Amazon: token, quota, retry, and the meaning of each answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import requests

from fba_operators.amazon.credentials import Credentials
from fba_operators.amazon.deadline import CALL_SECONDS, DOWNLOAD_SECONDS, ends_within
from fba_operators.amazon.login import Login
from fba_operators.amazon.operations import Answer, Document, Operation, Page, UnexpectedAnswerError
from fba_operators.amazon.quota import Quota
from fba_operators.amazon.storage import check_storage
from fba_operators.amazon.transport import Download, Transport, errors_of, is_redirect, json_of, retry_briefly
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    ThrottledError,
    UnavailableError,
)
from fba_operators.warehouse.database import Warehouse
from fba_operators.words import name, words

A = TypeVar("A", bound=Answer)
P = TypeVar("P", bound=Page)

# A list ends. 10,000 pages are half a million orders at fifty a page, and at Amazon's fastest rate of a list, two pages a
# second, more than an hour. Amazon documents no empty pages; where filters are at work, some may come.
MAX_PAGES = 10_000
MAX_EMPTY_PAGES = 50
SLOW = 0.2  # calls a second; below this no worker sleeps until the next one


class Client:
    """Makes calls for one store.

    :param warehouse: where tasks share tokens and quotas; None works alone, for a test of the connection
    :param mask: makes Airflow hide a secret in every log
    """

    def __init__(self, credentials: Credentials, warehouse: Warehouse | None, mask: Callable[[str], None]) -> None:
        self.credentials = credentials
        self.transport = Transport(credentials.conn_id)
        self.login = Login(credentials, self.transport, warehouse, mask)
        self.quota = Quota(credentials, warehouse)

    def call(
        self,
        operation: Operation[A],
        *path: str,
        fence: Callable[[], None] | None = None,
        ours: tuple[str, ...] = (),
        **arguments: Any,
    ) -> A:
        """Make a call and return Amazon's answer, after brief retries where the operation is idempotent.

        :param path: values for the placeholders of the operation's path
        :param ours: numbers and SKUs of the body, which stay readable in Amazon's reason, like ``path``
        :param fence: called at the last moments at which the call can be given up; see :class:`FencedBody`
        :param arguments: those of :meth:`requests.Session.request`
        :raises SellingPartnerError: see :mod:`fba_operators.errors`
        """
        url = self.credentials.endpoint + operation.path.format(*(quote(part, safe="") for part in path))
        with ends_within(CALL_SECONDS):
            if operation.idempotent:
                return retry_briefly(lambda: self._call_once(operation, url, (*path, *ours), arguments, fence))
            return self._call_once(operation, url, (*path, *ours), arguments, fence)

    def pages(self, operation: Operation[P], params: dict[str, Any], *, token_alone: bool = False) -> Iterator[P]:
        """Make the calls of a list, page after page.

        :param params: of the first page
        :param token_alone: further pages are asked for with the token and nothing else, or Amazon refuses
        :raises ThrottledError: the quota is used up; says when it allows the whole list so far
        :raises UnavailableError: the list does not end: a page comes again, or there are too many, or too many empty ones
        """
        tokens: set[str] = set()
        empty = 0
        for number in range(MAX_PAGES):
            page = self._page(operation, params, number)
            yield page
            token = page.next_token
            if not token:
                return
            if token in tokens:
                self._refuse_list(operation, "it leads back to a page that was there already")
            empty = 0 if page.elements else empty + 1
            if empty >= MAX_EMPTY_PAGES:
                self._refuse_list(operation, f"{empty} empty pages came one after another")
            tokens.add(token)
            params = {operation.page_param: token} if token_alone else {**params, operation.page_param: token}
        self._refuse_list(operation, f"it has more than {MAX_PAGES} pages")

    def _page(self, operation: Operation[P], params: dict[str, Any], before: int) -> P:
        """Ask for one page of a list.

        Whoever defers begins the list anew. So he defers until the quota allows this page too, with those before it.

        :param before: how many pages were read already
        """
        try:
            return self.call(operation, params=params)
        except ThrottledError as wait:
            if operation.rate < SLOW and before >= operation.burst:
                self._refuse_list(operation, f"its {before} pages and more are beyond Amazon's quota")
            if before:
                enough = timedelta(seconds=min(before + 1, operation.burst) / operation.rate)
                wait.until = max(wait.until, datetime.now(UTC) + enough)
            raise

    def _refuse_list(self, operation: Operation[Any], reason: str) -> NoReturn:
        store = self.credentials.conn_id
        raise UnavailableError(f"{store}: Amazon's list cannot be read to its end: {reason}", operation=operation.name)

    def download(self, operation: Operation[Document], document_id: str, what: str) -> Download:
        """Get a document's pre-signed URL and start the download.

        :param what: the document, for messages
        """
        with ends_within(DOWNLOAD_SECONDS):
            response = self._open(operation, document_id, what)
            if response.status_code == 403:  # the URL expired (five minutes), perhaps while we waited to connect
                response.close()
                response = self._open(operation, document_id, what)
            if not response.ok or is_redirect(response):
                response.close()
                raise UnavailableError(
                    f"{self.credentials.conn_id}: Amazon's storage refuses the {what}, or says that it is elsewhere",
                    operation="download",
                    status=response.status_code,
                )
            return self.transport.read(response, what)

    def _open(self, operation: Operation[Document], document_id: str, what: str) -> requests.Response:
        url = self.call(operation, document_id).url
        check_storage(url, self.credentials)
        return self.transport.open_download(url, what)

    def upload(self, url: str, content: bytes, content_type: str) -> None:
        """Upload a document to a pre-signed URL.

        :param content_type: the one that is signed
        """
        check_storage(url, self.credentials)
        response = self.transport.upload(url, content, content_type)
        if not response.ok or is_redirect(response):
            raise UnavailableError(
                f"{self.credentials.conn_id}: the upload of a feed document was refused; a new document is asked for",
                operation="upload",
                status=response.status_code,
            )

    def _call_once(
        self,
        operation: Operation[A],
        url: str,
        ours: tuple[str, ...],
        arguments: dict[str, Any],
        fence: Callable[[], None] | None,
    ) -> A:
        rejected = None
        while True:
            token = self.login.token(rejected=rejected)
            self.quota.take(operation)
            response = self.transport.send(
                operation.name,
                operation.method,
                url,
                idempotent=operation.idempotent,
                fence=fence,
                auth=token,
                **arguments,
            )
            self.quota.learn(operation, response)
            if response.ok:
                return self._read(operation, response)
            if rejected is None and response.status_code in (401, 403) and _is_about_the_token(response):
                rejected = token
                if fence is None:
                    continue
                self.login.token(rejected=rejected)
                message = (
                    f"{self.credentials.conn_id}: Amazon refused the access token; with the new one it is looked first"
                )
                raise UnavailableError(f"{message} whether it made nothing", operation=operation.name, status=403)
            self._refuse(operation, response, ours)

    def _read(self, operation: Operation[A], response: requests.Response) -> A:
        body = json_of(response)
        try:
            return operation.read(body)
        except UnexpectedAnswerError as error:
            kind = UnavailableError if operation.idempotent else LostAnswerError
            message = (
                f"{self.credentials.conn_id}: Amazon reports success, but its {error} is missing or not as documented"
            )
            raise kind(message, operation=operation.name, status=response.status_code) from None

    def _refuse(self, operation: Operation[Any], response: requests.Response, ours: tuple[str, ...]) -> NoReturn:
        """Raise what an answer other than success means.

        :param ours: what was asked for; it stays readable in Amazon's reason
        """
        store, status = self.credentials.conn_id, response.status_code
        first: dict[str, Any] = next(iter(errors_of(response)), {})
        reason = words(" ".join(str(first[key]) for key in ("message", "details") if first.get(key)), ours=ours)
        facts: dict[str, Any] = {
            "status": status,
            "code": name(first.get("code")),
            "request_id": name(response.headers.get("x-amzn-RequestId")),
        }
        if status == 429:
            self.quota.refused(operation, **facts)
        facts |= {"operation": operation.name, "quotable": not operation.about_one_order}
        if status >= 500:
            kind = UnavailableError if operation.idempotent else LostAnswerError
            raise kind(f"{store}: Amazon failed", detail=reason or "no reason given", **facts)
        if status in (401, 403):
            raise CredentialsError(
                f"Connection {store}: Amazon denies access. Usual causes: the application lacks the role "
                "(Amazon Fulfillment, Inventory and Order Tracking) or got it after this refresh token was made, which "
                "then must be made anew; or the marketplace belongs to another region or seller. Amazon's reason",
                detail=reason or "none given",
                **facts,
            )
        raise RequestRefusedError(f"{store}: Amazon refuses the request", detail=reason or "no reason given", **facts)


def amazon_time(moment: datetime) -> str:
    """Write a time as Amazon reads it: ISO 8601 in UTC."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def _is_about_the_token(response: requests.Response) -> bool:
    details = " ".join(str(error.get("details")) for error in errors_of(response))
    return "access token" in details.lower()
