"""Runs that go on, inputs that change, gradients that are bounded, learnt delays."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx import brain


CELLS, DT = 40, 0.1


def noisy(late):
    """Everything that has a state: rings, plasticity, inputs."""
    edges = brain.fixed_probability(CELLS, CELLS, 0.2, seed=2)
    delay = 5
    if late:
        edges, delay = brain.normal_delays(edges, 1.0, 0.5, DT, seed=1), 1
    projection = brain.Projection(
        edges,
        jnp.asarray(20.0),
        "synapse",
        delay,
        release=brain.ShortTermPlasticity(0.4, 50.0, 200.0),
    )
    outside = brain.Projection(
        brain.one_to_one(CELLS), jnp.asarray(15.0), "synapse", source="train"
    )
    return brain.Network(
        brain.AdEx(),
        CELLS,
        {"synapse": brain.Conductances(brain.DualExponential(1.0, 5.0), 0.0)},
        {"within": projection, "outside": outside},
        DT,
        {
            "train": brain.PoissonSources(CELLS, 300.0, dt_ms=DT, stream=1),
            "noise": brain.OrnsteinUhlenbeck(300.0, 100.0, 5.0, dt_ms=DT, stream=2),
        },
    )


@pytest.mark.parametrize("late", [False, True])
def test_a_run_that_was_saved_goes_on_with_the_same_bits(late):
    net = noisy(late)
    state, seen = net.init(jr.key(3)), brain.Raster.of(300, CELLS)
    go = jax.jit(lambda s, m: brain.run(net, s, 100, m))
    whole = kept = state, seen
    for _ in range(3):
        whole = go(*whole)
        # As a file would bring it back.
        kept = jax.tree.map(jnp.asarray, go(*jax.tree.map(np.asarray, kept)))
    chex.assert_trees_all_equal(kept, whole)
    assert whole[1].spikes.sum() > 20
    # In one piece it is another program, whose sums may be rounded otherwise.
    once = jax.jit(lambda s, m: brain.run(net, s, 300, m))(state, seen)
    assert jnp.mean(once[1].spikes == whole[1].spikes) > 0.999
    np.testing.assert_allclose(once[0].cells.v_mv, whole[0].cells.v_mv, atol=0.1)


def test_another_key_is_another_run():
    net = noisy(False)
    go = jax.jit(lambda key: brain.run(net, net.init(key), 50)[0].cells.v_mv)
    a, b, c = (go(jr.key(n)) for n in (1, 2, 1))
    assert not np.array_equal(a, b)
    np.testing.assert_array_equal(a, c)


def passive():
    return brain.Network(
        brain.LIF(threshold_mv=1e3), 1, {"s": brain.Receptors(5.0, 0.0)}, {}, DT
    )


def test_damping_and_truncation(x64):
    net, steps = passive(), 30

    def last(v_mv, **options):
        state = net.init()
        state = state._replace(cells=state.cells._replace(v_mv=v_mv))
        after, _ = brain.run(net, state, steps, segment=7, **options)
        return after.cells.v_mv[0]

    v_mv = jnp.asarray([-55.0])
    kept = np.exp(-steps * DT / 20)
    np.testing.assert_allclose(jax.grad(last)(v_mv), [kept], rtol=1e-12)
    found = jax.grad(lambda v: last(v, damp=0.9))(v_mv)
    np.testing.assert_allclose(found, [kept * 0.9**steps], rtol=1e-12)
    assert last(v_mv, damp=0.9) == last(v_mv) == last(v_mv, truncate=4)
    assert jax.grad(lambda v: last(v, truncate=4))(v_mv) == 0

    def by_current(current_pa, **options):
        after, _ = brain.run(net, net.init(), steps, current_pa=current_pa, **options)
        return after.cells.v_mv[0]

    # Of the current only what it did after the last multiple of 8, in 6 steps, counts.
    found = jax.grad(lambda i: by_current(i, truncate=8))(100.0)
    np.testing.assert_allclose(found, 0.1 * (1 - np.exp(-6 * DT / 20)), rtol=1e-12)


def test_truncation_stops_what_is_infinite():
    huge = jax.grad(lambda x: 1e30 * (1e30 * brain.damped(x, 0.0)))
    assert huge(jnp.float32(1.0)) == 0


def late_pair(delays, latest=12):
    """One sender; two receivers, each by a delay of its own."""
    edges = brain.from_edges(np.zeros(2, int), np.arange(2), (1, 2))
    edges = brain.with_delays(edges, 1, latest=latest)
    early, later = brain.interpolated(edges, jnp.asarray([1.0, 2.0]), delays)
    projections = {
        name: brain.Projection(c, w, "s", source="train", weights_per="edge")
        for name, (c, w) in {"early": early, "later": later}.items()
    }
    return brain.Network(
        brain.LIF(threshold_mv=1e3),
        2,
        {"s": brain.Receptors(5.0, 0.0)},
        projections,
        DT,
    )


def test_delays_can_be_learnt(x64):
    train = jnp.zeros((40, 1)).at[jnp.array([3, 17])].set(1)

    @jax.jit
    def last(delays):
        net = late_pair(delays)
        after, _ = brain.run(net, net.init(), 40, each={"spikes": {"train": train}})
        return after.synapses["s"][0]

    def expected(delays):
        # Conductances at the end: those of the two steps between which each arrives.
        total = np.zeros(2)
        for spike in (3, 17):
            for place, delay in enumerate(delays):
                low = np.floor(delay)
                for steps, share in ((low, 1 - delay + low), (low + 1, delay - low)):
                    left = 39 - (spike + steps - 1)
                    total[place] += (1 + place) * share * np.exp(-left * DT / 5)
        return total

    delays = np.array([2.25, 7.6])
    np.testing.assert_allclose(last(delays), expected(delays), rtol=1e-12)
    slopes = jax.jacobian(last)(jnp.asarray(delays))
    h = 1e-3
    wanted = (expected(delays + h) - expected(delays - h)) / (2 * h)
    np.testing.assert_allclose(np.diag(slopes), wanted, rtol=1e-8)
    assert slopes[0, 1] == slopes[1, 0] == 0


def test_what_cells_sent_has_a_derivative(x64):
    net = dataclasses.replace(
        noisy(False), surrogate=brain.FastSigmoid(2.0), inputs={}, projections={}
    )

    def loss(current_pa):
        def one(carry, _):
            state, total = carry
            state, _ = net.step(state, current_pa=current_pa)
            return (state, total + jnp.sum(state.sent.spikes)), None

        start = net.init(), jnp.zeros(())
        return jax.lax.scan(one, start, None, length=100)[0][1]

    assert jax.grad(loss)(800.0) > 0


def test_units_that_slip_are_told():
    edges = brain.onto_receptors(
        brain.fixed_probability(400, 400, 0.2, seed=1), np.arange(400) >= 320, 2
    )

    def net(factor):
        weights = factor * jnp.where(jnp.arange(400) < 320, 6.0, 67.0)
        projections = {"within": brain.Projection(edges, weights, "synapse")}
        synapses = {"synapse": brain.Receptors([5.0, 10.0], [0.0, -80.0])}
        return brain.Network(brain.LIF(), 400, synapses, projections, DT)

    found = brain.couplings(net(1.0))
    assert {c.verdict for c in found.values()} == {"usual"}
    np.testing.assert_allclose([c.fan_in for c in found.values()], [64, 16], rtol=0.1)
    with pytest.warns(UserWarning, match=r"projections\['within\[0\]'\]: .*too weak"):
        brain.couplings(net(1e-3))
