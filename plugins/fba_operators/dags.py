"""The DAGs that come with the package, for a DAG folder that has none of their files.

One line in a file of the DAG folder switches all of them on; name some of them instead of ``*`` to have only those::

    from fba_operators.dags import *  # the word Airflow, which a file must have for Airflow to look into it

``python -m fba_operators.dags FOLDER`` copies their files instead, to be changed there.
"""

from __future__ import annotations

import sys
from pathlib import Path
from runpy import run_path
from typing import Any

from fba_operators import INCLUDE

__all__ = [  # noqa: F822 - made when they are asked for, so that copying them does not run them
    "fba_get_inventory",
    "fba_get_shipments",
    "fba_publish_stock",
    "fba_send_fulfillment_requests",
    "fba_track_orders",
]

# In a wheel they are part of include/, in a clone beside it.
FOLDER = INCLUDE / "dags" if (INCLUDE / "dags").is_dir() else INCLUDE.parent / "dags"


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return globals().setdefault(name, run_path(str(FOLDER / f"{name}.py"))["dag"])


def copy_to(folder: Path) -> list[Path]:
    """Copy the DAG files into a folder, which is made if there is none.

    :return: the copies, also those that were there already
    :raises FileExistsError: a file of that name has other content; nothing is copied
    """
    copies = {folder / f"{name}.py": (FOLDER / f"{name}.py").read_bytes() for name in __all__}
    changed = [str(file) for file, content in copies.items() if file.exists() and file.read_bytes() != content]
    if changed:
        raise FileExistsError(
            f"Nothing was copied, because these files differ from those of the package: {', '.join(changed)}. "
            "Rename those that you have changed, delete those that are of an earlier version, and copy again"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in copies.items():
        file.write_bytes(content)
    return list(copies)


def main(arguments: list[str]) -> int:
    """Copy the DAG files into the folder that is the only argument, and return the exit code."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write("usage: python -m fba_operators.dags FOLDER\nCopies the DAG files into FOLDER.\n")
        return 2
    try:
        copies = copy_to(Path(arguments[0]))
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write("".join(f"{file}\n" for file in copies))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
