"""HTTP answers, and errors in Amazon's three formats: Selling Partner API, Login with Amazon, S3."""

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
    """An HTTP answer; `headers` without those that every answer has."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


class ConnectionDroppedError(Exception):
    """The server must reset the connection instead of answering."""


class AmazonError(Exception):
    """An error answer: HTTP status, Amazon's code, message and details.

    `details` None leaves the field out. `body`, if given, is sent instead: a str as HTML, anything else as JSON.
    """

    def __init__(self, status: int, code: str, message: str, details: str | None = "", *, body: Any = None) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.body = body

    def answer(self, style: Style, request_id: str) -> Answer:
        """Return the error in the format of the service `style`."""
        if self.body is not None:
            if isinstance(self.body, str):
                return Answer(self.status, self.body.encode(), {"Content-Type": "text/html; charset=utf-8"})
            return json_answer(self.status, self.body)
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
    """Return an answer with `document` as its JSON body."""
    body = json.dumps(document, ensure_ascii=False).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def unauthorized(details: str = "") -> AmazonError:
    """Return the gateway's 403 for a bad token, role, region or path; only `details` distinguishes them."""
    return AmazonError(403, "Unauthorized", ACCESS_DENIED, details)


def invalid_input(message: str) -> AmazonError:
    """Return 400 for a request that Amazon cannot parse or does not allow."""
    return AmazonError(400, "InvalidInput", message)


def not_found(message: str) -> AmazonError:
    """Return 404 for a resource that this seller does not have."""
    return AmazonError(404, "NotFound", message)


def failure(style: Style, status: int) -> AmazonError:
    """Return the error with `status` 429, 500 or 503, with code and message of the service `style`."""
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
