"""Filters that change at every sample, and plain loops that do what they should."""

import numpy as np

from djx.dsp._iir import lfilter, sosfilt
from djx.dsp._state_space import state_space
from djx.dsp._state_variable import state_variable


RATE = 16000.0


def section_by_loop(x, b, a, z):
    """Transposed direct form II; coefficients of each sample."""
    z, out = [*z, 0.0], []
    for n, w in enumerate(x):
        y = (b[n, 0] * w + a[n, 0] * z[0]) / a[n, 0]
        sent = [(b[n, k] * w - a[n, k] * y) / a[n, 0] for k in range(1, b.shape[1])]
        z = [z[k + 1] + part for k, part in enumerate(sent)] + [0.0]
        out.append(y)
    return np.asarray(out), np.asarray(z[:-1])


def sections_by_loop(x, sections, z):
    ends = []
    for i in range(sections.shape[1]):
        x, end = section_by_loop(x, sections[:, i, :3], sections[:, i, 3:], z[i])
        ends.append(end)
    return x, np.stack(ends)


def state_variable_by_loop(x, cutoff, q, state):
    """Two trapezoidal integrators in a loop, solved for their input."""
    (s1, s2), out = state, []
    for n, v in enumerate(x):
        g, k = np.tan(np.pi * cutoff[n] / RATE), 1 / q[n]
        high = (v - (k + g) * s1 - s2) / (1 + g * (g + k))
        band = g * high + s1
        low = g * band + s2
        s1, s2 = g * high + band, g * band + low
        out.append(low)
    return np.asarray(out), np.stack([s1, s2])


def state_space_by_loop(x, A, B, C, D, s):
    out = []
    for n, v in enumerate(x):
        out.append(C[n] @ s + D[n] @ v)
        s = A[n] @ s + B[n] @ v
    return np.asarray(out), s


def low_pass(x, cutoff_hz, q, state):
    return state_variable(x, cutoff_hz, q, RATE, "lowpass", state)


def given(kind, samples, seed=0):
    """Stable filters that change at every sample."""
    rng = np.random.default_rng(seed)
    x, normal = rng.normal(size=samples), rng.normal

    def biquads(*shape):
        radius, angle = rng.uniform(0.3, 0.9, shape), rng.uniform(0.2, 2.5, shape)
        poles = [np.ones(shape), -2 * radius * np.cos(angle), radius**2]
        gain = rng.uniform(0.5, 2, (*shape, 1))
        return np.concatenate(
            [normal(size=(*shape, 3)), gain * np.stack(poles, -1)], -1
        )

    if kind == "lfilter":
        both = biquads(samples)
        return x, both[:, :3], both[:, 3:], normal(size=2)
    if kind == "order five":
        a = np.concatenate([np.ones((samples, 1)), normal(size=(samples, 5)) / 9], 1)
        return x, normal(size=(samples, 6)), a, normal(size=5)
    if kind == "sosfilt":
        return x, biquads(samples, 3), normal(size=(3, 2))
    if kind == "state variable":
        cutoff, q = rng.uniform(100, 7000, samples), rng.uniform(0.4, 4, samples)
        return x, cutoff, q, normal(size=2)
    x, sizes = normal(size=(samples, 2)), [(3, 3), (3, 2), (1, 3), (1, 2)]
    return x, *[normal(size=(samples, *size)) / 3 for size in sizes], normal(size=3)


CASES = {
    "lfilter": (lfilter, section_by_loop),
    "order five": (lfilter, section_by_loop),
    "sosfilt": (sosfilt, sections_by_loop),
    "state variable": (low_pass, state_variable_by_loop),
    "state space": (state_space, state_space_by_loop),
}
