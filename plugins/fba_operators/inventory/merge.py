"""The merge: two reports and the store's pool → one true quantity per SKU.

Pure functions on pandas frames. A SKU is text compared exactly as sent, so the ``sku`` columns are ``object``: ``NA``,
``nan`` and ``null`` are SKUs like any other. :func:`missing_skus` says what to ask the FBA Inventory API about,
:func:`merge_inventory` then decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

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
"""Fewer SKUs than this may always drop to 0, or vanish from the reports."""

MIN_JUMPED = 10
"""Units by which most SKUs together must have changed to be implausible; of less a few sales are a large share."""

CONFIRM_AFTER = timedelta(minutes=30)
"""A vanished SKU becomes 0 when a pair of reports asked for this much later does not state it either."""

MAX_CONFIRMED = 5000
"""Vanished SKUs that the API is asked about in one run, those with most units first."""

_LETTER = re.compile("[^\x00-\x7f]")
_AFN, _LISTINGS, _API, _ZERO = range(len(SOURCES))
_NONE = np.iinfo(np.int64).max

Ints = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]
Codes = npt.NDArray[np.int8]
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
class Vanishing:
    """How stock is treated that no report states any more; without this, it becomes 0 at once.

    :param asked_at: when the older of the two reports was asked for
    :param newest_at: when the newer one was; a later pair confirms this one only if both its reports are later
    :param fba_since: SKU → since when its FBA stock is unconfirmed
    :param fbm_since: SKU → since when its merchant-fulfilled stock is unconfirmed
    """

    asked_at: datetime
    newest_at: datetime
    fba_since: Mapping[str, datetime] = field(default_factory=dict)
    fbm_since: Mapping[str, datetime] = field(default_factory=dict)


@dataclass(frozen=True)
class Vanished:
    """Stock of one kind (FBA or FBM) that no report states any more and that nothing has confirmed.

    :param since: SKU → since when; these keep their quantity
    :param units: their units
    :param in_stock: SKUs that had stock of this kind
    :param units_in_stock: the units of those
    """

    since: Mapping[str, datetime]
    units: int
    in_stock: int
    units_in_stock: int

    def is_too_much(self, max_share: float) -> bool:
        """Whether so much has vanished at once that the reports are refused.

        :param max_share: share (0–1) of the SKUs, and of the units, that may vanish
        """
        skus = len(self.since)
        return skus >= MIN_ZEROED and (skus > max_share * self.in_stock or self.units > max_share * self.units_in_stock)


@dataclass(frozen=True)
class Change:
    """What a run makes of stock of one kind.

    :param in_stock: SKUs that had stock
    :param zeroed: those among them that have none any more
    :param is_a_jump: whether the units change implausibly
    """

    in_stock: int
    zeroed: list[str]
    is_a_jump: bool


@dataclass(frozen=True)
class MergeResult:
    """What one run makes of a store's stock.

    :param frame: one row per SKU to write: sku, fba_quantity, fbm_quantity, quantity, quantity_source,
        fulfillment_channel (None without a listings row), listing_line (line of the listings report that gives title
        etc., missing without one), listings (number of its listings rows), in_afn, differs (whether a number or where it
        came from is not as in the pool)
    :param kept: reason → SKUs of the pool that keep all their last values
    :param not_added: reason → SKUs that are not in the pool and are not added to it
    :param sources: quantity source → number of rows in ``frame``
    :param conflicts: ``fba`` and ``fbm`` → number of SKUs whose listings rows of that kind differ (smallest taken)
    :param conflicting: those SKUs
    :param left_out_skus: SKUs left out because they have no listing (``import_deleted_skus`` is off)
    :param left_out_units: their sellable units
    :param changes: what happens to the quantity, under an empty name, and, where FBM counts, to FBA and FBM each for itself
    :param zeroed_unstated: SKUs whose FBA or FBM stock becomes 0 although neither a report nor the API states that
    :param vanished: SKUs with stock that no report states, for the first time
    :param fba: vanished FBA stock that is kept
    :param fbm: vanished merchant-fulfilled stock that is kept
    """

    frame: pd.DataFrame
    kept: Mapping[str, list[str]]
    not_added: Mapping[str, list[str]]
    sources: Mapping[str, int]
    conflicts: Mapping[str, int]
    conflicting: list[str]
    left_out_skus: list[str]
    left_out_units: int
    changes: Mapping[str, Change]
    zeroed_unstated: list[str]
    vanished: list[str]
    fba: Vanished
    fbm: Vanished

    @property
    def in_stock(self) -> int:
        """SKUs of the pool with a quantity above 0."""
        return self.changes[""].in_stock

    @property
    def zeroed(self) -> list[str]:
        """Those among them that ``frame`` puts to 0."""
        return self.changes[""].zeroed

    @property
    def jumped(self) -> bool:
        """Whether the units in stock change implausibly."""
        return any(change.is_a_jump for change in self.changes.values())


def stock_frame(blocks: Iterable[Block], texts: dict[str, str] | None = None) -> pd.DataFrame:
    """The columns of a document that the merge needs: line_number, sku, quantity (``BLANK`` = not given), kind.

    :param texts: SKUs read before, each by itself: a SKU of several frames is in memory once; SKUs are added
    """
    texts = {} if texts is None else texts
    lines: list[Ints] = []
    skus: list[str] = []
    quantities: list[Ints] = []
    kinds: list[str] = []
    for block in blocks:
        lines.append(block.line_numbers)
        skus += map(texts.setdefault, block.skus, block.skus)
        quantities.append(block.quantities)
        kinds += block.kinds
    nothing = np.empty(0, np.int64)
    return pd.DataFrame(
        {
            "line_number": np.concatenate([nothing, *lines]),
            "sku": pd.Series(skus, dtype=object),
            "quantity": np.concatenate([nothing, *quantities]),
            "kind": pd.Series(kinds, dtype=object).astype("category"),
        },
        copy=False,
    )


def too_many_zeroed(*, in_stock: int, zeroed: int, max_share: float) -> bool:
    """Whether so much of the stock would drop to 0 at once that the reports are refused.

    :param in_stock: SKUs with stock before
    :param zeroed: those among them that would have none
    :param max_share: share (0–1) of ``in_stock`` that may be zeroed
    """
    return zeroed >= MIN_ZEROED and zeroed > max_share * in_stock


class Facts:
    """The content of the reports and the pool, as arrays with one entry per SKU.

    :param listings: :func:`stock_frame` of GET_MERCHANT_LISTINGS_ALL_DATA
    :param afn: :func:`stock_frame` of GET_AFN_INVENTORY_DATA
    :param pool: the store's pool: sku, fba_quantity, fbm_quantity, quantity, quantity_source, fulfillment_channel
    """

    def __init__(self, listings: pd.DataFrame, afn: pd.DataFrame, pool: pd.DataFrame) -> None:
        texts = [each["sku"].to_numpy(dtype=object) for each in (listings, afn, pool)]
        found, skus = pd.factorize(np.concatenate(texts))
        codes = found.astype(np.int32)
        del found
        self.skus: npt.NDArray[np.object_] = skus
        self.size = len(skus)
        of_listing, of_afn, of_pool = np.split(codes, np.cumsum([len(each) for each in texts[:2]]))
        of_pool = of_pool.copy()  # a view would keep all codes

        self.in_pool = self._mark(of_pool)
        self.pool_codes: Places = of_pool

        self.in_afn = self._mark(of_afn)
        sellable = _rows_of_kind(afn, "SELLABLE")
        self.afn_quantity: Ints = np.zeros(self.size, np.int64)
        np.add.at(self.afn_quantity, of_afn[sellable], afn["quantity"].to_numpy(np.int64)[sellable])
        self.has_sellable = self._mark(of_afn[sellable])

        fbm = _rows_of_kind(listings, "DEFAULT")
        self.in_listings = self._mark(of_listing)
        self.has_fbm = self._mark(of_listing[fbm])
        self.has_fba = self._mark(of_listing[~fbm])
        quantity = listings["quantity"].to_numpy(np.int64)
        given = quantity != BLANK
        self.fbm_quantity, self.fbm_conflicts = self._smallest(of_listing, quantity, given & fbm)
        self.fba_quantity, self.fba_conflicts = self._smallest(of_listing, quantity, given & ~fbm)
        # Title etc. come from an FBA row, which describes the product, before one of the seller's own offer.
        place = np.zeros(self.size, np.int32)
        for rows in (fbm, ~fbm):
            last_first = np.flatnonzero(rows)[::-1]  # so that the first row of a SKU is written last, and stays
            place[of_listing[last_first]] = last_first
        self.listing_place: Places = place
        self.listings: Places = np.bincount(of_listing, minlength=self.size).astype(np.int32)

        # What the pool has; 0 where the SKU is not in it.
        self.had_fba = self._pool_values(pool["fba_quantity"])
        self.had_fbm = self._pool_values(pool["fbm_quantity"])
        self.had_quantity = self._pool_values(pool["quantity"])

    def _pool_values(self, values: pd.Series) -> Ints:
        spread = np.zeros(self.size, np.int64)
        spread[self.pool_codes] = values.to_numpy(np.int64)
        return spread

    def _mark(self, codes: Places) -> Bools:
        marked = np.zeros(self.size, bool)
        marked[codes] = True
        return marked

    def _smallest(self, codes: Places, quantity: Ints, rows: Bools) -> tuple[Ints, Bools]:
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

    @property
    def states_fba(self) -> Bools:
        """SKUs of which a report states the FBA quantity."""
        stated: Bools = self.in_afn | (self.fba_quantity != BLANK)
        return stated

    @property
    def states_fbm(self) -> Bools:
        """SKUs of which the listings report states the merchant-fulfilled quantity."""
        stated: Bools = self.fbm_quantity != BLANK
        return stated

    def without_fba_quantity(self, pool: pd.DataFrame) -> tuple[Bools, Bools]:
        """SKUs whose FBA quantity no report gives; and those among them to ask the API about."""
        merchant = self.has_fbm & ~self.has_fba
        missing = ~self.in_afn & (self.fba_quantity == BLANK) & ~merchant
        was_merchant = self.of_pool((pool["fulfillment_channel"] == "DEFAULT").fillna(False)) & ~self.in_listings
        return missing, missing & ~was_merchant


def _rows_of_kind(frame: pd.DataFrame, kind: str) -> Bools:
    """The rows of one kind, compared without regard to case."""
    column = pd.Categorical(frame["kind"])
    wanted = np.append(np.array([str(name).upper() == kind for name in column.categories], bool), False)
    rows: Bools = wanted[column.codes]
    return rows


def undocumented_kinds(frame: pd.DataFrame, documented: str) -> dict[str, int]:
    """Kinds of rows that Amazon does not document, and how many rows have each.

    :param documented: a regular expression of the documented ones, matched without regard to case
    """
    counts = frame["kind"].value_counts()
    known = re.compile(documented, re.IGNORECASE)
    return {str(kind): int(number) for kind, number in counts.items() if number and not known.fullmatch(str(kind))}


def repair_skus(
    listings: pd.DataFrame, afn: pd.DataFrame, pool: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, str], list[str]]:
    """Find the SKUs in which Amazon turned letters into ``?``: one that fits exactly one known SKU is that SKU.

    Known are the SKUs of the AFN report, and those of the pool that the listings report does not have as they are. One that
    came into the pool with ``?`` is no SKU of its own because of that.

    :return: the listings with repaired SKUs; SKU as sent → repaired; new SKUs with ``?`` that fit none or several
    """
    listed = listings["sku"].to_numpy(object)
    marked = {sku for sku in listed if "?" in sku}
    if not marked:
        return listings, {}, []
    stored, pooled = set(afn["sku"]), set(pool["sku"])
    fits: dict[str, list[str]] = {}
    for sku in stored | pooled.difference(listed):
        if not sku.isascii() and "?" not in sku:
            fits.setdefault(_LETTER.sub("?", sku), []).append(sku)
    repaired = {sku: fits[sku][0] for sku in sorted(marked - stored) if len(fits.get(sku, ())) == 1}
    doubtful = sorted(marked - stored - pooled - repaired.keys())
    if repaired:
        listings = listings.assign(sku=listings["sku"].map(lambda sku: repaired.get(sku, sku)).astype(object))
    return listings, repaired, doubtful


def missing_skus(
    listings: pd.DataFrame,
    afn: pd.DataFrame,
    pool: pd.DataFrame,
    *,
    rejected_skus: Collection[str] = frozenset(),
    fetch_missing_inventory: bool,
    confirm_vanished: bool = False,
    facts: Facts | None = None,
) -> list[str]:
    """The SKUs to ask the FBA Inventory API about, those with most units in the pool first.

    With ``fetch_missing_inventory``, those whose FBA quantity no report gives and that may be FBA. With
    ``confirm_vanished``, those with FBA stock that no report states any more, at most :data:`MAX_CONFIRMED`. Left out:
    SKUs with a rejected row, which keep their last values, and without FBA stock merchant-fulfilled ones (by the
    listings report, else by the pool).

    :param listings: :func:`stock_frame` of GET_MERCHANT_LISTINGS_ALL_DATA
    :param afn: :func:`stock_frame` of GET_AFN_INVENTORY_DATA
    :param pool: the store's pool: sku, fba_quantity, fbm_quantity, quantity, quantity_source, fulfillment_channel
    :param rejected_skus: SKUs of rejected rows in either report
    :param facts: of these frames, where they are known already
    """
    if not (fetch_missing_inventory or confirm_vanished):
        return []
    facts = facts or Facts(listings, afn, pool)
    _, askable = facts.without_fba_quantity(pool)
    asked = askable if fetch_missing_inventory else np.zeros(facts.size, bool)
    rejected = facts.among(rejected_skus)
    order = np.argsort(-facts.had_fba, kind="stable")
    if confirm_vanished:
        vanished = (facts.had_fba > 0) & ~facts.states_fba & ~asked & ~rejected
        asked = asked.copy()
        asked[order[vanished[order]][:MAX_CONFIRMED]] = True
    skus: list[str] = facts.skus[order[(asked & ~rejected)[order]]].tolist()
    return skus


def merge_inventory(
    listings: pd.DataFrame,
    afn: pd.DataFrame,
    pool: pd.DataFrame,
    *,
    rejected_skus: Collection[str] = frozenset(),
    unreadable_listings: bool = False,
    unreadable_afn: bool = False,
    answers: InventoryAnswers | None = None,
    replay: bool = False,
    vanishing: Vanishing | None = None,
    include_fbm_quantity: bool,
    fetch_missing_inventory: bool,
    import_deleted_skus: bool,
    facts: Facts | None = None,
) -> MergeResult:
    """Decide every SKU's quantity.

    :param listings: :func:`stock_frame` of GET_MERCHANT_LISTINGS_ALL_DATA
    :param afn: :func:`stock_frame` of GET_AFN_INVENTORY_DATA
    :param pool: the store's pool: sku, fba_quantity, fbm_quantity, quantity, quantity_source, fulfillment_channel
    :param rejected_skus: SKUs of rejected rows in either report
    :param unreadable_listings: whether the SKU of some rejected row of the listings report could not be read
    :param unreadable_afn: the same of the AFN report
    :param answers: of the API, about all of :func:`missing_skus`
    :param replay: the API was not asked; a SKU it would be asked about keeps its quantity if that came from the API
    :param vanishing: how stock is treated that no report states any more; None: it becomes 0
    :param facts: of these frames, where they are known already
    :raises ValueError: SKUs of :func:`missing_skus` have no answer: a bug of the caller
    """
    facts = facts or Facts(listings, afn, pool)
    missing, askable = facts.without_fba_quantity(pool)
    rejected = facts.among(rejected_skus)

    fba = np.where(facts.in_afn, facts.afn_quantity, np.maximum(facts.fba_quantity, 0))
    source = np.full(facts.size, _ZERO, np.int8)
    source[~missing] = _LISTINGS
    source[facts.in_afn] = _AFN

    not_given = np.zeros(facts.size, bool)
    if replay:
        from_api = missing & facts.of_pool((pool["quantity_source"] == "fba_api").fillna(False))
        source[from_api] = _API
        fba[from_api] = facts.had_fba[from_api]
    else:
        asked = askable & ~rejected if fetch_missing_inventory else np.zeros(facts.size, bool)
        may_keep = facts.had_fba > 0 if vanishing else np.zeros(facts.size, bool)
        not_given = _apply(answers or InventoryAnswers(), facts, asked, may_keep, fba, source)

    unlisted = facts.in_afn & ~facts.in_listings & ~facts.in_pool & ~rejected
    left_out = unlisted if not import_deleted_skus else np.zeros(facts.size, bool)
    held = {
        "a row of it was rejected": rejected,
        NOT_GIVEN: not_given & ~rejected,
        "a row of it may be the one whose SKU cannot be read": (
            _may_be_unreadable(facts, source, listings=unreadable_listings, afn=unreadable_afn) & ~rejected & ~not_given
        ),
    }
    write = ~left_out
    for each in held.values():
        write &= ~each
    elsewhere = sorted(set(rejected_skus).difference(facts.skus[rejected])) if rejected_skus else []
    not_added = {reason: facts.skus[each & ~facts.in_pool].tolist() for reason, each in held.items()}
    not_added["a row of it was rejected"] += elsewhere

    fbm = np.maximum(facts.fbm_quantity, 0)
    fba_gone = write & (facts.had_fba > 0) & ~facts.states_fba
    fbm_gone = write & (facts.had_fbm > 0) & ~facts.states_fbm
    by_api = source == _API
    kept_fba = _kept(facts, fba_gone & ~by_api, vanishing, vanishing.fba_since if vanishing else {})
    kept_fbm = _kept(facts, fbm_gone, vanishing, vanishing.fbm_since if vanishing else {})
    fba_codes, fbm_codes = np.array(list(kept_fba), np.int64), np.array(list(kept_fbm), np.int64)
    fba[fba_codes], fbm[fbm_codes] = facts.had_fba[fba_codes], facts.had_fbm[fbm_codes]
    source[fba_codes] = _source_codes(facts, pool)[fba_codes]

    quantity = fba + fbm if include_fbm_quantity else fba
    changes = {"": (facts.had_quantity, quantity)}
    if include_fbm_quantity:
        changes |= {"FBA": (facts.had_fba, fba), "merchant-fulfilled": (facts.had_fbm, fbm)}
    listed = write & facts.in_listings
    known = {*(vanishing.fba_since if vanishing else ()), *(vanishing.fbm_since if vanishing else ())}
    of_api_again = by_api & (_source_codes(facts, pool) == _API)
    return MergeResult(
        frame=_frame(facts, listings, pool, write, fba=fba, fbm=fbm, quantity=quantity, source=source),
        kept={reason: facts.skus[each & facts.in_pool].tolist() for reason, each in held.items()},
        not_added=not_added,
        sources={name: int((source[write] == code).sum()) for code, name in enumerate(SOURCES)},
        conflicts={
            "fba": int((facts.fba_conflicts & listed).sum()),
            "fbm": int((facts.fbm_conflicts & listed).sum()),
        },
        conflicting=facts.skus[(facts.fba_conflicts | facts.fbm_conflicts) & listed].tolist(),
        left_out_skus=facts.skus[left_out].tolist(),
        left_out_units=int(facts.afn_quantity[left_out].sum()),
        changes={
            kind: Change(
                in_stock=int((before > 0).sum()),
                zeroed=facts.skus[write & (before > 0) & (after == 0)].tolist(),
                is_a_jump=_jumps(before, np.where(write, after, before)),
            )
            for kind, (before, after) in changes.items()
        },
        zeroed_unstated=facts.skus[(fba_gone & ~by_api & (fba == 0)) | (fbm_gone & (fbm == 0))].tolist(),
        vanished=[sku for sku in facts.skus[(fba_gone & ~of_api_again) | fbm_gone].tolist() if sku not in known],
        fba=_vanished(facts, kept_fba, facts.had_fba),
        fbm=_vanished(facts, kept_fbm, facts.had_fbm),
    )


def _kept(facts: Facts, gone: Bools, vanishing: Vanishing | None, since: Mapping[str, datetime]) -> dict[int, datetime]:
    """Vanished SKUs that keep their quantity: place of the SKU → since when, without those a later pair confirms."""
    if vanishing is None:
        return {}
    kept = {}
    for code in np.flatnonzero(gone).tolist():
        # A time after this pair was written by a clock that was ahead, or the pair is replayed: it counts from this pair on.
        first = min(since.get(facts.skus[code], vanishing.newest_at), vanishing.newest_at)
        if first + CONFIRM_AFTER > vanishing.asked_at:
            kept[code] = first
    return kept


def _vanished(facts: Facts, kept: Mapping[int, datetime], had: Ints) -> Vanished:
    codes = np.array(list(kept), np.int64)
    return Vanished(
        since={str(facts.skus[code]): moment for code, moment in kept.items()},
        units=int(had[codes].sum()),
        in_stock=int((had > 0).sum()),
        units_in_stock=int(had.sum()),
    )


def _source_codes(facts: Facts, pool: pd.DataFrame) -> Codes:
    """The quantity source that each SKU has in the pool."""
    codes = np.full(facts.size, _ZERO, np.int8)
    codes[facts.pool_codes] = pd.Categorical(pool["quantity_source"], categories=list(SOURCES)).codes
    return codes


def _jumps(before: Ints, after: Ints) -> bool:
    """Whether stock changes implausibly: trebled or fell below a third, or most SKUs at least doubled or halved."""
    units, now = int(before.sum()), int(after.sum())
    most_jump = _most_jump(before, after, least=2) or _most_jump(before, after, least=4)
    return units > 0 and (now > 3 * units or now * 3 < units or most_jump)


def _most_jump(before: Ints, after: Ints, *, least: int) -> bool:
    """Whether most SKUs that had so many units at least doubled or halved."""
    several = before >= least
    before, after = before[several], after[several]
    extreme = (after * 2 <= before) | (after >= before * 2)
    moved = int(np.abs(after - before)[extreme].sum())
    enough = moved >= MIN_JUMPED or (least >= 4 and len(before) >= MIN_ZEROED)
    return 2 * int(extreme.sum()) > len(before) and enough


def _may_be_unreadable(facts: Facts, source: Codes, *, listings: bool, afn: bool) -> Bools:
    """SKUs that would lose stock because they have no row, where an unreadable row may be theirs.

    What a report states, no line of the other one can change.

    :param listings: whether there is such a row in the listings report
    :param afn: whether there is one in the AFN report
    """
    only_merchant = (source == _LISTINGS) & (facts.fba_quantity == BLANK)
    had_fba = facts.had_fba > 0
    no_row: Bools = ((source == _ZERO) & (had_fba | ~facts.in_pool)) | (had_fba & only_merchant)
    no_sellable = had_fba & facts.in_afn & ~facts.has_sellable
    no_fbm = (facts.had_fbm > 0) & ~facts.has_fbm
    return (no_row & (listings | afn)) | (no_sellable & afn) | (no_fbm & listings)


def _apply(answers: InventoryAnswers, facts: Facts, asked: Bools, may_keep: Bools, fba: Ints, source: Codes) -> Bools:
    """Put the API's answers into ``fba`` and ``source``.

    :param asked: SKUs that must have an answer
    :param may_keep: SKUs of which the API may say nothing: they have stock, which is kept
    :return: the SKUs whose quantity it does not give although they must have an answer
    """
    answered = ~facts.states_fba & facts.among(answers.quantities)
    for code in np.flatnonzero(answered & (asked | may_keep)).tolist():
        fba[code], source[code] = answers.quantities[facts.skus[code]], _API
    not_given = asked & facts.among(answers.not_given)
    silent = int((asked & ~answered & ~not_given & ~may_keep & ~facts.among(answers.absent)).sum())
    if silent:
        raise ValueError(f"{silent} SKUs are in no report and have no answer: ask for all of missing_skus first")
    return not_given


def _frame(
    facts: Facts,
    listings: pd.DataFrame,
    pool: pd.DataFrame,
    write: Bools,
    *,
    fba: Ints,
    fbm: Ints,
    quantity: Ints,
    source: Codes,
) -> pd.DataFrame:
    written = slice(None) if write.all() else write  # mostly all are, and of those no copy is made
    listed = facts.in_listings[written]
    place = facts.listing_place[written][listed]
    lines = np.zeros(len(listed), np.int64)
    lines[listed] = listings["line_number"].to_numpy(np.int64)[place]
    kind = pd.Categorical(listings["kind"])
    channel = np.full(len(lines), -1, kind.codes.dtype)
    channel[listed] = kind.codes[place]
    differs = ~facts.in_pool | (source != _source_codes(facts, pool))
    for new, had in ((fba, facts.had_fba), (fbm, facts.had_fbm), (quantity, facts.had_quantity)):
        differs |= new != had
    return pd.DataFrame(
        {
            "sku": pd.Series(facts.skus[written], dtype=object),
            "fba_quantity": fba[written],
            "fbm_quantity": fbm[written],
            "quantity": quantity[written],
            "quantity_source": pd.Categorical.from_codes(source[written], categories=pd.Index(SOURCES)),
            "fulfillment_channel": pd.Categorical.from_codes(channel, categories=kind.categories),
            "listing_line": pd.arrays.IntegerArray(lines, ~listed),
            "listings": facts.listings[written],
            "in_afn": facts.in_afn[written],
            "differs": differs[written],
        },
        copy=False,
    )
