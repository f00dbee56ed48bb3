"""Access tokens, signed URLs and page tokens, each with its expiry in wall time."""

from dataclasses import dataclass
from typing import Any

TOKEN_SECONDS = 3600.0
URL_SECONDS = 300
PAGE_TOKEN_SECONDS = 3600.0
INVENTORY_PAGE_TOKEN_SECONDS = 30.0


@dataclass(slots=True)
class AccessToken:
    """An access token of a seller (None: a grantless token); `expires_at` is wall time."""

    seller_id: str | None
    expires_at: float


@dataclass(slots=True)
class SignedUrl:
    """A pre-signed URL for one method; a request must have exactly this `path_and_query`.

    A GET downloads the document `document_id`, with a Content-Encoding header if `content_encoding`. A PUT uploads the
    feed document `document_id` and must have the header Content-Type `content_type`. `expires_at` is wall time.
    """

    method: str
    path_and_query: str
    seller_id: str
    document_id: str
    expires_at: float
    content_encoding: bool = False
    content_type: str = ""


@dataclass(slots=True)
class PageToken:
    """A nextToken: the operation and seller it is valid for, and the `state` from which the next page continues."""

    operation: str
    seller_id: str
    state: dict[str, Any]
    expires_at: float
