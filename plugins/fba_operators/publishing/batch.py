"""Some changes of a store as they are delivered: as CSV, or as JSON with a signature."""

from __future__ import annotations

import csv
import hashlib
import hmac
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = ("n", "store", "sku", "available", "quantity", "promised", "buffer", "shares_fnsku_with", "at")


@dataclass(frozen=True)
class Batch:
    """Changes of one store, oldest first.

    :param changes: rows of ``fba.available_change``, at least one
    """

    store: str
    changes: Sequence[dict[str, Any]]

    @property
    def last(self) -> int:
        """``n`` of the newest change."""
        return int(self.changes[-1]["n"])

    @property
    def id(self) -> str:
        """The same for the same changes, whenever they are delivered."""
        return f"{self.store}.{self.changes[0]['n']}-{self.last}"

    def as_csv(self) -> bytes:
        """A header and a line for each change; UTF-8, lines end in LF. SKUs that share units are separated by spaces."""
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(COLUMNS)
        for change in self.changes:
            row = {**change, "shares_fnsku_with": " ".join(change["shares_fnsku_with"]), "at": change["at"].isoformat()}
            writer.writerow([row[name] for name in COLUMNS])
        return text.getvalue().encode()

    def as_json(self) -> bytes:
        """An object with the store, the batch's id and its changes."""
        changes = [
            {name: change[name] for name in COLUMNS if name not in ("store", "at")} | {"at": change["at"].isoformat()}
            for change in self.changes
        ]
        return json.dumps({"delivery": self.id, "store": self.store, "changes": changes}).encode()


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """HMAC-SHA-256 over the timestamp, a full stop and the body, in hexadecimal after ``sha256=``.

    :param timestamp: seconds since 1970, as it is sent
    """
    digest = hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"
