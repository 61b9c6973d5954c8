"""What is remembered of a run: as much memory for a second as for an hour."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


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
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""]
    ) -> "SpikeStatistics":
        """After a step.

        Args:
            spiked: who.
            step: its number.

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

    def rates_hz(self, dt_ms: float) -> Float[Array, " cells"]:
        """Spikes a second of each cell.

        Args:
            dt_ms: length of a step.

        Returns:
            The rates; 0 where nothing was seen.
        """
        return self.counts * (1000 / dt_ms) / jnp.maximum(self.steps, 1)

    def variation(self, least: int = 3) -> Float[Array, ""]:
        """The mean coefficient of variation of intervals.

        Args:
            least: intervals of a cell that counts.

        Returns:
            About 1 for a Poisson process, 0 for clocks; 0 where no cell counts.
        """
        intervals = jnp.maximum(self.counts - 1, 0)
        enough = intervals >= max(least, 2)
        spread = jnp.sqrt(self.square / jnp.maximum(intervals, 1))
        each = jnp.where(enough, spread / jnp.where(enough, self.mean, 1), 0)
        return jnp.sum(each) / jnp.maximum(jnp.sum(enough), 1)


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

    def see(self, spiked: Bool[Array, " cells"], step: Int[Array, ""]) -> "Raster":
        """After a step.

        Args:
            spiked: who.
            step: its number.

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
