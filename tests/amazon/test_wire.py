"""What may happen on the wire, for every operation, the login, the upload and the download: nothing leaks or hangs."""

from __future__ import annotations

import gzip
import ipaddress
import json
import re
import ssl
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest
from airflow.sdk import Connection
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fba_operators.amazon import transport
from fba_operators.amazon.client import Client
from fba_operators.amazon.credentials import Credentials
from fba_operators.amazon.operations import GET_REPORT_DOCUMENT, OPERATIONS
from fba_operators.amazon.storage import check_storage
from fba_operators.errors import (
    CredentialsError,
    LostAnswerError,
    RequestRefusedError,
    SellingPartnerError,
    UnavailableError,
)
from tests import timing
from tests.amazon.wire import Request, Wire, dripping, response
from tests.stores import US

SECRETS = {"password": "the-client-secret", "refresh_token": "Atzr|the-refresh-token"}
TOKEN = "Atza|the-access-token"
STORAGE = "/document"

BODIES = {
    "createReport": {"reportId": "1"},
    "getReport": {"reportId": "1", "processingStatus": "DONE"},
    "getReports": {"reports": []},
    "getReportDocument": {"url": "{url}/document"},
    "createFeedDocument": {"feedDocumentId": "1", "url": "{url}/document"},
    "createFeed": {"feedId": "1"},
    "getFeed": {"feedId": "1", "processingStatus": "DONE"},
    "getFeeds": {"feeds": []},
    "getFeedDocument": {"url": "{url}/document"},
    "getInventorySummaries": {"payload": {"inventorySummaries": []}},
    "getMarketplaceParticipations": {"payload": []},
    "listAllFulfillmentOrders": {"payload": {"fulfillmentOrders": []}},
    "getFulfillmentOrder": {"payload": {"fulfillmentOrder": {"sellerFulfillmentOrderId": "1"}}},
    "cancelFulfillmentOrder": {},
    "createFulfillmentOrder": {},
    "updateFulfillmentOrder": {},
    "getFulfillmentPreview": {"payload": {"fulfillmentPreviews": []}},
    "getFeatures": {"payload": {"features": []}},
    "getFeatureSKU": {"payload": {"isEligible": True}},
    "getPackageTrackingDetails": {"payload": {}},
    "listOrders": {"orders": []},
    "getOrder": {"order": {"orderId": "1"}},
}
TOKEN_BODY = {"access_token": TOKEN, "expires_in": 3600}
CALLS = [*OPERATIONS, "token", "upload", "download"]
WITH_A_BODY = [*OPERATIONS, "token"]  # those whose answer is read as JSON


def test_every_operation_is_tried():
    assert set(BODIES) == set(OPERATIONS)


def place_of(call):
    """Where its request goes."""
    if call in OPERATIONS:
        return OPERATIONS[call].path.replace("{}", "1")
    return "/auth/o2/token" if call == "token" else STORAGE


def good_body(call, wire):
    body = TOKEN_BODY if call == "token" else BODIES[call]
    return json.dumps(body).replace("{url}", wire.url).encode()


def credentials_of(host, token_url, **extra):
    values = {
        "refresh_token": SECRETS["refresh_token"],
        "seller_id": "A1",
        "marketplace_id": US,
        "token_url": token_url,
    }
    connection = Connection(
        conn_id="amazon_us",
        conn_type="amazon_sp_api",
        host=host,
        login="client",
        password=SECRETS["password"],
        extra=json.dumps({**values, **extra}),
    )
    return Credentials.of("amazon_us", connection)


def client_of(wire, **extra):
    return Client(credentials_of(wire.url, f"{wire.url}/auth/o2/token", **extra), None, lambda secret: None)


def make(call, client):
    """Make a call to its end."""
    if call == "token":
        return client.login.token()
    if call == "upload":
        return client.upload(client.credentials.endpoint + STORAGE, b"x" * 200_000, "text/xml")
    if call == "download":
        return b"".join(client.download(GET_REPORT_DOCUMENT, "1", "report").chunks)
    operation = OPERATIONS[call]
    return client.call(operation, *["1"] * operation.path.count("{}"))


