"""Solvers and synthesis on a GPU: `python -m benchmarks.pillars_gpu [--quick]`.

The same problems as on one core; the peers are those that run on JAX.
"""

import functools
from collections.abc import Callable
from typing import Any

from . import record
from .diffeq_calls import agreement, least, Options, raced, ratio
from .harness import say


DJX, DIFFRAX, NAIVE = "djx", "diffrax", "JAX, as defined"
ALONE = "Matrix products in full float32. A call waits for its result. "


def solver_race(batch: int, options: Options):
    """Training steps of a neural ODE, by djx's solver and diffrax's."""
    import diffrax

    from djx import diffeq

    from .peers import jax_ode

    solvers = {DJX: diffeq.diffeqsolve, DIFFRAX: diffrax.diffeqsolve}
    makes = {
        name: jax_ode.neural_ode(solve, batch, {}) for name, solve in solvers.items()
    }
    what = f"training step of a neural ODE, batch {batch}"
    notes = f"Tsit5, adaptive, 2-64-64-2, float32. {ALONE}"
    group, taken = raced(makes, options, what, notes, ["loss", "gradient", "accepted"])
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=1.0),
        agreement(taken, ("loss",), what, at_most=1e-3),
    ]
    return group, bars


def fixed_race(back: bool, options: Options):
    """100 steps of Tsit5, forward or backward."""
    import diffrax

    from djx import diffeq

    from .peers import jax_ode

    makes = {
        DJX: jax_ode.fixed(diffeq.diffeqsolve, back),
        DIFFRAX: jax_ode.fixed(diffrax.diffeqsolve, back),
    }
    what = f"100 fixed steps, {'gradient' if back else 'forward'}"
    notes = f"Tsit5, field 2-32-32-2, batch 1, float32. {ALONE}"
    group, taken = raced(makes, options, what, notes, ["loss"])
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=1.0),
        agreement(taken, ("loss",), what, at_most=1e-5),
    ]
    return group, bars


def harmonics_race(gradient: bool, options: Options):
    """60 harmonics of 16 sounds of 4 s, and the gradient of a linear loss."""
    import numpy as np

    from .dsp_problems import exact_harmonics, harmonic_controls
    from .peers import dsp_jax

    controls = harmonic_controls(60)
    exact = exact_harmonics(controls)

    def read(result):
        if gradient:
            return {"gradient": float(np.linalg.norm(result[1]))}
        return {"error": float(np.max(np.abs(result[:1] - exact)))}

    synths = {DJX: dsp_jax.djx_harmonics, NAIVE: dsp_jax.plain_harmonics}
    makes = {
        name: dsp_jax.harmonics_call(synth, controls, gradient, read)
        for name, synth in synths.items()
    }
    what = f"60 harmonics, {'gradient' if gradient else 'forward'}"
    notes = f"16 sounds of 4 s at 16 kHz, float32. {ALONE}"
    column = "gradient" if gradient else "error"
    group, taken = raced(makes, options, what, notes, [column])
    return group, [ratio(taken, least(taken, NAIVE), DJX, what, at_least=1.0)]


def call_race(kind: str, options: Options):
    """Filtered noise or the spectral loss, with the gradient; alone."""
    from .peers import dsp_jax

    what = {"noise": "filtered noise", "loss": "multi-scale spectral loss"}[kind]
    notes = f"16 sounds of 4 s at 16 kHz, float32, with the gradient. {ALONE}"
    makes = {DJX: getattr(dsp_jax, f"{kind}_call")}
    return raced(makes, options, what, notes, [])[0], []


RACES: list[Callable[[Options], tuple[dict[str, Any], list[dict[str, Any]]]]] = [
    functools.partial(fixed_race, False),
    functools.partial(fixed_race, True),
    functools.partial(solver_race, 64),
    functools.partial(solver_race, 4096),
    functools.partial(harmonics_race, False),
    functools.partial(harmonics_race, True),
    functools.partial(call_race, "noise"),
    functools.partial(call_race, "loss"),
]


def main() -> None:
    """The command line."""
    import sys

    import jax

    # With fewer digits (TF32, JAX's default here) the error that an adaptive solver
    # sees is that of the products: it takes 22 times the steps.
    jax.config.update("jax_default_matmul_precision", "highest")
    quick = "--quick" in sys.argv
    options = Options(quick, 2 if quick else 5, 0.2)
    environment = record.stamp()
    device = jax.devices()[0].device_kind
    groups: list[dict[str, Any]] = []
    bars: list[dict[str, Any]] = []
    whole = {
        "race": "pillars_gpu",
        "title": f"Solvers and synthesis on one {device}",
        "environment": environment | {"device": device},
        "bars": bars,
        "groups": groups,
    }
    for one in RACES:
        group, own = one(options)
        # Calls are on the GPU, not on one core.
        group["notes"] = group["notes"].replace(options.notes, "")
        groups.append(group)
        bars += own
        say(group["title"])
        if not quick:
            say(str(record.write(whole)))  # what there is, should time run out
    if quick:
        print(record.markdown(whole, "a trial, not kept"))


if __name__ == "__main__":
    main()
