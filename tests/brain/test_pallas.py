"""Kernels for GPUs, interpreted where there is none, against loops over edges."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.brain import _pallas, _pallas_kernels
from djx.brain._connectivity import from_edges
from djx.brain._procedural import Procedural
from djx.brain._push import push


SENDERS, RECEIVERS, EDGES, LATEST = 70, 150, 1200, 3
ON_GPU = jax.default_backend() == "gpu"


@pytest.fixture(autouse=True)
def _interpreted(monkeypatch):
    contract = ft.partial(_pallas.contract, interpret=not ON_GPU)
    monkeypatch.setattr(_pallas, "contract", contract)
    monkeypatch.setattr(
        _pallas_kernels, "WIDEST", 32
    )  # so that rows take several turns


def some_edges(delayed=False):
    """More than a program of senders; empty rows, and edges that repeat."""
    rng = np.random.default_rng(0)
    rows = np.arange(SENDERS)
    senders = rng.choice(rows[rows % 3 != 1], EDGES)
    targets = rng.integers(RECEIVERS, size=EDGES)
    targets[::7] = 5  # a list that is sorted in many turns
    delays = rng.integers(1, LATEST + 1, size=EDGES) if delayed else None
    return from_edges(senders, targets, (SENDERS, RECEIVERS), delays)


def numbers(shape, dtype, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def spikes_of(fired, dtype, seed=1):
    """Zeros, and numbers of which none is one."""
    rng = np.random.default_rng(seed)
    spikes = np.zeros(SENDERS, dtype)
    chosen = rng.choice(SENDERS, fired, replace=False)
    spikes[chosen] = rng.uniform(0.5, 2, fired)
    return spikes


def edges_of(connectivity, step=0):
    """Each edge's sender, and the place of its receiver in the ring."""
    rows, targets = map(np.asarray, (connectivity.rows, connectivity.targets))
    senders = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    if connectivity.delays is None:
        return senders, (targets,)
    row = (step + np.asarray(connectivity.delays)) % (connectivity.latest + 1)
    return senders, (row, targets)


def added(connectivity, spikes, weights, into, step=0):
    """Edge by edge, each term rounded before it is added."""
    (senders, places), out = edges_of(connectivity, step), into.copy()
    for edge in np.flatnonzero(spikes[senders]):
        place = tuple(axis[edge] for axis in places)
        out[place] += spikes[senders[edge]] * weights[edge]
    return out


@pytest.mark.parametrize("delayed", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_bits_are_those_of_a_loop_over_edges(dtype, delayed):
    with jax.enable_x64(dtype is np.float64):
        connectivity = some_edges(delayed)
        shape = (LATEST + 1, RECEIVERS) if delayed else (RECEIVERS,)
        weights, into = numbers(EDGES, dtype, 2), numbers(shape, dtype, 3)
        sent = jax.jit(
            lambda spikes, step: push(
                connectivity, spikes, weights, into=into, step=step, backend="pallas"
            )
        )
        for fired in (0, 9, SENDERS):
            spikes = spikes_of(fired, dtype)
            found = sent(spikes, jnp.int32(6))
            assert found.dtype == dtype
            expected = added(connectivity, spikes, weights, into, 6)
            np.testing.assert_array_equal(found, expected)


def test_without_order_bits_are_the_same_where_all_terms_are(monkeypatch):
    contract = ft.partial(_pallas.contract, ordered=False)
    monkeypatch.setattr(_pallas, "contract", contract)
    connectivity, into = some_edges(), numbers(RECEIVERS, np.float32, 3)
    sent = jax.jit(lambda *a: push(connectivity, *a, into=into, backend="pallas"))
    spikes, weights = spikes_of(30, np.float32), numbers(EDGES, np.float32, 2)
    expected = added(connectivity, spikes, weights, into)
    np.testing.assert_allclose(sent(spikes, weights), expected, rtol=1e-5, atol=1e-5)
    spikes, weights = np.sign(spikes), np.full_like(weights, 0.1)
    expected = added(connectivity, spikes, weights, into)
    np.testing.assert_array_equal(sent(spikes, weights), expected)
    jax.clear_caches()


@pytest.mark.parametrize("delayed", [False, True])
def test_derivatives_are_sums_over_edges(x64, delayed):
    connectivity = some_edges(delayed)
    spikes, weights = spikes_of(9, float), numbers(EDGES, float, 2)
    active = np.arange(SENDERS) % 5 == 0
    shape = (LATEST + 1, RECEIVERS) if delayed else (RECEIVERS,)
    slopes = numbers(shape, float, 4)

    @jax.jit
    def back(spikes, weights):
        sent = lambda s, w: push(connectivity, s, w, active, backend="pallas")  # noqa: E731
        return jax.vjp(sent, spikes, weights)[1](slopes)

    by_spikes, by_weights = back(spikes, weights)
    senders, places = edges_of(connectivity)
    brought = slopes[places]
    np.testing.assert_allclose(by_weights, spikes[senders] * brought, rtol=1e-14)
    expected = np.bincount(senders, weights * brought, SENDERS)
    np.testing.assert_allclose(by_spikes, np.where(active, expected, 0), atol=1e-12)


@pytest.mark.parametrize("shared", [False, True])
def test_lanes_side_by_side_and_sums_over_them(x64, shared):
    connectivity, slopes = some_edges(), numbers((3, RECEIVERS), float, 4)
    spikes = np.stack([spikes_of(n, float, n) for n in (0, 9, 70)], 1)
    weights = numbers((3, EDGES), float, 2)
    given, dims = (weights[0], (1, None)) if shared else (weights, (1, 0))

    @jax.jit
    def lanes(spikes, weights):
        sent = lambda s, w: push(connectivity, s, w, backend="pallas")  # noqa: E731
        out, back = jax.vjp(jax.vmap(sent, dims), spikes, weights)
        return out, *back(slopes)

    out, by_spikes, by_weights = lanes(spikes, given)
    weights = np.broadcast_to(given, (3, EDGES))
    senders, (targets,) = edges_of(connectivity)
    expected = np.zeros((3, EDGES))
    for lane in range(3):
        none, brought = np.zeros(RECEIVERS), slopes[lane, targets]
        one = added(connectivity, spikes[:, lane], weights[lane], none)
        np.testing.assert_array_equal(out[lane], one)
        expected[lane] = spikes[senders, lane] * brought
        one = np.bincount(senders, weights[lane] * brought, SENDERS)
        np.testing.assert_allclose(by_spikes[:, lane], one, atol=1e-12)
    expected = expected.sum(0) if shared else expected
    np.testing.assert_allclose(by_weights, expected, atol=1e-14)


def test_rows_that_are_drawn_take_another_way(monkeypatch):
    taken = []

    def contract(what, given):
        taken.append(what)
        return what.start(given)

    monkeypatch.setattr(_pallas._buffered, "contract", contract)
    push(Procedural(30, 20, 0.3, seed=4), jnp.ones(30), backend="pallas")
    assert taken
    jax.clear_caches()


@pytest.mark.skipif(ON_GPU, reason="this is the device")
def test_refuses_other_devices(monkeypatch):
    monkeypatch.undo()
    connectivity = from_edges(np.arange(3), np.arange(3), (3, 4))
    with pytest.raises(ValueError, match="backend='pallas': kernels for GPUs"):
        push(connectivity, jnp.ones(3), backend="pallas")
