"""Networks against a loop in numpy; delays, monitors, resumption."""

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain


CELLS, DT = 60, 0.1


def one_synapse(synapse, edges, weights, delay=1, dt_ms=DT, **options):
    projection = brain.Projection(edges, weights, "synapse", delay, **options)
    cells = edges.senders
    return brain.Network(
        brain.LIF(), cells, {"synapse": synapse}, {"edges": projection}, dt_ms
    )


def network(delay=1, seed=0, dtype=float):
    rng = np.random.default_rng(seed)
    chance = brain.fixed_probability(CELLS, CELLS, 0.2, seed=seed)
    kind = (np.arange(CELLS) >= 48).astype(int)
    edges = brain.onto_receptors(chance, kind, 2)
    weights = jnp.asarray(rng.uniform(2, 20, edges.edges), dtype)
    synapse = brain.Receptors([5.0, 10.0], [0.0, -80.0])
    return one_synapse(synapse, edges, weights, delay)


def started(network, seed=1):
    v_mv = np.random.default_rng(seed).uniform(-60, -50, CELLS)
    state = network.init()
    return state._replace(cells=state.cells._replace(v_mv=jnp.asarray(v_mv, float)))


def by_numpy(network, state, steps, current_pa):
    """The same, edge by edge and from the equations of Brette et al. 2007."""
    v = np.asarray(state.cells.v_mv, float)
    g = np.zeros((2, CELLS))
    wait = np.zeros(CELLS, int)
    edges = network.projections["edges"]
    rows, targets = map(
        np.asarray, (edges.connectivity.rows, edges.connectivity.targets)
    )
    weights, tau = np.asarray(edges.weights), np.array([5.0, 10.0])
    raster = np.zeros((steps, CELLS), bool)
    for n in range(steps):
        total = 10 + g[0] + g[1]
        steady = (10 * -60 + g[1] * -80 + current_pa) / total
        moved = steady + (v - steady) * np.exp(-DT * total / 200)
        v = np.where(wait > 0, v, moved)
        wait = np.maximum(wait - 1, 0)
        raster[n] = (v >= -50) & (wait == 0)
        v[raster[n]], wait[raster[n]] = -60, 50
        g *= np.exp(-DT / tau)[:, None]
        arriving = n + 1 - edges.delay
        for sender in np.flatnonzero(raster[arriving]) if arriving >= 0 else []:
            for edge in range(rows[sender], rows[sender + 1]):
                kind, cell = divmod(targets[edge], CELLS)
                g[kind, cell] += weights[edge]
    return raster, g


