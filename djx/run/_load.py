"""From a TOML file and overrides to validated arms and claims, or a list of faults."""

import importlib
import inspect
import pkgutil
import tomllib
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from ..core.errors import ConfigError, did_you_mean, Fault
from ._claims import references
from ._faults import faults_of
from ._schema import Claim, Config


@dataclass(frozen=True)
class Spec:
    """A config that can be run: its arms, its claims and the text it came from.

    `table` is the resolved TOML document: bases merged in, overrides applied.
    """

    path: str
    table: dict[str, Any]
    arms: dict[str, Config]
    claims: dict[str, Claim]
    build: Callable[[Any], Any]

    @property
    def name(self) -> str:
        """The config's path below `configs`, without its ending."""
        path = Path(self.path).with_suffix("")
        parts = path.parts
        if "configs" in parts:
            parts = parts[len(parts) - parts[::-1].index("configs") :]
        return "/".join(parts[-2:])

    @property
    def common(self) -> Config:
        """The first arm, for the fields that arms share."""
        return next(iter(self.arms.values()))


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
    _apply_overrides(table, overrides, str(path))
    _check_experiment(table.get("experiment"), str(path), package)


def load(path: str | Path, *overrides: str, package: str = "experiments") -> Spec:
    """Reads a config file.

    Args:
        path: the TOML file.
        *overrides: such as `"train.steps=50"`, the right-hand side in TOML; a bare
            word stands for a string.
        package: where experiment modules are looked up.

    Returns:
        The validated config.

    Raises:
        ConfigError: listing every fault of the file, one line each.
    """
    path = Path(path)
    table = read_table(path)
    _apply_overrides(table, overrides, str(path))
    return load_table(table, str(path), package=package)


def load_table(
    table: dict[str, Any], path: str = "config.toml", *, package: str = "experiments"
) -> Spec:
    """Validates an already resolved config.

    Args:
        table: the document, as `read_table` gives it.
        path: what to call it in messages and run directories.
        package: where experiment modules are looked up.

    Returns:
        The validated config.

    Raises:
        ConfigError: listing every fault.
    """
    build = find_build(table.get("experiment"), path, package)
    model = config_model(build)
    faults: list[Fault] = []
    arms = _arms(table, path, model, faults)
    claims = _claims(table, path, set(_arm_names(table)), faults)
    if not faults:
        faults += _shared_fields(arms, path)
    if faults:
        raise ConfigError(faults)
    return Spec(path, table, arms, claims, build)


