"""Scikit-learn's breast cancer table, split and standardised."""

import functools as ft

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from experiments._bundled_data import bundled


FEATURES = 30


@ft.cache
def table() -> tuple[np.ndarray, np.ndarray]:
    """Features `(569, 30)` in their own units, and labels: 1 is benign."""
    return bundled("breast_cancer.csv", skip=1)


def train_count(test_fraction: float) -> int:
    """Rows of a training part."""
    count = len(table()[1])
    return count - round(test_fraction * count)


def standardised(
    order: Int[Array, " rows"], count: int
) -> tuple[Float[Array, "rows features"], Float[Array, " rows"]]:
    """The table in a split's order, in the units of its training part.

    Args:
        order: a permutation; the training part comes first.
        count: rows of that.

    Returns:
        Features of which the training part has mean 0 and deviation 1, and labels.
    """
    features, labels = (jnp.asarray(a, float)[order] for a in table())
    mean, deviation = jnp.mean(features[:count], 0), jnp.std(features[:count], 0)
    return (features - mean) / deviation, labels
