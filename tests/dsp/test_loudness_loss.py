"""Distances of loudness against their definition in float64, and at silence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from djx.dsp import loudness_db, SpectralLoss, SpectralTransport
from djx.dsp._loudness_loss import LoudnessLoss


RATE = 16000
ALONE = {"magnitude": 0.0, "log_magnitude": 0.0, "loudness": 0.5}


def levels(audio, size, hop, before):
    """A-weighted levels of frames, term by term of IEC 61672-1."""
    audio = np.asarray(audio, np.float64)
    count = -(-len(audio) // hop)
    audio = np.pad(audio, (before, 2 * size))
    window = np.sin(np.pi * np.arange(size) / size) ** 2

    def gain(f):
        poles = (f**2 + 20.598997**2) * (f**2 + 12194.217**2)
        return f**4 / poles / np.sqrt((f**2 + 107.65265**2) * (f**2 + 737.86223**2))

    a = gain(np.fft.rfftfreq(size, 1 / RATE)) / gain(1000.0)
    out = []
    for frame in range(count):
        x = np.abs(np.fft.rfft(audio[frame * hop : frame * hop + size] * window) * a)
        # A sine's power is shared by two bins, of which one is seen.
        total = 2 * np.sum(x[1:-1] ** 2) + x[0] ** 2 + x[-1] ** 2
        amplitude = np.sqrt(2 * total / size / np.sum(window**2))
        out.append(20 * np.log10(amplitude + 1e-6))
    return np.asarray(out)


def by_definition(audio, target):
    gap = levels(audio, 1024, 256, 512) - levels(target, 1024, 256, 512)
    return np.mean(np.abs(gap))


def term(audio, target, distance="l1"):
    a, b = (levels(x, 1024, 256, 0) for x in (audio, target))
    if distance == "cosine":
        return 0.5 * (1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return 0.5 * np.mean(np.abs(a - b) if distance == "l1" else (a - b) ** 2)


def sounds(samples=1500, dtype="float64"):
    rng = np.random.default_rng(0)
    return [jnp.asarray(a, dtype) for a in rng.normal(size=(2, samples)) * [[0.3], [1]]]


def spectral(distance="l1"):
    return SpectralLoss(fft_sizes=(), distance=distance, **ALONE)


@pytest.mark.parametrize(
    "loss, reference",
    [
        (LoudnessLoss(), by_definition),
        *((spectral(d), lambda a, b, d=d: term(a, b, d)) for d in ("l1", "l2")),
        (spectral("cosine"), lambda a, b: term(a, b, "cosine")),
    ],
    ids=["alone", "l1", "l2", "cosine"],
)
def test_value_and_gradients(loss, reference):
    with jax.enable_x64(True):
        pair = sounds()
        np.testing.assert_allclose(loss(*pair), reference(*pair), rtol=1e-9)
        grads = jax.grad(loss, (0, 1))(*pair)
        along = np.random.default_rng(1).normal(size=(2, 1500))
        for place in (0, 1):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [np.asarray(x) for x in pair]
                moved[place] = moved[place] + step * along[place]
                ends.append(reference(*moved))
            slope = (ends[0] - ends[1]) / 2e-6
            np.testing.assert_allclose(grads[place] @ along[place], slope, rtol=1e-5)


@pytest.mark.parametrize("sizes", [(1024, 64), (128,), (1024,)])
def test_the_term_is_added_once_at_one_size(sizes):
    with jax.enable_x64(True):
        pair = sounds()
        both = SpectralLoss(fft_sizes=sizes, loudness=0.5)
        plain = SpectralLoss(fft_sizes=sizes)
        parts = [jax.value_and_grad(f)(*pair) for f in (plain, spectral())]
        total = jax.tree.map(jnp.add, *parts)
        found = jax.value_and_grad(both)(*pair)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-9), found, total)


def test_a_gain_is_its_decibels():
    """And loudness is that of `loudness_db`, above its floor."""
    audio, _ = sounds(4000, "float32")
    np.testing.assert_allclose(LoudnessLoss()(audio, 10 * audio), 20, rtol=1e-4)
    pair = audio, audio[::-1] ** 3
    expected = jnp.abs(jnp.subtract(*(loudness_db(x, RATE, hop=256) for x in pair)))
    np.testing.assert_allclose(LoudnessLoss()(*pair), jnp.mean(expected), rtol=1e-4)
    assert LoudnessLoss()(audio, audio) == 0


@pytest.mark.parametrize("loss", [LoudnessLoss(), spectral()])
def test_silence_learns(loss):
    """Finite, not zero, downhill, for either sound; nothing between two silences."""
    _, target = sounds(dtype="float32")
    silence = jnp.zeros_like(target)
    grad = jax.grad(loss)(silence, target)
    assert np.all(np.isfinite(grad)) and np.linalg.norm(grad) > 0
    lower = loss(silence - 1e-4 * grad / jnp.linalg.norm(grad), target)
    assert lower < loss(silence, target) - 1
    backward = jax.grad(loss, 1)(target, silence)
    np.testing.assert_allclose(backward, grad, rtol=1e-5)
    np.testing.assert_array_equal(jax.grad(loss)(silence, silence), 0)
    # Half silent: the frames that hold nothing are as finite.
    half = target.at[:1100].set(0)
    assert np.all(np.isfinite(jax.grad(loss)(half, half[::-1])))


def test_the_subgradient_at_silence_is_one_of_differences():
    """Along the target itself a silent sound grows as its derivative says."""
    with jax.enable_x64(True):
        _, target = sounds()
        silence = jnp.zeros_like(target)
        slope = jax.grad(LoudnessLoss())(silence, target) @ target
        ends = [by_definition(s * target, target) for s in (1e-10, 0)]
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / 1e-10, rtol=1e-3)


def test_transport_and_loudness_find_a_tone():
    """A quiet tone elsewhere ends as loud and as high as the target."""
    time = jnp.arange(4096) / RATE

    def tone(hz, db):
        return 10 ** (db / 20) * jnp.sin(2 * jnp.pi * hz * time)

    target = tone(1800.0, -10.0)

    def loss(x):
        sound = tone(1000 * x[0], 10 * x[1])
        return 20 * SpectralTransport()(sound, target) + LoudnessLoss()(sound, target)

    @jax.jit
    def descend(x):
        def step(i, x):
            slope = jax.grad(loss)(x)
            return x - 0.2 * 0.99**i * slope / (jnp.linalg.norm(slope) + 1e-6)

        return jax.lax.fori_loop(0, 600, step, x)

    # as_shipped: steps of a fixed length end where rounding lets them.
    found = descend(jnp.asarray([0.6, -6.0]))
    np.testing.assert_allclose(found, [1.8, -1.0], atol=0.03)


def test_batches_edges_and_refusals():
    pairs = jnp.stack(sounds(dtype="float32"))
    for loss in (LoudnessLoss(), spectral()):
        many = jax.vmap(jax.grad(loss))(pairs, pairs[::-1])
        np.testing.assert_allclose(
            many[0], jax.grad(loss)(*pairs), rtol=1e-3, atol=1e-7
        )
        assert loss(jnp.zeros(0), jnp.zeros(0)) == 0
        with pytest.raises(ValueError, match=r"\(5,\) and \(6,\)"):
            loss(jnp.zeros(5), jnp.zeros(6))
    with pytest.raises(ValueError, match="fft_size=1000, hop=256"):
        LoudnessLoss(fft_size=1000)
    for kind in (LoudnessLoss, lambda **kw: SpectralLoss(loudness=1.0, **kw)):
        with pytest.raises(ValueError, match="sample_rate=0: has to be positive"):
            kind(sample_rate=0)
