"""Pydantic's errors in one line each, in the words of the config file."""

from typing import Any

import pydantic
from pydantic import BaseModel

from ..core.errors import did_you_mean, Fault


def faults_of(
    error: pydantic.ValidationError,
    model: type[BaseModel],
    data: Any,
    file: str,
    arm: str | None = None,
    patch: dict | None = None,
    prefix: str = "",
) -> list[Fault]:
    """Turns a validation error into faults.

    Args:
        error: what pydantic raised.
        model: the model that was validated.
        data: what it was given.
        file: the config's path.
        arm: the arm being validated, if any.
        patch: that arm's own table: faults in it are named below `arms`.
        prefix: a dotted path to put before every field.

    Returns:
        One fault per field; several readings of one union field are joined.
    """
    schema = model.model_json_schema()
    messages: dict[str, list[str]] = {}
    for item in error.errors(include_url=False):
        field = _dotted(item, data)
        names = field.split(".") if field else []
        if arm is not None and names and _reaches(patch or {}, names):
            field = f"arms.{arm}.{field}"
        full = ".".join(part for part in (prefix, field) if part)
        message = _message(item, schema, names)
        if message not in messages.setdefault(full, []):
            messages[full].append(message)
    return [Fault(file, f, ", or ".join(found)) for f, found in messages.items()]


def _dotted(item: Any, data: Any) -> str:
    """The path as the file writes it: without union tags and type names."""
    parts: list[str] = []
    for index, part in enumerate(item["loc"]):
        last = index == len(item["loc"]) - 1
        if isinstance(data, dict) and part in data:
            data = data[part]
        elif isinstance(data, list) and isinstance(part, int) and part < len(data):
            data = data[part]
        elif not (last and item["type"] == "missing"):
            continue
        parts.append(str(part))
    if item["type"] in ("union_tag_invalid", "union_tag_not_found"):
        parts.append("kind")
    return ".".join(parts)


def _reaches(patch: Any, names: list[str]) -> bool:
    """Whether an arm's own table says anything on the way to a field."""
    return isinstance(patch, dict) and names[0] in patch and (
        len(names) == 1
        or not isinstance(patch[names[0]], dict)
        or _reaches(patch[names[0]], names[1:])
        or names[1] == "kind"
        or "kind" in patch[names[0]]
    )


def _message(item: Any, schema: dict, names: list[str]) -> str:
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    match kind:
        case "extra_forbidden":
            return "unknown field" + did_you_mean(names[-1], _fields(schema, names))
        case "missing":
            return "required, but missing"
        case "literal_error":
            expected = context["expected"]
            options = [w.strip(" '") for w in expected.replace(" or ", ",").split(",")]
            return f"must be {expected}, not {given!r}{did_you_mean(given, options)}"
        case "union_tag_invalid":
            expected = context["expected_tags"]
            options = [word.strip(" '") for word in expected.split(",")]
            tag = context["tag"]
            return f"must be one of {expected}, not {tag!r}{did_you_mean(tag, options)}"
        case "union_tag_not_found":
            return "required, but missing"
        case "value_error":
            return item["msg"].removeprefix("Value error, ")
        case "model_type" | "model_attributes_type":
            return f"must be a table, not {_brief(given)}"
    message = item["msg"].replace("Input should be", "must be")
    return f"{message[0].lower()}{message[1:]}, not {_brief(given)}"


def _brief(given: Any) -> str:
    text = repr(given)
    return text if len(text) <= 60 else text[:57] + "..."


def _fields(schema: dict, names: list[str]) -> set[str]:
    """The fields that the table holding the last name could have."""
    nodes = [schema]
    for name in names[:-1]:
        nodes = [
            node["properties"][name]
            for node in _options(nodes, schema)
            if name in node.get("properties", {})
        ]
    return {f for node in _options(nodes, schema) for f in node.get("properties", {})}


def _options(nodes: list[dict], schema: dict) -> list[dict]:
    """Follows references and unions to the tables that a node may be."""
    found, queue = [], list(nodes)
    while queue:
        node = queue.pop()
        if "$ref" in node:
            queue.append(schema["$defs"][node["$ref"].rsplit("/", 1)[1]])
        found.append(node)
        for key in ("anyOf", "oneOf", "allOf"):
            queue.extend(node.get(key, []))
    return found
