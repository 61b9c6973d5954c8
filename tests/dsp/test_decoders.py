"""Decoders and encoders: streams, causality, sizes; graphs from tables."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import (
    DilatedDecoder,
    FeatureScale,
    FrameSamples,
    graph_of,
    NodeTable,
    PROCESSORS,
    RecurrentDecoder,
    TimbreEncoder,
)


SIZES = {"pitch": 1, "loudness": 1}, {"amplitude": 1, "shares": 7, "noise": 4}
KINDS = {
    "recurrent": lambda key: RecurrentDecoder(*SIZES, size=8, hidden=12, key=key),
    "dilated": lambda key: DilatedDecoder(*SIZES, size=8, depth=3, stacks=2, key=key),
}


def features(frames, seed=0):
    rng = np.random.default_rng(seed)
    return {
        name: jnp.asarray(rng.normal(size=(frames, 1)), jnp.float32)
        for name in SIZES[0]
    }


@pytest.mark.parametrize("kind", KINDS)
def test_streams_give_the_same_bits_however_they_are_cut(kind):
    decoder, given = KINDS[kind](jax.random.key(0)), features(40)
    step = eqx.filter_jit(decoder.step)
    _, once = step(decoder.init(), **given)
    state, parts, here = decoder.init(), [], 0
    for size in (1, 1, 5, 3, 20, 10):
        block = {name: a[here : here + size] for name, a in given.items()}
        state, out = step(state, **block)
        parts.append(out)
        here += size
    whole = decoder(**given)
    assert {n: a.shape for n, a in whole.items()} == {
        "amplitude": (40, 1),
        "shares": (40, 7),
        "noise": (40, 4),
    }
    for name in whole:
        cut = np.concatenate([part[name] for part in parts])
        np.testing.assert_array_equal(cut, once[name])
        np.testing.assert_allclose(cut, whole[name], atol=2e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_known_before_it_is_heard(kind):
    decoder, given = KINDS[kind](jax.random.key(0)), features(30)
    changed = {name: a.at[17:].add(1.0) for name, a in given.items()}
    before, after = decoder(**given)["shares"], decoder(**changed)["shares"]
    np.testing.assert_array_equal(before[:17], after[:17])
    assert np.all(np.abs(before[17:] - after[17:]).max(1) > 0)


def test_the_dilated_decoder_reaches_as_far_back_as_it_says():
    decoder = KINDS["dilated"](jax.random.key(0))
    reach = 2 * sum(decoder.dilations)
    given = features(reach + 2)
    slope = jax.jacrev(lambda p: decoder(pitch=p, loudness=given["loudness"])["noise"])
    by_frame = np.abs(slope(given["pitch"])[-1, :, :, 0]).max(0)
    assert by_frame[1] > 0 and by_frame[0] == 0


def test_the_solo_instrument_has_magentas_number_of_weights():
    """1,889,278 with its room of 16,000; Keras has a second bias in its unit."""
    outputs = {"amplitude": 1, "shares": 60, "noise": 65}
    decoder = eqx.filter_eval_shape(
        lambda key: RecurrentDecoder(SIZES[0], outputs, key=key), jax.random.key(0)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(decoder))
    assert count + 2 * 512 + 16000 == 1889278


def test_unknown_features_are_refused():
    decoder = KINDS["recurrent"](jax.random.key(0))
    with pytest.raises(ValueError, match="features are pitch, loudness, not pitch"):
        decoder(pitch=jnp.zeros((3, 1)))


def test_features_are_scaled_as_magentas():
    told = FeatureScale()(jnp.asarray([440.0, 0.0]), jnp.asarray([-80.0, 0.0]))
    np.testing.assert_allclose(told["pitch"][:, 0], [69 / 127, 0])
    np.testing.assert_allclose(told["loudness"][:, 0], [0, 1])
    slope = jax.grad(lambda f: jnp.sum(FeatureScale()(f, f)["pitch"]))
    assert np.all(np.isfinite(slope(jnp.asarray([440.0, 0.0]))))


def test_timbre_does_not_hear_how_loud_it_is():
    encoder = TimbreEncoder(4, hidden=8, key=jax.random.key(0))
    audio = jnp.asarray(np.random.default_rng(0).normal(size=4096), jnp.float32)
    z = encoder(audio)
    assert z.shape == (64, 4)
    np.testing.assert_allclose(encoder(2 * audio), z, atol=2e-3)
    assert np.all(np.isfinite(encoder(jnp.zeros(4096))))


def test_constant_frames_are_a_constant_and_stream():
    synth = FrameSamples(8)
    np.testing.assert_allclose(synth(jnp.full((5, 16), 0.7)), 0.7, rtol=1e-6)
    rng = np.random.default_rng(0)
    samples = jnp.asarray(rng.normal(size=(20, 16)), jnp.float32)
    whole = jax.jit(synth)(samples)
    state, parts = synth.init(samples), []
    for first, last in ((0, 1), (1, 8), (8, 20)):
        state, out = jax.jit(synth.step)(state, samples[first:last])
        parts.append(out)
    late = np.concatenate(parts)
    np.testing.assert_array_equal(late[:8], 0)
    np.testing.assert_array_equal(late[8:], whole[:-8])
    with pytest.raises(ValueError, match=r"\(frames, 16\), not \(3, 8\)"):
        synth(jnp.zeros((3, 8)))


def tables(**change):
    given = {"name": "tone", "processor": "harmonic", "options": {"hop": 32}}
    inputs = {"f0_hz": "f0_hz", "amplitudes": "a"}
    return [NodeTable(**(given | {"inputs": inputs} | change))]


def test_graphs_come_from_tables():
    graph = graph_of(tables(), key=jax.random.key(0))
    sound = graph({"f0_hz": jnp.full(4, 100.0), "a": jnp.ones((4, 2))})
    assert sound.shape == (128,) and graph.delay == 32


@pytest.mark.parametrize(
    "change, words",
    [
        ({"processor": "harmonics"}, "node 'tone': there is no .*'harmonic'"),
        ({"options": {"hops": 3}}, "node 'tone': harmonic has no option 'hops'.*'hop'"),
        ({"options": {"hop": 0}}, "node 'tone': hop=0"),
        ({"options": {"key": 0}}, "harmonic has no option 'key'"),
    ],
)
def test_tables_are_refused_by_node(change, words):
    with pytest.raises(ValueError, match=words):
        graph_of(tables(**change), key=jax.random.key(0))


def test_every_processor_of_the_catalogue_can_stream_or_works_frame_by_frame():
    for name, make in PROCESSORS.items():
        has = [hasattr(make, each) for each in ("init", "step", "delay")]
        assert all(has) or not any(has) or name == "filtered_noise"
