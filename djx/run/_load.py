"""From a TOML file and overrides to validated arms and claims, or a list of faults."""

import importlib
import inspect
import keyword
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydantic

from ..core.errors import ConfigError, did_you_mean, Fault
from ._claims import references
from ._faults import faults_of, Finding, findings_of
from ._read import (
    apply_overrides,
    check_experiment,
    dotted,
    merge as merge,
    read_table as read_table,
    toml_text,
)
from ._schema import BOUNDS, Claim, Config, ONE_BOUND, Optimiser, OPTIMISERS


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
    apply_overrides(table, overrides, str(path))
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
    check_experiment(table, path, package)
    build = find_build(table["experiment"], path, package)
    model = config_model(build)
    faults: list[Fault] = []
    arms = _arms(table, path, model, faults)
    claims = _claims(table, path, faults)
    if faults:
        raise ConfigError(faults)
    return Spec(path, table, arms, claims, build)


def find_build(experiment: Any, path: str, package: str) -> Callable[[Any], Any]:
    """Finds `build` of an experiment's module; its import path is the registry."""
    check_experiment({"experiment": experiment}, path, package)
    return importlib.import_module(f"{package}.{experiment}").build


def config_model(build: Callable[[Any], Any]) -> type[Config]:
    """The config model of an experiment: the annotation of `build`'s argument."""
    first = next(iter(inspect.signature(build).parameters))
    model = typing.get_type_hints(build).get(first)
    if not (isinstance(model, type) and issubclass(model, Config)):
        raise TypeError(
            f"{build.__module__}.build must annotate its argument, as in "
            "`def build(config: Config) -> Experiment`; the annotation is the schema"
        )
    return model


def _arms(table: dict, path: str, model, faults: list[Fault]) -> dict[str, Config]:
    shared = {k: v for k, v in table.items() if k not in ("arms", "claims")}
    given = table.get("arms", {})
    if not isinstance(given, dict):
        faults.append(Fault(path, "arms", "must be tables: [arms.name]"))
        given = {}
    for name, patch in given.items():
        where = dotted(["arms", name])
        if not name.isidentifier() or keyword.iskeyword(name):
            message = "an arm's name must be a word, to be used in claims"
            faults.append(Fault(path, where, message))
        if not isinstance(patch, dict):
            message = f"must be a table, not {toml_text(patch)}"
            faults.append(Fault(path, where, message))
    own = _own_tables(table)
    arms, alone = {}, _findings(model, shared)
    for name, patch in own.items():
        whole = merge(shared, patch)
        findings = _findings(model, whole)
        for finding in findings:
            names = finding.names
            if _is_arms_own(finding, patch, alone, own):
                names = ("arms", name, *names)
            faults.append(Fault(path, dotted(names), finding.message))
        if not findings:
            arms[name] = model.model_validate(whole)
        faults += _options(whole, path, name, patch)
    faults += _shared_fields(shared, own, path, model)
    return arms


def _own_tables(table: dict) -> dict[str, dict]:
    """What each arm changes; a config without arms has one, which changes nothing."""
    arms = table.get("arms")
    given = arms if isinstance(arms, dict) else {}
    return {k: v for k, v in given.items() if isinstance(v, dict)} or {"main": {}}


def _findings(model: type[Config], table: dict) -> list[Finding]:
    try:
        model.model_validate(table)
    except pydantic.ValidationError as error:
        return findings_of(error, model, table, ("arms", "base", "claims"))
    return []


def _is_arms_own(
    finding: Finding, patch: dict, alone: list[Finding], arms: dict[str, dict]
) -> bool:
    """Whether a finding is to be named below `arms`, not as of the shared tables.

    Args:
        finding: what is wrong with the arm.
        patch: the arm's own table.
        alone: what is wrong with the shared tables alone.
        arms: all arms' own tables.
    """
    if _supplies(patch, finding.names):
        return True
    if finding in alone:  # what other arms supply, this one lacks
        others = any(_supplies(other, finding.names) for other in arms.values())
        return finding.missing and others
    return not finding.names or finding.names[0] in patch


