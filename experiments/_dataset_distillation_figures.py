"""The pictures of dataset distillation."""

from typing import Any

import numpy as np

from djx.run import Report, Results
from experiments._cost_figure import accuracy_against_cost


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

    accuracy_against_cost(
        results,
        report,
        lambda metrics: 1e3 * metrics["step_seconds"],
        "a step (ms)",
        "log",
    )
