"""A network on several devices has the bits of one."""

import chex
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx import brain


CELLS, DT, STEPS = 48, 0.1, 300


def network(kind, late=False, noisy=True, **options):
    rng = np.random.default_rng(0)
    chance = brain.fixed_probability(CELLS, CELLS, 0.2, seed=3)
    edges = brain.onto_receptors(chance, np.arange(CELLS) >= 40, 2)
    if late:
        edges = brain.normal_delays(edges, 1.0, 0.5, DT, seed=1)
    count = {"one": (), "sender": CELLS, "edge": edges.edges}[kind]
    weights = jnp.asarray(rng.uniform(2, 20, count), jnp.float32)
    inputs = {}
    if noisy:
        inputs = {
            "outside": brain.PoissonInput(
                rng.uniform(0, 200, CELLS), [3.0, 0.0], "synapse", dt_ms=DT, stream=1
            ),
            "noise": brain.OrnsteinUhlenbeck(0.0, 50.0, 5.0, dt_ms=DT, stream=2),
        }
    projection = brain.Projection(
        edges, weights, "synapse", 1 if late else 4, weights_per=kind
    )
    if kind == "one":
        projection = brain.Projection(edges, weights, "synapse", 1 if late else 4)
    return brain.Network(
        brain.LIF(c_pf=jnp.linspace(150, 250, CELLS)),
        CELLS,
        {"synapse": brain.Receptors([5.0, 10.0], [0.0, -80.0])},
        {"edges": projection},
        DT,
        inputs,
        **options,
    )


def started(net):
    state = net.init(jr.key(5))
    v_mv = np.random.default_rng(1).uniform(-60, -50, CELLS)
    v_mv = jnp.asarray(v_mv, state.cells.v_mv.dtype)
    return state._replace(cells=state.cells._replace(v_mv=v_mv))


def monitors():
    return brain.SpikeStatistics.of(CELLS), brain.Raster.of(STEPS, CELLS)


@pytest.mark.parametrize(
    "kind, late, parts", [("sender", False, 2), ("edge", True, 4), ("one", False, 3)]
)
def test_bits_of_one_device(kind, late, parts):
    net = network(kind, late)
    mesh = jax.make_mesh(
        (parts,),
        ("cells",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:parts],
    )
    alone = jax.jit(lambda s: brain.run(net, s, STEPS, monitors(), current_pa=230.0))(
        started(net)
    )
    several = brain.divided(net, parts)
    together = jax.jit(
        lambda s: several.run(mesh, s, STEPS, monitors(), current_pa=230.0)
    )(started(net))
    assert alone[1][1].spikes.sum() > 200
    chex.assert_trees_all_equal(together, alone)


def test_gradients_are_those_of_one_device(x64):
    net = network("sender", noisy=False, surrogate=brain.Triangle(2.0, height=0.5))
    mesh = jax.make_mesh(
        (2,),
        ("cells",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:2],
    )
    several = brain.divided(net, 2)

    def loss(v_mv, run):
        state = started(net)
        state = state._replace(cells=state.cells._replace(v_mv=v_mv))
        after, _ = run(state, 120, current_pa=260.0)
        return jnp.sum(after.cells.v_mv**2) / 1e3

    v_mv = started(net).cells.v_mv
    one = jax.jit(
        jax.grad(lambda v: loss(v, lambda s, n, **k: brain.run(net, s, n, **k)))
    )(v_mv)
    two = jax.jit(
        jax.grad(lambda v: loss(v, lambda s, n, **k: several.run(mesh, s, n, **k)))
    )(v_mv)
    assert jnp.max(jnp.abs(one)) > 1e-3
    np.testing.assert_allclose(two, one, rtol=1e-9, atol=1e-12)


def test_refusals():
    net = network("sender", noisy=False)
    with pytest.raises(ValueError, match="parts=5: has to divide 48 cells"):
        brain.divided(net, 5)
    several = brain.divided(net, 4)
    mesh = jax.make_mesh(
        (2,),
        ("cells",),
        axis_types=(jax.sharding.AxisType.Auto,),
        devices=jax.devices()[:2],
    )
    with pytest.raises(ValueError, match="mesh: 4 devices along 'cells'"):
        several.run(mesh, started(net), 3)
