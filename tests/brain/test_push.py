"""Pushed spikes against dense matrices: values and all derivatives."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain._buffered import over_rows, rows_at_once, turns
from djx.brain._connectivity import from_edges
from djx.brain._push import push

from .push_cases import (
    BACKENDS,
    dense,
    into_of,
    ORDERED,
    some_edges,
    spikes_of,
    weights_of,
)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("sizes", [(1, 1, 1), (7, 3, 20), (130, 77, 900)])
def test_against_dense(x64, backend, sizes):
    connectivity = some_edges(*sizes, latest=3 if sizes[2] == 20 else None)
    weights = [weights_of(kind, connectivity) for kind in ("one", "edge")]

    @jax.jit
    def both(spikes, into):
        ways = ft.partial(push, step=7, backend=backend), ft.partial(dense, step=7)
        return [[f(connectivity, spikes, w, into=into) for w in weights] for f in ways]

    for fired in (0, -(-sizes[0] // 4), sizes[0]):
        found, expected = both(spikes_of(sizes[0], fired), into_of(connectivity))
        np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("backend", [*BACKENDS, None])
def test_derivatives_are_those_of_dense(x64, backend):
    kind, connectivity = "edge", some_edges(40, 30, 150, latest=4)
    if backend is None:
        kind = "sender"
    spikes, weights = spikes_of(40, 11), weights_of(kind, connectivity)
    given = spikes, weights, into_of(connectivity)
    # Those that did not fire stay silent along the way.
    along = jnp.where(spikes != 0, spikes_of(40, 40, 5), 0), *map(jnp.cos, given[1:])

    @ft.partial(jax.jit, static_argnums=0)
    def first_and_second(function, given, along):
        def loss(*given):
            return jnp.sum(jnp.sin(function(connectivity, *given)))

        return jax.jvp(jax.grad(loss, (0, 1, 2)), given, along)

    def pushed(connectivity, spikes, weights, into):
        return push(connectivity, spikes, weights, into=into, step=9, backend=backend)

    ways = pushed, ft.partial(dense, step=9)
    pair = (first_and_second(f, given, along) for f in ways)
    for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-12)


def test_forward_and_reverse_are_adjoint(x64):
    connectivity = some_edges(50, 60, 300, latest=2)
    primals = spikes_of(50, 13), weights_of("edge", connectivity), into_of(connectivity)
    along = spikes_of(50, 50, 5), jnp.cos(primals[1]), jnp.sin(primals[2])
    run = lambda s, w, i: push(connectivity, s, w, into=i, step=3)  # noqa: E731
    value, pushed = jax.jvp(run, primals, along)
    g = jnp.asarray(np.random.default_rng(7).normal(size=value.shape))
    pulled = jax.vjp(run, *primals)[1](g)
    inner = sum(jnp.vdot(a, b) for a, b in zip(along, pulled, strict=True))
    np.testing.assert_allclose(jnp.vdot(g, pushed), inner, rtol=1e-12)
    np.testing.assert_array_equal(pulled[2], g)
    parts = run(along[0], primals[1], along[2]) + run(primals[0], along[1], 0 * g)
    np.testing.assert_allclose(pushed, parts, atol=1e-12)


@pytest.mark.parametrize("kind", ["sender", "edge"])
def test_only_active_senders_have_slopes(x64, kind):
    connectivity, spikes = some_edges(40, 30, 150), spikes_of(40, 9)
    weights, active = weights_of(kind, connectivity), np.arange(40) % 4 == 0

    def pulled(active):
        def run(spikes, weights):
            return push(connectivity, spikes, weights, active)

        return jax.vjp(run, spikes, weights)[1](jnp.arange(30.0))

    every, few = pulled(None), pulled(jnp.asarray(active))
    np.testing.assert_array_equal(few[0], np.where(active, every[0], 0))
    np.testing.assert_allclose(few[1], every[1], rtol=1e-12)
    run = lambda s: push(connectivity, s, weights, jnp.asarray(active))  # noqa: E731
    np.testing.assert_allclose(jax.jacfwd(run)(spikes), jax.jacrev(run)(spikes))


@pytest.mark.parametrize("backend", ORDERED)
def test_terms_are_added_in_the_order_of_edges(backend):
    connectivity = some_edges(300, 20, 6000)
    weights = weights_of("edge", connectivity).astype(jnp.float32)
    spikes = spikes_of(300, 170).astype(jnp.float32)
    expected = np.zeros(20, np.float32)
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    terms = np.repeat(np.asarray(spikes), np.diff(rows)) * np.asarray(weights)
    for target, term in zip(targets, terms, strict=True):
        expected[target] += term  # zeros of those that are silent change nothing
    found = jax.jit(lambda s: push(connectivity, s, weights, backend=backend))(spikes)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(("count", "at_once"), [(1, 1), (33, 5), (200, 1)])
def test_every_row_is_taken_once_and_in_order(count, at_once):

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


def test_turns_of_a_buffer_are_counted():
    some = rows_at_once(300)
    fired = [0, 1, some, some + 1, 300]
    found = [int(turns(jnp.arange(300) < n)) for n in fired]
    assert found == [0, 1, 1, 2, -(-300 // some)]


def test_refusals():
    connectivity, late = some_edges(7, 3, 20), some_edges(7, 3, 20, latest=4)
    spikes = jnp.zeros(7)
    for given, words in [
        ({"spikes": jnp.zeros(3)}, "spikes: one for each of 7 senders"),
        ({"weights": jnp.zeros(3)}, "weights: one, 7 of senders or 20 of edges"),
        ({"into": jnp.zeros(4)}, "into: floats of"),
        ({"into": jnp.zeros(3, int)}, "into: floats of"),
        ({"backend": "fast"}, "backend='fast': has to be one of"),
        ({"connectivity": late, "into": jnp.zeros((4, 3))}, "into: 4 rows, fewer"),
        ({"connectivity": late, "into": jnp.zeros((5, 2))}, "into: floats of"),
    ]:
        with pytest.raises(ValueError, match=words):
            push(**{"connectivity": connectivity, "spikes": spikes, **given})


@pytest.mark.parametrize("name", BACKENDS)
def test_receivers_of_several_axes(name):
    edges = from_edges(
        *map(np.array, ([0, 0, 2, 2, 2], [0, 5, 1, 4, 4])),
        (3, 6),
        np.array([1, 2, 2, 1, 2]),
    )
    spikes = jnp.asarray([[1.0, 1.0, 0.0], [0.0, 0.0, 2.0]])
    weights = jnp.asarray([1.0, 2.0, 3.0, 4.0, 5.0])
    flat = jnp.arange(18.0).reshape(3, 6)

    def pushed(spikes, weights, into):
        return push(edges, spikes, weights, into=into, step=4, backend=name)

    axes = (0, None, None)
    for shape in [(3, 2, 3), (3, 6, 1)]:
        one = jax.vmap(pushed, axes)(spikes, weights, flat)
        other = jax.vmap(pushed, axes)(spikes, weights, flat.reshape(shape))
        assert other.shape == (2, *shape)
        np.testing.assert_array_equal(other.reshape(one.shape), one)

        def total(spikes, weights, into, shape=shape):
            out = jax.vmap(pushed, axes)(spikes, weights, into.reshape(shape))
            return jnp.sum(jnp.sin(out))

        def plain(spikes, weights, into):
            return jnp.sum(jnp.sin(jax.vmap(pushed, axes)(spikes, weights, into)))

        args = spikes, weights, flat
        slopes = jax.grad(total, (0, 1, 2))(*args), jax.grad(plain, (0, 1, 2))(*args)
        for a, b in zip(*slopes, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6)
    with pytest.raises(ValueError, match="into: floats"):
        pushed(spikes[0], weights, jnp.zeros((3, 5)))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("lanes", ["none", "ring", "steps", "all"])
def test_what_has_arrived_is_forgotten(x64, backend, lanes):
    edges = some_edges(7, 5, 20, latest=3)
    rng = np.random.default_rng(2)
    many = {"none": "", "ring": "r", "steps": "rt", "all": "rts"}[lanes]
    ring = jnp.asarray(rng.normal(size=(3, 4, 5) if "r" in many else (4, 5)))
    steps = jnp.asarray([2, 5, 8] if "t" in many else 6)
    spikes = jnp.asarray(rng.normal(size=(3, 7) if "s" in many else 7))
    axes = [0 if letter in many else None for letter in "rts"]

    def pushed(clears):
        def one(ring, step, spikes):
            if not clears:
                row = jnp.arange(4) == step % 4
                ring = jnp.where(row[:, None], 0, ring)
            return push(
                edges, spikes, into=ring, step=step, backend=backend, clears=clears
            )

        return jax.vmap(one, axes) if many else one

    def both(clears):
        function = lambda ring, spikes: pushed(clears)(ring, steps, spikes)  # noqa: E731
        out, pull = jax.vjp(function, ring, spikes)
        along = [
            jax.jvp(function, (ring, spikes), tangents)[1]
            for tangents in (
                (jnp.cos(ring), jnp.sin(spikes)),
                (jnp.cos(ring), jnp.zeros_like(spikes)),
            )
        ]
        alone = jax.jvp(lambda r: function(r, spikes), (ring,), (jnp.cos(ring),))[1]
        return out, pull(jnp.sin(out)), along, alone

    found, wanted = both(True), both(False)
    for a, b in zip(*map(jax.tree.leaves, (found, wanted)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)
    alone = pushed(True)(ring, steps, 0 * spikes)
    assert (np.asarray(alone) == 0).sum() == 5 * (3 if many else 1)


def test_only_rings_forget():
    edges = from_edges(np.array([0]), np.array([0]), (1, 1))
    with pytest.raises(ValueError, match="clears: a ring"):
        push(edges, jnp.ones(1), into=jnp.zeros(1), clears=True)
