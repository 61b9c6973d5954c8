"""The pitch encoder: what it must not depend on, and that it learns."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from djx.dsp import PitchEncoder
from djx.dsp._pitch_encoder import _frequencies, log_spectra


RATE = 16000


def small(**options):
    return PitchEncoder(channels=4, depth=1, **options, key=jax.random.key(0))


def stack(f0_hz, samples=2048, rate=RATE, decay=0.7, harmonics=20):
    """Harmonics below half the rate, by numpy."""
    t = np.arange(samples) / rate
    h = np.arange(1, harmonics + 1)
    h = h[h * f0_hz < 0.45 * rate]
    return (decay**h @ np.sin(2 * np.pi * np.outer(h, f0_hz * t) + h[:, None])) / 10


def test_a_sine_stands_where_its_frequency_does():
    f = _frequencies(RATE)
    for bin in (100, 150, 230):
        sine = np.sin(2 * np.pi * f[bin] * np.arange(4096) / RATE)
        spectra = log_spectra(jnp.asarray(sine, jnp.float32), RATE, 256)
        assert abs(int(jnp.argmax(spectra[8])) - bin) <= 1


def test_a_spectrum_that_moves_moves_what_is_put_out():
    encoder = small()
    bins, pitches = len(_frequencies(RATE)), len(encoder.pitches_hz())

    def narrowed(kernel, outputs, reach):
        """Seen only from near, so that the axis' ends are out of reach."""
        far = np.abs(np.arange(kernel.shape[1]) - (outputs - 1)) > reach
        return jnp.where(far, 0, kernel)

    kernels = narrowed(encoder.first, bins, 10), narrowed(encoder.last, pitches, 30)
    encoder = eqx.tree_at(lambda e: (e.first, e.last), encoder, kernels)
    x = np.zeros((1, bins), np.float32)
    x[0, 80:120] = np.random.default_rng(0).normal(size=40)
    at, moved = (encoder._scores(jnp.asarray(np.roll(x, n, 1))) for n in (0, 12))
    assert jnp.max(jnp.abs(at)) > 0.1
    np.testing.assert_allclose(at[0, :-12], moved[0, 12:], atol=1e-5)


def test_a_level_does_not_count():
    encoder = small()
    sound = jnp.asarray(stack(220.0), jnp.float32)
    louder = encoder(100 * sound)
    np.testing.assert_allclose(encoder(sound).f0_hz, louder.f0_hz, rtol=1e-3)


@pytest.mark.parametrize(
    "samples, frames", [(0, 0), (1, 1), (64, 1), (65, 2), (1000, 16)]
)
def test_as_many_frames_as_other_pitches_have(samples, frames):
    encoder = small()
    found = encoder(jnp.ones(samples))
    assert found.f0_hz.shape == found.aperiodicity.shape == (frames,)
    assert jnp.all((found.f0_hz >= 49) & (found.f0_hz <= 2100))
    assert jnp.all((found.aperiodicity >= 0) & (found.aperiodicity <= 1))


@pytest.mark.parametrize("level", [0.0, 1e-8])
def test_values_and_slopes_are_numbers(level):
    encoder = small()
    sound = jnp.asarray(level * stack(220.0), jnp.float32)

    def loss(encoder, sound):
        return encoder.divergence(sound, 220.0) + jnp.sum(encoder(sound).f0_hz)

    value, slopes = eqx.filter_value_and_grad(loss)(encoder, sound)
    assert jnp.isfinite(value)
    assert all(jnp.all(jnp.isfinite(g)) for g in jax.tree.leaves(slopes))
    assert jnp.all(jnp.isfinite(jax.grad(loss, 1)(encoder, sound)))


def test_divergence_of_uniform_scores():
    encoder = small()
    pitches = encoder.pitches_hz()
    cents = 1200 * np.log2(pitches / 440.0)
    wanted = jnp.asarray(-0.5 * (cents / 25) ** 2, jnp.float32)
    exact = eqx.tree_at(lambda e: e.last, encoder, jnp.zeros_like(encoder.last))
    uniform = exact.divergence(jnp.ones(2048), jnp.asarray(440.0))
    shares = np.asarray(jax.nn.softmax(wanted), np.float64)
    expected = np.log(len(pitches)) + np.sum(shares * np.log(shares + 1e-30))
    np.testing.assert_allclose(uniform, expected, rtol=1e-4)


def test_rows_of_a_batch_are_alike():
    encoder = small()
    sounds = jnp.asarray([stack(f) for f in (100, 220, 700)], jnp.float32)
    together = jax.vmap(encoder)(sounds)
    for row, sound in enumerate(sounds):
        np.testing.assert_allclose(together.f0_hz[row], encoder(sound).f0_hz, rtol=1e-3)


def test_it_learns_keys_that_it_never_heard():
    rate = 44100
    encoder = small(sample_rate=rate, hop=round(rate / 250))
    window = encoder.window
    # Heard only afterwards: pitches between those, and other envelopes.
    learned = np.geomspace(100, 800, 24)
    rng = np.random.default_rng(0)
    sounds = [stack(f, window, rate, rng.uniform(0.6, 0.95)) for f in learned]
    sounds, f0 = jnp.asarray(sounds, jnp.float32), jnp.asarray(learned, jnp.float32)
    optimiser = optax.adam(5e-3)

    @eqx.filter_jit
    def step(encoder, state):
        def loss(encoder):
            return jnp.mean(jax.vmap(encoder.divergence)(sounds, f0))

        value, slope = eqx.filter_value_and_grad(loss)(encoder)
        updates, state = optimiser.update(slope, state)
        return eqx.apply_updates(encoder, updates), state, value

    state = optimiser.init(eqx.filter(encoder, eqx.is_array))
    first = None
    for _ in range(60):
        encoder, state, value = step(encoder, state)
        first = value if first is None else first
    assert value < 0.1 * first
    for f in (130.0, 333.0, 700.0):
        found = encoder(jnp.asarray(stack(f, 2 * window, rate, 0.8), jnp.float32))
        middle = found.f0_hz[len(found.f0_hz) // 2]
        assert abs(12 * np.log2(middle / f)) < 0.5


def test_refusals():
    with pytest.raises(ValueError, match="no bin lies between them"):
        small(least_hz=440.5, greatest_hz=441.0)
    with pytest.raises(ValueError, match="least_hz=10, greatest_hz=2000: two pitches"):
        small(least_hz=10.0)
    with pytest.raises(ValueError, match="from 32 to 1800 Hz"):
        small(sample_rate=4000)
