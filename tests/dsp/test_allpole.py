"""Recursive filters against SciPy, a plain loop, and their own adjoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from djx.dsp import allpole, last_outputs
from djx.dsp._allpole import _parallel, _sequential


def by_loop(audio, a, past):
    out = list(past[::-1])
    for n, x in enumerate(audio):
        out.append(x - sum(a[n, k] * out[-1 - k] for k in range(a.shape[1])))
    return np.asarray(out[len(past) :])


def stable(samples, order, seed=0):
    """Poles that move inside the unit circle."""
    rng = np.random.default_rng(seed)
    radius = rng.uniform(0.3, 0.95, order // 2) * np.ones((samples, 1))
    angle = np.linspace(0.2, 2.5, samples)[:, None] + rng.uniform(size=order // 2)
    a = np.ones((samples, 1))
    for pole in (radius * np.exp(1j * angle)).T:
        pair = np.stack([np.ones(samples), -2 * pole.real, abs(pole) ** 2], 1)
        a = np.stack([np.convolve(x, y) for x, y in zip(a, pair, strict=True)])
    if order % 2:
        a = np.stack([np.convolve(row, [1.0, -0.5]) for row in a])
    return a[:, 1:]


def given(samples, order, seed=1):
    rng = np.random.default_rng(seed)
    parts = rng.normal(size=samples), stable(samples, order), rng.normal(size=order)
    return [jnp.asarray(part) for part in parts]


@pytest.mark.parametrize("samples", [1, 2, 7, 100])
@pytest.mark.parametrize("order", [0, 1, 2, 5])
def test_against_a_loop(samples, order):
    with jax.enable_x64(True):
        audio, a, past = given(samples, order)
        expected = by_loop(np.asarray(audio), np.asarray(a), np.asarray(past))
        np.testing.assert_allclose(allpole(audio, a, past), expected, rtol=1e-10)


def test_fixed_poles_are_those_of_scipy():
    with jax.enable_x64(True):
        b, a = scipy.signal.butter(4, 0.2)
        audio = np.random.default_rng(0).normal(size=300)
        expected = scipy.signal.lfilter(b[:1], a, audio)
        found = allpole(jnp.asarray(b[0] * audio), jnp.asarray(a[1:]))
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_in_parallel_it_is_the_same():
    with jax.enable_x64(True):
        audio, a, past = given(257, 3)
        one, other = (kernel(a, audio, past) for kernel in (_sequential, _parallel))
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("samples, order", [(1, 2), (40, 1), (40, 2), (3, 5)])
def test_adjoint(samples, order):
    with jax.enable_x64(True):
        primals = tuple(given(samples, order))
        rng = np.random.default_rng(2)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in primals)
        value, tangent = jax.jvp(allpole, primals, along)
        step = 1e-6
        ends = [
            by_loop(
                *(np.asarray(p + s * t) for p, t in zip(primals, along, strict=True))
            )
            for s in (step, -step)
        ]
        slope = (ends[0] - ends[1]) / (2 * step)
        np.testing.assert_allclose(tangent, slope, rtol=1e-5, atol=1e-5)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(allpole, *primals)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-10)


def test_second_derivatives_are_symmetric():
    with jax.enable_x64(True):
        audio, a, past = given(6, 2)

        def energy(a):
            return jnp.sum(allpole(audio, a, past) ** 3)

        for how in (jax.jacfwd, jax.jacrev):
            hessian = how(jax.grad(energy))(a).reshape(12, 12)
            np.testing.assert_allclose(hessian, hessian.T, rtol=1e-9, atol=1e-9)


def test_chunks_and_batches_give_the_same_bits():
    audio, a, _ = (x.astype("float32") for x in given(500, 2))
    whole = jax.jit(allpole)(audio, a)
    past, parts, here = jnp.zeros(2), [], 0
    for size in (64, 128, 64, 244):
        block = slice(here, here + size)
        parts.append(jax.jit(allpole)(audio[block], a[block], past))
        past, here = last_outputs(parts[-1], past), here + size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    for batch in (1, 3, 16):
        many = jax.jit(jax.vmap(allpole, (0, None)))(jnp.tile(audio, (batch, 1)), a)
        np.testing.assert_array_equal(many[-1], whole)


def test_refusals():
    with pytest.raises(ValueError, match=r"\(4,\) and \(3, 2\)"):
        allpole(jnp.zeros(4), jnp.zeros((3, 2)))
    with pytest.raises(ValueError, match="2 last outputs"):
        allpole(jnp.zeros(4), jnp.zeros(2), jnp.zeros(3))
    assert allpole(jnp.zeros(0), jnp.zeros(2)).shape == (0,)
