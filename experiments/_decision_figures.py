"""The pictures of decisions."""

from typing import Any

import numpy as np
from scipy.optimize import curve_fit

from djx.run import Report


def draw(report: Report, arms: dict[str, Any]) -> None:
    """Adds rates in all trials, and the psychometric curve.

    Args:
        report: where to.
        arms: by name, the config and rates by trial, block and population.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        1,
        len(arms) + 1,
        figsize=(3.2 * (len(arms) + 1), 3),
        layout="constrained",
        squeeze=False,
    )
    *each, last = axes[0]
    for place, (axis, (name, (config, rates_hz))) in enumerate(
        zip(each, arms.items(), strict=True)
    ):
        times_ms = (np.arange(rates_hz.shape[1]) + 0.5) * config.block_ms
        for trial in rates_hz:
            axis.plot(times_ms, trial[:, 0], "C0", lw=0.6, alpha=0.6)
            axis.plot(times_ms, trial[:, 1], "C3", lw=0.6, alpha=0.6)
        axis.axvspan(1000, 3000, color="0.93", zorder=0)
        axis.set(title=name, xlabel="ms", ylabel="" if place else "spikes a second")
    coherence = np.array([100 * config.coherence for config, _ in arms.values()])
    late = [_late(config, rates_hz) for config, rates_hz in arms.values()]
    first = np.array([np.mean(hz[:, 0] > hz[:, 1]) for hz in late])
    trials = np.array([len(hz) for hz in late])
    order = np.argsort(coherence)
    error = np.sqrt(first * (1 - first) / trials)
    last.errorbar(coherence[order], first[order], error[order], fmt="ko")
    if len(arms) > 2:
        with np.errstate(all="ignore"):
            (alpha, beta), _ = curve_fit(
                weibull, coherence[order], first[order], (10.0, 1.5), bounds=(0.1, 100)
            )
        line = np.linspace(0, coherence.max(), 200)
        label = f"Weibull, threshold {alpha:.1f} %, slope {beta:.1f}"
        last.plot(line, weibull(line, alpha, beta), "C0", label=label)
        last.legend(fontsize="small")
    last.set(xlabel="coherence, %", ylabel="trials that the first wins", ylim=(0, 1.05))
    caption = (
        "Rates of the two populations that choose (grey: stimulus), and how often the "
        "first is ahead in its last half second."
    )
    report.figure(figure, caption)


def weibull(coherence, alpha, beta):
    """Half at 0, all at last; 1 - 0.5 / e at alpha (Wang 2002)."""
    return 1 - 0.5 * np.exp(-((coherence / alpha) ** beta))


def _late(config, rates_hz):
    start, stop = (round(t / config.block_ms) for t in (2500, 3000))
    return rates_hz[:, start:stop].mean(1)
