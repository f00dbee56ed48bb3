"""Amazon's marketplaces and the regional endpoints that serve them.

Source: Amazon's pages "Marketplace IDs" and "SP-API Endpoints".
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """One of Amazon's three selling regions; each needs credentials of its own."""

    code: str
    name: str
    endpoint: str


@dataclass(frozen=True)
class Marketplace:
    """One Amazon shop.

    ``country`` is Amazon's two-letter code, which is ISO 3166 except for Britain: ``UK``; ``currency`` is ISO 4217.
    """

    id: str
    country: str
    name: str
    region: Region
    currency: str

    @property
    def iso_country(self) -> str:
        """The ISO 3166 alpha-2 code of the country, e.g. ``GB``."""
        return "GB" if self.country == "UK" else self.country

    @property
    def usual_charset(self) -> str:
        """Python codec to read a report with when Amazon does not name the charset of the download."""
        return "cp932" if self.country == "JP" else "cp1252"


NORTH_AMERICA = Region("NA", "North America", "https://sellingpartnerapi-na.amazon.com")
EUROPE = Region("EU", "Europe, Middle East, Africa and India", "https://sellingpartnerapi-eu.amazon.com")
FAR_EAST = Region("FE", "Far East", "https://sellingpartnerapi-fe.amazon.com")

MARKETPLACES: dict[str, Marketplace] = {
    marketplace_id: Marketplace(marketplace_id, country, name, region, currency)
    for region, marketplace_id, country, name, currency in (
        (NORTH_AMERICA, "A2EUQ1WTGCTBG2", "CA", "Canada", "CAD"),
        (NORTH_AMERICA, "ATVPDKIKX0DER", "US", "United States", "USD"),
        (NORTH_AMERICA, "A1AM78C64UM0Y8", "MX", "Mexico", "MXN"),
        (NORTH_AMERICA, "A2Q3Y263D00KWC", "BR", "Brazil", "BRL"),
        (EUROPE, "A28R8C7NBKEWEA", "IE", "Ireland", "EUR"),
        (EUROPE, "A1RKKUPIHCS9HS", "ES", "Spain", "EUR"),
        (EUROPE, "A1F83G8C2ARO7P", "UK", "United Kingdom", "GBP"),
        (EUROPE, "A13V1IB3VIYZZH", "FR", "France", "EUR"),
        (EUROPE, "AMEN7PMS3EDWL", "BE", "Belgium", "EUR"),
        (EUROPE, "A1805IZSGTT6HS", "NL", "Netherlands", "EUR"),
        (EUROPE, "A1PA6795UKMFR9", "DE", "Germany", "EUR"),
        (EUROPE, "APJ6JRA9NG5V4", "IT", "Italy", "EUR"),
        (EUROPE, "A2NODRKZP88ZB9", "SE", "Sweden", "SEK"),
        (EUROPE, "AE08WJ6YKNBMC", "ZA", "South Africa", "ZAR"),
        (EUROPE, "A1C3SOZRARQ6R3", "PL", "Poland", "PLN"),
        (EUROPE, "ARBP9OOSHTCHU", "EG", "Egypt", "EGP"),
        (EUROPE, "A33AVAJ2PDY3EV", "TR", "Türkiye", "TRY"),
        (EUROPE, "A17E79C6D8DWNP", "SA", "Saudi Arabia", "SAR"),
        (EUROPE, "A2VIGQ35RCS4UG", "AE", "United Arab Emirates", "AED"),
        (EUROPE, "A21TJRUUN4KGV", "IN", "India", "INR"),
        (FAR_EAST, "A19VAU5U5O7RUS", "SG", "Singapore", "SGD"),
        (FAR_EAST, "A39IBJ37TRP1C6", "AU", "Australia", "AUD"),
        (FAR_EAST, "A1VC38T7YXB528", "JP", "Japan", "JPY"),
    )
}


def _choices() -> str:
    return ", ".join(f"{m.id} ({m.country})" for m in MARKETPLACES.values())


def marketplace(marketplace_id: str) -> Marketplace:
    """Find a marketplace by its id.

    :param marketplace_id: Amazon's id, e.g. ``ATVPDKIKX0DER``
    :raises ValueError: no marketplace has this id; the message lists those there are
    """
    found = MARKETPLACES.get(marketplace_id)
    if found is None:
        raise ValueError(f"{marketplace_id!r} is no Amazon marketplace id. Choose one of: {_choices()}")
    return found


def marketplace_in(country: str) -> Marketplace:
    """Find the marketplace of a country.

    :param country: two-letter code in any case; Britain is ``UK`` (Amazon's code) or ``GB`` (ISO)
    :raises ValueError: Amazon has no marketplace there; the message lists those there are
    """
    code = country.upper()
    for candidate in MARKETPLACES.values():
        if code in (candidate.country, candidate.iso_country):
            return candidate
    raise ValueError(f"Amazon has no marketplace in {country!r}. Choose one of: {_choices()}")
