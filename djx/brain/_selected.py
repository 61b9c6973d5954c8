"""Which cells are looked at."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int


def ranges(values: Array, sizes: Sequence[int]) -> list[Array]:
    """What belongs to each population, of which cells are ranges in order.

    Args:
        values: one a cell, on the last axis.
        sizes: of populations.

    Returns:
        Theirs.

    Raises:
        ValueError: where sizes are not those of all cells.
    """
    if sum(sizes) != values.shape[-1] or min(sizes, default=0) < 1:
        raise ValueError(
            f"sizes: {tuple(sizes)} are not those of {values.shape[-1]} cells"
        )
    ends = np.cumsum(sizes)
    return [
        values[..., end - size : end] for size, end in zip(sizes, ends, strict=True)
    ]


def chosen_cells(cells: Any) -> tuple[Int[Array, " some"], int]:
    """Which cells are looked at.

    Args:
        cells: their numbers, or how many first ones.

    Returns:
        Their numbers, and how many cells there have to be.

    Raises:
        ValueError: where they are not numbers of cells.
    """
    numbers = np.arange(cells) if np.ndim(cells) == 0 else np.asarray(cells)
    if numbers.ndim != 1 or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"cells: a list of whole numbers, or one, not {cells!r}")
    if numbers.size and numbers.min() < 0:
        raise ValueError(f"cells: {numbers.min()} is no cell's number")
    return jnp.asarray(numbers, jnp.int32), int(np.max(numbers, initial=-1)) + 1


def check_within(spiked: Bool[Array, " cells"], within: int) -> None:
    """Whether all that are looked at are there.

    Args:
        spiked: of all cells.
        within: how many there have to be.

    Raises:
        ValueError: where there are fewer.
    """
    if spiked.shape[0] < within:
        raise ValueError(
            f"spiked: {spiked.shape[0]} cells, and the monitor looks at number "
            f"{within - 1}"
        )
