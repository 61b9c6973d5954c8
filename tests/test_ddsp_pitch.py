"""The pitch experiment's own pieces."""

import jax
import jax.numpy as jnp
import numpy as np

from experiments.ddsp_pitch import distances, measures, noisy, Pitches, sounds


def test_sounds_are_stacks_of_harmonics():
    omega = np.asarray([0.11, 0.3])
    h = np.arange(1, 4)
    phase = omega[:, None, None] * h * np.arange(1024)[:, None]
    expected = np.sum(np.sin(phase) / h, -1)
    found = sounds(jnp.asarray(omega, jnp.float32), 3)
    np.testing.assert_allclose(found, expected, atol=2e-4)  # omega in float32


def test_noise_has_the_level_that_was_asked_for():
    clean = sounds(jnp.asarray([0.2, 0.5]), 1) * jnp.asarray([[1.0], [3.0]])
    white = jax.random.normal(jax.random.key(0), clean.shape)
    noise = noisy(clean, white, 10.0) - clean
    ratio = np.mean(clean**2, 1) / np.mean(noise**2, 1)
    np.testing.assert_allclose(10 * np.log10(ratio), 10, atol=0.5)
    np.testing.assert_array_equal(noisy(clean, white, None), clean)


def test_only_transport_points_to_the_target():
    """From a grid of starts: the share whose gradient is of the right sign."""
    target = 1.0
    starts = jnp.linspace(0.1, 2.4, 40)
    starts = starts[jnp.abs(starts - target) > 0.05]
    heard = sounds(jnp.full(len(starts), target), 1)

    def share(kind):
        def total(omega):
            return jnp.sum(distances(kind)(sounds(omega, 1), heard))

        slope = jax.grad(total)(starts)
        return jnp.mean((jnp.sign(slope) == jnp.sign(starts - target)).astype(float))

    assert share("transport") > 0.97
    assert share("waveform") < 0.9


def test_measures_count_what_is_near():
    target = jnp.asarray([1.0, 1.0, 0.1, 2.0])
    model = Pitches(target + jnp.asarray([0.0, 0.009, 0.009, 0.5]), target)
    told = measures(model)
    assert told["within_1_percent"] == 0.5 and told["within_0_01_rad"] == 0.75
    np.testing.assert_allclose(told["median_error"], (0.009 + 0.09) / 2, rtol=1e-4)
