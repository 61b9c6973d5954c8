"""The page for JAXopt's users says what is true: both sides of its rows are run."""

import functools
import importlib
import inspect
import re
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import djx.implicit

from .jaxopt_cases import jaxopt, MODULES
from .jaxopt_function_cases import FUNCTIONS
from .jaxopt_other_cases import OTHERS
from .jaxopt_solver_cases import SOLVERS


CASES = SOLVERS | OTHERS | FUNCTIONS
# Programs run once: quickly compiled is better than quickly run.
FAST = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
KEPT = {"HagerZhangLineSearch"}  # no successor, but the recipe of its note is run


def rows():
    """The names on the left and what stands beside each, of the tables of the page."""
    page = Path(djx.implicit.__file__).parent / "jaxopt.md"
    found, inside = [], False
    for line in page.read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        if not line.startswith("|"):
            inside = False
        elif cells == ["JAXopt", "now", "note"]:
            inside = True
        elif inside and not line.startswith("|---"):
            found.append((cells[0].strip("`"), cells[1]))
    return found


def named(cell):
    return re.findall(r"`([^`]+)`", cell)


def resolve(name):
    """The object of a dotted name."""
    parts = name.split(".")
    for count in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        return functools.reduce(getattr, parts[count:], found)
    raise ImportError(name)


def public_names():
    """Of JAXopt: every object under the shortest of its names."""
    found, seen = [], set()
    for prefix, module in [("", jaxopt), *((f"{k}.", m) for k, m in MODULES.items())]:
        for name, value in vars(module).items():
            if name.startswith("_") or inspect.ismodule(value) or id(value) in seen:
                continue
            seen.add(id(value))
            found.append(prefix + name)
    return found


ROWS = dict(rows())
SUCCESSORS = {name: named(cell) for name, cell in ROWS.items() if cell != "none"}


def test_every_public_name_is_on_the_page_once():
    assert Counter(name for name, _ in rows()) == Counter(public_names())


def test_every_successor_exists_and_has_a_case():
    assert set(CASES) - KEPT == set(SUCCESSORS)
    for name, successors in SUCCESSORS.items():
        assert successors, name
        for successor in successors:
            assert resolve(successor) is not None


def vector(tree):
    return jnp.concatenate([jnp.ravel(jnp.asarray(v)) for v in jax.tree.leaves(tree)])


def both(function, theta, how):
    """Value, and derivative along or against an irregular direction."""
    direction = jnp.cos(1 + jnp.arange(theta.size, dtype=float)).reshape(theta.shape)
    if how == "none":
        return function(theta), jnp.zeros(())
    if how == "forward":
        return jax.jvp(function, (theta,), (direction,))
    value, pull = jax.vjp(function, theta)
    return value, pull(jnp.cos(1 + jnp.arange(value.size, dtype=float)))[0]


@functools.cache
def ours(function, successors, how, at, shape):
    """What stands under "now"; rows that share it share the program."""
    objects = [resolve(successor) for successor in successors]

    def run(theta):
        return both(lambda t: vector(function(t, *objects)), theta, how)

    return jax.jit(run, compiler_options=FAST)(jnp.reshape(jnp.asarray(at), shape))


@pytest.mark.parametrize("name", CASES)
def test_both_sides_agree(x64, name):
    case = CASES[name]
    if case.needs is not None:
        pytest.importorskip(case.needs)
    entry, how = resolve(f"jaxopt.{name}"), case.derivative

    def theirs(theta):
        return both(lambda t: vector(case.theirs(t, entry)), theta, how)

    if case.jit:
        theirs = jax.jit(theirs, compiler_options=FAST)
    expected = theirs(jnp.asarray(case.at))
    successors = tuple(SUCCESSORS.get(name, ["djx.implicit.attach"]))
    at = tuple(np.ravel(case.at).tolist())
    found = ours(case.ours, successors, how, at, np.shape(case.at))
    for one, other in zip(found, expected, strict=True):
        assert np.all(np.isfinite(one))
        np.testing.assert_allclose(one, other, rtol=case.tolerance, atol=case.tolerance)
