"""Pushed spikes of many lanes, in rings of delays, over devices and for others."""

import dataclasses
import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, PartitionSpec as P

from djx.brain._connectivity import from_edges
from djx.brain._native import available
from djx.brain._push import push

from .push_cases import BACKENDS, into_of, some_edges, spikes_of, weights_of


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dims", [(1, None, None), (None, 0, 0)])
def test_lanes(x64, backend, dims):
    """Also of networks, which have as many edges each; and lanes of lanes."""
    three = [some_edges(40, 30, 150, seed, latest=2) for seed in range(3)]
    three = [dataclasses.replace(one, longest=20) for one in three]
    networks = jax.tree.map(lambda *leaves: jnp.stack(leaves), *three)
    spikes = jnp.stack([spikes_of(40, n, n) for n in (0, 5, 40)])
    weights = jnp.stack([weights_of("edge", three[0], n) for n in range(3)])
    given = (
        spikes[1] if dims[0] is None else spikes.T,
        weights[0] if dims[1] is None else weights,
    )
    network = three[0] if dims[2] is None else networks

    def of(function):
        def loss(s, w):
            def one(connectivity, s, w, into):
                return function(connectivity, s, w, into=into, step=2)

            lanes = jax.vmap(one, (dims[2], *dims[:2], None))
            both = jax.vmap(lanes, (None, None, None, 0))
            rings = jnp.stack([jnp.zeros((4, 30)), jnp.ones((4, 30))])
            out = both(network, s, w, rings)
            return jnp.sum(jnp.cos(jnp.arange(out.size)).reshape(out.shape) * out**2)

        return jax.jit(jax.value_and_grad(loss, (0, 1)))(*given)

    found, expected = of(ft.partial(push, backend=backend)), of(plain)
    for a, b in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


def plain(connectivity, spikes, weights, into, step):
    """Edge by edge, of networks that are traced."""
    edge = jnp.arange(connectivity.edges)
    senders = jnp.searchsorted(connectivity.rows, edge, side="right") - 1
    row = (step + connectivity.delays) % into.shape[0]
    return into.at[row, connectivity.targets].add(spikes[senders] * weights)


@pytest.mark.parametrize("backend", BACKENDS)
def test_every_delay_arrives_when_it_should(backend):
    """Five times around the ring; each row is read, and cleared when it is over."""
    senders, latest, steps = 9, 6, 35
    late = np.arange(senders * latest) % latest + 1
    who = np.repeat(np.arange(senders), latest)
    connectivity = from_edges(who, who * latest + late - 1, (senders, 54), late)
    fired = np.random.default_rng(0).random((steps, senders)) < 0.3

    def step(ring, given):
        number, spikes = given
        place = number % ring.shape[0]
        ring = jax.lax.dynamic_update_index_in_dim(ring, jnp.zeros(54), place, 0)
        ring = push(connectivity, spikes, 1.0, into=ring, step=number, backend=backend)
        return ring, ring[(number + 1) % ring.shape[0]]

    xs = jnp.arange(steps), jnp.asarray(fired, jnp.float32)
    for depth in (latest + 1, latest + 3):
        arrived = jax.lax.scan(step, jnp.zeros((depth, 54)), xs)[1]
        for edge in range(54):
            wait, sender = late[edge] - 1, edge // latest
            expected = np.pad(fired[: steps - wait, sender], (wait, 0))
            np.testing.assert_array_equal(arrived[:, edge], expected)


def test_devices_share_weights(x64):
    """Each has some of the lanes; what all share has the slopes of all."""
    connectivity = some_edges(40, 30, 150, latest=2)
    spikes = jnp.stack([spikes_of(40, n, n) for n in (0, 5, 40, 9)])
    into = jnp.stack([into_of(connectivity, n) for n in range(4)])
    mesh = jax.make_mesh((2,), ("lanes",), axis_types=(AxisType.Auto,))

    def loss(spikes, into, weights):
        one = lambda s, i: push(connectivity, s, weights, into=i, step=3)  # noqa: E731
        return jnp.sum(jnp.sin(jax.vmap(one)(spikes, into)))

    @ft.partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(P("lanes"), P("lanes"), P()),
        out_specs=P(),
    )
    def shared(*given):
        return jax.lax.psum(loss(*given), "lanes")

    for kind in ("sender", "edge"):
        given = spikes, into, weights_of(kind, connectivity)
        pair = (
            jax.jit(jax.value_and_grad(f, (0, 1, 2)))(*given) for f in (shared, loss)
        )
        for a, b in zip(*map(jax.tree.leaves, pair), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-12)


def test_programs_for_other_devices_name_no_library():
    connectivity = some_edges(40, 30, 150)
    slope = jax.grad(lambda w: jnp.sum(push(connectivity, jnp.ones(40), w) ** 2))
    traced = jax.jit(slope).trace(jnp.ones(150))
    for platform in ("cuda", "rocm", "tpu"):
        lowered = traced.lower(lowering_platforms=(platform,))
        assert "djx_push" not in lowered.as_text()
    both = traced.lower(lowering_platforms=("cpu", "tpu")).as_text()
    assert ("djx_push" in both) == available()
