"""The pictures of the latent SDE experiment."""

from collections.abc import Callable
from typing import Any

import numpy as np

from djx.run import Report, Results


def draw(
    results: Results, report: Report, known: Any, paths: Callable[[str], Any]
) -> None:
    """Adds posteriors, samples and moments.

    Args:
        results: the finished run.
        report: where to.
        known: the data.
        paths: arm to posterior draws (4, 20, times, 3) and prior samples.
    """
    import matplotlib.pyplot as plt

    arms = list(results.arms)
    found = {arm: [np.asarray(x) for x in paths(arm)] for arm in arms}
    figure, axes = plt.subplots(
        len(arms),
        4,
        figsize=(11, 2.4 * len(arms)),
        sharex=True,
        sharey=True,
        layout="constrained",
        squeeze=False,
    )
    for row, arm in zip(axes, arms, strict=True):
        for i, panel in enumerate(row):
            panel.plot(
                known.times, found[arm][0][i, :, :, 0].T, "C0", lw=0.5, alpha=0.5
            )
            panel.plot(known.times, known.test[i, :, 0], "k.", ms=3)
        row[0].set_ylabel(f"{arm}: x")
    for panel in axes[-1]:
        panel.set_xlabel("time")
    caption = "Posterior paths (lines) of four held-out series (dots), first component."
    report.figure(figure, caption)

    shown = {"data": known.test} | {arm: found[arm][1] for arm in arms}
    figure, axes = plt.subplots(
        1,
        len(shown),
        figsize=(3.6 * len(shown), 3.4),
        sharex=True,
        sharey=True,
        layout="constrained",
    )
    for panel, (name, values) in zip(axes, shown.items(), strict=True):
        panel.plot(values[:40, :, 0].T, values[:40, :, 2].T, "C0", lw=0.5, alpha=0.5)
        panel.set_title(name, loc="left")
        panel.set_xlabel("x")
    axes[0].set_ylabel("z")
    report.figure(figure, "Forty held-out paths and as many samples of each model.")

    figure, axes = plt.subplots(
        2, 3, figsize=(9, 4.6), sharex=True, layout="constrained"
    )
    for name, values in shown.items():
        style = {"color": "k", "lw": 2} if name == "data" else {"lw": 1.2}
        for component in range(3):
            column = values[:, :, component]
            axes[0, component].plot(known.times, column.mean(0), label=name, **style)
            axes[1, component].plot(known.times, column.std(0), **style)
    for component, name in enumerate("xyz"):
        axes[0, component].set_title(name, loc="left")
        axes[1, component].set_xlabel("time")
    axes[0, 0].set_ylabel("mean")
    axes[1, 0].set_ylabel("standard deviation")
    axes[0, 0].legend(frameon=False, fontsize="small")
    report.figure(figure, "Moments over time: held-out data and samples.")
