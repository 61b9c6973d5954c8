"""What the filters' races filter."""

import numpy as np

from .dsp_problems import RATE


SAMPLES = 4 * RATE
CENTRES_HZ = (60.0, 150.0, 400.0, 1000.0, 2500.0, 6000.0)


def signals(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Sounds, and weights of the samples in a loss that is linear in them."""
    pair = np.random.default_rng(4).normal(size=(2, batch, SAMPLES))
    return pair[0].astype(np.float32), pair[1].astype(np.float32)


def moving_poles(batch: int) -> np.ndarray:
    """a_1 and a_2 of every sample: a resonance that goes up."""
    rng = np.random.default_rng(5)
    angle = np.linspace(0.2, 2.5, SAMPLES) + rng.uniform(0, 0.4, (batch, 1))
    radius = rng.uniform(0.8, 0.95, (batch, 1)) * np.ones(SAMPLES)
    poles = np.stack([-2 * radius * np.cos(angle), radius**2], -1)
    return poles.astype(np.float32)


def equaliser(batch: int) -> np.ndarray:
    """Six peaks of each sound's own gains, as second-order sections.

    R. Bristow-Johnson's cookbook.
    """
    rng = np.random.default_rng(6)
    centre = np.asarray(CENTRES_HZ) * rng.uniform(0.8, 1.2, (batch, 6))
    q, root = (
        rng.uniform(0.5, 2, (batch, 6)),
        10 ** (rng.uniform(-12, 12, (batch, 6)) / 40),
    )
    w = 2 * np.pi * centre / RATE
    alpha, cos = np.sin(w) / (2 * q), np.cos(w)
    b = [1 + alpha * root, -2 * cos, 1 - alpha * root]
    a = [1 + alpha / root, -2 * cos, 1 - alpha / root]
    return (np.stack([*b, *a], -1) / a[0][..., None]).astype(np.float32)
