"""Synapses in cells against LSODA and diffrax; magnesium; saturating gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffrax import PIDController, SaveAt, Tsit5
from scipy.integrate import solve_ivp

from djx import brain
from djx.brain._integrate_and_fire import AdaptiveLIF, LIF
from djx.brain._kinetics import Alpha, DualExponential, Exponential, Instantaneous
from djx.brain._nmda import Gates, magnesium_block, NMDA, NMDAGating
from djx.brain._receptors import ampa, gaba, Receptors
from djx.brain._synapses import Conductances, synaptic_term
from djx.diffeq import diffeqsolve


def test_a_cell_with_an_alpha_conductance_in_both_drivers(x64):
    cell, synapse = LIF(refractory_ms=0.0), Conductances(Alpha(4.0), 0.0)
    opened = synapse.refilled(synapse.init(1), jnp.array([[4.0]]))

    def equations(t, y):
        g = 4 * t / 4 * np.exp(1 - t / 4)
        return [(-10 * (y[0] + 60) - g * y[0]) / 200]

    true = solve_ivp(equations, (0, 16), [-60.0], rtol=1e-12, atol=1e-12).y[0, -1]
    assert -60 < true < -50
    cells, found = diffeqsolve(
        synaptic_term(cell, synapse),
        Tsit5(),
        0.0,
        16.0,
        0.01,
        (cell.init(1), opened),
        saveat=SaveAt(t1=True),
        stepsize_controller=PIDController(rtol=1e-11, atol=1e-11),
    ).ys
    np.testing.assert_allclose(cells.v_mv[0], true, rtol=1e-9)
    np.testing.assert_allclose(found.open[0, 0], 4 * 4 * np.exp(-3), rtol=1e-8)
    errors = []
    for dt in (0.02, 0.01):
        net = brain.Network(cell, 1, {"a": synapse}, {}, dt)
        start = net.init()._replace(synapses={"a": opened})
        state, _ = brain.run(net, start, round(16 / dt))
        np.testing.assert_allclose(state.synapses["a"].open, found.open[0], rtol=1e-8)
        errors.append(float(state.cells.v_mv[0]) - true)
    # Of first order, and without an error that stays.
    assert errors[0] / errors[1] == pytest.approx(2, abs=0.02)


def test_conductances_and_magnesium(x64):
    v = jnp.array([-80.0, -20.0, 30.0])
    both = Receptors([2.0, 5.0], [0.0, -70.0])
    g = jnp.array([[1.0, 2.0, 0.0], [0.5, 0.0, 3.0]])
    for synapse, state in ((both, g), (Conductances(Exponential([2, 5]), [0, -70]), g)):
        flows = synapse.drive(state, v, 0.1, 20.0).at(v)
        np.testing.assert_allclose(flows, g[0] * -v + g[1] * (-70 - v))
    assert ampa().decay_ms == 2 and gaba().reversal_mv == -70

    nmda = NMDA(Instantaneous(), magnesium_mm=0.5)
    (state,) = jnp.full((1, 1, 3), 2.0)
    found = nmda.drive(state, v, 0.1).at(v)
    true = [2 * -x / (1 + 0.5 * np.exp(-0.062 * x) / 3.57) for x in (-80, -20, 30)]
    np.testing.assert_allclose(found, true, rtol=1e-13)
    assert not np.any(nmda.flow(state, 0.1))
    slow = NMDA()
    np.testing.assert_allclose(
        [slow.kinetics.rise_ms, slow.kinetics.decay_ms], [[2], [100]]
    )
    for dtype in (jnp.float32, jnp.float64):
        far = jnp.asarray([-1e5, -1000.0, -65.0, 1e5], dtype)
        for magnesium in (0.0, 1.0):
            of = jax.vmap(jax.value_and_grad(magnesium_block, (0, 1)), (0, None))
            (values, slopes) = of(far, jnp.asarray(magnesium, dtype))
            assert all(np.isfinite(x).all() for x in (values, *slopes))
            assert np.all(values == 1) if magnesium == 0 else values[0] < 1e-33


def test_gates_saturate_as_their_equations_say(x64):
    gating, ends = NMDAGating(), []
    when = [0.0, 3.0, 4.0, 11.0, 12.0, 13.0, 40.0]
    y = np.zeros(2)
    for start, end in zip(when, [*when[1:], 60.0], strict=True):
        y[0] += 1
        y = solve_ivp(
            lambda t, y: [-y[0] / 2, -y[1] / 100 + 0.5 * y[0] * (1 - y[1])],
            (start, end),
            y,
            rtol=1e-11,
            atol=1e-12,
        ).y[:, -1]
    for dt in (0.1, 0.05, 0.025):
        spikes = np.zeros((round(60 / dt), 1))
        spikes[[round(t / dt) for t in when]] = 1

        def step(state, spikes, dt=dt):
            return gating.step(state, spikes, dt)

        # Spikes come at the end of a step, so that the first step is before time 0.
        spikes = jnp.asarray(np.vstack([spikes, np.zeros((1, 1))]))
        state, sent = jax.lax.scan(step, gating.init(1), spikes)
        np.testing.assert_allclose(state.x, y[0], rtol=1e-7)
        np.testing.assert_array_equal(sent[-1], state.s)
        ends.append(float(state.s[0]) - y[1])
    assert np.log2(np.array(ends[:-1]) / ends[1:]) == pytest.approx(2, abs=0.02)
    assert abs(ends[0]) < 1e-4
    full = gating.field(Gates(jnp.array([3.0]), jnp.array([1.0])))
    np.testing.assert_allclose([full.x[0], full.s[0]], [-1.5, -0.01])


def test_membranes_have_time_constants_where_they_are_linear():
    assert LIF().tau_ms == AdaptiveLIF().tau_ms == 20
    assert brain.ExpIF().tau_ms is None and brain.HodgkinHuxley().tau_ms is None


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: DualExponential([1.0, 2.0], 3.0), "rise_ms and decay_ms: one of each"),
        (lambda: Receptors([1.0, 2.0], 3.0), "decay_ms and reversal_mv: one of each"),
        (lambda: Conductances(Alpha([1.0, 2.0]), 0.0), "reversal_mv: one of each of 2"),
        (lambda: NMDA(reversal_mv=[0.0, 1.0]), "reversal_mv: one of each of 1 kinds"),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make()
