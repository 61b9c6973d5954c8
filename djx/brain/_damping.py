"""What flows back, made smaller, while what happens stays the same."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def damped(tree: PyTree, factor: Float[Array, ""] | float) -> PyTree:
    """The same, whose derivatives are multiplied.

    Once a step, with a factor of exp(-growth * dt), it takes back what a chaotic
    network's gradient grows by; at some bias, as later causes count for more.

    Args:
        tree: arrays; those of whole numbers have no derivative anyway.
        factor: by what, itself without a derivative; 0 stops also what is infinite.

    Returns:
        The tree, bit for bit.
    """

    def one(x):
        return (
            _damped(x, factor) if jnp.issubdtype(jnp.result_type(x), jnp.inexact) else x
        )

    return jax.tree.map(one, tree)


def detached(tree: PyTree) -> PyTree:
    """The same, through which nothing flows back.

    Args:
        tree: arrays.

    Returns:
        The tree, bit for bit.
    """
    return jax.tree.map(jax.lax.stop_gradient, tree)


@jax.custom_jvp
def _damped(x, factor):
    return jnp.asarray(x)


@_damped.defjvp
def _damped_jvp(primals, tangents):
    x, factor = primals
    factor = jnp.asarray(factor, jnp.result_type(x))
    # Zero times infinity would be no number.
    passed = jnp.where(factor == 0, 0, tangents[0])
    return jnp.asarray(x), passed * factor
