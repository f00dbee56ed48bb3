"""Column names of the reports, and the localized headers of the listing report.

A localized header has only the columns that are known of its language. Chinese has all of them and repeats two names
(observed in jlevers/selling-partner-api#525).
"""

LISTING_COLUMNS = (
    "item-name", "item-description", "listing-id", "seller-sku", "price", "quantity", "open-date", "image-url",
    "item-is-marketplace", "product-id-type", "zshop-shipping-fee", "item-note", "item-condition", "zshop-category1",
    "zshop-browse-path", "zshop-storefront-feature", "asin1", "asin2", "asin3", "will-ship-internationally",
    "expedited-shipping", "zshop-boldface", "product-id", "bid-for-featured-placement", "add-delete",
    "pending-quantity", "fulfillment-channel", "merchant-shipping-group", "status",
)  # fmt: skip
AFN_COLUMNS = (
    "seller-sku", "fulfillment-channel-sku", "asin", "condition-type", "Warehouse-Condition-code", "Quantity Available",
)  # fmt: skip
SHIPMENT_COLUMNS = (
    "amazon-order-id", "merchant-order-id", "shipment-id", "shipment-item-id", "amazon-order-item-id",
    "merchant-order-item-id", "purchase-date", "payments-date", "shipment-date", "reporting-date", "buyer-email",
    "buyer-name", "buyer-phone-number", "sku", "product-name", "quantity-shipped", "currency", "item-price", "item-tax",
    "shipping-price", "shipping-tax", "gift-wrap-price", "gift-wrap-tax", "ship-service-level", "recipient-name",
    "ship-address-1", "ship-address-2", "ship-address-3", "ship-city", "ship-state", "ship-postal-code", "ship-country",
    "ship-phone-number", "bill-address-1", "bill-address-2", "bill-address-3", "bill-city", "bill-state",
    "bill-postal-code", "bill-country", "item-promotion-discount", "ship-promotion-discount", "carrier",
    "tracking-number", "estimated-arrival-date", "fulfillment-center-id", "fulfillment-channel", "sales-channel",
)  # fmt: skip
POINTS_COLUMN = "points-granted"  # the last column of Japan's shipments report
UNUSED_LISTING_COLUMNS = frozenset(
    c for c in LISTING_COLUMNS if c.startswith("zshop-") or c in {"asin2", "asin3", "bid-for-featured-placement"}
) | {"image-url"}

