"""The pictures of the neural SDE experiment."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from djx.run import Report, Results


def draw(
    results: Results, report: Report, known: Any, samples: Callable[[str], Any]
) -> None:
    """Adds moments over time, cost against error, and the paper's table beside ours.

    Args:
        results: the finished run.
        report: where to.
        known: the true moments.
        samples: arm to states `(times, paths, 2)`.
    """
    import matplotlib.pyplot as plt

    arms = list(results.arms)
    with jax.enable_x64(results.spec.common.train.precision == "float64"):
        found = {arm: np.asarray(samples(arm)) for arm in arms}

    figure, panels = plt.subplots(
        2, 2, figsize=(8, 5), layout="constrained", sharex=True
    )
    for component in range(2):
        truth = known.mean[:, component], known.variance[:, component]
        for row, (axes, name) in enumerate(
            zip(panels[:, component], ("mean", "variance"), strict=True)
        ):
            axes.plot(known.times, truth[row], "k.", ms=4, label="data")
            for arm in arms:
                values = found[arm][..., component]
                line = values.mean(1) if row == 0 else values.var(1)
                axes.plot(known.times, line, lw=1.2, label=arm)
            axes.set_ylabel(f"{name} of component {component + 1}")
    panels[0, 0].legend(frameon=False, fontsize="small")
    for axes in panels[1]:
        axes.set_xlabel("time")
    report.figure(figure, "Moments of the model's paths and of the data, first seed.")

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, metrics in results.values.items():
        axes.scatter(metrics["nfe"], metrics["mse"], label=name, s=30)
    axes.set_yscale("log")
    axes.set_xlabel("drift evaluations of one prediction")
    axes.set_ylabel("error of the moments")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Cost against error, one point per seed.")

    paper = {"none": (0.0217, 528.7), "stiffness": (0.0204, 502.0)}
    paper["error"] = (0.0227, 502.0)
    rows = []
    for arm, values in results.values.items():
        mse, nfe = (float(np.mean(values[name])) for name in ("mse", "nfe"))
        rows.append([arm, mse, nfe, *map(str, paper.get(arm, ("", "")))])
    head = ["arm", "mse", "nfe", "paper's mse", "paper's nfe"]
    report.table(head, rows, "Means over seeds; the paper's solver is another one.")
