"""Mistakes in stores.yaml, explained: line, store, key, what was found and what is allowed. Also YAML's own traps."""

from __future__ import annotations

import re
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails
from yaml.constructor import SafeConstructor

from fba_operators.settings.models import StoresFile

_PLAIN_NUMBER = re.compile(
    r"[-+]?(0|[1-9][0-9]*)|[-+]?[0-9]*\.[0-9]*([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_STR, _NULL, _MERGE, _DATE = (f"tag:yaml.org,2002:{kind}" for kind in ("str", "null", "merge", "timestamp"))
_NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def yaml_traps(root: yaml.Node | None) -> list[tuple[yaml.Node, str]]:
    """Find what YAML itself would silently read otherwise than it is written, and make it text.

    Those are a key given twice (the last would win), keys that are no text, numbers such as 17:00 (1020) or 010 (8).
    """
    found: list[tuple[yaml.Node, str]] = []
    seen: set[int] = set()
    todo: list[tuple[yaml.Node | None, tuple[str, ...]]] = [(root, ())]
    while todo:
        node, where = todo.pop()
        if node is None or id(node) in seen:  # an alias brings a node back
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                name = str(key.value)
                if isinstance(key, yaml.ScalarNode) and key.tag not in (_STR, _MERGE):
                    if name != "on":  # our own key, which YAML 1.1 reads as true
                        found.append((key, f"{_place(where)}found the key {name}, {_put_in_quotes(key)}"))
                    key.tag = _STR
                if name in keys:
                    found.append((key, f"{_place(where)}found the key {name} twice; allowed: once"))
                keys.add(name)
                todo.append((value, (*where, name)))
        elif isinstance(node, yaml.SequenceNode):
            todo += [(value, (*where, str(index))) for index, value in enumerate(node.value)]
        elif isinstance(node, yaml.ScalarNode) and node.tag in _NUMBERS and not _PLAIN_NUMBER.fullmatch(node.value):
            text = f"{_place(where)}found {node.value}, {_put_in_quotes(node)}, or write a plain decimal number"
            found.append((node, text))
            node.tag = _STR
        elif node.tag == _DATE:
            try:
                SafeConstructor().construct_object(node)
            except ValueError:
                found.append((node, f"{_place(where)}found {node.value}; allowed: a date that exists"))
                node.tag = _STR
    return found


def _put_in_quotes(node: yaml.ScalarNode) -> str:
    kind = node.tag.rpartition(":")[2]
    reading = {
        "bool": "true or false",
        "int": "a number",
        "float": "a number",
        "timestamp": "a date",
        "null": "nothing",
    }
    return f'which YAML reads as {reading.get(kind, kind)}: put it in quotes, "{node.value}"'


def _place(loc: tuple[int | str, ...]) -> str:
    """Where in the file, for a person: ``store amazon_us, fulfillment.hold_hours: ``."""
    path = [str(part) for part in loc if part != "[key]"]
    if not path:
        return ""
    if path[0] == "stores" and len(path) > 1:
        return ", ".join(filter(None, (f"store {path[1]}", ".".join(path[2:])))) + ": "
    return ".".join(path) + ": "


def node_at(root: yaml.Node | None, loc: tuple[int | str, ...]) -> yaml.Node | None:
    """Follow pydantic's path as far as the file goes: the wrong value, the wrong key, or what a key is missing from."""
    node = root
    for depth, part in enumerate(loc):
        if isinstance(node, yaml.MappingNode):
            pairs = {key.value: (key, value) for key, value in node.value if isinstance(key, yaml.ScalarNode)}
            if part not in pairs:
                return node
            key, node = pairs[str(part)]
            if loc[depth + 1 :] == ("[key]",):
                return key
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
            node = node.value[part]
    return node


def _keys(model: type[BaseModel]) -> dict[str, FieldInfo]:
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _rule_at(loc: tuple[int | str, ...]) -> tuple[Any, FieldInfo | None]:
    """Follow pydantic's path through the models: the type it ends in, and the last field on the way."""
    kind: Any = StoresFile
    field: FieldInfo | None = None
    for part in loc:
        if part == "[key]":
            return str, field
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = _keys(kind)[str(part)]
            kind = field.annotation
        else:
            kind = get_args(kind)[0 if get_origin(kind) is tuple else -1]  # an entry of a list or of a mapping
        while get_origin(kind) in (Annotated, Union, UnionType):
            kind = get_args(kind)[0]
    return kind, field


def explain(detail: ErrorDetails, node: yaml.Node | None) -> str:
    """One of pydantic's errors in words: store, key, what was found, what is allowed."""
    loc, error = detail["loc"], detail["type"]
    if error == "extra_forbidden":
        kind, _ = _rule_at(loc[:-1])
        return f"{_place(loc[:-1])}found the key {loc[-1]}; allowed: {', '.join(_keys(kind))}"
    kind, field = _rule_at(loc)
    is_section = isinstance(kind, type) and issubclass(kind, BaseModel)
    if error == "value_error" and is_section:
        return f"{_place(loc)}{detail['ctx']['error']}"
    allowed = f"a section with {', '.join(_keys(kind))}" if is_section else field.description if field else None
    if error == "missing":
        return f"{_place(loc)}it is missing; allowed: {allowed}"
    if isinstance(node, yaml.ScalarNode):
        found = (node.value if len(node.value) <= 60 else node.value[:60] + "…") or "nothing"
        if error in ("string_type", "literal_error") and not node.style and node.tag not in (_STR, _NULL):
            found += f", {_put_in_quotes(node)}"
    else:
        found = "a list" if isinstance(node, yaml.SequenceNode) else "a section"
        if isinstance(node, yaml.CollectionNode) and not node.value:
            found += " without entries"
    return f"{_place(loc)}found {'the key ' if loc[-1:] == ('[key]',) else ''}{found}; allowed: {allowed}"
