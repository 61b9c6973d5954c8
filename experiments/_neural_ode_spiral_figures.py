"""The pictures of the spiral experiment."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from djx.run import Report, Results


def draw(
    results: Results,
    report: Report,
    known: Any,
    end: float,
    predictions: Callable[[str], Any],
) -> None:
    """Adds held-out paths in the plane, errors over time and a table.

    Args:
        results: the finished run.
        report: where to.
        known: the true paths.
        end: of the times that training saw.
        predictions: arm to states `(times, 6, 2)` from the first held-out starts.
    """
    import matplotlib.pyplot as plt

    arms = list(results.arms)
    with jax.enable_x64(results.spec.common.train.precision == "float64"):
        found = {arm: np.asarray(predictions(arm)) for arm in arms}
    truth, seen = known.held_out[:, :6], known.times <= end * (1 + 1e-5)

    figure, panels = plt.subplots(
        1,
        len(arms),
        figsize=(3.2 * len(arms), 3.3),
        layout="constrained",
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    reach = 1.1 * np.abs(truth).max()
    for axes, arm in zip(panels[0], arms, strict=True):
        for index in range(truth.shape[1]):
            axes.plot(*truth[:, index].T, color="0.75", lw=2.5)
            axes.plot(*found[arm][seen, index].T, color="C0", lw=1)
            axes.plot(*found[arm][~seen, index].T, color="C3", lw=1)
        axes.plot(*truth[0].T, "k.", ms=4)
        axes.set_title(arm, loc="left")
        axes.set_xlim(-reach, reach)
        axes.set_ylim(-reach, reach)
        axes.set_aspect("equal")
    caption = "Held-out starts, first seed: truth (grey), within the times of training "
    report.figure(figure, caption + "(blue), beyond them (red).")

    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for arm in arms:
        error = np.sqrt(np.mean((found[arm] - truth) ** 2, axis=(1, 2)))
        axes.semilogy(known.times[1:], error[1:], label=arm)
    axes.axvline(end, color="0.6", lw=0.8)
    axes.set_xlabel("time (training saw what is left of the line)")
    axes.set_ylabel("root mean square error")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Error along six held-out paths, first seed.")

    metrics = ["mse", "extrapolation", "fine_mse", "field_error", "nfe"]
    rows = [
        [arm, *(float(np.mean(values[name])) for name in metrics)]
        for arm, values in results.values.items()
    ]
    report.table(["arm", *metrics], rows, "Held-out starts, mean over seeds.")