_LANGUAGES = ("de", "fr", "it", "es", "pl", "tr", "ar", "ja", "zh")
# One line per column: its name in English, then in the order of _LANGUAGES; "-" if the language's name is not known.
_NAMES = """
item-name|Artikelbezeichnung|nom-produit|Nome dell'articolo|Título del producto|nazwa-produktu|item-name (ürün adı)|اسم-المنتج|商品名|商品名称
item-description|Artikelbeschreibung|-|Descrizione dell'articolo|Descripción del producto|opis-produktu|-|وصف-المنتج|商品の説明|商品描述
listing-id|Angebotsnummer|id-offre|Numero offerta|Identificador del listing|identyfikator-oferty|listing-id (liste kaydı numarası)|رقم-العرض|出品ID|商品编码
seller-sku|Händler-SKU|sku-vendeur|SKU venditore|SKU del vendedor|sku-sprzedawcy|seller-sku (satıcı sku)|sku-البائع|出品者SKU|卖家 SKU
price|Preis|prix|Prezzo|Precio|cena|price (fiyat)|السعر|価格|价格
quantity|Menge|quantité|Quantità|Cantidad|ilość|quantity (adet)|الكمية|数量|数量
open-date|Erstellungsdatum|date-ouverture|Data di creazione|Fecha de creación|data-otwarcia|open-date (yayınlanma tarihi)|تاريخ-مفتوح|出品日|开售日期
item-is-marketplace|Artikel ist Marketplace-Angebot|-|Articolo per la vendita|Producto para vender|produkt-jest-(na)rynku|-|منتج-سوق-البيع|-|是否为商城中的商品
product-id-type|Produkt-ID-Typ|type-id-produit|Tipo di identificativo del prodotto|Tipo de identificador de producto|typ-identyfikatora-produktu|product-id-type (ürün numarası türü)|نوع-رقم-المنتج|商品IDタイプ|商品编码类型
item-note|Anmerkung zum Artikel|note-état-article|Note sull'articolo|Nota sobre el producto|uwaga-o-produkcie|item-note (ürün notu)|ملاحظة-المنتج|コンディション説明|商品备注
item-condition|Artikelzustand|état-produit|Condizione dell'articolo|Estado del producto|stan-produktu|item-condition (ürün durumu)|حالة-المنتج|コンディション|商品状况
asin1|ASIN 1|ASIN1|ASIN 1|ASIN 1|ASIN1|ASIN|ASIN1|ASIN 1|ASIN 1
will-ship-internationally|Internationaler Versand|expédition-international|Spedizione internazionale|Envío internacional|wysyłka-międzynarodowa|will-ship-internationally (uluslararası gönderilir)|للشحن-الدولي|国外へ配送可|国际配送
expedited-shipping|Expressversand|livraison-express|Spedizione Express|Envío urgente|przyspieszona-wysyłka|expedited-shipping (ekspres kargo)|شحن-مستعجل|迅速な配送|加急配送
product-id|Produkt-ID|id-produit|Identificativo del prodotto|Identificador del producto|identyfikator-produktu|product-id (ürün numarası)|رقم-المنتج|商品ID|商品编码
add-delete|Hinzufügen/Löschen|-|Aggiungi o elimina|Añadir o eliminar|dodaj-usuń|-|إضافة-حذف|-|添加-删除
pending-quantity|-|-|Quantità in sospeso|Cantidad pendiente|ilość-oczekująca|pending-quantity (bekleyen adet)|كمية-منتظرة|在庫数|等待购买数量
fulfillment-channel|Versender|canal-traitement|Canale di gestione|Canal de gestión logística|kanał-realizacji|fulfillment-channel (dağıtım kanalı)|قناة-الشحن|フルフィルメント・チャンネル|配送渠道
merchant-shipping-group|Händlerversandgruppe|groupe-expédition-vendeur|gruppo-spedizione-venditore|-|grupa-wysyłki-sprzedawcy|merchant-shipping-group (satıcı kargo grubu)|-|-|卖家配送组
status|Status|état|stato|estado|-|durum|الحالة|ステータス|状态
"""
_CHINESE_UNUSED = "不适用项目"


def _headers_by_language() -> dict[str, tuple[tuple[str, str], ...]]:
    lines = [line.split("|") for line in _NAMES.strip().splitlines()]
    tables = {"en": tuple((column, column) for column in LISTING_COLUMNS)}
    for column_number, language in enumerate(_LANGUAGES, start=1):
        names = {line[0]: line[column_number] for line in lines if line[column_number] != "-"}
        if language == "zh":
            names = {column: names.get(column, _CHINESE_UNUSED) for column in LISTING_COLUMNS}
        tables[language] = tuple((column, names[column]) for column in LISTING_COLUMNS if column in names)
    # The United Kingdom has the English header with "fulfilment-channel". For Brazil, only two names are known.
    tables["en_GB"] = tuple(
        (column, "fulfilment-channel" if column == "fulfillment-channel" else column) for column in LISTING_COLUMNS
    )
    portuguese = {"item-name": "nome-do-item", "seller-sku": "sku-do-vendedor"}
    tables["pt"] = tuple((column, portuguese.get(column, column)) for column in LISTING_COLUMNS)
    return tables


LISTING_HEADERS = _headers_by_language()
LANGUAGES = tuple(LISTING_HEADERS)


def language_of(locale: str) -> str:
    """Return the header language for a locale such as `en_US` or `de_DE`; English if it has no header of its own."""
    if locale in LISTING_HEADERS:
        return locale
    language = locale.partition("_")[0]
    return language if language in LISTING_HEADERS else "en"
