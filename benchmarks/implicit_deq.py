"""An equilibrium layer: `python -m benchmarks.implicit_deq [--quick]`.

Forward, and forward with gradients; every gradient's error is that against Newton's
method and a direct solve in float64.
"""

from .diffeq_calls import command_line, least, Options, Part, ratio
from .implicit_calls import BACK, both_ways, layers_race


BATCH, WIDTH = 64, 128
TOLERANCE = {"float64": 1e-9, "float32": 1e-6}
LIMIT, ANDERSON, PICARD = "limit", "djx, anderson", "djx, picard"
OPTIMISTIX = ("optimistix, LU", "optimistix, BiCGStab")
TORCHDEQ = "torchdeq"
NOTES = (
    f"z = tanh(Wz + x), {BATCH} rows of width {WIDTH}. The loss is sum(sin(z)); the "
    "gradient is by W and x. Error: of that gradient, relative to its norm. Everyone "
    "stops at the tolerance named in the title. djx and optimistix: each row by "
    "itself, under vmap; JAXopt, torchdeq and the limit (plain iteration, forward and "
    "for the adjoint): the whole batch together."
)


def layer_race(dtype: str, gradient: bool, options: Options):
    """One precision, forward or with the gradient; its group and bars."""
    import jax
    import lineax as lx
    import numpy as np

    # With it, optimistix mixes precisions in the state of a float32 iteration.
    jax.config.update("jax_enable_x64", dtype == "float64")
    from .implicit_problems import equilibria, equilibrium_gradients
    from .peers import deq_jax, deq_torch

    given, tolerance = equilibria(BATCH, WIDTH, dtype), TOLERANCE[dtype]
    exact = np.concatenate([g.ravel() for g in equilibrium_gradients(given)])

    def read(result):
        found = np.concatenate([np.ravel(g) for g in result])
        return {"error": float(np.linalg.norm(found - exact) / np.linalg.norm(exact))}

    linear = [
        lx.AutoLinearSolver(well_posed=True),
        lx.BiCGStab(rtol=tolerance, atol=tolerance),
    ]
    layers = {
        LIMIT: deq_jax.limit_layer(tolerance),
        ANDERSON: deq_jax.djx_layer("anderson", tolerance),
        PICARD: deq_jax.djx_layer("picard", tolerance),
        "JAXopt": deq_jax.jaxopt_layer(tolerance),
    } | {
        name: deq_jax.optimistix_layer(solver, tolerance)
        for name, solver in zip(OPTIMISTIX, linear, strict=True)
    }
    if dtype == "float32":  # one row breaks down, and the batch with it
        del layers[OPTIMISTIX[1]]
    group, taken = layers_race(
        layers,
        {TORCHDEQ: deq_torch.torchdeq_layer(tolerance)},
        given,
        gradient,
        read,
        options,
        f"{dtype}, tolerance {tolerance:g}",
        NOTES,
    )
    if not gradient:
        return [group], []
    what = f"equilibrium layer, {dtype}, {BACK}"
    djx = least(taken, ANDERSON, PICARD)
    peer = least(taken, *[name for name in OPTIMISTIX if name in taken])
    bars = [
        ratio(taken, djx, peer, what, at_most=0.8),
        ratio(taken, djx, TORCHDEQ, what, at_most=0.3),
        ratio(taken, djx, LIMIT, what, at_most=1.5),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """Two precisions, forward and backward."""
    return both_ways(layer_race, tuple(TOLERANCE))


if __name__ == "__main__":
    command_line("implicit_deq", "Equilibrium layers", parts, ["gradient-float64"])
