import diffrax
from jaxtyping import Array, Int


def field_evaluations(
    solution: diffrax.Solution, solver: diffrax.AbstractERK
) -> Int[Array, ""]:
    """NFE: how often an explicit solve evaluated its vector field, rejections included.

    With `dt0=None` diffrax 0.7 starts at 0.01 and evaluates nothing to choose that
    step (its heuristic does not recognise the wrapped term); the tests count calls, so
    a release that changes this shows.

    Args:
        solution: what `diffrax.diffeqsolve` returned.
        solver: the explicit Runge-Kutta method (not its accumulating wrapper).

    Returns:
        A whole number.

    Raises:
        ValueError: where the method is a pair of tableaus (implicit-explicit).
    """
    tableau = solver.tableau
    if not isinstance(tableau, diffrax.ButcherTableau):
        raise ValueError(f"{type(solver).__name__} is not a single explicit method")
    stages = len(tableau.c) + 1
    steps = solution.stats["num_steps"]
    # First-same-as-last: a step, rejected or not, finds its first stage done, and only
    # the very first one has to evaluate it.
    return (stages - 1) * steps + 1 if tableau.fsal else stages * steps
