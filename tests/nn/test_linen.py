from typing import Any

import chex
import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.nn.linen import from_linen, LinenModule


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = jnp.tanh(nn.Dense(5)(x))
        return nn.Dense(2)(x)


class Normalised(nn.Module):
    momentum: float = 0.9

    @nn.compact
    def __call__(self, x, train):
        x = nn.Dense(3)(x)
        return nn.BatchNorm(use_running_average=not train, momentum=self.momentum)(x)


class Dropped(nn.Module):
    @nn.compact
    def __call__(self, x, train=True):
        x = nn.Dropout(0.5, deterministic=not train)(x)
        return nn.Dropout(0.5, deterministic=not train)(x)


X = jax.random.normal(jax.random.key(7), (8, 4))


@pytest.fixture
def net() -> LinenModule:
    return from_linen(Net(), X, key=jax.random.key(0))


@pytest.fixture
def normalised() -> LinenModule:
    return from_linen(Normalised(), X, False, key=jax.random.key(1))


def loss(model, x) -> Any:
    return jnp.sum(model(x) ** 2)


def by_hand(params):
    p = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
    x = np.asarray(X, np.float64)
    hidden = np.tanh(x @ p["Dense_0"]["kernel"] + p["Dense_0"]["bias"])
    return p, x, hidden, hidden @ p["Dense_1"]["kernel"] + p["Dense_1"]["bias"]


def test_forward_is_flax_and_a_float64_forward_by_hand(net):
    *_, expected = by_hand(net.params)
    np.testing.assert_allclose(net(X), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(net(X), Net().apply({"params": net.params}, X))
    chex.assert_trees_all_equal(net.variables, Net().init(jax.random.key(0), X))


def test_gradient_is_flax_and_backpropagation_by_hand(net):
    got = eqx.filter_grad(loss)(net, X)
    flax_grad = jax.grad(lambda p: loss(lambda x: Net().apply({"params": p}, x), X))
    chex.assert_trees_all_close(got.params, flax_grad(net.params), rtol=1e-6)
    p, x, hidden, y = by_hand(net.params)
    dy = 2 * y
    dh = (dy @ p["Dense_1"]["kernel"].T) * (1 - hidden**2)
    expected = {
        "Dense_0": {"kernel": x.T @ dh, "bias": dh.sum(0)},
        "Dense_1": {"kernel": hidden.T @ dy, "bias": dy.sum(0)},
    }
    chex.assert_trees_all_close(got.params, expected, rtol=1e-4, atol=1e-5)


def test_batch_stats_follow_the_closed_form_running_mean(normalised):
    model, expected_mean, expected_var = normalised, np.zeros(3), np.ones(3)
    dense = normalised.params["Dense_0"]
    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (16, 4))
        y = np.asarray(x, np.float64) @ np.asarray(dense["kernel"], np.float64)
        y += np.asarray(dense["bias"])
        expected_mean = 0.9 * expected_mean + 0.1 * y.mean(0)
        expected_var = 0.9 * expected_var + 0.1 * y.var(0)
        out, model = model.apply_mutable(x, True)
        normal = (y - y.mean(0)) / np.sqrt(y.var(0) + 1e-5)
        np.testing.assert_allclose(out, normal, rtol=1e-3, atol=1e-4)
    stats = model.collections["batch_stats"]["BatchNorm_0"]
    np.testing.assert_allclose(stats["mean"], expected_mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], expected_var, rtol=1e-4)
    assert model.params is normalised.params
    start = normalised.collections["batch_stats"]["BatchNorm_0"]["mean"]
    np.testing.assert_array_equal(start, np.zeros(3))
    with pytest.raises(ValueError, match="apply_mutable"):
        model(X, True)


