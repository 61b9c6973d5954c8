"""scikit-learn's 1797 handwritten digits of 8 x 8 pixels."""

import functools as ft

import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from experiments._bundled_data import bundled


Split = tuple[np.ndarray, np.ndarray]


@ft.cache
def digits(precision: str) -> tuple[Split, Split]:
    """Images in [0, 1] with labels; the split is fixed.

    Args:
        precision: "float64", or another for float32 images.

    Returns:
        1437 training images `(1437, 64)` with labels, and 360 test images.
    """
    images, labels = bundled("digits.csv.gz")
    dtype = np.float64 if precision == "float64" else np.float32
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype(dtype)
    labels = labels[order].astype(np.int32)
    cut = 1437  # 80 in 100
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])


def score(
    logits: Float[Array, "batch 10"], labels: Int[Array, " batch"]
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """Mean cross entropy and accuracy of a batch."""
    entropy = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
    hits = jnp.argmax(logits, -1) == labels
    return entropy, jnp.mean(hits.astype(entropy.dtype))
