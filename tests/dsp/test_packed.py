"""States as words: every kind of array, and a voice."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import FilteredNoise, Harmonic, packed


def voice():
    tone, breath = Harmonic(16000, 64), FilteredNoise()

    def init(f0, amplitudes, magnitudes):
        key = jax.random.key(0)
        return tone.init(f0, amplitudes), breath.init(magnitudes, key=key)

    def step(state, f0, amplitudes, magnitudes):
        a, b = state
        a, sound = tone.step(a, f0, amplitudes)
        b, hiss = breath.step(b, magnitudes)
        return (a, b), sound + hiss

    return init, step


def test_a_voice_gives_the_same_bits():
    init, step = voice()
    rng = np.random.default_rng(0)
    frames = [
        (rng.uniform(100, 300, 1), rng.uniform(size=(1, 9)), rng.uniform(size=(1, 65)))
        for _ in range(5)
    ]
    frames = [tuple(jnp.asarray(a, jnp.float32) for a in frame) for frame in frames]
    state = init(*frames[0])
    step_of_words, words = packed(step, state)
    of_words, of_state = jax.jit(step_of_words), jax.jit(step)
    assert words.dtype == jnp.uint32 and words.ndim == 1
    for frame in frames:
        words, ours = of_words(words, *frame)
        state, theirs = of_state(state, *frame)
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    "leaf",
    [
        np.array([True, False]),
        np.array([[-3, 2], [7, 127]], np.int8),
        np.array([65535, 1], np.uint16),
        np.array(-5, np.int32),
        np.array([2**40, -1], np.int64),
        np.array([1.5, -0.0, np.inf, np.nan], np.float16),
        np.array([[0.1], [-1e-45]], np.float32),
        np.array([0.1, np.nan]),
        np.array([1 - 2j, 0.5j], np.complex64),
        np.array([[1 - 2j, 1e-300j]]),
        np.zeros((0, 3), np.float32),
    ],
    ids=lambda leaf: str(leaf.dtype),
)
def test_every_bit_comes_back(leaf):
    with jax.enable_x64(True):
        state = {"one": jnp.asarray(leaf), "two": jnp.arange(3)}
        seen = []

        def step(state):
            seen.append(jax.tree.map(lambda a: (a.shape, a.dtype), state))
            return state, state

        step_of_words, words = packed(step, state)
        again, out = jax.jit(step_of_words)(words)
        np.testing.assert_array_equal(again, words)
        assert seen[0] == jax.tree.map(lambda a: (a.shape, a.dtype), state)
        assert np.asarray(out["one"]).tobytes() == leaf.tobytes()
        np.testing.assert_array_equal(out["two"], state["two"])


def test_keys_and_what_is_no_array():
    keys = jax.random.split(jax.random.key(3, impl="rbg"), 2)

    def step(state):
        keys, name = state
        return state, jax.random.uniform(keys[1]) if name == "noise" else None

    step_of_words, words = packed(step, (keys, "noise"))
    _, out = jax.jit(step_of_words)(words)
    assert out == jax.random.uniform(keys[1])


def test_numbers_of_python_count_too():
    step_of_words, words = packed(
        lambda s: ((s[0] + 1, 2 * s[1]), s[0]), (0, jnp.ones(1))
    )
    told = []
    for _ in range(3):
        words, out = jax.jit(step_of_words)(words)
        told.append(int(out))
    assert told == [0, 1, 2]


@pytest.mark.parametrize(
    "step", [lambda s: (s + 0.5, s), lambda s: (jnp.append(s, 1), s)]
)
def test_a_state_that_changes_its_kind_is_refused(step):
    step_of_words, words = packed(step, jnp.zeros(3, jnp.int32))
    with pytest.raises(ValueError, match=r"step: a state of int32\[3\] has become"):
        jax.jit(step_of_words)(words)


def test_modules_and_nothing_at_all():
    linear = eqx.nn.Linear(2, 3, key=jax.random.key(0))
    step_of_words, words = packed(lambda m, x: (m, m(x)), linear)
    np.testing.assert_array_equal(
        step_of_words(words, jnp.ones(2))[1], linear(jnp.ones(2))
    )
    step_of_words, words = packed(lambda s, x: (s, x + 1), ())
    assert words.shape == (0,) and step_of_words(words, 1)[1] == 2
