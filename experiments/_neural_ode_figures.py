"""The pictures of the neural ODE experiment."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from djx.run import Report, Results
from experiments._cost_figure import accuracy_against_cost


def draw(
    results: Results,
    report: Report,
    paths: Callable[[str, bool], Any],
    labels: np.ndarray,
) -> None:
    """Adds cost against accuracy, step sizes and learned trajectories.

    Args:
        results: the finished run.
        report: where to.
        paths: (arm, steps?) to a diffrax solution on the test images.
        labels: their classes.
    """
    import matplotlib.pyplot as plt

    accuracy_against_cost(
        results,
        report,
        lambda metrics: metrics["nfe"],
        "field evaluations of one prediction",
    )

    arms = list(results.arms)
    with jax.enable_x64(results.spec.common.train.precision == "float64"):
        times = {arm: np.asarray(paths(arm, True).ts) for arm in arms}
        shown = list(dict.fromkeys([arms[0], _cheapest(results)]))
        states = {arm: np.asarray(paths(arm, False).ys) for arm in shown}

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    sizes = {arm: np.diff(t[np.isfinite(t)]) for arm, t in times.items()}
    every = np.concatenate(list(sizes.values()))
    bins = np.geomspace(every.min() * 0.9, every.max() * 1.1, 18)
    axes.hist(list(sizes.values()), bins, label=arms)
    axes.set_xscale("log")
    axes.set_xlabel("accepted step (unit: the whole interval)")
    axes.set_ylabel("steps")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Step sizes on the test images, first seed.")

    figure, panels = plt.subplots(
        1,
        len(shown),
        figsize=(4 * len(shown), 3.8),
        layout="constrained",
        squeeze=False,
    )
    for axes, arm in zip(panels[0], shown, strict=True):
        _trajectories(axes, states[arm], labels)
        axes.set_title(arm, loc="left")
    caption = "Learned trajectories of 80 test images, seen along the two widest "
    report.figure(figure, caption + "directions at the end; dots mark the end.")


def _cheapest(results: Results) -> str:
    nfe = {name: np.mean(values["nfe"]) for name, values in results.values.items()}
    return min(nfe, key=lambda name: nfe[name])


def _trajectories(axes: Any, states: np.ndarray, labels: np.ndarray) -> None:
    import matplotlib.pyplot as plt

    centred = states - states[-1].mean(0)
    _, _, directions = np.linalg.svd(centred[-1], full_matrices=False)
    plane = centred[:, :80] @ directions[:2].T
    colours = plt.get_cmap("tab10")(labels[:80])
    for index in range(plane.shape[1]):
        axes.plot(*plane[:, index].T, color=colours[index], lw=0.7, alpha=0.6)
    axes.scatter(*plane[-1].T, color=colours, s=10)
