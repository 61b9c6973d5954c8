"""Fixed steps, and first calls: `python -m benchmarks.diffeq_fixed [--quick]`.

100 steps of Tsit5 forward and backward beside the network evaluations alone, and how
long JAX takes to trace and compile a solve.
"""

import gc
import time
from collections.abc import Callable

from .diffeq_calls import (
    agreement,
    command_line,
    least,
    Options,
    Part,
    ratio,
    repeated,
)
from .harness import Contestant, Isolated, Numbers, race


STORED, RECOMPUTED = "limit, stored", "limit, recomputed"
DJX, DIFFRAX = "djx", "diffrax"
FORWARD, GRADIENT = "forward", "gradient"
AT_LEAST = {FORWARD: 3.0, GRADIENT: 4.0}
NOTES = (
    "100 steps of Tsit5 with ConstantStepSize, field 2-32-32-2 with tanh, batch 1, "
    "float32. The limit: 600 evaluations of the network in a scan, for the gradient "
    "with residuals stored or with every six computed again; the bar is against the "
    "quicker."
)
FIRST_NOTES = (
    "Every turn starts from cleared caches of JAX and equinox, without the persistent "
    "cache, on one core; imports and what JAX starts once have happened. Trace: also "
    "lowering. Run: the compiled program's first run."
)


def calls_race(kind: str, options: Options):
    """The forward solve or its gradient; its group and bars."""
    import diffrax

    from djx import diffeq

    from .peers import jax_ode

    back = kind == GRADIENT
    limits = {STORED: jax_ode.fixed_limit(back, False)}
    if back:
        limits[RECOMPUTED] = jax_ode.fixed_limit(back, True)
    makes = limits | {
        DJX: jax_ode.fixed(diffeq.diffeqsolve, back),
        DIFFRAX: jax_ode.fixed(diffrax.diffeqsolve, back),
    }
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    numbers = ("loss", "gradient") if back else ("loss",)
    group = {
        "title": f"Fixed steps, {kind}",
        "notes": f"{NOTES} {options.notes}",
        "per": "call",
        "columns": ["first", "steps", *numbers],
        "contestants": taken,
    }
    what = f"fixed steps, {kind}"
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=AT_LEAST[kind]),
        ratio(taken, DJX, least(taken, *limits), what, at_most=1.5),
        agreement(taken, numbers, what, at_most=1e-5),
    ]
    return [group], bars


def first_call(name: str, build: Callable) -> Contestant:
    """A turn traces and compiles what `build` makes, as if for the first time."""

    def turn() -> Numbers:
        import equinox as eqx
        import jax

        eqx.clear_caches()
        gc.collect()
        call, argument = build()
        began = time.perf_counter()
        lowered = call.lower(argument)
        traced = time.perf_counter()
        compiled = lowered.compile()
        ready = time.perf_counter()
        jax.block_until_ready(compiled(argument))
        end = time.perf_counter()
        spent = {"trace": traced - began, "compile": ready - traced}
        return spent | {"run": end - ready, "wall": end - began}

    return Contestant(name, lambda: turn)


def first_race(what: str, build: Callable, options: Options):
    """First calls of the gradient that `build(diffeqsolve)` makes."""
    import diffrax
    import jax

    from djx import diffeq

    jax.config.update("jax_enable_compilation_cache", False)
    contestants: list[Contestant | Isolated] = [
        first_call(DJX, lambda: build(diffeq.diffeqsolve)),
        first_call(DIFFRAX, lambda: build(diffrax.diffeqsolve)),
    ]
    taken = race(contestants, 1 if options.quick else min(options.turns, 3))
    group = {
        "title": f"First call, {what}",
        "notes": FIRST_NOTES,
        "columns": ["trace", "compile", "run"],
        "contestants": taken,
    }
    return [group], [ratio(taken, DJX, DIFFRAX, f"first call, {what}", at_most=0.6)]


def first_fixed(options: Options):
    """First calls of the gradient of 100 fixed steps."""
    from .peers import jax_ode

    what = "gradient of fixed steps"
    return first_race(what, lambda f: jax_ode.fixed_steps(f, True), options)


def first_adaptive(options: Options):
    """First calls of the neural ODE's training step at batch 64."""
    from .peers import jax_ode

    what = "training step of the neural ODE, batch 64"
    return first_race(what, lambda f: jax_ode.training_step(f, 64), options)


def parts() -> dict[str, Part]:
    """Forward, backward, and the two first calls."""
    return {
        FORWARD: lambda options: calls_race(FORWARD, options),
        GRADIENT: lambda options: calls_race(GRADIENT, options),
        "first-fixed": first_fixed,
        "first-adaptive": first_adaptive,
    }


if __name__ == "__main__":
    command_line("diffeq_fixed", "Fixed steps, and first calls", parts, list(parts()))
