"""The derivative of a vector function as a matrix."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def matrix_of(
    function: Callable[[Float[Array, " n"]], Float[Array, " m"]],
    x: Float[Array, " n"],
) -> Float[Array, "m n"]:
    """dF/dx, column by column in one batch.

    Args:
        function: F.
        x: where.

    Returns:
        The matrix.
    """
    _, push = jax.linearize(function, x)
    return jax.vmap(push, out_axes=1)(jnp.eye(x.shape[0], dtype=x.dtype))
