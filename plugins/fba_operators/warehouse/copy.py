"""PostgreSQL's COPY text format."""

from __future__ import annotations


def copy_escaped(text: str) -> bytes:
    """Write a text as a field of the COPY text format, UTF-8."""
    for special, escaped in (("\\", "\\\\"), ("\t", "\\t"), ("\n", "\\n"), ("\r", "\\r")):
        text = text.replace(special, escaped)
    return text.encode()
