"""Report documents: Amazon's bytes → rows, without loss.

Every line below the header becomes a row or a :class:`Rejected`; :meth:`Document.blocks` compares them with an
independent count of the lines and fails when they differ. Rows are handled in blocks of a few MB, so memory is bounded.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np

from fba_operators.errors import EmptyDocumentError, MissingColumnsError, UnreadableDocumentError
from fba_operators.reports.header import REPLACEMENT, Header
from fba_operators.reports.lines import GZIP, Source, codec_name, line_blocks
from fba_operators.reports.report_types import ReportType, without_rows
from fba_operators.reports.rows import (
    LIKE_A_CHANNEL,
    MISSING,
    REASONS,
    Ints,
    Kinds,
    Quantities,
    Rejected,
    Rows,
    texts_of,
    unescape,
    wrong_rows,
)
from fba_operators.words import words

BLOCK_BYTES = 4 << 20
NO_REPEATS = np.empty((0, 2), np.int64)
MANY_ODD_CHANNELS = 10  # lines of a block; as many are rather shifted than in channels that Amazon does not document

_BOM = codecs.BOM_UTF8
_BEGINNING = 2400  # bytes of a document that is no report
_JSON_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Some thousand lines of a document, in its order.

    :ivar line_numbers: of the rows; 1 is the header
    :ivar skus: of the rows, exactly as sent
    :ivar quantities: of the rows; ``BLANK`` where the report leaves it blank
    :ivar kinds: fulfillment channel or warehouse condition of the rows; empty texts for a report without
    :ivar rejected: the lines that are no rows
    """

    document: Document
    rows: Rows
    line_numbers: Ints
    skus: list[str]
    quantities: Ints
    kinds: list[str]
    rejected: list[Rejected]

    def __len__(self) -> int:
        return len(self.skus)

    def column(self, name: str) -> list[str | None]:
        """One column by our name, for each row: its text, or None where the row or the document does not have it."""
        place = self.document.header.fields.get(name)
        if place is None:
            return [None] * len(self)
        fields = self.rows.field(place)
        texts = texts_of(fields)
        return [None if field == MISSING else text for field, text in zip(fields, texts, strict=True)]

    @cached_property
    def lines(self) -> list[bytes]:
        """The rows in COPY text form, UTF-8: what ``Document.copy_columns`` names after the line number."""
        document = self.document
        if document.copies_whole_lines:
            return self.rows.lines()
        if document.header.extra:
            return list(map(document.with_extra, self.rows.lines()))
        return self.rows.columns(document.copied_runs)

    @cached_property
    def digests(self) -> bytes:
        """BLAKE2b-128 of each row, one after the other: equal for rows with equal values in equal columns.

        A hash that nobody can make collide, since rows of equal digests count as one and the same.
        """
        return _digests(self.lines, self.document.columns_digest)

    def copy_text(self, leading: bytes = b"") -> bytes:
        """The rows for ``COPY … (…, <Document.copy_columns>) FROM STDIN`` in text format, UTF-8.

        :param leading: fields put before each row, already in COPY form and each with its tab (store, report id)
        """
        line = leading.replace(b"%", b"%%") + b"%d\t%b\n"
        return b"".join(map(line.__mod__, zip(self.line_numbers.tolist(), self.lines, strict=True)))

    def copy_text_of(self, places: Iterable[int], leading: bytes = b"") -> bytes:
        """Some rows as in :meth:`copy_text`, each with its digest as the last field.

        :param places: of the rows in this block
        """
        line = leading.replace(b"%", b"%%") + b"%d\t%b\t\\\\x%b\n"
        numbers, lines, digests = self.line_numbers.tolist(), self.lines, hexlify(self.digests)
        return b"".join([line % (numbers[k], lines[k], digests[32 * k : 32 * k + 32]) for k in places])


def _escaped(text: bytes) -> bytes:
    """Lines in COPY text form, in which tab and newline stay as they are."""
    if b"\\" in text:
        text = text.replace(b"\\", b"\\\\")
    if b"\r" in text:
        text = text.replace(b"\r", b"\\r")
    return text


