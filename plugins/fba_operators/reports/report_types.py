"""The reports we ask Amazon for: their columns, what a row must hold, and where its values go.

A column has two names: Amazon's English one (``Warehouse-Condition-code``) and ours in Postgres, the same in
snake_case (``warehouse_condition_code``). Everything below the header is reached by our name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Check = Literal["sku", "quantity", "quantity_or_blank", "channel", "not_blank"]
"""What a field must hold, else its row is rejected.

``sku`` and ``not_blank``: not blank, and not longer than a name can be. ``quantity``: a whole number. ``quantity_or_blank``: a blank is unknown, not zero.
``channel``: ``DEFAULT`` or ``AMAZON_*`` in any case; this also catches rows that a stray tab or newline has shifted.
"""


def snake_case(name: str) -> str:
    """Our name of an Amazon column: ``Quantity Available`` → ``quantity_available``."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


@dataclass(frozen=True, kw_only=True)
class ReportType:
    """One kind of report.

    :param name: Amazon's ``reportType``
    :param amazon_columns: Amazon's English names, in Amazon's order
    :param sku: our name of the column with the seller's SKU
    :param quantity: our name of the column with the quantity
    :param kind: our name of the column that says which stock a row counts (fulfillment channel, warehouse condition)
    :param checks: our column name → what it must hold; these columns are the required ones
    :param aliases: Amazon's English name → localised names; a name under two columns goes to the first that is free
    :param exact: our names of further columns whose bytes must decode; in others they are replaced and counted
    :param unique_rows: equal rows are rare, so a document with many holds its rows twice
    :param personal: our names of buyer and address columns, which are never copied; of a report that has any, no column
        that is not known is copied either
    :param pool_mapping: column of ``fba.global_inventory_pool`` → our name of the report column that feeds it
    """

    name: str
    amazon_columns: tuple[str, ...]
    sku: str
    quantity: str
    checks: Mapping[str, Check]
    kind: str | None = None
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exact: tuple[str, ...] = ()
    unique_rows: bool = False
    personal: frozenset[str] = frozenset()
    pool_mapping: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Our column names, in Amazon's order."""
        return tuple(snake_case(name) for name in self.amazon_columns)

    @property
    def required(self) -> tuple[str, ...]:
        """Our names of the columns without which the report cannot be used."""
        return tuple(self.checks)

    @property
    def exact_columns(self) -> tuple[str, ...]:
        """Our names of the columns in which a byte that does not decode costs the row."""
        return (*self.checks, *self.exact)

    def amazon_name(self, column: str) -> str:
        """Amazon's English name of one of our columns."""
        return self.amazon_columns[self.columns.index(column)]


