"""The spectral loss against its definition in float64, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.signal

from djx.dsp import SpectralLoss, stft


TERMS = (
    "magnitude",
    "log_magnitude",
    "delta_time",
    "delta_frequency",
    "cumulative_frequency",
)


def sounds(samples=300, dtype="float32"):
    rng = np.random.default_rng(0)
    return [jnp.asarray(a, dtype) for a in rng.normal(size=(2, samples))]


def spectrum(audio, size):
    """By scipy's windows and numpy's transforms."""
    audio = np.asarray(audio, np.float64)
    hop = size // 4
    frames = -(-len(audio) // hop)
    audio = np.pad(audio, (0, size))
    window = scipy.signal.get_window("hann", size)
    cut = np.stack([audio[i * hop : i * hop + size] for i in range(frames)])
    return np.fft.rfft(cut * window)


def by_definition(audio, target, sizes, term, distance):
    total = 0.0
    for size in sizes:
        pair = [np.abs(spectrum(x, size)) for x in (audio, target)]
        change = {
            "magnitude": lambda s: s,
            "log_magnitude": lambda s: np.log(s + 1e-5),
            "delta_time": lambda s: np.diff(s, axis=0),
            "delta_frequency": lambda s: np.diff(s, axis=1),
            "cumulative_frequency": lambda s: np.cumsum(s, axis=1),
        }[term]
        a, b = map(change, pair)
        if distance == "l1":
            total += np.mean(np.abs(a - b))
        elif distance == "l2":
            total += np.mean((a - b) ** 2)
        else:
            dot = np.sum(a * b, -1)
            size = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
            total += np.mean(1 - dot / size)
    return total


@pytest.mark.parametrize("size, hop", [(64, 16), (60, 20), (128, 128)])
def test_transform_is_that_of_scipy(size, hop):
    audio, _ = sounds(500)
    found = np.asarray(stft(audio, size, hop))
    window = scipy.signal.get_window("hann", size)
    padded = np.pad(np.asarray(audio, np.float64), (0, size))
    for frame in (0, 3, len(found) - 1):
        cut = padded[frame * hop : frame * hop + size] * window
        np.testing.assert_allclose(found[frame], np.fft.rfft(cut), atol=1e-4)
    assert len(found) == -(-500 // hop)


@pytest.mark.parametrize("term", TERMS)
@pytest.mark.parametrize("distance", ["l1", "l2", "cosine"])
def test_value_and_gradient(term, distance):
    with jax.enable_x64(True):
        audio, target = sounds(152, "float64")
        sizes = (32, 16)
        weights = dict.fromkeys(TERMS, 0.0) | {term: 2.0}
        loss = SpectralLoss(fft_sizes=sizes, distance=distance, **weights)
        expected = 2 * by_definition(audio, target, sizes, term, distance)
        np.testing.assert_allclose(loss(audio, target), expected, rtol=1e-10)
        grads = jax.grad(loss, (0, 1))(audio, target)
        one = jax.grad(loss)(audio, target)
        np.testing.assert_array_equal(one, grads[0])
        rng = np.random.default_rng(1)
        for place in (0, 1):
            along = rng.normal(size=152)
            moved = []
            for step in (1e-6, -1e-6):
                pair = [np.asarray(audio), np.asarray(target)]
                pair[place] = pair[place] + step * along
                moved.append(by_definition(*pair, sizes, term, distance))
            slope = 2 * (moved[0] - moved[1]) / 2e-6
            np.testing.assert_allclose(np.vdot(grads[place], along), slope, rtol=1e-5)


def test_silence_learns():
    """Finite, not zero, and downhill: the reference's gradient is zero there."""
    _, target = sounds()
    loss = SpectralLoss(fft_sizes=(64, 32))
    silence = jnp.zeros(300)
    grad = jax.grad(loss)(silence, target)
    assert np.all(np.isfinite(grad)) and np.linalg.norm(grad) > 0
    lower = loss(silence - 1e-3 * grad / jnp.linalg.norm(grad), target)
    assert lower < loss(silence, target)
    np.testing.assert_array_equal(jax.grad(loss)(silence, silence), 0)
    backward = jax.grad(loss, 1)(target, silence)
    assert np.all(np.isfinite(backward)) and np.linalg.norm(backward) > 0


def test_a_batch_is_its_rows():
    pairs = [sounds(), sounds()[::-1]]
    audio, target = (jnp.stack(x) for x in zip(*pairs, strict=True))
    loss = SpectralLoss(fft_sizes=(64,))
    many = jax.jit(jax.vmap(loss))(audio, target)
    single = jax.jit(loss)
    np.testing.assert_array_equal(many, [single(*pair) for pair in pairs])
    grads = jax.jit(jax.vmap(jax.grad(loss)))(audio, target)
    np.testing.assert_array_equal(grads[0], jax.jit(jax.grad(loss))(*pairs[0]))
    shared = jax.vmap(jax.grad(loss), (0, None))(audio, target[0])
    np.testing.assert_allclose(shared[0], grads[0], atol=1e-7)


def test_the_same_sound_is_no_distance():
    audio, _ = sounds()
    loss = SpectralLoss(fft_sizes=(64, 32), delta_time=1.0, cumulative_frequency=1.0)
    assert float(loss(audio, audio)) == 0
    assert np.all(np.isfinite(jax.grad(loss)(audio, audio)))


def test_refusals():
    with pytest.raises(ValueError, match="distance='cos': .*'cosine'"):
        SpectralLoss(distance="cos")
    with pytest.raises(ValueError, match="fft_size=30"):
        SpectralLoss(fft_sizes=(30,))
    with pytest.raises(ValueError, match=r"\(5,\) and \(6,\)"):
        SpectralLoss()(jnp.zeros(5), jnp.zeros(6))
