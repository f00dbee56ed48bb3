"""Which SKU of the store was probably meant by one that it does not have.

Looked for are other cases, blanks and separators, characters that look alike, and one wrong, missing, additional or swapped character.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from itertools import permutations
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits

from fba_operators.fulfillment.validation import MAX_SKU

SUGGESTED = 3
LOOKED_UP = 20  # at a time: if more are unknown, they are no slips
LIKENESS = 0.75  # difflib's ratio: one wrong character of four

_SEPARATORS = " -_./"
_LOOK_ALIKES = (*permutations("O0", 2), *permutations("Il1", 2))
_PLAIN = str.maketrans("oil", "011", _SEPARATORS)


def worth_a_look(skus: Iterable[str]) -> list[str]:
    """The SKUs for which others are looked up: a few, and none that could be no SKU."""
    return [sku for sku in skus if sku.strip() and len(sku) <= MAX_SKU and sku.isprintable()][:LOOKED_UP]


def spellings(sku: str) -> list[str]:
    """Other ways to write a SKU, about a thousand, to look them up by their exact text."""
    text = " ".join(sku.split())
    separated = {text.replace(old, new) for old in " -_" for new in ("", " ", "-", "_")}
    cased = {change(way) for way in separated for change in (str, str.upper, str.lower, str.title, str.capitalize)}
    confused = {way.replace(old, new) for way in cased for old, new in _LOOK_ALIKES}
    return sorted((confused | _slips(sku.strip())) - {sku, ""})


def _slips(text: str) -> set[str]:
    """A text with one character wrong, missing, additional or swapped with the next."""
    letters = "".join(case for case in (ascii_uppercase, ascii_lowercase) if set(case) & set(text)) or ascii_letters
    alphabet = letters + digits + _SEPARATORS
    cuts = [(text[:place], text[place:]) for place in range(len(text) + 1)]
    return {
        *(before + after[1:] for before, after in cuts),
        *(before + after[1::-1] + after[2:] for before, after in cuts),
        *(before + character + after[1:] for before, after in cuts for character in alphabet),
        *(before + character + after for before, after in cuts for character in alphabet),
    }


def nearest(sku: str, candidates: Iterable[str]) -> tuple[str, ...]:
    """The candidates that are written almost like a SKU, the most alike first, at most three."""
    ways: dict[str, list[str]] = {}
    for candidate in sorted({*candidates} - {sku}):
        ways.setdefault(_plain(candidate), []).append(candidate)
    found = get_close_matches(_plain(sku), ways, SUGGESTED, LIKENESS)
    return tuple(candidate for way in found for candidate in ways[way])[:SUGGESTED]


def _plain(sku: str) -> str:
    """A SKU without what is easily confused: case, blanks, separators, O and 0, I, l and 1."""
    return sku.lower().translate(_PLAIN)
