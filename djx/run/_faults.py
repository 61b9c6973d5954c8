"""Pydantic's errors in one line each, in the words of the config file."""

import functools as ft
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import pydantic
from pydantic import BaseModel

from ..core.errors import did_you_mean, Fault
from ._read import dotted, toml_text


class Finding(NamedTuple):
    """One field that a model refuses: its path, and why."""

    names: tuple[str, ...]
    message: str
    missing: bool = False


def faults_of(
    error: pydantic.ValidationError,
    model: type[BaseModel],
    data: Any,
    file: str,
    prefix: Sequence[str] = (),
) -> list[Fault]:
    """Turns a validation error into faults.

    Args:
        error: what pydantic raised.
        model: the model that was validated.
        data: what it was given.
        file: the config's path.
        prefix: the path of that table in the file.

    Returns:
        One fault per field.
    """
    found = findings_of(error, model, data)
    return [Fault(file, dotted((*prefix, *f.names)), f.message) for f in found]


def findings_of(
    error: pydantic.ValidationError,
    model: type[BaseModel],
    data: Any,
    beside: Iterable[str] = (),
) -> list[Finding]:
    """Turns a validation error into paths and messages.

    Args:
        error: what pydantic raised.
        model: the model that was validated.
        data: what it was given.
        beside: names that the file's top level also knows.

    Returns:
        One finding per field; several readings of one union field are joined.
    """
    items = [(_path(item, data), item) for item in error.errors(include_url=False)]
    deep = {path[:n] for path, _ in items for n in range(len(path))}
    found: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for path, item in items:
        if item["type"].endswith("_type") and path in deep:
            continue  # another reading of a union got further
        message = _message(item, model, path, data, set(beside))
        if message not in found.setdefault(path, []):
            found[path].append(message)
        if item["type"] == "union_tag_not_found":  # it looked at nothing else
            known = _fields(model, path, data)
            for name in sorted(set(item["input"]) - known):
                hint = did_you_mean(name, known)
                found[(*path[:-1], name)] = [("unknown field" + hint, "")]
    absent = {path for path, item in items if item["type"] in _ABSENT}
    return [Finding(path, _join(m), path in absent) for path, m in found.items()]


_ABSENT = ("missing", "union_tag_not_found")


def _path(item: Any, data: Any) -> tuple[str, ...]:
    """The path as the file writes it: without union tags and type names."""
    parts: list[str] = []
    tagged = False
    for index, part in enumerate(item["loc"]):
        last = index == len(item["loc"]) - 1
        if isinstance(data, dict) and data.get("kind") == part and not tagged:
            tagged = True  # the variant, where a key of that name comes next if at all
            continue
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (last and item["type"] == "missing"):
            continue
        parts.append(str(part))
        tagged = False
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        parts.append("kind")
    return tuple(parts)


def _message(
    item: Any, model: type[BaseModel], path: tuple[str, ...], data: Any, beside: set
) -> tuple[str, str]:
    """What is wrong, and the end of the sentence: what was given, or nothing."""
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    hint = ""
    match kind:
        case "extra_forbidden":
            known = _fields(model, path, data) | (beside if len(path) == 1 else set())
            return "unknown field" + did_you_mean(path[-1], known), ""
        case "missing" | "union_tag_not_found":
            return "required, but missing", ""
        case "value_error" | "assertion_error":
            return str(context["error"]), ""
        case "literal_error" | "union_tag_invalid":
            if kind == "union_tag_invalid":
                given, expected = given["kind"], context["expected_tags"]
            else:
                expected = context["expected"]
            options = re.findall(r"'([^']*)'", expected)
            one_of = "one of " if len(options) > 1 else ""
            reason = f"must be {one_of}{', '.join(map(repr, options))}"
            hint = did_you_mean(given, options) if isinstance(given, str) else ""
        case "model_type" | "model_attributes_type" | "dict_type":
            reason = "must be a table"
        case "too_short":
            reason = f"must have {_entries(context['min_length'])} or more"
        case "too_long":
            reason = f"must have {_entries(context['max_length'])} or fewer"
        case _:
            message = item["msg"].replace("Input should be", "must be")
            reason = f"{message[0].lower()}{message[1:]}"
    return reason, f", not {toml_text(given)}{hint}"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _join(messages: list[tuple[str, str]]) -> str:
    """Several readings in one sentence: what was given is said once."""
    (first, end), *others = messages
    if any(other_end != end for _, other_end in others):
        return ", or ".join(reason + end for reason, end in messages)
    return " or ".join([first, *(r.removeprefix("must be ") for r, _ in others)]) + end


@ft.cache
def _schema(model: type[BaseModel]) -> dict:
    return model.model_json_schema()


def _fields(model: type[BaseModel], path: tuple[str, ...], data: Any) -> set[str]:
    """The fields that the table holding the last name could have."""
    schema = _schema(model)
    nodes = _variants([schema], schema, data)
    for name in path[:-1]:
        data = data.get(name) if isinstance(data, dict) else None
        inner = [
            n["properties"][name] for n in nodes if name in n.get("properties", {})
        ]
        nodes = _variants(inner, schema, data)
    return {field for node in nodes for field in node.get("properties", {})}


def _variants(nodes: list[dict], schema: dict, data: Any) -> list[dict]:
    """Follows references and unions to the tables that a node may be."""
    found, queue = [], list(nodes)
    tag = data.get("kind") if isinstance(data, dict) else None
    while queue:
        node = queue.pop()
        found.append(node)
        if "$ref" in node:
            queue.append(schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        tags = node.get("discriminator", {}).get("mapping", {})
        if isinstance(tag, str) and tag in tags:
            queue.append({"$ref": tags[tag]})
            continue
        for key in ("anyOf", "oneOf", "allOf"):
            queue.extend(node.get(key, []))
    return found
