"""The pictures of the equilibrium classifier."""

import numpy as np

from djx.run import Report, Results
from experiments._cost_figure import accuracy_against_cost


def draw(results: Results, report: Report) -> None:
    """Adds accuracy against cost, and the gradients' errors during training.

    Args:
        results: the finished run.
        report: where to.
    """
    import matplotlib.pyplot as plt

    accuracy_against_cost(
        results,
        report,
        lambda metrics: 1e3 * metrics["step_seconds"],
        "a training step (ms)",
        "log",
    )

    figure, panels = plt.subplots(1, 2, figsize=(8, 3.4), layout="constrained")
    for name, arm in results.arms.items():
        if not arm.config.model.equilibrium:  # pyright: ignore[reportAttributeAccessIssue]
            continue
        seeds = [one.evaluated for one in arm.series.values()]
        steps = seeds[0]["step"]
        errors = np.stack([s["gradient_error"] for s in seeds])
        rates = np.stack([s["rate"] for s in seeds])
        panels[0].semilogy(steps, errors.mean(0), marker="o", label=name)
        panels[1].plot(steps, rates.mean(0), marker="o", label=name)
    panels[0].set_ylabel("error of the gradient, relative")
    panels[1].set_ylabel("residual left by an evaluation")
    for panel in panels:
        panel.set_xlabel("step")
    panels[0].legend(frameon=False, fontsize="small")
    report.figure(
        figure, "How wrong every arm's gradients are, and how the layer contracts."
    )
