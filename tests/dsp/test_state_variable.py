"""The state-variable filter against the analogue one, and at its edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp._state_variable import state_variable, StateVariable

from .moving_filters import CASES, given, RATE


def test_a_stream_of_a_state_variable_is_its_whole():
    x, cutoff, q, _ = (a.astype("float32") for a in given("state variable", 128))
    filter = StateVariable(RATE, "bandpass")
    first, one = jax.jit(filter.step)(filter.init(), x[:64], cutoff[:64], q[:64])
    _, two = jax.jit(filter.step)(first, x[64:], cutoff[64:], q[64:])
    whole = jax.jit(filter)(x, cutoff, q)
    np.testing.assert_array_equal(np.concatenate([one, two]), whole)


ANALOGUE = {
    "lowpass": lambda s, k: 1,
    "bandpass": lambda s, k: k * s,
    "highpass": lambda s, k: s**2,
    "notch": lambda s, k: s**2 + 1,
    "peak": lambda s, k: 1 - s**2,
    "allpass": lambda s, k: s**2 - k * s + 1,
}


@pytest.mark.parametrize("kind", list(ANALOGUE))
def test_the_state_variable_is_an_analogue_filter(kind):
    with jax.enable_x64(True):
        impulse = jnp.zeros(4096).at[0].set(1.0)
        out, _ = state_variable(impulse, 1000.0, 4.0, RATE, kind)
        s = 1j * np.tan(np.pi * np.arange(2048) / 4096) / np.tan(np.pi * 1000 / RATE)
        expected = ANALOGUE[kind](s, 0.25) / (s**2 + 0.25 * s + 1)
        np.testing.assert_allclose(np.fft.rfft(out)[:-1], expected, atol=1e-12)
        mix = {"notch": [1.0, 0.0, 1.0], "allpass": [1.0, -0.25, 1.0]}.get(kind)
        if mix:
            mixed, _ = state_variable(impulse, 1000.0, 4.0, RATE, jnp.asarray(mix))
            np.testing.assert_allclose(mixed, out, atol=1e-14)


def test_edges_are_finite():
    cutoff = jnp.asarray([0.0, RATE / 2, 0.0, RATE, RATE / 2])

    def heard(x, cutoff, q):
        return jnp.sum(state_variable(x, cutoff, q, RATE)[0] ** 2 + x)

    for x in (jnp.zeros(5), jnp.ones(5)):
        for grad in jax.grad(heard, (0, 1, 2))(x, cutoff, jnp.full(5, 0.7)):
            assert np.all(np.isfinite(grad))
    np.testing.assert_allclose(state_variable(x, RATE / 2, 1.0, RATE)[0], x, atol=1e-6)
    np.testing.assert_array_equal(state_variable(x, 0.0, 1.0, RATE)[0], 0)
    for kind, (function, _) in CASES.items():
        *arrays, state = given(kind, 1)
        out, end = function(*(jnp.asarray(a[:0], "float32") for a in arrays), state)
        assert out.shape[0] == 0
        np.testing.assert_allclose(end, state, rtol=1e-6)


X = jnp.zeros(4)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: state_variable(X, X[:2], 1.0, RATE), r"cutoff_hz has shape \(2,\)"),
        (lambda: state_variable(X, 1.0, 1.0, RATE, "lopass"), "mean 'lowpass'"),
        (lambda: state_variable(X, 1.0, 1.0, RATE, X), r"three gains"),
        (lambda: state_variable(X, 1.0, 1.0, RATE, state=X), r"state .*\(2,\)"),
        (lambda: StateVariable(0.0), "sample_rate=0.0: has to be above"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
