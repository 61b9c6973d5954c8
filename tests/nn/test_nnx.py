from typing import Any

import chex
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from djx.nn.nnx import from_nnx, NNXModule


class Net(nnx.Module):
    def __init__(self, *, rngs):
        self.first = nnx.Linear(4, 5, rngs=rngs)
        self.second = nnx.Linear(5, 2, rngs=rngs)

    def __call__(self, x):
        return self.second(jnp.tanh(self.first(x)))


class Training(nnx.Module):
    def __init__(self, *, rngs):
        self.linear = nnx.Linear(4, 3, rngs=rngs)
        self.norm = nnx.BatchNorm(3, momentum=0.9, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return self.dropout(self.norm(self.linear(x)))


X = jax.random.normal(jax.random.key(7), (8, 4))


@pytest.fixture
def net() -> NNXModule:
    return from_nnx(Net(rngs=nnx.Rngs(0)))


@pytest.fixture
def training() -> NNXModule:
    return from_nnx(Training(rngs=nnx.Rngs(params=0, dropout=1)))


def float64(params):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), nnx.to_pure_dict(params))


def test_forward_is_flax_and_a_float64_forward_by_hand(net):
    p, x = float64(net.params), np.asarray(X, np.float64)
    hidden = np.tanh(x @ p["first"]["kernel"] + p["first"]["bias"])
    by_hand = hidden @ p["second"]["kernel"] + p["second"]["bias"]
    np.testing.assert_allclose(net(X), by_hand, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(net(X), Net(rngs=nnx.Rngs(0))(X))


def test_gradient_is_flax(net):
    got, expected = (
        grad(lambda model: jnp.sum(model(X) ** 2))(model)
        for grad, model in ((eqx.filter_grad, net), (nnx.grad, net.to_nnx()))
    )
    chex.assert_trees_all_close(float64(got.params), float64(expected), rtol=1e-6)


def test_tied_weights_stay_tied():
    linear = nnx.Linear(4, 4, use_bias=False, rngs=nnx.Rngs(0))
    model = from_nnx(nnx.Sequential(linear, linear))
    assert len(jax.tree.leaves(model.params)) == 1
    w = np.asarray(jax.tree.leaves(model.params)[0], np.float64)
    x = np.asarray(X, np.float64)
    # L = sum(x W W): dL/dW = x' 1 (W 1)' + (x W)' 1 1', the sum over both uses.
    one, column = np.ones((8, 4)), np.ones((4, 1))
    by_hand = x.T @ one @ np.diag((w @ column)[:, 0]) + (x @ w).T @ one
    grads = eqx.filter_grad(lambda m: jnp.sum(m(X)))(model)
    got = jax.tree.leaves(grads.params)[0]
    np.testing.assert_allclose(got, by_hand, rtol=1e-4, atol=1e-5)


def test_batch_stats_follow_the_closed_form_running_mean(training):
    p = float64(training.params)["linear"]
    model, mean, var = training, np.zeros(3), np.ones(3)
    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (16, 4))
        y = np.asarray(x, np.float64) @ p["kernel"] + p["bias"]
        mean, var = 0.9 * mean + 0.1 * y.mean(0), 0.9 * var + 0.1 * y.var(0)
        _, model = model.apply_mutable(x)
    stats = nnx.to_pure_dict(model.state)["norm"]
    np.testing.assert_allclose(stats["mean"], mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(stats["var"], var, rtol=1e-4)
    start = nnx.to_pure_dict(training.state)["norm"]["mean"]
    np.testing.assert_array_equal(start, np.zeros(3))
    with pytest.raises(ValueError, match=r"norm/mean, norm/var.*apply_mutable"):
        training(X)


def test_gradient_is_with_respect_to_params_only(training):
    module = training.to_nnx()
    module.eval()
    model = from_nnx(module)
    p = float64(model.params)["linear"]
    y = (np.asarray(X, np.float64) @ p["kernel"] + p["bias"]) / np.sqrt(1 + 1e-5)
    np.testing.assert_allclose(model(X), y, rtol=1e-4, atol=1e-5)
    grads = eqx.filter_grad(lambda m: jnp.sum(m(X) ** 3))(model)
    assert all(np.all(g == 0) for g in jax.tree.leaves(grads.state))
    # Keys and counters have no gradient at all: only mean and var are left.
    assert len(jax.tree.leaves(model.state)) == 4
    assert len(jax.tree.leaves(grads.state)) == 2
    assert all(np.any(g != 0) for g in jax.tree.leaves(grads.params))
    trained, _ = eqx.partition(model, model.trainable())
    chex.assert_trees_all_equal(trained.params, model.params)
    assert jax.tree.leaves(trained.state) == []


def test_dropout_is_determined_by_the_key():
    flax_module = nnx.Dropout(0.5, rngs=nnx.Rngs(dropout=0))
    model = from_nnx(flax_module)
    x = jnp.ones((100, 100))
    one, again, other = (model(x, key=jax.random.key(s)) for s in (1, 1, 2))
    assert np.all(one == again) and np.any(one != other)
    assert set(np.unique(one)) == {0.0, 2.0}
    assert abs(np.mean(one != 0) - 0.5) < 5 * np.sqrt(0.25 / x.size)
    by_name = model(x, key={"dropout": jax.random.key(1)})
    nnx.reseed(flax_module, dropout=jax.random.key(1))
    np.testing.assert_array_equal(by_name, flax_module(x))
    keys = jax.random.split(jax.random.key(0), 3)
    batched = jax.vmap(lambda k: model(X, key=k))(keys)
    np.testing.assert_array_equal(batched, jnp.stack([model(X, key=k) for k in keys]))
    with pytest.raises(ValueError, match="'noise'; Dropout has 'dropout'"):
        model(x, key={"noise": jax.random.key(1)})


def test_the_streams_advance_as_in_flax(training):
    flax_module = training.to_nnx()
    first, model = training.apply_mutable(X)
    second, _ = model.apply_mutable(X)
    np.testing.assert_allclose(first, flax_module(X), rtol=1e-6)
    np.testing.assert_allclose(second, flax_module(X), rtol=1e-6)
    assert np.any((first == 0) != (second == 0))


def test_jit_traces_once_through_training(training):
    @eqx.filter_jit
    @chex.assert_max_traces(n=1)
    def step(model, x, key):
        def objective(model):
            out, model = model.apply_mutable(x, key=key)
            return jnp.mean(out**2), model

        grads, model = eqx.filter_grad(objective, has_aux=True)(model)
        return eqx.apply_updates(model, jax.tree.map(lambda g: -0.1 * g, grads))

    chex.clear_trace_counter()
    model = training
    for key in jax.random.split(jax.random.key(0), 3):
        model = step(model, X, key)  # pyright: ignore[reportCallIssue]
    assert jax.tree.structure(model) == jax.tree.structure(training)


def test_vmap_over_examples_and_over_an_ensemble(net):
    np.testing.assert_allclose(jax.vmap(net)(X), net(X), rtol=1e-5, atol=1e-6)
    keys = jax.random.split(jax.random.key(3), 4)
    make: Any = eqx.filter_vmap(lambda k: from_nnx(Net(rngs=nnx.Rngs(k))))
    out: Any = eqx.filter_vmap(lambda m, x: m(x), in_axes=(eqx.if_array(0), None))
    each = jnp.stack([Net(rngs=nnx.Rngs(k))(X) for k in keys])
    np.testing.assert_allclose(out(make(keys), X), each, rtol=1e-5, atol=1e-6)


def test_a_call_that_sets_a_parameter_leaves_the_wrapper_as_it_was():
    class Halving(nnx.Module):
        def __init__(self):
            self.scale = nnx.Param(jnp.ones(()))

        def __call__(self, x):
            self.scale.set_value(self.scale.get_value() / 2)
            self.seen = nnx.Intermediate(x)
            return self.scale.get_value() * x

    model = from_nnx(Halving())
    with pytest.raises(ValueError, match="updates scale while"):
        model(X)
    (_, once), (_, again) = model.apply_mutable(X), model.apply_mutable(X)
    assert [m.params["scale"][...] for m in (model, once, again)] == [1.0, 0.5, 0.5]
    # The intermediate was dropped: the structure may be carried through a scan.
    assert jax.tree.structure(once) == jax.tree.structure(model)


def test_the_wrapper_does_not_share_variables_with_the_module():
    module = Net(rngs=nnx.Rngs(0))
    model = from_nnx(module)
    before = model(X)
    for other in (module, model.to_nnx()):
        other.first.kernel.set_value(jnp.zeros((4, 5)))
        np.testing.assert_array_equal(model(X), before)


def test_what_cannot_be_wrapped_says_why():
    with pytest.raises(TypeError, match=r"takes a flax\.nnx\.Module, not function"):
        from_nnx(lambda x: x)  # pyright: ignore