def test_gradient_is_with_respect_to_params_only(normalised):
    def evaluate(model):
        return jnp.sum(model(X, False) ** 3)

    grads = eqx.filter_grad(evaluate)(normalised)
    # The loss does depend on the statistics, so these zeros are not a coincidence.
    stats = normalised.collections["batch_stats"]

    def moved(stats):
        variables = {"params": normalised.params, "batch_stats": stats}
        out: Any = Normalised().apply(variables, X, False)
        return jnp.sum(out**3)

    assert all(np.any(g != 0) for g in jax.tree.leaves(jax.grad(moved)(stats)))
    assert all(np.all(g == 0) for g in jax.tree.leaves(grads.collections))
    assert all(np.any(g != 0) for g in jax.tree.leaves(grads.params))

    trained, rest = eqx.partition(normalised, normalised.trainable())
    chex.assert_trees_all_equal(trained.params, normalised.params)
    assert jax.tree.leaves(trained.collections) == []
    chex.assert_trees_all_equal(rest.collections, normalised.collections)


def test_dropout_is_determined_by_the_key():
    model = from_linen(Dropped(), X, key=jax.random.key(0))
    x = jnp.ones((100, 100))
    one, again, other = (model(x, key=jax.random.key(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.any(one != other)
    # Two layers of one half, from one key: independent if a quarter survives.
    assert set(np.unique(one)) == {0.0, 4.0}
    assert abs(np.mean(one != 0) - 0.25) < 5 * np.sqrt(0.25 * 0.75 / x.size)
    by_name = model(x, key={"dropout": jax.random.key(1)})
    flax_out = Dropped().apply({}, x, rngs={"dropout": jax.random.key(1)})
    np.testing.assert_array_equal(by_name, flax_out)
    np.testing.assert_array_equal(model(x, train=False), x)
    with pytest.raises(ValueError, match=r"pass `key=jax\.random\.key"):
        model(x)


def test_jit_traces_once_through_training(normalised):
    @eqx.filter_jit
    @chex.assert_max_traces(n=1)
    def step(model, x):
        def objective(model):
            out, model = model.apply_mutable(x, True)
            return jnp.sum((out - 1) ** 2), model

        grads, model = eqx.filter_grad(objective, has_aux=True)(model)
        params = jax.tree.map(lambda p, g: p - 0.1 * g, model.params, grads.params)
        return eqx.tree_at(lambda m: m.params, model, params)

    chex.clear_trace_counter()
    model = normalised
    for _ in range(3):
        model = step(model, X)  # pyright: ignore[reportCallIssue]
    assert jax.tree.structure(model) == jax.tree.structure(normalised)
    # d/dbias sum((bias + z - 1)^2) = 2 n (bias - 1), z of zero mean: bias' in closed
    # form is a geometric approach to one. (1 - 2 n 0.1 = -0.6 for n = 8.)
    bias = model.params["BatchNorm_0"]["bias"]
    np.testing.assert_allclose(bias, 1 - (-0.6) ** 3 * np.ones(3), rtol=1e-4)


def test_vmap_over_examples_and_over_an_ensemble(net):
    np.testing.assert_allclose(jax.vmap(net)(X), net(X), rtol=1e-5, atol=1e-6)
    keys = jax.random.split(jax.random.key(3), 4)
    make: Any = eqx.filter_vmap(lambda k: from_linen(Net(), X, key=k))
    ensemble = make(keys)
    out: Any = eqx.filter_vmap(lambda m, x: m(x), in_axes=(eqx.if_array(0), None))
    each = [from_linen(Net(), X, key=k)(X) for k in keys]
    np.testing.assert_allclose(out(ensemble, X), jnp.stack(each), rtol=1e-5, atol=1e-6)


def test_a_module_without_variables():
    model = from_linen(Dropped(), X, key=jax.random.key(0))
    assert model.params == {} and model.collections == {}
    out, after = model.apply_mutable(X, train=False)
    np.testing.assert_array_equal(out, X)
    assert jax.tree.leaves(after) == []


def test_what_cannot_be_wrapped_says_why():
    class Scaled(nn.Module):
        scale: jax.Array

        def __call__(self, x):
            return self.scale * x

    with pytest.raises(TypeError, match="cannot be hashed"):
        from_linen(Scaled(jnp.ones(4)), X, key=jax.random.key(0))
    with pytest.raises(TypeError, match=r"takes a flax\.linen\.Module, not function"):
        from_linen(lambda x: x, X, key=jax.random.key(0))  # pyright: ignore
