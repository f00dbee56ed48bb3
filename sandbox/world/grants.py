"""What Amazon gives out for a while: access tokens, signed URLs and nextTokens. Their lifetimes are real seconds."""

from dataclasses import dataclass
from typing import Any

TOKEN_SECONDS = 3600.0
URL_SECONDS = 300
PAGE_TOKEN_SECONDS = 30.0


@dataclass(slots=True)
class AccessToken:
    """An access token: whose it is (None for a grantless one), and until when (wall time)."""

    client_id: str
    seller_id: str | None
    refresh_token: str | None
    expires_at: float


@dataclass(slots=True)
class SignedUrl:
    """A URL that was given out for one method; `path_and_query` is the only form of it that is accepted.

    A GET leads to the document `document_id`, a PUT to the feed document of that id, whose content type it demands.
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
    """What a nextToken continues: the operation, its parameters and the place."""

    operation: str
    seller_id: str
    state: dict[str, Any]
    expires_at: float