def error_of(call, otherwise=UnavailableError):
    lost = call in OPERATIONS and not OPERATIONS[call].idempotent
    return LostAnswerError if lost else otherwise


def called(request):
    """Which call a request is."""
    path = request.path.partition("?")[0]
    for operation in OPERATIONS.values():
        if request.method == operation.method and re.fullmatch(operation.path.replace("{}", "[^/]+"), path):
            return operation.name
    return "token" if path.startswith("/auth") else "document"


def as_amazon(wire, request):
    """Answer as Amazon does."""
    call = called(request)
    return response(200, b"a\tb\n" if call == "document" else good_body(call, wire))


@pytest.fixture
def wires():
    with ExitStack() as stack:

        def start(**kwargs):
            wire = stack.enter_context(Wire(**kwargs))
            wire.answer("/", lambda request: [as_amazon(wire, request)])
            return wire

        yield start


@pytest.fixture
def amazon_wire(wires, no_retry_sleep):
    return wires()


@pytest.mark.parametrize("call", CALLS)
def test_a_good_answer_is_one(amazon_wire, call):
    make(call, client_of(amazon_wire))


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ("3600", 3600),
        ("3600.0", 3600),
        (3600, 3600),
        (None, None),
        ("", None),
        ("soon", None),
        ("-1", None),
        ("0", None),
    ],
)
def test_the_lifetime_of_a_token_may_be_a_text(wires, no_retry_sleep, told, seconds):
    wire = wires()
    body = json.dumps({**TOKEN_BODY, "expires_in": told}).encode()
    wire.answers.insert(0, ("/auth", lambda request: [response(200, body)]))
    login = client_of(wire).login
    if seconds is None:
        with pytest.raises(UnavailableError, match="no usable token"):
            login.token()
    else:
        left = login.token().expires_at - datetime.now(UTC)
        assert timedelta(seconds=seconds - 90) < left < timedelta(seconds=seconds)


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
@pytest.mark.parametrize("call", CALLS)
def test_no_redirect_is_followed(amazon_wire, wires, call, status):
    elsewhere = wires()
    place = place_of(call)
    moved = response(status, b"moved", Location=f"{elsewhere.url}{place}")
    amazon_wire.answer(place, lambda request: [moved])
    kind = UnavailableError if call in ("upload", "download") else CredentialsError
    with pytest.raises(error_of(call, kind)) as caught:
        make(call, client_of(amazon_wire))
    assert caught.value.status == status
    assert elsewhere.requests == []
    assert len(amazon_wire.of(place)) == 1
    if kind is CredentialsError:
        assert "check host and token_url" in str(caught.value)


@pytest.mark.parametrize("location", ["http://[", "//x:y", "ftp://x/", "\\\\x", ""])
def test_a_redirect_to_nowhere_is_one_too(amazon_wire, location):
    amazon_wire.answer(place_of("getFeed"), lambda request: [response(302, Location=location)])
    with pytest.raises(CredentialsError, match="redirect"):
        make("getFeed", client_of(amazon_wire))


@pytest.mark.parametrize("call", CALLS)
def test_no_cookie_comes_back(amazon_wire, call):
    def with_cookie(request):
        return [as_amazon(amazon_wire, request).replace(b"\r\n", b"\r\nSet-Cookie: session=1; Path=/\r\n", 1)]

    amazon_wire.answer("/", with_cookie)
    make(call, client_of(amazon_wire))
    make(call, client_of(amazon_wire, seller_id="A2"))
    assert len(amazon_wire.requests) >= 2
    assert not any("cookie" in request.headers for request in amazon_wire.requests)