def read_table(path: Path, _above: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Reads a TOML file and merges it over its `base`.

    Args:
        path: the file.

    Returns:
        The merged document, without `base`.

    Raises:
        ConfigError: for a missing file, broken TOML or a base that refers to itself.
    """
    if path.is_dir() or not path.exists():
        kind = "is a folder" if path.is_dir() else "no such file"
        near = sorted(str(p) for p in Path(path.parent).glob("*.toml"))
        near += [str(p) for p in Path("configs").glob("*/*.toml")]
        raise ConfigError([Fault(str(path), "", kind + did_you_mean(path, near))])
    if path.resolve() in _above:
        raise ConfigError([Fault(str(path), "base", "is its own base")])
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(
            [Fault(str(path), "", f"not valid TOML: {error}")]
        ) from None
    base = table.pop("base", None)
    if base is None:
        return table
    if not isinstance(base, str):
        raise ConfigError([Fault(str(path), "base", "must be a path, as a string")])
    below = (*_above, path.resolve())
    try:
        return merge(read_table(path.parent / base, below), table)
    except ConfigError as error:
        if not (path.parent / base).exists():
            fault = Fault(str(path), "base", f"no such file {base!r}")
            raise ConfigError([fault]) from None
        raise error


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
        same_kind = isinstance(below, dict) and isinstance(value, dict) and (
            "kind" not in value or value["kind"] == below.get("kind")
        )
        result[key] = merge(below, value) if same_kind else value  # pyright: ignore
    return result


def find_build(experiment: Any, path: str, package: str) -> Callable[[Any], Any]:
    """Finds `build` of an experiment's module; its import path is the registry."""
    _check_experiment(experiment, path, package)
    return importlib.import_module(f"{package}.{experiment}").build


def _check_experiment(experiment: Any, path: str, package: str) -> None:
    found = importlib.import_module(package)
    tools = {"run", "claims"}
    known = {
        m.name
        for m in pkgutil.iter_modules(found.__path__)
        if not (m.ispkg or m.name in tools or m.name.startswith("_"))
    }
    if experiment is None:
        raise ConfigError([Fault(path, "experiment", "required, but missing")])
    if experiment not in known:
        names = ", ".join(sorted(known))
        hint = did_you_mean(experiment, known)
        message = f"no experiment {experiment!r} (there are: {names}){hint}"
        raise ConfigError([Fault(path, "experiment", message)])


def config_model(build: Callable[[Any], Any]) -> type[Config]:
    """The config model of an experiment: the annotation of `build`'s argument."""
    first = next(iter(inspect.signature(build).parameters))
    return typing.get_type_hints(build)[first]


def _apply_overrides(table: dict, overrides: Sequence[str], path: str) -> None:
    faults = []
    for text in overrides:
        key, equals, value = text.partition("=")
        names = [name.strip() for name in key.split(".")]
        if not equals or not all(names):
            message = f"override {text!r} is not of the form a.b=value"
            faults.append(Fault(path, "", message))
            continue
        try:
            parsed = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            if value.replace("_", "").replace("-", "").isalnum():
                parsed = value
            else:
                message = f"override value {value!r} is not TOML"
                faults.append(Fault(path, key, message))
                continue
        patch: Any = parsed
        for name in reversed(names):
            patch = {name: patch}
        merged = merge(table, patch)
        table.clear()
        table.update(merged)
    if faults:
        raise ConfigError(faults)


def _arm_names(table: dict) -> list[str]:
    arms = table.get("arms")
    return list(arms) if isinstance(arms, dict) and arms else ["main"]


def _arms(table: dict, path: str, model, faults: list[Fault]) -> dict[str, Config]:
    shared = {k: v for k, v in table.items() if k not in ("arms", "claims")}
    given = table.get("arms", {"main": {}}) or {"main": {}}
    if not isinstance(given, dict):
        faults.append(Fault(path, "arms", "must be tables: [arms.name]"))
        given = {"main": {}}
    arms = {}
    for name, patch in given.items():
        if not name.isidentifier():
            message = "an arm's name must be a word, to be used in claims"
            faults.append(Fault(path, f"arms.{name}", message))
        if not isinstance(patch, dict):
            faults.append(Fault(path, f"arms.{name}", "must be a table"))
            continue
        try:
            arms[name] = model.model_validate(merge(shared, patch))
        except pydantic.ValidationError as error:
            faults += faults_of(error, model, merge(shared, patch), path, name, patch)
    return arms


def _claims(table: dict, path: str, arms: set[str], faults: list[Fault]):
    claims: dict[str, Claim] = {}
    given = table.get("claims", {})
    if not isinstance(given, dict):
        faults.append(Fault(path, "claims", "must be tables: [claims.name]"))
        return claims
    for name, body in given.items():
        where = f"claims.{name}"
        try:
            claims[name] = Claim.model_validate(body)
        except pydantic.ValidationError as error:
            faults += faults_of(error, Claim, body, path, prefix=where)
            continue
        for arm, _ in references(claims[name].measure):
            if arm not in arms:
                known = ", ".join(sorted(arms))
                message = f"no arm {arm!r} (there are: {known})"
                hint = did_you_mean(arm, arms)
                faults.append(Fault(path, f"{where}.measure", message + hint))
    return claims


def _shared_fields(arms: dict[str, Config], path: str) -> list[Fault]:
    """Arms are compared seed by seed in one process, so these cannot differ."""
    faults = []
    first = next(iter(arms.values()))
    for name, arm in arms.items():
        for field in ("seeds", "seed_mode", "experiment", "tier"):
            if getattr(arm, field) != getattr(first, field):
                message = f"all arms share {field}; set it once, outside the arms"
                faults.append(Fault(path, f"arms.{name}.{field}", message))
        for field in ("log_every", "max_seconds", "shards", "checkpoint"):
            if getattr(arm.train, field) != getattr(first.train, field):
                message = f"all arms share {field}; set it once, under [train]"
                faults.append(Fault(path, f"arms.{name}.train.{field}", message))
    return faults
