"""Batches of solves that step together, each with steps of its own."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, PyTree


class Lanes:
    """The batch axes of a solve, outermost first, and which inputs have them.

    State always has all axes in front. An input that lacks an axis is shared along it,
    so that a field's weights meet the whole batch in one matrix product.
    """

    def __init__(self, sizes: tuple[int, ...], flags: Sequence[tuple[bool, ...]]):
        self.sizes = sizes
        self.flags = list(flags)

    @property
    def count(self) -> int:
        """How many axes."""
        return len(self.sizes)

    def added(self, size: int, has: Sequence[bool]) -> "Lanes":
        """The same with one more axis, outermost."""
        flags = [(h, *f) for h, f in zip(has, self.flags, strict=True)]
        return Lanes((size, *self.sizes), flags)

    def over(self, function: Callable, *axes: Any, out_axes: Any = 0) -> Callable:
        """Maps a function of (*state, inputs) over all lanes.

        Args:
            function: of single-lane values; its last argument is the list of inputs.
            axes: where the state arguments have their lanes (default 0 each).
            out_axes: where the results have theirs.

        Returns:
            The function of batched values.
        """
        for level in reversed(range(self.count)):
            shared = [0 if flags[level] else None for flags in self.flags]
            in_axes = (*axes, shared)
            function = jax.vmap(function, in_axes=in_axes, out_axes=out_axes)
        return function

    def spread(self, array: Array, index: int) -> Array:
        """Input number `index` with every lane axis present."""
        missing = [i for i, has in enumerate(self.flags[index]) if not has]
        array = jnp.expand_dims(array, missing)
        return jnp.broadcast_to(array, (*self.sizes, *array.shape[self.count :]))

    def gathered(self, array: Array, index: int) -> Array:
        """Sums a cotangent over the lanes that share input number `index`."""
        missing = [i for i, has in enumerate(self.flags[index]) if not has]
        return jnp.sum(array, missing) if missing else array

    def choose(self, mask: Bool[Array, "..."], new: PyTree, old: PyTree) -> PyTree:
        """`new` where the mask (over lanes) holds."""

        def pick(a, b):
            a, b = jnp.asarray(a), jnp.asarray(b)
            wide = jnp.expand_dims(mask, tuple(range(mask.ndim, a.ndim)))
            return jnp.where(wide, a, b.astype(a.dtype))

        return jax.tree.map(pick, new, old)


def any_lane(mask: Bool[Array, "..."]) -> Bool[Array, ""]:
    """Whether the mask holds in some lane."""
    return jnp.any(mask) if mask.ndim else mask
