"""The header of a report: which column each field of a row belongs to, in whatever order and language."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from fba_operators.errors import MissingColumnsError
from fba_operators.reports.report_types import ReportType, snake_case
from fba_operators.words import words

REPLACEMENT = "\ufffd"
MOST_OF_A_HEADER = 1500  # characters shown


def _normal(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip().casefold()


def _meanings(report_type: ReportType) -> dict[str, list[str]]:
    """Normalised header name → the columns it can stand for."""
    names: dict[str, list[str]] = {}
    for english, column in zip(report_type.amazon_columns, report_type.columns, strict=True):
        for name in (english, *report_type.aliases.get(english, ())):
            columns = names.setdefault(_normal(name), [])
            if column not in columns:
                columns.append(column)
    return names


def _guess(name: str, meanings: Mapping[str, list[str]]) -> list[str]:
    """The column behind a name in which Amazon put ``?`` for letters (``Quantit?``), if only one fits."""
    if not re.search(rf"[?{REPLACEMENT}]", name):
        return []
    pattern = "".join(
        f"[^\\x00-\\x7f]{{1,{len(part)}}}" if part[0] in f"?{REPLACEMENT}" else re.escape(part)
        for part in re.findall(rf"[?{REPLACEMENT}]+|[^?{REPLACEMENT}]+", name)
    )
    fits = {tuple(columns) for known, columns in meanings.items() if re.fullmatch(pattern, known)}
    return list(fits.pop()) if len(fits) == 1 else []


@dataclass(frozen=True)
class Header:
    """What each field of a row is.

    :param names: as found in the document, one per field
    :param fields: our column name → place of its field
    :param repeats: (place, our column name) of further fields that claim a column with a row check
    :param extra: (place, name) of fields that are no known column; names are made unique
    :param left_out: names of such fields where the report carries personal data: nobody knows what is in them, so they
        are not kept
    """

    names: tuple[str, ...]
    fields: Mapping[str, int]
    repeats: tuple[tuple[int, str], ...]
    extra: tuple[tuple[int, str], ...]
    left_out: tuple[str, ...] = ()

    @classmethod
    def parse(cls, line: str, report_type: ReportType) -> Header:
        """Match a header line with the report's columns.

        A column's English name goes before its localised ones, then the first field wins.

        :raises MissingColumnsError: without a required column
        """
        names = tuple(line.split("\t"))
        while len(names) > 1 and not names[-1].strip():
            names = names[:-1]
        meanings = _meanings(report_type)
        normal = [_normal(name) for name in names]
        columns = [meanings.get(name) or _guess(name, meanings) for name in normal]
        english = [bool(each) and snake_case(name) == each[0] for name, each in zip(normal, columns, strict=True)]
        fields: dict[str, int] = {}
        # Plain English names first, names with several meanings last.
        for place in sorted(range(len(names)), key=lambda i: (not english[i], len(columns[i]), i)):
            free = [column for column in columns[place] if column not in fields]
            if free:
                fields[free[0]] = place
        taken = set(fields.values())
        missing = [column for column in report_type.required if column not in fields]
        if missing:
            wanted = ", ".join(report_type.amazon_name(column) for column in missing)
            found = " | ".join(names)
            if report_type.personal and 2 * len(missing) > len(report_type.required):
                found = "(not shown: most columns are missing, so this may be a row with a buyer's data)"
            raise MissingColumnsError(
                f"{report_type.name} lacks the column {wanted}. Nothing was read from it; a localised name that is not "
                f"known yet belongs into report_types.py. Its header has {len(names)} fields",
                names,
                detail=words(found, MOST_OF_A_HEADER),
            )
        repeats = tuple(
            (place, column)
            for place, candidates in enumerate(columns)
            if place not in taken and len(candidates) == 1
            for column in candidates
            if column in report_type.checks
        )
        extra = cls._extra(names, taken)
        if report_type.personal:
            return cls(names, fields, repeats, (), tuple(name for _, name in extra))
        return cls(names, fields, repeats, extra)

    @staticmethod
    def _extra(names: tuple[str, ...], taken: set[int]) -> tuple[tuple[int, str], ...]:
        used: set[str] = set()
        extra = []
        for place, name in enumerate(names):
            if place in taken:
                continue
            base = name.strip().replace("\0", REPLACEMENT) or f"column {place + 1}"
            unique, ordinal = base, 1
            while unique in used:
                ordinal += 1
                unique = f"{base} {ordinal}"
            used.add(unique)
            extra.append((place, unique))
        return tuple(extra)
