"""Harmonics, noise and spectral loss in JAX: djx, and the definitions as they stand."""

import jax
import jax.numpy as jnp
import numpy as np

from djx.dsp import (
    allpole,
    convolve,
    FilteredNoise,
    Harmonic,
    last_outputs,
    packed,
    SpectralLoss,
)

from ..dsp_problems import BANDS, Controls, HOP, noise_controls, RATE, room, sound_pairs


def djx_harmonics(f0, amplitudes):
    """The batch, by djx."""
    return jax.vmap(Harmonic(RATE, HOP))(f0, amplitudes)


def plain_harmonics(f0, amplitudes):
    """Magenta's definition: every harmonic of every sample, one running phase."""
    f0, amplitudes = (jnp.concatenate([a, a[:, -1:]], 1) for a in (f0, amplitudes))
    w = np.arange(HOP, dtype=np.float32) / HOP

    def upsampled(a):
        w_ = w.reshape(HOP, *[1] * (a.ndim - 2))
        mixed = a[:, :-1, None] * (1 - w_) + a[:, 1:, None] * w_
        return mixed.reshape(a.shape[0], -1, *a.shape[2:])

    steps = upsampled(f0) * (2 * np.pi / RATE)
    phase = jnp.cumsum(steps, 1) - steps
    h = jnp.arange(1, amplitudes.shape[2] + 1, dtype=f0.dtype)
    heard = (upsampled(f0)[:, :, None] * h < RATE / 2) * upsampled(amplitudes)
    return jnp.sum(heard * jnp.sin(phase[:, :, None] * h), -1)


def harmonics_call(synth, controls: Controls, gradient: bool, read):
    """`make` of a synthesiser, alone or with the gradient of a linear loss."""

    def loss(f0, amplitudes, weights):
        return jnp.vdot(synth(f0, amplitudes), weights)

    def make():
        given = [jnp.asarray(c) for c in controls]
        compiled = jax.jit(jax.grad(loss, (0, 1)) if gradient else synth)
        arguments = given if gradient else given[:2]

        def call():
            return jax.block_until_ready(compiled(*arguments))

        return call, lambda result: read(jax.tree.map(np.asarray, result))

    return make


def noise_call():
    """`make` of filtered noise with the gradient of a linear loss."""
    magnitudes, weights = map(jnp.asarray, noise_controls())
    keys = jax.random.split(jax.random.key(0), len(magnitudes))
    synth = FilteredNoise()

    def loss(magnitudes, keys, weights):
        sounds = jax.vmap(lambda m, k: synth(m, key=k))(magnitudes, keys)
        return jnp.vdot(sounds, weights)

    compiled = jax.jit(jax.grad(loss))

    def call():
        return jax.block_until_ready(compiled(magnitudes, keys, weights))

    return call, lambda result: {}


def reverb_call():
    """`make` of a reverberation with the gradients of a linear loss."""
    audio, weights = map(jnp.asarray, sound_pairs())

    def loss(audio, impulse, weights):
        wet = jax.vmap(convolve, (0, None, None))(audio, impulse, "head")
        return jnp.vdot(wet, weights)

    compiled = jax.jit(jax.grad(loss, (0, 1)))
    impulse = jnp.asarray(room())

    def call():
        return jax.block_until_ready(compiled(audio, impulse, weights))

    return call, lambda result: {"gradient": float(jnp.linalg.norm(result[1]))}


def stream_call(harmonics: int):
    """`make` of a block of a voice: harmonics and noise through an all-pole filter."""
    voice, breath = Harmonic(RATE, HOP), FilteredNoise()
    f0, amplitudes = jnp.full(1, 220.0), jnp.full((1, harmonics), 1 / harmonics)
    magnitudes, poles = jnp.full((1, BANDS), 0.01), jnp.asarray([-1.5, 0.8])

    def step(state, f0, amplitudes, magnitudes):
        tone, noise, past = state
        tone, sound = voice.step(tone, f0, amplitudes)
        noise, hiss = breath.step(noise, magnitudes)
        out = allpole(sound + hiss, poles, past)
        return (tone, noise, last_outputs(out, past)), out

    start = (
        voice.init(f0, amplitudes),
        breath.init(magnitudes, key=jax.random.key(0)),
        jnp.zeros(2),
    )
    step_of_words, words = packed(step, start)
    compiled = jax.jit(step_of_words)
    held = [words]

    def call():
        held[0], out = compiled(held[0], f0, amplitudes, magnitudes)
        return jax.block_until_ready(out)

    return call, lambda result: {}


def loss_call():
    """`make` of the spectral loss with its gradient."""
    audio, target = map(jnp.asarray, sound_pairs())

    def loss(audio, target):
        return jnp.mean(jax.vmap(SpectralLoss())(audio, target))

    compiled = jax.jit(jax.value_and_grad(loss))

    def call():
        return jax.block_until_ready(compiled(audio, target))

    return call, lambda result: {"loss": float(result[0])}
