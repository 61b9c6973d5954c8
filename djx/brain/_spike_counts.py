"""Spike counts in bins: of populations, and how cells' own go together."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ._selected import check_within, chosen_cells, ranges
from ._spike_statistics import mean_of_known


class PopulationRate(eqx.Module):
    """Spikes of populations, which are ranges of cells, in bins of steps.

    Attributes:
        counts: by bin and population.
        seen: steps of each bin.
        first: step at which the first bin begins.
        bin_steps: length of a bin.
        sizes: of populations.
    """

    counts: Int[Array, "bins populations"]
    seen: Int[Array, " bins"]
    first: Int[Array, ""]
    bin_steps: int = eqx.field(static=True)
    sizes: tuple[int, ...] = eqx.field(static=True)

    @classmethod
    def of(
        cls, sizes: Sequence[int], bin_steps: int, bins: int, first: int = 0
    ) -> "PopulationRate":
        """Before any step.

        Args:
            sizes: of populations.
            bin_steps: length of a bin.
            bins: how many; spikes after the last do not count.
            first: step at which the first begins.

        Returns:
            The monitor.
        """
        if bin_steps < 1:
            raise ValueError(f"bin_steps={bin_steps}: has to be a step or more")
        counts = jnp.zeros((bins, len(sizes)), jnp.int32)
        start = jnp.asarray(first, jnp.int32)
        return cls(counts, counts[:, 0] * 0, start, bin_steps, tuple(sizes))

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "PopulationRate":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: after it; not looked at.

        Returns:
            The monitor.
        """
        some = [jnp.sum(s, dtype=jnp.int32) for s in ranges(spiked, self.sizes)]
        place = (step - self.first) // self.bin_steps
        place = jnp.where(place < 0, len(self.seen), place)
        return dataclasses.replace(
            self,
            counts=self.counts.at[place].add(jnp.stack(some), mode="drop"),
            seen=self.seen.at[place].add(1, mode="drop"),
        )

    def rates_hz(self, dt_ms: float) -> Float[Array, "bins populations"]:
        """Spikes a second of a cell.

        Args:
            dt_ms: length of a step.

        Returns:
            By bin and population; NaN in bins that were not seen.
        """
        seen = self.seen[:, None]
        each = self.counts * (1000 / dt_ms) / np.asarray(self.sizes)
        return jnp.where(seen > 0, each / jnp.maximum(seen, 1), jnp.nan)

    def fano(self) -> Float[Array, " populations"]:
        """Variance over mean of a population's count, over bins that were seen whole.

        Returns:
            About 1 for independent Poisson processes, more where cells fire together;
            NaN where there was no spike.
        """
        whole = (self.seen == self.bin_steps)[:, None]
        bins = jnp.maximum(jnp.sum(whole), 1)
        mean = jnp.sum(self.counts * whole, 0) / bins
        variance = jnp.sum(whole * (self.counts - mean) ** 2, 0) / bins
        return jnp.where(mean > 0, variance / jnp.where(mean > 0, mean, 1), jnp.nan)


class Correlations(eqx.Module):
    """Correlations between some cells' spike counts, in bins one after the other.

    Attributes:
        cells: which.
        counts: their spikes in the bin that is not over.
        seen: steps of it.
        bins: how many are over and were seen whole; others are left out.
        mean: of counts in a bin.
        products: sums of products of their deviations (Welford 1962).
        first: step at which the first bin begins.
        bin_steps: length of a bin.
        within: how many cells there have to be.
    """

    cells: Int[Array, " some"]
    counts: Int[Array, " some"]
    seen: Int[Array, ""]
    bins: Int[Array, ""]
    mean: Float[Array, " some"]
    products: Float[Array, "some some"]
    first: Int[Array, ""]
    bin_steps: int = eqx.field(static=True)
    within: int = eqx.field(static=True)

    @classmethod
    def of(
        cls, cells: Sequence[int] | np.ndarray | int, bin_steps: int, first: int = 0
    ) -> "Correlations":
        """Before any step.

        Args:
            cells: which, some hundreds at most; so many first ones, if a number.
            bin_steps: length of a bin.
            first: step at which the first bin begins.

        Returns:
            The monitor.
        """
        if bin_steps < 1:
            raise ValueError(f"bin_steps={bin_steps}: has to be a step or more")
        chosen, within = chosen_cells(cells)
        none, real = jnp.zeros((), jnp.int32), jnp.zeros(chosen.shape, jnp.float32)
        products = jnp.zeros((len(chosen), len(chosen)), jnp.float32)
        start = jnp.asarray(first, jnp.int32)
        whole = jnp.zeros_like(chosen)
        return cls(chosen, whole, none, none, real, products, start, bin_steps, within)

    def see(
        self, spiked: Bool[Array, " cells"], step: Int[Array, ""], state: Any = None
    ) -> "Correlations":
        """After a step.

        Args:
            spiked: who.
            step: its number.
            state: after it; not looked at.

        Returns:
            The monitor.
        """
        check_within(spiked, self.within)
        began = step >= self.first
        counts = self.counts + (spiked[self.cells] & began)
        seen = self.seen + began
        over = began & ((step - self.first) % self.bin_steps == self.bin_steps - 1)
        whole = over & (seen == self.bin_steps)
        bins = self.bins + whole

        def taken(mean, products):
            gap = counts - mean
            mean = mean + gap / jnp.maximum(bins, 1)
            return mean, products + gap[:, None] * (counts - mean)

        mean, products = jax.lax.cond(
            whole, taken, lambda *same: same, self.mean, self.products
        )
        return dataclasses.replace(
            self,
            counts=jnp.where(over, 0, counts),
            seen=jnp.where(over, 0, seen),
            bins=bins,
            mean=mean,
            products=products,
        )

    def matrix(self) -> Float[Array, "some some"]:
        """Pearson's coefficient of each two; NaN where one's count never changed."""
        spread = jnp.sqrt(jnp.diagonal(self.products))
        both = spread[:, None] * spread
        return jnp.where(
            both > 0, self.products / jnp.where(both > 0, both, 1), jnp.nan
        )

    def mean_of_pairs(self) -> Float[Array, ""]:
        """The mean over different cells whose counts change; 0 where there are none."""
        matrix = self.matrix()
        return mean_of_known(jnp.where(jnp.eye(len(matrix)) > 0, jnp.nan, matrix))
