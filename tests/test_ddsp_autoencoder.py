"""The autoencoder's own pieces: scores, the sampler, graphs of configs, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.core.errors import ConfigError
from djx.run import load
from experiments._ddsp_autoencoder_model import Autoencoder, Model
from experiments._ddsp_autoencoder_scores import nearest_keys, scores, twice
from experiments._recordings import Examples, notes
from experiments._recordings_config import Recordings


SMOKE = "configs/ddsp_autoencoder/smoke.toml"


@pytest.fixture(scope="module")
def data():
    source = {"kind": "made", "keys": 10, "takes": 1, "instruments": ["bowed"]}
    return Recordings.model_validate({"source": source, "seconds": 0.5})


def note(examples, index=0):
    return Examples(*(array[index] for array in examples))


def test_a_note_is_its_own_copy(data):
    one = note(notes(data).part("held_out"))
    told = scores(jnp.asarray(one.audio), one, data)
    assert float(told["spectral"]) == 0 and float(told["loudness_l1"]) < 1e-3
    assert float(told["f0_l1"]) < 0.02 and float(told["f0_outliers"]) < 0.02


def test_scores_hear_level_pitch_and_noise(data):
    one = note(notes(data).part("held_out"))
    audio = jnp.asarray(one.audio)
    softer = scores(0.1 * audio, one, data)
    np.testing.assert_allclose(softer["loudness_l1"], 20, atol=0.1)
    assert float(softer["f0_l1"]) < 0.02
    # Every second sample: an octave up, and again from the start.
    octave = jnp.tile(audio[::2], 2)
    there = scores(octave, one, data)
    np.testing.assert_allclose(there["f0_l1"], 12, atol=0.5)
    noise = 0.1 * jax.random.normal(jax.random.key(0), audio.shape)
    assert float(scores(noise, one, data)["f0_outliers"]) > 0.8


def test_twice_the_rate_is_the_same_sine():
    n = np.arange(64)
    found = twice(jnp.asarray(np.sin(2 * np.pi * 5 * n / 64), jnp.float32))
    expected = np.sin(2 * np.pi * 5 * np.arange(128) / 128)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_sampler_plays_the_nearest_key_at_the_right_pitch(data):
    targets = notes(data).part("held_out")
    played = nearest_keys(data, targets)
    assert played.shape == targets.audio.shape and np.all(np.isfinite(played))
    for index in range(len(targets.key)):
        told = scores(jnp.asarray(played[index]), note(targets, index), data)
        assert float(told["f0_l1"]) < 0.5 and float(told["f0_outliers"]) < 0.2


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"synthesiser": "samples"},
        {"decoder": "dilated", "depth": 2},
        {"timbre": 3},
        {"pitch": "encoder"},
        {"room": "impulse"},
        {"room": "decaying"},
        {"room": "noise"},
    ],
)
def test_every_model_makes_as_many_samples(change):
    small = {"size": 8, "hidden": 8, "harmonics": 5, "bands": 9, "room_seconds": 0.05}
    model = Model.model_validate(small | change)
    frames = jax.ShapeDtypeStruct((6,), jnp.float32)
    samples = jax.ShapeDtypeStruct((6 * 64,), jnp.float32)

    def whole(f0_hz, loudness_db, audio):
        key = jax.random.key(0)
        auto = Autoencoder(model, Recordings(), key=key)
        return auto(f0_hz, loudness_db, audio, key=key)

    assert jax.eval_shape(whole, frames, frames, samples).shape == (384,)


def built(*overrides):
    spec = load(SMOKE, *overrides)
    return spec.build(spec.arms["ddsp"])


NODE = 'model.nodes=[{name="a", processor="%s", inputs={f0_hz="%s"%s}, options={%s}}]'
TONE = ', amplitudes="f0_hz"'


@pytest.mark.parametrize(
    "override, words",
    [
        ("window_seconds=9.0", "window_seconds: 9.0 is longer than the 1.0"),
        ("data.source.keys=1", "data.source: .* leave none for held_out"),
        (
            NODE % ("harmonics", "f0_hz", "", ""),
            "model: node 'a': there is no processor",
        ),
        (NODE % ("harmonic", "f0", TONE, ""), "model: node 'a': 'f0' comes from no"),
        (NODE % ("harmonic", "f0_hz", TONE, ""), "model: node 'a': f0_hz is"),
        (NODE % ("harmonic", "f0_hz", "", ""), "model: node 'a': inputs lack"),
        (NODE % ("harmonic", "f0_hz", TONE, "hop=0"), "model: node 'a': hop=0"),
    ],
)
def test_refusals_name_the_field(override, words):
    with pytest.raises(ConfigError, match=words) as caught:
        built(override)
    assert "\n" not in str(caught.value)


def test_a_config_can_write_its_graph_out():
    nodes = (
        'model.nodes=[{name="scaled", processor="feature_scale", inputs={f0_hz="f0_hz",'
        ' loudness_db="loudness_db"}}, {name="net", processor="recurrent_decoder",'
        ' inputs={pitch="scaled.pitch"}, options={inputs={pitch=1}, outputs={a=128},'
        ' size=8, hidden=8}}, {name="out", processor="frame_samples",'
        ' inputs={samples="net.a"}}]'
    )
    experiment = built(nodes)
    state = jax.eval_shape(experiment.init, jax.random.key(0))
    assert state.params.voice.nodes[1].name == "net"
