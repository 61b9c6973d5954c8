"""Pushed spikes against dense matrices: values, all derivatives, lanes."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain import from_edges, push
from djx.brain._push import over_rows


def some_edges(senders, receivers, edges, seed=0):
    """Duplicates and self-loops among them; every third row is empty."""
    rng = np.random.default_rng(seed)
    rows = np.arange(senders)
    rows = rows[rows % 3 != 1] if senders > 1 else rows
    return from_edges(
        rng.choice(rows, edges),
        rng.integers(receivers, size=edges),
        (senders, receivers),
    )


def weights_of(kind, connectivity, seed=1):
    rng = np.random.default_rng(seed)
    shape = {"one": (), "sender": (connectivity.senders,)}
    shape = shape.get(kind, (connectivity.edges,))
    return jnp.asarray(rng.normal(size=shape))


def spikes_of(count, fired, seed=2):
    """Zeros, and numbers of which none is one."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros(count)
    spikes[rng.choice(count, fired, replace=False)] = rng.uniform(0.5, 2, fired)
    return jnp.asarray(spikes)


def dense(connectivity, spikes, weights):
    """By a matrix, edge by edge."""
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    senders = np.repeat(np.arange(connectivity.senders), np.diff(rows))
    weights = jnp.asarray(weights)
    if weights.ndim and weights.shape != (connectivity.edges,):
        weights = weights[senders]
    matrix = jnp.zeros((connectivity.senders, connectivity.receivers))
    return spikes @ matrix.at[senders, targets].add(weights)


SIZES = [(1, 1, 1), (1, 5, 0), (7, 3, 20), (130, 77, 900)]


@pytest.mark.parametrize("kind", ["one", "sender", "edge"])
@pytest.mark.parametrize("sizes", SIZES)
def test_against_dense(x64, kind, sizes):
    connectivity = some_edges(*sizes)
    weights = weights_of(kind, connectivity)
    both = jax.jit(lambda s: [f(connectivity, s, weights) for f in (push, dense)])
    for fired in (0, -(-sizes[0] // 4), sizes[0]):
        found, expected = both(spikes_of(sizes[0], fired))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("kind", ["one", "sender", "edge"])
def test_derivatives_are_those_of_dense(x64, kind):
    connectivity = some_edges(40, 30, 150)
    weights, spikes = weights_of(kind, connectivity), spikes_of(40, 11)
    along = jnp.where(spikes != 0, spikes_of(40, 40, 5), 0), jnp.cos(weights)

    @ft.partial(jax.jit, static_argnums=0)
    def first_and_second(function, spikes, weights):
        def loss(spikes, weights):
            return jnp.sum(jnp.sin(function(connectivity, spikes, weights)))

        # Those that did not fire stay silent along the way.
        return jax.jvp(jax.grad(loss, (0, 1)), (spikes, weights), along)

    pair = (first_and_second(f, spikes, weights) for f in (push, dense))
    for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_forward_and_reverse_are_adjoint(x64):
    connectivity = some_edges(50, 60, 300)
    primals = spikes_of(50, 13), weights_of("edge", connectivity)
    along = spikes_of(50, 50, 5), weights_of("edge", connectivity, 6)
    run = lambda s, w: push(connectivity, s, w)  # noqa: E731
    value, pushed = jax.jvp(run, primals, along)
    g = jnp.asarray(np.random.default_rng(7).normal(size=value.shape))
    pulled = jax.vjp(run, *primals)[1](g)
    inner = sum(jnp.vdot(a, b) for a, b in zip(along, pulled, strict=True))
    np.testing.assert_allclose(jnp.vdot(g, pushed), inner, rtol=1e-12)
    both = run(along[0], primals[1]) + dense(connectivity, primals[0], along[1])
    np.testing.assert_allclose(pushed, both, atol=1e-12)


def test_only_active_senders_have_slopes(x64):
    connectivity = some_edges(40, 30, 150)
    weights, active = weights_of("edge", connectivity), np.arange(40) % 4 == 0
    g = jnp.ones(30)
    every, few = (
        jax.vjp(lambda s, m=m: push(connectivity, s, weights, m), spikes_of(40, 9))[1](
            g
        )
        for m in (None, jnp.asarray(active))
    )
    np.testing.assert_array_equal(few[0], np.where(active, every[0], 0))
    run = lambda s: push(connectivity, s, weights, jnp.asarray(active))  # noqa: E731
    spikes = spikes_of(40, 9)
    np.testing.assert_allclose(jax.jacfwd(run)(spikes), jax.jacrev(run)(spikes))


@pytest.mark.parametrize("dims", [(0, None), (None, 0), (0, 0), (1, None)])
def test_lanes(x64, dims):
    connectivity = some_edges(40, 30, 150)
    spikes = jnp.stack([spikes_of(40, n, n) for n in (0, 5, 40)])
    weights = jnp.stack([weights_of("edge", connectivity, n) for n in range(3)])
    spikes = {0: spikes, 1: spikes.T, None: spikes[1]}[dims[0]]
    weights = weights if dims[1] == 0 else weights[0]

    def of(function):
        def one(s, w):
            return function(connectivity, s, w)

        def loss(s, w):
            out = jax.vmap(one, dims)(s, w)
            return jnp.sum(jnp.cos(jnp.arange(out.size)).reshape(out.shape) * out**2)

        return jax.vmap(one, dims)(spikes, weights), *jax.grad(loss, (0, 1))(
            spikes, weights
        )

    for a, b in zip(of(push), of(dense), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_terms_are_added_in_the_order_of_edges():
    connectivity = some_edges(300, 20, 6000)
    weights = weights_of("edge", connectivity).astype(jnp.float32)
    spikes = (spikes_of(300, 170) > 0).astype(jnp.float32)
    expected = np.zeros(20, np.float32)
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    for row in np.flatnonzero(spikes):
        for edge in range(rows[row], rows[row + 1]):
            expected[targets[edge]] += np.asarray(weights)[edge]
    np.testing.assert_array_equal(push(connectivity, spikes, weights), expected)


@pytest.mark.parametrize("count", [1, 32, 33, 200])
@pytest.mark.parametrize("at_once", [1, 5, 200])
def test_every_row_is_taken_once_and_in_order(count, at_once):
    at_once = min(at_once, count)

    def turn(rows, carry):
        seen, taken = carry
        there = rows < count
        place = jnp.where(there, taken + jnp.arange(at_once), count)
        return seen.at[place].set(rows, mode="drop"), taken + jnp.sum(there)

    start = jnp.full(count, -1), jnp.asarray(0)
    run = jax.jit(lambda mask: over_rows(mask, at_once, turn, start))
    for share in (0.0, 0.1, 1.0):
        mask = np.random.default_rng(count).random(count) < share
        seen, taken = run(jnp.asarray(mask))
        np.testing.assert_array_equal(seen[:taken], np.flatnonzero(mask))


def test_refusals():
    connectivity = some_edges(7, 3, 20)
    with pytest.raises(ValueError, match="spikes: one for each of 7 senders"):
        push(connectivity, jnp.zeros(3))
    with pytest.raises(ValueError, match="weights: one, 7 of senders or 20 of edges"):
        push(connectivity, jnp.zeros(7), jnp.zeros(3))
