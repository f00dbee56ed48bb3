"""The state of the sandbox, and the functions by which tests and the control API read and change it."""

import base64
import re
import secrets
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from gzip import compress
from typing import Any

from sandbox.clock import Clock, EventQueue, iso
from sandbox.documents import damage, report_text
from sandbox.marketplaces import region_of
from sandbox.merchant import seed as seeding
from sandbox.merchant.headers import POINTS_COLUMN, SHIPMENT_COLUMNS
from sandbox.merchant.merchant import AFN, MODES, REPORT_TYPES, Catalogue, Item, Merchant, truth
from sandbox.merchant.orders import OrderDesk
from sandbox.merchant.rendering import Rendering
from sandbox.world.buckets import Buckets
from sandbox.world.faults import Fault, Faults
from sandbox.world.feed_controls import FeedControls
from sandbox.world.feed_desk import FeedDesk
from sandbox.world.fulfillment import Fulfillment
from sandbox.world.grants import AccessToken, PageToken, SignedUrl
from sandbox.world.outbound_controls import OutboundControls
from sandbox.world.parcel_controls import ParcelControls
from sandbox.world.report_desk import Override, ReportDesk


@dataclass(frozen=True, slots=True)
class Credentials:
    """The credentials with which an application calls the API for a seller."""

    seller_id: str
    client_id: str
    client_secret: str
    refresh_token: str
    marketplace_ids: tuple[str, ...]


DEFAULT_MERCHANT = Credentials(
    seller_id="A1SANDBOXSELLER",
    client_id="amzn1.application-oa2-client.sandbox",
    client_secret="amzn1.oa2-cs.v1.sandbox-secret",
    refresh_token="Atzr|sandbox-refresh-token",
    marketplace_ids=("ATVPDKIKX0DER", "A2EUQ1WTGCTBG2", "A1AM78C64UM0Y8"),
)


