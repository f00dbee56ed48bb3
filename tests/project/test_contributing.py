"""What who changes the code is told: the checks before a commit, the page of the architecture."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import yaml

PROJECT = Path(__file__).resolve().parents[2]
PACKAGE = PROJECT / "plugins" / "fba_operators"
PAGE = (PROJECT / "docs" / "architecture.md").read_text()


def test_the_checks_before_a_commit_are_those_of_make_lint():
    recipe = re.search(r"^lint:.*\n((?:\t.+\n)+)", (PROJECT / "Makefile").read_text(), re.MULTILINE)[1]
    commands = [line.strip().replace("$(VENV)", ".venv") for line in recipe.splitlines()]
    (repo,) = yaml.safe_load((PROJECT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local"
    assert [hook["entry"] for hook in repo["hooks"]] == commands
    assert all(hook["language"] == "system" and not hook["pass_filenames"] for hook in repo["hooks"])


def test_the_picture_of_the_rooms_is_the_contract():
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [each["layers"] for each in contracts if each["id"] == "rooms"]
    contract = [{name.strip() for name in layer.split("|")} - {"triggers", "provider", "dags"} for layer in layers]
    picture = re.search(r"```\n(dags/.*?)```", PAGE, re.DOTALL)[1].splitlines()[1:]
    drawn = []
    for line in picture:
        names = [name.rstrip("/") for name in re.split(r" {3,}", line)[0].split()]
        drawn.append(set(names))
    assert drawn == [layer for layer in contract if layer]


def defined(path):
    """The names that a file defines, and methods as Class.method."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{each.name}" for each in node.body if isinstance(each, ast.FunctionDef)}
    return names


def test_each_step_of_the_walk_is_in_the_code():
    steps = re.findall(r"^\| (`.+?) \| (.+) \|$", PAGE.split("## One report id")[1].split("## Where")[0], re.MULTILINE)
    everything = set().union(*(defined(path) for path in PACKAGE.rglob("*.py")))
    assert len(steps) > 10
    for where, _ in steps:
        names = re.findall(r"`([\w.]+)`", where)
        file = re.search(r"\(`([\w/]+\.py)`\)", where)
        known = defined(PACKAGE / file[1]) if file else everything
        assert [name for name in names if name not in known] == [], where


def test_the_files_that_decide_are_there():
    named = re.findall(r"`((?:[\w]+/)*[\w]+\.(?:py|sql))`", PAGE)
    assert len(named) > 15
    for name in named:
        assert (PACKAGE / name).is_file() or (PROJECT / name).is_file() or list((PROJECT / "include").rglob(name)), name
