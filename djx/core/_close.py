"""Functions whose arrays are all arguments."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np

from ._manual import varying, varying_axes


def close(function: Callable, *examples: Any) -> tuple[Callable, list[Any]]:
    """Traces a function once and makes the arrays that it closes over arguments.

    Args:
        function: of pytrees of arrays.
        examples: arguments, or their shapes.

    Returns:
        A function of (constants, *arguments), and the constants.
    """
    jaxpr, shape = jax.make_jaxpr(function, return_shape=True)(*examples)
    structure = jax.tree.structure(shape)
    once = without_repetition(jaxpr.jaxpr)
    axes = varying_axes(examples)

    def closed(constants, *arguments):
        arguments = varying(arguments, axes)
        whole = jex.core.ClosedJaxpr(once, list(constants))
        out = jex.core.jaxpr_as_fun(whole)(*jax.tree.leaves(arguments))
        return jax.tree.unflatten(structure, out)

    return closed, [jnp.asarray(c) for c in jaxpr.consts]


def without_repetition(jaxpr: Any) -> Any:
    """Computes what several equations have in common once.

    Drift and diffusion often share a network. The compiler finds that out forwards, but
    by then their derivatives are two.

    Args:
        jaxpr: a trace.

    Returns:
        The trace with equal equations merged.
    """
    known: dict[Any, list[Any]] = {}
    same: dict[Any, Any] = {}
    equations = []

    def name(atom):
        if isinstance(atom, jex.core.Literal):
            return atom
        return same.get(atom, atom)

    for equation in jaxpr.eqns:
        inputs = [name(atom) for atom in equation.invars]
        new = equation.replace(invars=inputs)
        key = _key_of(new)
        if key is not None and key in known:
            same.update(zip(equation.outvars, known[key], strict=True))
            continue
        if key is not None:
            known[key] = list(equation.outvars)
        equations.append(new)
    return jaxpr.replace(eqns=equations, outvars=[name(a) for a in jaxpr.outvars])


def _key_of(equation):
    if equation.effects:
        return None
    inputs = []
    for atom in equation.invars:
        if isinstance(atom, jex.core.Literal):
            if np.ndim(atom.val):
                return None
            inputs.append((np.asarray(atom.val).item(), str(atom.aval)))
        else:
            inputs.append(id(atom))
    key = (equation.primitive, tuple(inputs), tuple(sorted(equation.params.items())))
    try:
        hash(key)
    except TypeError:
        return None
    return key
