import diffrax
import jax.numpy as jnp
from jaxtyping import Array, Int


def field_evaluations(
    solution: diffrax.Solution,
    solver: diffrax.AbstractERK,
    *,
    automatic_first_step: bool,
) -> Int[Array, ""]:
    """NFE: how often an explicit solve evaluated its vector field, rejections included.

    Args:
        solution: what `diffrax.diffeqsolve` returned.
        solver: the explicit Runge-Kutta method (not its accumulating wrapper).
        automatic_first_step: whether `dt0=None` chose the first step, which costs two
            evaluations.

    Returns:
        A whole number.
    """
    stages = len(solver.tableau.c) + 1
    steps = solution.stats["num_steps"]
    if solver.tableau.fsal:
        # A rejected attempt keeps the first stage too: only the very first pays it.
        count = (stages - 1) * steps + 1
    else:
        count = stages * steps
    return count + jnp.asarray(2 if automatic_first_step else 0, count.dtype)
