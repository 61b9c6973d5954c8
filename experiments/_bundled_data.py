"""Tables that come with scikit-learn."""

import importlib.util
from pathlib import Path

import numpy as np


def bundled(name: str, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features and labels of a table of numbers.

    Args:
        name: of the file.
        skip: lines at its head.

    Returns:
        All columns but the last, and the last, in float64.
    """
    # Importing scikit-learn would cost every start a second.
    found = importlib.util.find_spec("sklearn")
    assert found is not None and found.submodule_search_locations is not None
    folder = Path(found.submodule_search_locations[0]) / "datasets" / "data"
    table = np.loadtxt(folder / name, delimiter=",", skiprows=skip)
    return table[:, :-1], table[:, -1]
