"""The spiral experiment's own pieces."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np

from experiments import neural_ode_spiral as spiral
from experiments._neural_ode_spiral_data import paths


def test_oscillator_paths_keep_their_energy():
    """With g(y) = y / (1 + y), y1 + y2 - log((1 + y1)(1 + y2)) is constant."""
    known = paths("oscillator", 10.0, 50, 12, "float64")
    energy = np.sum(known.train - np.log1p(known.train), axis=-1)
    np.testing.assert_allclose(energy, np.tile(energy[0], (99, 1)), atol=1e-7)
    assert known.held_out.shape == (99, 3, 2) and known.times[-1] == 20.0


def test_cubic_spiral_loses_the_quartic_that_it_should():
    """d/dt (y1^4 + y2^4) / 4 = -0.1 (y1^6 + y2^6)."""
    known = paths("cubic_spiral", 1.5, 3001, 8, "float64")
    quartic = np.sum(known.train**4, -1) / 4
    rate = -0.1 * np.sum(known.train**6, -1)
    step = known.times[1]
    lost = step * (np.sum(rate, 0) - (rate[0] + rate[-1]) / 2)  # trapezoidal rule
    np.testing.assert_allclose(quartic[-1] - quartic[0], lost, rtol=1e-4)
    radii = np.linalg.norm(known.train[0], axis=-1)
    assert radii.min() >= 1 and radii.max() <= 2


def test_euler_integrator_is_a_residual_network():
    net = eqx.nn.MLP(2, 2, 8, 1, jax.nn.tanh, key=jr.key(0))
    starts, times = jr.normal(jr.key(1), (5, 2)), jnp.linspace(0, 1, 11)
    model = spiral.Model(integrator="euler")
    # The horizon ends at the sixth sample: later ones are held there.
    found = spiral.solve(net, starts, times, times[5], 0.1, model).ys
    state, wanted = starts, [starts]
    for _ in range(5):
        state = state + 0.1 * jax.vmap(net)(state)
        wanted.append(state)
    np.testing.assert_allclose(found[:6], jnp.stack(wanted), rtol=2e-5, atol=1e-6)
    np.testing.assert_allclose(found[6:], jnp.stack([state] * 5), rtol=2e-5, atol=1e-6)