@pytest.mark.parametrize("delay", [1, 2, 15])
def test_against_a_loop_in_numpy(x64, delay):
    net = network(delay)
    state, raster = started(net), brain.Raster.of(400, CELLS)
    after, seen = brain.run(net, state, 400, raster, current_pa=250.0)
    expected, open_ns = by_numpy(net, state, 400, 250.0)
    assert expected.sum() > 200
    np.testing.assert_array_equal(seen.spikes, expected)
    found = after.synapses["synapse"]
    np.testing.assert_allclose(found, open_ns, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("delay", [1, 2, 7])
def test_a_spike_acts_after_the_delay(delay):
    edges = brain.from_edges(np.array([0]), np.array([1]), (2, 2))
    net = one_synapse(brain.Receptors(5.0, 0.0), edges, jnp.asarray(1.0), delay)
    state = net.init()
    v_mv = jnp.asarray([-49.0, -60.0])  # the first fires at once
    state = state._replace(cells=state.cells._replace(v_mv=v_mv))
    moved = None
    for n in range(delay + 3):
        open_ns = float(state.synapses["synapse"][0, 1])
        # A spike of step 0 opens what step `delay` is the first to move with.
        assert (open_ns > 0) == (n >= delay)
        state, spiked = net.step(state)
        assert bool(spiked[0]) == (n == 0)
        if moved is None and state.cells.v_mv[1] > -60:
            moved = n
    assert moved == delay


def test_a_run_that_goes_on_gives_the_same_bits():
    net = network(delay=4, dtype=jnp.float32)
    start = (started(net), brain.SpikeStatistics.of(CELLS))
    whole = brain.run(net, start[0], 300, start[1], current_pa=250.0)
    for steps in (123, 177):
        start = brain.run(net, *start[:1], steps, start[1], current_pa=250.0)
    chex.assert_trees_all_equal(whole, start)


def test_one_trace_for_all_weights_voltages_and_currents():
    @jax.jit
    @chex.assert_max_traces(n=1)
    def simulated(net, state, current_pa):
        return brain.run(net, state, 20, current_pa=current_pa)[0]

    net = network()
    for seed, current_pa in ((0, 100.0), (1, 200.0), (2, 300.0)):
        where = lambda n: n.projections["edges"].weights  # noqa: E731
        changed = eqx.tree_at(where, net, (seed + 1) * where(net))
        simulated(changed, started(net, seed), current_pa)


def test_lanes_are_runs_of_their_own():
    net = network()
    states = [started(net, seed) for seed in range(3)]
    together = jax.tree.map(lambda *a: jnp.stack(a), *states)
    mapped = jax.vmap(lambda s: brain.run(net, s, 100, current_pa=250.0)[0])(together)
    for lane, state in enumerate(states):
        alone = brain.run(net, state, 100, current_pa=250.0)[0]
        chex.assert_trees_all_close(
            jax.tree.map(lambda a, lane=lane: a[lane], mapped), alone, rtol=1e-5
        )


def test_statistics_are_those_of_the_raster():
    rng = np.random.default_rng(0)
    raster = rng.random((500, 9)) < np.linspace(0, 0.3, 9)
    monitor = brain.SpikeStatistics.of(9, first=50, until=450)
    for step, spiked in enumerate(raster):
        monitor = monitor.see(jnp.asarray(spiked), jnp.asarray(step))
    kept = raster[50:450]
    np.testing.assert_array_equal(monitor.counts, kept.sum(0))
    assert int(monitor.steps) == 400
    np.testing.assert_allclose(monitor.rates_hz(DT), kept.sum(0) / 0.04, rtol=1e-6)
    each = []
    for cell in range(9):
        gaps = np.diff(np.flatnonzero(kept[:, cell]))
        if len(gaps) >= 3:
            each.append(gaps.std() / gaps.mean())
    np.testing.assert_allclose(monitor.variation(), np.mean(each), rtol=1e-5)


def test_statistics_of_nothing():
    monitor = brain.SpikeStatistics.of(3)
    assert monitor.variation() == 0 and np.all(monitor.rates_hz(DT) == 0)


def test_refusals():
    edges, one = brain.one_to_one(4), jnp.ones(())
    both, single = brain.Receptors([5.0, 10.0], [0.0, -80.0]), brain.Receptors(5.0, 0.0)
    with pytest.raises(ValueError, match="'edges'.: 4 cells with 2 kinds .* are 8"):
        one_synapse(both, edges, one)
    with pytest.raises(ValueError, match="delay=0: has to be a step or more"):
        one_synapse(single, edges, one, 0)
    with pytest.raises(ValueError, match="dt_ms=0: has to be a number above 0"):
        one_synapse(single, edges, one, dt_ms=0)
    with pytest.raises(ValueError, match="weights: one, 4 of senders or 4 of edges"):
        one_synapse(single, edges, jnp.ones(7))
    outside = one_synapse(single, edges, one, source="retina")
    with pytest.raises(ValueError, match="no spikes of its source 'retina'"):
        outside.step(outside.init())
    with pytest.raises(ValueError, match="one for each of 4 senders, not"):
        outside.step(outside.init(), spikes={"retina": jnp.ones(3)})
    lost = brain.Projection(edges, one, "ampa")
    with pytest.raises(ValueError, match="onto 'ampa', which is none of .*'synapse'"):
        brain.Network(brain.LIF(), 4, {"synapse": single}, {"edges": lost}, DT)
    with pytest.raises(ValueError, match="5 cells .* 5 receivers, not 4"):
        brain.Network(brain.LIF(), 5, {"ampa": single}, {"edges": lost}, DT)
    net = one_synapse(single, edges, one)
    with pytest.raises(ValueError, match="each: a row for each of 5 steps"):
        brain.run(net, net.init(), 5, each={"current_pa": jnp.ones(4)})
    with pytest.raises(ValueError, match="truncate=0: has to be a step or more"):
        brain.run(net, net.init(), 5, truncate=0)
    with pytest.raises(ValueError, match="3 cells, fewer than the raster's 4"):
        brain.Raster.of(5, 4).see(jnp.ones(3, bool), jnp.asarray(0))
    with pytest.raises(ValueError, match="are not the .* cells of the statistics"):
        brain.SpikeStatistics.of(4).see(jnp.ones(3, bool), jnp.asarray(0))
    with pytest.raises(ValueError, match="decay_ms and reversal_mv: one of each kind"):
        brain.Receptors([5.0, 10.0], [0.0])
    with pytest.raises(ValueError, match="kind: 4 numbers from 0 to 1"):
        brain.onto_receptors(edges, np.array([0, 1, 2, 0]), 2)
