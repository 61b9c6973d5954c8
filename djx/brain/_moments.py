"""Means and variances over time, in single precision however long a run is."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._selected import ranges


class Running(NamedTuple):
    """Moments so far (Welford 1962).

    After ten million values what one more adds is below a mean's last place: of both
    sums also the part is kept that rounding cut off (Knuth's two-sum).
    """

    count: Int[Array, ""]
    mean: Float[Array, "..."]
    mean_rest: Float[Array, "..."]
    square: Float[Array, "..."]
    """Sum of squared deviations."""
    square_rest: Float[Array, "..."]

    @classmethod
    def of(cls, shape: tuple[int, ...], dtype: Any) -> "Running":
        """Of nothing."""
        zeros = jnp.zeros(shape, dtype)
        return cls(jnp.zeros((), jnp.int32), zeros, zeros, zeros, zeros)

    def take(self, value: Float[Array, "..."], counts: Bool[Array, ""]) -> "Running":
        """With one value more, if it counts."""
        count = self.count + counts
        gap = (value - self.mean) - self.mean_rest
        share = jnp.where(counts, gap / jnp.maximum(count, 1), 0)
        mean, mean_rest = _two_sum(self.mean, self.mean_rest + share)
        moved = (value - mean) - mean_rest
        product = jnp.where(counts, gap * moved, 0)
        square, square_rest = _two_sum(self.square, self.square_rest + product)
        return Running(count, mean, mean_rest, square, square_rest)

    @property
    def variance(self) -> Float[Array, "..."]:
        """Mean squared deviation from the mean; 0 before any value."""
        return self.square / jnp.maximum(self.count, 1)


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """A rounded sum, and exactly what rounding took from it."""
    total = a + b
    part = total - a
    return total, (a - (total - part)) + (b - part)


class Moments(eqx.Module):
    """Mean and variance over time of anything that is read from a state.

    Attributes:
        running: moments so far.
        first: step from which values count.
        until: step from which they do not any more.
        read: a state to an array; a named function, as another one compiles anew.
    """

    running: Running
    first: Int[Array, ""]
    until: Int[Array, ""]
    read: Callable[[Any], Array] = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        read: Callable[[Any], Array],
        state: Any,
        first: int = 0,
        until: int = 2**31 - 1,
    ) -> "Moments":
        """Before any step.

        Args:
            read: a state to an array.
            state: any of the network, for shapes.
            first: step from which values count.
            until: step from which they do not any more.

        Returns:
            The monitor.
        """
        like = jax.eval_shape(read, state)
        running = Running.of(like.shape, jnp.result_type(like.dtype, jnp.float32))
        start, end = (jnp.asarray(n, jnp.int32) for n in (first, until))
        return cls(running, start, end, read)

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Moments":
        """After a step.

        Args:
            spiked: who; not looked at.
            step: its number.
            state: after it.

        Returns:
            The monitor.
        """
        counts = (step >= self.first) & (step < self.until)
        value = read_from(self, state)
        return dataclasses.replace(self, running=self.running.take(value, counts))

    @property
    def mean(self) -> Float[Array, "..."]:
        """Of values so far; 0 before any."""
        return self.running.mean

    @property
    def variance(self) -> Float[Array, "..."]:
        """Mean squared deviation from the mean; 0 before any value."""
        return self.running.variance


def voltage_mv(state: Any) -> Float[Array, " cells"]:
    """Of a network's cells.

    Args:
        state: the network's.

    Returns:
        Their membrane potentials.
    """
    return state.cells.v_mv


class Synchrony(eqx.Module):
    """How much of cells' variance their mean shares.

    Attributes:
        each: moments of each cell.
        means: moments of each population's mean over its cells.
        first: step from which values count.
        until: step from which they do not any more.
        sizes: of populations; None for one of all cells.
        read: a state to a value of each cell.
    """

    each: Running
    means: Running
    first: Int[Array, ""]
    until: Int[Array, ""]
    sizes: tuple[int, ...] | None = eqx.field(static=True)
    read: Callable[[Any], Array] = eqx.field(static=True)

    @classmethod
    def of(
        cls,
        state: Any,
        sizes: Sequence[int] | None = None,
        first: int = 0,
        until: int = 2**31 - 1,
        read: Callable[[Any], Array] = voltage_mv,
    ) -> "Synchrony":
        """Before any step.

        Args:
            state: any of the network, for shapes.
            sizes: of populations; None for one of all cells.
            first: step from which values count.
            until: step from which they do not any more.
            read: a state to a value of each cell.

        Returns:
            The monitor.
        """
        like = jax.eval_shape(read, state)
        if len(like.shape) != 1:
            raise ValueError(f"read: a value of each cell, not {like.shape}")
        if sizes is not None:
            ranges(jnp.zeros(like.shape), sizes)
        count = () if sizes is None else (len(sizes),)
        start, end = (jnp.asarray(n, jnp.int32) for n in (first, until))
        return cls(
            Running.of(like.shape, like.dtype),
            Running.of(count, like.dtype),
            start,
            end,
            None if sizes is None else tuple(sizes),
            read,
        )

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Synchrony":
        """After a step.

        Args:
            spiked: who; not looked at.
            step: its number.
            state: after it.

        Returns:
            The monitor.
        """
        counts = (step >= self.first) & (step < self.until)
        values = read_from(self, state)
        means = self._means(values)
        return dataclasses.replace(
            self,
            each=self.each.take(values, counts),
            means=self.means.take(means, counts),
        )

    def chi_squared(self) -> Float[Array, "..."]:
        """Variance of the mean over the mean variance (Golomb & Rinzel 1993).

        Returns:
            Of each population, or of all cells: 1 where all do the same, about one by
            their number where they are independent, 0 where nothing changes.
        """
        alone = self._means(self.each.variance)
        return jnp.where(
            alone > 0, self.means.variance / jnp.where(alone > 0, alone, 1), 0
        )

    def _means(self, values):
        if self.sizes is None:
            return jnp.mean(values)
        return jnp.stack([jnp.mean(some) for some in ranges(values, self.sizes)])


def read_from(monitor: Any, state: Any) -> Array:
    """What a monitor reads.

    Args:
        monitor: which, with a function `read`.
        state: of the network.

    Returns:
        What is read.

    Raises:
        ValueError: where there is no state.
    """
    if state is None:
        raise ValueError(
            f"state: {type(monitor).__name__} reads it; call see(spiked, step, state)"
        )
    return monitor.read(state)
