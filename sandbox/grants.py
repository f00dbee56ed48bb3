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
    """A download URL that was given out; `path_and_query` is the only form of it that is accepted."""

    path_and_query: str
    document_id: str
    content_encoding: bool
    expires_at: float


@dataclass(slots=True)
class PageToken:
    """What a nextToken continues: the operation, its parameters and the place."""

    operation: str
    seller_id: str
    state: dict[str, Any]
    expires_at: float