def _digests(lines: Iterable[bytes], columns: bytes) -> bytes:
    blake2b = hashlib.blake2b
    return b"".join([blake2b(line, digest_size=16, person=columns).digest() for line in lines])


def _repeats(rows: Ints) -> Ints:
    """The places of rows that are equal to an earlier one, each beside that of the first such row."""
    ordered = np.sort(rows)
    if not (ordered[1:] == ordered[:-1]).any():
        return NO_REPEATS
    order = np.argsort(rows, kind="stable")
    begins = np.append(True, rows[order[1:]] != rows[order[:-1]])
    firsts = order[begins][np.cumsum(begins) - 1]
    repeats: Ints = np.stack([order, firsts], axis=1)[~begins]
    return repeats


def _second_body(rows: Ints) -> Ints:
    """The same of rows that all come again in the same order; none where they do not, or are all equal."""
    lengths = np.flatnonzero(rows == rows[:1])[1:]
    for length in lengths[len(rows) % lengths == 0].tolist():
        if (rows[length:] == rows[:-length]).all():
            places = np.arange(length, len(rows))
            return np.stack([places, places % length], axis=1) if length > 1 else NO_REPEATS
    return NO_REPEATS


def _decodes(data: bytes, charset: str) -> bool:
    try:
        data.decode(charset)
    except UnicodeDecodeError:
        return False
    return True


class ReadAgainError(Exception):
    """A document that began like UTF-8 is in another charset, so what was read of it is to be dropped and read again."""


class _Utf8Sample:
    """Whether a document is UTF-8, judged by its first lines beyond ASCII: some damage does not make another charset.

    Amazon cuts titles inside a letter, which is no sign against UTF-8 where that is declared. Columns that must be exact
    are not cut: where they are UTF-8, the texts do not decide.

    :param exact: places of those columns
    """

    SIZE = 2000

    def __init__(self, exact: frozenset[int]) -> None:
        self._exact = exact
        self._lines = self._cut = 0
        self._exact_votes = self._votes = 0  # above 0: for UTF-8

    def add(self, lines: bytes) -> None:
        for line in lines.split(b"\n") if self._lines < self.SIZE else ():
            if self._lines < self.SIZE and not line.isascii():
                self._lines += 1
                for place, field in enumerate(line.split(b"\t")):
                    if not field.isascii():
                        self._add_field(field, is_exact=place in self._exact)

    def _add_field(self, field: bytes, *, is_exact: bool) -> None:
        text, whole = codecs.utf_8_decode(field, "replace", is_exact)  # False: without a letter that is cut at the end
        self._cut += whole < len(field)
        wrong = text.count(REPLACEMENT)
        if is_exact:
            self._exact_votes += -1 if wrong else 1
        self._votes += len(text) - len(text.encode("ascii", "ignore")) - 2 * wrong

    def is_utf8(self, *, declared: bool) -> bool:
        """:param declared: whether that is what Amazon says it is"""
        if self._exact_votes > 0 or self._votes > (0 if declared else self._cut):
            return True
        return declared and self._exact_votes == self._votes == 0


