"""JSON Schema of config files, so that editors complete their fields."""

import copy
from typing import Any

from ._schema import Claim, Config


def file_schema(model: type[Config]) -> dict[str, Any]:
    """The schema of a config file, with `base`, `arms` and `claims`.

    Args:
        model: the experiment's config model.

    Returns:
        JSON Schema. Nothing is required, since a base or an arm may supply any field.
    """
    schema = model.model_json_schema()
    claim = Claim.model_json_schema()
    for part in (schema, claim):
        _loosen(part)
    definitions = schema.setdefault("$defs", {})
    definitions["Claim"] = claim
    arm = {
        "type": "object",
        "properties": copy.deepcopy(schema["properties"]),
        "additionalProperties": False,
        "description": "What this arm changes.",
    }
    definitions["Arm"] = arm
    schema["properties"] |= {
        "base": {"type": "string", "description": "A file that this one is laid over."},
        "arms": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Arm"}},
        "claims": {"type": "object", "additionalProperties": {"$ref": "#/$defs/Claim"}},
    }
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | schema


def _loosen(node: Any) -> None:
    """Drops what is required, and lets a table without its `kind` be of any kind."""
    if isinstance(node, dict):
        if isinstance(node.get("required"), list):
            del node["required"]
        if isinstance(node.get("oneOf"), list):
            node["anyOf"] = node.pop("oneOf")
        for child in node.values():
            _loosen(child)
    elif isinstance(node, list):
        for child in node:
            _loosen(child)
