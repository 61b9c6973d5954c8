"""The pictures of dataset distillation."""

from typing import Any

import jax
import numpy as np

from djx.run import Report, Results


def first_seed(state: Any) -> Any:
    """One lane of a state with a leading axis of seeds."""
    return jax.tree.map(lambda leaf: leaf[0], state)


def draw(results: Results, report: Report, models: dict[str, Any]) -> None:
    """Adds the images of every arm, and cost against accuracy.

    Args:
        results: the finished run.
        report: where to.
        models: the first seed's distilled images by arm.
    """
    import matplotlib.pyplot as plt

    for name, distilled in models.items():
        images = np.asarray(distilled.images, float)[:10]
        figure, panels = plt.subplots(
            2, 5, figsize=(6, 2.7), layout="constrained", squeeze=False
        )
        reach = np.max(np.abs(images))
        for panel, image, label in zip(
            panels.flat, images, np.asarray(distilled.labels), strict=False
        ):
            panel.imshow(image.reshape(8, 8), cmap="RdGy", vmin=-reach, vmax=reach)
            panel.set_title(str(label), fontsize="small")
            panel.set_axis_off()
        report.figure(figure, f"What {name} distilled, first seed; grey is ink.")

    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    for name, metrics in results.values.items():
        axes.scatter(
            1e3 * metrics["step_seconds"], 100 * metrics["accuracy"], label=name, s=30
        )
    axes.set_xscale("log")
    axes.set_xlabel("a step (ms)")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Cost against accuracy, one point per seed.")
