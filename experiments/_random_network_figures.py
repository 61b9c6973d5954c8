"""The pictures of random networks."""

from typing import Any

import numpy as np

from djx.run import Report


def draw(report: Report, arms: dict[str, Any]) -> None:
    """Adds rasters and the distribution of rates.

    Args:
        report: where to.
        arms: by name, the config and the state of one lane.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        len(arms),
        2,
        figsize=(10, 2.6 * len(arms)),
        layout="constrained",
        squeeze=False,
        width_ratios=[3, 1],
    )
    for (name, (config, state)), (left, right) in zip(arms.items(), axes, strict=True):
        steps, cells = np.nonzero(np.asarray(state.raster.spikes))
        first = int(state.raster.first)
        left.plot((first + steps) * config.dt_ms, cells, "k.", ms=1)
        left.set_ylabel(f"{name}: cell")
        rates_hz = np.asarray(state.statistics.rates_hz(config.dt_ms))
        right.hist(rates_hz, 40, color="C0")
        right.axvline(rates_hz.mean(), color="k", lw=1)
    axes[-1, 0].set_xlabel("ms")
    axes[-1, 1].set_xlabel("spikes a second of a cell")
    caption = "Spikes of 200 excitatory cells, and the rates of all (line: their mean)."
    report.figure(figure, caption)
