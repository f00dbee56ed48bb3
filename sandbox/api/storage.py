"""The S3 stand-in: pre-signed URLs, uploads of feed documents and downloads of all documents."""

import hashlib
import secrets
from datetime import UTC, datetime

from sandbox.api.answers import AmazonError, Answer
from sandbox.api.calls import Call, Operation
from sandbox.world.grants import URL_SECONDS, SignedUrl
from sandbox.world.report_desk import Document


def _sign(call: Call, method: str, seller_id: str, document_id: str, signed_headers: str = "host") -> SignedUrl:
    signature = secrets.token_hex(32)
    now = datetime.fromtimestamp(call.world.clock.wall(), UTC)
    path_and_query = (
        f"/documents/{secrets.token_hex(16)}.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        f"&X-Amz-Date={now:%Y%m%dT%H%M%SZ}&X-Amz-SignedHeaders={signed_headers}&X-Amz-Expires={URL_SECONDS}"
        f"&X-Amz-Credential=AKIASANDBOX%2F{now:%Y%m%d}%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature={signature}"
    )
    url = SignedUrl(method, path_and_query, seller_id, document_id, now.timestamp() + URL_SECONDS)
    call.world.urls[signature] = url
    return url


def download_url(call: Call, document: Document, with_content_encoding: bool) -> dict[str, str]:
    """Sign a download of `document` and return `url` and, if declared, `compressionAlgorithm`, as the APIs answer.

    `with_content_encoding`: the download has a Content-Encoding header, so that HTTP clients decompress it.
    """
    url = _sign(call, "GET", document.seller_id, document.document_id)
    url.content_encoding = with_content_encoding and document.declare_gzip
    answer = {"url": f"{call.incoming.base_url}{url.path_and_query}"}
    if document.declare_gzip:
        answer["compressionAlgorithm"] = "GZIP"
    return answer


def upload_url(call: Call, document_id: str, content_type: str) -> str:
    """Sign an upload of a feed document; the PUT must have exactly this content type."""
    url = _sign(call, "PUT", call.merchant.seller_id, document_id, "content-type%3Bhost")
    url.content_type = content_type
    return f"{call.incoming.base_url}{url.path_and_query}"


def _signed_url(call: Call) -> SignedUrl | None:
    return call.world.urls.get(call.incoming.query.rpartition("X-Amz-Signature=")[2])


def identify_seller(call: Call) -> None:
    """Set the call's seller from the signed URL, for faults and call counts; never raises."""
    url = _signed_url(call)
    if url is not None:
        call.merchant_or_none = call.world.merchants[url.seller_id]


def _verify_signed_url(call: Call) -> SignedUrl:
    """Return the signed URL of a call; S3's error for extra credentials, a modified URL, a wrong method, or expiry."""
    headers = call.incoming.headers
    if "authorization" in headers or "x-amz-access-token" in headers:
        raise AmazonError(
            400,
            "InvalidArgument",
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
        )
    if "X-Amz-Signature=" not in call.incoming.query:
        raise AmazonError(403, "AccessDenied", "Access Denied")
    url = _signed_url(call)
    if (
        url is None
        or url.method != call.operation.method
        or url.path_and_query != f"{call.incoming.path}?{call.incoming.query}"
        or (url.method == "PUT" and url.content_type != headers.get("content-type"))
    ):
        raise AmazonError(
            403,
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided.",
        )
    if call.fault and call.fault.fault == "expired_url":
        url.expires_at = 0.0
    if url.expires_at <= call.world.clock.wall():
        raise AmazonError(403, "AccessDenied", "Request has expired")
    return url


def download_document(call: Call) -> Answer:
    """GET of a signed URL: the bytes of a document."""
    url = _verify_signed_url(call)
    document = call.world.desk.documents[url.document_id]
    content = document.content.result()
    if call.fault and call.fault.fault == "truncated_gzip":
        content = content[: len(content) // 2]
    headers_out = {"Content-Type": document.content_type}
    if url.content_encoding:
        headers_out["Content-Encoding"] = "gzip"
    return Answer(200, content, headers_out)


def upload_document(call: Call) -> Answer:
    """PUT to a signed URL: the content of a feed document; a second upload replaces the first."""
    url = _verify_signed_url(call)
    call.world.feed_desk.inputs[url.seller_id, url.document_id].content = call.incoming.body
    digest = hashlib.md5(call.incoming.body, usedforsecurity=False).hexdigest()
    return Answer(200, b"", {"ETag": f'"{digest}"'})


def _document_type(call: Call) -> str | None:
    url = _signed_url(call)
    document = call.world.desk.documents.get(url.document_id) if url else None
    return document.report_type if document else None


OPERATIONS = (
    Operation("downloadDocument", "GET", "/documents/{key}", download_document, style="s3", subject=_document_type),
    Operation("uploadDocument", "PUT", "/documents/{key}", upload_document, style="s3"),
)
