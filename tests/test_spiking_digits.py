"""Spiking digits: pulses and delays in closed form, gradients by hand."""

import equinox as eqx
import jax.numpy as jnp
import jax.random as jr
import numpy as np
import pytest

from experiments._digits import score
from experiments._spiking_digits_network import (
    answers,
    Code,
    course,
    FASTER,
    PIXELS,
    Weights,
)


CODE = Code(window_ms=6, latest_ms=5, tail_ms=6)
CELLS, SPAN, TAU, TAU_SYNAPSE = 4, 4, 10, 5


def images(count=3):
    """A third of the pixels dark."""
    levels = np.random.default_rng(1).integers(-8, 17, (count, PIXELS))
    return np.maximum(levels, 0) / 16


def weights_of(delays, code=CODE):
    weights = Weights(CELLS, delays, code, key=jr.key(0))
    if delays == "learnt":
        shift = jr.normal(jr.key(1), weights.shift.shape) / FASTER
        weights = eqx.tree_at(lambda w: w.shift, weights, shift)
    return weights


def delays_of(weights):
    """In steps, of edges: the earlier one, and how much arrives a step later."""
    if weights.drawn is None:
        whole = np.ones((PIXELS, CELLS))
    else:
        whole = np.asarray(weights.drawn, float)
    if weights.shift is None:
        return whole.astype(int), 0 * whole, 0 * whole
    odds = (whole - 1) / (SPAN + 1 - whole) * np.exp(FASTER * np.asarray(weights.shift))
    place = odds / (1 + odds)
    delays = 1 + SPAN * place
    early = np.minimum(np.floor(delays), SPAN).astype(int)
    return early, delays - early, FASTER * SPAN * place * (1 - place)


def times_of(image):
    """Of every pixel that is not dark, its step."""
    return {i: int(np.round(6 * (1 - x))) for i, x in enumerate(image) if x > 0}


def test_pulses_and_delays_between_steps(x64):
    weights = weights_of("learnt")
    weak = eqx.tree_at(lambda w: w.hidden, weights, weights.hidden / 10)
    found = course(weak, CODE, jnp.asarray(images(1)[0])).v_mv
    early, share, _ = delays_of(weights)
    assert share.min() < 0.1 and share.max() > 0.9
    ends, expected = np.arange(1, CODE.steps + 1)[:, None], -60.0
    for pixel, time in times_of(images(1)[0]).items():
        for late, part in ((0, 1 - share[pixel]), (1, share[pixel])):
            since = np.maximum(ends - time - early[pixel] - late, 0)
            pulse = np.exp(-since / TAU) - np.exp(-since / TAU_SYNAPSE)  # peak: 1 / 4
            expected = expected + 40 * np.asarray(weak.hidden)[pixel] * part * pulse
    np.testing.assert_allclose(found, expected, atol=1e-10)


def by_hand(weights, seen, labels):
    """Equations of every step and their adjoints; voltages in thresholds above rest."""
    w, r = np.asarray(weights.hidden), np.asarray(weights.readout)
    early, share, slope_of_shift = delays_of(weights)
    steps, kept, gone = CODE.steps, np.exp(-1 / TAU), np.exp(-1 / TAU_SYNAPSE)
    gain = 4 * (kept - gone)
    total, spikes = 0.0, []
    dw, dr, ds = np.zeros_like(w), np.zeros_like(r), np.zeros_like(w)
    for image, label in zip(seen, labels, strict=True):
        arriving = np.zeros((steps + 20, CELLS))  # from a step's start on
        times, cells = times_of(image), np.arange(CELLS)
        for i, n in times.items():
            arriving[n + early[i], cells] += (1 - share[i]) * w[i]
            arriving[n + early[i] + 1, cells] += share[i] * w[i]
        v, current, wait = np.zeros((3, CELLS))
        trace, logits, tape = np.zeros(10), np.zeros(10), []
        for n in range(steps):
            current = gone * current + arriving[n]
            held, wait = wait > 0, np.maximum(wait - 1, 0)
            v = np.where(held, v, kept * v + gain * current)
            z = np.where((v >= 1) & (wait == 0), 1.0, 0.0)
            slope = np.where(wait == 0, 1.5 / (1 + 5 * np.abs(v - 1)) ** 2, 0)
            tape.append((z, slope, held))
            v, wait = np.where(z > 0, 0, v), np.where(z > 0, 2, wait)
            trace = kept * trace + (1 - kept) * z @ r
            logits = logits + trace
        p = np.exp(logits - logits.max())
        p = p / p.sum()
        total -= np.log(p[label]) / len(labels)
        spikes.append(np.sum([z for z, *_ in tape], 0))
        direct = (p - np.eye(10)[label]) / len(labels)
        g_trace, g_v, g_current = np.zeros(10), np.zeros(CELLS), np.zeros(CELLS)
        g_arriving = np.zeros_like(arriving)
        for n in reversed(range(steps)):
            z, slope, held = tape[n]
            g_trace = kept * g_trace + direct
            dr += (1 - kept) * np.outer(z, g_trace)
            g_v = np.where(z > 0, 0, g_v) + slope * (1 - kept) * (r @ g_trace)
            g_current = gone * g_current + np.where(held, 0, gain * g_v)
            g_arriving[n] = g_current
            g_v = np.where(held, g_v, kept * g_v)
        for i, n in times.items():
            first = g_arriving[n + early[i], cells]
            second = g_arriving[n + early[i] + 1, cells]
            dw[i] += (1 - share[i]) * first + share[i] * second
            ds[i] += w[i] * (second - first) * slope_of_shift[i]
    return total, np.asarray(spikes), (dw, dr, ds)


@pytest.mark.parametrize("delays", ["none", "fixed", "learnt"])
def test_the_network_and_its_gradient_by_hand(x64, delays):
    weights, seen, labels = weights_of(delays), images(), np.array([3, 7, 1])

    @eqx.filter_jit
    @eqx.filter_value_and_grad(has_aux=True)
    def ours(weights):
        found = answers(weights, CODE, jnp.asarray(seen))
        return score(found.logits, jnp.asarray(labels))[0], found.spikes

    (entropy, fired), gradient = ours(weights)
    expected, spikes, (dw, dr, ds) = by_hand(weights, seen, labels)
    assert spikes.sum() > 10 and np.any(spikes > 1)
    np.testing.assert_array_equal(fired, spikes)
    np.testing.assert_allclose(entropy, expected, rtol=1e-10)
    pairs = [(gradient.hidden, dw), (gradient.readout, dr)]
    if delays == "learnt":
        pairs.append((gradient.shift, ds))
    for a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-10 * np.abs(b).max())
        assert np.count_nonzero(b)


def test_learning_begins_with_the_fixed_delays(x64):
    fixed = Weights(CELLS, "fixed", CODE, key=jr.key(2))
    learnt = Weights(CELLS, "learnt", CODE, key=jr.key(2))
    a, b = (answers(w, CODE, jnp.asarray(images())) for w in (fixed, learnt))
    assert a.spikes.sum() >= 10
    np.testing.assert_array_equal(a.spikes, b.spikes)
    np.testing.assert_allclose(a.logits, b.logits, rtol=1e-10)
    np.testing.assert_allclose(learnt.delays(CODE), fixed.drawn, rtol=1e-12)
    assert set(np.unique(fixed.drawn)) == {2, 3, 4}
