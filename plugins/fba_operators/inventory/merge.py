"""The merge: two reports and the store's pool → one true quantity per SKU.

Pure functions on pandas frames. A SKU is text compared exactly as sent, so the ``sku`` columns are ``object``: ``NA``,
``nan`` and ``null`` are SKUs like any other. :func:`missing_skus` says what to ask the FBA Inventory API about,
:func:`merge_inventory` then decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pandas as pd

from fba_operators.reports.document import Block
from fba_operators.reports.rows import BLANK

SOURCES = ("afn_report", "listings_report", "fba_api", "default_zero")
"""Where an FBA quantity came from, in order of precedence."""

NOT_GIVEN = "the FBA Inventory API does not give its quantity"
"""A reason of :class:`MergeResult`."""

MIN_ZEROED = 5
"""Fewer SKUs than this may always drop to 0."""

_AFN, _LISTINGS, _API, _ZERO = range(len(SOURCES))
_NONE = np.iinfo(np.int64).max

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class InventoryAnswers:
    """Answers of the FBA Inventory API about the SKUs of :func:`missing_skus`.

    :param quantities: SKU → fulfillableQuantity
    :param absent: requested, and not in the complete answer
    :param not_given: refused (4xx) when requested alone, or listed without a quantity: these keep their last values
    """

    quantities: Mapping[str, int] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    not_given: frozenset[str] = frozenset()


@dataclass(frozen=True)
class MergeResult:
    """What one run makes of a store's stock.

    :param frame: one row per SKU to write: sku, fba_quantity, fbm_quantity, quantity, quantity_source,
        fulfillment_channel (None without a listings row), listing_line (line of the listings report that gives title
        etc., missing without one), in_afn
    :param kept: reason → SKUs of the pool that keep all their last values
    :param not_added: reason → SKUs that are not in the pool and are not added to it
    :param sources: quantity source → number of rows in ``frame``
    :param conflicts: ``fba`` and ``fbm`` → number of SKUs whose listings rows of that kind differ (smallest taken)
    :param left_out_skus: SKUs left out because they have no listing (``import_deleted_skus`` is off)
    :param left_out_units: their sellable units
    :param in_stock: SKUs of the pool with a quantity above 0
    :param zeroed: those among them that ``frame`` puts to 0
    """

    frame: pd.DataFrame
    kept: Mapping[str, list[str]]
    not_added: Mapping[str, list[str]]
    sources: Mapping[str, int]
    conflicts: Mapping[str, int]
    left_out_skus: list[str]
    left_out_units: int
    in_stock: int
    zeroed: list[str]


def stock_frame(blocks: Iterable[Block]) -> pd.DataFrame:
    """The columns of a document that the merge needs: line_number, sku, quantity (``BLANK`` = not given), kind."""
    lines: list[Ints] = []
    skus: list[str] = []
    quantities: list[Ints] = []
    kinds: list[str] = []
    for block in blocks:
        lines.append(block.line_numbers)
        skus += block.skus
        quantities.append(block.quantities)
        kinds += block.kinds
    nothing = np.empty(0, np.int64)
    return pd.DataFrame(
        {
            "line_number": np.concatenate([nothing, *lines]),
            "sku": pd.Series(skus, dtype=object),
            "quantity": np.concatenate([nothing, *quantities]),
            "kind": pd.Series(kinds, dtype=object).astype("category"),
        }
    )


def too_many_zeroed(*, in_stock: int, zeroed: int, max_share: float) -> bool:
    """Whether so much of the stock would drop to 0 at once that the reports are refused.

    :param in_stock: SKUs with stock before
    :param zeroed: those among them that would have none
    :param max_share: share (0–1) of ``in_stock`` that may be zeroed
    """
    return zeroed >= MIN_ZEROED and zeroed > max_share * in_stock


class _Facts:
    """The content of the reports and the pool, as arrays with one entry per SKU."""

    def __init__(self, listings: pd.DataFrame, afn: pd.DataFrame, pool: pd.DataFrame) -> None:
        texts = [each["sku"].to_numpy(dtype=object) for each in (listings, afn, pool)]
        codes, skus = pd.factorize(np.concatenate(texts))
        self.skus: npt.NDArray[np.object_] = skus
        self.size = len(skus)
        of_listing, of_afn, of_pool = np.split(codes, np.cumsum([len(each) for each in texts[:2]]))

        self.in_pool = self._mark(of_pool)
        # Position of each SKU's pool row; 0, and unused, where in_pool is false.
        place = np.zeros(self.size, np.int64)
        place[of_pool] = np.arange(len(of_pool))
        self.pool_place: Ints = place
        self.pool_codes: Ints = of_pool

        self.in_afn = self._mark(of_afn)
        sellable = (afn["kind"] == "SELLABLE").to_numpy(dtype=bool)
        self.afn_quantity: Ints = np.zeros(self.size, np.int64)
        np.add.at(self.afn_quantity, of_afn[sellable], afn["quantity"].to_numpy(np.int64)[sellable])
        self.has_sellable = self._mark(of_afn[sellable])

        kind = pd.Categorical(listings["kind"])
        fbm = np.append(np.array([name == "DEFAULT" for name in kind.categories], bool), False)[kind.codes]
        self.in_listings = self._mark(of_listing)
        self.has_fbm = self._mark(of_listing[fbm])
        self.has_fba = self._mark(of_listing[~fbm])
        quantity = listings["quantity"].to_numpy(np.int64)
        given = quantity != BLANK
        self.fbm_quantity, self.fbm_conflicts = self._smallest(of_listing, quantity, given & fbm)
        self.fba_quantity, self.fba_conflicts = self._smallest(of_listing, quantity, given & ~fbm)
        # Title etc. come from an FBA row, which describes the product, before one of the seller's own offer.
        place = np.arange(len(of_listing))
        first_fba = np.full(self.size, _NONE)
        first_fbm = np.full(self.size, _NONE)
        np.minimum.at(first_fba, of_listing[~fbm], place[~fbm])
        np.minimum.at(first_fbm, of_listing[fbm], place[fbm])
        self.listing_place: Ints = np.where(self.has_fba, first_fba, first_fbm)

    def _mark(self, codes: Ints) -> Bools:
        marked = np.zeros(self.size, bool)
        marked[codes] = True
        return marked

    def _smallest(self, codes: Ints, quantity: Ints, rows: Bools) -> tuple[Ints, Bools]:
        """The smallest quantity per SKU (``BLANK`` without one), and where the rows differ."""
        codes, quantity = codes[rows], quantity[rows]
        least = np.full(self.size, _NONE)
        most = np.full(self.size, BLANK)
        np.minimum.at(least, codes, quantity)
        np.maximum.at(most, codes, quantity)
        conflicts = (least != most) & (most != BLANK)
        return np.where(most == BLANK, BLANK, least), conflicts

    def among(self, skus: Collection[str]) -> Bools:
        """Which SKUs are in a collection."""
        if not skus:
            return np.zeros(self.size, bool)
        wanted = frozenset(skus)
        return np.fromiter((sku in wanted for sku in self.skus), bool, self.size)

    def of_pool(self, values: npt.NDArray[np.bool_] | pd.Series) -> Bools:
        """A property of pool rows, per SKU."""
        marked = np.zeros(self.size, bool)
        marked[self.pool_codes] = np.asarray(values, dtype=bool)
        return marked

    def without_fba_quantity(self, pool: pd.DataFrame) -> tuple[Bools, Bools]:
        """SKUs whose FBA quantity no report gives; and those among them to ask the API about."""
        merchant = self.has_fbm & ~self.has_fba
        missing = ~self.in_afn & (self.fba_quantity == BLANK) & ~merchant
        was_merchant = self.of_pool((pool["fulfillment_channel"] == "DEFAULT").fillna(False)) & ~self.in_listings
        return missing, missing & ~was_merchant


def missing_skus(
    listings: pd.DataFrame,
    afn: pd.DataFrame,
    pool: pd.DataFrame,
    *,
    rejected_skus: Collection[str] = frozenset(),
    fetch_missing_inventory: bool,
) -> list[str]:
    """The SKUs to ask the FBA Inventory API about: no report gives their FBA quantity and they may be FBA.

    Left out: SKUs with a rejected row, which keep their last values, and merchant-fulfilled ones (by the listings
    report, else by the pool).

    :param listings: :func:`stock_frame` of GET_MERCHANT_LISTINGS_ALL_DATA
    :param afn: :func:`stock_frame` of GET_AFN_INVENTORY_DATA
    :param pool: the store's pool: sku, fba_quantity, fbm_quantity, quantity, quantity_source, fulfillment_channel
    :param rejected_skus: SKUs of rejected rows in either report
    :param fetch_missing_inventory: as configured; false asks for none
    """
    if not fetch_missing_inventory:
        return []
    facts = _Facts(listings, afn, pool)
    _, askable = facts.without_fba_quantity(pool)
    skus: list[str] = facts.skus[askable & ~facts.among(rejected_skus)].tolist()
    return skus


def merge_inventory(
    listings: pd.DataFrame,
    afn: pd.DataFrame,
    pool: pd.DataFrame,
    *,
    rejected_skus: Collection[str] = frozenset(),
    unreadable_rejected: bool = False,
    answers: InventoryAnswers | None = None,
    replay: bool = False,
    include_fbm_quantity: bool,
    fetch_missing_inventory: bool,
    import_deleted_skus: bool,
) -> MergeResult:
    """Decide every SKU's quantity.

    :param listings: :func:`stock_frame` of GET_MERCHANT_LISTINGS_ALL_DATA
    :param afn: :func:`stock_frame` of GET_AFN_INVENTORY_DATA
    :param pool: the store's pool: sku, fba_quantity, fbm_quantity, quantity, quantity_source, fulfillment_channel
    :param rejected_skus: SKUs of rejected rows in either report
    :param unreadable_rejected: whether some rejected row's SKU could not be read
    :param answers: of the API, about all of :func:`missing_skus`
    :param replay: the API was not asked; a SKU it would be asked about keeps its quantity if that came from the API
    :raises ValueError: SKUs of :func:`missing_skus` have no answer: a bug of the caller
    """
    facts = _Facts(listings, afn, pool)
    missing, askable = facts.without_fba_quantity(pool)
    rejected = facts.among(rejected_skus)

    fba = np.where(facts.in_afn, facts.afn_quantity, np.maximum(facts.fba_quantity, 0))
    source = np.select([facts.in_afn, ~missing], [_AFN, _LISTINGS], _ZERO)

    not_given = np.zeros(facts.size, bool)
    if replay:
        from_api = missing & facts.of_pool((pool["quantity_source"] == "fba_api").fillna(False))
        source[from_api] = _API
        before = pool["fba_quantity"].to_numpy(np.int64)
        fba[from_api] = before[facts.pool_place[from_api]]
    elif fetch_missing_inventory:
        not_given = _apply(answers or InventoryAnswers(), facts, askable & ~rejected, fba, source)

    unlisted = facts.in_afn & ~facts.in_listings & ~facts.in_pool & ~rejected
    left_out = unlisted if not import_deleted_skus else np.zeros(facts.size, bool)
    held = {
        "a row of it was rejected": rejected,
        NOT_GIVEN: not_given & ~rejected,
        "a row of it may be the one whose SKU cannot be read": (
            _may_be_unreadable(facts, pool, source) & ~rejected & ~not_given & unreadable_rejected
        ),
    }
    write = ~left_out
    for each in held.values():
        write &= ~each
    elsewhere = sorted(set(rejected_skus).difference(facts.skus[rejected])) if rejected_skus else []
    not_added = {reason: facts.skus[each & ~facts.in_pool].tolist() for reason, each in held.items()}
    not_added["a row of it was rejected"] += elsewhere

    fbm = np.maximum(facts.fbm_quantity, 0)
    quantity = fba + fbm if include_fbm_quantity else fba
    had_stock = facts.of_pool(pool["quantity"].to_numpy(np.int64) > 0)
    listed = write & facts.in_listings
    return MergeResult(
        frame=_frame(facts, listings, write, fba=fba, fbm=fbm, quantity=quantity, source=source),
        kept={reason: facts.skus[each & facts.in_pool].tolist() for reason, each in held.items()},
        not_added=not_added,
        sources={name: int((source[write] == code).sum()) for code, name in enumerate(SOURCES)},
        conflicts={
            "fba": int((facts.fba_conflicts & listed).sum()),
            "fbm": int((facts.fbm_conflicts & listed).sum()),
        },
        left_out_skus=facts.skus[left_out].tolist(),
        left_out_units=int(facts.afn_quantity[left_out].sum()),
        in_stock=int(had_stock.sum()),
        zeroed=facts.skus[write & had_stock & (quantity == 0)].tolist(),
    )


def _may_be_unreadable(facts: _Facts, pool: pd.DataFrame, source: Ints) -> Bools:
    """SKUs that would lose stock because they have no row, where an unreadable row may be theirs."""
    had_fba = facts.of_pool(pool["fba_quantity"].to_numpy(np.int64) > 0)
    had_fbm = facts.of_pool(pool["fbm_quantity"].to_numpy(np.int64) > 0)
    only_merchant = (source == _LISTINGS) & (facts.fba_quantity == BLANK)
    no_row: Bools = (source == _ZERO) | (had_fba & ~facts.has_sellable & (facts.in_afn | only_merchant))
    return no_row | (~facts.has_fbm & had_fbm)


def _apply(answers: InventoryAnswers, facts: _Facts, asked: Bools, fba: Ints, source: Ints) -> Bools:
    """Put the API's answers into ``fba`` and ``source``.

    :return: the SKUs whose quantity it does not give
    """
    not_given = np.zeros(facts.size, bool)
    silent = 0
    for code in np.flatnonzero(asked).tolist():
        sku = facts.skus[code]
        if sku in answers.quantities:
            fba[code], source[code] = answers.quantities[sku], _API
        elif sku in answers.not_given:
            not_given[code] = True
        elif sku not in answers.absent:
            silent += 1
    if silent:
        raise ValueError(f"{silent} SKUs are in no report and have no answer: ask for all of missing_skus first")
    return not_given


def _frame(
    facts: _Facts,
    listings: pd.DataFrame,
    write: Bools,
    *,
    fba: Ints,
    fbm: Ints,
    quantity: Ints,
    source: Ints,
) -> pd.DataFrame:
    listed = facts.in_listings[write]
    place = facts.listing_place[write][listed]
    lines = np.zeros(int(write.sum()), np.int64)
    lines[listed] = listings["line_number"].to_numpy(np.int64)[place]
    kind = pd.Categorical(listings["kind"])
    channel = np.full(len(lines), -1, np.int64)
    channel[listed] = kind.codes[place]
    return pd.DataFrame(
        {
            "sku": pd.Series(facts.skus[write], dtype=object),
            "fba_quantity": fba[write],
            "fbm_quantity": fbm[write],
            "quantity": quantity[write],
            "quantity_source": pd.Categorical.from_codes(source[write], categories=pd.Index(SOURCES)),
            "fulfillment_channel": pd.Categorical.from_codes(channel, categories=kind.categories),
            "listing_line": pd.arrays.IntegerArray(lines, ~listed),
            "in_afn": facts.in_afn[write],
        }
    )
