"""The pictures of the packing experiment."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from djx.run import Report, Results


LARGE, SMALL, LOOSE = "#e8c9a0", "#9fbfdf", "#eeeeee"


def draw(results: Results, report: Report, packed: Callable[[str, int], Any]) -> None:
    """Adds the packing with its sensitivity, errors by arm, and unrolled L1 norms.

    Args:
        results: the finished run.
        report: where to.
        packed: arm and lane to positions, sensitivities, which spheres are held, the
            system and the small diameter.
    """
    arms = list(results.arms)
    unrolled = [arm for arm in arms if _unrolled(results, arm)]
    shown = [arm for arm in arms if arm not in unrolled][:1] + unrolled[:1]
    lane = _upper_quartile(results.values[shown[-1]]["error"])
    with jax.enable_x64(True):
        found = {arm: packed(arm, lane) for arm in shown}
    report.figure(
        _packings(found),
        "A packing: large spheres sand, small ones blue, rattlers grey, lines between "
        "those that touch. Arrows: where a sphere goes as the small ones grow, the "
        "common shift taken out, scaled to the longest. It is the packing that is at "
        f"the upper quartile of the errors of {shown[-1]}.",
    )
    report.figure(
        _errors(results),
        "Relative error of the sensitivity against differences of packings settled "
        "again, one point per packing, without translations and rattlers; crossed out "
        "where the receipt says that the linear solve failed. Its estimate, residual "
        "times condition, is an upper bound, its threshold 1.5e-8.",
    )
    if unrolled:
        report.figure(
            _norms(results, unrolled[-1]),
            "Through FIRE: forces, and the L1 norm of the unrolled sensitivity by that "
            "of the true one (held spheres only), a line per packing.",
        )
    names = ["error", "failed", "residual", "l1", "true_l1", "gradient_norm"]
    names += ["zero_modes", "rattlers", "nearest_switch", "difference_step", "kinks"]
    rows = [
        [arm, *(float(np.median(values[name])) for name in names)]
        for arm, values in results.values.items()
    ]
    report.table(["arm", *names], rows, "Medians over packings.")


def _unrolled(results: Results, arm: str) -> bool:
    return getattr(results.arms[arm].config, "method", "") == "unrolled"


def _upper_quartile(error: np.ndarray) -> int:
    order = np.argsort(error)
    return int(order[int(np.ceil(0.75 * (len(order) - 1)))])


def _packings(found: dict[str, Any]) -> Any:
    import matplotlib.pyplot as plt
    from matplotlib.collections import EllipseCollection, LineCollection

    figure, panels = plt.subplots(
        1,
        len(found),
        figsize=(5.6 * len(found), 5.9),
        layout="constrained",
        squeeze=False,
    )
    for axes, (arm, (x, tangent, held, system, small)) in zip(
        panels[0], found.items(), strict=True
    ):
        side, count = system.side, system.count
        x, arrows = np.mod(np.asarray(x), side), np.asarray(tangent)
        d = np.where(np.arange(count) < count - count // 2, 1.0, small)
        # Spheres that reach over an edge are drawn at the other one too.
        shift = side * np.array([[i, j] for i in (-1, 0, 1) for j in (-1, 0, 1)])
        images = (x[None] + shift[:, None]).reshape(-1, 2)
        wide = np.tile(d, 9)
        near = np.all((images > -wide[:, None]) & (images < side + wide[:, None]), 1)
        colours = np.where(d == small, SMALL, LARGE)
        colours = np.tile(np.where(np.asarray(held), colours, LOOSE), 9)
        discs = EllipseCollection(
            wide[near],
            wide[near],
            np.zeros(near.sum()),
            units="xy",
            offsets=images[near],
            offset_transform=axes.transData,
            facecolors=colours[near],
            edgecolors="white",
            linewidths=0.6,
        )
        axes.add_collection(discs)
        offset = images[None] - x[:, None]
        distance = np.linalg.norm(offset, axis=2)
        touching = (distance > 1e-9) & (distance < (d[:, None] + wide[None]) / 2)
        lines = [(x[i], images[j]) for i, j in zip(*np.nonzero(touching), strict=True)]
        axes.add_collection(LineCollection(lines, colors="0.55", linewidths=0.5))
        longest = np.linalg.norm(arrows, axis=1).max()
        axes.quiver(
            *x.T,
            *(arrows / longest).T,
            angles="xy",
            scale_units="xy",
            scale=0.6,
            width=0.004,
            color="#7a1020",
            zorder=3,
        )
        axes.set(xlim=(0, side), ylim=(0, side), xticks=[], yticks=[], aspect="equal")
        axes.set_title(f"{arm}: longest arrow {longest:.3g} per diameter", loc="left")
    return figure


def _errors(results: Results) -> Any:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    for place, values in enumerate(results.values.values()):
        error, failed = values["error"], values["failed"] > 0
        across = place + 0.5 * (np.arange(len(error)) / max(len(error) - 1, 1) - 0.5)
        axes.semilogy(across, error, "o", ms=4, color=f"C{place}")
        axes.semilogy(across[failed], error[failed], "kx", ms=7)
        lost = int(np.sum(~np.isfinite(error)))
        if lost:
            words = f"no number\nfor {lost} of {len(error)}"
            axes.annotate(
                words,
                (place, 0.97),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize="small",
            )
    axes.set_xticks(range(len(results.values)), list(results.values))
    axes.set_ylabel("relative error")
    axes.axhline(1, color="0.7", lw=0.8)
    return figure


def _norms(results: Results, arm: str) -> Any:
    import matplotlib.pyplot as plt

    config: Any = results.arms[arm].config
    figure, (above, below) = plt.subplots(
        2, 1, figsize=(6.4, 5.2), layout="constrained", sharex=True
    )
    true = results.values[arm]["true_l1"]
    for index, series in enumerate(results.arms[arm].series.values()):
        steps = config.relaxation.block * series.train["step"]
        above.semilogy(steps, series.train["force"], lw=1)
        below.semilogy(steps, series.train["l1"] / true[index], lw=1)
    below.axhline(1, color="0.3", lw=0.8, ls=":")
    above.set_ylabel("norm of the forces")
    below.set_ylabel("L1 norm, unrolled by true")
    below.set_xlabel("FIRE steps")
    return figure
