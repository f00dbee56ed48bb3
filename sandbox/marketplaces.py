"""Amazon's marketplaces: id, region, country, currency and language, as getMarketplaceParticipations returns them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Marketplace:
    """One marketplace; `channel` is the fulfillment channel that its listing reports give for FBA, e.g. `AMAZON_NA`."""

    id: str
    region: str
    country: str
    name: str
    currency: str
    language: str
    domain: str
    channel: str


def _marketplace(row: tuple[str, str, str, str, str, str]) -> Marketplace:
    marketplace_id, region, country, domain, currency, language = row
    channel = {"NA": "AMAZON_NA", "EU": "AMAZON_EU"}.get(region, f"AMAZON_{country}")
    return Marketplace(
        marketplace_id, region, country, domain.capitalize(), currency, language, f"www.{domain}", channel
    )


MARKETPLACES = {
    row[0]: _marketplace(row)
    for row in (
        ("ATVPDKIKX0DER", "NA", "US", "amazon.com", "USD", "en_US"),
        ("A2EUQ1WTGCTBG2", "NA", "CA", "amazon.ca", "CAD", "en_CA"),
        ("A1AM78C64UM0Y8", "NA", "MX", "amazon.com.mx", "MXN", "es_MX"),
        ("A2Q3Y263D00KWC", "NA", "BR", "amazon.com.br", "BRL", "pt_BR"),
        ("A28R8C7NBKEWEA", "EU", "IE", "amazon.ie", "EUR", "en_IE"),
        ("A1RKKUPIHCS9HS", "EU", "ES", "amazon.es", "EUR", "es_ES"),
        ("A1F83G8C2ARO7P", "EU", "GB", "amazon.co.uk", "GBP", "en_GB"),
        ("A13V1IB3VIYZZH", "EU", "FR", "amazon.fr", "EUR", "fr_FR"),
        ("AMEN7PMS3EDWL", "EU", "BE", "amazon.com.be", "EUR", "fr_BE"),
        ("A1805IZSGTT6HS", "EU", "NL", "amazon.nl", "EUR", "nl_NL"),
        ("A1PA6795UKMFR9", "EU", "DE", "amazon.de", "EUR", "de_DE"),
        ("APJ6JRA9NG5V4", "EU", "IT", "amazon.it", "EUR", "it_IT"),
        ("A2NODRKZP88ZB9", "EU", "SE", "amazon.se", "SEK", "sv_SE"),
        ("AE08WJ6YKNBMC", "EU", "ZA", "amazon.co.za", "ZAR", "en_ZA"),
        ("A1C3SOZRARQ6R3", "EU", "PL", "amazon.pl", "PLN", "pl_PL"),
        ("ARBP9OOSHTCHU", "EU", "EG", "amazon.eg", "EGP", "ar_EG"),
        ("A33AVAJ2PDY3EV", "EU", "TR", "amazon.com.tr", "TRY", "tr_TR"),
        ("A17E79C6D8DWNP", "EU", "SA", "amazon.sa", "SAR", "ar_SA"),
        ("A2VIGQ35RCS4UG", "EU", "AE", "amazon.ae", "AED", "en_AE"),
        ("A21TJRUUN4KGV", "EU", "IN", "amazon.in", "INR", "en_IN"),
        ("A19VAU5U5O7RUS", "FE", "SG", "amazon.sg", "SGD", "en_SG"),
        ("A39IBJ37TRP1C6", "FE", "AU", "amazon.com.au", "AUD", "en_AU"),
        ("A1VC38T7YXB528", "FE", "JP", "amazon.co.jp", "JPY", "ja_JP"),
    )
}


def region_of(marketplace_ids: tuple[str, ...]) -> str:
    """Return the common region (NA, EU, FE) of marketplaces; ValueError if there is none or an id is unknown."""
    unknown = [m for m in marketplace_ids if m not in MARKETPLACES]
    if unknown:
        raise ValueError(f"unknown marketplaces: {', '.join(unknown)}")
    regions = {MARKETPLACES[m].region for m in marketplace_ids}
    if len(regions) != 1:
        raise ValueError(f"a seller's marketplaces must be in one region; these are in {sorted(regions) or 'none'}")
    return regions.pop()
