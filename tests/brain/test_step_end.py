import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx import brain
from djx.brain import _native, _network, _step_end


CELLS = 37
needs_library = pytest.mark.skipif(
    not _native.available(), reason="no library in C++ here"
)
kinds = {
    "conductances": lambda: brain.Receptors([5.0, 10.0], [0.0, -80.0]),
    "currents": lambda: brain.Currents(brain.Exponential([5.0, 10.0])),
    "one": lambda: brain.Conductances(brain.Exponential(5.0), 0.0),
}


def network(
    cell=None, synapse="conductances", weights="sender", cells=CELLS, delay=1, **options
):
    rng = np.random.default_rng(3)
    synapse = kinds[synapse]()
    edges = 7 * cells
    senders = np.sort(rng.integers(0, cells, edges))
    targets = rng.integers(0, synapse.kinds * cells, edges)
    edges = brain.from_edges(senders, targets, (cells, synapse.kinds * cells))
    shape = {"one": (), "sender": (cells,), "edge": (7 * cells,)}[weights]
    amount = 10.0 if isinstance(synapse, brain.Currents) else 1.0
    sizes = jnp.asarray(amount * rng.uniform(0.5, 1.5, shape), float)
    per = None if weights == "one" else weights
    projection = brain.Projection(edges, sizes, "s", delay=delay, weights_per=per)
    return brain.Network(
        brain.LIF() if cell is None else cell,
        cells,
        {"s": synapse},
        {"p": projection},
        0.1,
        **options,
    )


def start(net, seed=0):
    state = net.init(jr.key(seed))
    v_mv = jr.uniform(jr.key(seed + 1), (net.cells,), minval=-70.0, maxval=-45.0)
    return state._replace(cells=state.cells._replace(v_mv=v_mv.astype(float)))


def through(net, state, steps=200, current_pa=400.0):
    def one(state, _):
        state, spiked = net.step(state, current_pa=current_pa)
        return state, (spiked, state.cells.v_mv)

    return jax.lax.scan(one, state, length=steps)


def apart(monkeypatch):
    monkeypatch.setattr(_network, "one_pass", lambda network, others: None)


def spikes_are_those_of_single_operations(net, monkeypatch):
    state = start(net)
    jax.clear_caches()
    found = jax.jit(through)(net, state)
    jax.clear_caches()
    apart(monkeypatch)
    wanted = jax.jit(through)(net, state)
    np.testing.assert_array_equal(found[1][0], wanted[1][0])
    assert found[1][0].any()


def same(a, b):
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.asarray(x).tobytes() == np.asarray(y).tobytes() for x, y in pairs)


def own_numbers():
    rng = np.random.default_rng(0)
    some = lambda *ends: jnp.asarray(rng.uniform(*ends, CELLS), float)  # noqa: E731
    return brain.LIF(
        threshold_mv=some(-55, -45), reset_mv=-60.0, refractory_ms=some(0, 3)
    )


@needs_library
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"double": True},
        {"weights": "one"},
        {"weights": "edge"},
        {"synapse": "currents", "double": True, "weights": "edge"},
        {"synapse": "one"},
        {"cell": brain.ExpIF(refractory_ms=0.0)},
        {"cell": own_numbers()},
        {"cells": 1},
        {"cells": 128, "cell": brain.LIF(threshold_mv=-1000.0)},
        {"cell": brain.LIF(threshold_mv=1000.0), "method": brain.forward_euler},
    ],
    ids=lambda options: "-".join(options) or "plain",
)
def test_bits_of_single_operations(options, monkeypatch):
    options = {**options}
    with jax.enable_x64(options.pop("double", False)):
        net = network(**options)
        assert _step_end.one_pass(net) == ("s", "p")
        state = start(net)
        jax.clear_caches()
        compiled = jax.jit(through).lower(net, state).compile()
        assert "djx_step_end" in compiled.as_text()
        assert "djx_push" not in compiled.as_text()
        found = compiled(net, state)
        jax.clear_caches()
        apart(monkeypatch)
        compiled = jax.jit(through).lower(net, state).compile()
        assert "djx_step_end" not in compiled.as_text()
        wanted = compiled(net, state)
    assert same(found, wanted)
    assert np.asarray(found[1][0]).any() or "threshold_mv=1000.0" in str(options)


