"""The pictures of the support vector machine's penalty."""

import numpy as np

from djx.run import Report, Results


def draw(results: Results, report: Report) -> None:
    """Adds the time of a hypergradient and its error, and the way of the penalty.

    Args:
        results: the finished run.
        report: where to.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 3.6), layout="constrained")
    for name, metrics in results.values.items():
        marker = "o" if "implicit" in name else "x"
        axes.scatter(
            1e3 * metrics["step_seconds"],
            metrics["gradient_error"],
            label=name,
            marker=marker,
        )
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("a hypergradient (ms)")
    axes.set_ylabel("its error, relative")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Time and error of a hypergradient, by solver.")

    figure, axes = plt.subplots(figsize=(6, 3.2), layout="constrained")
    for name, arm in results.arms.items():
        seeds = [one.train for one in arm.series.values()]
        losses = np.stack([s["loss"] for s in seeds])
        style = "-" if "implicit" in name else "--"
        axes.plot(seeds[0]["step"], losses.mean(0), style, label=name)
    axes.set_xlabel("step")
    axes.set_ylabel("validation loss")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "What the penalty's descent brings.")
