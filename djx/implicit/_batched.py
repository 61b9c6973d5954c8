"""Operations on flat unknowns over any number of mapped axes."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ..core import Operation


class Batched(Operation):
    """An operation on a flat unknown over any number of mapped axes.

    Args:
        levels: for each mapped axis, innermost first: which arguments have it, in
            front. Vectors that are solved for have all of them.
    """

    levels: tuple[tuple[bool, ...], ...] = ()

    def alike(self, **changes: Any):
        """A copy with other attributes."""
        copy = object.__new__(type(self))
        copy.__dict__.update(self.__dict__ | changes)
        return copy

    def mapped_everywhere(self, index: int, count: int) -> bool:
        """Whether an argument, one of so many, has to have every mapped axis."""
        raise NotImplementedError

    def expanded(self, size, dims, arrays):
        """The same with one more level, whose axis is in front."""
        moved, flags = [], []
        for index, (dim, array) in enumerate(zip(dims, arrays, strict=True)):
            if dim is not None:
                array = jnp.moveaxis(array, dim, 0)
            elif self.mapped_everywhere(index, len(arrays)):
                array = jnp.broadcast_to(array, (size, *array.shape))
                dim = 0
            moved.append(array)
            flags.append(dim is not None)
        whole = self.alike(levels=(*self.levels, tuple(flags)))
        return whole, moved, [0 if flag else None for flag in flags], 0

    def over_lanes(self, function: Callable, places: Sequence[int | None]) -> Callable:
        """Maps a function over all levels; None: an argument that has every axis."""
        for flags in self.levels:
            axes = [0 if p is None or flags[p] else None for p in places]
            function = jax.vmap(function, in_axes=tuple(axes))
        return function
