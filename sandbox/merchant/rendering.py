"""How a report is written: charset, header language, column order and the oddities seen in Amazon's documents."""

from dataclasses import dataclass, fields, replace
from typing import Any

from sandbox.merchant.headers import LANGUAGES

CHARSET_NAMES = {"utf-8": "UTF-8", "cp1252": "Cp1252", "cp932": "windows-31j"}
COLUMN_ORDERS = ("documented", "reversed", "shuffled")


@dataclass(frozen=True, slots=True)
class Rendering:
    """The options of one report type in one marketplace.

    - `charset`: utf-8, cp1252 or cp932; what it cannot write becomes `?`, as Amazon does. `bom` puts one in front.
    - `declared_charset`: the charset in the download's Content-Type; None: the true one, "": none at all, else this
      text whether true or not.
    - `language`: of the listing report's header; `locale_cached`: it comes in that language even when
      preferredReportDocumentLocale asks for another.
    - `column_order`: documented, reversed or shuffled.
    - `unused_header`: one name for every column that has no values (a repeated header).
    - `headers_only`: names at the end of the header for which no row has a field.
    - `missing_columns`, `extra_columns`: documented columns left out, and columns with a value in every row.
    - `trailing_tab`: each row (not the header) ends with one. `crlf`: lines end with CR LF.
    - `ragged_every`: each n-th row lacks up to two fields at its end, never one that quantities need; 0: none.
    - `nul_in_text`: titles carry a NUL character.
    - `gzip`: compressed; `declare_gzip`: and getReportDocument says so.
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
            raise ValueError("only utf-8 can carry a BOM here")
        if self.language not in LANGUAGES:
            raise ValueError(f"language {self.language!r} is not one of {', '.join(LANGUAGES)}")
        if self.column_order not in COLUMN_ORDERS:
            raise ValueError(f"column_order {self.column_order!r} is not one of {', '.join(COLUMN_ORDERS)}")

    def with_options(self, options: dict[str, Any]) -> "Rendering":
        """A copy with some options changed; ValueError names an option that does not exist."""
        unknown = options.keys() - {field.name for field in fields(self)}
        if unknown:
            raise ValueError(f"unknown rendering options: {', '.join(sorted(unknown))}")
        changes: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in options.items()}
        return replace(self, **changes)

    def content_type(self) -> str:
        """The Content-Type of the download."""
        declared = CHARSET_NAMES[self.charset] if self.declared_charset is None else self.declared_charset
        return f"text/plain; charset={declared}" if declared else "text/plain"

    def as_sent(self, text: str) -> str:
        """A text after its way through the charset."""
        return text.encode(self.charset, "replace").decode(self.charset)

    def encode(self, text: str) -> bytes:
        """The bytes of a document."""
        return (b"\xef\xbb\xbf" if self.bom else b"") + text.encode(self.charset, "replace")