@needs_library
def test_voltages_that_are_no_numbers_do_not_fire():
    net = network()
    state = start(net)
    v_mv = state.cells.v_mv.at[3].set(jnp.nan).at[4].set(-30.0)
    left_ms = jnp.full(CELLS, 0.0).at[6].set(jnp.inf).at[7].set(jnp.nan)
    state = state._replace(cells=state.cells._replace(v_mv=v_mv, refractory_ms=left_ms))
    after, spiked = jax.jit(lambda n, s: n.step(s))(net, state)
    assert not spiked[jnp.array([3, 6, 7])].any() and spiked[4]
    assert jnp.isnan(after.cells.v_mv[3]) and after.cells.v_mv[4] == -60
    assert jnp.isinf(after.cells.refractory_ms[6])
    assert jnp.isnan(after.cells.refractory_ms[7])


@needs_library
@pytest.mark.parametrize(
    "weights, own", [("sender", False), ("edge", True), ("one", False)]
)
def test_batches_are_their_networks(weights, own):
    net = network(weights=weights, cell=own_numbers() if own else None)
    starts = [start(net, seed) for seed in range(3)]
    factors = jnp.array([0.5, 1.0, 1.5])
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *starts)

    def scaled(factor, state, current_pa=400.0):
        sizes = factor * net.projections["p"].weights
        cell = dataclasses.replace(net.cell, reset_mv=-60.0 - factor)
        projection = dataclasses.replace(net.projections["p"], weights=sizes)
        other = dataclasses.replace(net, projections={"p": projection}, cell=cell)
        return through(other, state, 200, current_pa)[1]

    for axes in [(0, 0), (None, 0), (0, None)]:
        given = [
            all_of_them if axis == 0 else one
            for axis, all_of_them, one in zip(
                axes, (factors, stacked), (factors[1], starts[0]), strict=True
            )
        ]
        every = jax.jit(jax.vmap(scaled, axes)).lower(*given).compile()
        assert "djx_step_end" in every.as_text() and "djx_push" not in every.as_text()
        raster, v_mv = every(*given)
        for lane in range(3):
            lane_of = [
                jax.tree.map(lambda a, lane=lane: a[lane], x) if axis == 0 else x
                for axis, x in zip(axes, given, strict=True)
            ]
            wanted = jax.jit(scaled)(*lane_of)
            np.testing.assert_array_equal(raster[lane], wanted[0])
            # Loops of other shapes may round otherwise.
            np.testing.assert_allclose(v_mv[lane], wanted[1], rtol=1e-5)
    assert raster.any()


@needs_library
def test_batches_of_batches_and_of_currents():
    net = network()
    currents = jnp.array([[100.0, 400.0], [800.0, 400.0]])
    count = lambda c: through(net, start(net), 200, c)[1][0].sum()  # noqa: E731
    counts = jax.jit(jax.vmap(jax.vmap(count)))(currents)
    assert counts[0, 0] < counts[0, 1] == counts[1, 1] < counts[1, 0]
    none = jax.jit(jax.vmap(count))(jnp.zeros(0))
    assert none.shape == (0,)