def _supplies(patch: Any, names: Sequence[str]) -> bool:
    """Whether an arm's own table gives the value at a path."""
    for name in names:
        if not isinstance(patch, dict):
            return True
        if name not in patch:
            return False
        patch = patch[name]
    return not isinstance(patch, dict)


def _options(whole: dict, path: str, name: str, patch: dict) -> list[Fault]:
    """Optimiser options are known to optax alone, which the experiment has loaded."""
    from ._optimiser import option_faults

    above = ("train", "optimiser")
    method = _value(whole, (*above, "name"), Optimiser().name)
    options = _value(whole, (*above, "options"), {})
    if method not in OPTIMISERS or not isinstance(options, dict):
        return []
    decay = _value(whole, (*above, "weight_decay"), None)
    faults = []
    for option, message in option_faults(method, options, decay).items():
        names = (*above, "options", option)
        own = _supplies(patch, names) or _supplies(patch, (*above, "name"))
        where = dotted(("arms", name, *names) if own else names)
        faults.append(Fault(path, where, message))
    return faults


def _claims(table: dict, path: str, faults: list[Fault]) -> dict[str, Claim]:
    claims: dict[str, Claim] = {}
    given = table.get("claims", {})
    if not isinstance(given, dict):
        faults.append(Fault(path, "claims", "must be tables: [claims.name]"))
        return claims
    named = table.get("arms", {})  # also those with faults of their own
    arms = list(named or ["main"]) if isinstance(named, dict) else None
    for name, body in given.items():
        where = ("claims", name)
        try:
            claims[name] = Claim.model_validate(body)
        except pydantic.ValidationError as error:
            found = faults_of(error, Claim, body, path, where)
            if _bounds(body) != 1 and set(body) <= set(Claim.model_fields):
                found.append(Fault(path, dotted(where), ONE_BOUND))
            faults += found
        for arm in _unknown_arms(body, arms):
            known = ", ".join(dotted([arm]) for arm in sorted(arms or []))
            message = f"no arm {arm!r} (there are: {known})"
            hint = did_you_mean(arm, arms or [])
            faults.append(Fault(path, dotted((*where, "measure")), message + hint))
    return claims


def _bounds(body: Any) -> int:
    """How many bounds a claim's table gives; one for what is no table."""
    return sum(bound in body for bound in BOUNDS) if isinstance(body, dict) else 1


def _unknown_arms(body: Any, arms: Sequence[str] | None) -> list[str]:
    """The arms that a claim's measure names and the file lacks, as far as is known."""
    measure = body.get("measure") if isinstance(body, dict) else None
    if arms is None or not isinstance(measure, str):
        return []
    try:
        named = dict.fromkeys(arm for arm, _ in references(measure))
    except ValueError:  # a fault already
        return []
    return [arm for arm in named if arm not in arms]


def _shared_fields(shared: dict, own: dict, path: str, model) -> list[Fault]:
    """Arms are compared seed by seed in one process, so these cannot differ."""
    faults = []
    top = ("seeds", "seed_mode", "experiment", "tier")
    train = ("log_every", "max_seconds", "shards", "checkpoint")
    for names in [(f,) for f in top] + [("train", f) for f in train]:
        holder = model if len(names) == 1 else model.model_fields["train"].annotation
        usual = holder.model_fields[names[-1]].default
        usual = usual.model_dump() if isinstance(usual, pydantic.BaseModel) else usual
        values = [_value(merge(shared, patch), names, usual) for patch in own.values()]
        if all(value == values[0] for value in values):
            continue
        place = "under [train]" if len(names) > 1 else "outside the arms"
        message = f"all arms share {names[-1]}; set it once, {place}"
        for name, patch in own.items():
            if _value(patch, names, None) is not None:
                where = dotted(("arms", name, *names))
                faults.append(Fault(path, where, message))
    return faults


def _value(table: Any, names: Sequence[str], default: Any) -> Any:
    """The value at a path of a document that may be at fault."""
    for name in names:
        if not isinstance(table, dict) or name not in table:
            return default
        table = table[name]
    both = isinstance(table, dict) and isinstance(default, dict)
    return merge(default, table) if both else table
