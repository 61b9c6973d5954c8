"""Short-term plasticity against fixed points and the map from spike to spike."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from diffrax import ODETerm, SaveAt, Tsit5

from djx.brain._short_term import Resources, ShortTermPlasticity
from djx.diffeq import diffeqsolve


# U, tau_f, tau_d, of senders that depress, facilitate, and have only one of the two.
U = np.array([0.5, 0.05, 0.4, 0.1, 1.0])
TAU_F = np.array([20.0, 800.0, 0.0, 300.0, 50.0])
TAU_D = np.array([800.0, 100.0, 300.0, 0.0, 100.0])


@jax.jit
def sent(u, tau_f, tau_d, spikes, dt_ms):
    """Amplitudes of every step."""
    release = ShortTermPlasticity(u, tau_f, tau_d)
    start = release.init(spikes.shape[1])
    return jax.lax.scan(lambda s, x: release.step(s, x, dt_ms), start, spikes)[1]


def steady(u, tau_f, tau_d, interval):
    """Where the map from one spike to the next stays."""
    with np.errstate(divide="ignore"):
        kept, lacking = np.exp(-interval / tau_f), np.exp(-interval / tau_d)
    use = u / (1 - (1 - u) * kept)
    return use * (1 - lacking) / (1 - (1 - use) * lacking)


@pytest.mark.parametrize("interval", [5.0, 20.0, 100.0])
def test_regular_firing_ends_at_the_fixed_point(x64, interval):
    dt, count = 2.5, round(6000 / interval)
    spikes = np.zeros((count, round(interval / dt), 5))
    spikes[:, -1] = 1
    found = sent(U, TAU_F, TAU_D, jnp.asarray(spikes.reshape(-1, 5)), dt)
    found = found.reshape(spikes.shape)
    assert not np.any(found[:, :-1])
    np.testing.assert_allclose(found[0, -1], U, rtol=1e-14)
    true = steady(U, TAU_F, TAU_D, interval)
    np.testing.assert_allclose(found[-1, -1], true, rtol=1e-3)
    # A start is forgotten by e^(-6000 / tau_f), and by what every spike uses.
    np.testing.assert_allclose(found[-1, -1, [0, 2, 3, 4]], true[[0, 2, 3, 4]], 1e-11)
    if interval == 20:
        ratio = true / U
        assert ratio[0] < 0.1 and ratio[1] > 3 and ratio[2] < 1 < ratio[3]


@pytest.mark.parametrize("dt", [0.5, 2.0])
def test_irregular_trains_by_the_map(x64, dt):
    rng = np.random.default_rng(0)
    times = 2 * np.cumsum(1 + rng.integers(0, 40, 50))
    spikes = np.zeros((round((times[-1] + 2) / dt), 5))
    spikes[np.round(times / dt).astype(int)] = 1
    found = sent(U, TAU_F, TAU_D, jnp.asarray(spikes), dt)
    found = found[np.round(times / dt).astype(int)]
    use, there, last = np.zeros(5), np.ones(5), 0
    for time, amplitude in zip(times, found, strict=True):
        with np.errstate(divide="ignore"):
            use = use * np.exp(-(time - last) / TAU_F)
            there = 1 - (1 - there) * np.exp(-(time - last) / TAU_D)
        use = use + U * (1 - use)
        np.testing.assert_allclose(amplitude, use * there, rtol=1e-12)
        there, last = there - use * there, time


def test_slopes_of_the_steady_amplitude(x64):
    # By a step in the imaginary direction of the closed form.
    dt, interval = 5.0, 20.0
    spikes = jnp.zeros((400, 4, 1)).at[:, -1].set(1).reshape(-1, 1)
    last = lambda *given: sent(*given, spikes, dt)[-1, 0]  # noqa: E731
    slopes = jax.jit(jax.grad(last, (0, 1, 2)))
    for given in ((0.5, 20.0, 400.0), (0.05, 400.0, 100.0)):
        found = slopes(*given)
        for k, slope in enumerate(found):
            moved = [x + 1e-30j * (k == i) for i, x in enumerate(given)]
            true = steady(*moved, interval).imag / 1e-30
            np.testing.assert_allclose(slope, true, rtol=1e-6)


@pytest.mark.parametrize("double", [False, True])
def test_slopes_are_numbers_without_facilitation_or_depression(double):
    with jax.enable_x64(double):
        spikes = jnp.ones((5, 5)).at[1:3].set(0)
        total = lambda *given: jnp.sum(sent(*given, spikes, 0.1))  # noqa: E731
        found = jax.grad(total, (0, 1, 2))(*map(jnp.asarray, (U, TAU_F, TAU_D)))
        assert all(np.isfinite(x).all() for x in found)
        assert found[1][2] == 0 and found[2][3] == 0


def test_a_spikes_slope_is_that_of_a_whole_spike(x64):
    release = ShortTermPlasticity(0.3, 200.0, 300.0)
    state = Resources(jnp.array([0.2]), jnp.array([0.7]))
    none = jnp.zeros(1)
    before = release.step(state, none, 0.1)
    after = release.step(state, none + 1, 0.1)
    _, along = jax.jvp(lambda s: release.step(state, s, 0.1), (none,), (none + 1,))
    for x, y, slope in zip(*map(jax.tree.leaves, (before, after, along)), strict=True):
        np.testing.assert_allclose(slope, y - x, rtol=1e-13)


def test_between_spikes_it_is_the_fields_solution(x64):
    release = ShortTermPlasticity(0.3, 200.0, 300.0)
    state = Resources(jnp.array([0.2]), jnp.array([0.7]))
    term = ODETerm(lambda t, y, args: release.field(y))
    found = diffeqsolve(term, Tsit5(), 0.0, 40.0, 0.1, state, saveat=SaveAt(t1=True)).ys
    after, _ = release.step(state, jnp.zeros(1), 40.0)
    for x, y in zip(found, after, strict=True):
        np.testing.assert_allclose(x[0], y, rtol=1e-10)
