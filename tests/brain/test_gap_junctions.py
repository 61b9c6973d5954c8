"""Electrical coupling: what is conserved, and two cells' closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx import brain
from djx.brain._gap_junctions import GapJunctions
from djx.brain._integrate_and_fire import LIF


def test_what_leaves_one_cell_through_a_gap_enters_another(x64):
    rng = np.random.default_rng(0)
    cells, edges = 12, 30
    a, b = rng.integers(0, cells - 1, (2, edges))  # the last has none
    a.sort()
    junctions = brain.from_edges(a, b, (cells, cells))
    g, v = rng.uniform(0.1, 2, edges), rng.uniform(-80, 20, cells)
    flows = np.zeros(cells)
    for i, j, x in zip(a, b, g, strict=True):
        flows[i] += x * (v[j] - v[i])
        flows[j] += x * (v[i] - v[j])
    gap, v = GapJunctions(junctions, g), jnp.asarray(v)

    def current(g, v):
        return eqx.tree_at(lambda gap: gap.conductance_ns, gap, g).drive(v).at(v)

    found = gap.drive(v).at(v)
    np.testing.assert_allclose(found, flows, rtol=1e-12, atol=1e-10)
    assert abs(jnp.sum(found)) < 1e-10 and found[-1] == 0
    alike = GapJunctions(junctions, 1.0).drive(v).at(v)
    np.testing.assert_allclose(alike, current(jnp.ones(edges), v), atol=1e-12)
    # sum v I is minus what is dissipated, sum g (v_i - v_j)^2.
    slopes = jax.grad(lambda g: jnp.sum(v * current(g, v)))(gap.conductance_ns)
    np.testing.assert_allclose(slopes, -((v[a] - v[b]) ** 2), atol=1e-9)
    by_voltage = jax.jacobian(lambda v: current(gap.conductance_ns, v))(v)
    np.testing.assert_allclose(by_voltage, by_voltage.T, atol=1e-12)


def test_coupling_coefficient(x64):
    gap = GapJunctions(brain.from_edges(np.array([0]), np.array([1]), (2, 2)), 2.5)
    cell = LIF(threshold_mv=1e9)

    def last(gap):
        net = brain.Network(cell, 2, {}, {}, 0.5, gap_junctions=gap)
        current_pa = jnp.array([100.0, 0.0])
        state, _ = brain.run(net, net.init(), 2000, current_pa=current_pa)
        return state.cells.v_mv + 60

    first, second = jax.jit(last)(gap)
    assert second / first == pytest.approx(2.5 / (2.5 + 10), rel=1e-12)
    assert first + second == pytest.approx(100 / 10, rel=1e-12)
    of_ns = lambda g: eqx.tree_at(lambda gap: gap.conductance_ns, gap, g)  # noqa: E731
    slopes = jax.jit(jax.jacfwd(lambda g: last(of_ns(g))))(2.5)
    # V2 = (I / g_L) c / (1 + c), c = g / (g + g_L).
    assert slopes[1] == pytest.approx(10 * 10 / (2 * 2.5 + 10) ** 2, rel=1e-9)


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: GapJunctions(brain.all_to_all(2, 3), 1.0),
            "connectivity: 2 senders and 3 receivers have to be the same cells",
        ),
        (
            lambda: GapJunctions(brain.one_to_one(3), np.ones(2)),
            "conductance_ns: one, or 3 of edges",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
