"""Whether a warehouse keeps what is promised of it: after a restore, an upgrade, or work by hand. It writes nothing.

python -m fba_operators.warehouse.check [connection id]
"""

from __future__ import annotations

import sys
from typing import NamedTuple

import psycopg
from airflow.sdk.exceptions import AirflowNotFoundException

from fba_operators.errors import SellingPartnerError
from fba_operators.warehouse.database import DEFAULT_WAREHOUSE, Warehouse
from fba_operators.warehouse.statements import execute

GUARANTEES = {
    "warehouse.check_quantities": "every quantity is what Amazon holds, or that and what the merchant holds",
    "warehouse.check_history": "the history of stock ends at the quantity of the pool",
    "warehouse.check_parsed_copies": "each parsed copy has as many rows as the report it is of",
    "warehouse.check_carriers": "every request on its way is in a feed or an order",
    "warehouse.check_one_carrier": "no request is in two feeds or orders that are under way",
    "warehouse.check_removed_numbers": "no number of a removed request was sent again",
    "warehouse.check_items": "every request that was sent has lines",
    "warehouse.check_timeline": "the timeline of every request has its beginning",
    "warehouse.check_progress": "no parcel that report or order knows is missing in the progress",
    "warehouse.check_addresses": "no address is older than 91 days",
    "warehouse.check_encryption": "documents, unreadable lines and tokens are encrypted",
    "warehouse.check_digests": "every migration is known by its content",
}
SHOWN = 5


class Broken(NamedTuple):
    """What breaks a guarantee: how many things, and the first of them as store and subject."""

    number: int
    first: list[tuple[str, str]]


def check(warehouse: Warehouse) -> dict[str, Broken]:
    """Check all guarantees at one moment, in a transaction that cannot write.

    :return: the statements of those that are broken, and by what; SKUs, numbers of requests and reports only
    """
    broken = {}
    with warehouse.connect() as db:
        db.execute("SET TRANSACTION READ ONLY")
        for name in GUARANTEES:
            cursor = execute(db, name)
            if rows := cursor.fetchmany(SHOWN):
                broken[name] = Broken(cursor.rowcount, [(row["store"], row["subject"]) for row in rows])
    return broken


def main(arguments: list[str]) -> int:
    """Print every guarantee and what breaks it; return 0 if all are kept, 1 if not, 2 if that cannot be found out."""
    if len(arguments) > 1 or any(each.startswith("-") for each in arguments):
        sys.stderr.write("usage: python -m fba_operators.warehouse.check [connection id]\n")
        return 2
    conn_id = arguments[0] if arguments else DEFAULT_WAREHOUSE
    try:
        broken = check(Warehouse(conn_id))
    except AirflowNotFoundException:
        sys.stderr.write(
            f"There is no connection {conn_id}: make it in Airflow, or set AIRFLOW_CONN_{conn_id.upper()}.\n"
        )
        return 2
    except (psycopg.Error, SellingPartnerError) as error:
        sys.stderr.write(f"The warehouse {conn_id} cannot be checked: {type(error).__name__}: {str(error).strip()}\n")
        return 2
    for name, sentence in GUARANTEES.items():
        sys.stdout.write(f"{'✗' if name in broken else '✓'} {sentence}\n")
        if name in broken:
            number, first = broken[name]
            more = f" and {number - len(first)} more" if number > len(first) else ""
            sys.stdout.write(f"    {', '.join(f'{store}: {subject}' for store, subject in first)}{more}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
