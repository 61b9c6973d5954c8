"""What is remembered of a run: as much memory for a second as for an hour."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from ._moments import read_from
from ._selected import check_within, chosen_cells


class Raster(eqx.Module):
    """Spikes of the first cells, over a window of steps.

    Attributes:
        spikes: by step and cell.
        first: step at which the window begins.
    """

    spikes: Bool[Array, "steps cells"]
    first: Int[Array, ""]

    @classmethod
    def of(cls, steps: int, cells: int, first: int = 0) -> "Raster":
        """Before any step.

        Args:
            steps: of the window.
            cells: how many.
            first: step at which the window begins.

        Returns:
            The monitor.
        """
        return cls(jnp.zeros((steps, cells), bool), jnp.asarray(first, jnp.int32))

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Raster":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: after it; not looked at.

        Returns:
            The monitor.
        """
        if spiked.shape[0] < self.spikes.shape[1]:
            raise ValueError(
                f"spiked: {spiked.shape[0]} cells, fewer than the raster's "
                f"{self.spikes.shape[1]}"
            )
        place = step - self.first
        place = jnp.where(place < 0, self.spikes.shape[0], place)
        row = spiked[: self.spikes.shape[1]]
        return Raster(self.spikes.at[place].set(row, mode="drop"), self.first)


class Spikes(eqx.Module):
    """When some cells spiked, as far as there is room.

    Attributes:
        steps: of each cell's spikes, in order; -1 where none was yet.
        counts: of its spikes, also of those without room.
        cells: which.
        first: step from which spikes count.
        within: how many cells there have to be.
    """

    steps: Int[Array, "some capacity"]
    counts: Int[Array, " some"]
    cells: Int[Array, " some"]
    first: Int[Array, ""]
    within: int = eqx.field(static=True)

    @classmethod
    def of(
        cls, cells: Sequence[int] | np.ndarray | int, capacity: int, first: int = 0
    ) -> "Spikes":
        """Before any step.

        Args:
            cells: which, or how many first ones; each costs a little at every step.
            capacity: spikes of each for which there is room.
            first: step from which spikes count.

        Returns:
            The monitor.
        """
        chosen, within = chosen_cells(cells)
        steps = jnp.full((len(chosen), capacity), -1, jnp.int32)
        start = jnp.asarray(first, jnp.int32)
        return cls(steps, jnp.zeros_like(chosen), chosen, start, within)

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Spikes":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: after it; not looked at.

        Returns:
            The monitor.
        """
        check_within(spiked, self.within)
        some, capacity = self.steps.shape
        now = spiked[self.cells] & (step >= self.first)
        place = jnp.where(now, self.counts, capacity)
        steps = self.steps.at[jnp.arange(some), place].set(
            jnp.asarray(step, jnp.int32), mode="drop"
        )
        return dataclasses.replace(self, steps=steps, counts=self.counts + now)

    @property
    def lost(self) -> Int[Array, " some"]:
        """Spikes of each cell for which there was no room."""
        return jnp.maximum(self.counts - self.steps.shape[1], 0)


class Traces(eqx.Module):
    """What is read from every so manieth state.

    Attributes:
        values: by sample; NaN, or else 0, where none was taken yet.
        cells: which, on the last axis of what is read; None for all of it.
        first: step of the first sample.
        every: steps from a sample to the next.
        read: a state to an array; a named function, as another one compiles anew.
    """

    values: Array
    cells: Int[Array, " some"] | None
    first: Int[Array, ""]
    every: int = eqx.field(static=True)
    read: Callable[[Any], Array] = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        read: Callable[[Any], Array],
        state: Any,
        samples: int,
        every: int = 1,
        first: int = 0,
        cells: Sequence[int] | np.ndarray | int | None = None,
    ) -> "Traces":
        """Before any step.

        Args:
            read: a state to an array.
            state: any of the network, for shapes.
            samples: how many at most; none is taken after them.
            every: steps from a sample to the next.
            first: step of the first sample, which is of the state after it.
            cells: which, on the last axis, or how many first ones; None for all.

        Returns:
            The monitor.
        """
        if every < 1:
            raise ValueError(f"every={every}: has to be a step or more")
        like = jax.eval_shape(read, state)
        chosen, shape = None, like.shape
        if cells is not None:
            chosen, within = chosen_cells(cells)
            if within > (shape[-1] if shape else 0):
                raise ValueError(f"cells: number {within - 1} is not among {shape}")
            shape = (*shape[:-1], len(chosen))
        none = jnp.nan if jnp.issubdtype(like.dtype, jnp.inexact) else 0
        values = jnp.full((samples, *shape), none, like.dtype)
        return cls(values, chosen, jnp.asarray(first, jnp.int32), every, read)

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Traces":
        """After a step.

        Args:
            spiked: who; not looked at.
            step: its number.
            state: after it.

        Returns:
            The monitor.
        """
        value = read_from(self, state)
        if self.cells is not None:
            value = value[..., self.cells]
        place, beside = jnp.divmod(step - self.first, self.every)
        taken = (beside == 0) & (place >= 0)
        place = jnp.where(taken, place, self.values.shape[0])
        values = self.values.at[place].set(value, mode="drop")
        return dataclasses.replace(self, values=values)

    @property
    def steps(self) -> Int[Array, " samples"]:
        """Of samples, taken or not."""
        return self.first + self.every * jnp.arange(self.values.shape[0])
