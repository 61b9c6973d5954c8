"""Training a neural ODE: `python -m benchmarks.diffeq_neural_ode [--quick]`.

One step's value and gradient, for djx, diffrax, torch's solvers, and the network
evaluations alone.
"""

from .diffeq_calls import (
    agreement,
    command_line,
    least,
    Options,
    Part,
    ratio,
    repeated,
)
from .harness import Contestant, Isolated, race


AT_LEAST = {1: 2.5, 64: 1.3, 512: 1.0}
STORED, RECOMPUTED = "limit, stored", "limit, recomputed"
DJX, DIFFRAX = "djx", "diffrax"
COLUMNS = ["first", "loss", "gradient", "accepted", "rejected", "evaluations"]
NOTES = (
    "Field 2-64-64-2 with tanh, t in [0, 8], 20 save times, rtol = atol = 1e-6, "
    "float32, dt0=None. The batch is one system, except for torchode, where each "
    "sample has steps of its own (accepted and rejected are means). djx and diffrax: "
    "Tsit5 and all defaults. The limit: six network evaluations per step that djx "
    "took, in a scan, those of accepted steps differentiated, with residuals stored or "
    "with each step computed again; the bar is against the quicker. Evaluations: of "
    "the forward pass."
)


def batch_race(batch: int, options: Options):
    """The training step at one batch size; its group and bars."""
    import diffrax

    from djx import diffeq

    from .peers import jax_ode, torch_ode

    counts: dict[str, int] = {}
    makes = {
        DJX: jax_ode.neural_ode(diffeq.diffeqsolve, batch, counts),
        STORED: jax_ode.neural_ode_limit(batch, counts, False),
        RECOMPUTED: jax_ode.neural_ode_limit(batch, counts, True),
        DIFFRAX: jax_ode.neural_ode(diffrax.diffeqsolve, batch, {}),
        "torchdiffeq": torch_ode.neural_ode_torchdiffeq(batch),
    }
    if batch == 64:
        makes["torchode"] = torch_ode.neural_ode_torchode(batch)
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    taken = race(contestants, options.turns)
    what = f"batch {batch}"
    group = {
        "title": f"Batch {batch}",
        "notes": f"{NOTES} {options.notes}",
        "per": "call",
        "columns": COLUMNS,
        "contestants": taken,
    }
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=AT_LEAST[batch]),
        ratio(taken, DJX, least(taken, STORED, RECOMPUTED), what, at_most=1.5),
        agreement(taken, ("loss", "gradient"), what, at_most=1e-4),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """One part per batch size."""
    return {
        f"b{batch}": lambda options, batch=batch: batch_race(batch, options)
        for batch in AT_LEAST
    }


if __name__ == "__main__":
    command_line("diffeq_neural_ode", "Training a neural ODE", parts, ["b1", "b64"])
