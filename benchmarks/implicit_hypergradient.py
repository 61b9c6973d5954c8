"""Fits as layers: `python -m benchmarks.implicit_hypergradient [--quick]`.

Gradients of the solutions of a ridge and a logistic regression by 300 penalties, and
of nonlinear least-squares fits by their basis; every gradient's error is that against
Newton's method and a direct solve in float64 numpy. Then memory against iterations.
"""

from collections.abc import Mapping
from typing import Any

from .diffeq_calls import command_line, least, Options, Part, per_call, ratio
from .harness import Contestant, Numbers, race
from .implicit_calls import BACK, layers_race
from .record import bar


LIMIT, DJX = "limit", "djx"
CORRECT = 1e-6  # relative error of a gradient up to which its maker may be raced
NOTES = (
    "The loss is sum(sin(w)). Error: of the gradient, relative to its norm. Limit: "
    "Newton's method by hand, whose last factor serves the derivative. "
)
FITS_NOTES = NOTES + (
    "800 rows of 300 features, float64; the gradient is by the logarithms of 300 "
    "penalties. Tight: stops at 1e-10, and solves directly backwards."
)
LAYER_NOTES = NOTES + (
    "2048 residuals a + 0.3 a^3 - y with a = Bw, 16 unknowns, eight right-hand sides y "
    "under vmap, float64; the gradient is by B and y."
)


def both(
    layers: Mapping[str, Any],
    given: Any,
    exact: Any,
    options: Options,
    title: str,
    notes: str,
    by: int | None,
) -> tuple[list[dict[str, Any]], Numbers, Numbers]:
    """Races the layers forward and with the gradient."""
    import numpy as np

    def read(result):
        found = np.concatenate([np.ravel(g) for g in result])
        return {"error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact))}

    forward, ahead = layers_race(
        layers, {}, given, False, read, options, title, notes, by
    )
    backward, whole = layers_race(
        layers, {}, given, True, read, options, title, notes, by
    )
    return [forward, backward], ahead, whole


def bars(what: str, ahead: Numbers, whole: Numbers, at_most: float, error: float):
    """The bars against the fastest peer that is right, and of djx alone."""
    errors = {name: one["turns"][0]["error"] for name, one in whole.items()}
    peers = [n for n in whole if n not in (LIMIT, DJX) and errors[n] <= CORRECT]
    peer = least(whole, *peers)
    found = [
        ratio(whole, DJX, peer, f"{what}, {BACK}", at_most=at_most),
        bar(f"{what}: error of djx", errors[DJX], error),
        ratio(whole, DJX, LIMIT, f"{what}, {BACK}", at_most=1.5),
    ]
    return found, per_call(whole[DJX]) / per_call(ahead[DJX]) - 1


def regression_race(name: str, options: Options):
    """Ridge or logistic regression; groups and bars."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from .implicit_fits import FITS, penalty_gradient, regression
    from .peers import fit_jax

    objective = getattr(fit_jax, name)
    layers = {
        LIMIT: fit_jax.limit_layer(FITS[name]),
        DJX: fit_jax.djx_minimum(objective),
        "optimistix LBFGS": fit_jax.optimistix_minimum(objective, "LBFGS"),
        "optimistix Newton": fit_jax.optimistix_minimum(objective, "Newton"),
        "JAXopt LBFGS": fit_jax.jaxopt_minimum(objective, tight=False),
        "JAXopt LBFGS, tight": fit_jax.jaxopt_minimum(objective, tight=True),
    }
    groups, ahead, whole = both(
        layers,
        regression(name),
        penalty_gradient(name),
        options,
        f"{name} regression",
        FITS_NOTES,
        by=1,
    )
    found, backward = bars(f"{name} regression", ahead, whole, 1.0, 1e-9)
    found.append(bar(f"{name} regression: djx, backward / forward", backward, 0.1))
    return groups, found


def constraint_race(options: Options):
    """The nonlinear least-squares layer; groups and bars."""
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    from .implicit_fits import constraint_gradients, constraints, FITS, RIDGE
    from .peers import fit_jax

    basis, targets = constraints()
    by_hand = fit_jax.limit_layer(FITS["least squares"])
    log_d = np.full(basis.shape[1], np.log(RIDGE))
    layers = {
        LIMIT: lambda B, y: by_hand(log_d, B, y),
        DJX: fit_jax.djx_least_squares,
        "optimistix LM": fit_jax.optimistix_least_squares,
        "JAXopt LM": fit_jax.jaxopt_least_squares(direct=False),
        "JAXopt LM, LU backwards": fit_jax.jaxopt_least_squares(direct=True),
    }
    exact = np.concatenate([g.ravel() for g in constraint_gradients()])
    groups, ahead, whole = both(
        {name: jax.vmap(layer, (None, 0)) for name, layer in layers.items()},
        (basis, targets),
        exact,
        options,
        "nonlinear least squares",
        LAYER_NOTES,
        by=None,
    )
    what = "nonlinear least-squares layer"
    found, _ = bars(what, ahead, whole, 0.5, 1e-6)
    return groups, found


COUNTS = (10, 100, 1000)


def memory_race(options: Options):
    """Memory of a gradient against how many inner iterations there may be."""
    import jax

    from .implicit_fits import regression
    from .peers import memory_jax

    given = [part.astype("float32") for part in regression("ridge")]

    def contestant(name, layer):
        def setup():
            told = {}
            for count in COUNTS:

                def loss(log_d, X, y, count=count):
                    return (layer(count)(log_d, X, y) ** 2).sum()

                compiled = jax.jit(jax.grad(loss)).lower(*given).compile()
                known = compiled.memory_analysis()
                assert known is not None
                told[f"{count} steps"] = known.temp_size_in_bytes / 2**20
            return lambda: told

        return Contestant(name, setup)

    taken = race([contestant(*one) for one in memory_jax.LAYERS.items()], 1)
    columns = [f"{count} steps" for count in COUNTS]
    group = {
        "title": "Memory of a gradient",
        "notes": "Ridge regression as above, float32, by an inner iteration of at most "
        "that many steps. MiB of temporary memory that the compiled gradient asks for "
        "besides its arguments and results; nothing is timed.",
        "columns": columns,
        "contestants": taken,
    }
    told = {name: one["turns"][0] for name, one in taken.items()}
    bars = [
        bar(
            f"memory of a gradient, {COUNTS[-1]} / {COUNTS[0]} inner steps: {name}",
            told[name][columns[-1]] / told[name][columns[0]],
            1.01,
        )
        for name in told
        if name.startswith(DJX) and "unrolled" not in name
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """Two regressions, a layer, and memory."""
    return {
        "ridge": lambda options: regression_race("ridge", options),
        "logistic": lambda options: regression_race("logistic", options),
        "layer": constraint_race,
        "memory": memory_race,
    }


if __name__ == "__main__":
    command_line("implicit_hypergradient", "Fits as layers", parts, ["ridge"])