# Found in public code and files; order within a line: German, French, Italian, Spanish, Polish, Japanese, Chinese,
# Turkish, Arabic, Portuguese. 商品编码 stands first for listing-id and later for product-id. 在庫数 means quantity
# unless 数量 is there too.
_LISTING_ALIASES: dict[str, tuple[str, ...]] = {
    "item-name": (
        *("Artikelbezeichnung", "nom-produit", "Nome dell'articolo", "Título del producto", "nazwa-produktu"),
        *("商品名", "商品名称", "item-name (ürün adı)", "اسم-المنتج", "nome-do-item"),
    ),
    "item-description": (
        *("Artikelbeschreibung", "Descrizione dell'articolo", "Descripción del producto", "opis-produktu"),
        *("商品の説明", "商品描述", "وصف-المنتج"),
    ),
    "listing-id": (
        *("Angebotsnummer", "id-offre", "Numero offerta", "Identificador del listing", "identyfikator-oferty"),
        *("出品ID", "商品编码", "listing-id (liste kaydı numarası)", "رقم-العرض"),
    ),
    "seller-sku": (
        *("Händler-SKU", "sku-vendeur", "SKU venditore", "SKU del vendedor", "sku-sprzedawcy", "出品者SKU", "卖家 SKU"),
        *("seller-sku (satıcı sku)", "sku-البائع", "sku-do-vendedor", "SKU"),
    ),
    "price": ("Preis", "prix", "Prezzo", "Precio", "cena", "価格", "价格", "price (fiyat)", "السعر"),
    "quantity": (
        *("Menge", "quantité", "Quantità", "Cantidad", "ilość", "数量", "在庫数", "quantity (adet)", "الكمية"),
    ),
    "open-date": (
        *("Erstellungsdatum", "date-ouverture", "Data di creazione", "Fecha de creación", "data-otwarcia"),
        *("出品日", "开售日期", "open-date (yayınlanma tarihi)", "تاريخ-مفتوح"),
    ),
    "item-is-marketplace": (
        *("Artikel ist Marketplace-Angebot", "Articolo per la vendita", "Producto para vender"),
        *("produkt-jest-(na)rynku", "是否为商城中的商品", "منتج-سوق-البيع"),
    ),
    "product-id-type": (
        *("Produkt-ID-Typ", "type-id-produit", "Tipo di identificativo del prodotto"),
        *("Tipo de identificador de producto", "typ-identyfikatora-produktu", "商品IDタイプ", "商品编码类型"),
        *("product-id-type (ürün numarası türü)", "نوع-رقم-المنتج"),
    ),
    "item-note": (
        *("Anmerkung zum Artikel", "note-état-article", "Note sull'articolo", "Nota sobre el producto"),
        *("uwaga-o-produkcie", "コンディション説明", "商品备注", "item-note (ürün notu)", "ملاحظة-المنتج"),
    ),
    "item-condition": (
        *("Artikelzustand", "état-produit", "Condizione dell'articolo", "Estado del producto", "stan-produktu"),
        *("コンディション", "商品状况", "item-condition (ürün durumu)", "حالة-المنتج"),
    ),
    "asin1": ("ASIN 1", "ASIN"),
    "asin2": ("ASIN 2",),
    "asin3": ("ASIN 3",),
    "will-ship-internationally": (
        *("Internationaler Versand", "expédition-international", "Spedizione internazionale", "Envío internacional"),
        *("wysyłka-międzynarodowa", "国外へ配送可", "国际配送"),
        *("will-ship-internationally (uluslararası gönderilir)", "للشحن-الدولي"),
    ),
    "expedited-shipping": (
        *("Expressversand", "livraison-express", "Spedizione Express", "Envío urgente", "przyspieszona-wysyłka"),
        *("迅速な配送", "加急配送", "expedited-shipping (ekspres kargo)", "شحن-مستعجل"),
    ),
    "product-id": (
        *("Produkt-ID", "id-produit", "Identificativo del prodotto", "Identificador del producto"),
        *("identyfikator-produktu", "商品ID", "商品编码", "product-id (ürün numarası)", "رقم-المنتج"),
    ),
    "add-delete": (
        *("Hinzufügen/Löschen", "Aggiungi o elimina", "Añadir o eliminar", "dodaj-usuń", "添加-删除", "إضافة-حذف"),
    ),
    "pending-quantity": (
        *("Quantità in sospeso", "Cantidad pendiente", "ilość-oczekująca", "在庫数", "等待购买数量"),
        *("pending-quantity (bekleyen adet)", "كمية-منتظرة"),
    ),
    "fulfillment-channel": (
        *("fulfilment-channel", "Versender", "canal-traitement", "Canale di gestione", "Canal de gestión logística"),
        *("kanał-realizacji", "フルフィルメント・チャンネル", "配送渠道", "fulfillment-channel (dağıtım kanalı)"),
        "قناة-الشحن",
    ),
    "merchant-shipping-group": (
        *("Händlerversandgruppe", "groupe-expédition-vendeur", "gruppo-spedizione-venditore"),
        *("grupa-wysyłki-sprzedawcy", "卖家配送组", "merchant-shipping-group (satıcı kargo grubu)"),
    ),
    "status": ("état", "stato", "estado", "ステータス", "状态", "durum", "الحالة"),
}

