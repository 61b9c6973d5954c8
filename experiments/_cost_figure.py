"""Accuracy against cost, a picture of several experiments."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from djx.run import Report, Results


def accuracy_against_cost(
    results: Results,
    report: Report,
    cost: Callable[[Mapping[str, Any]], np.ndarray],
    label: str,
    scale: str = "linear",
) -> None:
    """Adds test accuracy against what it costs, one point per arm and seed.

    Args:
        results: the finished run.
        report: where to.
        cost: an arm's metrics to its costs, one per seed.
        label: of the cost's axis.
        scale: of that axis.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, metrics in results.values.items():
        axes.scatter(cost(metrics), 100 * metrics["accuracy"], label=name, s=30)
    axes.set_xscale(scale)
    axes.set_xlabel(label)
    axes.set_ylabel("test accuracy (%)")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Cost against accuracy, one point per seed.")