@pytest.mark.parametrize("call", CALLS)
def test_tokens_and_secrets_go_to_the_hosts_they_belong_to(wires, call):
    api, login, store = wires(), wires(), wires()
    for place in ("/reports/2021-06-30/documents/", "/feeds/2021-06-30/documents/"):
        document = json.dumps({"url": f"{store.url}{STORAGE}"}).encode()
        api.answer(place, lambda request, document=document: [response(200, document)])
    client = Client(credentials_of(api.url, f"{login.url}/auth/o2/token"), None, lambda secret: None)
    if call == "upload":
        client.login.token()
        client.upload(store.url + STORAGE, b"x", "text/xml")
    else:
        make(call, client)
    assert all(secret in login.requests[0].text for secret in ("the-client-secret", "the-refresh-token"))
    assert not any(TOKEN in request.text for request in (*login.requests, *store.requests))
    sent = "".join(request.text for request in (*api.requests, *store.requests))
    assert not any(secret in sent for secret in ("the-client-secret", "the-refresh-token"))
    if call in ("upload", "download"):
        assert len(store.requests) == 1
        assert "authorization" not in store.requests[0].headers


@pytest.mark.parametrize("call", [*WITH_A_BODY, "download"])
def test_more_bytes_announced_than_sent(amazon_wire, call):
    body = b"a\tb\n" if call == "download" else good_body(call, amazon_wire)
    amazon_wire.answer(place_of(call), lambda request: [response(200, body, length=len(body) + 10)])
    with pytest.raises(error_of(call)):
        make(call, client_of(amazon_wire))


@pytest.mark.parametrize("call", WITH_A_BODY)
def test_fewer_bytes_announced_than_sent(amazon_wire, call):
    body = good_body(call, amazon_wire)
    amazon_wire.answer(place_of(call), lambda request: [response(200, body, length=len(body) - 1)])
    with pytest.raises(error_of(call)):
        make(call, client_of(amazon_wire))


def test_what_comes_after_the_end_of_a_download_is_no_answer_to_the_next_call(amazon_wire):
    forged = response(200, json.dumps({"reportId": "1", "processingStatus": "FATAL"}).encode())
    document = response(200, b"a\tb\n").replace(b"Connection: close", b"Connection: keep-alive")
    amazon_wire.answer(STORAGE, lambda request: [document + forged])
    client = client_of(amazon_wire)
    assert make("download", client) == b"a\tb\n"
    assert amazon_wire.of(STORAGE)[0].headers["connection"] == "close"
    assert make("getReport", client).processing_status == "DONE"


@pytest.mark.parametrize("part", ["headers", "body"])
@pytest.mark.parametrize("call", CALLS)
def test_bytes_that_drip_end(amazon_wire, monkeypatch, call, part):
    timing.call_limit(monkeypatch, 0.3)
    body = b"x" * 1000
    whole = response(200, body)
    cut = 0 if part == "headers" else len(whole) - len(body)
    amazon_wire.answer(place_of(call), lambda request: [whole[:cut], *dripping(whole[cut:])])
    began = time.monotonic()
    with pytest.raises(error_of(call)):
        make(call, client_of(amazon_wire))
    assert time.monotonic() - began < 3


def test_an_upload_that_nobody_reads_ends(wires, monkeypatch):
    timing.call_limit(monkeypatch, 0.5)
    wire = wires()
    client = client_of(wire)
    monkeypatch.setattr("tests.amazon.wire._read", lambda file: time.sleep(2))
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        client.upload(wire.url + STORAGE, b"x" * 50_000_000, "text/xml")
    assert time.monotonic() - began < 2


def test_a_call_with_its_retries_ends(amazon_wire, monkeypatch):
    timing.call_limit(monkeypatch, 0.5)
    amazon_wire.answer("/feeds", lambda request: [0.2, response(503)])
    began = time.monotonic()
    with pytest.raises(UnavailableError):
        make("getFeed", client_of(amazon_wire))
    assert time.monotonic() - began < 2
    assert 1 <= len(amazon_wire.of("/feeds")) <= 3


# TLS


