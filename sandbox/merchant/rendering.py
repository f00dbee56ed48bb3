"""How a report is written: charset, header language, column order and irregularities seen in Amazon's documents."""

from dataclasses import dataclass, fields, replace
from typing import Any

from sandbox.merchant.headers import LANGUAGES

CHARSET_NAMES = {"utf-8": "UTF-8", "cp1252": "Cp1252", "cp932": "windows-31j"}
COLUMN_ORDERS = ("documented", "reversed", "shuffled")


@dataclass(frozen=True, slots=True)
class Rendering:
    """The options of one report type in one marketplace.

    - `charset`: utf-8, cp1252 or cp932; characters it does not have become `?`, as at Amazon. `bom`: starts with one.
    - `declared_charset`: the charset in the download's Content-Type; None: the actual one, "": none, else this text,
      even if it is wrong.
    - `language`: of the listing report's header; `locale_cached`: it is used even if preferredReportDocumentLocale
      requests another.
    - `column_order`: documented, reversed or shuffled.
    - `unused_header`: one name for every column that has no values (a repeated header).
    - `headers_only`: names at the end of the header for which the rows have no field.
    - `missing_columns`: documented columns to leave out. `extra_columns`: undocumented columns with a value in every
      row.
    - `trailing_tab`: each row except the header ends with a tab. `crlf`: lines end with CR LF instead of LF.
    - `ragged_every`: every n-th row lacks up to two trailing fields, none of them required for quantities; 0: no row.
    - `nul_in_text`: titles contain a NUL character.
    - `gzip`: the document is compressed. `declare_gzip`: getReportDocument says that it is compressed.
    """

    charset: str = "utf-8"
    bom: bool = False
    declared_charset: str | None = None
    language: str = "en"
    locale_cached: bool = False
    column_order: str = "documented"
    unused_header: str | None = None
    headers_only: tuple[str, ...] = ()
    missing_columns: tuple[str, ...] = ()
    extra_columns: tuple[str, ...] = ()
    trailing_tab: bool = False
    crlf: bool = True
    ragged_every: int = 0
    nul_in_text: bool = False
    gzip: bool = True
    declare_gzip: bool = True

    def __post_init__(self) -> None:
        if self.charset not in CHARSET_NAMES:
            raise ValueError(f"charset {self.charset!r} is not one of {', '.join(CHARSET_NAMES)}")
        if self.bom and self.charset != "utf-8":
            raise ValueError("a BOM requires the charset utf-8")
        if self.language not in LANGUAGES:
            raise ValueError(f"language {self.language!r} is not one of {', '.join(LANGUAGES)}")
        if self.column_order not in COLUMN_ORDERS:
            raise ValueError(f"column_order {self.column_order!r} is not one of {', '.join(COLUMN_ORDERS)}")

    def with_options(self, options: dict[str, Any]) -> "Rendering":
        """Return a copy with some options changed; ValueError for an option that does not exist."""
        unknown = options.keys() - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"unknown rendering options: {', '.join(sorted(unknown))}")
        changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        return replace(self, **changes)

    def content_type(self) -> str:
        """Return the Content-Type of the download."""
        declared = CHARSET_NAMES[self.charset] if self.declared_charset is None else self.declared_charset
        return f"text/plain; charset={declared}" if declared else "text/plain"

    def as_sent(self, text: str) -> str:
        """Return a text as it reads after encoding and decoding in the charset."""
        return text.encode(self.charset, "replace").decode(self.charset)

    def encode(self, text: str) -> bytes:
        """Encode a document, with its BOM."""
        return (b"\xef\xbb\xbf" if self.bom else b"") + text.encode(self.charset, "replace")
