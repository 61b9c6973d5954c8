"""The neural SDE experiment's own pieces."""

from typing import Any, cast

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from experiments import neural_sde
from experiments._neural_sde_data import drift, spiral_moments
from experiments._neural_sde_model import DriftStiffness, equation, Net


class Linear(eqx.Module):
    """du = rate u dt + noise u dW, Ito; in the place of the network."""

    rate: float
    noise: float

    def stratonovich_drift(self, u):
        return (self.rate - self.noise**2 / 2) * u

    def diffusion(self, u):
        return self.noise * u


def test_data_without_noise_solve_the_ordinary_equation():
    moments = spiral_moments(noise=0.0, paths=2)
    solution = solve_ivp(
        lambda t, u: drift(u, 0.1, 2.0),
        (0, 1),
        (2.0, 0.0),
        t_eval=moments.times,
        rtol=1e-10,
        atol=1e-10,
    )
    np.testing.assert_allclose(moments.mean, solution.y.T, atol=1e-5)
    np.testing.assert_allclose(moments.variance, 0, atol=1e-20)


def test_data_without_drift_are_geometric_brownian_motion():
    """E u = u0 and Var u = u0^2 (exp(g^2 t) - 1) for du = g u dW in Ito's sense."""
    count, noise = 4000, 0.5
    moments = spiral_moments(0.0, 0.0, noise, paths=count, substeps=2)
    deviation = np.sqrt(4 * np.expm1(noise**2) / count)
    np.testing.assert_allclose(moments.mean[:, 0], 2.0, atol=4 * deviation)
    wanted = 4 * np.expm1(noise**2 * moments.times)
    np.testing.assert_allclose(moments.variance[:, 0], wanted, rtol=0.15, atol=1e-12)
    np.testing.assert_array_equal(moments.mean[:, 1], 0.0)


def test_network_means_its_equation_in_the_sense_of_ito():
    """With du = g u dW alone the mean stays; read as Stratonovich's it would grow."""
    model, count, noise = neural_sde.Model(width=3), 8000, 1.0
    net = Net(3, key=jr.key(0))
    net = eqx.tree_at(
        lambda n: (n.field.weight, n.field.bias, n.noise.weight, n.noise.bias),
        net,
        (jnp.zeros((2, 3)), jnp.zeros(2), noise * jnp.eye(2), jnp.zeros(2)),
    )
    terms = equation(count, model.finest, key=jr.key(1))
    ends, _ = neural_sde.solve(net, terms, jnp.array([1.0]), count, model)
    found = float(jnp.mean(cast(Any, ends.ys)[0, :, 0]))
    deviation = np.sqrt(4 * np.expm1(noise**2) / count)
    assert abs(found - 2.0) < 4 * deviation < 0.1 * 2.0 * np.expm1(noise**2 / 2)


@pytest.mark.parametrize("rate", [-3.0, 1.5])
def test_stiffness_of_a_linear_drift_is_its_rate(rate):
    net, model = cast(Net, Linear(rate, 0.3)), neural_sde.Model()
    terms = equation(50, model.finest, key=jr.key(2))
    extra = DriftStiffness(net)
    _, value = neural_sde.solve(net, terms, jnp.array([1.0]), 50, model, extra)
    # Of the drift that the solver sees, over an interval of length one.
    np.testing.assert_allclose(value, abs(rate - 0.3**2 / 2), rtol=1e-3)


def test_weight_runs_exponentially_and_zero_stays_zero():
    found = [neural_sde._interpolate(0.4, 0.1, done) for done in (0.0, 0.5, 1.0)]
    np.testing.assert_allclose(found, [0.4, 0.2, 0.1], rtol=1e-6)
    assert neural_sde._interpolate(0.0, 0.0, 0.5) == 0.0
