"""Receipts of backward solves as metrics of a step."""

from collections.abc import Callable, Sequence

from jaxtyping import Array

from djx.implicit import Receipt


def read_receipt(
    prefix: str, names: Sequence[str] = ("failed", "iterations", "residual")
) -> Callable[[Receipt], dict[str, Array]]:
    """A `read_probe` for `supervised`.

    Args:
        prefix: of the metrics' names.
        names: of the receipt's figures.

    Returns:
        A function of what a backward pass left in a receipt.
    """

    def read(told):
        mean = told.mean()
        return {f"{prefix}_{name}": mean[name] for name in names}

    return read
