"""Graphs of processors: the whole, streams, and what they refuse."""

import functools as ft

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import (
    allpole,
    DecayingRoom,
    FilteredNoise,
    FrequencyFilter,
    Graph,
    Harmonic,
    HarmonicControls,
    ImpulseRoom,
    Node,
    NoiseControls,
    NoiseRoom,
    Sum,
)


BANDS = 33


def voice(room=None):
    nodes = [
        Node(
            "amplitudes",
            HarmonicControls(),
            {"amplitude": "net.amplitude", "distribution": "net.shares", "f0_hz": "f0"},
        ),
        Node("tone", Harmonic(), {"f0_hz": "f0", "amplitudes": "amplitudes"}),
        Node("magnitudes", NoiseControls(-3.0), {"magnitudes": "net.noise"}),
        Node(
            "hiss",
            FilteredNoise(FrequencyFilter(64, BANDS)),
            {"magnitudes": "magnitudes"},
        ),
        Node("sum", Sum(), {"tone": "tone", "hiss": "hiss"}),
    ]
    if room is not None:
        nodes.append(Node("room", room, {"audio": "sum"}))
    return Graph(nodes)


def given(frames=40, harmonics=11, seed=0):
    rng = np.random.default_rng(seed)
    f0 = 200 + 40 * np.sin(np.arange(frames) / 7)
    net = {
        "amplitude": rng.normal(size=(frames, 1)),
        "shares": rng.normal(size=(frames, harmonics)),
        "noise": rng.normal(size=(frames, BANDS)),
    }
    return jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), {"f0": f0, "net": net})


def chunk(inputs, here, size):
    return jax.tree.map(lambda a: a[here : here + size], inputs)


def streamed(graph, inputs, frames, key, seed=1):
    rng, step = np.random.default_rng(seed), eqx.filter_jit(graph.step)
    state, parts, here = graph.init(inputs, key=key), [], 0
    while here < frames:
        size = min(int(rng.integers(1, 9)), frames - here)
        state, out = step(state, chunk(inputs, here, size))
        parts.append(out)
        here += size
    return np.concatenate(parts)


def test_the_whole_is_its_parts_by_hand():
    inputs, key = given(), jax.random.key(0)
    net = inputs["net"]
    tone = Harmonic()(
        inputs["f0"],
        HarmonicControls()(net["amplitude"], net["shares"], inputs["f0"]),
    )
    noise = FilteredNoise(FrequencyFilter(64, BANDS))
    own = jax.random.fold_in(key, 3)  # the fourth node draws
    hiss = noise(NoiseControls(-3.0)(net["noise"]), key=own)
    found = voice()(inputs, key=key)
    np.testing.assert_allclose(found, tone + hiss, atol=1e-6)


def test_streams_wait_for_one_another_and_give_the_bits_of_the_whole():
    """Harmonics are 64 samples late, noise of 33 bands 32."""
    inputs, key = given(), jax.random.key(0)
    graph = voice()
    assert graph.delay == 64
    whole = np.asarray(jax.jit(lambda i, k: graph(i, key=k))(inputs, key))
    late = streamed(graph, inputs, 40, key)
    np.testing.assert_array_equal(late[64:], whole[:-64])


@pytest.mark.parametrize("kind", ["impulse", "decaying", "noise"])
def test_rooms_stream_and_learn(kind):
    key = jax.random.key(5)
    room = {
        "impulse": lambda: ImpulseRoom(512, key=key),
        "decaying": lambda: DecayingRoom(512, seconds=0.02, gain=0.5, key=key),
        "noise": lambda: NoiseRoom(512, key=key),
    }[kind]()
    graph, inputs = voice(room), given()
    whole = np.asarray(graph(inputs, key=key))
    late = streamed(graph, inputs, 40, key)
    np.testing.assert_allclose(late[64:], whole[:-64], atol=1e-6)
    dry = np.asarray(voice()(inputs, key=key))
    heard = np.convolve(dry.astype(float), np.asarray(room.impulse(), float))
    np.testing.assert_allclose(whole, dry + heard[: len(dry)], atol=2e-6)
    grads = eqx.filter_grad(lambda g: jnp.sum(g(inputs, key=key) ** 2))(graph)
    leaves = jax.tree.leaves(grads)
    assert any(float(jnp.max(jnp.abs(x))) > 0 for x in leaves)
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in leaves)


def test_the_decay_is_the_one_that_was_asked_for():
    room = DecayingRoom(16000, seconds=0.4, gain=0.3, key=jax.random.key(0))
    energy = np.cumsum(np.asarray(room.impulse(), float)[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy[:6000] / energy[0])
    slope = np.polyfit(np.arange(6000) / 16000, level, 1)[0]
    np.testing.assert_allclose(-60 / slope, 0.4, rtol=0.05)
    np.testing.assert_allclose(np.sqrt(energy[0]), 0.3, rtol=1e-5)


def test_shapes_are_known_beforehand():
    shapes = voice().check(jax.eval_shape(given))
    assert shapes["tone"].shape == (40 * 64,) and shapes["magnitudes"].shape == (40, 33)


def wrong(**change):
    nodes = {node.name: node for node in voice().nodes} | change
    return Graph(list(nodes.values()))


@pytest.mark.parametrize(
    "make, words",
    [
        (
            lambda: wrong(tone=Node("tone", Harmonic(), {"f0_hz": "f0"})),
            "node 'tone': inputs lack 'amplitudes'",
        ),
        (
            lambda: wrong(tone=Node("tone", Harmonic(), {"amplitude": "f0"})),
            "node 'tone': its processor takes no 'amplitude'.*'amplitudes'",
        ),
        (lambda: Graph([]), "nodes: a graph has one"),
        (lambda: Graph(voice().nodes, "sums"), "output='sums'.*'sum'"),
        (lambda: Graph([*voice().nodes, voice().nodes[0]]), "there are two"),
        (lambda: voice()(given()), "node 'hiss': it draws"),
        (lambda: voice().check({"f0": jnp.zeros(4)}), "node 'amplitudes': 'net.ampl"),
        (
            lambda: voice().check(given() | {"f0": jnp.zeros(7)}),
            "node 'amplitudes': ",
        ),
        (
            lambda: voice().check({"f0": jnp.zeros(4), "net": {"amplitudes": 1}}),
            "'net' has no part 'amplitude'",
        ),
    ],
)
def test_refusals_name_the_node(make, words):
    with pytest.raises(ValueError, match=words) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_frames_wait_in_whole_frames_or_are_refused():
    """A filter on noise that is 20 samples late cannot have frames of 64 wait."""
    late = Node("hiss", FilteredNoise(FrequencyFilter(64, 21)), {"magnitudes": "first"})
    again = Node(
        "again", FrequencyFilter(64, BANDS), {"audio": "hiss", "magnitudes": "second"}
    )
    inputs = {"first": jnp.ones((8, 21)), "second": jnp.ones((8, BANDS))}
    graph, key = Graph([late, again]), jax.random.key(0)
    assert graph(inputs, key=key).shape == (512,)
    with pytest.raises(ValueError, match="node 'again': magnitudes has frames of 64"):
        graph.init(inputs, key=key)


def test_functions_are_nodes():
    filtering = ft.partial(allpole, coefficients=jnp.asarray([-0.5]))
    graph = Graph([Node("poles", lambda audio: filtering(audio), {"audio": "in"})])
    np.testing.assert_allclose(graph({"in": jnp.eye(4)[0]}), 0.5 ** np.arange(4.0))
