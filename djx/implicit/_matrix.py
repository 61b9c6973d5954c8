"""The derivative of a vector function as a matrix."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend as jex
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


Vector = Float[Array, " n"]

# Operations that only move entries: of the unit vectors they need no arithmetic.
_MOVES = {"slice", "reshape", "squeeze", "transpose", "copy", "broadcast_in_dim"}


def matrix_of(
    function: Callable[[Vector], Float[Array, " m"]], x: Vector
) -> Float[Array, "m n"]:
    """dF/dx, column by column in one batch.

    Args:
        function: F.
        x: where.

    Returns:
        The matrix.
    """
    _, push = jax.linearize(function, x)
    return matrix_of_linear(push, x)


def matrix_of_linear(
    function: Callable[[Vector], Float[Array, " m"]], x: Vector
) -> Float[Array, "m n"]:
    """The matrix of a linear function.

    A product of a given matrix with the identity is that matrix: it is looked up, not
    computed. That halves the cost of Hessians of models that begin with a product.

    Args:
        function: linear.
        x: a vector like its argument.

    Returns:
        The matrix.
    """
    n = x.shape[0]
    closed = jax.make_jaxpr(function)(x)
    rest, looked_up = _without_lookups(closed, n)
    unit = jnp.eye(n, dtype=x.dtype)
    return jax.vmap(rest, in_axes=(0, *[0] * len(looked_up)), out_axes=1)(
        unit, *looked_up
    )


def _without_lookups(closed: Any, n: int) -> tuple[Callable, list[Array]]:
    """The function of (unit vector, *products with it), and those for all vectors."""
    jaxpr = closed.jaxpr
    constants = dict(zip(jaxpr.constvars, closed.consts, strict=True))
    places = {jaxpr.invars[0]: np.arange(n)}  # which entry of the unit vector is where
    kept, new, looked_up = [], [], []
    for equation in jaxpr.eqns:
        name = equation.primitive.name
        first = equation.invars[0] if len(equation.invars) else None
        if name in _MOVES and len(equation.invars) == 1 and _known(first, places):
            moved = _moved(equation, places[first])
            if moved is not None:
                places[equation.outvars[0]] = moved
        elif name == "dot_general":
            found = _looked_up(equation, places, constants, n)
            if found is not None:
                new.append(equation.outvars[0])
                looked_up.append(found)
                continue
        kept.append(equation)
    whole = jaxpr.replace(eqns=kept, constvars=[*jaxpr.constvars, *new])

    def rest(unit, *products):
        known = jex.core.ClosedJaxpr(whole, [*closed.consts, *products])
        return jex.core.jaxpr_as_fun(known)(unit)[0]

    return rest, looked_up


def _known(atom: Any, places: dict) -> bool:
    return _is_variable(atom) and atom in places


def _moved(equation: Any, index: np.ndarray) -> np.ndarray | None:
    if equation.primitive.name == "broadcast_in_dim":
        out = equation.outvars[0].aval
        if out.size != index.size:
            return None
        return index.reshape(out.shape)
    with jax.ensure_compile_time_eval():
        return np.asarray(equation.primitive.bind(index, **equation.params))


def _looked_up(equation, places, constants, n: int) -> Array | None:
    """Entries of a unit vector against one axis of a constant, for all vectors."""
    (axes, batch) = equation.params["dimension_numbers"]
    if batch[0] or equation.params.get("preferred_element_type") not in (
        None,
        equation.outvars[0].aval.dtype,
    ):
        return None
    for this, that in ((0, 1), (1, 0)):
        vector, matrix = equation.invars[this], equation.invars[that]
        if not _known(vector, places) or not _is_variable(matrix):
            continue
        index, value = places[vector], constants.get(matrix)
        if value is None or index.ndim != 1 or len(axes[this]) != 1:
            continue
        start = int(index[0]) if len(index) else 0
        if not np.array_equal(index, np.arange(start, start + len(index))):
            continue
        if value.dtype != equation.outvars[0].aval.dtype:
            continue
        rows = jnp.moveaxis(jnp.asarray(value), axes[that][0], 0)
        after = n - start - len(index)
        return jnp.pad(rows, [(start, after), *[(0, 0)] * (rows.ndim - 1)])
    return None


def is_constant(function: Callable[[Vector], Array], x: Vector) -> bool:
    """Whether the derivative can be seen not to depend on where it is taken.

    Args:
        function: F.
        x: like its argument.

    Returns:
        True only if the trace of the derivative's product makes no use of x.
    """

    def product(x, u):
        return jax.jvp(function, (x,), (u,))[1]

    jaxpr = jax.make_jaxpr(product)(x, x).jaxpr
    needed = {atom for atom in jaxpr.outvars if _is_variable(atom)}
    for equation in reversed(jaxpr.eqns):
        if equation.effects or needed.intersection(equation.outvars):
            needed.update(atom for atom in equation.invars if _is_variable(atom))
    return jaxpr.invars[0] not in needed


def _is_variable(atom: Any) -> bool:
    return not isinstance(atom, jex.core.Literal)
