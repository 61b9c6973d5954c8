"""How often and how evenly cells spike, as a run goes on."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ._selected import ranges


class SpikeStatistics(eqx.Module):
    """Counts, and moments of the intervals between a cell's spikes.

    Attributes:
        counts: spikes of each cell.
        last: the step of its last spike; -1 before the first.
        mean: of its intervals so far, in steps.
        square: sum of their squared deviations (Welford 1962).
        first: step from which spikes count.
        until: step from which they do not any more.
        steps: how many counted.
    """

    counts: Int[Array, " cells"]
    last: Int[Array, " cells"]
    mean: Float[Array, " cells"]
    square: Float[Array, " cells"]
    first: Int[Array, ""]
    until: Int[Array, ""]
    steps: Int[Array, ""]

    @classmethod
    def of(
        cls, cells: int, first: int = 0, until: int = 2**31 - 1
    ) -> "SpikeStatistics":
        """Before any step.

        Args:
            cells: how many.
            first: step from which spikes count.
            until: step from which they do not any more.

        Returns:
            The monitor.
        """
        whole = jnp.zeros(cells, jnp.int32)
        real = jnp.zeros(cells, jnp.float32)
        start, end, none = (jnp.asarray(n, jnp.int32) for n in (first, until, 0))
        return cls(whole, whole - 1, real, real, start, end, none)

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "SpikeStatistics":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: after it; not looked at.

        Returns:
            The monitor.
        """
        if spiked.shape != self.counts.shape:
            raise ValueError(
                f"spiked: {spiked.shape} are not the {self.counts.shape} cells of the "
                "statistics"
            )
        counts = (step >= self.first) & (step < self.until)
        spiked = spiked & counts
        ended = spiked & (self.last >= 0)
        interval = (step - self.last).astype(self.mean.dtype)
        # A cell with n spikes has had n - 1 intervals, and this one is its n-th.
        gap = interval - self.mean
        mean = jnp.where(
            ended, self.mean + gap / jnp.maximum(self.counts, 1), self.mean
        )
        square = jnp.where(ended, self.square + gap * (interval - mean), self.square)
        return SpikeStatistics(
            self.counts + spiked,
            jnp.where(spiked, step, self.last).astype(jnp.int32),
            mean,
            square,
            self.first,
            self.until,
            self.steps + counts,
        )

    def rates_hz(
        self, dt_ms: float, sizes: Sequence[int] | None = None
    ) -> Float[Array, "..."]:
        """Spikes a second.

        Args:
            dt_ms: length of a step.
            sizes: of populations, whose means are asked for; of each cell if None.

        Returns:
            The rates; 0 where nothing was seen.
        """
        rates = self.counts * (1000 / dt_ms) / jnp.maximum(self.steps, 1)
        if sizes is None:
            return rates
        return jnp.stack([jnp.mean(some) for some in ranges(rates, sizes)])

    def variations(self, least: int = 3) -> Float[Array, " cells"]:
        """The coefficient of variation of each cell's intervals.

        Args:
            least: intervals of a cell that counts.

        Returns:
            About 1 for a Poisson process, 0 for clocks; NaN where a cell counts not.
        """
        intervals = jnp.maximum(self.counts - 1, 0)
        enough = intervals >= max(least, 2)
        spread = jnp.sqrt(self.square / jnp.maximum(intervals, 1))
        return jnp.where(enough, spread / jnp.where(enough, self.mean, 1), jnp.nan)

    def variation(
        self, least: int = 3, sizes: Sequence[int] | None = None
    ) -> Float[Array, "..."]:
        """The mean coefficient of variation of intervals.

        Args:
            least: intervals of a cell that counts.
            sizes: of populations, each of which has its own; of all cells if None.

        Returns:
            About 1 for a Poisson process, 0 for clocks; 0 where no cell counts.
        """
        each = self.variations(least)
        if sizes is None:
            return mean_of_known(each)
        return jnp.stack([mean_of_known(some) for some in ranges(each, sizes)])


def mean_of_known(values: Float[Array, "..."]) -> Float[Array, ""]:
    """The mean of those that are not NaN.

    Args:
        values: any.

    Returns:
        Their mean; 0 where there are none.
    """
    known = ~jnp.isnan(values)
    return jnp.sum(jnp.where(known, values, 0)) / jnp.maximum(jnp.sum(known), 1)
