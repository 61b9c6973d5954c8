"""The latent SDE experiment's own pieces."""

import equinox as eqx
import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments import latent_sde
from experiments._latent_sde_data import lorenz


def _config(**model):
    table = {
        "experiment": "latent_sde",
        "train": {
            "steps": 1,
            "batch": 4,
            "optimiser": {"name": "adam", "learning_rate": 1e-3},
        },
        "data": {"observations": 8},
        "model": {"latent": 2, "width": 8, "context": 4} | model,
    }
    return latent_sde.Config.model_validate(table)


@pytest.fixture
def setting():
    config = _config()
    known = lorenz(8, 16, 4, 0.1)
    return config, known, latent_sde.Net(config.model, key=jr.key(0))


def test_path_weights_have_mean_one(setting):
    """Girsanov: under the posterior, prior over posterior density averages to one."""
    config, known, net = setting

    # Close to each other, or weights of many paths are all but zero.
    def parts(net):
        return (net.posterior, net.prior, net.start)

    small = jax.tree.map(
        lambda x: 0.3 * x if eqx.is_inexact_array(x) else x, parts(net)
    )
    net = eqx.tree_at(parts, net, small)

    def one(key):
        series = jnp.asarray(known.test[0])
        return latent_sde.draw(net, config, series, known.times, key=key)

    paths = jax.jit(jax.vmap(one))(jr.split(jr.key(1), 20000))
    weights = np.exp(np.asarray(paths.log_weight, float))
    error = weights.std() / len(weights) ** 0.5
    assert error < 0.05 and weights.std() > 0.1
    assert abs(weights.mean() - 1) < 5 * error
    # and minus its logarithm averages to the divergence
    divergence = np.asarray(paths.divergence, float)
    gap = -np.asarray(paths.log_weight, float) - divergence
    assert abs(gap.mean()) < 5 * gap.std() / len(gap) ** 0.5
    assert divergence.min() > 0


def test_noise_is_diagonal(setting):
    _, _, net = setting
    slope = jax.jacobian(net.diffusion)(jnp.array([0.3, -0.7]))
    off = slope - jnp.diag(jnp.diagonal(slope))
    assert jnp.all(off == 0) and jnp.all(jnp.diagonal(slope) != 0)


def test_a_context_knows_its_observation_and_later_ones(setting):
    _, known, net = setting
    series = jnp.asarray(known.test[0])
    moved = net.contexts(series.at[3].add(1.0)) != net.contexts(series)
    np.testing.assert_array_equal(moved.any(1), np.arange(9) <= 3)


def test_the_ode_arm_is_deterministic_given_its_start(setting):
    _, known, net = setting
    config = _config(kind="ode")
    path = latent_sde.draw(net, config, None, known.times, key=jr.key(2))
    assert float(path.divergence) == 0.0
    np.testing.assert_allclose(path.log_weight, 0.0, atol=1e-6)


def test_data_are_scaled_and_reproducible():
    one, two = lorenz(10, 200, 20, 0.1), lorenz(10, 200, 20, 0.1)
    assert one is two and one.train.shape == (200, 11, 3)
    values = one.train.reshape(-1, 3)
    np.testing.assert_allclose(values.mean(0), 0, atol=0.02)
    np.testing.assert_allclose(values.var(0), 1 + 0.1**2, rtol=0.02)
    other = lorenz(10, 200, 20, 0.1, seed=1)
    assert not np.array_equal(one.train, other.train)


def test_moment_errors_of_the_data_themselves():
    data = jr.normal(jr.key(0), (50, 5, 3))
    errors = latent_sde.moment_errors(data, data)
    assert {k: float(v) for k, v in errors.items()} == {
        "mean_error": 0.0,
        "spread_error": 0.0,
    }
    wide = latent_sde.moment_errors(2 * data, data)
    np.testing.assert_allclose(wide["spread_error"], 1.0, rtol=0.05)