class World(Fulfillment, ParcelControls, OutboundControls, FeedControls):
    """The complete state of one simulated Amazon. Every method is thread-safe.

    `listings` is the number of SKUs that the default merchant lists per marketplace. `seed` determines its stock, and
    how all orders ship. `speed` is in simulated seconds per real second. `processing_seconds` is how long a report or
    feed takes, in simulated seconds. `lenient` lets pass what Amazon is known to let pass although it documents
    otherwise: any user agent, and query parameters that an operation does not have.
    """

    def __init__(
        self,
        listings: int = 5000,
        seed: int = 1,
        speed: float = 1.0,
        processing_seconds: float = 20.0,
        *,
        lenient: bool = False,
    ) -> None:
        self.lenient = lenient
        self.lock = threading.RLock()
        self._settings = (listings, seed, speed, processing_seconds)
        self.resets = 0
        self._initialize()

    def _initialize(self) -> None:
        listings, seed, speed, processing_seconds = self._settings
        self.clock = Clock(speed)
        self.clients: dict[str, str] = {}
        self.merchants: dict[str, Merchant] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.urls: dict[str, SignedUrl] = {}
        self.page_tokens: dict[str, PageToken] = {}
        self.inventory_page_size = 50
        self.faults = Faults()
        self.buckets = Buckets()
        self.events = EventQueue(self.clock)
        self.desk = ReportDesk(self.clock, processing_seconds)
        self.order_desk = OrderDesk(self.events, seed)
        self.feed_desk = FeedDesk(self.order_desk, self.desk)
        self._calls: Counter[tuple[str, str | None, str]] = Counter()
        self._reports_created: Counter[tuple[str, str]] = Counter()
        self.add_merchant(**asdict(DEFAULT_MERCHANT), listings=listings, seed=seed)

    def close(self) -> None:
        """Stop the background thread."""
        self.desk.close()

    def reset(self) -> None:
        """Return to the initial state: only the default merchant; no tokens, reports, feeds, orders, faults, counts."""
        with self.lock:
            self.desk.close()
            self.resets += 1
            self._initialize()

    # Merchants and their stock

    def add_merchant(
        self,
        seller_id: str,
        marketplace_ids: Iterable[str],
        *,
        client_id: str = DEFAULT_MERCHANT.client_id,
        client_secret: str | None = None,
        refresh_token: str | None = None,
        listings: int = 50,
        seed: int = 1,
        store_name: str | None = None,
        oddities: bool = True,
    ) -> dict[str, Any]:
        """Add a seller and return its credentials.

        The marketplaces determine the region. An existing `client_id` is the same application: `client_secret` must be
        its secret or None. For a new one, None generates a secret. `listings` is the number of SKUs listed in each
        marketplace. They begin with the edge cases seen in real reports (`oddities` False: ordinary SKUs only).
        """
        with self.lock:
            ids = tuple(marketplace_ids)
            region = region_of(ids)
            if seller_id in self.merchants:
                raise ValueError(f"the seller {seller_id} exists already")
            refresh_token = refresh_token or f"Atzr|{secrets.token_urlsafe(32)}"
            if any(m.refresh_token == refresh_token for m in self.merchants.values()):
                raise ValueError("this refresh token belongs to another seller")
            known = self.clients.get(client_id)
            if known is not None and client_secret not in (None, known):
                raise ValueError(f"the client {client_id} has another secret")
            self.clients[client_id] = known or client_secret or f"amzn1.oa2-cs.v1.{secrets.token_hex(16)}"
            self.merchants[seller_id] = Merchant(
                seller_id,
                client_id,
                refresh_token,
                region,
                store_name or f"Store of {seller_id}",
                ids,
                partial(seeding.catalogue, listings=listings, seed=seed, oddities=oddities, changed=self.clock.wall()),
            )
            return self.credentials(seller_id)

    def credentials(self, seller_id: str) -> dict[str, Any]:
        """Return a seller's credentials, marketplaces and region."""
        with self.lock:
            merchant = self.merchant(seller_id)
            return {
                "seller_id": seller_id,
                "client_id": merchant.client_id,
                "client_secret": self.clients[merchant.client_id],
                "refresh_token": merchant.refresh_token,
                "marketplace_ids": list(merchant.marketplace_ids),
                "region": merchant.region,
            }

    def change_credentials(
        self, seller_id: str, refresh_token: str | None = None, client_secret: str | None = None
    ) -> dict[str, Any]:
        """Replace a seller's refresh token and/or client secret and return its credentials; old ones are rejected."""
        with self.lock:
            merchant = self.merchant(seller_id)
            if refresh_token is not None:
                merchant.refresh_token, merchant.revoked = refresh_token, False
            if client_secret is not None:
                self.clients[merchant.client_id] = client_secret
            return self.credentials(seller_id)

    def revoke(self, seller_id: str) -> None:
        """Revoke a seller's authorization: its refresh token and its access tokens are rejected."""
        with self.lock:
            self.merchant(seller_id).revoked = True
            self.tokens = {t: a for t, a in self.tokens.items() if a.seller_id != seller_id}

    def merchant(self, seller_id: str) -> Merchant:
        """Return a seller; ValueError if there is none with this id."""
        if seller_id not in self.merchants:
            raise ValueError(f"there is no seller {seller_id}")
        return self.merchants[seller_id]

    def truth(
        self,
        seller_id: str,
        marketplace_id: str,
        include_fbm_quantity: bool = False,
        fetch_missing_inventory: bool = False,
        import_deleted_skus: bool = True,
    ) -> dict[str, dict[str, Any]]:
        """Return the quantities a first run with an empty pool must load: `{sku: {fba, fbm, quantity, source}}`."""
        with self.lock:
            return truth(
                self._catalogue(seller_id, marketplace_id),
                include_fbm_quantity=include_fbm_quantity,
                fetch_missing_inventory=fetch_missing_inventory,
                import_deleted_skus=import_deleted_skus,
            )

    def set_stock(
        self,
        seller_id: str,
        marketplace_id: str,
        sku: str,
        *,
        fba: int | None = None,
        fbm: int | None = None,
        api: int | None = None,
    ) -> None:
        """Change the stock of a SKU, or create it; see `Catalogue.set_stock`."""
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            catalogue.set_stock(sku, fba=fba, fbm=fbm, api=api, now=self.clock.wall())

    def set_elsewhere(self, seller_id: str, marketplace_id: str, sku: str, **quantities: int) -> None:
        """Change other quantities of a SKU in the FBA Inventory API, by its names, e.g. `inboundShippedQuantity=5`.

        As Amazon documents, `startDateTime` does not detect a change of inbound quantities alone.
        """
        with self.lock:
            item = self._catalogue(seller_id, marketplace_id).items[sku]
            item.elsewhere = {**item.elsewhere, **quantities}
            if not all(name.startswith("inbound") for name in quantities):
                item.changed = self.clock.wall()

    def put_item(
        self,
        seller_id: str,
        marketplace_id: str,
        sku: str,
        *,
        offers: Iterable[tuple[str, int | None]] = (),
        afn: Iterable[tuple[str, int]] = (),
        api_stock: int | None = None,
        title: str = "An item",
        price: str = "9.99",
    ) -> None:
        """Create or replace a SKU.

        `offers` are its listing rows (channel, quantity or None for blank), `afn` its warehouse rows (condition,
        quantity), `api_stock` its fulfillable quantity in the FBA Inventory API (None: unknown there).
        """
        with self.lock:
            items = self._catalogue(seller_id, marketplace_id).items
            number = items[sku].number if sku in items else len(items) + 1
            listed = tuple((channel, quantity) for channel, quantity in offers)
            stored = tuple((condition, quantity) for condition, quantity in afn)
            items[sku] = Item(sku, number, title, listed, stored, api_stock, price, changed=self.clock.wall())

    def remove_items(self, seller_id: str, marketplace_id: str, skus: Iterable[str] | None = None) -> None:
        """Remove SKUs from a marketplace; None removes all."""
        with self.lock:
            items = self._catalogue(seller_id, marketplace_id).items
            for sku in list(items) if skus is None else skus:
                items.pop(sku, None)

    def shape_report(
        self, seller_id: str, marketplace_id: str, report_type: str, mode: str = "normal", hide: Iterable[str] = ()
    ) -> None:
        """Distort the reports of a type that are created from now on; `hide` are SKUs to leave out.

        `mode` is normal, zero (all quantities 0), empty (DONE with the header only) or no_data (CANCELLED). A cached
        listing report does not change until the cache expires.
        """
        _check_type(report_type)
        if mode not in MODES:
            raise ValueError(f"mode {mode!r} is not one of {', '.join(MODES)}")
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            catalogue.modes[report_type] = mode
            catalogue.hidden_skus[report_type] = frozenset(hide)

    def set_rendering(
        self, seller_id: str, marketplace_id: str, report_type: str | None = None, **options: Any
    ) -> None:
        """Change how reports of a type (None: of every type) are written; the options are those of `Rendering`."""
        with self.lock:
            catalogue = self._catalogue(seller_id, marketplace_id)
            for one in REPORT_TYPES if report_type is None else (_check_type(report_type),):
                catalogue.renderings[one] = catalogue.rendering(one).with_options(options)

    def refuse_skus(self, seller_id: str, marketplace_id: str, skus: Iterable[str]) -> None:
        """Make the FBA Inventory API answer 400 to any request for one of these SKUs; replaces the previous SKUs."""
        with self.lock:
            self._catalogue(seller_id, marketplace_id).refused_skus = set(skus)

    def set_inventory_page_size(self, size: int) -> None:
        """Set the page size of getInventorySummaries (Amazon: 50)."""
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        with self.lock:
            self.inventory_page_size = size

    def add_shipment(self, seller_id: str, marketplace_id: str, row: dict[str, str]) -> None:
        """Add a row to the shipments report, by column name; `reporting-date` is ISO 8601 (default: now)."""
        unknown = row.keys() - {*SHIPMENT_COLUMNS, POINTS_COLUMN}
        if unknown:
            raise ValueError(f"unknown columns of the shipments report: {', '.join(sorted(unknown))}")
        with self.lock:
            now = iso(self.clock.wall())
            self._catalogue(seller_id, marketplace_id).shipment_rows.append({"reporting-date": now, **row})

    def settle(self) -> None:
        """Run every event that is due: feeds are processed, orders ship and are reported."""
        with self.lock:
            self.events.run_due()

    def _catalogue(self, seller_id: str, marketplace_id: str) -> Catalogue:
        self.settle()
        return self.merchant(seller_id).catalogue(marketplace_id)

    # Time

    def set_clock(
        self,
        speed: float | None = None,
        advance: float | None = None,
        processing_seconds: float | None = None,
        ahead: float | None = None,
    ) -> dict[str, float]:
        """Set the clock and return its state.

        `speed` is in simulated seconds per real second, `advance` skips simulated seconds, `processing_seconds` is how
        long reports and feeds take, in simulated seconds. `ahead` is by how many seconds Amazon's clock is ahead of this
        machine's (negative: behind), in every time it writes and in the Date of its answers. None leaves a setting
        unchanged.
        """
        with self.lock:
            self.settle()
            if speed is not None:
                self.clock.set_speed(speed)
            if advance is not None:
                self.clock.advance(advance)
                self.settle()
            if processing_seconds is not None:
                self.desk.processing_seconds = float(processing_seconds)
            if ahead is not None:
                self.clock.set_ahead(ahead)
            return {
                "ahead": self.clock.ahead,
                "speed": self.clock.speed,
                "waited": self.clock.waited(),
                "processing_seconds": self.desk.processing_seconds,
            }

    def advance(self, seconds: float) -> None:
        """Skip simulated seconds: of processing, cooldowns, caches and rate limits."""
        self.set_clock(advance=seconds)

    def expire(self, what: str, seller_id: str | None = None) -> None:
        """Expire access tokens ("tokens"), signed URLs ("urls") or nextTokens ("page_tokens") of one seller or all."""
        with self.lock:
            if what == "tokens":
                for token in self.tokens.values():
                    if seller_id in (None, token.seller_id):
                        token.expires_at = 0.0
            elif what == "urls":
                for url in self.urls.values():
                    if seller_id in (None, url.seller_id):
                        url.expires_at = 0.0
            elif what == "page_tokens":
                for page in self.page_tokens.values():
                    if seller_id in (None, page.seller_id):
                        page.expires_at = 0.0
            else:
                raise ValueError(f"cannot expire {what!r}; it can be tokens, urls or page_tokens")

    # Faults

    def add_fault(self, operation: str, fault: str | int, **how: Any) -> None:
        """Script a fault; `how` are further fields of `Fault`: times, skip, seller_id, report_type, status, body, …."""
        with self.lock:
            self.faults.add(Fault(operation, str(fault), **how))

    def faults_listed(self) -> list[dict[str, Any]]:
        """Return the scripted faults; `seen` and `struck` count the calls each matched and was applied to."""
        with self.lock:
            return self.faults.listed()

    def clear_faults(self) -> None:
        """Remove all scripted faults."""
        with self.lock:
            self.faults.clear()

    def override_document(
        self,
        report_type: str,
        content: bytes | str,
        *,
        content_type: str = "text/plain; charset=UTF-8",
        gzip: bool = True,
        declare_gzip: bool | None = None,
        seller_id: str | None = None,
    ) -> None:
        """Serve `content` (bytes, or base64 as a str) as the next report of the type; several calls queue up.

        `gzip` compresses it; `declare_gzip` (default: as `gzip`): getReportDocument says that it is compressed. Such a
        report is DONE even within a cooldown, and is not cached. A type that the sandbox does not write itself can be
        requested from then on, and has no data (CANCELLED) when no document of it is left.
        """
        if not re.fullmatch("GET_[A-Z0-9_]+", report_type):
            raise ValueError(f"{report_type!r} is not the name of a report type, such as {AFN}")
        plain = base64.b64decode(content, validate=True) if isinstance(content, str) else content
        with self.lock:
            self.desk.overrides.setdefault(report_type, []).append(
                Override(
                    compress(plain, 6) if gzip else plain,
                    content_type,
                    gzip if declare_gzip is None else declare_gzip,
                    seller_id,
                )
            )

    def damage_report(
        self,
        report_type: str,
        kind: str,
        *,
        share: float = 0.5,
        seed: int = 0,
        seller_id: str = DEFAULT_MERCHANT.seller_id,
        marketplace_id: str = "ATVPDKIKX0DER",
    ) -> None:
        """Serve the seller's present listings or AFN document as the next report of the type, damaged.

        `kind` is one of `sandbox.documents.damage.KINDS`, and `share` and `seed` are those of its function.
        """
        catalogue = self.merchants[seller_id].catalogue(marketplace_id)
        items = catalogue.items_in_report(report_type)
        rows = report_text.afn_rows(items) if report_type == AFN else report_text.listing_rows(items, Rendering())
        plain = report_text.render(report_type, rows, Rendering(), "en")
        content, charset = damage.damage(plain, kind, share=share, seed=seed)
        two_members = content.startswith(b"\x1f\x8b")
        self.override_document(
            report_type,
            content,
            content_type=f"text/plain; charset={charset}",
            gzip=not two_members,
            declare_gzip=True,
            seller_id=seller_id,
        )

    # Call counts

    def count_call(self, operation: str, seller_id: str | None, outcome: str) -> None:
        """Count one call; `outcome` is its HTTP status, or "dropped"."""
        with self.lock:
            self._calls[operation, seller_id, outcome] += 1

    def count_report(self, seller_id: str, report_type: str) -> None:
        """Count one report created by createReport."""
        with self.lock:
            self._reports_created[seller_id, report_type] += 1

    def calls(self, seller_id: str | None = None) -> dict[str, Any]:
        """Return `calls` {operation: n}, `outcomes` {operation: {status: n}} and `reports_created` {report type: n}."""
        with self.lock:
            calls: Counter[str] = Counter()
            outcomes: dict[str, Counter[str]] = {}
            for (operation, seller, outcome), n in self._calls.items():
                if seller_id in (None, seller):
                    calls[operation] += n
                    outcomes.setdefault(operation, Counter())[outcome] += n
            created: Counter[str] = Counter()
            for (seller, report_type), n in self._reports_created.items():
                if seller_id in (None, seller):
                    created[report_type] += n
            return {
                "calls": dict(calls),
                "outcomes": {operation: dict(counts) for operation, counts in outcomes.items()},
                "reports_created": dict(created),
            }

    def clear_calls(self) -> None:
        """Reset all counts to zero."""
        with self.lock:
            self._calls.clear()
            self._reports_created.clear()


def _check_type(report_type: str) -> str:
    if report_type not in REPORT_TYPES:
        raise ValueError(f"report type {report_type!r} is not one of {', '.join(REPORT_TYPES)}")
    return report_type