@needs_library
def test_networks_on_devices_of_their_own():
    net = network()
    stacked = jax.tree.map(lambda *a: jnp.stack(a), *[start(net, s) for s in range(4)])
    every = jax.vmap(lambda state: through(net, state)[1][0])
    mesh = jax.make_mesh((2,), ("seeds",), (jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec("seeds")
    apart = jax.shard_map(every, mesh=mesh, in_specs=spec, out_specs=spec)
    found = jax.jit(apart)(stacked)
    np.testing.assert_array_equal(found, jax.jit(every)(stacked))
    assert found.any()


@needs_library
def test_derivatives_are_those_of_single_operations(x64, monkeypatch):
    net = network(weights="edge")
    state = start(net)

    def loss(weights, current_pa):
        projection = dataclasses.replace(net.projections["p"], weights=weights)
        other = dataclasses.replace(net, projections={"p": projection})
        after, _ = through(other, state, 60, current_pa)
        return jnp.sum(after.cells.v_mv) + jnp.sum(after.synapses["s"])

    given = net.projections["p"].weights, 350.0
    tangents = jnp.ones_like(given[0]), 2.0
    forward = jax.jvp(loss, given, tangents)
    slopes = jax.grad(loss, (0, 1))(*given)
    product = sum(jnp.vdot(a, b) for a, b in zip(slopes, tangents, strict=True))
    assert forward[1] == pytest.approx(float(product), rel=1e-12)
    jax.clear_caches()
    apart(monkeypatch)
    wanted = jax.grad(loss, (0, 1))(*given)
    for a, b in zip(slopes, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


@needs_library
def test_other_projections_follow(monkeypatch):
    net = network()
    p = net.projections["p"]
    more = {
        "first": dataclasses.replace(p, onto="other"),
        "p": p,
        "q": dataclasses.replace(p, weights=0.3, weights_per=None),
        "late": dataclasses.replace(p, delay=4),
    }
    other = brain.Conductances(brain.Alpha([2.0, 3.0]), [0.0, -70.0])
    synapses = {**net.synapses, "other": other}
    net = dataclasses.replace(net, projections=more, synapses=synapses)
    assert _step_end.one_pass(net) == ("s", "p")
    spikes_are_those_of_single_operations(net, monkeypatch)


class OwnReset(brain.LIF):
    def reset(self, state, spiked):
        return super().reset(state, spiked)


class OwnDecay(brain.Exponential):
    def flow(self, state, dt_ms):
        return 0.5 * super().flow(state, dt_ms)


def changed(**fields):
    net = network()
    projection = dataclasses.replace(net.projections["p"], **fields)
    return dataclasses.replace(net, projections={"p": projection})


@needs_library
@pytest.mark.parametrize(
    "make",
    [
        lambda: network(cell=brain.AdEx()),
        lambda: network(cell=OwnReset()),
        lambda: network(surrogate=brain.Triangle(1.0, 0.3)),
        lambda: network(axis="cells"),
        lambda: changed(backend="serial"),
        lambda: dataclasses.replace(network(), projections={}),
    ],
)
def test_what_it_is_not_for(make):
    assert _step_end.one_pass(make()) is None


def late():
    net = network()
    edges = net.projections["p"].connectivity
    delays = np.random.default_rng(0).integers(1, 9, edges.edges)
    return changed(connectivity=brain.with_delays(edges, delays))


def slow():
    net = network()
    other = {"slow": brain.Conductances(brain.Alpha([2.0, 3.0]), [0.0, -70.0])}
    projection = dataclasses.replace(net.projections["p"], onto="slow")
    return dataclasses.replace(net, synapses=other, projections={"p": projection})


@needs_library
@pytest.mark.parametrize(
    "make, synapse",
    [
        (late, "s"),
        (slow, None),
        (lambda: network(delay=2), "s"),
        (lambda: changed(release=brain.ShortTermPlasticity(0.5, 100.0, 50.0)), "s"),
        (
            lambda: eqx.tree_at(
                lambda n: n.synapses["s"].kinetics, network(), OwnDecay([5.0, 10.0])
            ),
            None,
        ),
    ],
)
def test_spikes_that_are_added_afterwards(make, synapse, monkeypatch):
    net = make()
    assert _step_end.one_pass(net) == (synapse, None)
    spikes_are_those_of_single_operations(net, monkeypatch)


@needs_library
def test_not_before_what_arrives_first():
    net = network()
    assert _step_end.one_pass(net, ["s"]) == ("s", None)
    late = dataclasses.replace(net.projections["p"], delay=3)
    both = {"late": late, **net.projections}
    net = dataclasses.replace(net, projections=both)
    assert _step_end.one_pass(net) == ("s", None)


def test_voltages_of_another_precision(x64):
    net = network()
    state = start(net)
    cells = jax.tree.map(lambda a: a.astype(jnp.float32), state.cells)
    after, spiked = net.step(state._replace(cells=cells), current_pa=400.0)
    wanted, others = net.step(state, current_pa=400.0)
    np.testing.assert_array_equal(spiked, others)
    np.testing.assert_allclose(after.synapses["s"], wanted.synapses["s"], rtol=1e-6)


def test_other_machines_do_without():
    net = network()
    args = net, start(net)
    exported = jax.export.export(jax.jit(through), platforms=["tpu"])(*args)
    text = exported.mlir_module()
    assert [name for name in _native.HANDLERS if name in text] == []