@pytest.fixture(scope="module")
def self_signed(tmp_path_factory):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(address, critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path_factory.mktemp("tls") / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return file, context


@pytest.mark.parametrize("call", CALLS)
def test_a_certificate_that_nobody_vouches_for_is_refused(wires, no_retry_sleep, self_signed, call):
    plain, secure = wires(), wires(tls=self_signed[1])
    token_url = f"{(secure if call == 'token' else plain).url}/auth/o2/token"
    client = Client(credentials_of(secure.url, token_url), None, lambda secret: None)
    with pytest.raises(error_of(call), match="certificate"):
        make(call, client)
    assert secure.requests == []


def test_the_time_limits_hold_with_tls_too(wires, self_signed, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self_signed[0]))
    wire = wires(tls=self_signed[1])
    client = client_of(wire)
    assert make("getFeed", client).feed_id == "1"
    assert make("download", client) == b"a\tb\n"
    timing.call_limit(monkeypatch, 0.3)
    for part in (0, 60):
        whole = response(200, b"x" * 1000)
        wire.answer("/feeds", lambda request, whole=whole, part=part: [whole[:part], *dripping(whole[part:])])
        began = time.monotonic()
        with pytest.raises(UnavailableError):
            make("getFeed", client)
        assert time.monotonic() - began < 3


# Where documents are

AMAZONS = [
    "https://tortuga-prod-na.s3-external-1.amazonaws.com/x?X-Amz-Expires=300",
    "https://tortuga-prod-eu.s3-eu-west-1.amazonaws.com/x",
    "https://tortuga-prod-fe.s3.us-west-2.amazonaws.com:443/x",
    "https://a.b.s3.amazonaws.com/x",
    "https://s3.dualstack.us-east-1.amazonaws.com/b/x",
    "https://b.s3.cn-north-1.amazonaws.com.cn/x",
    "https://B.S3.AMAZONAWS.COM/x",
]
NOT_AMAZONS = [
    "http://b.s3.amazonaws.com/x",
    "https://b.s3.amazonaws.com:8443/x",
    "https://b.s3.amazonaws.com.example.com/x",
    "https://example.com/s3.amazonaws.com",
    "https://user:pass@b.s3.amazonaws.com/x",
    "https://b.s3.amazonaws.com@example.com/x",
    "https://example.com\\@b.s3.amazonaws.com/x",
    "https://example.com#.s3.amazonaws.com/",
    "https://ec2-10-0-0-1.compute-1.amazonaws.com/x",
    "https://s3-evil-1.us-east-1.elb.amazonaws.com/x",
    "https://es3.amazonaws.com/x",
    "https://169.254.169.254/latest/meta-data",
    "https://localhost/x",
    "https://[::1]/x",
    "https://[",
    "ftp://b.s3.amazonaws.com/x",
    "file:///etc/passwd",
    "/x",
    "",
]


@pytest.mark.parametrize("url", AMAZONS)
def test_documents_are_fetched_from_amazons_storage(url):
    check_storage(url, credentials_of(None, None))
    check_storage(url, credentials_of("http://127.0.0.1:8765", None))


@pytest.mark.parametrize("url", NOT_AMAZONS)
def test_documents_are_fetched_from_nowhere_else(url):
    for host in (None, "https://sellingpartnerapi-na.amazon.com", "http://127.0.0.1:8765"):
        with pytest.raises(CredentialsError, match="neither in Amazon's storage") as caught:
            check_storage(url, credentials_of(host, None))
        assert "pass" not in str(caught.value).partition("would be at")[2]


@pytest.mark.parametrize(
    ("host", "url", "allowed"),
    [
        ("http://sandbox:8765", "http://sandbox:8765/documents/1", True),
        ("http://sandbox:8765/proxy/", "http://sandbox:9000/1", True),
        ("http://sandbox:8765", "https://sandbox/1", True),
        ("https://sandbox", "http://sandbox/1", False),
        ("https://sandbox", "https://sandbox.example.com/1", False),
        ("https://sandbox", "https://localhost/1", False),
        (None, "https://sellingpartnerapi-na.amazon.com/1", False),
    ],
)
def test_a_host_that_the_connection_names_may_hold_documents(host, url, allowed):
    credentials = credentials_of(host, None)
    if allowed:
        check_storage(url, credentials)
    else:
        with pytest.raises(CredentialsError):
            check_storage(url, credentials)


