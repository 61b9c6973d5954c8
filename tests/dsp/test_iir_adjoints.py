"""Derivatives of filters that change at every sample, and the bits of their streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from .moving_filters import CASES, given


def dot(left, right):
    return sum(jnp.vdot(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    "kind, samples", [*[(kind, 21) for kind in CASES], ("order five", 2)]
)
def test_adjoint(kind, samples):
    function, by_loop = CASES[kind]
    with jax.enable_x64(True):
        arrays = given(kind, samples)
        rng = np.random.default_rng(2)
        along = [rng.normal(size=a.shape) * np.std(a) for a in arrays]
        value, tangent = jax.jvp(
            jax.jit(function), *(tuple(map(jnp.asarray, p)) for p in (arrays, along))
        )
        step = 1e-6
        ends = [
            by_loop(*(a + sign * step * t for a, t in zip(arrays, along, strict=True)))
            for sign in (1, -1)
        ]
        for found, up, down in zip(tangent, *ends, strict=True):
            slope = (up - down) / (2 * step)
            np.testing.assert_allclose(found, slope, rtol=1e-5, atol=1e-5)
        g = [jnp.asarray(rng.normal(size=v.shape)) for v in value]
        back = jax.vjp(jax.jit(function), *map(jnp.asarray, arrays))[1](tuple(g))
        np.testing.assert_allclose(dot(g, tangent), dot(along, back), rtol=1e-10)


@pytest.mark.parametrize("kind", ["lfilter", "sosfilt", "state space"])
def test_what_is_given_once_has_the_gradient_of_all_samples(kind):
    with jax.enable_x64(True):
        x, *moving, state = map(jnp.asarray, given(kind, 13))

        def energy(*controls):
            y, end = CASES[kind][0](x, *controls, state)
            return jnp.sum(y**3) + jnp.sum(end**2)

        def of_all(*controls):
            return energy(*(jnp.broadcast_to(c, (13, *c.shape)) for c in controls))

        once, places = [m[0] for m in moving], tuple(range(len(moving)))
        for found, expected in zip(
            *(jax.jit(jax.grad(f, places))(*once) for f in (energy, of_all)),
            strict=True,
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["lfilter", "state space"])
def test_second_derivatives_are_symmetric(kind):
    with jax.enable_x64(True):
        arrays = tuple(map(jnp.asarray, given(kind, 4)))

        def energy(controls):
            y, end = CASES[kind][0](arrays[0], controls, *arrays[2:])
            return jnp.sum(y**3) + jnp.sum(end**2)

        size = arrays[1].size
        both = [
            jax.jit(how(jax.grad(energy)))(arrays[1]).reshape(size, size)
            for how in (jax.jacfwd, jax.jacrev)
        ]
        np.testing.assert_allclose(both[0], both[1], rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(both[0], both[0].T, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", list(CASES))
def test_chunks_and_batches_give_the_same_bits(kind):
    function = jax.jit(CASES[kind][0])
    *arrays, state = (a.astype("float32") for a in given(kind, 329))
    whole, end = function(*arrays, state)
    parts, here, last = [], 0, state
    for size in (*np.random.default_rng(3).permutation([64, 64, 128]), 73):
        out, last = function(*(a[here : here + size] for a in arrays), last)
        parts.append(out)
        here += size
    np.testing.assert_array_equal(np.concatenate(parts), whole)
    np.testing.assert_array_equal(last, end)
    for batch in (1, 16) if kind == "lfilter" else (3,):
        many = [jnp.tile(a, (batch, *[1] * a.ndim)) for a in (*arrays, state)]
        np.testing.assert_array_equal(jax.jit(jax.vmap(function))(*many)[0][-1], whole)
