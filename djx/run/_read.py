"""Reading config files: TOML, bases and overrides. Needs neither JAX nor pydantic, so
that a misspelt file name is answered at once.
"""

import datetime
import importlib
import json
import pkgutil
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError, did_you_mean, Fault


TOOLS = ("claims", "render", "run")  # modules that are commands


def check_file(
    path: str | Path, overrides: Sequence[str] = (), package: str = "experiments"
) -> None:
    """Checks what needs no JAX: the file, its TOML, its bases, its experiment's name.

    Args:
        path: the TOML file.
        overrides: as for `load`.
        package: where experiment modules are looked up.

    Raises:
        ConfigError: for the first thing that keeps the file from being read whole.
    """
    table = read_table(Path(path))
    apply_overrides(table, overrides, str(path))
    check_experiment(table, str(path), package)


def read_table(path: Path, _above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a TOML file and merges it over its `base`.

    Args:
        path: the file.

    Returns:
        The merged document, without `base`.

    Raises:
        ConfigError: for a missing file, broken TOML or a base that refers to itself.
    """
    reason = _unreadable(path)
    if reason:
        near = [*_beside(path), *map(str, Path("configs").glob("*/*.toml"))]
        raise ConfigError([Fault(str(path), "", reason + did_you_mean(path, near))])
    try:
        table = _parse_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise ConfigError([Fault(str(path), "", message)]) from None
    except UnicodeDecodeError as error:
        message = f"not valid TOML: byte {error.start} is not UTF-8"
        raise ConfigError([Fault(str(path), "", message)]) from None
    except ValueError as error:
        message = f"not valid TOML: {error}"
        raise ConfigError([Fault(str(path), "", message)]) from None
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError([Fault(str(path), "base", "must be a path, as a string")])
    below, chain = path.parent / base, (*_above, path)
    reason = _unreadable(below)
    if reason:
        hint = did_you_mean(base, [Path(near).name for near in _beside(below)])
        message = f"{base!r}: {reason}{hint}"
        raise ConfigError([Fault(str(path), "base", message)])
    if below.resolve() in [upper.resolve() for upper in chain]:
        loop = " -> ".join(upper.name for upper in (*chain, below))
        raise ConfigError([Fault(str(path), "base", f"leads back to itself: {loop}")])
    return merge(read_table(below, chain), table)


def _unreadable(path: Path) -> str:
    """Why a path holds no config, or nothing."""
    try:
        if path.is_dir():
            return "is a folder"
        return "" if path.exists() else "no such file"
    except OSError as error:  # such as a name that is too long
        return f"cannot be read: {error.strerror}"


def _beside(path: Path) -> list[str]:
    return sorted(str(near) for near in path.parent.glob("*.toml"))


def _parse_toml(text: str) -> dict[str, Any]:
    """What `tomllib` makes of a text; whatever is wrong with it is a ValueError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise
    except ValueError:  # Python's own limit
        raise ValueError("a number has too many digits") from None
    except RecursionError:
        raise ValueError("tables or lists are nested too deeply") from None
    level: list[Any] = [table]
    for _ in range(50):  # what reads the table is recursive
        level = [
            item
            for node in level
            for item in (node.values() if isinstance(node, dict) else node)
            if isinstance(item, dict | list)
        ]
    if level:
        raise ValueError("tables or lists are nested too deeply")
    return table


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lays one table over another, table by table.

    A table that changes its `kind` replaces the one below it whole, since the fields
    of one kind mean nothing to another.

    Args:
        under: the table below.
        over: the table that wins.

    Returns:
        A new table.
    """
    result = dict(under)
    for key, value in over.items():
        below = result.get(key)
        same_kind = (
            isinstance(below, dict)
            and isinstance(value, dict)
            and ("kind" not in value or value["kind"] == below.get("kind"))
        )
        result[key] = merge(below, value) if same_kind else value  # pyright: ignore
    return result


def apply_overrides(table: dict, overrides: Sequence[str], path: str) -> None:
    """Lays overrides over a document, in place.

    Args:
        table: the document.
        overrides: such as `"train.steps=50"`.
        path: the file's name, for messages.

    Raises:
        ConfigError: for overrides that are not `a.b=value`, all of them.
    """
    faults = []
    for text in overrides:
        key, equals, value = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            message = f"override {toml_text(text)} is not of the form a.b=value"
            faults.append(Fault(path, "", message))
            continue
        where = dotted(names)
        if names == ["base"]:
            faults.append(Fault(path, where, "is set in a file, not by an override"))
            continue
        try:
            document = _parse_toml(f"value = {value}")
        except ValueError:
            document = {}
            if value.replace("_", "").replace("-", "").isalnum():
                document = {"value": value}
        if list(document) != ["value"]:
            message = f"override value {toml_text(value)} is not TOML"
            faults.append(Fault(path, where, message))
            continue
        parsed = document["value"]
        patch: Any = parsed
        for name in reversed(names):
            patch = {name: patch}
        merged = merge(table, patch)
        table.clear()
        table.update(merged)
    if faults:
        raise ConfigError(faults)


def experiment_names(package: str) -> list[str]:
    """A package's experiments: its modules that are neither tools nor start with `_`.

    Args:
        package: its name.

    Returns:
        The names, sorted.
    """
    found = importlib.import_module(package)
    names = [m.name for m in pkgutil.iter_modules(found.__path__) if not m.ispkg]
    return sorted(n for n in names if n not in TOOLS and not n.startswith("_"))


def check_experiment(table: Mapping[str, Any], path: str, package: str) -> None:
    """Checks that a package has the experiment's module, without importing it."""
    known = experiment_names(package)
    experiment = table.get("experiment")
    if experiment is None:
        faults = [Fault(path, "experiment", "required, but missing")]
        for name in table:
            hint = did_you_mean(name, ["experiment"])
            if hint:
                faults.append(Fault(path, dotted([name]), "unknown field" + hint))
        raise ConfigError(faults)
    if not isinstance(experiment, str):
        message = f"must be a valid string, not {toml_text(experiment)}"
        raise ConfigError([Fault(path, "experiment", message)])
    if experiment not in known:
        # A package may have dozens; a line that tells them all is not read.
        hint = did_you_mean(experiment, known) or "; --list shows those that there are"
        message = f"no experiment {toml_text(experiment)}{hint}"
        raise ConfigError([Fault(path, "experiment", message)])


def dotted(names: Iterable[str]) -> str:
    """A path as TOML writes it: what is not a bare key is quoted.

    Args:
        names: the keys.

    Returns:
        Text on one line, whatever the keys hold.
    """
    return ".".join(
        name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _shorten(json.dumps(name))
        for name in names
    )


def toml_text(value: Any, depth: int = 2) -> str:
    """A value in the file's own words, short and on one line.

    Args:
        value: what `tomllib` made of it.
        depth: how many levels of lists and tables to write out.

    Returns:
        Text of at most 60 characters.
    """
    match value:
        case bool():
            return str(value).lower()
        case datetime.date() | datetime.time():
            return value.isoformat()
        case int() if abs(value) >= 10**50:
            return "a number of more than 50 digits"
        case list() | dict() if not depth:
            return "..."
        case list():
            inner = [toml_text(item, depth - 1) for item in value[:5]]
            inner += ["..."] * (len(value) > 5)
            return _shorten(f"[{', '.join(inner)}]")
        case dict():
            pairs = list(value.items())
            inner = [f"{dotted([k])} = {toml_text(v, depth - 1)}" for k, v in pairs[:5]]
            inner += ["..."] * (len(pairs) > 5)
            return _shorten(f"{{{', '.join(inner)}}}")
    return _shorten(repr(value))


def _shorten(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."