@pytest.mark.parametrize("call", ["upload", "download"])
def test_a_document_elsewhere_gets_nothing(wires, call):
    wire, elsewhere = wires(), wires()
    url = elsewhere.url.replace("127.0.0.1", "localhost") + STORAGE
    wire.answer("/reports", lambda request: [response(200, json.dumps({"url": url}).encode())])
    client = client_of(wire)
    with pytest.raises(CredentialsError, match="localhost"):
        client.upload(url, b"x", "text/xml") if call == "upload" else make(call, client)
    assert elsewhere.requests == []


@pytest.mark.parametrize("call", CALLS)
def test_a_broken_header_puts_no_address_into_the_log(amazon_wire, caplog, call):
    whole = as_amazon(amazon_wire, Request("GET", place_of(call), {}, b"")) if call in ("upload", "download") else None
    body = whole.partition(b"\r\n\r\n")[2] if whole else good_body(call, amazon_wire)
    broken = response(200, body).replace(b"\r\n", b"\r\nthis is no header\r\n", 1)
    amazon_wire.answer(place_of(call), lambda request: [broken])
    with suppress(UnavailableError, CredentialsError):  # what the broken header cuts off may be missed
        make(call, client_of(amazon_wire))
    assert len(amazon_wire.of(place_of(call))) >= 1
    assert STORAGE not in caplog.text
    assert "no header" not in caplog.text


@pytest.mark.parametrize("call", CALLS)
def test_no_password_of_a_netrc_file_is_sent(amazon_wire, monkeypatch, tmp_path, call):
    (tmp_path / "netrc").write_text("default login somebody password elses-password\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    make(call, client_of(amazon_wire))
    assert amazon_wire.requests
    assert not any("authorization" in request.headers for request in amazon_wire.requests)


@pytest.mark.parametrize("call", WITH_A_BODY)
def test_an_answer_that_grows_when_it_is_unzipped_is_given_up(amazon_wire, monkeypatch, call):
    monkeypatch.setattr(transport, "LARGEST_ANSWER", 1 << 20)
    bomb = gzip.compress(b"[" * (8 << 20))
    amazon_wire.answer(place_of(call), lambda request: [response(200, bomb, Content_Encoding="gzip")])
    with pytest.raises(error_of(call), match="larger than 1 MB"):
        make(call, client_of(amazon_wire))


@pytest.mark.parametrize("text", ["Wilhelmina Secret of Concealville", "call 77", "A" * 61, "Größe", "x\n", ["a"], 7])
@pytest.mark.parametrize("call", WITH_A_BODY)
def test_a_code_that_is_a_text_and_an_id_that_is_a_text_are_left_out(amazon_wire, call, text):
    body = {"errors": [{"code": text, "message": "no"}], "error": text, "request_id": text}
    amazon_wire.answer(place_of(call), lambda request: [response(400, json.dumps(body).encode())])
    with pytest.raises(SellingPartnerError) as caught:
        make(call, client_of(amazon_wire))
    assert (caught.value.code, caught.value.request_id) == (None, None)


@pytest.mark.parametrize(
    "text", ["InvalidInput", "QuotaExceeded", "invalid_grant", "8f14e45f-ceea-4e7a-9c1b-0a1b2c3d4e5f"]
)
def test_a_code_and_an_id_are_kept(amazon_wire, text):
    body = {"errors": [{"code": text, "message": "no"}]}
    answer = response(400, json.dumps(body).encode(), x_amzn_RequestId=text)
    amazon_wire.answer(place_of("getFeed"), lambda request: [answer])
    with pytest.raises(RequestRefusedError) as caught:
        make("getFeed", client_of(amazon_wire))
    assert (caught.value.code, caught.value.request_id) == (text, text)
