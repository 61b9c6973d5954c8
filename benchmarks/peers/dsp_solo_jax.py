"""The solo instrument's training step in JAX: djx, and its parts as they are defined.

Decoder, harmonics, noise, a learned room, the multi-scale loss, Adam.
"""

import time

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

from djx.core import give_memory_back
from djx.dsp import graph_of, NodeTable, SpectralLoss

from ..dsp_problems import BANDS, solo_features


HARMONICS, SIZE, HIDDEN, ROOM = 60, 256, 512, 16000


def solo(key):
    """The graph of magenta's solo instrument, 1.9 million parameters."""
    outputs = {"amplitude": 1, "shares": HARMONICS, "noise": BANDS}
    sizes = {"inputs": {"pitch": 1, "loudness": 1}, "outputs": outputs}
    sizes |= {"size": SIZE, "hidden": HIDDEN}
    features = {"pitch": "features.pitch", "loudness": "features.loudness"}
    shares = {"amplitude": "net.amplitude", "distribution": "net.shares"}
    given = {"f0_hz": "f0_hz", "loudness_db": "loudness_db"}
    nodes = [
        NodeTable("features", "feature_scale", given),
        NodeTable("net", "recurrent_decoder", features, sizes),
        NodeTable("stack", "harmonic_controls", shares | {"f0_hz": "f0_hz"}),
        NodeTable("tone", "harmonic", {"f0_hz": "f0_hz", "amplitudes": "stack"}),
        NodeTable("breath", "noise_controls", {"magnitudes": "net.noise"}),
        NodeTable("hiss", "filtered_noise", {"magnitudes": "breath"}),
        NodeTable("dry", "sum", {"tone": "tone", "hiss": "hiss"}),
        NodeTable("room", "impulse_room", {"audio": "dry"}, {"taps": ROOM}),
    ]
    return graph_of(nodes, key=key)


def training(batch: str):
    """`setup` of one step after another.

    Args:
        batch: sounds of four seconds.

    Returns:
        The repetition.
    """
    features = [jnp.asarray(x[: int(batch)]) for x in solo_features()]
    model = solo(jax.random.key(0))
    params, static = eqx.partition(model, eqx.is_inexact_array)
    optimiser, distance = optax.adam(1e-3), SpectralLoss()

    def loss(params, f0_hz, loudness_db, audio, key):
        voice = eqx.combine(params, static)

        def one(f0_hz, loudness_db, audio, key):
            sound = voice({"f0_hz": f0_hz, "loudness_db": loudness_db}, key=key)
            return distance(sound, audio)

        keys = jax.random.split(key, len(audio))
        return jnp.mean(jax.vmap(one)(f0_hz, loudness_db, audio, keys))

    @jax.jit(donate_argnums=(0, 1))
    def step(params, state, index, features):
        key = jax.random.fold_in(jax.random.key(1), index)
        value, slopes = jax.value_and_grad(loss)(params, *features, key)
        updates, state = optimiser.update(slopes, state)
        return optax.apply_updates(params, updates), state, value

    began = time.perf_counter()
    state = optimiser.init(params)
    compiled = step.lower(params, state, jnp.asarray(0), features).compile()
    give_memory_back()
    built = time.perf_counter() - began
    held = [params, state, 0]

    def turn():
        params, state, value = compiled(*held[:2], jnp.asarray(held[2]), features)
        held[:] = params, state, held[2] + 1
        return {"loss": float(value), "compile": built, "calls": 1}

    turn()
    return turn


def harmonics(name: str):
    """`setup` of the gradient of 60 harmonics.

    Args:
        name: "djx" or "plain".

    Returns:
        The repetition.
    """
    from ..dsp_problems import harmonic_controls
    from .dsp_jax import djx_harmonics, harmonics_call, plain_harmonics

    synth = {"djx": djx_harmonics, "plain": plain_harmonics}[name]

    def read(result):
        return {"gradient": float(np.linalg.norm(result[1]))}

    call, told = harmonics_call(synth, harmonic_controls(HARMONICS), True, read)()
    call()
    return lambda: told(call()) | {"calls": 1}
