"""The pictures of the dictionary experiment."""

import functools as ft
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from djx.run import Report, Results


METHODS = "task_driven", "unsupervised"
MEASURED = ["radius", "texture", "perimeter", "area", "smoothness", "compactness"]
MEASURED += ["concavity", "concave points", "symmetry", "fractal dimension"]


def draw(results: Results, report: Report, first: Callable[[str], Any]) -> None:
    """Adds accuracies, atoms, sparsity and a table.

    Args:
        results: the finished run.
        report: where to.
        first: arm to the first seed's atoms, weights, codes and labels.
    """
    arms = [arm for arm in map(ft.partial(_typical, results), METHODS) if arm]
    with jax.enable_x64(results.spec.common.train.precision == "float64"):
        found = {arm: jax.tree.map(np.asarray, first(arm)) for arm in arms}
    report.figure(
        _accuracies(results),
        "Held-out accuracy: a point for every split, the mean as a bar; lines join the "
        "points of one split.",
    )
    if not found:
        return
    report.figure(
        _trade(results),
        "Accuracy, mean over splits and its standard error, against how many atoms a "
        "code has; dashed: classifiers without codes.",
    )
    report.figure(
        _atoms(found),
        "Atoms of the first split, those that speak most for malignant first, and the "
        "classifier's weight of each (times the code's deviation). Features: ten "
        "measures of cell nuclei; mean, standard error, worst of each.",
    )
    report.figure(
        _sparsity(found),
        "Codes of the first split: how often each atom is used, by class.",
    )
    names = ["accuracy", "refit_accuracy", "auc", "cross_entropy"]
    names += ["nonzeros", "reconstruction"]
    rows = [
        [arm, *(float(np.mean(values.get(name, np.nan))) for name in names)]
        for arm, values in results.values.items()
    ]
    report.table(
        ["arm", *names],
        rows,
        "Held-out cases, mean over splits. refit_accuracy: the classifier replaced by "
        "the exact minimum of its loss on the training part.",
    )


def _method(results: Results, arm: str) -> str:
    return getattr(results.arms[arm].config, "method", "")


def _typical(results: Results, method: str) -> str | None:
    """Of a method's arms the one whose codes are about as sparse as most."""
    of_method = [arm for arm in results.arms if _method(results, arm) == method]
    of_method.sort(key=lambda arm: float(np.mean(results.values[arm]["nonzeros"])))
    return of_method[(len(of_method) - 1) // 2] if of_method else None


def _accuracies(results: Results) -> Any:
    import matplotlib.pyplot as plt

    values = {arm: 100 * v["accuracy"] for arm, v in results.values.items()}
    wide = max(6.4, 0.9 * len(values))
    figure, axes = plt.subplots(figsize=(wide, 4), layout="constrained")
    axes.plot(np.stack(list(values.values())), color="0.88", lw=0.8, zorder=1)
    for place, accuracy in enumerate(values.values()):
        axes.plot(np.full(len(accuracy), place), accuracy, "o", ms=4, alpha=0.7)
        axes.hlines(accuracy.mean(), place - 0.25, place + 0.25, color="k", lw=2)
    labels = [f"{arm} {accuracy.mean():.2f}" for arm, accuracy in values.items()]
    axes.set_xticks(range(len(values)), labels, rotation=25, ha="right")
    axes.set_ylabel("test accuracy (%)")
    return figure


def _trade(results: Results) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.8), layout="constrained")
    values = results.values
    for place, method in enumerate(METHODS):
        arms = [arm for arm in values if _method(results, arm) == method]
        if not arms:
            continue
        arms.sort(key=lambda arm: float(np.mean(values[arm]["nonzeros"])))
        used = [np.mean(values[arm]["nonzeros"]) for arm in arms]
        accuracy = np.array([100 * values[arm]["accuracy"] for arm in arms])
        error = accuracy.std(1) / np.sqrt(max(accuracy.shape[1] - 1, 1))
        axes.errorbar(
            used,
            accuracy.mean(1),
            error,
            fmt="o-",
            capsize=3,
            color=f"C{place}",
            label=method,
        )
    others = [arm for arm in values if _method(results, arm) not in METHODS]
    for place, arm in enumerate(others):
        mean = 100 * float(np.mean(values[arm]["accuracy"]))
        axes.axhline(mean, color=f"C{place + 2}", ls="--", lw=1, label=arm)
    axes.set_xlabel("atoms in a code")
    axes.set_ylabel("test accuracy (%)")
    axes.legend(frameon=False, fontsize="small")
    return figure


def _ordered(weights, codes):
    """Atoms by influence, each with the sign that it is mostly used with."""
    sign = np.where(codes.sum(0) < 0, -1, 1)
    influence = sign * weights * codes.std(0)
    return np.argsort(influence), influence, sign


def _atoms(found: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        len(found),
        2,
        figsize=(9.5, 3.1 * len(found) + 1),
        layout="constrained",
        squeeze=False,
        sharex="col",
        width_ratios=[6, 1],
    )
    for (left, right), (arm, (atoms, weights, codes, _)) in zip(
        panels, found.items(), strict=True
    ):
        # An atom and its code may both change sign.
        order, influence, sign = _ordered(weights, codes)
        image = left.imshow(
            (sign[:, None] * atoms)[order], cmap="RdBu_r", vmin=-0.6, vmax=0.6
        )
        left.set_aspect("auto")
        left.set_yticks([])
        left.set_title(f"{arm}: atoms", loc="left")
        right.barh(range(len(order)), influence[order], color="0.4")
        right.set_ylim(len(order) - 0.5, -0.5)
        right.set_yticks([])
        right.axvline(0, color="0.7", lw=0.8)
        right.set_title("weight", loc="left")
        for edge in (9.5, 19.5):
            left.axvline(edge, color="k", lw=0.8)
        left.set_xticks(range(30), 3 * MEASURED, rotation=90, fontsize=7)
        left.tick_params(labelbottom=True)
        figure.colorbar(image, ax=right, label="entry")
    return figure


def _sparsity(found: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1,
        len(found),
        figsize=(4.4 * len(found), 3.3),
        layout="constrained",
        squeeze=False,
        sharey=True,
    )
    for axes, (arm, (_, weights, codes, labels)) in zip(
        panels[0], found.items(), strict=True
    ):
        order, _, _ = _ordered(weights, codes)
        for shift, label, name in ((-0.2, 0, "malignant"), (0.2, 1, "benign")):
            used = np.mean(codes[labels == label] != 0, 0)[order]
            axes.bar(np.arange(len(order)) + shift, used, 0.4, label=name)
        mean = np.mean(np.sum(codes != 0, 1))
        axes.set_title(f"{arm}: {mean:.1f} of {len(order)} atoms a case", loc="left")
        axes.set_xlabel("atom")
    panels[0, 0].set_ylabel("fraction of cases")
    panels[0, 0].legend(frameon=False, fontsize="small")
    return figure
