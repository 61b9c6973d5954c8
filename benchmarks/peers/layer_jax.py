"""Calls of a layer in JAX, alone or with its gradients."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np


def layer_call(
    layer: Callable,
    given: Sequence[np.ndarray],
    gradient: bool,
    read: Callable,
    by: int | None = None,
):
    """`make` of a layer of a batch.

    Args:
        layer: of the arrays given.
        given: its arguments.
        gradient: whether to call the gradient of sum(sin(layer)).
        read: numbers of a gradient, for the table.
        by: how many of the arguments it is by; all if None.

    Returns:
        What `diffeq_calls.repeated` takes.
    """

    def loss(*parts):
        return jnp.sum(jnp.sin(layer(*parts)))

    def make():
        parts = [jnp.asarray(part) for part in given]
        places = tuple(range(len(parts) if by is None else by))
        compiled = jax.jit(jax.grad(loss, places) if gradient else layer)

        def call():
            return jax.tree.map(np.asarray, jax.block_until_ready(compiled(*parts)))

        return call, read if gradient else (lambda result: {})

    return make
