"""Gradients through spikes, against a dense network written down step by step."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain


CELLS, STEPS, DT, TAU = 20, 90, 0.1, 5.0
WIDTH = 2.0


def network(delay=1, through_reset=True, surrogate=None):
    edges = brain.fixed_probability(CELLS, CELLS, 0.4, seed=0)
    weights = jnp.asarray(np.random.default_rng(0).uniform(5, 40, edges.edges))
    surrogate = surrogate or brain.Triangle(
        WIDTH, height=0.7, through_reset=through_reset
    )
    return brain.Network(
        brain.LIF(refractory_ms=1.0),
        CELLS,
        {"synapse": brain.Receptors(TAU, 0.0)},
        {"edges": brain.Projection(edges, weights, "synapse", delay)},
        DT,
        surrogate=surrogate,
    )


def weights_of(net):
    return net.projections["edges"].weights


def loss_of(weights, v_mv, net, segment=None, current_pa=260.0):
    net = eqx.tree_at(weights_of, net, weights)
    state = net.init()
    state = state._replace(cells=state.cells._replace(v_mv=v_mv))
    state, _ = brain.run(net, state, STEPS, segment=segment, current_pa=current_pa)
    return jnp.sum(state.cells.v_mv**2) / 1e3 + jnp.sum(state.synapses["synapse"])


def dense_loss(weights, v_mv, net, current_pa=260.0):
    """Straight-through: the integral of the triangle carries the slope."""
    edges = net.projections["edges"]
    senders, targets = (
        edges.connectivity.sender_of_edges(),
        edges.connectivity.targets,
    )
    matrix = jnp.zeros((CELLS, CELLS)).at[senders, targets].add(weights)
    stop = jax.lax.stop_gradient

    def ramp(x):  # whose slope is 1 - |x| within 1
        x = jnp.clip(x, -1, 1)
        return x - jnp.sign(x) * x**2 / 2

    def step(carry, _):
        v, g, wait, sent = carry
        total = 10 + g
        steady = (10 * -60.0 + current_pa) / total
        moved = steady + (v - steady) * jnp.exp(-DT * total / 200)
        v = jnp.where(wait > 0, v, moved)
        wait = jnp.maximum(wait - 1, 0)
        soft = 0.7 * ramp((v + 50) / WIDTH)
        hard = (v >= -50).astype(float)
        spike = jnp.where(wait > 0, 0, hard + soft - stop(soft))
        through = spike if net.surrogate.through_reset else stop(spike)
        v = v + through * stop(-60 - v) - stop(spike) * (v - stop(v))
        wait = jnp.where(stop(spike) > 0, 10, wait)
        sent = jnp.concatenate([sent, spike[None]])
        g = g * jnp.exp(-DT / TAU) + sent[0] @ matrix
        return (v, g, wait, sent[1:]), None

    none = jnp.zeros(CELLS)
    carry = v_mv, none, none, jnp.zeros((edges.delay - 1, CELLS))
    (v, g, _, _), _ = jax.lax.scan(step, carry, None, length=STEPS)
    return jnp.sum(v**2) / 1e3 + jnp.sum(g)


def start():
    return jnp.asarray(np.random.default_rng(1).uniform(-60, -49, CELLS))


@pytest.mark.parametrize("delay", [1, 4])
@pytest.mark.parametrize("through_reset", [True, False])
def test_against_a_dense_network(x64, delay, through_reset):
    net = network(delay, through_reset)
    given = weights_of(net), start()
    ours, theirs = (
        eqx.filter_jit(jax.value_and_grad(f, (0, 1)))(*given, net)
        for f in (loss_of, dense_loss)
    )
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-10)
    for a, b in zip(ours[1], theirs[1], strict=True):
        assert jnp.max(jnp.abs(b)) > 1e-3
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * jnp.max(jnp.abs(b)))


def test_segments_have_no_influence(x64):
    net, given = network(), (weights_of(network()), start())
    found = [
        eqx.filter_jit(jax.value_and_grad(loss_of, (0, 1)))(*given, net, segment)
        for segment in (None, 1, 7, 1000)
    ]
    for other in found[1:]:
        assert other[0] == found[0][0]
        for a, b in zip(other[1], found[0][1], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_surrogate_does_not_change_what_happens():
    net = network()
    plain = eqx.tree_at(lambda n: n.surrogate, net, None)
    raster = brain.Raster.of(STEPS, CELLS)
    seen = []
    for each in (net, plain):
        state = each.init()
        state = state._replace(cells=state.cells._replace(v_mv=start()))
        seen.append(brain.run(each, state, STEPS, raster, current_pa=260.0)[1].spikes)
    assert seen[0].sum() > 20
    np.testing.assert_array_equal(*seen)


@pytest.mark.parametrize("wait_ms", [0.0, 3.0, np.inf])
def test_refractory_cells_wait_with_a_surrogate_too(wait_ms):
    net = network()
    cell = eqx.tree_at(lambda c: c.refractory_ms, net.cell, np.inf)
    net = eqx.tree_at(lambda n: n.cell, net, cell)
    for each in (net, eqx.tree_at(lambda n: n.surrogate, net, None)):
        state = each.init()
        wait = jnp.full(CELLS, wait_ms, state.cells.v_mv.dtype)
        cells = state.cells._replace(v_mv=jnp.full(CELLS, -49.0), refractory_ms=wait)
        seen = brain.Raster.of(60, CELLS)
        after, seen = brain.run(each, state._replace(cells=cells), 60, seen)
        # After its first spike a cell is silent for ever.
        first = {0.0: 0, 3.0: 29, np.inf: 60}[wait_ms]
        assert seen.spikes[:first].sum() == 0
        assert seen.spikes.sum() == (0 if wait_ms == np.inf else CELLS)
        assert not jnp.any(jnp.isnan(after.cells.v_mv))
        assert not jnp.any(jnp.isnan(after.cells.refractory_ms))


@pytest.mark.parametrize(
    "surrogate", [brain.Triangle(2.0), brain.FastSigmoid(2.0), brain.Logistic(2.0)]
)
def test_slopes_are_those_that_were_announced(x64, surrogate):
    margin_mv = jnp.linspace(-5, 5, 101)
    may = jnp.ones(101, bool)
    value, slope = jax.jvp(
        lambda m: surrogate.spikes(m, may), (margin_mv,), (jnp.ones(101),)
    )
    np.testing.assert_array_equal(value, margin_mv >= 0)
    np.testing.assert_allclose(slope, surrogate.slope(margin_mv))
    np.testing.assert_allclose(surrogate.slope(jnp.zeros(())), 0.5)
    blocked = jax.grad(lambda m: surrogate.spikes(m, jnp.asarray(False)))(0.1)
    assert blocked == 0


def test_height_and_width_can_be_differentiated(x64):
    def loss(width):
        surrogate = brain.FastSigmoid(width)
        return jax.grad(lambda m: surrogate.spikes(m, jnp.asarray(True)))(0.5)

    # Of (1 / w) / (1 + 0.5 / w)^2 = w / (w + 0.5)^2.
    expected = (0.5 - 2.0) / (2.0 + 0.5) ** 3
    np.testing.assert_allclose(jax.grad(loss)(2.0), expected, rtol=1e-10)
