"""Amazon's words: what its errors and reports say, made fit to be logged, kept and shown.

Amazon repeats what it was sent: signed addresses, credentials, a buyer's address. Its Data Protection Policy allows no
personal data in logs. A name or a city cannot be recognised, so the rest of the clause goes with an address; and a text about
one order is kept beside the order's address, is removed with it, and is not logged.
"""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable
from typing import Any

MOST = 300  # characters of one sentence of Amazon's
MOST_OF_A_NAME = 60  # of an error code, a status, a request id
_READ = 4000  # characters looked at

_ANSI = re.compile(r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b.?")
_URL = re.compile(r"://|%3A%2F%2F|\bwww\.|X-Amz-|\?.{0,99}=|[\w-]\.[\w-]{1,40}(?::\d{1,5})?/", re.IGNORECASE)
_TOKEN = re.compile(r"Atz[a-z.]|amzn1\.|\bA[KS]IA[A-Z0-9]{12}|[A-Za-z0-9]{32}")
# What is as long and as mixed as a key: hexadecimal, base64, parts joined with dots.
_RUN = re.compile(r"[\w+/=~.-]{20,}")
_MIXED = re.compile(r"[0-9A-Fa-f]*[0-9][0-9A-Fa-f]*|(?=.*[a-z])(?=.*[A-Z]).*[0-9].*|(?=.{40}).*[0-9].*")
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_NO_TOKEN = re.compile(rf"\W*{_UUID}\W*", re.IGNORECASE)
_NAMED_SECRET = re.compile(
    r"(?:secret|token|password|authorization|signature|credential)[\"']?\s*[=:]\s*[\"']?(?:Bearer\s+)?\S+",
    re.IGNORECASE,
)
# Numbers that are no telephone's: UUIDs, Amazon's order numbers, dates.
_PHONE = re.compile(
    rf"(?P<kept>\b(?:{_UUID}|[0-9]{{3}}-[0-9]{{7}}-[0-9]{{7}}|20[0-9]{{2}}-[01][0-9]-[0-3][0-9](?:T[0-9:.]*)?)\b(?!-))"
    r"|\+?\(?[0-9](?:[\s()./\-\u2010-\u2015]{0,3}[0-9]){6,}",
    re.IGNORECASE,
)
_WORDS = r"(?:[\w.'’-]{1,40}\s+)"
_KANA_OR_KANJI = r"[\u3005\u3040-\u30ff\u4e00-\u9fff]"
_ADDRESSES = (
    r"\(address removed\)",
    r"\bP\.?\s?O\.?\s?Box\s+\w+",
    rf"\b[0-9]{{1,6}}[A-Za-z]?(?:[-/][0-9]+)?,?\s+{_WORDS}{{0,4}}"
    r"(?:(?i:street|st|avenue|ave|road|rd|boulevard|blvd|lane|ln|parkway|pkwy|highway|hwy|terrace|crescent)"
    r"|Way|WAY|Place|PLACE|Pl|PL|Drive|DRIVE|Dr|DR|Court|COURT|Ct|CT|Square|SQUARE|Sq|SQ|Circle|CIRCLE|Cir|CIR|Close|CLOSE)\b\.?"
    r"(?:,\s*[^,;:\"'.()]{1,40}){0,3}",
    r"\b[\w.-]{0,40}(?i:stra(?:ß|ss)e|str\.|weg|platz|gasse|allee|straat|laan|gatan|vej)\s+[0-9]+\s?[A-Za-z]?\b",
    rf"\b[0-9]{{1,5}},?\s+(?:bis\s+|ter\s+)?(?i:rue|avenue|boulevard|chemin|quai|allée)\s+{_WORDS}{{0,4}}[\w.'’-]+",
    rf"\b(?:[Rr]ue|RUE|Via|VIA|Viale|Piazza|Corso|[Cc]alle|CALLE|Avenida|Av\.|Plaza|Rua|ul\.)\s+{_WORDS}{{1,5}}[0-9]+\w?\b",
    rf"{_KANA_OR_KANJI}{{0,20}}[都道府県市区町村郡]{_KANA_OR_KANJI}{{0,20}}[0-9]+(?:[-丁目番地号のノ]*[0-9]*)*",
    r"\b[A-Z]{2}\s+[0-9]{5}(?:-[0-9]{4})?\b",
    r"\b[A-Z]{1,2}[0-9][A-Z0-9]?\s+[0-9][A-Z]{2}\b",
    r"\b[A-Z][0-9][A-Z]\s?[0-9][A-Z][0-9]\b",
)
_ADDRESS = re.compile("|".join(_ADDRESSES))
_CLAUSE_START, _CLAUSE_END = re.compile(r"(?:[;:!?]|\.(?=\s))\s*"), re.compile(r"[;:!?]|\.(?=\s)")
_CLAUSE = 120  # characters of a clause before and after an address


def name(text: Any) -> str | None:
    """An error code or a request id; None where it is none, because a text could say anything about anybody."""
    return (
        text
        if isinstance(text, str) and re.fullmatch(r"[\w.:=-]{1,60}", text, re.ASCII) and words(text) == text
        else None
    )


def words(text: Any, most: int = MOST, *, ours: Iterable[str] = ()) -> str:
    """Make one line of something that Amazon said, without secrets, addresses and telephone numbers, and cut it.

    :param most: characters to keep
    :param ours: what we have sent ourselves and name in messages anyway, such as an order's number; it stays
    """
    line = _plain(str(text)[: _READ + 1])
    if len(line) > _READ or len(str(text)) > _READ:
        line = line[:_READ].rpartition(" ")[0]  # half a secret would not be known for one
    marks = _marked(line, ours)
    for mark, own in marks.items():
        line = re.sub(rf"(?<![\w@.+/:=%&?#-]){re.escape(own)}(?![\w@+/:=%&?#-])", mark, line)
    line = unicodedata.normalize("NFKC", line)
    line = " ".join(map(_without_secret, line.split()))
    line = _NAMED_SECRET.sub("(secret removed)", line)
    line = _without_people(line)
    for mark, own in marks.items():
        line = line.replace(mark, own)
    return cut(line, most)


def cut(text: str, most: int) -> str:
    """Cut a text that has been made with :func:`words`."""
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"


def _plain(text: str) -> str:
    """One line of printable characters; the rest is gone, private characters too, which :func:`_marked` uses."""
    letters = (
        " " if each.isspace() or unicodedata.category(each) == "Cc" else each
        for each in _ANSI.sub("", html.unescape(text))
        if unicodedata.category(each)[0] != "C" or unicodedata.category(each) == "Cc"
    )
    return " ".join("".join(letters).split())


def _marked(line: str, ours: Iterable[str]) -> dict[str, str]:
    """A private character for each text of ours that the line holds and that could be taken for something else."""
    held = [own for own in ours if own and own in line and words(own, len(own) + 99) != own]
    return {chr(0xE000 + i): own for i, own in enumerate(sorted(held, key=len, reverse=True))}


def _without_secret(word: str) -> str:
    if "@" in word or "%40" in word:
        return "(address removed)"
    is_token = _TOKEN.search(word) or any(map(_MIXED.fullmatch, _RUN.findall(word)))
    if is_token and not _NO_TOKEN.fullmatch(word):
        return "(token removed)"
    return "(URL removed)" if _URL.search(word) else word


def _without_people(line: str) -> str:
    """Without telephone numbers, and without the clauses that hold an address: beside it stands a name."""
    spans = [(*_clause_of(found.span(), line), "(address removed)") for found in _ADDRESS.finditer(line)]
    spans += [(*found.span(), "(number removed)") for found in _PHONE.finditer(line) if not found["kept"]]
    kept, end = [], 0
    for begin, stop, mark in sorted(spans):
        if begin >= end:
            kept += [line[end:begin], mark]
        end = max(end, stop)
    return "".join([*kept, line[end:]])


def _clause_of(span: tuple[int, int], line: str) -> tuple[int, int]:
    begin = max(0, span[0] - _CLAUSE)
    for boundary in _CLAUSE_START.finditer(line, begin, span[0]):
        begin = boundary.end()
    end = _CLAUSE_END.search(line, span[1], span[1] + _CLAUSE)
    return begin, end.start() if end else min(span[1] + _CLAUSE, len(line))
