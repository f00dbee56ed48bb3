"""What a store's pool was made from last, and whether that still stands: what does need not be compared again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from psycopg.types.json import Jsonb

from fba_operators import __version__, inventory, reports
from fba_operators.reports.report_types import AFN_INVENTORY, LISTINGS
from fba_operators.settings.models import Inventory
from fba_operators.warehouse.statements import SQL_FOLDER, execute

POOL = "global_inventory_pool"
MAX_HELD = 10_000  # SKUs


@cache
def _code_digest() -> bytes:
    """Of the code that reads reports and makes the pool: what another version wrote is compared anew."""
    folders = [Path(str(room.__file__)).parent for room in (inventory, reports)]
    files = [file for folder in folders for file in sorted(folder.glob("*.py"))]
    files += [SQL_FOLDER / f"{room}.sql" for room in ("inventory", "reports")]
    hashed = hashlib.blake2b(__version__.encode(), digest_size=16)
    for file in files:
        hashed.update(file.read_bytes())
    return hashed.digest()


@dataclass(frozen=True)
class Applied:
    """The record in ``fba.applied_stock`` of a store, read before its pool and its copies are.

    Somebody who writes to the pool or a copy by hand is noticed (``fba.stock_edit``), also one whose transaction ends
    only after this was read: then the next run notices.

    :param row: the record, and what ``fba.stock_edit`` says now
    :param rules: digest of the settings and the code of this run
    """

    row: Mapping[str, Any]
    rules: bytes

    @classmethod
    def read(cls, db: psycopg.Connection[Any], store: str, settings: Inventory) -> Applied:
        """Read it; the caller holds the store's lock."""
        types = [LISTINGS.name, AFN_INVENTORY.name]
        (row,) = execute(db, "inventory.applied", store=store, report_types=types).fetchall()
        rules = hashlib.blake2b(_code_digest(), digest_size=16)
        rules.update(settings.model_dump_json().encode())
        return cls(row, rules.digest())

    def stands(self, table: str) -> bool:
        """Whether the product alone has written to a table since."""
        row = self.row
        return bool(row["watched"] and row["is_last"]) and row["edits"].get(table) == row["edits_now"].get(table)

    @property
    def pool_stands(self) -> bool:
        """Whether the pool is, by today's rules, what the parsed copies make of it, apart from the SKUs of :attr:`held`."""
        return self.stands(POOL) and self.row["rules_digest"] == self.rules and self.row["held"] is not None

    @property
    def report_ids(self) -> tuple[str, str]:
        """Of the listings report and the AFN report."""
        return self.row["listings_report_id"], self.row["afn_report_id"]

    @property
    def held(self) -> list[str]:
        """SKUs that kept their last values."""
        return list(self.row["held"] or ())

    def result(self, copies: Collection[str]) -> dict[str, Any] | None:
        """What a run reports whose reports are as they were, if all that was made of them is as it was; else None.

        :param copies: the tables with the parsed copies
        """
        stands = self.pool_stands and all(map(self.stands, copies))
        return self.row["result"] if stands else None

    def is_of(self, listings: bytes, afn: bytes) -> bool:
        """Whether it was made of these documents.

        :param listings: digest of the listings report's document
        :param afn: digest of the AFN report's document
        """
        return (self.row["listings_digest"], self.row["afn_digest"]) == (listings, afn)

    def record(
        self,
        db: psycopg.Connection[Any],
        store: str,
        *,
        listings: tuple[str, bytes | None],
        afn: tuple[str, bytes | None],
        held: Collection[str],
        result: dict[str, Any] | None,
    ) -> None:
        """Record what was applied, in the same transaction.

        :param listings: report id, and digest of the document (None without one)
        :param afn: the same of the AFN report
        :param held: SKUs that kept their last values although the parsed copies may say something else
        :param result: what a run would report of an equal pair; None if such a pair could change something
        """
        execute(
            db,
            "inventory.record_applied",
            store=store,
            listings_report_id=listings[0],
            afn_report_id=afn[0],
            listings_digest=listings[1],
            afn_digest=afn[1],
            rules_digest=self.rules,
            edits=Jsonb(self.row["edits_now"]),
            held=sorted(held) if len(held) <= MAX_HELD else None,
            result=None if result is None else Jsonb(result),
        )
