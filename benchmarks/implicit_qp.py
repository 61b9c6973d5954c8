"""Quadratic programs as layers: `python -m benchmarks.implicit_qp [--quick]`.

Batches forward, and forward with the gradients of all data; every gradient's error is
that against an exact one.
"""

from .diffeq_calls import command_line, Options, Part, ratio
from .implicit_calls import BACK, both_ways, layers_race
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

    of_jax = {
        DJX: qp_jax.djx_layer,
        "qpax e": qp_jax.qpax_layer("e"),
        "qpax i": qp_jax.qpax_layer("i"),
    }
    of_torch = {QPTH: qp_torch.qpth_layer} if qp_torch.available(QPTH) else {}
    if n == 50 and not options.quick:
        of_jax["JAXopt OSQP"] = qp_jax.osqp_layer
        if qp_torch.available(CVXPY):
            of_torch[CVXPY] = qp_torch.cvxpy_layer(programs)
    group, taken = layers_race(
        {name: jax.vmap(layer) for name, layer in of_jax.items()},
        of_torch,
        programs,
        gradient,
        read,
        options,
        f"n = {n}",
        NOTES,
    )
    if not gradient:
        return [group], []
    what = f"quadratic programs, n = {n}, {BACK}"
    bars = [bar(f"{what}: error of djx", taken[DJX]["turns"][0]["error"], 1e-6)]
    if QPTH in taken:
        bars.append(ratio(taken, DJX, QPTH, what, at_most=0.6))
    return [group], bars


def parts() -> dict[str, Part]:
    """Two sizes, forward and backward."""
    return both_ways(programs_race, (50, 100))


if __name__ == "__main__":
    command_line("implicit_qp", "Quadratic programs as layers", parts, ["gradient-50"])
