r"""Report documents as lines: Amazon's bytes, gzip or not, cut at ``\n`` into blocks of complete lines.

A report is tab-separated text without quoting, and its lines end at ``\n`` only: a CSV reader takes a ``"`` in a
title or a lone ``\r`` for more than text, and ``str.splitlines`` also cuts at U+0085 and U+2028.
"""

from __future__ import annotations

import codecs
import gzip
import io
import re
import zlib
from collections.abc import Callable, Iterable, Iterator
from itertools import chain

from fba_operators.errors import DamagedDocumentError, UnreadableDocumentError

Source = Callable[[], Iterable[bytes]]
"""Called once per pass over the document: its bytes in chunks of any size, as Amazon sent them."""

MAX_LINE_BYTES = 16 << 20
GZIP = b"\x1f\x8b"
_READ_BYTES = 1 << 20

# Only charsets in which the bytes of tab and newline mean nothing else, so that lines can be cut before decoding.
_LINE_SAFE = re.compile(r"utf-8|ascii|cp125\d|iso8859-\d+|cp932|euc_jp|gbk|gb18030|big5|euc_kr|cp949")
_CODEC_NAMES = {"utf-8-sig": "utf-8", "shift_jis": "cp932", "x-sjis": "cp932", "windows-31j": "cp932", "gb2312": "gbk"}


def codec_name(charset: str | None) -> str | None:
    """Python's codec for a charset that Amazon names (``Cp1252``, ``windows-31j``), or None when we cannot use it.

    Shift_JIS becomes cp932, the superset in which Amazon's Japanese reports are really written.
    """
    try:
        name = codecs.lookup(_CODEC_NAMES.get((charset or "").lower(), charset or "")).name
    except (LookupError, ValueError):
        return None
    name = _CODEC_NAMES.get(name, name)
    return name if _LINE_SAFE.fullmatch(name) else None


class _Chunks(io.RawIOBase):
    """Chunks of bytes as a file that can be read once."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = iter(chunks)
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def unzipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The bytes in pieces of bounded size, decompressed once if they begin like gzip.

    :raises DamagedDocumentError: the gzip data is truncated or corrupt
    """
    stream = io.BufferedReader(_Chunks(chunks), _READ_BYTES)
    head = stream.read(len(GZIP))
    pieces = chain([head], iter(lambda: stream.read(_READ_BYTES), b""))
    if head != GZIP:
        yield from pieces
        return
    unzip = gzip.GzipFile(fileobj=io.BufferedReader(_Chunks(pieces), _READ_BYTES))
    while True:
        try:
            piece = unzip.read(_READ_BYTES)
        except EOFError:
            raise DamagedDocumentError(
                "The gzip document is truncated, its end is missing: download it again."
            ) from None
        except (OSError, zlib.error) as error:
            raise DamagedDocumentError(f"The gzip document is corrupt ({error}): download it again.") from error
        if not piece:
            return
        yield piece


def zipped(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The chunks as gzip: unchanged if they are gzip already."""
    stream = iter(chunks)
    head = b""
    while len(head) < len(GZIP) and (chunk := next(stream, b"")):
        head += chunk
    if head.startswith(GZIP):
        yield from chain([head], stream)
        return
    packer = zlib.compressobj(level=1, wbits=31)
    for chunk in chain([head], stream):
        yield packer.compress(chunk)
    yield packer.flush()


def _last_line_end(data: bytes, crlf: bool) -> int:
    """Where the last line that is not empty ends (the position of its newline), or -1."""
    end = data.rfind(b"\n")
    while end > 0:
        if data.endswith(b"\n", 0, end):
            end -= 1
        elif crlf and (data.endswith(b"\n\r", 0, end) or (end == 1 and data[:1] == b"\r")):
            end -= 2
        else:
            return end
    return -1


def line_blocks(source: Source, block_bytes: int) -> Iterator[bytes]:
    """Complete lines in blocks, each line ending in a newline, without the empty lines at the document's very end.

    Only a last line that has no newline in the document ends without one here too: Amazon ends every line, so it may be torn.

    A document whose header ends in CR LF is taken to end its lines so: one CR before each newline is dropped. In any
    other document, and elsewhere in a line, CR is text.

    :param block_bytes: about how many bytes a block holds
    """
    parts: list[bytes] = []
    size, wanted, crlf, first = 0, block_bytes, False, True

    def finished(lines: bytes) -> bytes:
        return lines.replace(b"\r\n", b"\n") if crlf else lines

    for piece in unzipped(source()):
        parts.append(piece)
        size += len(piece)
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
    tail = finished(data)
    # Of a last line without its newline a CR at the end is text.
    end = _last_line_end(tail, crlf=False) if tail.endswith(b"\n") else len(tail) - 1
    if end >= 0:
        yield tail[: end + 1]
