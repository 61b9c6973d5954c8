"""Filters with states against SciPy, plain loops, analogue ones, and their adjoints."""

import functools as ft

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from djx.dsp._cascade import _at_once as cascade_at_once, _one_by_one as cascade_by_one
from djx.dsp._iir import lfilter, sosfilt
from djx.dsp._poles import parallel_transposed, sequential_transposed
from djx.dsp._state_space import _at_once, _one_by_one, state_space
from djx.dsp._states import _states_one_by_one, scanned

from .moving_filters import CASES, given


cases = pytest.mark.parametrize("kind", list(CASES))


@pytest.mark.parametrize("sizes", [(1, 1), (3, 1), (1, 3), (3, 3), (2, 6), (9, 4)])
def test_fixed_filters_are_those_of_scipy(sizes):
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        b = rng.normal(size=sizes[0])
        a = np.concatenate([[2.0], rng.normal(size=sizes[1] - 1) / sizes[1]])
        x, zi = rng.normal(size=100), rng.normal(size=max(sizes) - 1)
        for found, expected in zip(
            lfilter(*map(jnp.asarray, (x, b, a, zi))),
            scipy.signal.lfilter(b, a, x, zi=zi),
            strict=True,
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [("float64", 1e-12), ("float32", 1e-4)])
def test_fixed_sections_and_systems_are_those_of_scipy(dtype, tolerance):
    def check(found, expected):
        atol = tolerance * np.max(np.abs(expected))
        np.testing.assert_allclose(found, expected, rtol=0, atol=atol)

    with jax.enable_x64(dtype == "float64"):
        sections = scipy.signal.cheby1(7, 1, 0.1, output="sos")
        x, zi = np.random.default_rng(0).normal(size=500), np.ones((4, 2))
        expected = scipy.signal.sosfilt(sections, x, zi=zi)
        found = sosfilt(*(jnp.asarray(p, dtype) for p in (x, sections, zi)))
        jax.tree.map(check, found, expected)
        system = scipy.signal.tf2ss(*scipy.signal.butter(3, 0.2))
        _, expected, states = scipy.signal.dlsim((*system, True), x[:, None])
        given = [jnp.asarray(p, dtype) for p in (x[:, None], *system)]
        check(state_space(*given)[0], expected)
        check(state_space(given[0][:-1], *given[1:])[1], states[-1])


@cases
@pytest.mark.parametrize("samples", [1, 21])
def test_moving_filters_are_those_of_a_loop(kind, samples):
    function, by_loop = CASES[kind]
    with jax.enable_x64(True):
        arrays = given(kind, samples)
        for found, expected in zip(
            jax.jit(function)(*map(jnp.asarray, arrays)), by_loop(*arrays), strict=True
        ):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("fixed", [True, False])
def test_in_parallel_they_are_the_same(fixed):
    with jax.enable_x64(True):
        x, sections, z = map(jnp.asarray, given("sosfilt", 11))
        v, A, B, C, D, s = map(jnp.asarray, given("state space", 11))
        whole = jnp.concatenate(
            [jnp.concatenate([A, B], -1), jnp.concatenate([C, D], -1)], -2
        )
        if fixed:
            sections, whole, A = sections[0], whole[0], A[0]
        columns = [sections[..., i, k] for i in range(2) for k in (0, 1, 2, 4, 5)]
        pairs = [
            (cascade_by_one, cascade_at_once, (x, z[:2], *columns), {}),
            (_one_by_one, _at_once, (whole, v, s), {}),
        ]
        for way in (False, True):
            poles, states = (sections[..., 0, 4:], x, z[0]), (A, x[:, None] * s, s)
            kernels = sequential_transposed, parallel_transposed
            pairs.append((*kernels, poles, {"backwards": way}))
            pairs.append((_states_one_by_one, scanned, states, {"adjoint": way}))
        for one, other, arrays, options in pairs:
            both = [jax.jit(ft.partial(f, **options))(*arrays) for f in (one, other)]
            for a, b in zip(*both, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9)


X, S = jnp.zeros(4), jnp.ones((2, 6))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: lfilter(X[None], X, X), r"audio is \(samples,\), not \(1, 4\)"),
        (lambda: lfilter(X, X, jnp.ones((3, 2))), r"a is \(poles\).*not \(3, 2\)"),
        (lambda: lfilter(X, X, X[:2], X), r"state .*\(4,\), and \(3,\) is needed"),
        (lambda: sosfilt(X, S[:, :5]), "sections have 6 coefficients, .* not 5"),
        (lambda: sosfilt(X, S, S), r"state .*\(2, 6\), and \(2, 2\)"),
        (lambda: state_space(X, S, S, S, S), r"audio is \(samples, inputs\)"),
        (lambda: state_space(X[:, None], *[S[:, :2]] * 4), r"B is \(2, 1\)"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
