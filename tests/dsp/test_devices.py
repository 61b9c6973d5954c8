"""Rows of a batch on one device and on four: the same bits, but for networks."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from djx import dsp


BATCH, FRAMES, HOP = 8, 12, 64


def uniform(seed, *shape, least=0.0, most=1.0):
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.uniform(least, most, (BATCH, *shape)), jnp.float32)


F0 = uniform(0, FRAMES, least=80, most=400)
SHARES = uniform(1, FRAMES, 9)
AUDIO = uniform(2, FRAMES * HOP, least=-1)
BANDS = uniform(3, FRAMES, 17)
KEYS = jax.random.split(jax.random.key(0), BATCH)
POLES = uniform(4, 2, least=-0.3, most=0.3)
TABLES = uniform(5, FRAMES, 32)
DECODER = dsp.RecurrentDecoder(
    {"pitch": 1, "loudness": 1}, {"shares": 9}, size=8, hidden=8, key=jax.random.key(1)
)


def noise(magnitudes, key):
    return dsp.FilteredNoise(dsp.FrequencyFilter(HOP, 17))(magnitudes, key=key)


def decoded(f0_hz):
    pitch = f0_hz[:, None] / 400
    return DECODER(pitch=pitch, loudness=pitch)["shares"]


CASES = {
    "harmonic": (dsp.Harmonic(16000, HOP), F0, SHARES),
    "sinusoids": (dsp.Sinusoids(16000, HOP), F0[..., None] * SHARES, SHARES),
    "wavetable": (dsp.Wavetable(16000, HOP), F0, SHARES[..., 0], TABLES),
    "noise": (noise, BANDS, KEYS),
    "allpole": (dsp.allpole, AUDIO, POLES),
    "convolve": (dsp.convolve, AUDIO, POLES),
    "loss": (dsp.SpectralLoss((256, 64)), AUDIO, AUDIO[::-1]),
    "decoder": (decoded, F0),
}

ROUNDED = 1e-5


def bits(name):
    """Networks are products of matrices of the whole batch, the rest exact."""
    return ROUNDED if name == "decoder" else 0.0


def same(ones, others, tolerance):
    for a, b in zip(jax.tree.leaves(ones), jax.tree.leaves(others), strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance, rtol=tolerance)


def mesh(devices):
    kind = (jax.sharding.AxisType.Auto,)
    chosen = jax.devices()[:devices]
    return jax.make_mesh((devices,), ("batch",), axis_types=kind, devices=chosen)


def placed(arrays, devices):
    where = NamedSharding(mesh(devices), PartitionSpec("batch"))
    return [jax.device_put(a, where) for a in arrays]


def with_slopes(function):
    def weighted(*arrays):
        out = function(*arrays)
        return jnp.vdot(out, jnp.cos(jnp.arange(out.size)).reshape(out.shape)), out

    return jax.vmap(jax.grad(weighted, has_aux=True))


@pytest.mark.parametrize("name", CASES)
def test_one_device_and_four(name):
    function, *arrays = CASES[name]
    mapped = eqx.filter_jit(jax.vmap(function))
    one, four = (mapped(*placed(arrays, devices)) for devices in (1, 4))
    same(one, four, bits(name))


@pytest.mark.parametrize("name", CASES)
def test_one_device_and_a_map_over_four(name):
    function, *arrays = CASES[name]
    spec = PartitionSpec("batch")
    mapped = with_slopes(function)
    sharded = jax.shard_map(
        mapped,
        mesh=mesh(4),
        in_specs=(spec,) * len(arrays),
        out_specs=spec,
        check_vma=False,
    )
    one = jax.jit(mapped)(*arrays)
    four = jax.jit(sharded)(*arrays)
    same(one, four, bits(name))
