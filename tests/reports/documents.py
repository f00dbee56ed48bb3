"""Building documents, and reading back what would be stored of them."""

from __future__ import annotations

import json
import re

from fba_operators.reports.document import Block, Document
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS, ReportType

HEADER = "\t".join(LISTINGS.amazon_columns)
AFN_HEADER = "\t".join(AFN_INVENTORY.amazon_columns)
# Two rows as Amazon sends them, the second with a blank quantity.
UK_LISTINGS = (
    f"{HEADER}\r\n"
    "Vest\t\t0708QHIDPCS\t1234567\t20\t1\t08/07/2016 10:12:40 BST\t\ty\t3\t\t\t11\t\t\t\tB01I53BE4O\t\t\t\t\t\t"
    "680242554716\t\t\t0\tDEFAULT\tMigrated Template\tActive\r\n"
    'Mug 12" "large"\t\t0709QHIDPCT\tNA\t9.5\t\t08/07/2016 10:12:40 BST\t\ty\t3\t\t\t11\t\t\t\tB01I53BE4P\t\t\t\t\t\t'
    "680242554717\t\t\t\tAMAZON_EU\t\tActive\r\n"
).encode()


def document(
    data: bytes, report_type: ReportType = LISTINGS, *, charset=None, usual="cp1252", pieces=None, block_bytes=4 << 20
):
    def source():
        step = pieces or len(data) or 1
        return (data[i : i + step] for i in range(0, len(data), step))

    return Document(source, report_type, charset=charset, usual_charset=usual, block_bytes=block_bytes)


def listing(**values: str) -> str:
    """One listings line in Amazon's English order."""
    row = {"seller_sku": "SKU-1", "quantity": "1", "fulfillment_channel": "DEFAULT", "status": "Active"} | values
    return "\t".join(row.get(column, "") for column in LISTINGS.columns)


def copied_rows(doc: Document, leading: bytes = b"") -> list[dict[str, object]]:
    """The rows that PostgreSQL would read from the COPY text."""
    rows = []
    for block in doc.blocks():
        for line in block.copy_text(leading).decode().split("\n")[:-1]:
            fields = [
                None
                if field == r"\N"
                else re.sub(r"\\(.)", lambda found: {"r": "\r", "n": "\n", "t": "\t"}.get(found[1], found[1]), field)
                for field in line.removeprefix(leading.decode()).split("\t")
            ]
            row: dict[str, object] = dict(zip(doc.copy_columns, fields, strict=True))
            if isinstance(row.get("extra"), str):
                row["extra"] = json.loads(str(row["extra"]))
            rows.append(row)
    return rows


def only_block(doc: Document) -> Block:
    (block,) = doc.blocks()
    return block


def read_one(line: str, header: str = HEADER) -> Block:
    return only_block(document(f"{header}\n{line}\n".encode()))
