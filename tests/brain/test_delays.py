"""Delays in steps, by chance, and with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from djx import brain
from djx.brain._connectivity import from_edges
from djx.brain._delays import (
    delays_in_steps,
    interpolated,
    normal_delays,
    requantised,
    with_delays,
)


def senders_of(edges):
    return np.repeat(np.arange(edges.senders), np.diff(np.asarray(edges.rows)))


def test_steps_of_milliseconds():
    steps = delays_in_steps(np.array([[0.1, 1.5], [0.74, 0.75]]), 0.1)
    assert steps.dtype == np.int32 and steps.tolist() == [[1, 15], [7, 8]]
    assert delays_in_steps(1.25, 0.5) == 3  # halves upwards
    assert delays_in_steps(0.3, 0.1, exact=True) == 3  # 2.9999999999999996
    assert delays_in_steps(np.float32(20.1), 0.1, exact=True) == 201
    assert delays_in_steps(np.zeros(0), 0.1).shape == (0,)


def test_delays_follow_the_clock():
    edges = with_delays(brain.all_to_all(2, 3), [2, 4, 6, 8, 10, 2])
    assert edges.latest == 10
    fine, coarse = requantised(edges, 0.1, 0.05), requantised(edges, 0.1, 0.2)
    np.testing.assert_array_equal(fine.delays, 2 * edges.delays)
    np.testing.assert_array_equal(coarse.delays, edges.delays // 2)
    assert (fine.latest, coarse.latest) == (20, 5)
    with pytest.raises(ValueError, match="0.2 ms at steps of 0.15 ms is not a whole"):
        requantised(edges, 0.1, 0.15)
    rounded = requantised(edges, 0.1, 0.15, exact=False)
    assert rounded.delays.tolist() == [1, 3, 4, 5, 7, 1]
    with pytest.raises(ValueError, match="0.2 ms at steps of 0.4 ms has to be a step"):
        requantised(edges, 0.1, 0.4, exact=False)
    assert requantised(brain.one_to_one(3), 0.1, 0.2).delays is None


def test_room_for_later_ones():
    edges = brain.one_to_one(3)
    assert with_delays(edges, 4).delays.tolist() == [4, 4, 4]
    assert with_delays(edges, 4, latest=9).latest == 9
    assert with_delays(from_edges([], [], (0, 0)), 1).latest == 1


def test_delays_of_a_normal_distribution():
    edges = brain.fixed_probability(300, 400, 0.5, seed=3)
    mean, spread, dt = 1.5, 0.75, 0.1
    late = normal_delays(edges, mean, spread, dt, seed=3)
    found = np.bincount(late.delays, minlength=late.latest + 1)
    ends = norm.cdf((np.arange(late.latest + 1) + 0.5) * dt, mean, spread)
    shares = np.diff(ends)
    shares[0] = ends[1]  # all below a step and a half
    expected = edges.edges * shares
    assert np.all(
        np.abs(found[1:] - expected) < 5 * np.sqrt(expected * (1 - shares)) + 1
    )
    assert found[0] == 0 and found[-1] > 0
    # Words of one seed are others than those that drew the edges.
    gaps = np.diff(np.asarray(edges.targets))
    inside = np.diff(senders_of(edges)) == 0
    related = np.corrcoef(gaps[inside], np.asarray(late.delays)[1:][inside])[0, 1]
    assert abs(related) < 5 / np.sqrt(edges.edges)
    # A row's are its own, whatever other rows there are.
    fewer = brain.fixed_probability(20, 400, 0.5, seed=3)
    again = normal_delays(fewer, mean, spread, dt, seed=3)
    np.testing.assert_array_equal(again.delays, late.delays[: fewer.edges])
    same = normal_delays(fewer, mean, 0.0, dt, seed=0)
    assert np.all(np.asarray(same.delays) == 15) and same.latest == 15


STEPS, LATEST = 30, 7


def numpy_ring(senders, targets, weights, delays, spikes, receivers):
    """What arrives at each step, spike by spike and edge by edge, from a ring."""
    ring = np.zeros((LATEST + 1, receivers))
    arrived = np.zeros((STEPS, receivers))
    for step in range(STEPS):
        place = step % len(ring)
        arrived[step], ring[place] = ring[place], 0
        for sender, target, weight, delay in zip(
            senders, targets, weights, delays, strict=True
        ):
            whole = min(int(delay), LATEST - 1)
            for later, share in ((0, whole + 1 - delay), (1, delay - whole)):
                place = (step + whole + later) % len(ring)
                ring[place, target] += weight * share * spikes[step, sender]
    return arrived


@pytest.mark.parametrize("per", ["edge", "sender"])
def test_delays_between_steps_have_derivatives(x64, per):
    rng = np.random.default_rng(1)
    edges = with_delays(brain.fixed_probability(4, 5, 0.6, seed=1), 1, latest=LATEST)
    senders, targets = senders_of(edges), np.asarray(edges.targets)
    spikes = (rng.random((STEPS, 4)) < 0.3).astype(float)
    kernel = rng.normal(size=(STEPS, 5))
    weights = rng.normal(size=edges.edges if per == "edge" else 4)
    each = weights if per == "edge" else weights[senders]
    delays = rng.uniform(1, LATEST, edges.edges)
    delays[:3] = 1.0, 4.0, LATEST  # the first, a whole one, and the last

    def response(weights, delays):
        arrived = jnp.zeros((STEPS + LATEST + 1, 5))
        for part, w in interpolated(edges, weights, delays, per):
            at = jnp.arange(STEPS)[:, None] + part.delays
            arrived = arrived.at[at, part.targets].add(w * spikes[:, senders])
        return arrived[:STEPS]

    expected = numpy_ring(senders, targets, each, delays, spikes, 5)
    np.testing.assert_allclose(response(weights, delays), expected, atol=1e-12)

    @jax.jit
    def gradients(weights, delays):
        return jax.grad(lambda *a: jnp.sum(kernel * response(*a)), (0, 1))(
            weights, delays
        )

    def loss(weights, delays):
        return np.sum(kernel * numpy_ring(senders, targets, weights, delays, spikes, 5))

    by_weight, by_delay = gradients(weights, delays)
    np.testing.assert_allclose(by_weight @ weights, loss(each, delays), atol=1e-10)
    for edge in range(edges.edges):
        # Linear between whole steps: a difference to one side is exact.
        step = np.zeros_like(delays)
        step[edge] = -1e-3 if delays[edge] == LATEST else 1e-3
        slope = (loss(each, delays + step) - loss(each, delays)) / step[edge]
        np.testing.assert_allclose(by_delay[edge], slope, atol=1e-9)


def test_delays_out_of_bounds_are_the_nearest():
    edges = with_delays(brain.one_to_one(2), 1, latest=5)
    (early, first), (late, second) = interpolated(edges, 3.0, jnp.array([0.2, 9.0]))
    assert early.delays.tolist() == [1, 4] and late.delays.tolist() == [2, 5]
    assert first.tolist() == [3, 0] and second.tolist() == [0, 3]
    assert early.latest == late.latest == 5


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda e: delays_in_steps(0.06, 0.1), "0.06 ms at steps of 0.1 ms has to be"),
        (lambda e: delays_in_steps(np.nan, 0.1), "nan ms"),
        (lambda e: delays_in_steps(1.0, 0.0), "dt_ms=0.0"),
        (lambda e: delays_in_steps(0.25, 0.1, exact=True), "0.25 ms .* exact=False"),
        (lambda e: with_delays(e, 0), "delays: 0 to 0 steps"),
        (lambda e: with_delays(e, [1, 2]), "delays: one, or 3 of edges"),
        (lambda e: with_delays(e, 5, latest=4), "latest=4: there is a delay of 5"),
        (lambda e: normal_delays(e, 0.05, 1, 0.1, seed=0), "0.05 ms at steps of 0.1"),
        (lambda e: normal_delays(e, 1, -1, 0.1, seed=0), "spread_ms=-1"),
        (lambda e: interpolated(e, 1.0, jnp.ones(3)), "latest=1: .* makes room"),
        (
            lambda e: interpolated(with_delays(e, 1, 3), 1.0, jnp.ones(2)),
            "delays: 3 of edges, not \\(2,\\)",
        ),
    ],
)
def test_refusals(make, words):
    with pytest.raises(ValueError, match=words):
        make(brain.one_to_one(3))
