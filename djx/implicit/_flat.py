"""Pytrees of unknowns as one real vector, and back."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def flattened(tree: PyTree) -> Float[Array, " n"]:
    """All leaves as one real vector of their common type; complex ones as pairs."""
    leaves = [jnp.asarray(leaf) for leaf in jax.tree.leaves(tree)]
    parts = []
    for leaf in leaves:
        if jnp.iscomplexobj(leaf):
            parts += [leaf.real.ravel(), leaf.imag.ravel()]
        else:
            parts.append(leaf.ravel())
    if not parts:
        return jnp.zeros(0)
    dtype = jnp.result_type(*parts)
    return jnp.concatenate([part.astype(dtype) for part in parts])


def unflattener(tree: PyTree) -> Callable[[Array], Any]:
    """The inverse of `flattened` for trees like this one.

    Args:
        tree: arrays, or their shapes.

    Returns:
        A function from a vector to such a tree, each leaf in its own type.

    Raises:
        TypeError: where a leaf is not of a floating type.
    """
    leaves, structure = jax.tree.flatten(tree)
    kinds = [(jnp.shape(leaf), jnp.result_type(leaf)) for leaf in leaves]
    for shape, dtype in kinds:
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"unknowns are floating-point arrays, not {dtype} of shape {shape}"
            )

    def unflatten(vector):
        out, place = [], 0
        for shape, dtype in kinds:
            size = 1
            for length in shape:
                size *= length
            part = vector[place : place + size]
            place += size
            if jnp.issubdtype(dtype, jnp.complexfloating):
                part = jax.lax.complex(part, vector[place : place + size])
                place += size
            out.append(part.reshape(shape).astype(dtype))
        return jax.tree.unflatten(structure, out)

    return unflatten
