"""The pictures and sounds of the pitch searches."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from djx.run import Report


def draw(
    report: Report,
    models: Mapping[str, Any],
    render: Callable[[Any], Any],
    losses: Mapping[str, Callable[[Any, Any], Any]],
    bounds: tuple[float, float],
    rate_hz: int,
) -> None:
    """Adds where searches ended, what the losses look like, and what is heard.

    Args:
        report: where to.
        models: the first seed's, by arm.
        render: frequencies in radians a sample, to sounds.
        losses: by name, of sounds and targets.
        bounds: of frequencies, as parts of half the sample rate.
        rate_hz: of the sounds.
    """
    import matplotlib.pyplot as plt

    count = len(models)
    figure, panels = plt.subplots(
        1, count, figsize=(3.4 * count, 3.3), layout="constrained", squeeze=False
    )
    khz = rate_hz / (2000 * np.pi)
    for panel, (name, model) in zip(panels[0], models.items(), strict=True):
        target, found = (khz * np.asarray(x) for x in (model.target, model.found))
        panel.plot(target, target, color="0.7", linewidth=1, zorder=0)
        panel.scatter(target, found, s=9)
        panel.set(title=name, xlabel="target (kHz)", ylabel="found (kHz)")
    report.figure(figure, "Where the searches ended; on the line they are right.")

    omega = jnp.pi * jnp.linspace(*bounds, 600)
    middle = omega[len(omega) // 3]
    heard = render(jnp.stack([middle]))[0]

    @jax.jit
    def landscape(omega):
        candidates = render(omega)
        targets = jnp.broadcast_to(heard, candidates.shape)
        return {name: loss(candidates, targets) for name, loss in losses.items()}

    figure, axes = plt.subplots(figsize=(6.4, 3.3), layout="constrained")
    for name, values in landscape(omega).items():
        axes.plot(khz * np.asarray(omega), values / jnp.max(values), label=name)
    axes.axvline(khz * float(middle), color="0.7", linewidth=1, zorder=0)
    axes.set(xlabel="frequency of the sound (kHz)", ylabel="loss / its largest value")
    axes.legend(frameon=False, fontsize="small")
    report.figure(figure, "Losses against frequency, for one target (grey line).")

    for name, model in models.items():
        pair = [render(jnp.stack([x[0]]))[0] for x in (model.target, model.found)]
        loud = [0.5 * np.asarray(p) / max(np.max(np.abs(p)), 1e-9) for p in pair]
        between = np.zeros(rate_hz // 10)
        sound = np.concatenate([np.tile(loud[0], 8), between, np.tile(loud[1], 8)])
        report.audio(sound, rate_hz, f"{name}: the first target, then what was found.")
