"""A small client that speaks to the sandbox as a careful application does."""

import gzip
from typing import Any

import requests

from sandbox.server import Sandbox
from sandbox.world import DEFAULT_MERCHANT

US = "ATVPDKIKX0DER"
USER_AGENT = "Test App/1.0 (Language=Python/3.11)"


class Client:
    """Calls of one seller."""

    def __init__(self, amazon: Sandbox, credentials: dict[str, Any] | None = None) -> None:
        self.amazon = amazon
        self.session = requests.Session()
        self.credentials = credentials or amazon.world.credentials(DEFAULT_MERCHANT.seller_id)
        self.headers = {"user-agent": USER_AGENT}

    def token(self, **changes: str) -> requests.Response:
        form = {
            "grant_type": "refresh_token",
            "refresh_token": self.credentials["refresh_token"],
            "client_id": self.credentials["client_id"],
            "client_secret": self.credentials["client_secret"],
        }
        form |= changes
        return self.session.post(self.amazon.token_url, data={k: v for k, v in form.items() if v}, timeout=10)

    def login(self) -> "Client":
        self.headers["x-amz-access-token"] = self.token().json()["access_token"]
        return self

    def call(self, method: str, path: str, **how: Any) -> requests.Response:
        headers = {name: value for name, value in (self.headers | how.pop("headers", {})).items() if value is not None}
        return self.session.request(method, f"{self.amazon.url}{path}", headers=headers, timeout=10, **how)

    def create(self, report_type: str, marketplaces: tuple[str, ...] = (US,), **more: Any) -> requests.Response:
        body = {"reportType": report_type, "marketplaceIds": list(marketplaces), **more}
        return self.call("POST", "/reports/2021-06-30/reports", json=body)

    def report(self, report_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"/reports/2021-06-30/reports/{report_id}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def finished(self, report_type: str, marketplaces: tuple[str, ...] = (US,), **more: Any) -> dict[str, Any]:
        """Ask for a report, let its processing time pass, and return what getReport says."""
        created = self.create(report_type, marketplaces, **more)
        assert created.status_code == 202, created.text
        self.amazon.world.advance(self.amazon.world.desk.processing_seconds)
        return self.report(created.json()["reportId"])

    def document(self, document_id: str, query: str = "") -> requests.Response:
        return self.call("GET", f"/reports/2021-06-30/documents/{document_id}{query}")

    def download(self, report: dict[str, Any]) -> requests.Response:
        return self.session.get(self.document(report["reportDocumentId"]).json()["url"], timeout=10)

    def text(self, report: dict[str, Any], charset: str = "utf-8") -> str:
        return gzip.decompress(self.download(report).content).decode(charset)

    def summaries(self, **query: str) -> requests.Response:
        base = {"granularityType": "Marketplace", "granularityId": US, "marketplaceIds": US, "details": "true"}
        return self.call("GET", "/fba/inventory/v1/summaries", params=base | query)


def error(answer: requests.Response) -> dict[str, str]:
    """The first error of an SP-API answer."""
    return answer.json()["errors"][0]
