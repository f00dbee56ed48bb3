r"""Report documents: Amazon's bytes → rows, without loss.

A report is tab-separated text without quoting, and its lines end at ``\n`` only (DESIGN: a CSV reader takes a ``"``
in a title, a lone ``\r`` or the word ``null`` for more than text). Every line below the header becomes a row or a
:class:`Rejected`; :meth:`Document.blocks` counts them against an independent count and fails when they differ.

Rows are handled a block of a few MB at a time, as UTF-8 already in PostgreSQL's COPY text form, with an index of
where each field ends. That form keeps tabs and newlines as the only separators, so most lines are copied as sent.
"""

from __future__ import annotations

import codecs
import json
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from fba_operators.errors import DamagedDocumentError, EmptyDocumentError, UnreadableDocumentError
from fba_operators.reports.header import REPLACEMENT, Header
from fba_operators.reports.report_types import Check, ReportType

Source = Callable[[], Iterable[bytes]]
"""Called once per pass over the document: its bytes in chunks of any size, as Amazon sent them."""

BLANK = -1
"""A quantity that the report leaves blank: not said here, which is not zero."""

MAX_QUANTITY = 10**9
BLOCK_BYTES = 4 << 20
MAX_LINE_BYTES = 16 << 20

_BOM = codecs.BOM_UTF8
_GZIP = b"\x1f\x8b"
_GUNZIP_STEP = 1 << 20
_PIECE = 1 << 16
_MISSING = b"\\N"

# Only charsets in which the bytes of tab and newline stand for nothing else, so that lines can be cut before decoding.
_LINE_SAFE = re.compile(r"utf-8|ascii|cp125\d|iso8859-\d+|cp932|euc_jp|gbk|gb18030|big5|euc_kr|cp949")
_CODEC_NAMES = {"utf-8-sig": "utf-8", "shift_jis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932", "gb2312": "gbk"}

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Rejected:
    """A line that is kept aside because it cannot be read as a row.

    :param line_number: 1 is the header
    :param reason: why, without any of the line's values
    :param raw: the line's bytes in the document's charset, without its line end
    :param sku: the SKU, when the line is whole enough for it to be trusted
    """

    line_number: int
    reason: str
    raw: bytes
    sku: str | None


def codec_name(charset: str | None) -> str | None:
    """Python's codec for a charset that Amazon names (``Cp1252``, ``windows-31j``), or None when we cannot use it.

    Shift_JIS becomes cp932, the superset that Amazon's Japanese reports are really written in.
    """
    try:
        name = codecs.lookup(_CODEC_NAMES.get((charset or "").lower(), charset or "")).name
    except (LookupError, ValueError):
        return None
    name = _CODEC_NAMES.get(name, name)
    return name if _LINE_SAFE.fullmatch(name) else None


# --- bytes → lines ---------------------------------------------------------------------------------------------------


