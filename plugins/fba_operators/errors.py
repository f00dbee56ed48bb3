"""What can go wrong with Amazon, named for what to do next.

SellingPartnerError
├── ConfigurationError   fix the deployment: Fernet key, stores.yaml, params
├── CredentialsError     fix the connection: client, secret, refresh token, role, region, host
├── RequestRefusedError  fix the request: Amazon answered 4xx
├── DecisionNeededError  ask a person: the data has arrived, but writing it could be wrong
├── ThrottledError       wait: Amazon's quota or a cool-down; says until when
├── UnavailableError     try again: network, 5xx, a cut download
│   └── LostAnswerError  reconcile before trying again: the call may have had its effect
└── DocumentError        a report document cannot be used: damaged (try again) or unreadable (ask a person)
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

__all__ = [
    "ConfigurationError",
    "CredentialsError",
    "DamagedDocumentError",
    "DecisionNeededError",
    "DocumentError",
    "EmptyDocumentError",
    "LostAnswerError",
    "MissingColumnsError",
    "RequestRefusedError",
    "SellingPartnerError",
    "ThrottledError",
    "UnavailableError",
    "UnreadableDocumentError",
]


class SellingPartnerError(Exception):
    """Something went wrong between us and Amazon.

    :param message: what happened and what to do, in our own words and counts, without secrets or personal data
    :param detail: Amazon's or a document's own words, or SKUs and FR numbers; goes into logs, not into notifications
    :param quotable: whether the detail may go into logs; Amazon's words about one order may name its buyer
    :param operation: Amazon's operation, e.g. ``createReport``
    :param status: HTTP status, when there was an answer
    :param code: Amazon's error code, e.g. ``InvalidInput``
    :param request_id: Amazon's request id, which its support asks for
    """

    def __init__(
        self,
        message: str,
        *,
        detail: str | None = None,
        quotable: bool = True,
        operation: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
    ) -> None:
        self.message = f"{message}: {detail}" if detail else message
        self.detail = detail
        self.operation = operation
        self.status = status
        self.code = code
        self.request_id = request_id
        facts = [
            operation,
            f"HTTP {status}" if status else None,
            code,
            f"Amazon request id {request_id}" if request_id else None,
        ]
        known = ", ".join(fact for fact in facts if fact)
        suffix = f" ({known})" if known else ""
        self.brief = message + suffix
        super().__init__(self.message + suffix if quotable else self.brief)


class ConfigurationError(SellingPartnerError):
    """The deployment is set up wrongly; nothing was asked of Amazon."""


class CredentialsError(SellingPartnerError):
    """The connection's credentials, role, region or host are wrong; no retry can help."""


class RequestRefusedError(SellingPartnerError):
    """Amazon refused the request itself; sending it again would be refused again."""


class DecisionNeededError(SellingPartnerError):
    """Going on could write something wrong; a person has to look and decide."""


class UnavailableError(SellingPartnerError):
    """Amazon or the network failed; trying again later is right."""


class LostAnswerError(UnavailableError):
    """A call that is not idempotent got no clear answer; it may have had its effect."""


class ThrottledError(SellingPartnerError):
    """Amazon's quota is used up, a cool-down runs, or another task is at work on the store.

    :param until: when to try again (UTC)
    :param patience: how long a task waits for it in all; then the store is left to the next run
    :param facts: those of :class:`SellingPartnerError`
    """

    def __init__(
        self, message: str, *, until: datetime, patience: timedelta = timedelta(minutes=45), **facts: Any
    ) -> None:
        super().__init__(message, **facts)
        self.until = until
        self.patience = patience


class DocumentError(SellingPartnerError):
    """A report document cannot be used as it is."""


class DamagedDocumentError(DocumentError, UnavailableError):
    """The compressed document is truncated or corrupt; downloading it again may help."""


class UnreadableDocumentError(DocumentError, DecisionNeededError):
    """The document arrived complete and is not the expected report; downloading it again gives the same."""


class EmptyDocumentError(UnreadableDocumentError):
    """The document holds no line at all, not even a header."""


class MissingColumnsError(UnreadableDocumentError):
    """The header lacks a column without which the report cannot be used.

    :param found: the header as it was found
    """

    def __init__(self, message: str, found: tuple[str, ...], *, detail: str) -> None:
        super().__init__(message, detail=detail)
        self.found = found
