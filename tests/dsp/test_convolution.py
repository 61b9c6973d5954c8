"""Convolutions against numpy, their adjoints, and their streams."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import Convolution, convolve, decaying_noise, reverberated


def given(samples, taps, dtype="float32"):
    rng = np.random.default_rng(0)
    parts = rng.normal(size=samples), rng.normal(size=taps)
    return [jnp.asarray(part, dtype) for part in parts]


@pytest.mark.parametrize("samples, taps", [(1, 1), (100, 7), (7, 100), (1025, 1024)])
def test_against_numpy(samples, taps):
    with jax.enable_x64(True):
        audio, impulse = given(samples, taps, "float64")
        full = np.convolve(audio, impulse)
        np.testing.assert_allclose(convolve(audio, impulse), full, atol=1e-11)
        head = convolve(audio, impulse, "head")
        np.testing.assert_allclose(head, full[:samples], atol=1e-11)
        valid = convolve(audio, impulse, "valid")
        assert valid.shape == (max(samples - taps + 1, 0),)
        if samples >= taps:
            expected = np.convolve(audio, impulse, "valid")
            np.testing.assert_allclose(valid, expected, atol=1e-11)


@pytest.mark.parametrize("mode", ["full", "head", "valid"])
def test_adjoint(mode):
    with jax.enable_x64(True):
        primals = tuple(given(50, 11, "float64"))
        rng = np.random.default_rng(1)
        along = tuple(jnp.asarray(rng.normal(size=p.shape)) for p in primals)

        def function(audio, impulse):
            return convolve(audio, impulse, mode)

        value, tangent = jax.jvp(function, primals, along)
        both = function(along[0], primals[1]) + function(primals[0], along[1])
        np.testing.assert_allclose(tangent, both, atol=1e-11)
        g = jnp.asarray(rng.normal(size=value.shape))
        back = jax.vjp(function, *primals)[1](g)
        inner = sum(jnp.vdot(a, b) for a, b in zip(along, back, strict=True))
        np.testing.assert_allclose(jnp.vdot(g, tangent), inner, rtol=1e-11)


def test_one_response_for_a_batch():
    audio, impulse = given(60, 9)
    many = jnp.stack([audio, 2 * audio, -audio])

    def total(impulse):
        return jnp.sum(jax.vmap(convolve, (0, None))(many, impulse) ** 2)

    each = jax.grad(lambda h: jnp.sum(convolve(audio, h) ** 2))(impulse)
    np.testing.assert_allclose(jax.grad(total)(impulse), 6 * each, rtol=1e-4)


@pytest.mark.parametrize("taps", [1, 63, 64, 65, 1000])
def test_streams_are_the_whole(taps):
    audio, impulse = given(40 * 64, taps)
    impulse = impulse / jnp.sum(jnp.abs(impulse))
    room = Convolution(impulse)
    step = eqx.filter_jit(room.step)
    state, parts, here = room.init(), [], 0
    for blocks in (1, 3, 7, 29):
        size = blocks * 64
        state, out = step(state, audio[here : here + size])
        parts.append(out)
        here += size
    np.testing.assert_allclose(np.concatenate(parts), room(audio), atol=1e-6)


def test_an_identity_is_one():
    audio, _ = given(300, 1)
    identity = jnp.zeros(100).at[0].set(1.0)
    np.testing.assert_allclose(convolve(audio, identity, "head"), audio, atol=1e-6)


def test_reverberation_decays_as_asked():
    noise = jax.random.normal(jax.random.key(0), (16000,))
    impulse = np.asarray(decaying_noise(noise, 0.5, 16000), np.float64)
    assert impulse[0] == 0
    np.testing.assert_allclose(np.sum(impulse**2), 1, rtol=1e-4)
    # Schroeder's integral falls by 60 dB in the time that was asked for.
    energy = np.cumsum(impulse[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0])
    early, late = np.argmax(level < -5), np.argmax(level < -35)
    np.testing.assert_allclose(2 * (late - early) / 16000, 0.5, rtol=0.05)
    np.testing.assert_array_equal(decaying_noise(jnp.zeros(9), 0.5, 16000), 0)
    grad = jax.grad(lambda t: jnp.sum(decaying_noise(noise, t, 16000)[:99] ** 2))(0.5)
    assert np.isfinite(grad) and grad != 0
    dry = jnp.zeros(2000).at[0].set(1.0)
    wet = reverberated(dry, jnp.asarray(impulse[:2000], jnp.float32), 0.5)
    np.testing.assert_allclose(wet - dry, 0.5 * impulse[:2000], atol=1e-6)


def test_refusals():
    with pytest.raises(ValueError, match="mode='ful': .*'full'"):
        convolve(jnp.ones(3), jnp.ones(2), "ful")
    with pytest.raises(ValueError, match="one sample or more"):
        convolve(jnp.ones(3), jnp.ones(0))
    with pytest.raises(ValueError, match="63 samples"):
        Convolution(jnp.ones(3)).step(Convolution(jnp.ones(3)).init(), jnp.ones(63))
    assert convolve(jnp.zeros(0), jnp.ones(3)).shape == (0,)
    assert convolve(jnp.zeros(0), jnp.ones(3), "head").shape == (0,)
