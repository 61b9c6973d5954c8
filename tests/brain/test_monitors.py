"""Monitors keep what the whole record would tell, and need not be told at once."""

from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import Array

from djx.brain._monitors import Raster, Spikes, Traces
from djx.brain._spike_counts import Correlations, PopulationRate
from djx.brain._spike_statistics import SpikeStatistics


class Cells(NamedTuple):
    v_mv: Array


class State(NamedTuple):
    cells: Cells
    open_ns: Array


STEPS, SIZES, DT = 600, (5, 4, 3), 0.1
COUNT = sum(SIZES)
CHOSEN = [9, 2, 5, 0]
ENDS = np.cumsum((0, *SIZES))


def conductances(state):
    return state.open_ns


def voltages(state):
    return state.cells.v_mv


def recorded(seed):
    """Spikes of which some are common, and voltages that move together in part."""
    rng = np.random.default_rng(seed)
    common = rng.random((STEPS, 1)) < 0.05
    spiked = (rng.random((STEPS, COUNT)) < np.linspace(0, 0.2, COUNT)) | common
    spiked[:, 0] = False
    shared = np.cumsum(rng.normal(size=(STEPS, 1)), 0) / 9
    v_mv = -55 + shared + rng.normal(size=(STEPS, COUNT))
    return spiked, v_mv.astype(np.float32), rng.random((STEPS, 2, COUNT), np.float32)


def started():
    like = State(Cells(jnp.zeros(COUNT)), jnp.zeros((2, COUNT)))
    return {
        "statistics": SpikeStatistics.of(COUNT, 50, 550),
        "raster": Raster.of(100, 6, 450),
        "spikes": Spikes.of(CHOSEN, 30, 20),
        "traces": Traces.of(conductances, like, 40, 7, 33, CHOSEN),
        "all": Traces.of(voltages, like, 200, 10),
        "rates": PopulationRate.of(SIZES, 50, 11, 25),
        "pairs": Correlations.of(CHOSEN + [7], 20, 10),
    }


def seen(monitors, record, steps):
    def one(monitors, row):
        step, spiked, v_mv, open_ns = row
        state = State(Cells(v_mv), open_ns)
        see = lambda m: m.see(spiked, step, state)  # noqa: E731
        is_monitor = lambda m: hasattr(m, "see")  # noqa: E731
        return jax.tree.map(see, monitors, is_leaf=is_monitor), None

    return jax.lax.scan(one, monitors, (steps, *record))[0]


run = jax.jit(seen)


@pytest.fixture(scope="module")
def found():
    return run(started(), recorded(0), jnp.arange(STEPS))


SPIKED, V_MV, OPEN_NS = recorded(0)


def test_spikes_are_those_of_the_record(found):
    np.testing.assert_array_equal(found["raster"].spikes, SPIKED[450:550, :6])
    spikes = found["spikes"]
    for row, count, lost, cell in zip(
        *map(np.asarray, (spikes.steps, spikes.counts, spikes.lost)),
        CHOSEN,
        strict=True,
    ):
        when = np.flatnonzero(SPIKED[20:, cell]) + 20
        assert (count, lost) == (len(when), max(len(when) - 30, 0))
        np.testing.assert_array_equal(row[row >= 0], when[:30])
    assert np.any(np.asarray(spikes.lost) > 0) and np.any(
        np.asarray(spikes.counts) < 30
    )


def test_statistics_of_populations(found):
    statistics, kept = found["statistics"], SPIKED[50:550]
    rates = kept.sum(0) / (500 * DT / 1000)
    np.testing.assert_allclose(statistics.rates_hz(DT), rates, rtol=1e-6)
    by_size = np.add.reduceat(rates, ENDS[:-1]) / SIZES
    np.testing.assert_allclose(statistics.rates_hz(DT, SIZES), by_size, rtol=1e-6)
    each = np.full(COUNT, np.nan)
    for cell in range(COUNT):
        gaps = np.diff(np.flatnonzero(kept[:, cell]))
        if len(gaps) >= 3:
            each[cell] = gaps.std() / gaps.mean()
    assert np.isnan(each[0])
    np.testing.assert_allclose(statistics.variations(), each, rtol=1e-5)
    np.testing.assert_allclose(statistics.variation(), np.nanmean(each), rtol=1e-5)
    means = [np.nanmean(each[a:b]) for a, b in zip(ENDS[:-1], ENDS[1:], strict=True)]
    np.testing.assert_allclose(statistics.variation(3, SIZES), means, rtol=1e-5)


