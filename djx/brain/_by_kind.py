"""Products of what each kind of synapse has with a factor of its own.

Rows are taken one by one, and slopes of all together: XLA copies a product with a
column of factors once more before `push`, and pads the slopes of single rows with zeros
in loops without vectors, ten times as slow.
"""

import functools as ft
import operator

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float


@jax.custom_jvp
def summed(
    numbers: Float[Array, "kinds count"], factors: Float[Array, " kinds"]
) -> Float[Array, " count"]:
    """The sum over kinds.

    Args:
        numbers: of every kind and cell.
        factors: of every kind.

    Returns:
        Of every cell.
    """
    return ft.reduce(operator.add, _each(numbers, factors))


@jax.custom_jvp
def scaled(
    numbers: Float[Array, "kinds count"], factors: Float[Array, " kinds"]
) -> Float[Array, "kinds count"]:
    """The products.

    Args:
        numbers: of every kind and cell.
        factors: of every kind.

    Returns:
        Of every kind and cell.
    """
    return jnp.stack(_each(numbers, factors))


def _each(numbers, factors):
    return [numbers[kind] * factors[kind] for kind in range(numbers.shape[0])]


def _slope(function, reduced, primals, tangents):
    numbers, factors = primals
    value, total = function(numbers, factors), None
    for one, other in (
        (tangents[0], factors[:, None]),
        (tangents[1], numbers),
    ):
        if isinstance(one, SymbolicZero):
            continue
        one = one if one.ndim == 2 else one[:, None]
        part = reduced(one * other)
        total = part if total is None else total + part
    return value, jnp.zeros_like(value) if total is None else total


summed.defjvp(ft.partial(_slope, summed, lambda x: jnp.sum(x, 0)), symbolic_zeros=True)
scaled.defjvp(ft.partial(_slope, scaled, lambda x: x), symbolic_zeros=True)
