"""Quadratic programs as layers: `python -m benchmarks.implicit_qp [--quick]`.

Batches forward, and forward with the gradients of all data; every gradient's error is
that against an exact one.
"""

from .diffeq_calls import command_line, Options, Part, ratio, repeated
from .harness import Contestant, Isolated, race
from .record import bar


BATCH = 128
DJX, QPTH, CVXPY = "djx", "qpth", "cvxpylayers"
NOTES = (
    f"{BATCH} random strictly convex programs with n unknowns, n inequalities and "
    "n / 5 equalities, float64. The loss is sum(sin(x)); the gradient is by all six "
    "data. Error: of the gradient by q, b and h, relative to its norm, the worst "
    "program's, against a direct solve with the active set that Clarabel finds. qpax e "
    "and i: its two backends. JAXopt: OSQP at 1e-6. All others as they come."
)


def programs_race(n: int, gradient: bool, options: Options):
    """One size, forward or with the gradient; its group and bars."""
    import jax
    import numpy as np

    jax.config.update("jax_enable_x64", True)
    from .implicit_problems import program_gradients, quadratic_programs
    from .peers import qp_jax, qp_torch

    programs = quadratic_programs(BATCH, n)
    exact = program_gradients(programs)

    def read(result):
        _, of_q, _, of_b, _, of_h = result
        found = np.concatenate([of_q, of_b, of_h], 1)
        error = np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)
        return {"error": float(np.max(error))}

    layers = {
        DJX: qp_jax.djx_layer,
        "qpax e": qp_jax.qpax_layer("e"),
        "qpax i": qp_jax.qpax_layer("i"),
    }
    if n == 50 and not options.quick:
        layers["JAXopt OSQP"] = qp_jax.osqp_layer
    makes = {
        name: qp_jax.program_layer(layer, programs, gradient, read)
        for name, layer in layers.items()
    }
    torch_layers = {QPTH: qp_torch.qpth_layer} if qp_torch.available(QPTH) else {}
    if n == 50 and not options.quick and qp_torch.available(CVXPY):
        torch_layers[CVXPY] = qp_torch.cvxpy_layer(programs)
    makes |= {
        name: qp_torch.program_layer(layer, programs, gradient, read)
        for name, layer in torch_layers.items()
    }
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    kind = "forward and backward" if gradient else "forward"
    group = {
        "title": f"n = {n}, {kind}",
        "notes": f"{NOTES} {options.notes}",
        "per": "call",
        "columns": ["first", "error"] if gradient else ["first"],
        "contestants": taken,
    }
    if not gradient:
        return [group], []
    what = f"quadratic programs, n = {n}, {kind}"
    bars = [bar(f"{what}: error of djx", taken[DJX]["turns"][0]["error"], 1e-6)]
    if QPTH in taken:
        bars.append(ratio(taken, DJX, QPTH, what, at_most=0.6))
    return [group], bars


def parts() -> dict[str, Part]:
    """Two sizes, forward and backward."""

    def part(n, gradient):
        return lambda options: programs_race(n, gradient, options)

    return {
        f"{kind}-{n}": part(n, kind == "gradient")
        for n in (50, 100)
        for kind in ("forward", "gradient")
    }


if __name__ == "__main__":
    command_line("implicit_qp", "Quadratic programs as layers", parts, ["gradient-50"])
