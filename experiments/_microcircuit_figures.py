"""The pictures of the column of cortex."""

from typing import Any

import numpy as np

from djx.run import Report
from experiments import _microcircuit_column as cortex


def draw(report: Report, arms: dict[str, Any]) -> None:
    """Adds rasters, and rates beside those of the whole column.

    Args:
        report: where to.
        arms: by name, the config and the state of one lane.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(arms),
        2,
        figsize=(11, 4.2 * len(arms)),
        layout="constrained",
        squeeze=False,
        width_ratios=[3, 2],
    )
    for (name, (config, state)), (left, right) in zip(arms.items(), axes, strict=True):
        column = cortex.column(config.cells_scale, config.synapses_scale)
        steps, cells = np.nonzero(np.asarray(state.raster.spikes))
        times_ms = (int(state.raster.first) + steps) * config.dt_ms
        end = np.cumsum(column.cells)
        for number in range(8):
            own = (cells >= end[number] - column.cells[number]) & (cells < end[number])
            left.plot(times_ms[own], cells[own], f"C{3 * (number % 2)}.", ms=1)
        left.set_yticks(end - column.cells / 2, cortex.POPULATIONS)
        left.invert_yaxis()
        left.set_title(name)
        rates_hz = np.asarray(state.statistics.rates_hz(config.dt_ms))
        each = np.split(rates_hz, end[:-1])
        right.boxplot(each, orientation="horizontal", showfliers=False, widths=0.6)
        right.plot([r.mean() for r in each], range(1, 9), "k*", label="mean")
        right.plot(cortex.FULL_HZ, range(1, 9), "C1|", ms=14, label="whole column")
        right.set_yticks(range(1, 9), cortex.POPULATIONS)
        right.invert_yaxis()
        right.legend()
    axes[-1, 0].set_xlabel("ms")
    axes[-1, 1].set_xlabel("spikes a second of a cell")
    report.figure(figure, "Spikes (inhibitory cells in red), and rates by population.")
