"""The random network's experiment: its pieces, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.core.errors import ConfigError
from djx.run import load
from experiments.coba import build, network_of


SMOKE = "configs/coba/smoke.toml"


def arm(name="drive", *overrides):
    return load(SMOKE, *overrides).arms[name]


def test_a_fifth_inhibits_and_everyone_has_eighty_inputs():
    network = network_of(arm())
    projection = network.projections["edges"]
    edges, cells = projection.connectivity, 4000
    targets, senders = np.asarray(edges.targets), np.asarray(edges.sender_of_edges())
    np.testing.assert_array_equal(targets >= cells, senders >= 3200)
    inputs = np.bincount(targets % cells, minlength=cells)
    assert abs(inputs.mean() - 80) < 5 * np.sqrt(80 / cells)
    np.testing.assert_array_equal(np.unique(projection.weights), [6, 67])


def test_voltages_and_conductances_at_first():
    for name, override, mean, spread in (
        ("drive", "variant='drive'", -55, 2),
        ("drive", "variant='brette'", -65, 5),
    ):
        state = build(arm(name, override)).init(jax.random.key(0)).network
        v_mv = state.cells.v_mv
        assert abs(jnp.mean(v_mv) - mean) < 5 * spread / np.sqrt(4000)
        assert abs(jnp.std(v_mv) / spread - 1) < 0.1
        open_ns = state.synapses["receptors"]
        assert (jnp.std(open_ns) > 0) == ("brette" in override)


def test_a_block_is_as_many_steps_as_it_lasts():
    experiment = build(arm("drive", "cells=200", "block_ms=5.0"))
    state = experiment.init(jax.random.key(0))
    state, metrics = jax.jit(experiment.step)(state, 0, jax.random.key(1))
    assert int(state.network.step) == 50
    assert set(metrics) == {"voltage_mv"}


def test_blocks_are_whole_steps():
    with pytest.raises(ConfigError, match="block_ms: 0.25 ms are no whole steps"):
        build(arm("drive", "cells=200", "block_ms=0.25"))