def _pieces(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in chunks that are small and not empty, whatever the source gives."""
    for chunk in chunks:
        for start in range(0, len(chunk), _PIECE):
            yield chunk[start : start + _PIECE]


def _gunzip(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks, unzipped once if they begin like gzip, in pieces of bounded size."""
    stream = _pieces(chunks)
    head = b""
    while len(head) < len(_GZIP) and (chunk := next(stream, None)) is not None:
        head += chunk
    if not head.startswith(_GZIP):
        yield head
        yield from stream
        return
    try:
        yield from _members(head, stream)
    except zlib.error as error:
        raise DamagedDocumentError(f"The gzip document is corrupt ({error}): download it again.") from error


def _members(data: bytes, stream: Iterator[bytes]) -> Iterator[bytes]:
    """Unzip gzip members that follow one another, zero padding between them allowed."""
    member = zlib.decompressobj(wbits=31)
    while True:
        out = member.decompress(data, _GUNZIP_STEP)
        yield out
        if member.eof:
            data = member.unused_data.lstrip(b"\0")
            while not data:
                chunk = next(stream, None)
                if chunk is None:
                    return
                data = chunk.lstrip(b"\0")
            member = zlib.decompressobj(wbits=31)
            continue
        data = member.unconsumed_tail or next(stream, b"")
        if not data and not out:
            raise DamagedDocumentError("The gzip document is truncated, its end is missing: download it again.")


def _last_line_end(data: bytes, crlf: bool) -> int:
    """Where the last line that is not empty ends (the place of its newline), or -1."""
    end = data.rfind(b"\n")
    while end > 0:
        if data.endswith(b"\n", 0, end):
            end -= 1
        elif crlf and (data.endswith(b"\n\r", 0, end) or (end == 1 and data[:1] == b"\r")):
            end -= 2
        else:
            return end
    return -1


def _line_blocks(source: Source, block_bytes: int) -> Iterator[bytes]:
    """Whole lines in blocks, each line ending in a newline, without the empty lines at the document's very end.

    A document whose header ends in CR LF is taken to end its lines so: one CR before each newline is dropped. In any
    other document, and elsewhere in a line, CR is text.
    """
    parts: list[bytes] = []
    size, wanted, crlf, first = 0, block_bytes, False, True

    def finished(lines: bytes) -> bytes:
        return lines.replace(b"\r\n", b"\n") if crlf else lines

    for chunk in _gunzip(source()):
        parts.append(chunk)
        size += len(chunk)
        if size < wanted:
            continue
        data = b"".join(parts)
        if first:
            newline = data.find(b"\n")
            crlf = newline > 0 and data[newline - 1] == 0x0D
        end = _last_line_end(data, crlf)
        if end >= 0:
            yield finished(data[: end + 1])
            first = False
        elif size > MAX_LINE_BYTES:
            raise UnreadableDocumentError(
                f"The document has a line (or a run of empty lines) over {MAX_LINE_BYTES} bytes: it is no report."
            )
        parts = [data[end + 1 :]]
        size = len(parts[0])
        wanted = max(block_bytes, 2 * size)
    data = b"".join(parts)
    if first:
        newline = data.find(b"\n")
        crlf = newline > 0 and data[newline - 1] == 0x0D
    # The last line may lack its newline; then a CR at its end is text.
    tail = finished(data)
    if not tail.endswith(b"\n"):
        tail += b"\n"
    end = _last_line_end(tail, crlf=False)
    if end >= 0:
        yield tail[: end + 1]


# --- rows ------------------------------------------------------------------------------------------------------------

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_JSON_ESCAPED = re.compile(rb'[\x00-\x1f"\\]')


def _unescape(field: str) -> str:
    return _ESCAPED.sub(lambda match: "\r" if match[1] == "r" else match[1], field)


class _Quantities(dict[bytes, int]):
    """Field → quantity; -1 is blank, -2 is not a quantity."""

    def __missing__(self, field: bytes) -> int:
        quantity = -2
        if not field:
            quantity = BLANK
        elif match := re.fullmatch(rb"0*([0-9]{1,10})(?:\.0)?", field):
            quantity = int(match[1])
            if quantity > MAX_QUANTITY:
                quantity = -2
        if len(self) < 100_000:
            self[field] = quantity
        return quantity


class _Kinds(dict[bytes, str]):
    """Field → its one shared text."""

    def __missing__(self, field: bytes) -> str:
        text = _unescape(field.decode())
        if len(self) < 100_000:
            self[field] = text
        return text


class _Rows:
    """Rows of one width in COPY form, each ending in a newline, with the place where each field ends."""

    def __init__(self, text: bytes, ends: Ints, regular: bool) -> None:
        self.text = text
        self.ends = ends
        self.regular = regular

    @classmethod
    def index(cls, text: bytes, width: int) -> _Rows:
        """Find the field ends; ``regular`` is false (and the ends of no use) when a line has another width."""
        octets = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero((octets == 0x09) | (octets == 0x0A)).astype(np.int64, copy=False)
        if len(ends) % width:
            return cls(text, ends, False)
        table = ends.reshape(-1, width)
        newline = octets[table] == 0x0A
        return cls(text, table, not newline[:, :-1].any() and bool(newline[:, -1].all()))

    def field(self, place: int) -> list[bytes]:
        ends = self.ends[:, place].tolist()
        before = self.ends[:, place - 1] if place else np.concatenate([[-1], self.ends[:, -1]])[:-1]
        starts = (before + 1).tolist()
        text = self.text
        return [text[start:end] for start, end in zip(starts, ends, strict=True)]

    def lines(self) -> list[bytes]:
        return self.text.split(b"\n")[:-1]


def _texts(fields: list[bytes]) -> list[str]:
    """Fields in COPY form → their text."""
    if not fields:
        return []
    joined = b"\n".join(fields).decode()
    texts = joined.split("\n")
    return [_unescape(text) if "\\" in text else text for text in texts] if "\\" in joined else texts


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
    rows: _Rows
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
        texts = _texts(fields)
        return [None if field == _MISSING else text for field, text in zip(fields, texts, strict=True)]

    def copy_text(self, leading: bytes = b"") -> bytes:
        """The rows for ``COPY … (…, <Document.copy_columns>) FROM STDIN`` in text format, UTF-8.

        :param leading: fields put before each row, already in COPY form and each with its tab (store, report id)
        """
        line = leading.replace(b"%", b"%%") + b"%d\t%b\n"
        lines: Iterable[bytes] = self.rows.lines()
        rebuild = self.document.rebuild
        if rebuild:
            lines = map(rebuild, lines)
        return b"".join(map(line.__mod__, zip(self.line_numbers.tolist(), lines, strict=True)))


class Document:
    """A report document that can be read more than once, in bounded memory.

    Making one reads the whole document once, to decide on its charset, read its header and count its lines.

    :param source: called for each pass, gives the document's bytes as Amazon sent them, gzip or not
    :param report_type: what the document should be
    :param charset: of the download's Content-Type, or None
    :param usual_charset: of the marketplace, for when nothing else fits
    :param block_bytes: about how much of the document a block holds
    :raises DamagedDocumentError: truncated or corrupt gzip
    :raises UnreadableDocumentError: empty, without a required column, or no report at all
    """

    def __init__(
        self,
        source: Source,
        report_type: ReportType,
        *,
        charset: str | None,
        usual_charset: str,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.report_type = report_type
        self._source = source
        self._block_bytes = block_bytes
        self._quantities, self._kinds = _Quantities(), _Kinds()
        usual = codec_name(usual_charset)
        if usual is None:
            raise ValueError(f"{usual_charset!r} is not a charset that reports can be read in")
        told = codec_name(charset)
        self.charset, self.decodes = self._decide([*([told] if told else []), "utf-8", usual])
        header = self._header_line.decode(self.charset, "replace")
        self.header = Header.parse(header, report_type)

    def _decide(self, candidates: list[str]) -> tuple[str, bool]:
        """The first charset that decodes the whole document; else the last, and False.

        Each charset tried costs a pass over the whole document.
        """
        tried: set[str] = set()
        for candidate in candidates:
            if candidate in tried:
                continue
            charset, decodes = self._try(candidate, bom_decides=not tried)
            if decodes:
                return charset, True
            tried.add(charset)
            if charset != candidate:  # a BOM that lied; what the download said is still to be tried
                charset, decodes = self._try(candidate, bom_decides=False)
                if decodes:
                    return charset, True
                tried.add(charset)
        return candidates[-1], False

    def _try(self, charset: str, *, bom_decides: bool) -> tuple[str, bool]:
        """One whole pass, which also finds the header and counts the lines.

        :return: the charset tried (UTF-8 if there is a BOM and it decides) and whether everything decodes
        """
        count, decodes = 0, True
        for block in _line_blocks(self._source, self._block_bytes):
            text = block
            if count == 0:
                self._refuse_other_formats(block)
                text = block.removeprefix(_BOM)
                self._header_line = text.partition(b"\n")[0]
                if bom_decides and len(text) < len(block):
                    charset = "utf-8"
            if decodes:
                try:
                    text.decode(charset)
                except UnicodeDecodeError:
                    decodes = False
            count += block.count(b"\n")
        if not count:
            raise EmptyDocumentError(f"{self.report_type.name}: the document is empty, it has no header.")
        self.line_count = count - 1
        return charset, decodes

    @staticmethod
    def _refuse_other_formats(first: bytes) -> None:
        if first.startswith(_GZIP):
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
    def rebuild(self) -> Callable[[bytes], bytes] | None:
        """Turns a line in COPY form into the columns to copy; None when that is the line itself."""
        places = [place for _, place in self._copied]
        if len(places) == len(self.header.names):
            return None
        # Two places at least, so that itemgetter always answers with a tuple: required columns are never personal.
        known = itemgetter(*places)
        if not self.header.extra:
            return lambda line: b"\t".join(known(line.split(b"\t")))
        extra = self.header.extra
        # Most extra fields need no escaping; then filling in a ready JSON text is three times as fast.
        keys = (json.dumps(name, ensure_ascii=False).replace("\\", "\\\\").replace("%", "%%") for _, name in extra)
        template = ("{" + ", ".join(f'{key}: "%b"' for key in keys) + "}").encode()

        def with_extra(line: bytes) -> bytes:
            fields = line.split(b"\t")
            plain = tuple([fields[i] for i, _ in extra])
            if not _JSON_ESCAPED.search(b"".join(plain)):
                return b"\t".join((*known(fields), template % plain))
            values = {name: _unescape(fields[i].decode()) for i, name in extra if fields[i] != _MISSING}
            document = json.dumps(values, ensure_ascii=False).replace("\\", "\\\\").encode()
            return b"\t".join((*known(fields), document))

        return with_extra

    def blocks(self) -> Iterator[Block]:
        """All lines below the header, in order; may be called again.

        :raises DocumentError: also when rows and rejected lines do not add up to the document's lines
        """
        seen, line = 0, 2
        for number, raw in enumerate(_line_blocks(self._source, self._block_bytes)):
            data = raw.partition(b"\n")[2] if number == 0 else raw
            if not data:
                continue
            block = self._block(data, line)
            line += data.count(b"\n")
            seen += len(block) + len(block.rejected)
            yield block
        if seen != self.line_count:
            raise UnreadableDocumentError(
                f"{self.report_type.name}: {self.line_count} lines came in, but rows and rejected lines are {seen}. "
                "The document changed while it was read, or this is a fault of ours; nothing of it should be kept."
            )

    def _block(self, raw: bytes, first_line: int) -> Block:
        reasons: dict[int, str] = {}
        skus: dict[int, str] = {}
        text = self._utf8(raw, reasons)
        if b"\0" in text:
            place = self.header.fields[self.report_type.sku]
            for i, each in enumerate(text.split(b"\n")):
                if b"\0" in each and b"\0" in b"".join(each.split(b"\t")[place : place + 1]):
                    reasons.setdefault(i, "the SKU holds a NUL character")
            text = text.replace(b"\0", REPLACEMENT.encode())
        if b"\\" in text:
            text = text.replace(b"\\", b"\\\\")
        if b"\r" in text:
            text = text.replace(b"\r", b"\\r")
        unsure = set(reasons)
        rows, places = self._shape(text, reasons)
        fields = {column: rows.field(self.header.fields[column]) for column in self.report_type.checks}
        found_skus = _texts(fields[self.report_type.sku])
        quantities = list(map(self._quantities.__getitem__, fields[self.report_type.quantity]))
        kind = self.report_type.kind
        kinds = list(map(self._kinds.__getitem__, fields[kind])) if kind else [""] * len(found_skus)
        shifted = self._check(
            rows, fields=fields, skus=found_skus, quantities=quantities, places=places, reasons=reasons
        )
        raw_lines = raw.split(b"\n") if reasons else []
        if reasons:
            numbers = places.tolist()
            for k, i in enumerate(numbers):
                if i in reasons and i not in shifted and not (i in unsure and REPLACEMENT in found_skus[k]):
                    skus[i] = found_skus[k]
            good = [k for k, i in enumerate(numbers) if i not in reasons]
            lines = rows.lines()
            rows = _Rows.index(b"".join([lines[k] + b"\n" for k in good]), len(self.header.names))
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

    def _utf8(self, raw: bytes, reasons: dict[int, str]) -> bytes:
        """The lines as UTF-8; lines that do not decode get U+FFFD and a reason."""
        if self.decodes:
            return raw if self.charset in ("utf-8", "ascii") else raw.decode(self.charset).encode()
        lines = []
        for i, line in enumerate(raw.split(b"\n")):
            text = line.decode(self.charset, "replace")
            try:
                line.decode(self.charset)
            except UnicodeDecodeError:
                reasons[i] = f"the line does not decode as {self.charset}"
            lines.append(text.encode())
        return b"\n".join(lines)

    def _shape(self, text: bytes, reasons: dict[int, str]) -> tuple[_Rows, Ints]:
        """Give every line one field per header name, and say which lines (counted from 0) are left."""
        width = len(self.header.names)
        rows = _Rows.index(text, width)
        if rows.regular:
            return rows, np.arange(len(rows.ends), dtype=np.int64)
        needed = max(self.header.fields[column] for column in self.report_type.required) + 1
        lines, places = [], []
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
                shaped = line + (b"\t" + _MISSING) * (width - count)
            lines.append(shaped + b"\n")
            places.append(i)
        return _Rows.index(b"".join(lines), width), np.array(places, dtype=np.int64)

    def _check(
        self,
        rows: _Rows,
        *,
        fields: Mapping[str, list[bytes]],
        skus: list[str],
        quantities: list[int],
        places: Ints,
        reasons: dict[int, str],
    ) -> set[int]:
        """Run the row checks and add their reasons.

        :return: the lines whose SKU field cannot be trusted to hold the SKU
        """
        shifted: set[int] = set()
        for column, check in self.report_type.checks.items():
            wrong = {
                k: _REASONS[check].format(self.report_type.amazon_name(column))
                for k in _wrong(check, fields[column], skus, quantities)
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
            if check in ("sku", "channel"):
                shifted.update(lines)
        return shifted


def _wrong(check: Check, fields: list[bytes], skus: list[str], quantities: list[int]) -> list[int]:
    """The rows in which a column's fields fail its check."""
    if check in ("quantity", "quantity_or_blank"):
        least = BLANK if check == "quantity_or_blank" else 0
        return (
            [k for k, quantity in enumerate(quantities) if quantity < least]
            if min(quantities, default=0) < least
            else []
        )
    if check == "channel":
        unknown = {field for field in set(fields) if field != b"DEFAULT" and not field.startswith(b"AMAZON_")}
        return [k for k, field in enumerate(fields) if field in unknown] if unknown else []
    texts = skus if check == "sku" else _texts(fields)
    return [] if all(map(str.strip, texts)) else [k for k, text in enumerate(texts) if not text.strip()]


_REASONS: dict[Check, str] = {
    "sku": "{} is blank",
    "quantity": f"{{}} is not a whole number from 0 to {MAX_QUANTITY}",
    "quantity_or_blank": f"{{}} is neither blank nor a whole number from 0 to {MAX_QUANTITY}",
    "channel": "{} is neither DEFAULT nor AMAZON_*: perhaps a stray tab or newline shifted the row",
    "not_blank": "{} is blank",
}
