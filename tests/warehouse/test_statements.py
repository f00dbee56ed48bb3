"""Every named statement exists and is used, and stands in the file of its room."""

from __future__ import annotations

import re
from collections import Counter

from devstack.airflow import PROJECT
from fba_operators.warehouse.statements import SQL_FOLDER, statements_of

PACKAGE = PROJECT / "plugins" / "fba_operators"
ROOMS = sorted(path.stem for path in SQL_FOLDER.glob("*.sql") if path.name not in ("roles.sql", "views.sql"))
DEFINED = {f"{room}.{name}" for room in ROOMS for name in statements_of(room)}
MENTION = re.compile(rf'"((?:{"|".join(ROOMS)})\.\w+)"')


def test_a_sql_file_is_named_like_a_room():
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert ROOMS
    assert set(ROOMS) <= rooms


def test_every_statement_that_is_used_exists_and_every_one_that_exists_is_used():
    used = {name for path in PACKAGE.rglob("*.py") for name in MENTION.findall(path.read_text(encoding="utf-8"))}
    assert used - DEFINED == set(), "used, but not in include/sql"
    assert DEFINED - used == set(), "in include/sql, but not used"


def test_no_name_stands_twice_in_a_file():
    for room in ROOMS:
        text = (SQL_FOLDER / f"{room}.sql").read_text(encoding="utf-8")
        names = Counter(re.findall(r"^-- name: (\w+)$", text, flags=re.MULTILINE))
        assert names == Counter(list(statements_of(room)))
        assert len(re.findall(r"^-- name:", text, flags=re.MULTILINE)) == names.total(), f"{room}.sql: an odd name line"
