"""The pictures of evidence accumulation."""

from typing import Any, NamedTuple

import numpy as np

from djx.run import Report, Results
from experiments._evidence_accumulation_task import GROUPS, Task


WINDOW = 10  # iterations over which learning curves are averaged


class Shown(NamedTuple):
    """Of one arm.

    Attributes:
        course: a trial, step by step: `spiked`, `excess_mv` and `logits`.
        excess: cues on the right less those on the left, of many trials.
        is_right: whether the network said right in them.
    """

    course: Any
    excess: np.ndarray
    is_right: np.ndarray


def draw(
    results: Results,
    report: Report,
    task: Task,
    inputs: np.ndarray,
    shown: dict[str, Shown],
) -> None:
    """Adds learning curves, a trial, and answers by evidence.

    Args:
        results: the finished run.
        report: where to.
        task: of all arms.
        inputs: spikes of the trial that is shown.
        shown: by arm.
    """
    report.figure(
        _curves(results),
        f"Errors in training (mean of {WINDOW} iterations; a line for each seed), the "
        "source's bound (grey), and norms of the gradient.",
    )
    report.figure(
        _trial(task, inputs, shown),
        "A new trial, first seed: spikes of the inputs and of the cells, by how much "
        "thresholds have risen (from 10 mV above rest), and the readout's chance of "
        "right. Grey: the recall.",
    )
    report.figure(
        _psychometric(task, shown),
        "How often the network says right, by the cues on the right less those on the "
        "left; bars are two standard errors. Grey: no error.",
    )


def _curves(results: Results) -> Any:
    import matplotlib.pyplot as plt

    figure, (above, below) = plt.subplots(
        2, 1, figsize=(7, 5), layout="constrained", sharex=True
    )
    for colour, (name, arm) in enumerate(results.arms.items()):
        for index, series in enumerate(arm.series.values()):
            style = {"color": f"C{colour}", "lw": 1, "alpha": 0.8}
            label = name if index == 0 else None
            step = np.asarray(series.train["step"])
            for axes, metric in ((above, "error"), (below, "gradient_norm")):
                values = np.asarray(series.train[metric])
                some = min(WINDOW, len(values))
                smooth = np.convolve(values, np.ones(some) / some, "valid")
                axes.plot(step[some - 1 :], smooth, label=label, **style)
    above.axhline(0.07, color="0.6", lw=0.8)
    above.set_ylabel("error")
    above.set_ylim(0, 0.65)
    above.legend(frameon=False, fontsize="small")
    below.set_yscale("log")
    below.set_ylabel("gradient norm")
    below.set_xlabel("iteration")
    return figure


def _trial(task: Task, inputs: np.ndarray, shown: dict[str, Shown]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        4,
        len(shown),
        figsize=(4.8 * len(shown), 8),
        layout="constrained",
        sharex=True,
        sharey="row",
        squeeze=False,
        height_ratios=[2, 3, 2, 1.2],
    )
    for column, (name, (course, _, _)) in zip(panels.T, shown.items(), strict=True):
        for axes in column:
            axes.axvspan(task.recall, task.steps, color="0.92", lw=0)
        for axes, spikes in ((column[0], inputs), (column[1], course.spiked)):
            step, number = np.nonzero(spikes)
            axes.plot(step, number, "k|", ms=1.5, mew=0.5)
        column[0].set_title(name, loc="left")
        adapts = np.any(np.asarray(course.excess_mv) > 0, axis=0)
        if adapts.any():
            column[2].plot(course.excess_mv[:, adapts], color="C0", lw=0.4)
        chance = 1 / (1 + np.exp(course.logits[:, 0] - course.logits[:, 1]))
        column[3].plot(chance, "C3", lw=0.8)
        column[3].axhline(0.5, color="0.6", lw=0.8)
        column[3].set_xlabel("ms")
    first = panels[:, 0]
    first[0].set_yticks((np.arange(len(GROUPS)) + 0.5) * task.group, GROUPS)
    first[1].set_ylabel("cell")
    first[2].set_ylabel("threshold excess, mV")
    first[3].set_ylabel("chance of right")
    first[3].set_ylim(-0.05, 1.05)
    return figure


def _psychometric(task: Task, shown: dict[str, Shown]) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(5, 3.4), layout="constrained")
    levels = np.arange(-task.cues, task.cues + 1, 2)
    axes.step(levels, levels > 0, where="mid", color="0.8")
    for name, (_, excess, is_right) in shown.items():
        there = [level for level in levels if np.any(excess == level)]
        answers = [is_right[excess == level] for level in there]
        share = np.asarray([np.mean(a) for a in answers])
        counts = np.asarray([len(a) for a in answers])
        spread = 2 * np.sqrt(share * (1 - share) / counts)
        axes.errorbar(there, share, spread, fmt="o-", ms=4, lw=1, label=name)
    axes.set_xticks(levels)
    axes.set_xlabel("cues on the right less those on the left")
    axes.set_ylabel("says right")
    axes.legend(frameon=False, fontsize="small")
    return figure