def test_rates_of_populations_by_bins(found):
    rates = found["rates"]
    counts = np.add.reduceat(SPIKED[25:575], ENDS[:-1], axis=1, dtype=int)
    counts = counts.reshape(11, 50, 3).sum(1)
    np.testing.assert_array_equal(rates.counts, counts)
    np.testing.assert_allclose(
        rates.rates_hz(DT), counts / np.array(SIZES) / 0.005, rtol=1e-6
    )
    np.testing.assert_allclose(rates.fano(), counts.var(0) / counts.mean(0), rtol=1e-5)
    # What was seen in part is a rate, but no bin; what was not is no rate.
    part = run(started(), [r[:300] for r in recorded(0)], jnp.arange(300))["rates"]
    assert np.isnan(part.rates_hz(DT)[6:]).all()
    few = SPIKED[275:300, :5].sum() / 5 / 0.0025
    np.testing.assert_allclose(part.rates_hz(DT)[5, 0], few, rtol=1e-6)
    whole = counts[:5, 0]
    np.testing.assert_allclose(part.fano()[0], whole.var() / whole.mean(), rtol=1e-5)


def test_counts_that_go_together(found):
    pairs = found["pairs"]
    counts = SPIKED[10:590, CHOSEN + [7]].reshape(29, 20, 5).sum(1)
    assert pairs.bins == 29
    with np.errstate(invalid="ignore"):
        expected = np.corrcoef(counts.T)
    assert np.isnan(expected[3]).all()  # the silent one
    np.testing.assert_allclose(pairs.matrix(), expected, rtol=1e-4, atol=1e-6)
    mean = np.nanmean(expected[np.triu_indices(5, 1)])
    np.testing.assert_allclose(pairs.mean_of_pairs(), mean, rtol=1e-5)


def test_traces_are_the_states_at_their_steps(found):
    traces = found["traces"]
    assert traces.steps.tolist() == list(range(33, 33 + 40 * 7, 7))
    np.testing.assert_array_equal(traces.values, OPEN_NS[33:313:7][..., CHOSEN])
    every = np.asarray(found["all"].values)
    np.testing.assert_array_equal(every[:60], V_MV[::10])
    assert np.isnan(every[60:]).all()


def test_a_run_that_goes_on_is_one_run(found):
    half = run(started(), [r[:300] for r in recorded(0)], jnp.arange(300))
    whole = run(half, [r[300:] for r in recorded(0)], jnp.arange(300, STEPS))
    chex.assert_trees_all_equal(whole, found)


def test_lanes_are_runs_of_their_own(found):
    records = [np.stack(pair) for pair in zip(recorded(1), recorded(0), strict=True)]
    mapped = jax.jit(jax.vmap(seen, (None, 0, None)))
    lanes = mapped(started(), records, jnp.arange(STEPS))
    lane = jax.tree.map(lambda a: a[1], lanes)
    chex.assert_trees_all_close(lane, found, rtol=1e-5, atol=1e-6)


LIKE = State(Cells(np.zeros(COUNT)), np.zeros((2, COUNT)))


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: Traces.of(voltages, LIKE, 5).see(SPIKED[0], 0), "state: Traces reads"),
        (lambda: Traces.of(voltages, LIKE, 5, every=0), "every=0"),
        (lambda: Traces.of(voltages, LIKE, 5, cells=[12]), "cells: number 12 is not"),
        (lambda: Spikes.of([-1], 3), "cells: -1 is no cell's number"),
        (lambda: Spikes.of([0.5], 3), "cells: a list of whole numbers"),
        (lambda: Spikes.of(13, 3).see(SPIKED[0], 0), "spiked: 12 cells, .* number 12"),
        (lambda: PopulationRate.of(SIZES, 0, 3), "bin_steps=0"),
        (lambda: Correlations.of(3, 0), "bin_steps=0"),
        (lambda: PopulationRate.of((5,), 1, 3).see(SPIKED[0], 0), "sizes: \\(5,\\)"),
        (lambda: Raster.of(5, 14).see(SPIKED[0], 0), "fewer than the raster's 14"),
        (lambda: SpikeStatistics.of(4).see(SPIKED[0], 0), "cells of the statistics"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
