"""stores.yaml: where it is, and reading it with every mistake reported at once.

A store is one Airflow connection (one seller account in one marketplace).
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml
from pydantic import ValidationError

from fba_operators import INCLUDE
from fba_operators.settings.models import StoresError, StoresFile
from fba_operators.settings.yaml_checks import explain, node_at, yaml_traps


def stores_path() -> Path:
    """Where the stores file is: what ``FBA_STORES_FILE`` names, else the project's ``include/stores.yaml``."""
    named = os.environ.get("FBA_STORES_FILE")
    return Path(named) if named else INCLUDE / "stores.yaml"


def load_stores(path: Path | None = None) -> StoresFile:
    """Read and check the stores file.

    :param path: the file; None is :func:`stores_path`
    :raises StoresError: it cannot be read or something in it is wrong; the message has a line for every problem
    """
    path = path or stores_path()
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StoresError(f"{path}: the stores file cannot be read as UTF-8 text: {error}") from error
    try:
        root = loader.get_single_node()
        traps = yaml_traps(root)
        data = None if root is None else loader.construct_document(root)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise StoresError(f"{path}: the stores file is not YAML that can be read: {error}") from error
    finally:
        loader.dispose()
    problems = [(node.start_mark.line + 1, text) for node, text in traps]
    stores = None
    try:
        stores = StoresFile.model_validate({} if data is None else data)
    except ValidationError as error:
        trapped = {id(node) for node, _ in traps}
        for detail in error.errors():
            node = node_at(root, detail["loc"])
            # A list whose entries are all wrong is reported for them, and once more as too short: that is no news.
            repeated = detail["type"] == "too_short" and isinstance(node, yaml.SequenceNode) and node.value
            if id(node) not in trapped and not repeated:
                problems.append((node.start_mark.line + 1 if node else 1, explain(detail, node)))
    if stores is None or problems:
        lines = "".join(f"\n  line {line}: {text}" for line, text in sorted(problems))
        raise StoresError(f"{path}: {len(problems)} thing(s) to put right in the stores file:{lines}")
    return stores
