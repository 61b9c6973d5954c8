"""The equilibrium classifier: its layer and what its gradients are compared with."""

import jax
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from djx.run import load
from experiments import deq_digits


@pytest.fixture(scope="module")
def config():
    return next(iter(load("configs/deq_digits/smoke.toml").arms.values()))


def with_mode(config, **fields):
    gradient = deq_digits.Gradient(**fields)
    return config.model_copy(update={"gradient": gradient})


def batch():
    (images, labels), _ = deq_digits.digits("float32")
    return jnp.asarray(images[:8]), jnp.asarray(labels[:8])


def test_states_are_equilibria_of_the_cell(config):
    net = deq_digits.Net(config.model, key=jr.key(0))
    x, _ = batch()
    scores, states, found = deq_digits.forward(net, x, config)
    np.testing.assert_allclose(states, jax.vmap(net.cell)(states, x), atol=1e-4)
    np.testing.assert_allclose(scores, jax.vmap(net.head)(states), rtol=1e-6)
    assert not np.any(found.receipt.failed)


def test_exact_gradients_are_those_of_many_iterations(config):
    """Against the derivative of two hundred plain iterations."""
    net = deq_digits.Net(config.model, key=jr.key(0))
    x, labels = batch()

    def unrolled(net):
        def one(x):
            step = lambda z, _: (net.cell(z, x), None)  # noqa: E731
            z, _ = jax.lax.scan(step, jnp.zeros(config.model.width), None, 200)
            return net.head(z)

        return deq_digits.score(jax.vmap(one)(x), labels)[0]

    def implicit(net):
        return deq_digits.score(deq_digits.forward(net, x, config)[0], labels)[0]

    for a, b in zip(
        jax.tree.leaves(jax.grad(implicit)(net)),
        jax.tree.leaves(jax.grad(unrolled)(net)),
        strict=True,
    ):
        scale = float(jnp.max(jnp.abs(b)))
        np.testing.assert_allclose(a, b, atol=2e-3 * scale)


def test_errors_are_ordered_as_the_series_are_long(config):
    net = deq_digits.Net(config.model, key=jr.key(0))

    def error(**fields):
        found = deq_digits.gradient_error(net, batch(), with_mode(config, **fields))
        return [float(value) for value in found]

    exact, cosine = error(mode="exact")
    assert exact < 1e-2 and cosine > 0.9999
    terms = [error(mode="neumann", steps=k)[0] for k in (1, 2, 6)]
    assert terms[0] > terms[1] > terms[2] > exact
    free, _ = error(mode="jacobian_free")
    np.testing.assert_allclose(free, terms[0], rtol=1e-3)


def test_without_an_equilibrium_it_is_one_hidden_layer(config):
    model = config.model.model_copy(update={"equilibrium": False})
    net = deq_digits.Net(model, key=jr.key(0))
    x, _ = batch()
    scores, _, found = deq_digits.forward(
        net, x, config.model_copy(update={"model": model})
    )
    hidden = np.tanh(x @ net.cell.given.weight.T + net.cell.hidden.bias)
    expected = hidden @ net.head.weight.T + net.head.bias
    np.testing.assert_allclose(scores, expected, rtol=1e-5, atol=1e-6)
    assert found is None
