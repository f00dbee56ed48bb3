"""What goes back over the wire: answers, and errors in the three shapes Amazon uses."""

import json
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import escape

Style = Literal["sp-api", "lwa", "s3"]

ACCESS_DENIED = "Access to requested resource is denied."
TOKEN_EXPIRED = "The access token you provided has expired."
TOKEN_INVALID = "The access token you provided is revoked, malformed or invalid."
TOKEN_MISSING = "Access token is missing in the request header."
WRONG_REGION = "The marketplaces you provided are not valid for region."


@dataclass(slots=True)
class Answer:
    """An HTTP answer: status, body and headers (without the ones every answer carries)."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class ConnectionDroppedError(Exception):
    """The connection is to be cut without an answer."""


class AmazonError(Exception):
    """A refusal: HTTP status, Amazon's code, message and details. `document` (JSON, or a text) replaces the body."""

    def __init__(self, status: int, code: str, message: str, details: str | None = "", *, document: Any = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.document = document

    def answer(self, style: Style, request_id: str) -> Answer:
        """The error as the given service words it."""
        if self.document is not None:
            if isinstance(self.document, str):
                return Answer(self.status, self.document.encode(), {"Content-Type": "text/html; charset=utf-8"})
            return json_answer(self.status, self.document)
        if style == "lwa":
            return json_answer(
                self.status, {"error": self.code, "error_description": self.message, "request_id": request_id}
            )
        if style == "s3":
            xml = (
                '<?xml version="1.0" encoding="UTF-8"?>\n'
                f"<Error><Code>{escape(self.code)}</Code><Message>{escape(self.message)}</Message>"
                f"<RequestId>{request_id}</RequestId></Error>"
            )
            return Answer(self.status, xml.encode(), {"Content-Type": "application/xml"})
        error = {"code": self.code, "message": self.message}
        if self.details is not None:
            error["details"] = self.details
        answer = json_answer(self.status, {"errors": [error]})
        answer.headers["x-amzn-ErrorType"] = f"{self.code}Exception"
        return answer


def json_answer(status: int, document: Any) -> Answer:
    """A JSON answer."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def unauthorized(details: str = "") -> AmazonError:
    """403 of the gateway: token, role, region or unknown path, told apart only by `details`."""
    return AmazonError(403, "Unauthorized", ACCESS_DENIED, details)


def invalid_input(message: str) -> AmazonError:
    """400 for a request that Amazon cannot read or does not allow."""
    return AmazonError(400, "InvalidInput", message)


def not_found(message: str) -> AmazonError:
    """404 for a thing that does not exist for this seller."""
    return AmazonError(404, "NotFound", message)


def failure(style: Style, status: int) -> AmazonError:
    """429, 500 or 503 in the words of the given service."""
    if style == "lwa":
        return {
            429: AmazonError(429, "slow_down", "Too many requests."),
            500: AmazonError(500, "server_error", "The authorization server met an unexpected condition."),
            503: AmazonError(503, "temporarily_unavailable", "The service is temporarily unavailable."),
        }[status]
    if style == "s3":
        return {
            429: AmazonError(429, "TooManyRequests", "Please reduce your request rate."),
            500: AmazonError(500, "InternalError", "We encountered an internal error. Please try again."),
            503: AmazonError(503, "SlowDown", "Please reduce your request rate."),
        }[status]
    return {
        429: AmazonError(429, "QuotaExceeded", "You exceeded your quota for the requested resource."),
        500: AmazonError(500, "InternalFailure", "We encountered an internal error. Please try again."),
        503: AmazonError(503, "ServiceUnavailable", "Service is temporarily unavailable. Please try again."),
    }[status]