LISTINGS = ReportType(
    name="GET_MERCHANT_LISTINGS_ALL_DATA",
    amazon_columns=(
        *("item-name", "item-description", "listing-id", "seller-sku", "price", "quantity", "open-date", "image-url"),
        *("item-is-marketplace", "product-id-type", "zshop-shipping-fee", "item-note", "item-condition"),
        *("zshop-category1", "zshop-browse-path", "zshop-storefront-feature", "asin1", "asin2", "asin3"),
        *("will-ship-internationally", "expedited-shipping", "zshop-boldface", "product-id"),
        *("bid-for-featured-placement", "add-delete", "pending-quantity", "fulfillment-channel"),
        *("merchant-shipping-group", "status"),
    ),
    sku="seller_sku",
    quantity="quantity",
    kind="fulfillment_channel",
    unique_rows=True,
    checks={"seller_sku": "sku", "quantity": "quantity_or_blank", "fulfillment_channel": "channel"},
    aliases=_LISTING_ALIASES,
    pool_mapping={
        "title": "item_name",
        "description": "item_description",
        "price": "price",
        "category1": "zshop_category1",
        "category2": "zshop_browse_path",
        "category3": "zshop_storefront_feature",
        "asin": "asin1",
        "listing_status": "status",
    },
)

AFN_INVENTORY = ReportType(
    name="GET_AFN_INVENTORY_DATA",
    amazon_columns=(
        *("seller-sku", "fulfillment-channel-sku", "asin", "condition-type"),
        *("Warehouse-Condition-code", "Quantity Available"),
    ),
    sku="seller_sku",
    quantity="quantity_available",
    kind="warehouse_condition_code",
    unique_rows=True,
    checks={"seller_sku": "sku", "warehouse_condition_code": "not_blank", "quantity_available": "quantity"},
)

_BUYER_AND_ADDRESS = (
    *("buyer-email", "buyer-name", "buyer-phone-number", "recipient-name", "ship-address-1", "ship-address-2"),
    *("ship-address-3", "ship-city", "ship-state", "ship-postal-code", "ship-country", "ship-phone-number"),
    *("bill-address-1", "bill-address-2", "bill-address-3", "bill-city", "bill-state", "bill-postal-code"),
    "bill-country",
)

FULFILLED_SHIPMENTS = ReportType(
    name="GET_AMAZON_FULFILLED_SHIPMENTS_DATA_GENERAL",
    amazon_columns=(
        *("amazon-order-id", "merchant-order-id", "shipment-id", "shipment-item-id", "amazon-order-item-id"),
        *("merchant-order-item-id", "purchase-date", "payments-date", "shipment-date", "reporting-date"),
        *("buyer-email", "buyer-name", "buyer-phone-number", "sku", "product-name", "quantity-shipped", "currency"),
        *("item-price", "item-tax", "shipping-price", "shipping-tax", "gift-wrap-price", "gift-wrap-tax"),
        *("ship-service-level", "recipient-name", "ship-address-1", "ship-address-2", "ship-address-3", "ship-city"),
        *("ship-state", "ship-postal-code", "ship-country", "ship-phone-number", "bill-address-1", "bill-address-2"),
        *("bill-address-3", "bill-city", "bill-state", "bill-postal-code", "bill-country"),
        *("item-promotion-discount", "ship-promotion-discount", "carrier", "tracking-number"),
        *("estimated-arrival-date", "fulfillment-center-id", "fulfillment-channel", "sales-channel"),
        "points-granted",  # Japan only
    ),
    sku="sku",
    quantity="quantity_shipped",
    checks={
        "amazon_order_id": "not_blank",
        "sku": "sku",
        "quantity_shipped": "quantity",
        "shipment_date": "not_blank",
    },
    exact=(
        *("merchant_order_id", "shipment_id", "shipment_item_id", "amazon_order_item_id", "carrier", "tracking_number"),
    ),
    personal=frozenset(map(snake_case, _BUYER_AND_ADDRESS)),
)

REPORT_TYPES: Mapping[str, ReportType] = {each.name: each for each in (LISTINGS, AFN_INVENTORY, FULFILLED_SHIPMENTS)}


def without_rows(text: str, report_type: ReportType | None) -> str:
    """The text of a document that is no report, unless it may be rows with a buyer's data: of those nothing is shown.

    :param report_type: None is one that is not known, so it may have buyers
    """
    if report_type is not None and not report_type.personal:
        return text
    text = text.strip()
    is_a_sentence = re.fullmatch(r"[^\t\n\v\f\r\x85\u2028\u2029;|]*[.!?\u3002]", text) and text.count(",") < 2
    if is_a_sentence and not re.search(r"[0-9]{3}-[0-9]{7}-[0-9]{7}", text):
        return text
    return "(not shown: these may be rows with a buyer's data)"
