"""scikit-learn's 1797 handwritten digits of 8 x 8 pixels."""

import functools as ft
import importlib.util
from pathlib import Path

import numpy as np


Split = tuple[np.ndarray, np.ndarray]


@ft.cache
def digits(precision: str) -> tuple[Split, Split]:
    """Images in [0, 1] with labels; the split is fixed.

    Args:
        precision: "float64", or another for float32 images.

    Returns:
        1437 training images `(1437, 64)` with labels, and 360 test images.
    """
    # What sklearn.datasets.load_digits reads; importing it would cost every start a
    # second.
    found = importlib.util.find_spec("sklearn")
    assert found is not None and found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    table = np.loadtxt(folder / "digits.csv.gz", delimiter=",")
    images, labels = table[:, :-1], table[:, -1]
    dtype = np.float64 if precision == "float64" else np.float32
    order = np.random.default_rng(0).permutation(len(images))
    images = (images[order] / 16).astype(dtype)
    labels = labels[order].astype(np.int32)
    cut = 1437  # 80 in 100
    return (images[:cut], labels[:cut]), (images[cut:], labels[cut:])