class Document:
    """A report document that can be read more than once, in bounded memory.

    The constructor makes one pass over the document, to choose its charset, read its header and count its lines; or it
    reads the header alone.

    :param source: called for each pass, gives the document's bytes as Amazon sent them, gzip or not
    :param report_type: what the document should be
    :param charset: of the download's Content-Type, or None
    :param usual_charset: of the marketplace, for when nothing else fits
    :param block_bytes: about how much of the document a block holds
    :param scan: make that pass. Otherwise the document counts as UTF-8 until a byte says something else, and
        :meth:`blocks` may raise :class:`ReadAgainError`
    :ivar line_count: lines below the header; without ``scan`` known after the first pass
    :ivar repeated_rows: after a pass, the place (from 0) of each row that repeats an earlier one, and of the first such row, of a
        report type whose rows are unique; of another type only where all rows come again in the same order
    :ivar replaced_lines: lines of the last pass in which a byte that does not decode was replaced, at no loss
    :raises DamagedDocumentError: truncated or corrupt gzip
    :raises UnreadableDocumentError: empty, without a required column, or no report at all
    """

    replaced_lines = 0
    repeated_rows = NO_REPEATS

    def __init__(
        self,
        source: Source,
        report_type: ReportType,
        *,
        charset: str | None,
        usual_charset: str,
        block_bytes: int = BLOCK_BYTES,
        scan: bool = True,
    ) -> None:
        self.report_type = report_type
        self._source = source
        self._block_bytes = block_bytes
        self._quantities, self._kinds = Quantities(), Kinds()
        usual = codec_name(usual_charset)
        if usual is None:
            raise ValueError(f"{usual_charset!r} is not a charset that reports can be read in")
        self._charsets = codec_name(charset), usual
        self._scanned: int | None = None
        self.line_count = 0
        self._first = b""
        if not scan:
            self._begin(next(line_blocks(self._source, self._block_bytes), b""))
        if scan or not _decodes(self._first, "utf-8"):
            self.charset, self.decodes = self._scan()
        else:
            self.charset, self.decodes = "utf-8", True
        self._header_line = self._first.partition(b"\n")[0]
        if b"\t" not in self._first:
            text = without_rows(self._first[:_BEGINNING].decode(self.charset, "replace"), report_type)
            raise UnreadableDocumentError(
                f"{report_type.name}: the document is no report, it holds no tab. Amazon says in it", detail=words(text)
            )
        if b"\r" in self._header_line:
            raise UnreadableDocumentError(
                f"{report_type.name}: the header holds a carriage return, so the lines do not end as in Amazon's reports."
            )
        self.header = Header.parse(self._header_line.decode(self.charset, "replace"), report_type)

    def _begin(self, block: bytes) -> None:
        if not block:
            raise EmptyDocumentError(f"{self.report_type.name}: the document is empty, it has no header.")
        self._refuse_other_formats(block)
        self._first = block.removeprefix(_BOM)

    def _scan(self) -> tuple[str, bool]:
        """Count the lines and choose the charset.

        UTF-8 is tried first, whatever is declared: text beyond ASCII hardly ever decodes as UTF-8 by chance, and
        documents in UTF-8 have been labelled Cp1252. What is UTF-8 but for some bytes that are damaged or cut stays UTF-8.

        :return: the charset, and whether every byte decodes in it
        """
        declared, usual = self._charsets
        count, candidates = 0, dict.fromkeys(filter(None, ("utf-8", declared, usual)))
        sample = None
        for block in line_blocks(self._source, self._block_bytes):
            if count == 0:
                self._begin(block)
            text = block if count else self._first
            count += block.count(b"\n") + (not block.endswith(b"\n"))
            if not text.isascii():
                sample = sample or _Utf8Sample(self._exact_places())
                sample.add(text)
                candidates = dict.fromkeys(charset for charset in candidates if _decodes(text, charset))
        if count == 0:
            self._begin(b"")
        self._scanned = self.line_count = count - 1
        if sample and "utf-8" not in candidates and sample.is_utf8(declared=declared == "utf-8"):
            return "utf-8", False
        return next(((charset, True) for charset in candidates), (declared or usual, False))

    def _exact_places(self) -> frozenset[int]:
        """Where the columns are that must be exact, as far as that can be told before the charset is known."""
        try:
            header = Header.parse(self._first.partition(b"\n")[0].decode("utf-8", "replace"), self.report_type)
        except MissingColumnsError:
            return frozenset()
        return frozenset(header.fields[each] for each in self.report_type.exact_columns if each in header.fields)

    @staticmethod
    def _refuse_other_formats(first: bytes) -> None:
        if first.startswith(GZIP):
            raise UnreadableDocumentError("The document is gzip inside gzip; Amazon is not known to send that.")
        if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise UnreadableDocumentError("The document is UTF-16; Amazon is not known to send that.")

    @cached_property
    def _copied(self) -> tuple[tuple[str, int], ...]:
        personal = self.report_type.personal
        kept = [(column, place) for column, place in self.header.fields.items() if column not in personal]
        return tuple(sorted(kept, key=itemgetter(1)))

    @property
    def copy_columns(self) -> tuple[str, ...]:
        """Columns of :meth:`Block.copy_text`: line number, the known columns found, ``extra`` if there is any."""
        extra = ("extra",) if self.header.extra else ()
        return ("line_number", *(column for column, _ in self._copied), *extra)

    @cached_property
    def columns_digest(self) -> bytes:
        """16 bytes that tell the columns of :meth:`Block.lines` from others."""
        return hashlib.blake2b("\n".join(self.copy_columns).encode(), digest_size=16).digest()

    @cached_property
    def copies_whole_lines(self) -> bool:
        """Whether a line in COPY form holds the columns to copy, and no other."""
        return len(self._copied) == len(self.header.names)

    @cached_property
    def copied_runs(self) -> list[tuple[int, int]]:
        """First and last place of the columns to copy, each run of neighbours together."""
        places = [place for _, place in self._copied]
        begins = [place for place in places if place - 1 not in places]
        ends = [place for place in places if place + 1 not in places]
        return list(zip(begins, ends, strict=True))

    @cached_property
    def with_extra(self) -> Callable[[bytes], bytes]:
        """Turns a line in COPY form into the columns to copy, the last of which is ``extra``."""
        extra = self.header.extra
        # Two places at least, so that itemgetter always answers with a tuple: required columns are never personal.
        known = itemgetter(*(place for _, place in self._copied))
        # Most extra fields need no escaping; then filling in a ready JSON text is three times as fast.
        keys = (json.dumps(name, ensure_ascii=False).replace("\\", "\\\\").replace("%", "%%") for _, name in extra)
        template = ("{" + ", ".join(f'{key}: "%b"' for key in keys) + "}").encode()

        def with_extra(line: bytes) -> bytes:
            fields = line.split(b"\t")
            plain = tuple([fields[i] for i, _ in extra])
            if not _JSON_ESCAPED.search(b"".join(plain)):
                return b"\t".join((*known(fields), template % plain))
            values = {name: unescape(fields[i].decode()) for i, name in extra if fields[i] != MISSING}
            document = json.dumps(values, ensure_ascii=False).replace("\\", "\\\\").encode()
            return b"\t".join((*known(fields), document))

        return with_extra

    def blocks(self) -> Iterator[Block]:
        """All lines below the header, in order; may be called again.

        :raises DocumentError: also when rows and rejected lines do not add up to the document's lines
        :raises ReadAgainError: only without ``scan``, and only in the first pass
        """
        seen, count, ascii_so_far = 0, 0, True
        self.replaced_lines = 0
        hashes: list[Ints] = []
        for number, raw in enumerate(line_blocks(self._source, self._block_bytes)):
            first_line = count + 1 if number else 2
            whole = raw.endswith(b"\n")
            lines = raw if whole else raw + b"\n"
            count += lines.count(b"\n")
            if self._scanned is None and not raw.isascii():
                if not _decodes(raw, "utf-8"):
                    self.charset, self.decodes = self._scan()
                    if not ascii_so_far and self.charset != "utf-8":
                        raise ReadAgainError
                ascii_so_far = False
            data = lines.partition(b"\n")[2] if number == 0 else lines
            if not data:
                continue
            self._refuse_second_header(data, first_line)
            block = self._block(data, first_line, torn=not whole and self._last_field_counts)
            hashes.append(np.frombuffer(block.digests, np.int64)[::2])
            seen += len(block) + len(block.rejected)
            yield block
        if self._scanned is None:
            self._scanned = self.line_count = count - 1
        if seen != self.line_count or count - 1 != self.line_count:
            raise UnreadableDocumentError(
                f"{self.report_type.name}: {self.line_count} lines came in, but rows and rejected lines are {seen}. "
                "The document changed while it was read, or this is a bug; nothing of it should be kept."
            )
        if hashes:
            repeats = _repeats if self.report_type.unique_rows else _second_body
            self.repeated_rows = repeats(np.concatenate(hashes))

    def unread_digests(self) -> Iterator[bytes | None]:
        """What :attr:`Block.digests` would be if every line is a row; None where that cannot be told without reading it.

        A third of the work of :meth:`blocks`. A line that is no row has no row's digest.
        """
        if not self.copies_whole_lines or self.charset != "utf-8" or not self.decodes:
            yield None
            return
        for number, raw in enumerate(line_blocks(self._source, self._block_bytes)):
            data = raw.partition(b"\n")[2] if number == 0 else raw
            if b"\0" in data or not data.endswith(b"\n") or not (data.isascii() or _decodes(data, "utf-8")):
                yield None
                return
            yield _digests(_escaped(data).split(b"\n")[:-1], self.columns_digest)

    def _refuse_second_header(self, lines: bytes, first_line: int) -> None:
        header = self._header_line + b"\n"
        if header in lines:
            for number, line in enumerate(lines.split(b"\n"), start=first_line):
                if line.removeprefix(_BOM) == self._header_line:
                    raise UnreadableDocumentError(
                        f"{self.report_type.name}: line {number} is a second header, so the document holds its rows twice "
                        "or is put together from several. Nothing of it is used."
                    )

    @property
    def _last_field_counts(self) -> bool:
        """Whether a document that is cut within its last field states fewer units than Amazon wrote, or another SKU."""
        last = len(self.header.names) - 1
        return last in (self.header.fields[self.report_type.quantity], self.header.fields[self.report_type.sku])

    def _block(self, raw: bytes, first_line: int, *, torn: bool) -> Block:
        reasons: dict[int, str] = {}
        skus: dict[int, str] = {}
        text, replaced = self._utf8(raw)
        if b"\0" in text:
            place = self.header.fields[self.report_type.sku]
            for i, each in enumerate(text.split(b"\n")):
                if b"\0" in each and b"\0" in b"".join(each.split(b"\t")[place : place + 1]):
                    reasons.setdefault(i, "the SKU holds a NUL character")
            text = text.replace(b"\0", REPLACEMENT.encode())
        text = _escaped(text)
        rows, places, reshaped = self._shape(text, reasons)
        if torn:
            last = text.count(b"\n") - 1
            reasons.setdefault(last, "the document ends within this line, or after it without a line end")
        unsure = set(reasons) | self._check_replaced(rows, places, replaced, reasons)
        fields = {column: rows.field(self.header.fields[column]) for column in self.report_type.checks}
        found_skus = texts_of(fields[self.report_type.sku])
        quantities = list(map(self._quantities.__getitem__, fields[self.report_type.quantity]))
        kind = self.report_type.kind
        kinds = list(map(self._kinds.__getitem__, fields[kind])) if kind else [""] * len(found_skus)
        shifted = self._check(
            *(rows, reshaped), fields=fields, skus=found_skus, quantities=quantities, places=places, reasons=reasons
        )
        if torn and text[:-1].rpartition(b"\n")[2].count(b"\t") <= self.header.fields[self.report_type.sku]:
            shifted.add(last)  # perhaps only a part of the SKU is there
        raw_lines = raw.split(b"\n") if reasons else []
        if reasons:
            numbers = places.tolist()
            for k, i in enumerate(numbers):
                if i in reasons and i not in shifted and not (i in unsure and REPLACEMENT in found_skus[k]):
                    skus[i] = found_skus[k]
            if self.report_type.personal:  # a stray tab may have put a buyer's telephone number there
                skus.clear()
            good = [k for k, i in enumerate(numbers) if i not in reasons]
            lines = rows.lines()
            rows = Rows.index(b"".join([lines[k] + b"\n" for k in good]), len(self.header.names))
            places = places[good]
            found_skus, kinds = [found_skus[k] for k in good], [kinds[k] for k in good]
            quantities = [quantities[k] for k in good]
        rejected = [Rejected(first_line + i, reasons[i], raw_lines[i], skus.get(i)) for i in sorted(reasons)]
        return Block(
            document=self,
            rows=rows,
            line_numbers=places + first_line,
            skus=found_skus,
            quantities=np.array(quantities, np.int64),
            kinds=kinds,
            rejected=rejected,
        )

    def _utf8(self, raw: bytes) -> tuple[bytes, set[int]]:
        """The lines as UTF-8, U+FFFD in place of bytes that do not decode; and the lines (from 0) that have such."""
        if self.decodes or raw.isascii():
            return (raw if self.charset in ("utf-8", "ascii") else raw.decode(self.charset).encode()), set()
        lines = raw.split(b"\n")
        odd = {i for i, line in enumerate(lines) if not line.isascii() and not _decodes(line, self.charset)}
        return b"\n".join(line.decode(self.charset, "replace").encode() for line in lines), odd

    def _check_replaced(self, rows: Rows, places: Ints, replaced: set[int], reasons: dict[int, str]) -> set[int]:
        """Reject lines in which bytes were replaced in a column that must be exact; count the others.

        :return: the lines that were rejected
        """
        if not replaced:
            return set()
        exact = [column for column in self.report_type.exact_columns if column in self.header.fields]
        fields = {column: rows.field(self.header.fields[column]) for column in exact}
        bad = {}
        for k, i in enumerate(places.tolist()):
            if i in replaced:
                wrong = [column for column in exact if REPLACEMENT.encode() in fields[column][k]]
                if wrong:
                    name = self.report_type.amazon_name(wrong[0])
                    bad[i] = f"{name} does not decode as {self.charset}"
        for i, reason in bad.items():
            reasons.setdefault(i, reason)
        self.replaced_lines += len(replaced - set(reasons))
        return set(bad)

    def _shape(self, text: bytes, reasons: dict[int, str]) -> tuple[Rows, Ints, set[int]]:
        """Give every line one field per header name, and say which lines (counted from 0) are left.

        :return: rows, their lines, and those lines among them that had another number of fields
        """
        width = len(self.header.names)
        rows = Rows.index(text, width)
        if rows.regular:
            return rows, np.arange(len(rows.ends), dtype=np.int64), set()
        needed = max(self.header.fields[column] for column in self.report_type.required) + 1
        lines, places, reshaped = [], [], set()
        for i, line in enumerate(text.split(b"\n")[:-1]):
            count = line.count(b"\t") + 1
            shaped = line
            if count > width:
                fields = line.split(b"\t")
                if any(fields[width:]):
                    reasons[i] = f"the line has {count} fields, the header {width}"
                    continue
                shaped = b"\t".join(fields[:width])
            elif count < needed:
                reasons[i] = (
                    "the line is empty" if not line else f"the line ends after {count} fields, {needed} are needed"
                )
                continue
            elif count < width:
                shaped = line + (b"\t" + MISSING) * (width - count)
            if count != width:
                reshaped.add(i)
            lines.append(shaped + b"\n")
            places.append(i)
        return Rows.index(b"".join(lines), width), np.array(places, dtype=np.int64), reshaped

    def _check(
        self,
        rows: Rows,
        reshaped: set[int],
        *,
        fields: Mapping[str, list[bytes]],
        skus: list[str],
        quantities: list[int],
        places: Ints,
        reasons: dict[int, str],
    ) -> set[int]:
        """Run the row checks and add their reasons.

        :param reshaped: lines that had another number of fields than the header
        :return: the lines whose SKU field cannot be trusted to hold the SKU
        """
        shifted: set[int] = set()
        for column, check in self.report_type.checks.items():
            wrong = {
                k: REASONS[check].format(self.report_type.amazon_name(column))
                for k in wrong_rows(check, fields[column], skus, quantities)
            }
            for place, repeated in self.header.repeats:
                if repeated == column:
                    for k, (one, other) in enumerate(zip(fields[column], rows.field(place), strict=True)):
                        if one != other:
                            wrong.setdefault(
                                k, f"two columns that both mean {self.report_type.amazon_name(column)} differ"
                            )
            lines = {int(places[k]): reason for k, reason in wrong.items()}
            for i, reason in lines.items():
                reasons.setdefault(i, reason)
            if check == "sku":
                shifted.update(lines)
            elif check == "channel":  # an undocumented channel alone is no sign of a shifted row
                odd = {int(places[k]) for k in wrong if not LIKE_A_CHANNEL.fullmatch(fields[column][k])}
                shifted.update(odd if len(odd) > MANY_ODD_CHANNELS else odd & reshaped)
        return shifted
