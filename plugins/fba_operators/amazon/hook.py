"""Amazon's Selling Partner API, one seller account in one marketplace: Amazon's verbs as methods."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from fba_operators.amazon.client import Download, SellingPartnerClient, amazon_time
from fba_operators.errors import CredentialsError, RequestRefusedError, SellingPartnerError, UnavailableError


class SellingPartnerHook(SellingPartnerClient):
    """Calls Amazon's Selling Partner API for one store; the arguments are those of :class:`SellingPartnerClient`."""

    # Reports, feeds, stock, orders

    def create_report(
        self,
        report_type: str,
        *,
        data_start: datetime | None = None,
        data_end: datetime | None = None,
        options: dict[str, str] | None = None,
    ) -> str:
        """Ask for a report; returns its id.

        :raises LostAnswerError: it may have been created: look with :meth:`get_reports` before asking again
        """
        body: dict[str, Any] = {"reportType": report_type, "marketplaceIds": [self.marketplace.id]}
        if data_start:
            body["dataStartTime"] = amazon_time(data_start)
        if data_end:
            body["dataEndTime"] = amazon_time(data_end)
        if options:
            body["reportOptions"] = options
        return str(self._call("createReport", json=body)["reportId"])

    def get_report(self, report_id: str) -> dict[str, Any]:
        """Return a report's state as Amazon tells it."""
        return self._call("getReport", report_id)

    def get_reports(self, report_type: str, *, created_since: datetime) -> Iterator[dict[str, Any]]:
        """Return this store's reports of a type, every page.

        :param created_since: at most 90 days ago
        """
        return self._listed("getReports", "reports", {"reportTypes": report_type}, created_since)

    def download_report(self, document_id: str) -> Download:
        """Open a report document: asks for its short-lived URL and starts the download."""
        return self._download("getReportDocument", document_id, "report document")

    def create_feed_document(self, content_type: str) -> tuple[str, str]:
        """Return id and upload URL of a new feed document; the URL lives five minutes, the document two days.

        :param content_type: which the upload must repeat to the letter, because it is signed
        """
        answer = self._call("createFeedDocument", json={"contentType": content_type})
        return str(answer["feedDocumentId"]), str(answer["url"])

    def upload_feed_document(self, url: str, content: bytes, content_type: str) -> None:
        """Put a feed's content where :meth:`create_feed_document` said."""
        response = self._send("upload", "PUT", url, data=content, headers={"Content-Type": content_type})
        if not response.ok:
            raise UnavailableError(
                f"{self.conn_id}: the upload of a feed document was refused; a new document is asked for",
                operation="upload",
                status=response.status_code,
            )

    def create_feed(self, feed_type: str, document_id: str) -> str:
        """Submit an uploaded document; returns the feed's id.

        :raises LostAnswerError: the feed may exist; submitting again could send every order twice
        """
        body = {
            "feedType": feed_type,
            "marketplaceIds": [self.marketplace.id],
            "inputFeedDocumentId": document_id,
        }
        return str(self._call("createFeed", json=body)["feedId"])

    def get_feed(self, feed_id: str) -> dict[str, Any]:
        """Return a feed's state as Amazon tells it."""
        return self._call("getFeed", feed_id)

    def get_feeds(self, feed_type: str, *, created_since: datetime) -> Iterator[dict[str, Any]]:
        """Return this store's feeds of a type, every page.

        :param created_since: at most 90 days ago
        """
        return self._listed("getFeeds", "feeds", {"feedTypes": feed_type}, created_since)

    def download_feed_result(self, document_id: str) -> Download:
        """Open a feed's processing report, which Amazon keeps for 28 days."""
        return self._download("getFeedDocument", document_id, "processing report")

    def get_fulfillment_order(self, fr_number: str) -> dict[str, Any]:
        """Return a Multi-Channel Fulfillment order with its items and shipments.

        :raises RequestRefusedError: Amazon knows no such order
        """
        return dict(self._call("getFulfillmentOrder", fr_number)["payload"])

    def cancel_fulfillment_order(self, fr_number: str) -> None:
        """Cancel a Multi-Channel Fulfillment order.

        :raises RequestRefusedError: it cannot be cancelled any more, or does not exist
        """
        self._call("cancelFulfillmentOrder", fr_number)

    def get_inventory_summaries(self, skus: list[str]) -> dict[str, int | None]:
        """Return fulfillableQuantity of those of the given SKUs that Amazon knows, None where it names the SKU without it.

        :param skus: at most 50; one with a comma must be alone, because Amazon splits the list at commas
        :raises RequestRefusedError: Amazon refuses at least one of them
        """
        if len(skus) > 50 or (len(skus) > 1 and any("," in sku for sku in skus)):
            raise ValueError("getInventorySummaries takes at most 50 SKUs, and a SKU with a comma only alone")
        params: dict[str, Any] = {
            "granularityType": "Marketplace",
            "granularityId": self.marketplace.id,
            "marketplaceIds": self.marketplace.id,
            "details": "true",
        }
        if len(skus) == 1:
            params["sellerSku"] = skus[0]
        else:
            params["sellerSkus"] = ",".join(skus)
        asked = set(skus)
        quantities: dict[str, int | None] = {}
        while True:
            page = self._call("getInventorySummaries", params=params)
            for summary in page["payload"]["inventorySummaries"]:
                if summary["sellerSku"] in asked:
                    details = summary.get("inventoryDetails") or {}
                    quantities[summary["sellerSku"]] = details.get("fulfillableQuantity")
            if not (token := self._next_token(page.get("pagination"), params)):
                return quantities
            params["nextToken"] = token

    def get_marketplace_participations(self) -> list[str]:
        """Return the ids of the marketplaces this seller takes part in."""
        return [str(part["marketplace"]["id"]) for part in self._call("getMarketplaceParticipations")["payload"]]

    def list_all_fulfillment_orders(self, *, since: datetime) -> list[dict[str, Any]]:
        """Return every Multi-Channel Fulfillment order updated since a time, all pages."""
        orders: list[dict[str, Any]] = []
        params = {"queryStartDate": amazon_time(since)}
        while True:
            payload = self._call("listAllFulfillmentOrders", params=params)["payload"]
            orders += payload.get("fulfillmentOrders") or []
            if not (token := self._next_token(payload, params)):
                return orders
            params["nextToken"] = token

    # Test Connection

    def test_connection(self) -> tuple[bool, str]:
        """Check client, refresh token, region, marketplace and roles; a verdict for each, for the UI's Test button."""
        verdicts: list[str] = []
        # The warehouse may not be there yet, and a token kept there would hide that the client secret is wrong.
        self._warehouse = None

        def check(what: str, call: Any, advice: str) -> Any:
            try:
                result = call()
            except RequestRefusedError as error:
                # Sellers without any FBA SKU are known to get 400 from the inventory API; the role is there then.
                verdicts.append(f"{what}: allowed, but Amazon refuses the question (warning): {error}")
                return []
            except SellingPartnerError as error:
                # Airflow tests under an id of its own making, which would mean nothing to the reader.
                told = str(error).replace(f"Connection {self.conn_id}: ", "").replace(f"{self.conn_id}: ", "")
                verdicts.append(f"{what}: FAILED: {advice} {told}")
                return None
            verdicts.append(f"{what}: ok")
            return result

        if check("client and refresh token", self.access_token, "") is None:
            return False, "; ".join(verdicts)
        try:
            taking_part = self.get_marketplace_participations()
        except CredentialsError:
            verdicts.append(
                "marketplace: not checked (warning): the application lacks the role Selling Partner Insights"
            )
            marketplace_ok = True
        except SellingPartnerError as error:
            verdicts.append(f"region and marketplace: FAILED: {error}")
            marketplace_ok = False
        else:
            marketplace_ok = self.marketplace.id in taking_part
            here = f"{self.marketplace.name} ({self.marketplace.id})"
            verdicts.append(
                f"region {self.marketplace.region.code} and marketplace {here}: ok"
                if marketplace_ok
                else f"marketplace: FAILED: this seller does not sell in {here}, but in {', '.join(taking_part)}"
            )
        stock = check(
            "FBA stock", lambda: self.get_inventory_summaries(["connection-test"]), "Role Amazon Fulfillment?"
        )
        since = datetime.now(UTC) - timedelta(hours=1)
        orders = check(
            "fulfillment orders", lambda: self.list_all_fulfillment_orders(since=since), "Role Amazon Fulfillment?"
        )
        return marketplace_ok and stock is not None and orders is not None, "; ".join(verdicts)
