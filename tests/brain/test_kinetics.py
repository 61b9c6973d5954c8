"""Courses of synapses against matrix exponentials and diffrax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffrax import ODETerm, PIDController, SaveAt, Tsit5
from scipy.linalg import expm
from scipy.optimize import brentq

from djx.brain._drive import Drive
from djx.brain._integrate_and_fire import LIF
from djx.brain._kinetics import Alpha, DualExponential, Exponential, Opening
from djx.brain._synapses import Currents
from djx.diffeq import diffeqsolve


RISE = [2.0, 5.0, 5.0, 20.0, 9.0]  # 20 ms is the membrane's too
DECAY = [100.0, 5.0, 5.001, 20.0, 3.0]
KINETICS = {
    "exponential": lambda rise, decay: Exponential(decay),
    "alpha": lambda rise, decay: Alpha(decay),
    "dual": DualExponential,
}


def matrix(name, rise, decay):
    """Of the equations of one kind, the spike's variable first, the strength last."""
    if name == "exponential":
        return np.array([[-1 / decay]])
    rise = decay if name == "alpha" else rise
    bare = np.array([[-1 / rise, 0.0], [1.0, -1 / decay]])
    falls = lambda t: (bare @ expm(bare * t))[1, 0]  # noqa: E731
    peak = brentq(falls, 1e-3, 5 * max(rise, decay), xtol=1e-12)
    return bare / [[1, 1], [expm(bare * peak)[1, 0], 1]]


def stacked(name, state):
    leaves = [state] if name == "exponential" else [state.waiting, state.open]
    return np.stack([np.asarray(x) for x in leaves], -1)  # kinds, count, variables


@pytest.mark.parametrize("name", KINETICS)
def test_courses_are_matrix_exponentials(x64, name):
    kinetics = KINETICS[name](RISE, DECAY)
    start = kinetics.refilled(kinetics.init(2), jnp.array([[1.0, 3.0]] * 5))
    flow = jax.jit(lambda state, dt: kinetics.flow(state, dt))
    highest = np.zeros(5)
    for dt in (0.1, 1.7, 5.0, 20.0, 200.0):
        state = start
        for step in range(1, 4):
            state = flow(state, dt)
            for kind in range(5):
                y = expm(matrix(name, RISE[kind], DECAY[kind]) * step * dt)[:, 0]
                found = stacked(name, state)[kind]
                np.testing.assert_allclose(found[0], y, rtol=1e-11, atol=1e-13)
                np.testing.assert_allclose(found[1], 3 * y, rtol=1e-11, atol=1e-13)
        highest = np.maximum(highest, kinetics.strength(state)[:, 0])
    assert np.all(highest <= 1)

    found = diffeqsolve(
        ODETerm(lambda t, y, args: kinetics.field(y)),
        Tsit5(),
        0.0,
        12.3,
        0.01,
        start,
        saveat=SaveAt(t1=True),
        stepsize_controller=PIDController(rtol=1e-10, atol=1e-10),
    ).ys
    for a, b in zip(*map(jax.tree.leaves, (found, flow(start, 12.3))), strict=True):
        np.testing.assert_allclose(a[0], b, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("name", KINETICS)
@pytest.mark.parametrize("dt", [0.1, 3.0])
def test_currents_into_a_linear_leak_are_exact(x64, name, dt):
    cell, synapse = LIF(threshold_mv=1e9), Currents(KINETICS[name](RISE, DECAY))
    rng = np.random.default_rng(0)
    spikes = rng.uniform(-50, 50, (40, 5, 3)) * (rng.random((40, 5, 3)) < 0.2)

    def step(carry, arriving):
        cells, state = carry
        drive = synapse.drive(state, cells.v_mv, dt, cell.tau_ms) + Drive(30.0)
        cells, _ = cell.step(cells, drive, dt)
        state = synapse.flow(state, dt)
        state = synapse.refilled(state, synapse.inlet(state) + arriving)
        return (cells, state), cells.v_mv

    start = cell.init(3), synapse.init(3)
    _, found = jax.jit(lambda s: jax.lax.scan(step, start, s))(jnp.asarray(spikes))
    blocks = [matrix(name, r, d) for r, d in zip(RISE, DECAY, strict=True)]
    size = len(blocks[0])
    whole = np.zeros((5 * size + 2, 5 * size + 2))  # ..., voltage, 1
    for kind, block in enumerate(blocks):
        at = slice(size * kind, size * (kind + 1))
        whole[at, at] = block
        whole[-2, size * (kind + 1) - 1] = 1 / 200
    whole[-2, -2:] = -1 / 20, (10 * -60 + 30) / 200
    through, y = expm(whole * dt), np.zeros((5 * size + 2, 3))
    y[-2:] = [[-60.0], [1.0]]
    for v_mv, arriving in zip(found, spikes, strict=True):
        y = through @ y
        np.testing.assert_allclose(v_mv, y[-2], rtol=1e-12)
        y[: 5 * size : size] += arriving


def test_slopes_by_time_constants_that_meet(x64):
    # By a step in the imaginary direction; 20 ms are the membrane's as well.
    dt, stored, opened = 0.7, 1.3, 0.4
    lost = np.exp(-dt / 20)

    def truth(rise, decay):
        u = np.log(decay / rise)
        ratio = 1 + u / 2 if abs(u) < 1e-9 else u / -np.expm1(-u)
        gain = np.exp(ratio) / decay
        whole = [[-1 / rise, 0, 0], [gain, -1 / decay, 0], [0, 1, -1 / 20]]
        after = expm(np.array(whole, complex) * dt) @ [stored, opened, 0]
        return np.array([after[1], after[2] / (20 * (1 - lost))])

    def ours(taus):
        kinetics = DualExponential(*taus)
        state = Opening(jnp.full((1, 1), stored), jnp.full((1, 1), opened))
        after = kinetics.flow(state, dt).open
        return jnp.stack([after, kinetics.lasting(state, dt, 20.0)])[:, 0, 0]

    both = jax.jit(lambda taus: (ours(taus), jax.jacfwd(ours)(taus)))
    backwards = jax.jit(jax.jacrev(ours))
    for taus in ([5.0, 5.0], [20.0, 20.0], [5.0, 20.0], [5.0, 5.0 + 1e-9], [9.0, 3.0]):
        value, slopes = both(jnp.array(taus))
        np.testing.assert_allclose(value, truth(*taus).real, rtol=1e-12)
        true = np.stack([truth(*(taus + 1e-30j * e)).imag / 1e-30 for e in np.eye(2)])
        np.testing.assert_allclose(slopes, true.T, rtol=1e-9)
        np.testing.assert_allclose(backwards(jnp.array(taus)), true.T, rtol=1e-9)
