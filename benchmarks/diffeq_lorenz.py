"""A thousand Lorenz solves: `python -m benchmarks.diffeq_lorenz [--quick]`.

Each sample takes steps of its own, in JAX by `jax.vmap` of a single solve.
"""

import shutil

from .diffeq_calls import command_line, Options, Part, ratio, repeated
from .harness import Contestant, Isolated, race
from .record import bar


COUNT, LOOPED = 1000, 20
DJX, DIFFRAX = "djx, vmap", "diffrax, vmap"
TORCHODE, COMPILED = "torchode", "torchode, torch.compile"
NOTES = (
    f"{COUNT} starts, t in [0, 5], rtol = atol = 1e-6, float64, the end alone is kept. "
    "djx, diffrax and torchode: Tsit5, each sample with its own steps. "
    "torchdiffeq: dopri5, all samples one system with shared steps. SciPy: RK45 in a "
    f"loop over {LOOPED} of the samples, its time multiplied by {COUNT // LOOPED}. "
    "Error: the largest of all samples and coordinates against DOP853 at 1e-13. Steps: "
    "mean and most of the samples, rejected ones included. The bar is against torchode "
    "as it comes; torch.compile is no part of it, and needs a C++ compiler."
)


def lorenz_race(options: Options):
    """Everyone's thousand solves; the group and its bars."""
    import diffrax
    import jax

    jax.config.update("jax_enable_x64", True)
    from djx import diffeq

    from .peers import jax_lorenz, scipy_lorenz, torch_ode

    read = scipy_lorenz.reader(COUNT)
    makes = {
        DJX: jax_lorenz.lorenz(diffeq.diffeqsolve, COUNT, read),
        DIFFRAX: jax_lorenz.lorenz(diffrax.diffeqsolve, COUNT, read),
        TORCHODE: torch_ode.lorenz_torchode(COUNT, False, read),
        "torchdiffeq, one system": torch_ode.lorenz_torchdiffeq(COUNT, read),
    }
    if not options.quick and shutil.which("c++"):  # it takes more than a minute
        makes[COMPILED] = torch_ode.lorenz_torchode(COUNT, True, read)
    contestants: list[Contestant | Isolated] = [
        repeated(name, make, options) for name, make in makes.items()
    ]
    loop = scipy_lorenz.loop(LOOPED, read)
    scipy = repeated("SciPy, loop", loop, options, COUNT // LOOPED)
    taken = race([*contestants, scipy], options.turns)
    group = {
        "title": "Lorenz, every sample with its own steps",
        "notes": f"{NOTES} {options.notes}",
        "per": "call",
        "columns": ["first", "error", "mean steps", "most steps"],
        "contestants": taken,
    }
    errors = {name: one["turns"][0]["error"] for name, one in taken.items()}
    what = "1000 Lorenz solves"
    bars = [
        ratio(taken, DIFFRAX, DJX, what, at_least=4.0),
        ratio(taken, TORCHODE, DJX, what, at_least=25.0),
        bar(f"{what}: error, djx / diffrax", errors[DJX] / errors[DIFFRAX], 1.5),
    ]
    return [group], bars


def parts() -> dict[str, Part]:
    """All of it is one part."""
    return {"lorenz": lorenz_race}


if __name__ == "__main__":
    command_line("diffeq_lorenz", "Lorenz solves", parts, ["lorenz"])
