"""The pictures of spiking digits."""

from typing import Any, NamedTuple

import numpy as np

from djx.run import Report, Results
from experiments._spiking_digits_network import Code


WINDOW = 20  # iterations over which learning curves are averaged
TRACES = 4  # cells whose voltage is drawn, those that spike most


class Shown(NamedTuple):
    """Of one arm of spiking cells.

    Attributes:
        code: how the image is shown.
        image: that is shown.
        course: what happens then: `spiked`, `v_mv` and `trace`.
        drawn: delays at first, ms; None without any.
        delays: in the end, ms.
        hidden: weights of these edges.
    """

    code: Code
    image: np.ndarray
    course: Any
    drawn: np.ndarray | None
    delays: np.ndarray
    hidden: np.ndarray


def draw(results: Results, report: Report, shown: dict[str, Shown]) -> None:
    """Adds a table, learning curves, an image's course, and delays.

    Args:
        results: the finished run.
        report: where to.
        shown: by arm, those of spiking cells.
    """
    _table(results, report)
    report.figure(
        _curves(results),
        f"Cross entropy in training (mean of seeds and {WINDOW} iterations) and errors "
        "in the test (mean of seeds and their standard deviation).",
    )
    most = max(one.hidden.shape[1] for one in shown.values())
    large = {n: one for n, one in shown.items() if one.hidden.shape[1] == most}
    report.figure(
        _course(large),
        "A test image, first seed: spikes of its pixels, line by line from the top, "
        "spikes of the hidden cells, voltages of those that fire most (grey: the "
        "threshold), and the leaky sums of the ten classes.",
    )
    moved = {
        name: one
        for name, one in shown.items()
        if one.drawn is not None and np.any(one.drawn != one.delays)
    }
    if moved:
        report.figure(
            _delays(moved),
            "Delays before learning and after it, and by how much they moved; first "
            "seed.",
        )


def _table(results: Results, report: Report) -> None:
    rows = []
    for name, values in results.values.items():
        percent = 100 * values["accuracy"]
        spread = f"{percent.mean():.2f} ({percent.min():.2f} to {percent.max():.2f})"
        spikes = "-"
        if "spikes" in values:
            spikes = f"{values['spikes'].mean():.1f}"
        cells = results.arms[name].config.model.cells  # pyright: ignore
        milliseconds = float(1e3 * values["step_seconds"].mean())
        rows.append([name, cells, spread, spikes, milliseconds])
    head = ["arm", "cells", "accuracy, %", "spikes an image", "ms an iteration"]
    report.table(head, rows, "The test images; the range is over seeds.")


def _curves(results: Results) -> Any:
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 3.8), layout="constrained")
    for name, arm in results.arms.items():
        series = list(arm.series.values())
        step = np.asarray(series[0].train["step"])
        some = min(WINDOW, len(step))
        entropy = np.mean([one.train["loss"] for one in series], 0)
        smooth = np.convolve(entropy, np.ones(some) / some, "valid")
        left.semilogy(step[some - 1 :], smooth, lw=1)
        step = np.asarray(series[0].evaluated["step"])
        errors = 100 * (1 - np.asarray([s.evaluated["accuracy"] for s in series]))
        mean, spread = errors.mean(0), errors.std(0)
        right.errorbar(step, mean, spread, fmt="o-", ms=3, lw=1, label=name)
    left.set(xlabel="iteration", ylabel="cross entropy, training")
    right.set(xlabel="iteration", ylabel="errors in the test, %", yscale="log")
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    return figure


def _course(shown: dict[str, Shown]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        4,
        len(shown),
        figsize=(4 * len(shown), 9),
        layout="constrained",
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2, 3, 2, 2],
    )
    for column, (name, one) in zip(panels.T, shown.items(), strict=True):
        code, course = one.code, one.course
        lit = np.flatnonzero(one.image)
        times_ms = np.round(code.window_ms * (1 - one.image[lit]))
        column[0].plot(times_ms, lit, "k|", ms=3)
        column[0].set_title(name, loc="left")
        inset = column[0].inset_axes((0.76, 0.1, 0.22, 0.8))
        inset.imshow(one.image.reshape(8, 8), cmap="gray_r")
        inset.set_axis_off()
        step, cell = np.nonzero(course.spiked)
        column[1].plot(step, cell, "k|", ms=3)
        often = np.argsort(-course.spiked.sum(0), kind="stable")[:TRACES]
        column[2].plot(course.v_mv[:, often], lw=0.9)
        column[2].axhline(-50, color="0.6", lw=0.8)
        for number in range(course.trace.shape[1]):
            label = str(number)
            column[3].plot(course.trace[:, number], f"C{number}", lw=0.9, label=label)
        column[3].set_xlabel("ms")
    panels[3, -1].legend(frameon=False, fontsize="x-small", ncols=2)
    panels[0, 0].invert_yaxis()
    names = "pixel", "cell", "voltage, mV", "sum of a class"
    for axes, label in zip(panels[:, 0], names, strict=True):
        axes.set_ylabel(label)
    return figure


def _delays(shown: dict[str, Shown]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        len(shown),
        2,
        figsize=(8, 2.8 * len(shown)),
        layout="constrained",
        squeeze=False,
    )
    for (left, right), (name, one) in zip(panels, shown.items(), strict=True):
        assert one.drawn is not None
        edges = np.arange(0.5, one.code.latest_ms + 1)
        for values, label in ((one.drawn, "before"), (one.delays, "after")):
            left.hist(values.ravel(), edges, histtype="step", label=label)
        right.hist((one.delays - one.drawn).ravel(), 60, color="C1")
        right.set_yscale("log")
        left.set_title(name, loc="left")
        left.set_ylabel("edges")
    panels[0, 0].legend(frameon=False, fontsize="small")
    panels[-1, 0].set_xlabel("delay, ms")
    panels[-1, 1].set_xlabel("change, ms")
    return figure
