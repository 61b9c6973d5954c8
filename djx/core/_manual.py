"""Arrays under `jax.shard_map`: along which mesh axes they differ."""

from typing import Any

import jax
from jax.core import ShapedArray
from jaxtyping import PyTree


def varying_axes(*sources: Any) -> frozenset[str]:
    """The manual mesh axes that some array of the sources differs along."""
    found: frozenset[str] = frozenset()
    for leaf in jax.tree.leaves(sources):
        if not isinstance(leaf, ShapedArray):
            if not hasattr(leaf, "dtype"):
                continue
            leaf = jax.typeof(leaf)
        kind = getattr(leaf, "mat", None)
        if kind is not None:
            found = found | kind.varying
    return found


def varying(tree: PyTree, axes: frozenset[str]) -> PyTree:
    """Marks arrays as differing along mesh axes: a loop's first values, say.

    Args:
        tree: arrays.
        axes: the mesh axes.

    Returns:
        The same values.
    """
    if not axes:
        return tree

    def cast(leaf):
        missing = tuple(axes - varying_axes(leaf))
        return jax.lax.pcast(leaf, missing, to="varying") if missing else leaf

    return jax.tree.map(cast, tree)


def varying_alike(tree: PyTree, *sources: Any) -> PyTree:
    """Marks arrays as differing along every mesh axis that a source differs along."""
    return varying(tree, varying_axes(sources))
